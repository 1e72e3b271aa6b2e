"""Files as results: whole or not at all, in place of nobody else's.

A file is written beside its place, then put there. A symbolic link is written through: the file that it names is
replaced, or made, and the link stays. A replaced file's permissions stay, and its owner where that is allowed. Devices
and pipes are written into.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from pathlib import Path

from impasto import unfinished
from impasto.runtime.errors import NameTaken, OutputError
from impasto.text import printable
from impasto.wording import option

#: The longest name of a file, where the system does not say.
_LONGEST_NAME = 255

#: A longer one is a part of the name.
_LONGEST_SUFFIX = 16

#: How many links may lead from one to the next, as on Linux.
_MOST_LINKS = 40

#: The folder of a process's open files; what is opened there goes where that file goes.
_DESCRIPTORS = re.compile(r"/proc/[^/]+/(task/[^/]+/)?fd|/dev/fd")

#: How a file system says that it has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)

#: Seconds between attempts to write to a descriptor that somebody has made non-blocking.
_PAUSE = 0.02

#: What tells whether a file is still the one that it was: see `identity`.
Identity = tuple[int, int, int, int]


def identity(path: Path) -> Identity | None:
    """Return what changes whenever a file is replaced or written to, or None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


# --- what a name stands for -----------------------------------------------------------------------------------


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file, to be written into: never replaced, never removed.

    Raises
    ------
    OSError
        When its links lead in a circle, or it cannot be looked at.
    """
    if _is_descriptor(followed(path)):
        return True
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def followed(path: Path) -> Path:
    """Return the path that a symbolic link leads to in the end, whether or not something is there.

    Raises
    ------
    OSError
        When links lead in a circle.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink() or _is_descriptor(path):  # what that seems to name may not be there at all
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


def _longest_name(folder: Path) -> int:
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            found = os.pathconf(folder, "PC_NAME_MAX")
            return found if found > 0 else _LONGEST_NAME
    return _LONGEST_NAME


def _length(name: str) -> int:
    """Return how long a file system takes a name to be: Windows counts in UTF-16."""
    if sys.platform == "win32":
        return len(name.encode("utf-16-le", "surrogatepass")) // 2
    else:
        return len(os.fsencode(name))


def _cut(name: str, longest: int) -> str:
    """Return as much of a name's beginning as is not too long."""
    while name and _length(name) > longest:
        name = name[:-1]
    return name


# --- before ---------------------------------------------------------------------------------------------------


