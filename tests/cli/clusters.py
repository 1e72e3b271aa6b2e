"""Schedulers and workers of Dask, as processes on 127.0.0.1 that end with the test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from processes import environment

#: How long anything is waited for, in seconds: the machine may be busy.
PATIENCE = 90.0

#: Preloaded into workers.
INTERFERENCE = Path(__file__).parent / "cluster" / "interference.py"


def wait_until(true: Callable[[], object], what: str = "what was waited for") -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"{what} did not come within {PATIENCE:.0f} seconds"
        time.sleep(0.05)


@dataclass
class Server:
    """A scheduler, or a worker."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, text: str) -> None:
        def is_there() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return text in self.log.read_text()

        wait_until(is_there, text)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@dataclass
class Farm:
    """A scheduler and its workers; all end with the `with` block that it is made for."""

    folder: Path
    ending: ExitStack
    scheduler: Server
    address: str
    options: tuple[object, ...] = ()
    workers: list[Server] = field(default_factory=list)

    def add(self, count: int = 1, *options: object, wait: bool = True, **variables: str) -> list[Server]:
        """Start workers, each a process with one thread, and wait until the scheduler knows them."""
        started = [
            self._start(
                "worker", self.address, "--no-nanny", "--nthreads", 1, "--death-timeout", 60,
                "--preload", INTERFERENCE, *self.options, *options, **variables,
            )
            for _ in range(count)
        ]  # fmt: skip
        self.workers += started
        for worker in started if wait else ():
            worker.wait_for("Registered to")
        return started

    def remove(self, workers: list[Server]) -> None:
        """Kill workers."""
        for worker in workers:
            worker.kill()
            self.workers.remove(worker)

    def _start(self, kind: str, *arguments: object, **variables: str) -> Server:
        return start(self.ending, self.folder, kind, *arguments, **variables)


def start(ending: ExitStack, folder: Path, kind: str, *arguments: object, **variables: str) -> Server:
    """Start a scheduler or a worker that ends with `ending`; it cannot be reached from elsewhere."""
    log = folder / f"{kind}{time.monotonic_ns()}.log"
    common = ("--no-dashboard", "--host", "127.0.0.1")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, (*arguments, *common))],
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment() | {"DASK_TEMPORARY_DIRECTORY": str(folder)} | variables,
        )
    server = Server(process, log)
    ending.callback(server.kill)
    return server


@contextmanager
def farm(folder: Path, workers: int = 0, *options: object, scheme: str = "tcp", **variables: str) -> Iterator[Farm]:
    """Start a scheduler, and workers, for a `with` block."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ending:
        file = folder / "scheduler.json"
        scheduler = start(
            ending, folder, "scheduler", "--port", 0, "--scheduler-file", file, "--protocol", scheme,
            "--idle-timeout", 600, *options, **variables,
        )  # fmt: skip
        scheduler.wait_for("Scheduler at:")
        (line,) = [line for line in scheduler.log.read_text().splitlines() if "Scheduler at:" in line]
        address = line.split()[-1]
        wait_until(file.exists, str(file))
        started = Farm(folder, ending, scheduler, address, options)
        started.add(workers)
        yield started


def descendants(pid: int) -> list[psutil.Process]:
    """Return the processes that a process has started, and that these have."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the workers that a command has started with --workers."""
    found = []
    for process in descendants(pid):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def assert_all_end(processes: list[psutil.Process]) -> None:
    """Wait until all have ended."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE / 3)
    assert not alive, [process.cmdline() for process in alive if process.is_running()]


def variables_of_workers(**more: str) -> dict[str, str]:
    """Return the variables with which a command's own workers have what is interfered with."""
    return {"DASK_DISTRIBUTED__WORKER__PRELOAD": f'["{os.fspath(INTERFERENCE)}"]', **more}
