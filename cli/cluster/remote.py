"""A transfer that a worker carries out: the driver sees its evaluations, and keeps its outputs, as if it ran here."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from impasto.cli.cluster import worker
from impasto.cli.cluster.connection import Cluster
from impasto.cli.cluster.worker import News, Order, Painted
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import State, View
from impasto.runtime.run.transfer import Transfer

#: The seconds between two questions to a worker for its news. A worker of Dask logs each of them.
NEWS = 1.0


@dataclass(frozen=True)
class RemoteRunner:
    """Carries transfers out on a worker.

    Attributes
    ----------
    every
        The state after every so many evaluations is needed.
    oversize
        Whether pictures are tried that do not fit into memory.
    ending
        Whether the user has asked for an end.
    """

    cluster: Cluster
    address: str
    every: int | None = None
    oversize: bool = False
    ending: Callable[[], bool] = lambda: False

    def adopt(self, transfer: Transfer) -> None:
        """Note that a transfer will be carried out on the worker's machine."""
        transfer.origin = replace(transfer.origin, machine=self.cluster.machine(self.address))

    def run(self, transfer: Transfer, state: State | None, earlier: Plan | None) -> Result:
        """Carry a transfer out as `Transfer.run` does: its callback sees every evaluation, and may end it.

        Raises
        ------
        ImpastoError
            When it fails on the worker, or the cluster does.
        WorkerLost
            When the worker is gone.
        """
        key = uuid.uuid4().hex
        order = Order(key, transfer, self.cluster.manifest, state, earlier, self.every, self.oversize)
        painted = self._painted(order, transfer)
        _see(transfer, painted.news)
        transfer.plan, transfer.memory, transfer.state = painted.plan, painted.memory, painted.state
        for text in painted.warnings:
            self.cluster.warn(text)
        return painted.result

    def _painted(self, order: Order, transfer: Transfer) -> Painted:
        """Have the worker paint, and look on."""
        over, stopped, asked = False, False, time.monotonic()
        painted: Painted | None = None
        for painted in self.cluster.call(self.address, worker.paint, order):
            if painted is None and time.monotonic() - asked > NEWS:
                asked = time.monotonic()
                over |= _see(transfer, self.cluster.ask(self.address, worker.news, order.key)) or self.ending()
                if over and not stopped:  # it may not have begun yet, and hear nothing
                    stopped = self.cluster.ask(self.address, worker.stop, order.key)
        assert painted is not None
        return painted


def _see(transfer: Transfer, news: News) -> bool:
    """Show what a worker has done to those who watch the transfer; return whether they want it to end."""
    transfer.plan = news.plan or transfer.plan
    over = False
    for step, state in news.steps:
        transfer.state = state or transfer.state
        view = View(transfer.picture) if transfer.state.has_picture else None
        try:
            if transfer.callback:
                transfer.callback(replace(step, view=view))
        except StopOptimization:
            over = True
        finally:
            if view:
                view.close()
    if news.tile:
        try:
            transfer.after_tile(news.tile)
        except StopOptimization:
            over = True
    return over
