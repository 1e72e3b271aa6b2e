"""Files as results: written whole or not at all, without replacing other programs' files.

A file is written beside its place, then renamed. A symbolic link is followed: the file that it names is replaced, or
made, and the link stays. The permissions of a replaced file stay, and so does its owner if that is allowed. Devices and
pipes are written into.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from impasto import unfinished
from impasto.runtime.errors import NameTaken
from impasto.runtime.storage.names import cut, followed, free_name, is_stream, length, longest_name
from impasto.runtime.storage.streams import open_stream
from impasto.text import printable

#: The errors of a file system that has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


@contextlib.contextmanager
def replacing(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a file to be written; it is put in its place, whole, when the `with` block has ended.

    When the block fails or is interrupted, a file that was there before is unchanged, and no file is left beside it.

    Parameters
    ----------
    replace
        Whether an existing file may be replaced.

    Raises
    ------
    NameTaken
        When there is a file that may not or cannot be replaced: the data are in another file beside it, which the error
        names.
    OSError
        When it cannot be written.
    """
    if is_stream(path):
        with open_stream(path) as stream:
            yield stream
        return
    target = followed(path)
    with unfinished.unbroken():
        old = target.stat() if replace and target.exists() else None
        descriptor, temporary = make_beside(target, 0o600 if old else 0o666)
        try:
            with unfinished.undone(lambda: temporary.unlink(missing_ok=True)):  # if the block takes too long
                with os.fdopen(descriptor, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut might leave an empty file under the final name
                if old:
                    _take_after(temporary, old)
                if replace:
                    if not _replace(temporary, target):
                        raise _moved(temporary, path, target, "what is there may not go")
                elif not _put(temporary, target):
                    raise _moved(temporary, path, target, TAKEN)
        finally:
            temporary.unlink(missing_ok=True)


#: The reason why a result is in another file than the one asked for.
TAKEN = "another file has taken that name meanwhile and stays as it is"


def _moved(temporary: Path, path: Path, target: Path, why: str) -> NameTaken:
    """Give a file the first free name beside its own, and return the error that says so."""
    return taken(path, free_name(target, lambda name: _put(temporary, name)), why)


def taken(path: Path, other: Path, why: str = TAKEN) -> NameTaken:
    """Return the error that a result is in the file `other`, as another program's file has taken its name."""
    return NameTaken(f"output {printable(str(path))}: {why}; the result is in {printable(str(other))}", other)


def _take_after(path: Path, old: os.stat_result) -> None:
    """Give a file the permissions, the owner and the group of another file, as far as that is allowed."""
    mode = old.st_mode & 0o777
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.chown(path, -1, old.st_gid)
        with contextlib.suppress(OSError):
            os.chown(path, old.st_uid, -1)
    if path.stat().st_gid != old.st_gid:  # another group gets only the permissions of all others
        mode = mode & ~0o070 | (mode & 0o007) << 3
    with contextlib.suppress(OSError):
        path.chmod(mode)


def _replace(temporary: Path, target: Path) -> bool:
    """Put a file in the place of another, and return whether that is allowed."""
    try:
        temporary.replace(target)
    except PermissionError:
        return False
    return True


def _put(temporary: Path, target: Path) -> bool:
    """Give a file its final name, and return whether the name was free; both are one step, without a race."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in _NO_LINKS:
            raise
    else:
        return True
    try:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    temporary.replace(target)
    return True


# --- temporary files ------------------------------------------------------------------------------------------

#: The number of random characters at the end of a temporary file's name.
_DRAWN = 8


def _beginning(path: Path) -> str:
    """Return the beginning of the names of a file's temporary files; a hash replaces the end of a long name."""
    room = longest_name(path.parent) - _DRAWN - len("..")
    name = path.name
    if length(name) > room:
        ending = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{cut(name, room - len(ending))}{ending}"
    return f".{name}."


def make_beside(path: Path, mode: int) -> tuple[int, Path]:
    """Make a new file beside another, of that mode less the umask; return its open descriptor and its path."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(_beginning(path) + secrets.token_hex(_DRAWN // 2))
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, flags, mode), temporary


def clear_up(path: Path) -> None:
    """Remove the temporary files beside a file that killed processes have left."""
    with contextlib.suppress(OSError):
        target = followed(path)
        left = re.compile(rf"{re.escape(_beginning(target))}[a-z0-9_]{{{_DRAWN}}}")
        for other in target.absolute().parent.iterdir():
            if left.fullmatch(other.name) and other.is_file():
                other.unlink()
