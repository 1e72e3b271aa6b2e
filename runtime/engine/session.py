"""onnxruntime sessions: the one place that opens a graph and chooses where it runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from impasto import packages
from impasto.runtime.engine.cuda import CUDA_DEFAULTS, CudaOptions
from impasto.runtime.engine.staging import Landing
from impasto.runtime.errors import DeviceError, InputError, MemoryShortage, ModelError, TransferError
from impasto.runtime.machine import processors
from impasto.runtime.machine.nvidia import check_gpu, missing_library
from impasto.runtime.model.folder import (
    DIRECT,
    LOWERINGS,
    METADATA_KEY,
    PRECISIONS,
    WINOGRAD,
    Metadata,
    ModelFolder,
    check_location,
    export_again,
)
from impasto.runtime.storage import codec
from impasto.shortage import advice, is_shortage, limits
from impasto.text import shown
from impasto.wording import option

T = TypeVar("T")

#: An array that lies on a session's device: onnxruntime's `OrtValue`.
DeviceArray = Any

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

#: Of two threads that import a package, one could be given what the other's failure has left of it.
_IMPORTING = threading.Lock()

#: Standard output is one for all threads, and two graphs may be opened at once.
_REDIRECTING = threading.Lock()

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")
_FATAL = 4  # onnxruntime's log level for nothing but what is fatal: errors are raised, and need not be printed, too

#: What finds nothing in our graphs that would make them faster on a CPU, and yet looks for a long time: where a graph
#: has thousands of nodes, it is two thirds of what opening takes.
_IDLE_OPTIMIZERS = ("GemmTransposeFusion",)

#: What onnxruntime looks at when it is imported: with 1 it reports to nobody, and writes no identifier into the cache.
_TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"

#: How onnxruntime tells a failure of CUDA or its libraries, between many other words.
_CUDA_FAILURE = re.compile(r"\b(?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUBLASLT) failure \d+: [^;]+")


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry switched off, or say how to install it.

    Whoever has set ``ORT_DISABLE_TELEMETRY`` has decided, and nothing is switched. An onnxruntime that another part of
    the program has imported before sends nothing from now on.

    Raises
    ------
    DeviceError
        When onnxruntime is not installed or cannot be loaded.
    MemoryShortage
        When there is no room for it.
    """
    decided, imported_before = _TELEMETRY_SWITCH in os.environ, "onnxruntime" in sys.modules
    os.environ.setdefault(_TELEMETRY_SWITCH, "1")
    try:
        with _IMPORTING:
            import onnxruntime
    except (ImportError, MemoryError) as error:
        if is_shortage(error):
            raise MemoryShortage(f"onnxruntime does not load for want of memory; {advice()}") from error
        assert isinstance(error, ImportError)
        what = "is not installed" if error.name == "onnxruntime" else f"does not load ({error})"
        raise DeviceError(f"onnxruntime {what}; {packages.EITHER}") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # what an uninstalled twin of the two wheels leaves behind
        raise DeviceError(f"onnxruntime is damaged; {packages.NEITHER}, then {packages.EITHER}")
    if imported_before and not decided:
        onnxruntime.disable_telemetry_events()
    return onnxruntime


