"""Lanes: threads of the driver, one for each worker, that give it one picture after the other."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from impasto.cli.cluster.connection import ASKING, NO_WORKERS, Cluster, WorkerLost

T = TypeVar("T")


#: An item is given up after so many workers have died with it.
MOST_DEATHS = 4


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
        Called with an item's number, the item and an address when a worker is gone, and whether another one will try:
        not after `MOST_DEATHS`, for it may be the item that kills them.
    is_over
        Whether no further items are to be begun.
    owner_of
        Returns the address of the worker that an item is for, by its number; if that worker is gone, it is for any.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Callable[[str, int, T], None],
        lost: Callable[[int, T, str, bool], None],
        is_over: Callable[[], bool] = lambda: False,
        owner_of: Callable[[int], str | None] = lambda _: None,
    ) -> None:
        self._cluster, self._work, self._lost = cluster, work, lost
        self._is_over, self._owner_of = is_over, owner_of
        self._addresses = set[str]()
        self._deaths = Counter[int]()
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
            self._addresses = set(addresses := self._cluster.admitted())
            if addresses:
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
        """Give one item after the other to a worker, as long as it lives."""
        try:
            while (taken := self._take(address)) is not None:
                number, item = taken
                try:
                    self._work(address, number, item)
                except WorkerLost:
                    self._deaths[number] += 1
                    again = self._deaths[number] < MOST_DEATHS
                    self._lost(number, item, address, again)
                    self._end(taken if again else None)
                    return
                self._end()
        except Exception as error:  # of the cluster, or of all items: no lane is to go on
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _end(self, again: tuple[int, T] | None = None) -> None:
        """Note that an item is done, or is to be done again."""
        with self._changed:
            if again:
                self._waiting.appendleft(again)
            else:
                self._open -= 1
            self._changed.notify_all()

    def _take(self, address: str) -> tuple[int, T] | None:
        """Return the next item for a worker; wait while another may still be lost; None if there are no more."""
        with self._changed:
            while self._open and not self._failure and not self._is_over():
                for taken in self._waiting:
                    owner = self._owner_of(taken[0])
                    if owner in (None, address) or owner not in self._addresses:
                        self._waiting.remove(taken)
                        return taken
                self._changed.wait(ASKING)
        return None
