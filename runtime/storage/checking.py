"""The check, before any work, that a file can be written and that no other file is lost by it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from impasto import unfinished
from impasto.runtime.errors import OutputError
from impasto.runtime.storage.names import are_same, followed, is_standard_output, is_stream, length, longest_name
from impasto.runtime.storage.replacing import make_beside
from impasto.text import printable
from impasto.wording import option


def check(path: Path, force: bool, inputs: Sequence[Path], *, again: bool = False) -> None:
    """Make sure that a file can be written.

    Parameters
    ----------
    force
        Whether an existing file may be replaced.
    inputs
        Files that are read, and are never replaced.
    again
        Whether it will be written more than once, so that it must be a file.

    Raises
    ------
    OutputError
        When it cannot be written, or another file would be lost.
    OSError
        When the system refuses it.
    """
    subject = f"output {printable(str(path))}"
    _check_name(path, subject)
    try:
        stream, target = is_stream(path), followed(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OutputError(f"{subject}: is a link that leads to itself; choose another name") from None
    if stream:
        _check_stream(path, subject, again=again)
        return
    _check_name(target, subject)
    if target.is_dir():
        raise OutputError(f"{subject}: is a folder; expected a file name")
    if not target.parent.is_dir():
        raise OutputError(f"{subject}: folder {printable(str(target.parent))} does not exist; make it first")
    for other in inputs:
        if are_same(path, other):
            raise OutputError(f"{subject}: is one of the pictures to be read; choose another name")
    if target.exists() and not force:
        raise OutputError(f"{subject}: exists already; choose another name, or replace it with {option('force', True)}")
    if target.exists() and _is_protected(target):
        raise OutputError(
            f"{subject}: is another user's, in a folder where nobody else replaces it; choose another name"
        )
    with unfinished.unbroken():
        descriptor, temporary = make_beside(target, 0o600)
        os.close(descriptor)
        temporary.unlink()


def _is_protected(path: Path) -> bool:
    """Whether a file is another user's, in a folder where users replace only their own files: mode +t, as in /tmp."""
    if sys.platform == "win32":
        return False
    else:
        file, folder = path.stat(), path.parent.stat()
        return bool(folder.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, file.st_uid, folder.st_uid)


def _check_name(path: Path, subject: str) -> None:
    size, longest = length(path.name), longest_name(path.parent)
    if size > longest:
        raise OutputError(f"{subject}: its name is {size} bytes long, and at most {longest} will do; choose a shorter")


def _check_stream(path: Path, subject: str, *, again: bool) -> None:
    kind = path.stat().st_mode if path.exists() else 0
    if again:
        raise OutputError(f"{subject}: is a device or a pipe; expected a file, which is written again and again")
    if stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
        raise OutputError(f"{subject}: is a disk or a socket; expected a file name")
    if is_standard_output(path) and sys.__stdout__ is None:
        raise OutputError(f"{subject}: is closed; expected a file or a pipe behind it")
    if not os.access(path, os.W_OK):
        raise OutputError(f"{subject}: may not be written to; choose another place")
