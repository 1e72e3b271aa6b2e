"""What runs on a worker: a model's files, one transfer at a time, and what is told of it meanwhile.

Any worker of Dask that has impasto installed will do: nothing else has to be started there. Its process keeps open
graphs and measured paintings from one picture to the next, as a batch does in one process.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from impasto.cli.cluster.models import Manifest, find
from impasto.cli.job.estimating import foresee, remember_timings
from impasto.cli.spelling import on_command_line
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.engine.evaluator import TileStep
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run.estimate import Estimate
from impasto.runtime.run.pace import Pace
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import State, Step
from impasto.runtime.run.transfer import Transfer
from impasto.wording import speak

#: A transfer that nobody has asked about for so many seconds has lost its driver, though Dask may not know: it ends.
ABANDONED = 300.0

#: The seconds between two states that are kept for the driver, through whose scheduler they travel.
_PAUSE = 10.0


@dataclass(frozen=True)
class Order:
    """What a worker is asked to paint.

    Attributes
    ----------
    key
        A name for this run of the transfer.
    transfer
        The transfer; its model is the driver's.
    manifest
        The files of that model.
    state
        The state to go on from.
    earlier
        The plan of the run that is gone on with.
    every
        States after every so many evaluations are told, too.
    oversize
        Whether pictures are tried that do not fit into memory.
    """

    key: str
    transfer: Transfer
    manifest: Manifest
    state: State | None = None
    earlier: Plan | None = None
    every: int | None = None
    oversize: bool = False


@dataclass(frozen=True)
class News:
    """What has happened since a driver asked last.

    Attributes
    ----------
    steps
        The evaluations, each with the state after it if that is told.
    tile
        The tile that is done, of the present evaluation.
    plan
        The plan with the optimisers that were chosen for this machine's memory.
    """

    steps: Sequence[tuple[Step, State | None]] = ()
    tile: TileStep | None = None
    plan: Plan | None = None


@dataclass(frozen=True)
class Painted:
    """What has come of an order: the result, the transfer's last state and plan, and warnings for the user.

    `memory` is the transfer's, and `news` what was not told before.
    """

    result: Result
    state: State
    plan: Plan
    memory: int | None
    warnings: tuple[str, ...]
    news: News


@dataclass
class _Present:
    """The transfer that is on its way here."""

    key: str
    every: int | None = None
    is_wanted: Callable[[], bool] = lambda: True
    asked: float = field(default_factory=time.monotonic)
    stopped: bool = False
    steps: list[tuple[Step, State | None]] = field(default_factory=list)
    tile: TileStep | None = None
    plan: Plan | None = None

    def wants(self, step: Step) -> bool:
        """Whether the state after an evaluation is asked for."""
        return self.every is not None and step.evaluation % self.every == 0

    def tell(self) -> News:
        """Return what has happened since the last question; of states that nobody has asked for, the last one."""
        self.asked = time.monotonic()
        with _TALKING:
            steps, self.steps = self.steps, []
        last = max((number for number, (_, state) in enumerate(steps) if state), default=-1)
        told = [
            (step, state if number == last or self.wants(step) else None) for number, (step, state) in enumerate(steps)
        ]
        return News(told, self.tile, self.plan)

    def check(self) -> None:
        """End the transfer if its driver has asked for that, or is gone."""
        if self.stopped:
            raise StopOptimization("interrupted")
        if not self.is_wanted() or time.monotonic() - self.asked > ABANDONED:
            raise StopOptimization("nobody waits for it any more")


#: However many threads a worker has, it evaluates one picture, or one tile, at a time: an evaluation uses them all.
ALONE = threading.Lock()

_TALKING = threading.Lock()

_present: _Present | None = None


@contextmanager
def _running(order: Order) -> Iterator[_Present]:
    """Be the worker's one present run for a `with` block."""
    global _present
    with ALONE:
        _present = run = _Present(order.key, order.every, _still_wanted())
        try:
            yield run
        finally:
            _present = None


def _still_wanted() -> Callable[[], bool]:
    """Return what says whether the task of this thread is still wanted: Dask takes it back if its driver is gone."""
    import distributed

    try:
        host = distributed.get_worker()
    except ValueError:  # this is no worker's thread
        return lambda: True
    key = host.get_current_task()

    def is_wanted() -> bool:
        task = host.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return is_wanted


def paint(order: Order) -> Painted:
    """Carry out a transfer, while `news` tells of it.

    Raises
    ------
    ImpastoError
        When it cannot be carried out; when it does not fit into this machine's memory, for instance.
    """
    with _running(order) as run, speak(on_command_line), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transfer, state = on_this_machine(order.transfer, order.manifest), order.state
        foresee(transfer, oversize=order.oversize, done=state.made if state else (), earlier=order.earlier)
        run.plan = transfer.plan
        _Teller(run, transfer)
        result = transfer.run(state)
        remember_timings(transfer, result)
    told = dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, RuntimeWarning))
    return Painted(result, transfer.state, transfer.plan, transfer.memory, tuple(told), run.tell())


class _Teller:
    """Keeps the evaluations of the present transfer, and states: every few seconds, and where they are asked for."""

    def __init__(self, run: _Present, transfer: Transfer) -> None:
        self._run, self._transfer, self._pace = run, transfer, Pace(_PAUSE)
        transfer.callback, transfer.after_tile = self.see, self.see_tile

    def see(self, step: Step) -> None:
        """Keep an evaluation."""
        last_of_stage = step.of_stage == self._transfer.plan.stages[step.stage - 1].evaluations
        state = None
        if self._transfer.state.has_picture and (self._run.wants(step) or last_of_stage or self._pace.is_due()):
            began = time.monotonic()
            state = self._transfer.state.snapshot()
            self._pace.done(began)
        with _TALKING:
            self._run.steps.append((replace(step, view=None), state))
            self._run.tile = None
        self._run.check()

    def see_tile(self, step: TileStep) -> None:
        """Keep a tile; an end is not waited for until the evaluation is over, if there is a picture."""
        self._run.tile = step
        if self._transfer.state.has_picture:
            self._run.check()


def on_this_machine(transfer: Transfer, manifest: Manifest) -> Transfer:
    """Return a transfer that has come from a driver, with this worker's copy of its model and its open graphs.

    Raises
    ------
    ModelError
        When there is no copy.
    """
    transfer.model, transfer.engine, transfer.progress = find(manifest), ENGINE, False
    for known in ("metadata", "origin"):
        transfer.__dict__.pop(known, None)  # they were found out elsewhere
    return transfer


def news(key: str) -> News:
    """Return what has happened since the last question."""
    run = _present
    return News() if run is None or run.key != key else run.tell()


def stop(key: str) -> bool:
    """End a transfer after its present evaluation, or tile; return whether it is on its way here."""
    if (run := _present) is None or run.key != key:
        return False
    run.stopped = True
    return True


def estimated(transfer: Transfer, manifest: Manifest, oversize: bool) -> tuple[list[str], Estimate]:
    """Return the sentences of `foresee` and the estimate of a transfer on this machine.

    Raises
    ------
    InputError
        When it does not fit into memory.
    """
    with speak(on_command_line):
        return foresee(on_this_machine(transfer, manifest), oversize=oversize)
