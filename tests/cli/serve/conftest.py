"""What the tests of `impasto serve` share: servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving import Server, Starter


@pytest.fixture
def start_server(tmp_path: Path, small_model: Path) -> Iterator[Starter]:
    """A maker of servers with one data folder, one after the other; they end with the test, as do their runs."""
    servers: list[Server] = []

    def start(*options: object, data: Path = tmp_path / "data") -> Server:
        servers.append(Server.start(data, small_model, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.finish()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Server]:
    """A server that a module's tests share."""
    one = Server.start(tmp_path_factory.mktemp("serve") / "data", small_model)
    yield one
    one.finish()