def check(path: Path, force: bool, inputs: Sequence[Path], *, again: bool = False) -> None:
    """Make sure that a file can be written.

    Parameters
    ----------
    force
        Whether a file that is there may be replaced.
    inputs
        Files that are being read, and are never replaced.
    again
        Whether it will be written more than once, so that it must be a file.

    Raises
    ------
    OutputError
        When it cannot, or something would be lost.
    OSError
        When the system says why it cannot.
    """
    what = f"output {printable(str(path))}"
    _check_name(path, what)
    try:
        stream, target = is_stream(path), followed(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OutputError(f"{what}: is a link that leads to itself; choose another name") from None
    if stream:
        _check_stream(path, what, again=again)
        return
    _check_name(target, what)
    if target.is_dir():
        raise OutputError(f"{what}: is a folder; expected a file name")
    if not target.parent.is_dir():
        raise OutputError(f"{what}: folder {printable(str(target.parent))} does not exist; make it first")
    for other in inputs:
        if are_same(path, other):
            raise OutputError(f"{what}: is one of the pictures to be read; choose another name")
    if target.exists() and not force:
        raise OutputError(f"{what}: exists already; choose another name, or replace it with {option('force', True)}")
    if target.exists() and _is_protected(target):
        raise OutputError(f"{what}: is another user's, in a folder where nobody else replaces it; choose another name")
    with unfinished.unbroken():
        descriptor, temporary = _make_beside(target, 0o600)
        os.close(descriptor)
        temporary.unlink()


def _is_protected(path: Path) -> bool:
    """Whether a file is another user's in a folder where each replaces what is theirs, such as /tmp: mode +t."""
    if sys.platform == "win32":
        return False
    else:
        file, folder = path.stat(), path.parent.stat()
        return bool(folder.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, file.st_uid, folder.st_uid)


def _check_name(path: Path, what: str) -> None:
    length, longest = _length(path.name), _longest_name(path.parent)
    if length > longest:
        raise OutputError(f"{what}: its name is {length} bytes long, and at most {longest} will do; choose a shorter")


def _check_stream(path: Path, what: str, *, again: bool) -> None:
    kind = path.stat().st_mode if path.exists() else 0
    if again:
        raise OutputError(f"{what}: is a device or a pipe; expected a file, which is written again and again")
    if stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
        raise OutputError(f"{what}: is a disk or a socket; expected a file name")
    if is_standard_output(path) and sys.__stdout__ is None:
        raise OutputError(f"{what}: is closed; expected a file or a pipe behind it")
    if not os.access(path, os.W_OK):
        raise OutputError(f"{what}: may not be written to; choose another place")


def are_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by whatever links, or would be."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


# --- writing --------------------------------------------------------------------------------------------------


def write(data: bytes, path: Path, *, replace: bool) -> None:
    """Write a whole file, or nothing.

    Parameters
    ----------
    replace
        Whether a file that is there may be replaced.

    Raises
    ------
    NameTaken
        When it may not, or is not allowed, and one is: the data are in another file beside it, which the error names.
    OSError
        When it cannot be written; whatever was there is still there.
    """
    if is_stream(path):
        _write_into(path, data)
        return
    target = followed(path)
    with unfinished.unbroken(), _written_beside(data, target, replace=replace) as temporary:
        if replace:
            if not _replace(temporary, target):
                raise taken(path, free_name(target, lambda name: _put(temporary, name)), "what is there may not go")
        elif not _put(temporary, target):
            raise taken(path, free_name(target, lambda name: _put(temporary, name)))


def taken(
    path: Path, other: Path, why: str = "another file has taken that name meanwhile and stays as it is"
) -> NameTaken:
    """Return the error that says where a result is, instead of at a name that somebody else's file has by now."""
    return NameTaken(f"output {printable(str(path))}: {why}; the result is in {printable(str(other))}", other)


def lock(file: FileIO) -> bool:
    """Keep others, who ask too, from writing to an open file, and tell whether nobody else does that already."""
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


def open_stream(path: Path) -> FileIO:
    """Open a device, a pipe or an open file, to write at its end.

    Standard output is where `sys.__stdout__` leads: descriptor 1 may have been taken from libraries that print.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    if sys.__stdout__ is not None and is_standard_output(path):
        with contextlib.suppress(OSError, ValueError):  # it has no descriptor
            return FileIO(os.dup(sys.__stdout__.fileno()), "w")
    return FileIO(os.open(path, os.O_WRONLY | os.O_APPEND), "w")


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of it, and wait where somebody has made the descriptor non-blocking.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    left = memoryview(data)
    while left:
        written = file.write(left)
        if written is None:
            time.sleep(_PAUSE)
        else:
            left = left[written:]


def _write_into(path: Path, data: bytes) -> None:
    with open_stream(path) as file:
        write_all(file, data)


@contextlib.contextmanager
def _written_beside(data: bytes, target: Path, *, replace: bool) -> Iterator[Path]:
    """Write to a new file beside its place; what is still there afterwards is removed."""
    old = target.stat() if replace and target.exists() else None
    descriptor, temporary = _make_beside(target, 0o600 if old else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut might leave an empty file under the final name
        if old:
            _take_after(temporary, old)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _take_after(path: Path, old: os.stat_result) -> None:
    """Give a file the permissions of another, and its owner and group, as far as that is allowed."""
    mode = old.st_mode & 0o777
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.chown(path, -1, old.st_gid)
        with contextlib.suppress(OSError):
            os.chown(path, old.st_uid, -1)
    if path.stat().st_gid != old.st_gid:  # another group is given no more than everybody
        mode = mode & ~0o070 | (mode & 0o007) << 3
    with contextlib.suppress(OSError):
        path.chmod(mode)


def _replace(temporary: Path, target: Path) -> bool:
    """Put a file in the place of another, and tell whether that is allowed."""
    try:
        temporary.replace(target)
    except PermissionError:
        return False
    return True


def _put(temporary: Path, target: Path) -> bool:
    """Give a file its final name, and tell whether that was free: nobody can take it in between."""
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


def free_name(path: Path, take: Callable[[Path], bool]) -> Path:
    """Return the first other name of a path, out-2.png, out-3.png and so on, that `take` says it has taken."""
    suffix = path.suffix if len(path.suffix) <= _LONGEST_SUFFIX else ""
    stem, longest = path.name.removesuffix(suffix), _longest_name(path.parent)
    endings = (f"-{number}{suffix}" for number in itertools.count(2))
    names = (path.with_name(_cut(stem, longest - _length(ending)) + ending) for ending in endings)
    return next(name for name in names if take(name))


# --- what lies beside, while it is written --------------------------------------------------------------------

#: Of a temporary file's name, at the end: drawn anew each time.
_DRAWN = 8


def _beginning(path: Path) -> str:
    """Return how the names of a file's temporary ones begin; of a long name, its hash stands for the end."""
    room = _longest_name(path.parent) - _DRAWN - len("..")
    name = path.name
    if _length(name) > room:
        ending = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{_cut(name, room - len(ending))}{ending}"
    return f".{name}."


def _make_beside(path: Path, mode: int) -> tuple[int, Path]:
    """Make a new file beside another, of that mode less the umask; return it open, and its path."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(_beginning(path) + secrets.token_hex(_DRAWN // 2))
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, flags, mode), temporary


def remove(path: Path) -> None:
    """Remove a file; a link to it stays, and nothing else than a file is touched.

    Raises
    ------
    OSError
        When it cannot be removed.
    """
    target = followed(path)
    if target.is_file() and not is_stream(path):
        target.unlink()


def clear_up(path: Path) -> None:
    """Remove what processes that were killed while they wrote a file have left beside it."""
    with contextlib.suppress(OSError):
        target = followed(path)
        left = re.compile(rf"{re.escape(_beginning(target))}[a-z0-9_]{{{_DRAWN}}}")
        for other in target.absolute().parent.iterdir():
            if left.fullmatch(other.name) and other.is_file():
                other.unlink()


class Own:
    """A file that a run writes again and again: it replaces what it has itself written, and nobody else's.

    Parameters
    ----------
    path
        The file.
    replace
        Whether what is there now may be replaced, the first time.

    Attributes
    ----------
    path
        The file; another one beside it once somebody else has taken its name.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self.path = path
        self._last = identity(path) if replace else None

    @property
    def is_own(self) -> bool:
        """Whether what is there is what the run has written, or may replace."""
        found = identity(self.path)
        return found is not None and found == self._last

    def write(self, work: Callable[[Path, bool], None]) -> None:
        """Have it written: `work` takes the path, and whether what is there may be replaced.

        Raises
        ------
        NameTaken
            When another program has taken the name; from then on `path` is another.
        """
        try:
            work(self.path, self.is_own)
        except NameTaken as taken:
            self.path = taken.place
            self._last = identity(self.path)
            raise
        self._last = identity(self.path)

    def remove(self) -> None:
        """Remove it, if it is the run's own.

        Raises
        ------
        OSError
            When it cannot be removed.
        """
        if self.is_own:
            remove(self.path)
        clear_up(self.path)
