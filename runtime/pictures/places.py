"""Where pictures come from and go to: files, the standard streams, and addresses on the web. Bytes, no pictures."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import queue
import re
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO
from urllib import request
from urllib.error import URLError
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

import impasto
from impasto.runtime.errors import OutputError, PictureError, SaveError
from impasto.runtime.storage import files
from impasto.text import printable

#: Text may be a path, ``-`` (standard input or output) or a URL; a `Path` is a file's, whatever it looks like.
Place = str | Path

STREAM = "-"

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]+://|(?:https?|ftps?|file|data):)", re.IGNORECASE)
_SCHEMES = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 1 << 16

#: Seconds between two looks into a pipe that is empty.
_PAUSE = 0.01


@dataclass(frozen=True)
class Limits:
    """What a picture that is no file may cost.

    Attributes
    ----------
    size
        Bytes.
    seconds
        Time for all of it, from the look-up of the server's name to the last byte.
    silence
        Seconds to wait for a connection, or for the next bytes.
    redirects
        How often a server may send us elsewhere.
    """

    size: int = 100_000_000
    seconds: float = 120.0
    silence: float = 15.0
    redirects: int = 5


LIMITS = Limits()


class _RefusedError(Exception):
    """What is wrong with an address or its answer; the text says it, without naming the address."""


def is_url(place: Place) -> bool:
    """Whether a place is an address, of a scheme that is fetched or of any other."""
    return isinstance(place, str) and bool(_URL.match(place))


def is_file(place: Place) -> bool:
    """Whether a place is a file's: neither a standard stream nor an address."""
    return isinstance(place, Path) or not (place == STREAM or is_url(place))


def is_missing(place: Place) -> bool:
    """Whether a place is a file's, and nothing is there."""
    try:
        return is_file(place) and not Path(place).exists()
    except OSError:  # what can be no name, as a long text cannot
        return True


def is_stream(place: Place) -> bool:
    """Whether a place is a standard stream, a device, a pipe or an open file, as far as that can be told."""
    try:
        return place == STREAM or (is_file(place) and files.is_stream(Path(place)))
    except OSError:
        return False


def is_standard_output(place: Place) -> bool:
    """Whether what is written to a place goes to standard output."""
    try:
        return place == STREAM or (is_file(place) and files.is_standard_output(Path(place)))
    except OSError:
        return False


def name(place: Place) -> str:
    """Return what messages call a place: of an address neither user, password nor query, which may be secret."""
    if not is_url(place):
        return printable(str(place))
    try:
        parts = _split(str(place))
    except _RefusedError:
        return f"{str(place).partition(':')[0]}:..."
    shown = urlunsplit((parts.scheme, _host(parts), parts.path, "", "")) + ("?..." if parts.query else "")
    return printable(shown)


# --- coming in ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(place: Place, limits: Limits = LIMITS) -> Iterator[IO[bytes]]:
    """Open a picture's bytes, wherever they are, to be read and sought in.

    Raises
    ------
    PictureError
        When standard input, a pipe or an address does not give a whole picture within `limits`, or it is a device.
    OSError
        When a file cannot be opened.
    """
    if is_url(place):
        yield io.BytesIO(fetch(str(place), limits))
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


def _read_pipe(path: Path, limits: Limits) -> bytes:
    """Read a named pipe; one that nobody writes into would be waited for without end."""
    what = f"picture {path}"
    pipe = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # Windows has neither it nor such pipes
    try:
        data, heard = bytearray(), time.monotonic()
        while block := _read_some(pipe, bool(data), heard, limits):
            data += block
            heard = time.monotonic()
            if len(data) > limits.size:
                raise PictureError(f"{what}: more than {_megabytes(limits.size)}; make it smaller, or give a file")
        if data:
            return bytes(data)
        raise PictureError(f"{what}: is a pipe, and nothing comes out of it; give a file")
    finally:
        os.close(pipe)


def _read_some(pipe: int, begun: bool, heard: float, limits: Limits) -> bytes:
    """Return what comes out of a pipe next; nothing at its end, or when there was nothing for too long."""
    while True:
        try:
            block = os.read(pipe, _BLOCK)
            patience = limits.silence
            if block or begun:
                return block
        except BlockingIOError:  # somebody has it open, and may be at work still
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


