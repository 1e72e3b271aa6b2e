"""Places of pictures: files, the standard streams, and addresses on the web; reading and writing their bytes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from impasto.figures import megabytes
from impasto.runtime.errors import OutputError, PictureError, SaveError
from impasto.runtime.storage import checking, names
from impasto.runtime.storage.replacing import replacing as replacing_file
from impasto.text import printable

#: A text may be a path, ``-`` (standard input or output) or a URL; a `Path` is always a file's.
Place = str | Path

STREAM = "-"

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+://|(?:https?|ftps?|file|data):)", re.IGNORECASE)
_BLOCK = 1 << 16

#: Seconds between two looks into a pipe that is empty.
_PAUSE = 0.01


@dataclass(frozen=True)
class Limits:
    """The limits on reading a picture that is not a file.

    Attributes
    ----------
    size
        The most bytes.
    seconds
        The time for all of it, from the look-up of the server's name to the last byte.
    silence
        Seconds to wait for a connection, or for the next bytes.
    """

    size: int = 100_000_000
    seconds: float = 120.0
    silence: float = 15.0


LIMITS = Limits()


def is_url(place: Place) -> bool:
    """Whether a place is an address, of any scheme."""
    return isinstance(place, str) and bool(_URL.match(place))


def is_file(place: Place) -> bool:
    """Whether a place is a file: neither a standard stream nor an address."""
    return isinstance(place, Path) or not (place == STREAM or is_url(place))


def is_missing(place: Place) -> bool:
    """Whether a place is a file that does not exist."""
    try:
        return is_file(place) and not Path(place).exists()
    except OSError:  # it cannot be a name, because it is too long for instance
        return True


def is_stream(place: Place) -> bool:
    """Whether a place is a standard stream, a device, a pipe or an open file; False if the system does not tell."""
    try:
        return place == STREAM or (is_file(place) and names.is_stream(Path(place)))
    except OSError:
        return False


def is_standard_output(place: Place) -> bool:
    """Whether writing to a place writes to standard output."""
    try:
        return place == STREAM or (is_file(place) and names.is_standard_output(Path(place)))
    except OSError:
        return False


def name(place: Place) -> str:
    """Return the name of a place in messages; without user, password and query of an address, which may be secret."""
    if not is_url(place):
        return printable(str(place))
    from impasto import web  # here, because it takes time to import, and addresses are rare

    return web.name(str(place))


# --- reading --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(place: Place, limits: Limits = LIMITS) -> Iterator[IO[bytes]]:
    """Open the bytes at a place as a seekable file.

    Raises
    ------
    PictureError
        When standard input, a pipe or an address does not give a whole picture within `limits`, or it is a device.
    OSError
        When a file cannot be opened.
    """
    if is_url(place):
        yield io.BytesIO(_fetch(str(place), limits))
    elif not is_file(place):
        yield io.BytesIO(_read_standard_input(limits))
    elif stat.S_ISFIFO(kind := Path(place).stat().st_mode):
        yield io.BytesIO(_read_pipe(Path(place), limits))
    elif stat.S_ISDIR(kind):
        raise IsADirectoryError
    elif not stat.S_ISREG(kind):
        raise PictureError(f"picture {name(place)}: is a device or a socket; expected a file such as photo.jpg")
    else:
        with Path(place).open("rb") as file:
            yield file


def _fetch(url: str, limits: Limits) -> bytes:
    from impasto import web  # as above

    try:
        return web.fetch(url, **asdict(limits))
    except web.FetchError as error:
        raise PictureError(f"picture {web.name(url)}: {error}") from None


def _read_pipe(path: Path, limits: Limits) -> bytes:
    """Read a named pipe, without waiting for ever for a program that writes into it."""
    subject = f"picture {path}"
    pipe = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # Windows has neither the flag nor such pipes
    try:
        data, heard = bytearray(), time.monotonic()
        while block := _read_some(pipe, bool(data), heard, limits):
            data += block
            heard = time.monotonic()
            if len(data) > limits.size:
                raise PictureError(f"{subject}: more than {megabytes(limits.size)}; make it smaller, or give a file")
        if data:
            return bytes(data)
        raise PictureError(f"{subject}: is a pipe, and nothing comes out of it; give a file")
    finally:
        os.close(pipe)


def _read_some(pipe: int, begun: bool, heard: float, limits: Limits) -> bytes:
    """Return the next bytes of a pipe; none at its end, or when there were none for too long."""
    while True:
        try:
            block = os.read(pipe, _BLOCK)
            patience = limits.silence
            if block or begun:
                return block
        except BlockingIOError:  # another program has it open, and may still write
            patience = limits.seconds
        if time.monotonic() > heard + patience:
            return b""
        time.sleep(_PAUSE)


def _read_standard_input(limits: Limits) -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise PictureError("picture -: standard input is closed; expected a picture piped in")
    if sys.stdin.isatty():
        raise PictureError("picture -: standard input is a terminal; expected a picture piped in")
    data = _read_stream(sys.stdin.buffer, STREAM, limits)
    if not data:
        raise PictureError("picture -: standard input is empty; pipe a picture in, and name - only once")
    return data


def _read_stream(stream: IO[bytes], subject: str, limits: Limits) -> bytes:
    try:
        data = stream.read(limits.size + 1)
    except OSError as error:
        raise PictureError(f"picture {subject}: cannot be read ({error.strerror}); give a file") from None
    if len(data) > limits.size:
        raise PictureError(f"picture {subject}: more than {megabytes(limits.size)}; make it smaller, or give a file")
    return data


# --- writing --------------------------------------------------------------------------------------------------


def check_destination(place: Place, *, force: bool = False, inputs: Sequence[Place] = (), again: bool = False) -> None:
    """Make sure that a file can be written to a place, or that standard output leads somewhere.

    Parameters
    ----------
    force, again
        Whether an existing file may be replaced; whether it will be written more than once.
    inputs
        The places that are read: files among these are never replaced.

    Raises
    ------
    OutputError
        When it cannot be written, or another file would be lost.
    """
    if is_url(place):
        raise OutputError(f"output {name(place)}: is an address; expected a file name, or - for standard output")
    if not is_file(place):
        _check_standard_output()
        return
    try:
        checking.check(Path(place), force, [Path(other) for other in inputs if is_file(other)], again=again)
    except OSError as error:
        raise OutputError(f"output {name(place)}: cannot be written ({error.strerror}); choose another place") from None


def _check_standard_output() -> None:
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError("output -: standard output is closed; expected a file or a pipe behind it")
    if sys.stdout.isatty():
        raise OutputError("output -: standard output is a terminal; redirect it into a file, or name one")
    if not hasattr(sys.stdout, "buffer"):  # a notebook's
        raise OutputError("output -: standard output takes nothing but text; name a file")


@contextlib.contextmanager
def replacing(place: Place, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a place to be written, whole or not at all; see `impasto.runtime.storage.replacing`.

    ``-`` is standard output.

    Parameters
    ----------
    replace
        Whether an existing file may be replaced. If not, a file that another program has made meanwhile stays.

    Raises
    ------
    NameTaken
        When there is a file that may not be replaced: the data are in another file beside it.
    SaveError
        When it cannot be written, for instance because the disk is full; a file that was there before is unchanged.
    """
    try:
        with replacing_file(Path(place), replace=replace) if is_file(place) else _standard_output() as file:
            yield file
    except OSError as error:
        raise SaveError(
            f"output {name(place)}: could not be written ({error.strerror or error}); make room or choose another "
            "place, and run it again"
        ) from None


@contextlib.contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError:
        with contextlib.suppress(OSError):  # otherwise Python tries again, and fails, when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
