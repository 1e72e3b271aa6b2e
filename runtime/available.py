"""How much memory this process could have: what the system has left, and what limits set around it leave."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Version of Linux's control groups -> where they are, the files with limit and usage, and the name in `memory.stat`
#: of what the system takes back before it refuses: files read once and kept.
_CGROUPS = {
    2: ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    1: ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(root: Path | None = None) -> int | None:
    """Return the size in bytes that this process could grow to without swapping, or None where that is not known.

    On Linux what the system has left (``MemAvailable``), or what the control groups of this process leave (a
    container's limit, for instance), plus what the process has already. On macOS and Windows what is free.

    Parameters
    ----------
    root
        Where Linux's files are; the root of the file system by default.
    """
    if root is not None:
        return _on_linux(root)
    ways = {"linux": lambda: _on_linux(Path("/")), "darwin": _on_macos, "win32": _on_windows}
    with contextlib.suppress(AttributeError, KeyError, OSError, ValueError):
        return ways[sys.platform]()
    return None


# --- Linux ----------------------------------------------------------------------------------------------------


def _on_linux(root: Path) -> int | None:
    left = [*_system(root), *_groups(root)]
    return max(0, min(left)) + _own(root) if left else None


def _system(root: Path) -> Iterator[int]:
    """Yield what the system has left, if it says so: kernels before 3.14 do not."""
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield from (1024 * int(number) for number in value.split()[:1] if number.isdecimal())


def _groups(root: Path) -> Iterator[int]:
    """Yield what each control group around this process leaves of its limit."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, *names = _CGROUPS[1 if controllers else 2]
        # In a container the path may be the host's, of which only the mount itself is to be seen.
        inside = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for depth in range(len(inside), -1, -1):
            yield from _left(root.joinpath(mount, *inside[:depth]), *names)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    allowed, used = (_lines(group / name)[:1] for name in (limit, usage))
    if allowed and used and allowed[0].isdecimal() and used[0].isdecimal():  # without a limit it says "max"
        pairs = (line.split() for line in _lines(group / "memory.stat"))
        kept = next((int(pair[1]) for pair in pairs if pair[:1] == [reclaimable] and pair[1:2]), 0)
        yield int(allowed[0]) - int(used[0]) + kept


def _own(root: Path) -> int:
    """Return what this process has now: its resident size."""
    for line in _lines(root / "proc/self/statm")[:1]:
        pages = line.split()[1:2]
        if pages and pages[0].isdecimal():
            return int(pages[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


# --- macOS and Windows ----------------------------------------------------------------------------------------


def _on_macos() -> int | None:
    """Return free and inactive pages, from `host_statistics64`; its counts begin with free, active, inactive."""
    system = ctypes.CDLL("/usr/lib/libSystem.B.dylib")
    host_vm_info64, words = 4, 64  # the flavour; more than its structure has
    counts, length = (ctypes.c_uint32 * words)(), ctypes.c_uint32(words)
    system.mach_host_self.restype = ctypes.c_uint32
    failed = system.host_statistics64(
        ctypes.c_uint32(system.mach_host_self()), host_vm_info64, ctypes.byref(counts), ctypes.byref(length)
    )
    return None if failed else (counts[0] + counts[2]) * os.sysconf("SC_PAGE_SIZE")


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


def _on_windows() -> int | None:
    """Return the physical memory that is free, from `GlobalMemoryStatusEx`."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel: ctypes.CDLL = vars(ctypes)["windll"].kernel32  # an attribute on Windows only
    done: int = kernel.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available_physical) if done else None