@dataclass(frozen=True)
class Placement:
    """Where and how graphs run.

    Attributes
    ----------
    device
        ``auto`` (CUDA where it really works, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    lowering
        ``auto`` (``winograd`` on a CPU, where it is about twice as fast; else ``direct``), or one of the two.
    threads
        Threads of the CPU; by default as many as `impasto.runtime.machine.processors` says.
    low_memory
        Give memory back after every evaluation, for more time: on a CPU less is needed, on CUDA it is only free between
        evaluations.
    cuda
        What CUDA alone has to know.
    precision
        Of activations: ``fp32``, or ``fp16``, which takes less memory on a GPU. A CPU only gets slower.

    Raises
    ------
    InputError
        When the device, the lowering, the number of threads or the precision is none of these.
    """

    device: str = "auto"
    lowering: str = "auto"
    threads: int | None = None
    low_memory: bool = False
    cuda: CudaOptions = CUDA_DEFAULTS
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if not isinstance(self.cuda, CudaOptions):
            raise InputError(f"cuda is {shown(self.cuda)}; expected {CudaOptions.__module__}.CudaOptions")
        codec.check(self, called=option)
        if not _DEVICE.fullmatch(self.device):
            raise DeviceError(f"{option('device')} {self.device!r}: expected auto, cpu, cuda or cuda:N")
        if self.lowering not in ("auto", *LOWERINGS):
            raise ModelError(f"{option('lowering')} {self.lowering!r}: expected auto, {' or '.join(LOWERINGS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{option('threads')} is {self.threads}; expected 1 or more")
        if self.precision not in PRECISIONS:
            raise InputError(f"{option('precision')} {self.precision!r}: expected {' or '.join(PRECISIONS)}")
        if self.low_memory and self.cuda.graph:
            graph, low_memory = option("cuda.graph", True), option("low_memory", True)
            raise InputError(f"{graph}: needs the memory that {low_memory} gives back; leave one of the two out")
        if self.precision != "fp32" and self.lowering == WINOGRAD:
            precision, lowering = option("precision", self.precision), option("lowering", WINOGRAD)
            raise ModelError(f"{precision}: not with {lowering}; leave one of the two out")

    @property
    def recorded(self) -> bool:
        """Whether evaluations are to be recorded as a CUDA graph: that keeps its memory, and so needs it to stay."""
        return self.device != "cpu" and not self.low_memory and self.cuda.recorded

    def unrecorded(self) -> Placement:
        """Return the same without recording."""
        return replace(self, cuda=replace(self.cuda, graph=False))

    @property
    def layout(self) -> str:
        """The lowering that is used, ``auto`` settled for the device it runs on."""
        fastest = WINOGRAD if self.device == "cpu" and self.precision == "fp32" else DIRECT
        return fastest if self.lowering == "auto" else self.lowering


