"""The memory that this process could have: the free memory of the system, and the limits on the process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from impasto.runtime.machine import processors
from impasto.runtime.machine.control_groups import groups, lines, number

#: Version of control groups -> the files with limits, the file with the usage, and the name in `memory.stat` of the
#: memory that the system can take back: cached files. Above `memory.high` a process becomes extremely slow.
_CGROUPS = {
    2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}

#: Name of a limit in /proc/self/limits -> the name of its usage in /proc/self/status, and the shell's command for it.
_OWN_LIMITS = {"Max address space": ("VmSize", "ulimit -v"), "Max data size": ("VmData", "ulimit -d")}

#: Address space is not memory. onnxruntime takes memory in pieces, each twice the size of the last, and half uses the
#: last one; each thread has a stack and an arena of the C library. Runs from 64 to 512 pixels a side, with 1 to 8
#: threads, have taken up to 1.25 times the memory of an estimate at worst, and 125 MB a thread.
_SPREAD, _THREAD = 1.25, 125_000_000


@dataclass(frozen=True)
class Room:
    """The size that a process could grow to.

    Attributes
    ----------
    size
        The size in bytes.
    limit
        The limit that sets it, such as ``ulimit -v``; empty if it is the free memory of the system.
    """

    size: int
    limit: str = ""


def room_left() -> Room | None:
    """Return the memory that this process can take beside its own, with one thread; None if it is not known."""
    return _left(threads=1)


def room(threads: int | None = None) -> Room | None:
    """Return the size that this process could grow to without swapping; None if it is not known.

    It is the sum of the process's memory and the free memory of the system. On Linux it is less if its control groups
    (such as a container's) or its own limits (``ulimit -v``) leave less.

    Parameters
    ----------
    threads
        The number of threads that the process will start, each of which takes address space; by default the usable
        processors.
    """
    left = _left(threads)
    return left and replace(left, size=left.size + psutil.Process().memory_info().rss)


def _left(threads: int | None) -> Room | None:
    try:
        system = Room(psutil.virtual_memory().available)
    except (OSError, psutil.Error):  # without /proc, for instance
        return None
    return min([system, *limits_left(Path("/"), threads or processors.usable())], key=lambda left: left.size)


def limits_left(root: Path, threads: int) -> Iterator[Room]:
    """Yield the memory that Linux's limits leave this process: those of its control groups, and its own.

    Parameters
    ----------
    root
        The root of Linux's files: that of the file system, except in tests. Without such files there is no limit.
    threads
        The number of threads that the process will start.
    """
    yield from _groups(root)
    yield from _own_limits(root, threads)


def _groups(root: Path) -> Iterator[Room]:
    """Yield the memory that each control group around this process leaves of its limits."""
    for version, group in groups(root, "memory"):
        names, usage, reclaimable = _CGROUPS[version]
        used = number(group / usage)
        for name in names:
            allowed = number(group / name)  # "max" if there is no limit
            if allowed is not None and used is not None:
                pairs = (line.split() for line in lines(group / "memory.stat"))
                kept = next((int(pair[1]) for pair in pairs if pair[:1] == [reclaimable] and pair[1:2]), 0)
                yield Room(max(0, allowed - used + kept), f"the control group's {name}")


def _own_limits(root: Path, threads: int) -> Iterator[Room]:
    """Yield the memory that the process's own limits leave."""
    for line in lines(root / "proc/self/limits"):
        for name, (counted, called) in _OWN_LIMITS.items():
            soft = line.removeprefix(name).split()[:1]
            used = _field(root / "proc/self/status", counted)
            if line.startswith(name) and soft and soft[0].isdecimal() and used is not None:
                left = int(soft[0]) - 1024 * used - _THREAD * threads
                yield Room(max(0, round(left / _SPREAD)), called)


def _field(path: Path, name: str) -> int | None:
    """Return the number after a name and a colon, in a file of such lines."""
    for line in lines(path):
        key, _, value = line.partition(":")
        if key == name and value.split() and value.split()[0].isdecimal():
            return int(value.split()[0])
    return None
