"""Ctrl-C: the first keeps what there is, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_EXIT = 1


def run_interruptibly(work: Callable[[Callable[[], None]], T], before_leaving: Callable[[], None]) -> tuple[T, bool]:
    """Run `work` and return its result and whether Ctrl-C was pressed.

    The work runs in a thread of its own: an evaluation may take a minute inside onnxruntime, where no signal reaches
    Python, and the main thread must be free to leave at once.

    Parameters
    ----------
    work
        Takes a function to be called after every evaluation; it raises `StopOptimization` after Ctrl-C.
    before_leaving
        Called before the process ends at once: no `with` block is left in order then.
    """
    from impasto.runtime import StopOptimization

    started, stop = threading.Event(), threading.Event()

    def check() -> None:
        started.set()
        if stop.is_set():
            raise StopOptimization("interrupted")

    def on_interrupt(*_: object) -> None:
        if stop.is_set() or not started.is_set():
            before_leaving()
            _leave(
                "left at once; nothing was written"
                if stop.is_set()
                else "interrupted before the first evaluation; nothing was written"
            )
        stop.set()
        print(
            "\nstopping after this evaluation, to keep the best picture; Ctrl-C again leaves at once",
            file=sys.stderr,
        )

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        return _run_in_thread(lambda: work(check)), stop.is_set()
    finally:
        signal.signal(signal.SIGINT, previous)


def _run_in_thread(work: Callable[[], T]) -> T:
    """Run `work` in another thread while this one waits, free to handle signals; hand on its result or exception."""
    outcome: dict[str, Any] = {}

    def body() -> None:
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)  # in slices, for systems where a signal does not end a wait
    if "error" in outcome:
        raise outcome["error"]
    result: T = outcome["result"]
    return result


def _leave(message: str) -> None:
    print(f"\nerror: {message}", file=sys.stderr, flush=True)
    os._exit(_EXIT)
