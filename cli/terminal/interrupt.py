"""Ctrl-C, and other signals that ask a process to end: the first keeps the result so far, the second leaves at once.

The work runs in a thread of its own: an evaluation may take a minute inside onnxruntime, where no signal reaches
Python, and an exception in the middle of an import would look like a broken package. The main thread waits, and so can
answer a signal, or leave, at once.
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

#: The signals of Ctrl-C, of `kill` or a shutdown, of a terminal that is closed, and of Ctrl-Break on Windows.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

#: The exit code of a process that such a signal has ended, whichever it was.
_EXIT = 1

#: The most seconds that leaving at once takes: for a file to become whole, and for the last message.
_LAST_FILE, _LAST_WORDS = 5.0, 1.0


class Phase:
    """A part of the work, with its answers to signals.

    Parameters
    ----------
    farewell
        The message when the process ends at once: after the second signal, or after the first without an `answer`.
    answer
        The message after the first signal, if there is something to keep.
    before_leaving
        Called before the process ends at once, as no `with` block is left in order then.

    Attributes
    ----------
    signalled
        Whether a signal has come.
    """

    def __init__(self, farewell: str, answer: str = "", before_leaving: Callable[[], None] | None = None) -> None:
        self.farewell, self.answer, self.before_leaving = farewell, answer, before_leaving
        self.signalled = False

    def check(self, *, over: bool = False) -> bool:
        """Raise `StopOptimization` after a signal; if the work is `over` anyway, return whether there was one."""
        from impasto.runtime import StopOptimization

        if self.signalled and not over:
            raise StopOptimization("interrupted")
        return self.signalled


#: The farewell of a run that has no picture yet.
NOT_BEGUN = "interrupted before the first evaluation; no picture was written"

_ordinary = Phase("interrupted; nothing was left half-written")  # every file is renamed into its place
_phase = _ordinary


_answered = 0


def answered() -> int:
    """Return how many signals have been answered with a promise to end soon, since the process began."""
    return _answered


def enter(phase: Phase) -> None:
    """Begin a phase."""
    global _phase
    _phase = phase


@contextlib.contextmanager
def within(phase: Phase) -> Iterator[None]:
    """Begin a phase for a `with` block, which may begin others. After the block there is nothing left to keep."""
    enter(phase)
    try:
        yield
    finally:
        enter(_ordinary)


class Check(Protocol):
    """A function to call after every evaluation."""

    def __call__(self, *, over: bool = False) -> bool:
        """Do what `Phase.check` does."""


def run_interruptibly(
    work: Callable[[Check], T],
    keep: Callable[[T], None],
    before_leaving: Callable[[], None],
    farewell: str = NOT_BEGUN,
) -> tuple[T, bool]:
    """Run `work` and `keep` its result. Return the result, and whether a signal came during `work`.

    Parameters
    ----------
    work
        Takes a `Check`.
    keep
        Saves the result; a first signal does not stop it.
    before_leaving
        See `Phase`.
    farewell
        That of a signal before the first evaluation.
    """
    starting = Phase(farewell, "", before_leaving)
    evaluating = Phase(
        "left at once; no picture was written",
        "stopping after this evaluation, to keep the best picture",
        before_leaving,
    )
    keeping = Phase(
        "left at once, while writing; what was not yet named may be missing", "writing what there is", before_leaving
    )

    def check(*, over: bool = False) -> bool:
        enter(evaluating)
        return evaluating.check(over=over)

    with within(starting):
        result = work(check)
        enter(keeping)
        keep(result)
    enter(Phase("left at once; what was to be written is there", "the picture is written; ending"))
    return result, evaluating.signalled


def run_answering_signals(work: Callable[[], int]) -> int:
    """Run `work` in another thread, while the main thread answers signals. Return its result, or raise its error.

    Signals that are ignored already stay ignored: SIGHUP below `nohup`, SIGINT in the background of a script. After
    `work` all are ignored, because the rest is short.
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
    """Write a message; on a terminal, over the ^C that it shows."""
    say(text, start="\r" if is_terminal() else "")


def _ignore(signals: list[int]) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


class _Answer:
    """Answers signals one after the other: a message that is being written cannot be interrupted by another."""

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
        global _answered
        phase = _phase
        if phase.signalled or not phase.answer:
            self._leave(phase)
        phase.signalled = True
        _answered += 1
        again = "Ctrl-C again" if number == signal.SIGINT else "another signal"
        _say_over_echo(f"{phase.answer}; {again} leaves at once")

    def _leave(self, phase: Phase) -> None:
        """End the process: the terminal is reset, no file is half-written, and the other thread says nothing more."""
        _ignore(self._heeded)
        if phase.before_leaving:
            with contextlib.suppress(Exception):
                phase.before_leaving()
        streams.mute_other_threads()
        _say_over_echo(f"error: {phase.farewell}")
        streams.end_messages(_LAST_WORDS)
        unfinished.close(_LAST_FILE)
        os._exit(_EXIT)
