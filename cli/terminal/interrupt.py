"""Ctrl-C, and other signals that ask a process to end: the first keeps what there is, the second leaves at once.

The work runs in a thread of its own: an evaluation may take a minute inside onnxruntime, where no signal reaches
Python, and an exception in the middle of an import would be taken for a broken package. The main thread waits, free to
answer, and to leave at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from impasto import unfinished
from impasto.cli.terminal import streams
from impasto.cli.terminal.messages import is_terminal, say

T = TypeVar("T")

#: What asks to end: the keyboard, `kill` or a shutdown, a terminal that is closed, and Ctrl-Break of Windows.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

#: What a process returns that such a signal has ended, whichever it was.
_EXIT = 1

#: Seconds that leaving at once may take: until a file that is being written is whole, and the last words are said.
_LAST_FILE, _LAST_WORDS = 5.0, 1.0


class Stage:
    """What signals are answered with while something is done.

    Parameters
    ----------
    farewell
        What is said when the process ends at once: after the second signal, or the first without an `answer`.
    answer
        What the first signal is answered with, where there is something to keep.
    before_leaving
        Called before the process ends at once: no `with` block is left in order then.

    Attributes
    ----------
    told
        Whether a signal has come.
    """

    def __init__(self, farewell: str, answer: str = "", before_leaving: Callable[[], None] | None = None) -> None:
        self.farewell, self.answer, self.before_leaving = farewell, answer, before_leaving
        self.told = False


_ordinary = Stage("interrupted; nothing was left half-written")  # every file is renamed into its place
_stage = _ordinary


def enter(stage: Stage) -> None:
    """Go on to another stage."""
    global _stage
    _stage = stage


@contextlib.contextmanager
def within(stage: Stage) -> Iterator[None]:
    """Be in a stage for the time of a `with` block, which may go on to others; then there is nothing more to keep."""
    enter(stage)
    try:
        yield
    finally:
        enter(_ordinary)


class Check(Protocol):
    """To be called after every evaluation."""

    def __call__(self, *, over: bool = False) -> None:
        """Raise `StopOptimization` after a signal, unless the work is `over` anyway."""


def run_interruptibly(
    work: Callable[[Check], T], keep: Callable[[T], None], before_leaving: Callable[[], None]
) -> tuple[T, bool]:
    """Run `work`, `keep` its result, and return that, and whether a signal came while it came about.

    Parameters
    ----------
    work
        Takes a `Check`.
    keep
        Saves the result; a first signal meanwhile changes nothing.
    before_leaving
        See `Stage`.
    """
    from impasto.runtime import StopOptimization

    starting = Stage("interrupted before the first evaluation; no picture was written", "", before_leaving)
    evaluating = Stage(
        "left at once; no picture was written",
        "stopping after this evaluation, to keep the best picture",
        before_leaving,
    )
    keeping = Stage(
        "left at once, while writing; what was not yet named may be missing", "writing what there is", before_leaving
    )

    def check(*, over: bool = False) -> None:
        enter(evaluating)
        if evaluating.told and not over:
            raise StopOptimization("interrupted")

    with within(starting):
        result = work(check)
        enter(keeping)
        keep(result)
    enter(Stage("left at once; what was to be written is there", "the picture is written; ending"))
    return result, evaluating.told


def attend(work: Callable[[], int]) -> int:
    """Run `work` in another thread; this one, the main, answers signals. Return what it returns, or raise what it does.

    Signals that are ignored already stay so: SIGHUP below `nohup`, SIGINT in the background of a script. When `work`
    has ended, all are ignored: what is left to do is short.
    """
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    answer = _Answer(heeded)
    for number in heeded:
        signal.signal(number, answer)
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
    _ignore(heeded)
    if "error" in outcome:
        raise outcome["error"]
    result: int = outcome["result"]
    return result


def _say_over_echo(text: str) -> None:
    """Say something; on a terminal over the ^C that it shows."""
    say(text, start="\r" if is_terminal() else "")


def _ignore(signals: list[int]) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


class _Answer:
    """Answers one signal after the other: what is being said cannot be interrupted by saying more."""

    def __init__(self, heeded: list[int]) -> None:
        self._heeded = heeded
        self._waiting: list[int] = []
        self._busy = False

    def __call__(self, number: int, _: object) -> None:
        self._waiting.append(number)
        if self._busy:
            return
        self._busy = True
        while self._waiting:
            self._answer(self._waiting.pop(0))
        self._busy = False

    def _answer(self, number: int) -> None:
        here = _stage
        if here.told or not here.answer:
            self._leave(here)
        here.told = True
        again = "Ctrl-C again" if number == signal.SIGINT else "another signal"
        _say_over_echo(f"{here.answer}; {again} leaves at once")

    def _leave(self, stage: Stage) -> None:
        """End the process: the terminal as it was, nothing half-written, and nothing more said by the other thread."""
        _ignore(self._heeded)
        if stage.before_leaving:
            with contextlib.suppress(Exception):
                stage.before_leaving()
        streams.take_floor()
        _say_over_echo(f"error: {stage.farewell}")
        streams.hush(_LAST_WORDS)
        unfinished.close(_LAST_FILE)
        os._exit(_EXIT)
