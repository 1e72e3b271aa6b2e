"""NVIDIA's libraries: which of them load, whether the driver works, and its GPUs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

from impasto.runtime.errors import DeviceError
from impasto.wording import use_cpu

#: The driver's library, on Linux and on Windows.
DRIVER = ("libcuda.so.1", "nvcuda.dll")

#: The major version of cuDNN that onnxruntime needs since 1.19, and the names of its library.
CUDNN = 9
CUDNN_LIBRARIES = (f"libcudnn.so.{CUDNN}", f"cudnn64_{CUDNN}.dll")

#: onnxruntime's library for CUDA, on Linux and on Windows.
CUDA_PARTS = ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_cuda.dll")

#: `CUresult` of CUDA's driver API: the driver works, but there is no GPU.
_NO_DEVICE = 100

_NAME_BYTES = 100


def runtime_libraries(version: str) -> tuple[str, ...]:
    """Return the names, on Linux and on Windows, of the library of CUDA's runtime API for a version of CUDA."""
    major = version.partition(".")[0] or "12"
    return f"libcudart.so.{major}", f"cudart64_{major}.dll"


def load_library(names: Iterable[str]) -> ctypes.CDLL | None:
    """Return the first shared library that loads; None if none does."""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def missing_library(onnxruntime: str) -> str:
    """Return the system's reason why onnxruntime's library for CUDA does not load; empty if it loads or is not there.

    Parameters
    ----------
    onnxruntime
        The file that the package was imported from.
    """
    for name in CUDA_PARTS:
        part = Path(onnxruntime).parent / "capi" / name
        try:
            if part.exists():
                ctypes.CDLL(str(part))
        except OSError as error:  # such as "libcublas.so.13: cannot open shared object file: ..."
            return " ".join(str(error).split())
    return ""


def gpus() -> list[str]:
    """Return the names of the GPUs that the driver has for this process: those in ``CUDA_VISIBLE_DEVICES``, if set.

    Raises
    ------
    DeviceError
        When the driver does not load, or fails.
    """
    driver = load_library(DRIVER)
    if driver is None:
        raise DeviceError(f"NVIDIA's driver does not load; install it, or {use_cpu()}")
    count, device, names = ctypes.c_int(), ctypes.c_int(), list[str]()
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    for number in range(count.value):
        name = ctypes.create_string_buffer(_NAME_BYTES)
        error = error or driver.cuDeviceGet(ctypes.byref(device), number)
        error = error or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        names.append(name.value.decode("utf-8", "replace"))
    if error not in (0, _NO_DEVICE):
        raise DeviceError(f"NVIDIA's driver fails (CUDA error {error}); check it with nvidia-smi, or {use_cpu()}")
    return names


def version_of(library: ctypes.CDLL | None, function: str) -> str | None:
    """Return the version from one of CUDA's functions, which give 1000 major + 10 minor; None without a library."""
    number = ctypes.c_int()
    try:
        failed = library is None or getattr(library, function)(ctypes.byref(number)) != 0
    except AttributeError:  # another library has that name
        failed = True
    return None if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"


def serves(driver: str, wanted: str) -> bool:
    """Whether a driver for one version of CUDA serves another: it serves its own major version and older ones."""
    newest, needed = (int(version.partition(".")[0]) for version in (driver, wanted))
    return newest >= needed


def check_gpu(number: int, wanted: str) -> None:
    """Refuse a GPU that the driver does not have, and a driver that is too old.

    Parameters
    ----------
    number
        The number of the GPU.
    wanted
        The version of CUDA that it must run; empty if that is not known.

    Raises
    ------
    DeviceError
        When there is no such GPU, or its driver is too old.
    """
    names = gpus()
    if not names:
        raise DeviceError(f"NVIDIA's driver has no GPU for this process; check CUDA_VISIBLE_DEVICES, or {use_cpu()}")
    if number >= len(names):
        has = ", ".join(f"cuda:{k} ({name})" for k, name in enumerate(names))
        raise DeviceError(f"no such GPU; choose one of {has}, or {use_cpu()}")
    served = version_of(load_library(DRIVER), "cuDriverGetVersion")
    if served and wanted and not serves(served, wanted):
        raise DeviceError(
            f"NVIDIA's driver serves CUDA {served}, and onnxruntime needs {wanted}; "
            f"install a newer driver, or {use_cpu()}"
        )
