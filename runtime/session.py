"""onnxruntime sessions: the one place that opens a graph and chooses where it runs."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import DeviceError, InputError, ModelError, TransferError
from impasto.runtime.model import DIRECT, LOWERINGS, METADATA_KEY, WINOGRAD, Metadata, ModelFolder, graph_file

T = TypeVar("T")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_INSTALL = "pip install 'impasto[cpu]' or, with an NVIDIA GPU, pip install 'impasto[gpu]'; one of the two, not both"
_QUIET, _FATAL = 3, 4  # onnxruntime's log levels: errors and worse; nothing but the fatal

#: How onnxruntime, the C++ library, CUDA and its libraries say that memory is short.
_NO_MEMORY = re.compile(r"bad_alloc|alloc_failed|failed to allocate|out of memory|available memory", re.IGNORECASE)


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


@dataclass(frozen=True)
class Placement:
    """Where and how graphs run.

    Attributes
    ----------
    device
        ``auto`` (CUDA where it really works, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    lowering
        ``auto`` (``winograd`` on a CPU, where it is two to three times as fast; else ``direct``), or one of the two.
    threads
        Threads of the CPU; onnxruntime's choice, the physical cores, by default.
    low_memory
        Give memory back after every evaluation: less of it, for more time.

    Raises
    ------
    InputError
        When the device, the lowering or the number of threads is none of these.
    """

    device: str = "auto"
    lowering: str = "auto"
    threads: int | None = None
    low_memory: bool = False

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise DeviceError(f"device {self.device!r}: expected auto, cpu, cuda or cuda:N")
        if self.lowering not in ("auto", *LOWERINGS):
            raise ModelError(f"lowering {self.lowering!r}: expected auto, {' or '.join(LOWERINGS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; expected 1 or more")


class Session:
    """One graph, ready to run on one device.

    Attributes
    ----------
    metadata
        What the graph says of itself.
    device
        Where it runs: ``cpu`` or ``cuda:N``.
    """

    def __init__(self, inference: Any, metadata: Metadata, placement: Placement) -> None:
        self._inference = inference
        self._options = import_onnxruntime().RunOptions()
        self._options.log_severity_level = _FATAL  # errors are raised; they need not be printed, too
        self._low_memory = placement.low_memory
        self.metadata = metadata
        self.device = placement.device
        self.outputs: tuple[str, ...] = tuple(x.name for x in inference.get_outputs())
        if placement.low_memory:
            allocator = "cpu:0" if placement.device == "cpu" else placement.device.replace("cuda", "gpu")
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", allocator)

    def run(
        self, feeds: Mapping[str, NDArray[np.float32]], outputs: Iterable[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Evaluate the graph and return the wanted outputs. All of it is computed: onnxruntime has no other way.

        The arrays lie in the session's own memory, which lives as long as any of them: copy what is to be kept.

        Raises
        ------
        TransferError
            When onnxruntime fails, for want of memory for instance.
        """
        names = self.outputs if outputs is None else tuple(outputs)
        try:
            values = self._inference.run(names, feeds, self._options)
        except Exception as error:  # onnxruntime's own exception types are not public
            raise TransferError(self._why_failed(error)) from error
        return dict(zip(names, values, strict=True))

    def _why_failed(self, error: Exception) -> str:
        m = self.metadata
        graph, reason = graph_file(m.recipe.name, m.lowering, m.kind), _one_line(error)
        if isinstance(error, MemoryError) or _NO_MEMORY.search(reason):
            advice = "a smaller --size" if self._low_memory else "a smaller --size, or --low-memory"
            return f"{graph}: out of memory on {self.device}; choose {advice}"
        advice = "please report it" if self.device == "cpu" else "try --device cpu"
        return f"{graph}: onnxruntime failed on {self.device} ({reason}); {advice}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def on_device(placement: Placement, work: Callable[[Placement], T]) -> T:
    """Call `work` with a placement whose device is definite: for ``auto``, CUDA where all of it works, else the CPU.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for cannot be had. There is no quiet fall-back.
    """
    if placement.device == "auto" and CUDA in import_onnxruntime().get_available_providers():
        try:
            return work(replace(placement, device="cuda:0"))
        except (DeviceError, TransferError) as error:
            warnings.warn(f"{error}; using the CPU", RuntimeWarning, stacklevel=3)
    device = {"auto": "cpu", "cuda": "cuda:0"}.get(placement.device, placement.device)
    return work(replace(placement, device=device))


_ANYWHERE = Placement()


def open_session(folder: ModelFolder, recipe: str, kind: str, placement: Placement = _ANYWHERE) -> Session:
    """Open one of a model folder's graphs.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for cannot be had. There is no quiet fall-back.
    ModelError
        When the graph is missing, damaged, or of another format.
    """
    return on_device(placement, partial(_open, import_onnxruntime(), folder, recipe, kind))


def read_metadata(folder: ModelFolder, recipe: str, kind: str) -> Metadata:
    """Return what a graph says of itself, as fast as onnxruntime can load it."""
    path = folder.graph(recipe, kind)
    return _metadata(_open_unoptimized(import_onnxruntime(), path), path)


def _open(ort: Any, folder: ModelFolder, recipe: str, kind: str, placement: Placement) -> Session:
    """Open a graph on the one device that the placement names."""
    on_cpu = placement.device == "cpu"
    fastest = WINOGRAD if on_cpu else DIRECT
    path = folder.graph(recipe, kind, fastest if placement.lowering == "auto" else placement.lowering)
    opened = _open_cpu(ort, path, placement) if on_cpu else _open_cuda(ort, path, placement)
    metadata = _metadata(opened, path)
    folder.check_weights(metadata)
    return Session(opened, metadata, placement)


def _metadata(inference: Any, path: Path) -> Metadata:
    return Metadata.from_json(inference.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""), str(path))