class Runner:
    """One graph, ready to run on one device.

    Attributes
    ----------
    name
        The name of its file.
    placement
        Where and how it runs.
    device
        ``cpu`` or ``cuda:N``.
    outputs
        The names of its outputs, in order.
    """

    def __init__(self, inference: Any, name: str, placement: Placement) -> None:
        self._inference = inference
        self._options = import_onnxruntime().RunOptions()
        self._options.log_severity_level = _FATAL
        self.name, self.placement = name, placement
        self.device = placement.device
        self.outputs: tuple[str, ...] = tuple(x.name for x in inference.get_outputs())
        if placement.low_memory:
            allocator = "cpu:0" if placement.device == "cpu" else placement.device.replace("cuda", "gpu")
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", allocator)

    def run(
        self, feeds: Mapping[str, NDArray[np.generic]], outputs: Iterable[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Evaluate the graph and return the wanted outputs. All of it is computed: onnxruntime has no other way.

        The arrays lie in the session's own memory, which lives as long as any of them: copy what is to be kept.

        Raises
        ------
        TransferError
            When onnxruntime fails, for want of memory for instance.
        """
        names = self.outputs if outputs is None else tuple(outputs)
        with self._explained():
            return dict(zip(names, self._inference.run(names, feeds, self._options), strict=True))

    def bind(self, feeds: Mapping[str, NDArray[Any]] | None = None) -> Binding:
        """Return the graph with some of its inputs put in place on its device, once and for all.

        Raises
        ------
        TransferError
            When there is no room for them.
        """
        return Binding(self, feeds or {})

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Return an array on the device. On the CPU that is the array itself: leave it as it is.

        Raises
        ------
        TransferError
            When there is no room for it.
        """
        with self._explained():
            return import_onnxruntime().OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"), *self._memory())

    def landing(self, shape: tuple[int, ...]) -> Landing:
        """Return a place on the host for copies of float32 arrays on the device."""
        return Landing(shape, self.device)

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a float32 array on the device, with anything in it.

        Raises
        ------
        TransferError
            When there is no room for it.
        """
        make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
        with self._explained():
            return make(list(shape), np.float32, *self._memory())

    def _memory(self) -> tuple[str, int]:
        kind, _, number = self.device.partition(":")
        return kind, int(number or 0)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # onnxruntime's own exception types are not public
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TransferError:
        """Return an error of onnxruntime's in our words."""
        if is_shortage(error):
            return _shortage(self.name, self.placement)
        way = "please report it" if self.device == "cpu" else f"try {option('device', 'cpu')}"
        way += f", or {option('cuda.graph', False)}" if self.placement.recorded else ""
        return TransferError(f"{self.name}: onnxruntime failed on {self.device} ({_one_line(error)}); {way}")


class Session(Runner):
    """A recipe's graph, ready to run.

    Attributes
    ----------
    metadata
        What the graph says of itself.
    folder
        The model folder that it comes from.
    """

    def __init__(self, inference: Any, name: str, placement: Placement, metadata: Metadata, folder: ModelFolder):
        super().__init__(inference, name, placement)
        self.metadata, self.folder = metadata, folder


class Binding:
    """A graph whose inputs and outputs are arrays on its device: nothing is copied that has not changed."""

    def __init__(self, runner: Runner, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._runner = runner
        self._binding = runner._inference.io_binding()
        self._kept = {name: runner.upload(array) for name, array in feeds.items()}
        for name, value in self._kept.items():
            self._binding.bind_ortvalue_input(name, value)

    def run(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray]) -> None:
        """Evaluate the graph into the arrays given as outputs; inputs stay until they are replaced.

        No output may share memory with an input.

        Raises
        ------
        TransferError
            When onnxruntime fails, for want of memory for instance.
        """
        runner = self._runner
        with runner._explained():
            for name, value in inputs.items():
                self._binding.bind_ortvalue_input(name, value)
            for name, value in outputs.items():
                self._binding.bind_ortvalue_output(name, value)
            runner._inference.run_with_iobinding(self._binding, runner._options)


def download(array: DeviceArray) -> NDArray[np.float32]:
    """Return a copy, in the host's memory, of a float32 array on a device."""
    found: NDArray[np.float32] = array.numpy()
    return found.copy() if array.device_name() == "cpu" else found  # on the CPU, `numpy` shares its memory


def download_number(array: DeviceArray) -> float:
    """Return the one number in an array on a device."""
    return float(array.numpy().item())


def _shortage(name: str, placement: Placement) -> MemoryShortage:
    if placement.device != "cpu":  # what is given back after an evaluation is wanted again in the next
        other = f", or {option('device', 'cpu')}"
    else:  # `winograd` holds little that could be given back
        other = "" if placement.low_memory or placement.layout == WINOGRAD else f", or {option('low_memory', True)}"
    limit = f", or {advice()}" if limits() and placement.device == "cpu" else ""
    return MemoryShortage(
        f"{name}: out of memory on {placement.device}; choose a smaller {option('size')}{other}{limit}"
    )


def _one_line(error: Exception) -> str:
    """Return what an error says; of a long one of CUDA's, with places in onnxruntime's code, the heart of it."""
    text = " ".join(str(error).split())
    found = _CUDA_FAILURE.search(text)
    return found[0].rstrip() if found else text


def check_threads(threads: int | None) -> None:
    """Refuse more threads than there are processors: they would wait for one another.

    Raises
    ------
    InputError
        When there are more.
    """
    most = processors.installed()
    if threads is not None and threads > most:
        raise InputError(f"{option('threads')} is {threads}; expected 1 to {most}, as many as there are processors")


def on_device(placement: Placement, work: Callable[[Placement], T]) -> T:
    """Call `work` with a placement whose device is definite: for ``auto``, CUDA where all of it works, else the CPU.

    A picture that is too large for CUDA does not go to the CPU: that could take hours, and more memory than there is.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for cannot be had. There is no quiet fall-back.
    InputError
        When more threads are asked for than there are processors.
    MemoryShortage
        When `work` finds too little memory.
    """
    check_threads(placement.threads)
    if placement.device == "auto" and CUDA in import_onnxruntime().get_available_providers():
        try:
            return work(replace(placement, device="cuda:0"))
        except MemoryShortage:
            raise
        except (DeviceError, TransferError) as error:
            warnings.warn(f"{error}; using the CPU", RuntimeWarning, stacklevel=3)
    device = {"auto": "cpu", "cuda": "cuda:0"}.get(placement.device, placement.device)
    return work(replace(placement, device=device))


def foreseen(placement: Placement) -> Placement:
    """Return a placement with a definite device and lowering, as far as they can be told before a graph is opened.

    Raises
    ------
    DeviceError
        When the device is ``auto`` and onnxruntime is missing.
    """
    device = "cuda:0" if placement.device in ("auto", "cuda") else placement.device
    if placement.device == "auto":
        if CUDA not in import_onnxruntime().get_available_providers():
            device = "cpu"  # the driver is not even asked: see `check_device`
        try:
            check_device(device)
        except DeviceError:
            device = "cpu"
    placement = replace(placement, device=device)
    return replace(placement, lowering=placement.layout)


_ANYWHERE = Placement()


def open_session(
    folder: ModelFolder,
    recipe: str,
    kind: str,
    placement: Placement = _ANYWHERE,
    extents: Mapping[str, int] | None = None,
) -> Session:
    """Open one of a model folder's graphs.

    Parameters
    ----------
    extents
        Of the only pictures that it will see, where they are known: see `impasto.runtime.model.folder.extents`. On CUDA
        the graph is then made for them: no arithmetic on shapes is left, all of it runs on the device.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for cannot be had. There is no quiet fall-back.
    ModelError
        When the graph is missing, damaged, or of another format.
    """
    return on_device(placement, partial(_open, import_onnxruntime(), folder, recipe, kind, extents))


def open_algebra(folder: ModelFolder, name: str, placement: Placement) -> Runner:
    """Open one of the graphs that `impasto.runtime.model.folder.ALGEBRA` names, on the device that the placement names.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device cannot be had.
    ModelError
        When the graph is missing or damaged.
    """
    path = folder.algebra(name)
    # Inner products decide where a line search ends: they are computed in float32 throughout, and by no CUDA graph.
    plain = replace(placement, cuda=replace(placement.cuda, tf32=False)).unrecorded()
    inference, _ = _open_graph(import_onnxruntime(), path, plain, None, search=False)
    return Runner(inference, path.name, plain)


def open_model(path: Path, model: bytes, placement: Placement, *, optimize: bool = True) -> Runner:
    """Open a graph that was made from a file's and is in memory, on the CPU.

    Parameters
    ----------
    path
        The file, by which errors call the graph.
    model
        The graph, with all its tensors in it.
    optimize
        Whether onnxruntime is to look for a better graph first.

    Raises
    ------
    DeviceError
        When onnxruntime is missing.
    ModelError
        When onnxruntime cannot open the graph.
    MemoryShortage
        When there is no room for it.
    """
    inference = _open_cpu(import_onnxruntime(), path, placement, optimize=optimize, model=model)
    return Runner(inference, path.name, placement)


def read_metadata(folder: ModelFolder, recipe: str, kind: str) -> Metadata:
    """Return what a graph says of itself, as fast as onnxruntime can load it."""
    path = folder.graph(recipe, kind)
    return _metadata(_open_unoptimized(import_onnxruntime(), path), path)


def _open(
    ort: Any, folder: ModelFolder, recipe: str, kind: str, extents: Mapping[str, int] | None, placement: Placement
) -> Session:
    """Open a graph on the one device that the placement names."""
    path = folder.graph(recipe, kind, placement.layout)
    fixed = extents if placement.layout == DIRECT else None  # of `winograd`, large tables would become constants
    # A graph that measures targets runs once or twice: a search for the fastest convolutions would take longer.
    search = any(kind in objectives for objectives in PRECISIONS.values())
    inference, placement = _open_graph(ort, path, placement, fixed, search=search)
    metadata = _metadata(inference, path)
    folder.check_weights(metadata)
    return Session(inference, path.name, placement, metadata, folder)


def _metadata(inference: Any, path: Path) -> Metadata:
    return Metadata.from_json(inference.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""), str(path))


def _open_cpu(
    ort: Any,
    path: Path,
    placement: Placement,
    *,
    optimize: bool = True,
    model: bytes | None = None,
) -> Any:
    """Open a file on the CPU, or the model given in its place."""
    if model is None:
        check_location(path)
    try:
        options = _options(ort, placement)
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _create(ort, model or path, [CPU], options)
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):  # no picture has a part in it yet
            raise MemoryShortage(f"{path.name}: too little memory to open it; {advice()}") from error
        raise ModelError(
            f"{path}: onnxruntime cannot open it ({_one_line(error)}); {export_again(path.parent)}"
        ) from None


