"""Names of files: the file, link target or device that a name stands for, the lengths of names, and free names."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

#: The longest name of a file, if the system does not say.
_LONGEST_NAME = 255

#: A longer suffix is taken as part of the name.
_LONGEST_SUFFIX = 16

#: The longest chain of links, as on Linux.
_MOST_LINKS = 40

#: The folder of a process's open files; opening a name there opens that file again.
_DESCRIPTORS = re.compile(r"/proc/[^/]+/(task/[^/]+/)?fd|/dev/fd")

#: Numbers that tell whether a file is still the same: see `identity`.
Identity = tuple[int, int, int, int]


def identity(path: Path) -> Identity | None:
    """Return numbers that change whenever a file is replaced or written to; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file: these are written into, and never replaced or removed.

    Raises
    ------
    OSError
        When its links lead in a circle, or the system refuses to look at it.
    """
    if _is_descriptor(followed(path)):
        return True
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def followed(path: Path) -> Path:
    """Return the path that a symbolic link leads to in the end, whether or not it exists.

    Raises
    ------
    OSError
        When links lead in a circle.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink() or _is_descriptor(path):  # the path that such a link shows may not exist
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def is_standard_output(path: Path) -> bool:
    """Whether a path is that of the process's standard output, such as /dev/stdout.

    Raises
    ------
    OSError
        When its links lead in a circle.
    """
    target = followed(path)
    return target.name == "1" and _is_descriptor(target)


def _is_descriptor(path: Path) -> bool:
    return bool(_DESCRIPTORS.fullmatch(os.path.realpath(path.parent)))


def are_same(one: Path, other: Path) -> bool:
    """Whether two paths are the same file, links followed; or would be, if it existed."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def longest_name(folder: Path) -> int:
    """Return the length of the longest name in a folder."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            longest = os.pathconf(folder, "PC_NAME_MAX")
            return longest if longest > 0 else _LONGEST_NAME
    return _LONGEST_NAME


def length(name: str) -> int:
    """Return the length of a name as the file system counts it: Windows counts in UTF-16."""
    if sys.platform == "win32":
        return len(name.encode("utf-16-le", "surrogatepass")) // 2
    else:
        return len(os.fsencode(name))


def cut(name: str, longest: int) -> str:
    """Return the longest beginning of a name that is not too long."""
    while name and length(name) > longest:
        name = name[:-1]
    return name


def free_name(path: Path, take: Callable[[Path], bool]) -> Path:
    """Return the first of the names out-2.png, out-3.png and so on for which `take` succeeds."""
    suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
    stem, longest = path.name.removesuffix(suffix), longest_name(path.parent)
    endings = (f"-{number}{suffix}" for number in itertools.count(2))
    names = (path.with_name(cut(stem, longest - length(ending)) + ending) for ending in endings)
    return next(name for name in names if take(name))
