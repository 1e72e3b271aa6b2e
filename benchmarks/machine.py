"""The machine that results come from, without its name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

#: The instructions that decide how fast a processor multiplies, as Linux calls them.
FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
    "amx_int8",
)


def need_linux() -> None:
    """End the program in one line on other systems, before it measures anything."""
    if platform.system() != "Linux":
        sys.exit("error: benchmarks run on Linux only: they read what it tells of processor and processes in /proc")


def describe() -> dict[str, Any]:
    """Return the properties that the results depend on; Linux only."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "simd": _simd(),
        "cache_kib": cache_kib(Path("/sys/devices/system/cpu/cpu0/cache")),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; frameworks imitate them where it has not."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_simd())


def cache_kib(folder: Path) -> dict[str, int]:
    """Return the KiB of one core's caches that hold data, ``L1``, ``L2``, ...; empty where Linux does not tell."""
    sizes: dict[str, int] = {}
    for entry in sorted(folder.glob("index*")):
        level, kind, size = ((entry / name).read_text("utf-8").strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size.removesuffix("K"))
    return sizes


def _simd() -> list[str]:
    """Return those of the `FLAGS` that the processor has."""
    flags = set(_field("/proc/cpuinfo", "flags").split())
    return [name for name in FLAGS if name in flags]


def gpu(device: str) -> str | None:
    """Return the name, memory and driver of a CUDA device; None for the CPU, or where nvidia-smi is missing."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return None
    command = ["nvidia-smi", f"--id={number or 0}", "--query-gpu=name,memory.total,driver_version"]
    try:
        done = subprocess.run([*command, "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def gpu_slug(device: str) -> str:
    """Return a name for files: ``nvidia-a100-sxm4-40gb``."""
    name = (gpu(device) or "cuda").partition(",")[0]
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def slug(machine: dict[str, Any]) -> str:
    """Return a name for files: ``amd-epyc-avx512-2-cores``."""
    cpu = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", str(machine["cpu"]).lower())
    # Processors of one name differ most in these.
    names = {"avx512": "avx512f", "bf16": "avx512_bf16", "amx": "amx_bf16"}
    wide = [name for name, flag in names.items() if flag in machine["simd"]]
    return "-".join([*re.findall(r"[a-z0-9]+", cpu), *wide, str(machine["cores"]), "cores"])


def _field(path: str, name: str) -> str:
    """Return the first value of that name in a file of ``name : value`` lines."""
    for line in Path(path).read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