def _open_unoptimized(ort: Any, path: Path) -> Any:
    """Open on the CPU in the quickest way, to read the metadata or to see whether the graph can be opened at all."""
    return _open_cpu(ort, path, Placement(threads=1), optimize=False)


def _open_graph(
    ort: Any, path: Path, placement: Placement, extents: Mapping[str, int] | None, *, search: bool
) -> tuple[Any, Placement]:
    """Open a graph on a definite device; return it, and how it was placed in the end."""
    if placement.device == "cpu":
        return _open_cpu(ort, path, placement), placement
    check_location(path)
    check_device(placement.device)
    preload_libraries(ort)
    number = placement.device.partition(":")[2]
    plain = placement.unrecorded()
    if extents and placement.recorded:
        if inference := _open_strictly(ort, path, placement, number, extents):
            return inference, placement
        if placement.cuda.graph:  # refused where a graph has loops, as those with regions have
            tell_unrecorded(path.name)
    if extents and (inference := _open_strictly(ort, path, plain, number, extents)):
        return inference, plain
    inference = _open_cuda(ort, path, plain, (CUDA, plain.cuda.provider(number, search=search)))
    if extents:
        warnings.warn(
            f"{path.name}: onnxruntime runs parts of it on the CPU, which takes longer; please report it",
            RuntimeWarning,
            stacklevel=3,
        )
    return inference, plain


