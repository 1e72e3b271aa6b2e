"""Files that are written into directly: devices, pipes, open files, and a growing log."""

from __future__ import annotations

import contextlib
import os
import sys
from io import FileIO
from pathlib import Path

from impasto.runtime.storage.names import is_standard_output
from impasto.waiting import WaitingFile


def open_stream(path: Path) -> WaitingFile:
    """Open a device, a pipe or an open file, to write at its end.

    Standard output is the file of `sys.__stdout__`: descriptor 1 may lead elsewhere, to silence libraries that print.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    if sys.__stdout__ is not None and is_standard_output(path):
        with contextlib.suppress(OSError, ValueError):  # it has no descriptor
            return WaitingFile(os.dup(sys.__stdout__.fileno()), "w")
    return WaitingFile(os.open(path, os.O_WRONLY | os.O_APPEND), "w")


def lock(file: FileIO) -> bool:
    """Lock an open file against other processes that lock it, too; return False if another one has locked it."""
    if sys.platform == "win32":
        return True  # there is no lock that would not stop readers as well
    else:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network file systems have none
            return True
        return True
