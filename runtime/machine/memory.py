"""How much memory this process could have: what the system has left, and what limits set around it leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from impasto.runtime.machine import processors
from impasto.runtime.machine.control_groups import groups, lines, number

#: Version of control groups -> the files with limits, that with the usage, and the name in `memory.stat` of what the
#: system takes back before it refuses: files read once and kept. Above `memory.high` a process is slowed to a crawl.
_CGROUPS = {
    2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}

#: Limits of a process, as /proc/self/limits calls them -> what of /proc/self/status counts, and the shell's name.
_OWN_LIMITS = {"Max address space": ("VmSize", "ulimit -v"), "Max data size": ("VmData", "ulimit -d")}

#: Address space is not memory. onnxruntime takes memory in pieces that double, the last of them half used; and each
#: thread has a stack and an arena of the C library. What a run took, from 64 to 512 pixels a side, with 1 to 8 threads:
#: up to 1.25 times the size that an estimate says at worst, and 125 MB a thread.
_SPREAD, _THREAD = 1.25, 125_000_000


@dataclass(frozen=True)
class Room:
    """The size that a process could grow to.

    Attributes
    ----------
    size
        In bytes.
    limit
        What sets it, such as ``ulimit -v``; empty for the memory that the system has left.
    """

    size: int
    limit: str = ""


def room_left() -> Room | None:
    """Return what this process can take beside what it has, on one thread; None where that is not known."""
    return _left(threads=1)


def room(threads: int | None = None) -> Room | None:
    """Return the size that this process could grow to without swapping, or None where that is not known.

    It is what the process has already, and what the system has left: or less, on Linux, where its control groups (a
    container's, for instance) or its own limits (``ulimit -v``) leave less.

    Parameters
    ----------
    threads
        How many the process will start, each of which takes addresses; as many as it may use by default.
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
    """Yield what Linux's limits leave this process: those of its control groups, and its own.

    Parameters
    ----------
    root
        Where Linux's files are; the root of the file system, but for tests. Where there are none, there is no limit.
    threads
        How many the process will start.
    """
    yield from _groups(root)
    yield from _own_limits(root, threads)


def _groups(root: Path) -> Iterator[Room]:
    """Yield what each control group around this process leaves of its limits."""
    for version, group in groups(root, "memory"):
        names, usage, reclaimable = _CGROUPS[version]
        used = number(group / usage)
        for name in names:
            allowed = number(group / name)  # without a limit it says "max"
            if allowed is not None and used is not None:
                pairs = (line.split() for line in lines(group / "memory.stat"))
                kept = next((int(pair[1]) for pair in pairs if pair[:1] == [reclaimable] and pair[1:2]), 0)
                yield Room(max(0, allowed - used + kept), f"the control group's {name}")


def _own_limits(root: Path, threads: int) -> Iterator[Room]:
    """Yield what the process's own limits leave, in memory."""
    for line in lines(root / "proc/self/limits"):
        for name, (counted, called) in _OWN_LIMITS.items():
            soft = line.removeprefix(name).split()[:1]
            used = _field(root / "proc/self/status", counted)
            if line.startswith(name) and soft and soft[0].isdecimal() and used is not None:
                left = int(soft[0]) - 1024 * used - _THREAD * threads
                yield Room(max(0, round(left / _SPREAD)), called)


def _field(path: Path, name: str) -> int | None:
    """Return the number that stands after a name and a colon, in a file of such lines."""
    for line in lines(path):
        key, _, value = line.partition(":")
        if key == name and value.split() and value.split()[0].isdecimal():
            return int(value.split()[0])
    return None
