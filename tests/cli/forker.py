"""A process that has imported what commands import, and forks for each: half of a short command's time are imports.

On Linux only: elsewhere a fork is not safe once such libraries are loaded. `Forker` is the side of the tests. This file
as a program is the other side, which imports neither pytest nor a test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

#: The most bytes of a request: its arguments and its folder.
_LONGEST = 1 << 16

#: What is imported before a fork, beside onnxruntime: all that most commands need.
_IMPORTED = (
    "numpy.random",
    *(f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")),
    "impasto.cli.app",
    "impasto.cli.job.job",
    "impasto.export.provision",
    "impasto.runtime",
)


class Forker:
    """Runs commands by forking, one at a time.

    They have the surroundings that the tests' process has when this is made: environment, limits, mode of new files,
    and signals. The working folder and standard input are those of the moment.
    """

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Pipes, as commands have: Python sets its streams up when it starts, each for what it leads to.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        self._answer()

    def run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it is killed after so many seconds."""
        request = json.dumps({"arguments": arguments, "folder": str(Path.cwd())}).encode()
        assert len(request) < _LONGEST
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with os.fdopen(out) as output, os.fdopen(err) as errors:
            try:
                socket.send_fds(self._connection, [request], [0, their_out, their_err])
            finally:
                os.close(their_out)
                os.close(their_err)
            with _killed_after(timeout, self._answer()), ThreadPoolExecutor(1) as reader:
                printed = reader.submit(output.read)
                said = errors.read()
                return subprocess.CompletedProcess(arguments, self._answer(), printed.result(), said)

    def _answer(self) -> int:
        """Return the next number: 0 when all is imported; for a command its process, and then its exit code."""
        answer = self._connection.recv(_LONGEST)
        if not answer:
            raise RuntimeError(f"the process that forks has ended: {self._process.communicate()}")
        return int(answer)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.communicate()


@contextlib.contextmanager
def _killed_after(seconds: float, process: int) -> Iterator[None]:
    """Kill a process that takes longer than the block may."""
    watchdog = threading.Timer(seconds, os.kill, (process, signal.SIGKILL))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


# --- the process that forks -----------------------------------------------------------------------------------


def _import_what_commands_import() -> None:
    """Import it, onnxruntime last: a fork has one thread, and ends with an error if a library misses one of its own.

    Only BLAS makes its threads again. onnxruntime has one only for its telemetry, which tests turn off.
    """
    for name in _IMPORTED:
        importlib.import_module(name)
    tasks = _tasks()
    importlib.import_module("onnxruntime")
    assert _tasks() == tasks, "onnxruntime has started a thread"


def _tasks() -> int:
    """Return how many threads this process has, those of libraries included."""
    return len([*Path("/proc/self/task").iterdir()])


def _next_command(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for every request. Return it, with its standard streams, in the process that is to carry it out."""
    connection.send(b"0")
    while True:
        request, streams, _, _ = socket.recv_fds(connection, _LONGEST, 3)
        if not request:
            sys.exit()
        process = os.fork()
        if process == 0:
            connection.close()
            return json.loads(request), streams
        for descriptor in streams:
            os.close(descriptor)
        connection.send(b"%d" % process)
        connection.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def _carry_out(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Become ``python -m impasto`` with a request's arguments, in its folder."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.argv = ["impasto", *request["arguments"]]
    runpy.run_module("impasto", run_name="__main__", alter_sys=True)
    raise AssertionError("impasto ends its process")


if __name__ == "__main__":
    _import_what_commands_import()
    _carry_out(*_next_command(socket.socket(fileno=int(sys.argv[1]))))
