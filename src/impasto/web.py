"""The client for http and https addresses. It is imported only where there is an address to fetch."""

from __future__ import annotations

import base64
import http.client
import queue
import socket
import ssl
import threading
from http import HTTPStatus
from urllib import request
from urllib.error import URLError
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

import impasto
from impasto.figures import megabytes
from impasto.text import printable

_SCHEMES = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)

#: How often a server may send us to another address.
_MOST_REDIRECTS = 5

_BLOCK = 1 << 16


class FetchError(Exception):
    """An address or its answer is wrong; the text says how, without naming the address."""


def name(url: str) -> str:
    """Return an address as messages show it: without user, password and query, which may be secret."""
    try:
        parts = _split(url)
    except FetchError:
        return f"{url.partition(':')[0]}:..."
    return printable(urlunsplit((parts.scheme, _host(parts), parts.path, "", "")) + ("?..." if parts.query else ""))


def fetch(url: str, *, size: int, seconds: float, silence: float) -> bytes:
    """Return the bytes at an http or https address.

    A user and password in it are sent (RFC 7617), only to the server it names; messages never show them. Proxies
    are those of the environment.

    Parameters
    ----------
    size
        The most bytes.
    seconds
        The longest time for all of it, from the look-up of the server's name to the last byte.
    silence
        Seconds to wait for a connection, or for the next bytes.

    Raises
    ------
    FetchError
        When the address will not do, or the server does not give its bytes within these limits.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def work() -> None:
        try:
            answers.put(_follow(url, size, silence, given_up))
        except Exception as error:
            answers.put(error)

    # No time-out of a socket covers the look-up of a name, nor a server that sends a byte now and then.
    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        answer = FetchError(f"took longer than {seconds:g} seconds; download it and give the file")
    finally:
        given_up.set()
    if isinstance(answer, bytes):
        return answer
    raise FetchError(_reason(answer, silence)) from None


def _follow(url: str, size: int, silence: float, given_up: threading.Event) -> bytes:
    """Return the bytes at an address, or at the one that its server sends us to."""
    first = address = _split(url)
    opener = _opener()
    for _ in range(_MOST_REDIRECTS + 1):
        answer: http.client.HTTPResponse = opener.open(_request(address, first), timeout=silence)
        with answer:
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                _check_status(answer.status)
                return _read(answer, size, given_up)
        address = _split(urljoin(urlunsplit(address), target), "redirects to")
    raise FetchError(f"redirects more than {_MOST_REDIRECTS} times; give the address of the picture itself")


def _opener() -> request.OpenerDirector:
    """Return an opener that speaks HTTP and nothing else, follows no redirect and takes any status for an answer."""
    opener = request.OpenerDirector()
    for handler in (request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _split(url: str, verb: str = "is") -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and bool(parts.hostname)  # a port that is no number raises
    except ValueError:
        raise FetchError(f"{verb} no valid address; expected one like https://example.org/photo.jpg") from None
    if parts.scheme not in _SCHEMES:
        raise FetchError(
            f"{verb} {parts.scheme}:, and only http: and https: are fetched; download it and give the file"
        )
    if not usable:
        raise FetchError(f"{verb} no valid address; expected one like https://example.org/photo.jpg")
    return parts


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _request(address: SplitResult, first: SplitResult) -> request.Request:
    """Return the request for an address; the `first` one may hold a password, which is for its own server only."""
    path, query = quote(address.path, "/%:@!$&'()*+,;=~"), quote(address.query, "/%:@!$&'()*+,;=~?")
    question = request.Request(urlunsplit((address.scheme, _host(address), path, query, "")))
    question.add_header("User-Agent", f"impasto/{impasto.__version__}")
    question.add_header("Accept", "image/*, */*;q=0.5")
    holder = first if (first.scheme, _host(first)) == (address.scheme, _host(address)) else address
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
    raise FetchError(f"the server answers {status}{phrase}; {advice}")


def _read(answer: http.client.HTTPResponse, size: int, given_up: threading.Event) -> bytes:
    """Read to the end, counting: the length that a server declares can only refuse the reading, or end it."""
    declared = answer.length
    too_big = FetchError(f"is more than {megabytes(size)}; make it smaller, or give a file")
    if declared is not None and declared > size:
        raise too_big
    data = bytearray()
    while declared is None or len(data) < declared:
        block = answer.read1(_BLOCK if declared is None else min(_BLOCK, declared - len(data)))
        if given_up.is_set():
            raise FetchError("given up")
        data += block
        if len(data) > size:
            raise too_big
        if not block:
            break
    if declared is not None and len(data) < declared:
        raise FetchError(f"broke off after {len(data)} of {declared} bytes; try again")
    return bytes(data)


def _reason(error: Exception, silence: float) -> str:
    match error:
        case FetchError():
            return str(error)
        case URLError(reason=Exception() as reason):
            return _reason(reason, silence)
        case ssl.SSLCertVerificationError():
            return f"the server cannot prove who it is ({error.verify_message}); download it and give the file"
        case ssl.SSLError():
            return f"no secure connection ({error.reason or 'TLS failed'}); check the address"
        case TimeoutError():
            return f"no answer for {silence:g} seconds; try again later"
        case socket.gaierror():
            return "the server is not found; check the address and your connection"
        case OSError(strerror=str(reason)):
            return f"cannot be fetched ({reason}); check the address and your connection"
        case OSError() | http.client.HTTPException() | UnicodeError():
            return f"the server's answer cannot be understood ({type(error).__name__}); download it and give the file"
    raise error
