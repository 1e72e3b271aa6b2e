"""A real server of the page for tests: a process, on a free port, with a data folder of its own."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from processes import command, environment

#: A run of the tests' small model that is over at once.
QUICK: dict[str, Any] = {
    "recipe": "small", "size": "64", "evaluations": 4, "device": "cpu", "lowering": "direct", "threads": 1
}  # fmt: skip

#: One that lasts until it is stopped.
LONG = {**QUICK, "evaluations": 900_000, "init": "random", "optimizer": "adam"}

#: Seconds that anything may take, on a busy machine.
PATIENCE = 120.0


def png(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """Return a picture of noise as a file."""
    file = io.BytesIO()
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


@dataclass
class Answer:
    """An answer of the server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def data(self) -> Any:
        """What it says, as plain data."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error's text."""
        text: str = self.data["error"]
        assert set(self.data) == {"error"} and "\n" not in text
        return text


@dataclass
class Server:
    """A server, and a client of it that has the token."""

    process: subprocess.Popen[str]
    data: Path
    host: str
    port: int
    token: str
    pictures: dict[int, str] = field(default_factory=dict)

    @classmethod
    def start(cls, data: Path, model: Path, *options: object) -> Server:
        """Start one, and wait until it answers."""
        with (data.parent / f"{data.name}.messages.txt").open("a") as messages:
            process = subprocess.Popen(
                command("serve", "--no-browser", "--json", "--data", data, "--model", model, "--port", 0, *options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                env=environment(),
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.stdout.close()
            process.wait()
            raise AssertionError((data.parent / f"{data.name}.messages.txt").read_text())
        told = json.loads(line)
        host, _, port = told["address"].partition("://")[2].rstrip("/").rpartition(":")
        return cls(process, data, host, int(port), told["token"])

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return f"http://{self.host}:{self.port}/#token={self.token}"

    @property
    def messages(self) -> str:
        """What it has said on standard error."""
        return (self.data.parent / f"{self.data.name}.messages.txt").read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Have it end by a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def finish(self) -> None:
        """End it, and the runs that it has started, also those that it left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
                if str(self.data) in " ".join(process.cmdline()):
                    process.kill()
                    process.wait(10)

    # --- asking -----------------------------------------------------------------------------------------------

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        path: str,
        data: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: bool = True,
    ) -> Answer:
        """Ask for something, as a program with the token does."""
        connection = self.connect()
        given = {"Authorization": f"Bearer {self.token}"} if token else {}
        content = json.dumps(data).encode() if data is not None else body
        with contextlib.closing(connection):
            connection.request(method, path, content, given | (headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def get(self, path: str, **more: Any) -> Answer:
        """Ask for something that is there."""
        answer = self.ask("GET", path, **more)
        assert answer.status == 200, answer.body
        return answer

    def upload(self, body: bytes, name: str = "picture.png") -> dict[str, Any]:
        """Give it a picture."""
        answer = self.ask("POST", f"/api/pictures?name={name}", body=body)
        assert answer.status == 201, answer.body
        told: dict[str, Any] = answer.data
        return told

    def picture(self, seed: int) -> str:
        """Return the id of a picture of noise."""
        if seed not in self.pictures:
            self.pictures[seed] = self.upload(png(seed=seed), f"noise-{seed}.png")["id"]
        return self.pictures[seed]

    def request(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a request for a run over two pictures of noise."""
        return {
            "content": self.picture(0),
            "styles": [self.picture(1)],
            "options": QUICK if options is None else options,
        }

    def submit(self, options: dict[str, Any] | None = None) -> str:
        """Submit a run, and return its id."""
        answer = self.ask("POST", "/api/runs", self.request(options))
        assert answer.status == 201, answer.body
        key: str = answer.data["id"]
        return key

    def run(self, key: str) -> dict[str, Any]:
        """Return a run."""
        told: dict[str, Any] = self.get(f"/api/runs/{key}").data
        return told

    def wait(self, key: str, *states: str, step: int = 0) -> dict[str, Any]:
        """Wait until a run is in one of some states, and has made so many evaluations."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            run = self.run(key)
            if run["state"] in states and (run["step"] or {"evaluation": 0})["evaluation"] >= step:
                return run
            assert run["state"] != "failed" or "failed" in states, run
            time.sleep(0.1)
        raise AssertionError(f"never {states}: {run}")

    @contextlib.contextmanager
    def events(self, path: str = "/api/events") -> Iterator[Iterator[tuple[str, Any]]]:
        """Watch events, each with its name and its data."""
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer)


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def is_alive(pid: int) -> bool:
    """Whether there is a process of a number."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


#: Starts a server with options, in the data folder of a test.
Starter = Callable[..., Server]
