"""What the tests of `impasto serve` share: servers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving import Server

Starter = Callable[..., Server]


@pytest.fixture
def start_server(tmp_path: Path, small_model: Path) -> Iterator[Starter]:
    """A maker of servers with one data folder, one after the other; they end with the test, as do their runs."""
    servers: list[Server] = []

    def start(*options: object, data: Path = tmp_path / "data") -> Server:
        servers.append(Server.start(data, small_model, *options))
        return servers[-1]

    yield start
    for server in servers:
        _end(server)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Server]:
    """A server that a module's tests share."""
    one = Server.start(tmp_path_factory.mktemp("serve") / "data", small_model)
    yield one
    _end(one)


def _end(server: Server) -> None:
    """End a server and the runs that it has started, also those that it left behind."""
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    if server.process.stdout:
        server.process.stdout.close()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
            if str(server.data) in " ".join(process.cmdline()):
                process.kill()
                process.wait(10)
