"""How many processors this process may use, and so how many threads it starts unless told otherwise."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from impasto.runtime.machine.control_groups import groups, lines, number


def installed() -> int:
    """Return how many processors the system shows: no more threads than that are of use."""
    return os.cpu_count() or 1


def usable(root: Path = Path("/")) -> int:
    """Return how many processors this process may use: those that it may run on, less what a quota takes away.

    A quota, a container's ``--cpus`` for instance, is a share of time; one of 1.5 processors is worth two threads.

    Parameters
    ----------
    root
        Where Linux's files are.
    """
    return min(_allowed(), _quota(root))


def default_threads(root: Path = Path("/")) -> int | None:
    """Return how many threads to ask onnxruntime for where nobody says a number; None leaves it to that.

    It takes a thread for each physical core of the machine, and keeps it there. It knows no quota and no set of
    processors (``taskset``): threads that are more than these would wait for one another.
    """
    here = usable(root)
    return min(here, _cores(root)) if here < installed() else None


def _allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed()


def _quota(root: Path) -> int:
    """Return how many processors the narrowest quota is worth; as many as there are where there is none."""
    found = [installed()]
    if sys.platform.startswith("linux") or root != Path("/"):
        for version, group in groups(root, "cpu"):
            if version == 1:
                quota, period = number(group / "cpu.cfs_quota_us"), number(group / "cpu.cfs_period_us")
            else:
                words = (lines(group / "cpu.max") or [""])[0].split()
                quota, period = (int(word) if word.isdecimal() else None for word in (*words, "", "")[:2])
            if quota and period:
                found.append(math.ceil(quota / period))
    return max(1, min(found))


def _cores(root: Path) -> int:
    """Return how many physical cores this process may run on; as many as processors where that is not known."""
    if not hasattr(os, "sched_getaffinity"):
        return installed()
    cores = set()
    for processor in os.sched_getaffinity(0):
        file = root / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
        cores.add((lines(file) or [str(processor)])[0])
    return max(1, len(cores))


def name() -> str:
    """Return the name of the processor: which instructions it has decides how sums are rounded, and how fast."""
    import platform

    with contextlib.suppress(StopIteration):
        return next(
            line.partition(":")[2].strip() for line in lines(Path("/proc/cpuinfo")) if line.startswith("model name")
        )
    return platform.processor() or platform.machine()
