"""The number of processors that this process may use, and the default number of its threads."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from pathlib import Path

from impasto.runtime.machine.control_groups import groups, lines, number


def installed() -> int:
    """Return the number of processors that the system shows; more threads than that are useless."""
    return os.cpu_count() or 1


def usable(root: Path = Path("/")) -> int:
    """Return the number of processors that this process may use: those that it may run on, or fewer by a quota.

    A quota, such as a container's ``--cpus``, is a share of time; one of 1.5 processors is worth two threads.

    Parameters
    ----------
    root
        The root of Linux's files.
    """
    return min(_allowed(), _quota(root))


def default_threads(root: Path = Path("/")) -> int | None:
    """Return the default number of threads for onnxruntime; None lets onnxruntime choose.

    onnxruntime starts a thread for each physical core of the machine, and binds it to the core. It ignores quotas and
    sets of processors (``taskset``), under which too many threads would wait for one another.
    """
    processors = usable(root)
    return min(processors, _cores(root)) if processors < installed() else None


def _allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed()


def _quota(root: Path) -> int:
    """Return the number of processors that the narrowest quota is worth; all of them if there is no quota."""
    counts = [installed()]
    if sys.platform.startswith("linux") or root != Path("/"):
        for version, group in groups(root, "cpu"):
            if version == 1:
                quota, period = number(group / "cpu.cfs_quota_us"), number(group / "cpu.cfs_period_us")
            else:
                words = (lines(group / "cpu.max") or [""])[0].split()
                quota, period = (int(word) if word.isdecimal() else None for word in (*words, "", "")[:2])
            if quota and period:
                counts.append(math.ceil(quota / period))
    return max(1, min(counts))


def _cores(root: Path) -> int:
    """Return the number of physical cores that this process may run on; of processors if that is not known."""
    if not hasattr(os, "sched_getaffinity"):
        return installed()
    cores = set()
    for processor in os.sched_getaffinity(0):
        file = root / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
        cores.add((lines(file) or [str(processor)])[0])
    return max(1, len(cores))


def name() -> str:
    """Return the name of the processor: the rounding of sums, and the speed, depend on its instructions."""
    import platform

    with contextlib.suppress(StopIteration):
        return next(
            line.partition(":")[2].strip() for line in lines(Path("/proc/cpuinfo")) if line.startswith("model name")
        )
    return platform.processor() or platform.machine()


@functools.cache
def instructions(root: Path = Path("/")) -> frozenset[str]:
    """Return the names of the processor's instruction sets, as Linux spells them; none on other systems.

    Parameters
    ----------
    root
        The root of Linux's files.
    """
    flags = (line.partition(":")[2].split() for line in lines(root / "proc/cpuinfo") if line.startswith("flags"))
    return frozenset(next(flags, []))


def has_bfloat16_tiles() -> bool:
    """Whether the processor multiplies tiles of bfloat16 (AMX), eight times as fast as float32."""
    return "amx_bf16" in instructions()


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32: in tiles, or by AVX-512, twice as fast."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(instructions())
