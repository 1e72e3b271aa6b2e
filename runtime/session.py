"""onnxruntime sessions: the one place that opens a graph and chooses where it runs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import DeviceError, InputError, ModelError
from impasto.runtime.model import DIRECT, METADATA_KEY, WINOGRAD, Metadata, ModelFolder

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_INSTALL = "pip install 'impasto[cpu]' or, with an NVIDIA GPU, pip install 'impasto[gpu]'; one of the two, not both"
_QUIET, _FATAL = 3, 4  # onnxruntime's log levels: errors and worse; nothing but the fatal


def import_onnxruntime() -> Any:
    """Import onnxruntime, or say how to install it.

    Raises
    ------
    DeviceError
        When onnxruntime is not installed or cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        what = "is not installed" if error.name == "onnxruntime" else f"does not load ({error})"
        raise DeviceError(f"onnxruntime {what}; {_INSTALL}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # what an uninstalled twin of the two wheels leaves behind
        raise DeviceError(f"onnxruntime is damaged; pip uninstall onnxruntime onnxruntime-gpu, then {_INSTALL}")
    return onnxruntime


def check_device(device: str) -> str:
    """Return a device's name if it is one.

    Raises
    ------
    DeviceError
        When it is neither ``auto``, ``cpu``, ``cuda`` nor ``cuda:N``.
    """
    if not _DEVICE.fullmatch(device):
        raise DeviceError(f"device {device!r}: expected auto, cpu, cuda or cuda:N")
    return device


class Session:
    """One graph, ready to run on one device.

    Attributes
    ----------
    metadata
        What the graph says of itself.
    device
        Where it runs: ``cpu`` or ``cuda:N``.
    """

    def __init__(self, inference: Any, metadata: Metadata, device: str) -> None:
        self._inference = inference
        self.metadata = metadata
        self.device = device
        self.inputs: tuple[str, ...] = tuple(x.name for x in inference.get_inputs())
        self.outputs: tuple[str, ...] = tuple(x.name for x in inference.get_outputs())

    def run(
        self, feeds: Mapping[str, NDArray[np.float32]], outputs: Iterable[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Evaluate the graph and return the wanted outputs. All of it is computed: onnxruntime has no other way."""
        names = self.outputs if outputs is None else tuple(outputs)
        return dict(zip(names, self._inference.run(names, feeds), strict=True))


def open_session(
    folder: ModelFolder,
    recipe: str,
    kind: str,
    *,
    device: str = "auto",
    lowering: str = "auto",
    threads: int | None = None,
) -> Session:
    """Open one of a model folder's graphs on a device.

    Parameters
    ----------
    device
        ``auto`` (CUDA where it really works, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    lowering
        ``auto`` (the faster on that device), ``direct`` or ``winograd``.
    threads
        Threads of the CPU; onnxruntime's choice, the physical cores, by default.

    Raises
    ------
    InputError
        When `threads` is below 1.
    DeviceError
        When onnxruntime is missing, or the device asked for cannot be had. There is no quiet fall-back.
    ModelError
        When the graph is missing, damaged, or of another format.
    """
    check_device(device)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; expected 1 or more")
    ort = import_onnxruntime()
    if device == "auto" and CUDA in ort.get_available_providers():
        try:
            return _open(ort, folder, recipe, kind, "cuda:0", lowering, threads)
        except DeviceError as error:
            warnings.warn(f"{error}; using the CPU", RuntimeWarning, stacklevel=2)
    device = {"auto": "cpu", "cuda": "cuda:0"}.get(device, device)
    return _open(ort, folder, recipe, kind, device, lowering, threads)


def read_metadata(folder: ModelFolder, recipe: str, kind: str) -> Metadata:
    """Return what a graph says of itself, as fast as onnxruntime can load it."""
    path = folder.graph(recipe, kind)
    return _metadata(_create(import_onnxruntime(), path, [CPU], 1, optimize=False), path)


def _open(
    ort: Any, folder: ModelFolder, recipe: str, kind: str, device: str, lowering: str, threads: int | None
) -> Session:
    if lowering == "auto":
        lowering = WINOGRAD if device == "cpu" else DIRECT  # on a GPU, cuDNN chooses its own algorithms
    path = folder.graph(recipe, kind, lowering)
    opened = _create(ort, path, [CPU], threads) if device == "cpu" else _open_cuda(ort, path, threads, device)
    metadata = _metadata(opened, path)
    folder.check_weights(metadata)
    return Session(opened, metadata, device)


def _metadata(inference: Any, path: Path) -> Metadata:
    return Metadata.from_json(inference.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""), str(path))


def _open_cuda(ort: Any, path: Path, threads: int | None, device: str) -> Any:
    """Open on CUDA; onnxruntime falls back to the CPU quietly, so what it did is compared with what was asked for."""
    available = ort.get_available_providers()
    if CUDA not in available:
        raise DeviceError(
            f"device {device}: this onnxruntime has no CUDA provider (it has {', '.join(available)}); "
            "pip uninstall onnxruntime, then pip install 'impasto[gpu]'"
        )
    if hasattr(ort, "preload_dlls"):  # finds CUDA and cuDNN in the packages that impasto[gpu] installs
        ort.preload_dlls()
    number = device.partition(":")[2]
    try:
        inference = _create(ort, path, [(CUDA, {"device_id": number}), CPU], threads, log_level=_FATAL)
    except ModelError as error:
        raise DeviceError(f"device {device} does not work: {error}") from None
    if CUDA not in inference.get_providers():
        raise DeviceError(
            f"device {device}: onnxruntime could not load CUDA and cuDNN; pip install 'impasto[gpu]', "
            "check the driver with nvidia-smi, or use --device cpu"
        )
    return inference


def _create(
    ort: Any,
    path: Path,
    providers: list[Any],
    threads: int | None,
    *,
    optimize: bool = True,
    log_level: int = _QUIET,
) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = log_level
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: onnxruntime cannot open it ({reason}); export it again with --force") from None
