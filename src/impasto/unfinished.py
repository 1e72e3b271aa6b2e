"""What must neither be broken off nor be left lying about when the process ends at once: after a signal, say.

Whoever ends a process so does not wait until every function has returned: one may be in a library for a minute. It
calls `close`, which lets what is unbroken come to its end, undoes what is to be undone, and lets nothing more begin.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

T = TypeVar("T")

#: Seconds, and how often, something is tried to be undone that another thread is still busy with.
_PAUSE, _ATTEMPTS = 0.02, 50

_changed = threading.Condition()
_undoing: list[Callable[[], object]] = []
_depth = threading.local()
_going_on = 0
_closed = False


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Do in a `with` block what is short, and must be done whole or not at all."""
    if getattr(_depth, "inside", False):
        yield
        return
    global _going_on
    with _changed:
        while _closed:  # for ever: the process is about to end
            _changed.wait()
        _going_on += 1
    _depth.inside = True
    try:
        yield
    finally:
        _depth.inside = False
        with _changed:
            _going_on -= 1
            _changed.notify_all()


@contextlib.contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Have something undone if the process ends at once within the `with` block."""
    _undoing.append(undo)
    try:
        yield
    finally:
        _undoing.remove(undo)


@contextlib.contextmanager
def removed(make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Make something temporary that is removed at the end of the `with` block, or when the process ends at once.

    Parameters
    ----------
    make
        Makes it: a `tempfile.TemporaryDirectory`, for instance. It is removed by leaving its own `with` block.
    """
    with contextlib.ExitStack() as stack:
        with unbroken():
            made = make()
            stack.enter_context(undone(lambda: made.__exit__(None, None, None)))
            value = stack.enter_context(made)
        yield value


def close(seconds: float) -> None:
    """Wait for what is unbroken, as long as that, and undo the rest. What would begin now waits for ever."""
    global _closed
    with _changed:
        _closed = True
        _changed.wait_for(lambda: not _going_on, seconds)
    for undo in reversed(_undoing.copy()):
        _persist(undo)


def _persist(undo: Callable[[], object]) -> None:
    """Undo something, which may fail as long as another thread adds to it: a file in a folder, say."""
    for _ in range(_ATTEMPTS):
        try:
            undo()
        except Exception:
            time.sleep(_PAUSE)
        else:
            return
