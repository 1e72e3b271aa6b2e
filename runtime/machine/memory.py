"""How much memory this process could have: what the system has left, and what limits set around it leave."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def available_memory(root: Path | None = None) -> int | None:
    """Return the size in bytes that this process could grow to, or None where that is not known; see `room`."""
    found = room(root)
    return None if found is None else found.size


def room_left(root: Path | None = None) -> Room | None:
    """Return what this process can take beside what it has, on one thread; None where that is not known.

    `root` is that of `room`.
    """
    found = room(root, threads=1)
    return None if found is None else Room(max(0, found.size - _own(root or Path("/"))), found.limit)


def room(root: Path | None = None, threads: int | None = None) -> Room | None:
    """Return the size that this process could grow to without swapping, or None where that is not known.

    On Linux what the system has left (``MemAvailable``), or what the control groups of this process leave (a
    container's limit, for instance), or its own limits (``ulimit -v``), plus what the process has already. On macOS and
    Windows what is free.

    Parameters
    ----------
    root
        Where Linux's files are; the root of the file system by default.
    threads
        How many the process will start, each of which takes addresses; as many as it may use by default.
    """
    if root is not None:
        return _on_linux(root, threads)
    with contextlib.suppress(AttributeError, KeyError, OSError, ValueError):
        ways = {"linux": lambda: _on_linux(Path("/"), threads), "darwin": _on_macos, "win32": _on_windows}
        return ways[sys.platform]()
    return None


# --- Linux ----------------------------------------------------------------------------------------------------


def _on_linux(root: Path, threads: int | None) -> Room | None:
    left = [*_system(root), *_groups(root), *_limits(root, threads or processors.usable())]
    if not left:
        return None
    narrowest = min(left, key=lambda found: found.size)
    return Room(max(0, narrowest.size) + _own(root), narrowest.limit)


def _system(root: Path) -> Iterator[Room]:
    """Yield what the system has left, if it says so: kernels before 3.14 do not."""
    if kilobytes := _field(root / "proc/meminfo", "MemAvailable"):
        yield Room(1024 * kilobytes)


def _groups(root: Path) -> Iterator[Room]:
    """Yield what each control group around this process leaves of its limits."""
    for version, group in groups(root, "memory"):
        limits, usage, reclaimable = _CGROUPS[version]
        used = number(group / usage)
        for name in limits:
            allowed = number(group / name)  # without a limit it says "max"
            if allowed is not None and used is not None:
                pairs = (line.split() for line in lines(group / "memory.stat"))
                kept = next((int(pair[1]) for pair in pairs if pair[:1] == [reclaimable] and pair[1:2]), 0)
                yield Room(allowed - used + kept, f"the control group's {name}")


def _limits(root: Path, threads: int) -> Iterator[Room]:
    """Yield what the process's own limits leave, in memory."""
    for line in lines(root / "proc/self/limits"):
        for name, (counted, called) in _OWN_LIMITS.items():
            soft = line.removeprefix(name).split()[:1]
            used = _field(root / "proc/self/status", counted)
            if line.startswith(name) and soft and soft[0].isdecimal() and used is not None:
                left = int(soft[0]) - 1024 * used - _THREAD * threads
                yield Room(round(left / _SPREAD), called)


def _field(path: Path, name: str) -> int | None:
    """Return the number that stands after a name and a colon, in a file of such lines."""
    for line in lines(path):
        found, _, value = line.partition(":")
        if found == name and value.split() and value.split()[0].isdecimal():
            return int(value.split()[0])
    return None


def _own(root: Path) -> int:
    """Return what this process has now: its resident size."""
    for line in lines(root / "proc/self/statm")[:1]:
        pages = line.split()[1:2]
        if pages and pages[0].isdecimal():
            return int(pages[0]) * mmap.PAGESIZE
    return 0


# --- macOS and Windows ----------------------------------------------------------------------------------------


def _on_macos() -> Room | None:
    """Return free and inactive pages, from `host_statistics64`; its counts begin with free, active, inactive."""
    system = ctypes.CDLL("/usr/lib/libSystem.B.dylib")
    host_vm_info64, words = 4, 64  # the flavour; more than its structure has
    counts, length = (ctypes.c_uint32 * words)(), ctypes.c_uint32(words)
    system.mach_host_self.restype = ctypes.c_uint32
    failed = system.host_statistics64(
        ctypes.c_uint32(system.mach_host_self()), host_vm_info64, ctypes.byref(counts), ctypes.byref(length)
    )
    return None if failed else Room((counts[0] + counts[2]) * mmap.PAGESIZE)


class _MemoryStatus(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended_virtual", ctypes.c_uint64),
    )


def _on_windows() -> Room | None:
    """Return the physical memory that is free, from `GlobalMemoryStatusEx`."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel: ctypes.CDLL = vars(ctypes)["windll"].kernel32  # an attribute on Windows only
    done: int = kernel.GlobalMemoryStatusEx(ctypes.byref(status))
    return Room(int(status.available_physical)) if done else None