def _open_cpu(ort: Any, path: Path, placement: Placement, *, optimize: bool = True) -> Any:
    try:
        return _create(ort, path, [CPU], placement, optimize=optimize)
    except Exception as error:  # onnxruntime's own exception types are not public
        raise ModelError(
            f"{path}: onnxruntime cannot open it ({_one_line(error)}); export it again with --force"
        ) from None


def _open_unoptimized(ort: Any, path: Path) -> Any:
    """Open on the CPU in the quickest way, to read the metadata or to see whether the graph can be opened at all."""
    return _open_cpu(ort, path, Placement(threads=1), optimize=False)


def _open_cuda(ort: Any, path: Path, placement: Placement) -> Any:
    """Open on CUDA; onnxruntime falls back to the CPU quietly, so what it did is compared with what was asked for."""
    device = placement.device
    check_provider(device)
    if hasattr(ort, "preload_dlls"):  # finds CUDA and cuDNN in the packages that impasto[gpu] installs
        with contextlib.redirect_stdout(sys.stderr):  # where it prints what it misses; our own is for results
            ort.preload_dlls()
    provider = (CUDA, {"device_id": device.partition(":")[2]})
    try:
        inference = _create(ort, path, [provider, CPU], placement, log_level=_FATAL)
    except Exception as error:  # onnxruntime's own exception types are not public
        _open_unoptimized(ort, path)  # fails, and says so, where the graph is to blame and not the device
        raise DeviceError(
            f"device {device} does not work ({_one_line(error)}); check the driver with nvidia-smi, or use --device cpu"
        ) from None
    if CUDA not in inference.get_providers():
        raise DeviceError(
            f"device {device}: onnxruntime could not load CUDA and cuDNN; pip install 'impasto[gpu]', "
            "check the driver with nvidia-smi, or use --device cpu"
        )
    return inference


def check_provider(device: str) -> None:
    """Refuse CUDA where this onnxruntime is not made for it; whether it works shows when a graph is opened.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or has no CUDA provider and the device is one of CUDA's.
    """
    available = import_onnxruntime().get_available_providers()
    if device.startswith("cuda") and CUDA not in available:
        raise DeviceError(
            f"device {device}: this onnxruntime has no CUDA provider (it has {', '.join(available)}); "
            "pip uninstall onnxruntime, then pip install 'impasto[gpu]'"
        )


def _create(
    ort: Any,
    path: Path,
    providers: list[Any],
    placement: Placement,
    *,
    optimize: bool = True,
    log_level: int = _QUIET,
) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = log_level
    if placement.threads is not None:
        options.intra_op_num_threads = placement.threads
    # Weights are allocated once: in the arena, which grows by powers of two, they would leave gaps.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # Between evaluations SciPy has work for the processor; threads that spin in wait of the next would be in its way.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A memory pattern packs everything in one block, but beside what the first evaluation left in the arena: without
    # it the arena alone is smaller. Where the arena is given back after every evaluation, the block alone remains.
    options.enable_mem_pattern = placement.low_memory
    inference = ort.InferenceSession(str(path), options, providers=providers)
    _trim()
    return inference


def _trim() -> None:
    """Give freed memory back to the system, where the C library keeps it (glibc does).

    Preparing the weights of a session leaves hundreds of megabytes free but unreturned.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, another system
        ctypes.CDLL(None).malloc_trim(0)