def _read_stream(stream: IO[bytes], what: str, limits: Limits) -> bytes:
    try:
        data = stream.read(limits.size + 1)
    except OSError as error:
        raise PictureError(f"picture {what}: cannot be read ({error.strerror}); give a file") from None
    if len(data) > limits.size:
        raise PictureError(f"picture {what}: more than {_megabytes(limits.size)}; make it smaller, or give a file")
    return data


def _megabytes(size: int) -> str:
    return f"{size / 1e6:g} MB"


# --- the web --------------------------------------------------------------------------------------------------


def fetch(url: str, limits: Limits = LIMITS) -> bytes:
    """Return what lies at an http or https address.

    A user and password in it are sent (RFC 7617), only to the server it names; messages never show them. Proxies
    are those of the environment.

    Raises
    ------
    PictureError
        When the address will not do, or the server does not give its bytes within `limits`.
    """
    found: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def work() -> None:
        try:
            found.put(_follow(url, limits, given_up))
        except Exception as error:
            found.put(error)

    # No time-out of a socket covers the look-up of a name, nor a server that sends a byte now and then.
    threading.Thread(target=work, daemon=True).start()
    try:
        answer = found.get(timeout=limits.seconds)
    except queue.Empty:
        answer = _RefusedError(f"took longer than {limits.seconds:g} seconds; download it and give the file")
    finally:
        given_up.set()
    if isinstance(answer, bytes):
        return answer
    raise PictureError(f"picture {name(url)}: {_why_not_fetched(answer, limits)}") from None


def _follow(url: str, limits: Limits, given_up: threading.Event) -> bytes:
    """Return what lies at an address, or where its server sends us."""
    asked = address = _split(url)
    web = _web()
    for _ in range(limits.redirects + 1):
        answer: http.client.HTTPResponse = web.open(_request(address, asked), timeout=limits.silence)
        with answer:
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                _check_status(answer.status)
                return _read_answer(answer, limits, given_up)
        address = _split(urljoin(urlunsplit(address), target), "redirects to")
    raise _RefusedError(f"redirects more than {limits.redirects} times; give the address of the picture itself")


def _web() -> request.OpenerDirector:
    """Return what speaks HTTP and nothing else, follows no redirect and takes any status for an answer."""
    web = request.OpenerDirector()
    for handler in (request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler()):
        web.add_handler(handler)
    return web


def _split(url: str, what: str = "is") -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and bool(parts.hostname)  # a port that is no number raises
    except ValueError:
        raise _RefusedError(f"{what} no valid address; expected one like https://example.org/photo.jpg") from None
    if parts.scheme not in _SCHEMES:
        raise _RefusedError(
            f"{what} {parts.scheme}:, and only http: and https: are fetched; download it and give the file"
        )
    if not usable:
        raise _RefusedError(f"{what} no valid address; expected one like https://example.org/photo.jpg")
    return parts


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _request(address: SplitResult, asked: SplitResult) -> request.Request:
    """Ask for an address; what was `asked` for first may hold a password, for its own server only."""
    path, query = quote(address.path, "/%:@!$&'()*+,;=~"), quote(address.query, "/%:@!$&'()*+,;=~?")
    question = request.Request(urlunsplit((address.scheme, _host(address), path, query, "")))
    question.add_header("User-Agent", f"impasto/{impasto.__version__}")
    question.add_header("Accept", "image/*, */*;q=0.5")
    holder = asked if (asked.scheme, _host(asked)) == (address.scheme, _host(address)) else address
    if holder.username is not None:
        secret = f"{unquote(holder.username)}:{unquote(holder.password or '')}".encode()
        question.add_header("Authorization", f"Basic {base64.b64encode(secret).decode()}")
    return question


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    match status:
        case 404 | 410:
            advice = "check the address"
        case 401 | 403 | 407:
            advice = "it asks for a permission: download it and give the file"
        case _:
            advice = "try again later, or download it and give the file"
    phrase = next((f" {known.phrase}" for known in HTTPStatus if known == status), "")
    raise _RefusedError(f"the server answers {status}{phrase}; {advice}")


