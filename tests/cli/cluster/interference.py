"""What goes wrong on a worker: it is preloaded there, and variables say what is to happen.

TESTS_PAUSE
    Each evaluation takes so many seconds more.
TESTS_TOLD
    The state after each evaluation is told, however quick they are.
TESTS_DEATH
    EVALUATION:FILE: the process is killed after that evaluation, once for each time that the file can be removed.
TESTS_DEADLY, TESTS_BROKEN
    WIDTHxHEIGHT: a picture of that size always kills the process; always fails.
TESTS_STILLBORN
    The process ends before it is a worker.
TESTS_FAR
    The driver's files cannot be seen, as on another machine.
TESTS_WITHOUT_IMPASTO
    There is no such package here.
TESTS_PYTHON
    The version of Python that is told.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any


def dask_setup(_: object) -> None:
    """Change this worker as the variables say."""
    if "TESTS_STILLBORN" in os.environ:
        os._exit(1)
    if "TESTS_PYTHON" in os.environ:
        _tell_of_python(os.environ["TESTS_PYTHON"])
    if "TESTS_WITHOUT_IMPASTO" in os.environ:
        _hide()
    elif any(name.startswith("TESTS_") for name in os.environ):
        _interfere()


def _interfere() -> None:
    """Change what this worker does; others import nothing for it."""
    from impasto.cli.cluster import models, worker

    see = worker._Teller.see

    def interfere(self: Any, step: Any) -> None:
        time.sleep(float(os.environ.get("TESTS_PAUSE", "0")))
        see(self, step)
        size = f"{step.width}x{step.height}"
        if size == os.environ.get("TESTS_DEADLY") or _is_to_die(step.evaluation):
            os.kill(os.getpid(), signal.SIGKILL)
        if size == os.environ.get("TESTS_BROKEN"):
            raise RuntimeError("broken\nhere")

    worker._Teller.see = interfere  # type: ignore[method-assign]
    if "TESTS_FAR" in os.environ:
        candidates = models._candidates
        models._candidates = lambda manifest: [*candidates(manifest)][1:]
    if "TESTS_TOLD" in os.environ:
        worker._PAUSE = 0.0


def _is_to_die(evaluation: int) -> bool:
    number, _, file = os.environ.get("TESTS_DEATH", "").partition(":")
    if number != str(evaluation):
        return False
    try:
        Path(file).unlink()
    except FileNotFoundError:
        return False
    return True


def _tell_of_python(version: str) -> None:
    """Tell another version of Python than this one."""
    from distributed import versions

    told = versions.get_package_info
    versions.get_package_info = lambda packages: {**told(packages), "python": version}


def _hide() -> None:
    """Have neither the package impasto nor its metadata."""
    version = metadata.version

    def without(name: str) -> str:
        if name == "impasto":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    metadata.version = without
    sys.modules["impasto"] = None  # type: ignore[assignment]
