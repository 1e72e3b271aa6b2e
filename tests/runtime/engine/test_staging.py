"""Arrays that results land in belong to whoever has them, and are used again when nobody does."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import onnxruntime
import pytest

from impasto.runtime.engine import staging
from impasto.runtime.engine.staging import Landing
from impasto.runtime.errors import TransferError

SHAPE = (1, 3, 4, 5)


def value(number: float) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.full(SHAPE, number, np.float32))


def address(array: np.ndarray[Any, Any]) -> int:
    return array.ctypes.data


def test_an_array_that_somebody_has_is_not_overwritten() -> None:
    place = Landing(SHAPE, "cpu")
    kept = [place.fetch(value(k)) for k in range(10)]
    for k, array in enumerate(kept):
        np.testing.assert_array_equal(array, np.full(SHAPE, k))


def test_an_array_that_nobody_has_is_used_again() -> None:
    place = Landing(SHAPE, "cpu")
    first = address(place.fetch(value(1)))
    again = place.fetch(value(2))
    assert address(again) == first
    np.testing.assert_array_equal(again, np.full(SHAPE, 2))


def test_a_view_keeps_the_whole() -> None:
    place = Landing(SHAPE, "cpu")
    view = place.fetch(value(1))[0].transpose(1, 2, 0)
    place.fetch(value(2))
    np.testing.assert_array_equal(view, np.full((4, 5, 3), 1))


class Runtime:
    """CUDA's runtime library, as far as copies go; its device is the host."""

    def __init__(self, locks: bool = True, copies: bool = True) -> None:
        self.locks, self.copies = locks, copies
        self.locked: set[int] = set()
        self.asked_for_errors = 0

    def cudaHostRegister(self, address: ctypes.c_void_p, size: ctypes.c_size_t, flags: int) -> int:  # noqa: N802
        assert address.value is not None
        if self.locks:
            self.locked.add(address.value)
        return 0 if self.locks else 1

    def cudaHostUnregister(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        assert address.value is not None
        self.locked.remove(address.value)
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802
        self.asked_for_errors += 1
        return 1

    def cudaMemcpy(self, to: Any, source: Any, size: ctypes.c_size_t, kind: int) -> int:  # noqa: N802
        if self.copies:
            ctypes.memmove(to, source, size.value)
        return 0 if self.copies else 719


def test_memory_is_locked_as_long_as_the_array_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setattr(staging, "_load_runtime", lambda: runtime)
    place = Landing(SHAPE, "cuda:0")
    array = place.fetch(value(7))
    np.testing.assert_array_equal(array, np.full(SHAPE, 7))
    assert runtime.locked == {address(array)}
    del place
    assert runtime.locked
    del array
    gc.collect()
    assert not runtime.locked


def test_memory_that_cannot_be_locked_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(locks=False)
    monkeypatch.setattr(staging, "_load_runtime", lambda: runtime)
    np.testing.assert_array_equal(Landing(SHAPE, "cuda:0").fetch(value(7)), np.full(SHAPE, 7))
    assert runtime.asked_for_errors == 1  # nobody else is to find the error


def test_a_copy_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_load_runtime", lambda: Runtime(copies=False))
    with pytest.raises(TransferError, match="CUDA error 719 in a copy from the device"):
        Landing(SHAPE, "cuda:0").fetch(value(7))
