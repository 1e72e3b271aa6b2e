"""Lanes: threads of the driver, one for each worker, that give it one picture after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from impasto.cli.cluster.connection import ASKING, NO_WORKERS, Cluster, WorkerLost

T = TypeVar("T")


class Lanes(Generic[T]):
    """Gives items of work to the workers of a cluster; each has one at a time.

    A lane ends with its worker, and another lane takes the item. A new worker gets a new lane.

    Parameters
    ----------
    cluster
        The cluster.
    work
        Has the worker of an address work on an item, by its number from 0; may raise `WorkerLost` or `ClusterError`.
    lost
        Called with an item's number and an address when a worker is gone; returns whether another one is to try.
    is_over
        Whether no further items are to be begun.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Callable[[str, int, T], None],
        lost: Callable[[int, T, str], bool],
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._cluster, self._work, self._lost, self._is_over = cluster, work, lost, is_over
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, T]] = deque()
        self._at_work: dict[str, threading.Thread] = {}
        self._open = 0
        self._failure: Exception | None = None

    def run(self, items: Sequence[T]) -> None:
        """Have all items worked on, or those that have begun when it `is_over`.

        Raises
        ------
        ClusterError
            When the scheduler, or all workers, are gone.
        """
        self._waiting, self._open = deque(enumerate(items)), len(items)
        seen = time.monotonic()
        while self._open and not self._failure:
            if addresses := self._cluster.admitted():
                seen = time.monotonic()
            elif time.monotonic() - seen > NO_WORKERS:
                raise self._cluster.deserted()
            self._at_work = {address: lane for address, lane in self._at_work.items() if lane.is_alive()}
            if self._is_over() and not self._at_work:
                return
            for address in addresses:
                if address not in self._at_work and not self._is_over():
                    lane = threading.Thread(target=self._lane, args=(address,), daemon=True)
                    self._at_work[address] = lane
                    lane.start()
            with self._changed:
                self._changed.wait(2 * ASKING)
        if self._failure:
            raise self._failure

    def _lane(self, address: str) -> None:
        """Give one item after the other to a worker."""
        while (taken := self._take()) is not None:
            number, item = taken
            try:
                self._work(address, number, item)
            except WorkerLost:
                again = self._lost(number, item, address)
                with self._changed:
                    if again:
                        self._waiting.appendleft(taken)
                    self._open -= not again
                    self._changed.notify_all()
                return
            except Exception as error:  # of the cluster: no lane can go on
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _take(self) -> tuple[int, T] | None:
        """Return the next item; wait while another lane may still lose its worker; None if there are no more."""
        with self._changed:
            while self._open and not self._failure and not self._is_over():
                if self._waiting:
                    return self._waiting.popleft()
                self._changed.wait(ASKING)
        return None
