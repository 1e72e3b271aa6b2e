"""Memory on the host for arrays that a device sends. It keeps its address; for CUDA it is page-locked.

A copy to page-locked memory takes a third of the time, since the device writes it by itself.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import TransferError
from impasto.runtime.machine.nvidia import load_library, runtime_libraries

#: `cudaMemcpyKind` of CUDA's runtime API.
_TO_HOST = 2

#: The number of arrays that are used again; a caller that keeps more of them gets new ones.
_KEPT = 4


class Landing:
    """Float32 arrays of one shape on the host, for copies of arrays on a device.

    A returned array belongs to its receiver. Once nothing refers to it any longer, it takes the next copy. A landing is
    not for two threads at once.
    """

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        self._shape = shape
        self._cuda = _load_runtime() if device.startswith("cuda") else None
        self._arrays: list[NDArray[np.float32]] = []

    def fetch(self, value: Any) -> NDArray[np.float32]:
        """Return the elements of an `OrtValue`.

        Raises
        ------
        TransferError
            When CUDA fails.
        """
        array = self._free()
        if self._cuda is None:
            np.copyto(array, value.numpy())
            return array
        to, source = ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(value.data_ptr())
        if error := self._cuda.cudaMemcpy(to, source, ctypes.c_size_t(array.nbytes), _TO_HOST):
            raise TransferError(f"CUDA error {error} in a copy from the device; check it with nvidia-smi")
        return array

    def _free(self) -> NDArray[np.float32]:
        """Return an array that nothing refers to, except the list of arrays."""
        for k in range(len(self._arrays)):
            if sys.getrefcount(self._arrays[k]) <= 2:  # views of it count, too: they refer to it
                return self._arrays[k]
        array = np.empty(self._shape, np.float32)
        if len(self._arrays) < _KEPT:
            if self._cuda:
                _page_lock(self._cuda, array)
            self._arrays.append(array)
        return array


def _page_lock(cuda: ctypes.CDLL, array: NDArray[np.float32]) -> None:
    """Lock an array's memory as long as the array lives, if the system lets us."""
    address = ctypes.c_void_p(array.ctypes.data)
    if cuda.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), 0) == 0:
        weakref.finalize(array, cuda.cudaHostUnregister, address)
    else:
        cuda.cudaGetLastError()  # clears the error; otherwise onnxruntime would take it for its own


def _load_runtime() -> ctypes.CDLL | None:
    """Return the runtime library that onnxruntime has loaded."""
    import onnxruntime

    return load_library(runtime_libraries(getattr(onnxruntime, "cuda_version", "")))
