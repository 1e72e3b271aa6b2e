"""Work that must not be broken off, and files that must not be left, when the process ends at once, as after a signal.

The code that ends the process does not wait until every function has returned: one may be in a library for a minute. It
calls `close`, which waits for the end of `unbroken` blocks, undoes the work of `undone` ones, and lets no more begin.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds between attempts to undo work that another thread is still busy with, and the number of attempts.
_PAUSE, _ATTEMPTS = 0.02, 50

_changed = threading.Condition()
_undoing: list[Callable[[], object]] = []
_depth = threading.local()
_running = 0
_closed = False


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Run a `with` block that is short, and must be done whole or not at all."""
    if getattr(_depth, "inside", False):
        yield
        return
    global _running
    with _changed:
        while _closed:  # for ever: the process is about to end
            _changed.wait()
        _running += 1
    _depth.inside = True
    try:
        yield
    finally:
        _depth.inside = False
        with _changed:
            _running -= 1
            _changed.notify_all()


@contextlib.contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if the process ends at once within the `with` block."""
    _undoing.append(undo)
    try:
        yield
    finally:
        _undoing.remove(undo)


@contextlib.contextmanager
def removed(make: Callable[[], tempfile.TemporaryDirectory[str]]) -> Iterator[str]:
    """Make a temporary folder that is removed at the end of the `with` block, or when the process ends at once.

    Parameters
    ----------
    make
        Makes the folder. The block is given its path.
    """
    with contextlib.ExitStack() as stack:
        with unbroken():
            folder = make()
            stack.enter_context(undone(lambda: _remove(folder.name)))
            path = stack.enter_context(folder)
        yield path


def close(seconds: float) -> None:
    """Wait for unbroken blocks, as long as that, and undo the others. A block that would begin now waits for ever."""
    global _closed
    with _changed:
        _closed = True
        _changed.wait_for(lambda: not _running, seconds)
    for undo in reversed(_undoing.copy()):
        _persist(undo)


def _remove(folder: str) -> None:
    """Remove a folder that another thread may still add to: renamed first, so that the thread finds it no more."""
    aside = f"{folder}.removed"
    with contextlib.suppress(OSError):  # Windows renames no folder whose files are open
        Path(folder).rename(aside)
    for path in filter(os.path.exists, (aside, folder)):
        shutil.rmtree(path)


def _persist(undo: Callable[[], object]) -> None:
    """Call `undo` until it succeeds: it may fail as long as another thread is busy with the same files."""
    for _ in range(_ATTEMPTS):
        try:
            undo()
        except Exception:
            time.sleep(_PAUSE)
        else:
            return