def tell_unrecorded(name: str) -> None:
    """Warn that a graph runs without being recorded, which was asked for."""
    warnings.warn(
        f"{name}: cannot be recorded; runs without {option('cuda.graph', True)}", RuntimeWarning, stacklevel=3
    )


def preload_libraries(ort: Any) -> None:
    """Have onnxruntime find CUDA and cuDNN in the packages that came with onnxruntime-gpu.

    And have it print nothing of its own in the whole process: 1.31 says for every session that CUDA is no plug-in, and
    of what fails it says on many lines what is raised as well.
    """
    ort.set_default_logger_severity(_FATAL)
    if hasattr(ort, "preload_dlls"):
        with _REDIRECTING, contextlib.redirect_stdout(sys.stderr):  # it prints what it misses; our own is for results
            ort.preload_dlls()


def _open_strictly(ort: Any, path: Path, placement: Placement, number: str, extents: Mapping[str, int]) -> Any | None:
    """Open for pictures of one size, so that every node runs on the device; return nothing where one does not.

    Raises
    ------
    TransferError
        When there is no room for the graph.
    """
    options = _options(ort, placement)
    fix_extents(options, extents)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = (CUDA, placement.cuda.provider(number, search=True))
    try:
        return _create(ort, path, [provider], options)  # not the CPU, too: the two exclude each other
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):
            raise _shortage(path.name, placement) from error
        return None  # whatever it is, the next attempt tells


