"""The machine that results come from, without its name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def need_linux() -> None:
    """End the program in one line on other systems, before it measures anything."""
    if platform.system() != "Linux":
        sys.exit("error: benchmarks run on Linux only: they read what it tells of processor and processes in /proc")


def describe() -> dict[str, Any]:
    """Return the properties that the results depend on; Linux only."""
    flags = set(_field("/proc/cpuinfo", "flags").split())
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "simd": [name for name in ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile") if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "ram_gib": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


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
    wide = ["avx512"] if "avx512f" in machine["simd"] else []  # processors of one name differ most in this
    return "-".join([*re.findall(r"[a-z0-9]+", cpu), *wide, str(machine["cores"]), "cores"])


def _field(path: str, name: str) -> str:
    """Return the first value of that name in a file of ``name : value`` lines."""
    for line in Path(path).read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
