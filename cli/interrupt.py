"""Ctrl-C: the first keeps what there is, the second leaves at once; while the result is written they count anew."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_EXIT = 1


@dataclass
class _Stage:
    """What the first Ctrl-C in a stage of the work is answered with, and the second, or the first without an answer."""

    answer: str
    farewell: str
    pressed: bool = False


def run_interruptibly(
    work: Callable[[Callable[[], None]], T], keep: Callable[[T], None], before_leaving: Callable[[], None]
) -> tuple[T, bool]:
    """Run `work`, `keep` its result, and return that, and whether Ctrl-C was pressed while it came about.

    Both run in a thread of their own: an evaluation may take a minute inside onnxruntime, where no signal reaches
    Python, and the main thread must be free to leave at once.

    Parameters
    ----------
    work
        Takes a function to be called after every evaluation; it raises `StopOptimization` after Ctrl-C.
    keep
        Saves the result; a first Ctrl-C meanwhile changes nothing.
    before_leaving
        Called before the process ends at once: no `with` block is left in order then.
    """
    from impasto.runtime import StopOptimization

    starting = _Stage("", "interrupted before the first evaluation; no picture was written")
    evaluating = _Stage(
        "stopping after this evaluation, to keep the best picture", "left at once; no picture was written"
    )
    keeping = _Stage("writing what there is", "left at once, while writing; what was not yet named may be missing")
    stage = starting

    def check() -> None:
        nonlocal stage
        stage = evaluating
        if evaluating.pressed:
            raise StopOptimization("interrupted")

    def work_and_keep() -> T:
        nonlocal stage
        result = work(check)
        stage = keeping
        keep(result)
        return result

    waiting, answering = 0, False

    def on_interrupt(*_: object) -> None:
        """Answer one signal after the other: what is being written cannot be interrupted by writing more."""
        nonlocal waiting, answering
        waiting += 1
        if answering:
            return
        answering = True
        while waiting:
            waiting -= 1
            answer()
        answering = False

    def answer() -> None:
        here = stage
        if here.pressed or not here.answer:
            before_leaving()
            _leave(here.farewell)
        here.pressed = True
        print(f"\n{here.answer}; Ctrl-C again leaves at once", file=sys.stderr)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        return _run_in_thread(work_and_keep), evaluating.pressed
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
