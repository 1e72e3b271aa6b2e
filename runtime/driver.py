"""NVIDIA's libraries, where we ask them ourselves: whether the driver works, and which GPUs it has."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from impasto.runtime.errors import DeviceError

#: The driver's library, on Linux and on Windows.
DRIVER = ("libcuda.so.1", "nvcuda.dll")

#: `CUresult` of CUDA's driver API: it works, and there is nothing that it could work on.
_NO_DEVICE = 100

_NAME_BYTES = 100
_ADVICE = "or use --device cpu"


def runtime_libraries(version: str) -> tuple[str, ...]:
    """Return what the library of CUDA's runtime API is called, for a version of CUDA, on Linux and on Windows."""
    major = version.partition(".")[0] or "12"
    return f"libcudart.so.{major}", f"cudart64_{major}.dll"


def load_library(names: Iterable[str]) -> ctypes.CDLL | None:
    """Return the first of some shared libraries that loads."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def gpus() -> list[str]:
    """Return the names of the GPUs that the driver has for this process: those of ``CUDA_VISIBLE_DEVICES``, if set.

    Raises
    ------
    DeviceError
        When the driver does not load, or fails.
    """
    driver = load_library(DRIVER)
    if driver is None:
        raise DeviceError(f"NVIDIA's driver does not load; install it, {_ADVICE}")
    count, names = ctypes.c_int(), list[str]()
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    for number in range(count.value):
        name = ctypes.create_string_buffer(_NAME_BYTES)
        error = error or driver.cuDeviceGetName(name, _NAME_BYTES, number)
        names.append(name.value.decode("utf-8", "replace"))
    if error not in (0, _NO_DEVICE):
        raise DeviceError(f"NVIDIA's driver fails (CUDA error {error}); check it with nvidia-smi, {_ADVICE}")
    return names


def check_gpu(number: int) -> None:
    """Refuse a GPU that the driver does not have.

    Raises
    ------
    DeviceError
        When it does not, or does not work.
    """
    found = gpus()
    if not found:
        raise DeviceError("NVIDIA's driver has no GPU; use --device cpu")
    if number >= len(found):
        has = ", ".join(f"cuda:{k} ({name})" for k, name in enumerate(found))
        raise DeviceError(f"no such GPU; choose one of {has}, {_ADVICE}")
