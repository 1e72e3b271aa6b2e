"""The server: its socket, its loop, and how it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from impasto.cli.serve.app import Site
from impasto.cli.serve.connections import BoundedProtocol
from impasto.cli.serve.files import make_folder
from impasto.cli.serve.guard import Keys
from impasto.cli.serve.settings import Settings
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.storage.streams import lock
from impasto.waiting import WaitingFile

#: Seconds that the present run has for its checkpoint when the server leaves, and that answers have.
_LAST_RUN, _LAST_ANSWER = 30.0, 2

#: Seconds between two looks whether to leave.
_PAUSE = 0.1

#: The fewest characters of a token from a file.
_LEAST = 16

# What uvicorn logs is for programs that look for it.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())
logging.getLogger("uvicorn").propagate = False


@contextlib.contextmanager
def sole_use(data: Path) -> Iterator[None]:
    """Keep other servers from a data folder for a `with` block.

    Raises
    ------
    OutputError
        When another server has it, or it cannot be made.
    """
    try:
        make_folder(data)
        file = WaitingFile(data / "serve.lock", "a")
    except OSError as error:
        raise OutputError(f"--data {data}: cannot be used ({error.strerror}); name another folder") from None
    with file:
        if not lock(file):
            raise OutputError(f"--data {data}: another impasto serve is using it; end that, or name another folder")
        yield


def listening(host: str, port: int, *, or_another: bool) -> socket.socket:
    """Return a socket that listens; at another port if that one is taken, and `or_another`.

    Raises
    ------
    InputError
        When there is no such address here, or the port is taken.
    """
    for wanted in (port, *((0,) if or_another else ())):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
            own = socket.socket(family, kind, protocol)
            if sys.platform != "win32":  # there it would share the port with another program
                own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(address)
            return own
        except OSError as error:
            reason = error.strerror or str(error)
    raise InputError(f"--host {host} --port {port}: cannot listen there ({reason}); choose another port, or none")


def read_token(path: Path) -> str:
    """Return the token in a file; a file that is not there is made, with a new one.

    Raises
    ------
    InputError
        When it cannot be used.
    """
    subject = f"--token-file {path}"
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{new_token()}\n")
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"{subject}: others may read it; chmod 600 {path}")
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise InputError(f"{subject}: cannot be used ({reason}); expected a file with a token") from None
    if len(token) < _LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(f"{subject}: expected {_LEAST} or more letters, digits and signs, without spaces")
    return token


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def serve(
    settings: Settings,
    keys: Keys,
    own: socket.socket,
    tls: tuple[Path, Path | None] | None,
    is_over: Callable[[], bool],
    ready: Callable[[], None],
) -> None:
    """Answer requests until it is over. The runs that go on keep their checkpoints, and are the first of the next time.

    Parameters
    ----------
    tls
        The certificate, and its key if that is not in the same file.
    is_over
        Whether to leave; asked a few times a second.
    ready
        Called once requests are answered.

    Raises
    ------
    InputError
        When the certificate cannot be used.
    """
    asyncio.run(_serve(settings, keys, own, tls, is_over, ready))


async def _serve(
    settings: Settings,
    keys: Keys,
    own: socket.socket,
    tls: tuple[Path, Path | None] | None,
    is_over: Callable[[], bool],
    ready: Callable[[], None],
) -> None:
    site = Site(settings, keys)
    config = uvicorn.Config(
        site.app(),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_ANSWER,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    try:
        config.load()
    except OSError as error:
        raise InputError(f"--tls-cert, --tls-key: cannot be used ({error.strerror or error})") from None
    server = uvicorn.Server(config)
    try:
        await site.prepare()
        own.listen(128)
        work = asyncio.create_task(site.queue.work())
        answering = asyncio.create_task(server.serve([own]))
        while not (server.started or answering.done()):
            await asyncio.sleep(0.01)
        ready()
        while not (is_over() or work.done() or answering.done()):
            await asyncio.sleep(_PAUSE)
        await site.queue.leave(_LAST_RUN)  # those who watch see that
        site.hub.close()
        server.should_exit = True
        await answering
        await work
    finally:
        site.helper.end()