def fix_extents(options: Any, extents: Mapping[str, int]) -> None:
    """Make a session for pictures of one size: its graph's shapes are constants, and what follows from them is folded.

    Parameters
    ----------
    options
        onnxruntime's `SessionOptions`.
    """
    for name, extent in extents.items():
        options.add_free_dimension_override_by_name(name, extent)


def _open_cuda(ort: Any, path: Path, placement: Placement, provider: Any) -> Any:
    """Open on CUDA; onnxruntime falls back to the CPU quietly, so what it did is compared with what was asked for."""
    device = placement.device
    try:
        inference = _create(ort, path, [provider, CPU], _options(ort, placement))
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):
            raise _shortage(path.name, placement) from error
        _open_unoptimized(ort, path)  # fails, and says so, where the graph is to blame and not the device
        raise DeviceError(
            f"device {device} does not work ({_one_line(error)}); check the driver with nvidia-smi, or use "
            f"{option('device', 'cpu')}"
        ) from None
    if CUDA not in inference.get_providers():
        missing = missing_library(ort.__file__)
        reason = f" ({missing})" if missing else ""
        raise DeviceError(
            f"device {device}: onnxruntime could not load CUDA and cuDNN{reason}; {packages.GPU}, or use "
            f"{option('device', 'cpu')}"
        )
    return inference


def check_device(device: str) -> None:
    """Refuse CUDA where this onnxruntime is not made for it, or there is no such GPU.

    The rest, whether CUDA and cuDNN load for instance, shows when a graph is opened. Asking the driver for its GPUs is
    the first use of CUDA in a process: what is to be forked into others, and use CUDA there, must be forked before.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device is one of CUDA's and cannot be had.
    """
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return
    try:  # even if it is not made for it: without a GPU, another onnxruntime would be no help
        check_gpu(int(number or 0), str(getattr(ort, "cuda_version", "")))
    except DeviceError as error:
        raise DeviceError(f"device {device}: {error}") from None
    if CUDA not in available:
        raise DeviceError(
            f"device {device}: this onnxruntime has no CUDA provider (it has {', '.join(available)}); "
            f"{packages.NEITHER}, then {packages.GPU}"
        )


def _options(ort: Any, placement: Placement) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    if threads := placement.threads or processors.default_threads():
        options.intra_op_num_threads = threads
    # Weights are allocated once: in the arena, which grows by powers of two, they would leave gaps.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # Between evaluations SciPy has work for the processor; threads that spin in wait of the next would be in its way.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A memory pattern packs everything in one block, but beside what the first evaluation left in the arena: without
    # it the arena alone is smaller.
    options.enable_mem_pattern = False
    if placement.device != "cpu":
        # Memory is shorter there. What is planned to be reused is held from one value's end to another's beginning; the
        # arena does better. And nodes run in the order they are written in, as soon as they can: statistics of a map
        # while it is there. (On a CPU both take more: results are not in place, and the arena is grown otherwise.)
        options.enable_mem_reuse = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    return options


def _create(ort: Any, model: Path | bytes, providers: list[Any], options: Any) -> Any:
    # Its own fall-back would print on standard output, and try the CPU with options that were meant for another device.
    inference = ort.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=providers,
        enable_fallback=0,
        disabled_optimizers=_IDLE_OPTIMIZERS if providers == [CPU] else (),
    )
    _trim()
    return inference


def _trim() -> None:
    """Give freed memory back to the system, where the C library keeps it (glibc does).

    Preparing the weights of a session leaves hundreds of megabytes free but unreturned.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, another system
        ctypes.CDLL(None).malloc_trim(0)
