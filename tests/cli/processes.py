"""Running the command line as a user does: a process with arguments, an exit code, two streams and files."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl  # noqa: F401, it sets an environment variable: before the surroundings are compared
from forker import Forker
from PIL import Image


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "IMPASTO_MODEL"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "impasto", *map(str, arguments)]


def impasto_(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the current folder.

    Where it makes no difference, the process is a fork of one that has imported all packages: see `Forker`. ``rerun``
    always has one that is started by itself: what it repeats must not depend on the seed of Python's hashes, which
    forks share.
    """
    if not variables and "rerun" not in arguments and usual_surroundings():
        return _forker().run([*map(str, arguments)], timeout=300)
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment() | variables, timeout=300
    )


def _surroundings() -> object:
    """Return what a process would inherit from this one, but for its folder and its streams."""
    import resource

    umask = os.umask(0o077)
    os.umask(umask)
    kinds = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
    signals = {number: signal.getsignal(number) is signal.SIG_IGN for number in signal.valid_signals()}
    return (
        {name: value for name, value in environment().items() if name != "PYTEST_CURRENT_TEST"},
        [resource.getrlimit(kind) for kind in kinds],
        umask,
        os.sched_getaffinity(0),
        signals,
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    )


#: Whether a process can fork safely that has loaded libraries.
FORKS = sys.platform == "linux" and hasattr(os, "fork")

#: The surroundings of most tests: those in which this is imported.
_USUAL = _surroundings() if FORKS else None


def usual_surroundings() -> bool:
    """Whether a fork would have what a process that is started now would inherit."""
    return FORKS and _surroundings() == _USUAL


@functools.cache
def _forker() -> Forker:
    """Return the one of this process."""
    forker = Forker()
    atexit.register(forker.close)
    return forker


def limited(size: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line where no file can grow beyond so many bytes, as if the disk were full."""
    resource = pytest.importorskip("resource")
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def assert_refused(done: subprocess.CompletedProcess[str], reason: str, code: int = 2) -> None:
    """Exit code, and exactly one line, on standard error, that gives the reason."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("\n")
    assert reason in done.stderr


def contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder and the hash of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def link(place: Path, target: str | Path) -> None:
    """Make a symbolic link, if this system lets its users."""
    try:
        place.symlink_to(target)
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")


def lay_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a photograph and a painting, and work in it."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    for seed, (name, size) in enumerate({"photo.png": (48, 40, 3), "painting.jpg": (40, 56, 3)}.items()):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, np.uint8)).save(name)
    return folder


@dataclass
class Running:
    """A process whose standard error is read line by line."""

    process: subprocess.Popen[str]
    lines: list[str]

    @classmethod
    def start(cls, *arguments: object, group: bool = False) -> Running:
        """Start a process; with `group`, it has a group of processes to itself, as a terminal's command has."""
        process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=group,
        )
        watchdog = threading.Timer(300, process.kill)
        watchdog.daemon = True
        watchdog.start()
        return cls(process, [])

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {self.lines}")

    def interrupt(self) -> None:
        self.send("SIGINT")

    def send(self, name: str) -> None:
        """Send a signal, if this is a system that can."""
        if os.name != "posix":
            self.process.kill()
            pytest.skip("only POSIX sends signals to one process")
        self.process.send_signal(getattr(signal, name))

    def finish(self) -> tuple[int, str, str]:
        """Return the exit code, all of standard output and all of standard error."""
        out, err = self.process.communicate()
        return self.process.returncode, out, "".join(self.lines) + err