def _read_answer(answer: http.client.HTTPResponse, limits: Limits, given_up: threading.Event) -> bytes:
    """Read to the end, counting: what a server declares is believed when it refuses, or ends, the reading."""
    declared = answer.length
    too_big = _RefusedError(f"is more than {_megabytes(limits.size)}; make it smaller, or give a file")
    if declared is not None and declared > limits.size:
        raise too_big
    data = bytearray()
    while declared is None or len(data) < declared:
        block = answer.read1(_BLOCK if declared is None else min(_BLOCK, declared - len(data)))
        if given_up.is_set():
            raise _RefusedError("given up")
        data += block
        if len(data) > limits.size:
            raise too_big
        if not block:
            break
    if declared is not None and len(data) < declared:
        raise _RefusedError(f"broke off after {len(data)} of {declared} bytes; try again")
    return bytes(data)


def _why_not_fetched(error: Exception, limits: Limits) -> str:
    match error:
        case _RefusedError():
            return str(error)
        case URLError(reason=Exception() as reason):
            return _why_not_fetched(reason, limits)
        case ssl.SSLCertVerificationError():
            return f"the server cannot prove who it is ({error.verify_message}); download it and give the file"
        case ssl.SSLError():
            return f"no secure connection ({error.reason or 'TLS failed'}); check the address"
        case TimeoutError():
            return f"no answer for {limits.silence:g} seconds; try again later"
        case socket.gaierror():
            return "the server is not found; check the address and your connection"
        case OSError(strerror=str(reason)):
            return f"cannot be fetched ({reason}); check the address and your connection"
        case OSError() | http.client.HTTPException() | UnicodeError():
            return f"the server's answer cannot be understood ({type(error).__name__}); download it and give the file"
    raise error


# --- going out ------------------------------------------------------------------------------------------------


def check_destination(place: Place, *, force: bool = False, inputs: Sequence[Place] = (), again: bool = False) -> None:
    """Make sure that a file can be written to a place, or that standard output leads somewhere.

    Parameters
    ----------
    force, again
        Whether a file that is there may be replaced; whether it will be written more than once.
    inputs
        What is being read: files among these are never replaced.

    Raises
    ------
    OutputError
        When it cannot, or something would be lost.
    """
    if is_url(place):
        raise OutputError(f"output {name(place)}: is an address; expected a file name, or - for standard output")
    if not is_file(place):
        _check_standard_output()
        return
    try:
        files.check(Path(place), force, [Path(other) for other in inputs if is_file(other)], again=again)
    except OSError as error:
        raise OutputError(f"output {name(place)}: cannot be written ({error.strerror}); choose another place") from None


def _check_standard_output() -> None:
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError("output -: standard output is closed; expected a file or a pipe behind it")
    if sys.stdout.isatty():
        raise OutputError("output -: standard output is a terminal; redirect it into a file, or name one")
    if not hasattr(sys.stdout, "buffer"):  # a notebook's
        raise OutputError("output -: standard output takes nothing but text; name a file")


def write(data: bytes, place: Place, *, replace: bool = True) -> None:
    """Write a whole file, or nothing; see `impasto.runtime.storage.files`. ``-`` is standard output.

    Parameters
    ----------
    replace
        Whether a file that is there may be replaced. Otherwise one that another program has made meanwhile stays.

    Raises
    ------
    NameTaken
        When it may not be replaced, and one is there: the data are in another file beside it.
    SaveError
        When it cannot be written, for want of space for instance; whatever was there is still there.
    """
    try:
        if is_file(place):
            files.write(data, Path(place), replace=replace)
        else:
            _write_standard_output(data)
    except OSError as error:
        raise SaveError(
            f"output {name(place)}: could not be written ({error.strerror or error}); make room or choose another "
            "place, and run it again"
        ) from None


def _write_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError:
        with contextlib.suppress(OSError):  # else Python tries, and complains, once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
