"""What NVIDIA's driver says is told in one line; the driver is a stand-in, except that most machines have none."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from impasto.runtime.errors import DeviceError
from impasto.runtime.machine import nvidia


class Driver:
    """CUDA's driver API, as far as GPUs are counted: each function returns 0, or an error."""

    def __init__(self, *names: str, init: int = 0, name_error: int = 0, version: int = 13000) -> None:
        self.names, self.init, self.name_error, self.version = names, init, name_error, version

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self.names[device.value].encode()[: length - 1]
        return self.name_error


def installed(monkeypatch: pytest.MonkeyPatch, library: Driver | None) -> None:
    monkeypatch.setattr(nvidia, "load_library", lambda names: library)


def test_gpus_are_called_what_the_driver_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Driver("NVIDIA A", "NVIDIA B"))
    assert nvidia.gpus() == ["NVIDIA A", "NVIDIA B"]


def test_no_gpu_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Driver(init=100))
    assert nvidia.gpus() == []


@pytest.mark.parametrize("broken", [Driver(init=999), Driver("NVIDIA A", name_error=999)])
def test_a_driver_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, broken: Driver) -> None:
    installed(monkeypatch, broken)
    with pytest.raises(DeviceError, match=r"NVIDIA's driver fails \(CUDA error 999\); check it with nvidia-smi"):
        nvidia.gpus()


def test_a_driver_that_does_not_load_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, None)
    with pytest.raises(DeviceError, match="NVIDIA's driver does not load; install it, or use device='cpu'"):
        nvidia.gpus()


def test_a_gpu_that_is_not_there_is_refused_and_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Driver("NVIDIA A", "NVIDIA B"))
    nvidia.check_gpu(1, "")
    with pytest.raises(DeviceError, match=r"no such GPU; choose one of cuda:0 \(NVIDIA A\), cuda:1 \(NVIDIA B\), or"):
        nvidia.check_gpu(2, "")
    installed(monkeypatch, Driver(init=100))
    with pytest.raises(
        DeviceError, match=r"driver has no GPU for this process; check CUDA_VISIBLE_DEVICES, or use device='cpu'"
    ):
        nvidia.check_gpu(0, "")


@pytest.mark.parametrize("wanted", ["12.6", "13.0", "13.5", ""])
def test_a_driver_serves_its_major_version_of_cuda_and_older_ones(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    installed(monkeypatch, Driver("NVIDIA A", version=13010))
    nvidia.check_gpu(0, wanted)


def test_a_driver_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Driver("NVIDIA A", version=12090))
    with pytest.raises(DeviceError, match=r"serves CUDA 12\.9, and onnxruntime needs 13\.0; install a newer driver"):
        nvidia.check_gpu(0, "13.0")


def test_a_library_without_a_version_has_none() -> None:
    assert nvidia.version_of(None, "cuDriverGetVersion") is None
    assert nvidia.version_of(ctypes.CDLL(None), "cuDriverGetVersion") is None


def test_why_a_part_for_cuda_does_not_load_is_what_the_system_says(tmp_path: Path) -> None:
    package = str(tmp_path / "onnxruntime" / "__init__.py")
    assert nvidia.missing_library(package) == ""
    part = tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not a library")
    assert nvidia.missing_library(package).startswith(str(part))


def test_the_first_library_that_loads_is_taken() -> None:
    assert nvidia.load_library(["libnothing-of-that-name.so"]) is None
    known = onnxruntime.capi.onnxruntime_pybind11_state.__file__
    library = nvidia.load_library(["libnothing-of-that-name.so", known])
    assert library is not None
    assert library._name == known
