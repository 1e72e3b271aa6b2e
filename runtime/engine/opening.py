"""Opening graphs: the one module that makes sessions of onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from impasto import packages
from impasto.runtime.engine.failures import shortage
from impasto.runtime.engine.library import CPU, CUDA, FATAL, import_onnxruntime, one_line, preload_libraries
from impasto.runtime.engine.placement import Placement, check_device, on_device
from impasto.runtime.engine.plugins import find_device, turn
from impasto.runtime.engine.providers import is_host, part_of, provider_of
from impasto.runtime.engine.session import Runner, Session
from impasto.runtime.errors import DeviceError, MemoryShortage, ModelError
from impasto.runtime.machine import processors
from impasto.runtime.machine.nvidia import missing_library
from impasto.runtime.model.default import export_again
from impasto.runtime.model.folder import ModelFolder, check_location
from impasto.runtime.model.graphs import DIRECT, OBJECTIVE, PLAIN, SINGLE, GraphKey
from impasto.runtime.model.metadata import METADATA_KEY, Metadata
from impasto.shortage import advice, is_shortage
from impasto.wording import option, use_cpu

#: Optimisations of onnxruntime that do not make our graphs faster on a CPU, and take long: with thousands of nodes, two
#: thirds of the time of opening a graph.
_IDLE_OPTIMIZERS = ("GemmTransposeFusion",)

_ANYWHERE = Placement()

#: Words of onnxruntime's error when a session that excludes the CPU would need it.
_PARTLY_TAKEN = "fallback to CPU EP has been explicitly disabled"


def open_session(
    folder: ModelFolder,
    recipe: str,
    key: GraphKey,
    placement: Placement = _ANYWHERE,
    extents: Mapping[str, int] | None = None,
) -> Session:
    """Open one of a model folder's graphs.

    Parameters
    ----------
    extents
        The dimensions of all its pictures, if they are known: see `impasto.runtime.model.graphs.extents`. Except on the
        CPU, the graph is then opened for this size: it has no arithmetic on shapes, and all of it runs on the device.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for is not available. There is no silent fall-back.
    ModelError
        When the graph is missing, damaged, or of another format.
    """
    opened = partial(_open, import_onnxruntime(), folder, recipe, key, extents)
    return on_device(placement, opened, by_region=key.by_region)


def open_algebra(folder: ModelFolder, name: str, placement: Placement) -> Runner:
    """Open one of the graphs that `impasto.runtime.model.graphs.ALGEBRA` names, on the device that the placement names.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device is not available.
    ModelError
        When the graph is missing or damaged.
    """
    path = folder.algebra(name)
    # Inner products decide where a line search ends: they are computed in float32 throughout, without a CUDA graph.
    plain = replace(placement, cuda=replace(placement.cuda, tf32=False)).unrecorded()
    if provider_of(placement.device).plugin:  # pictures and gradients are on the host there
        plain = replace(plain, device="cpu", precision=SINGLE)
    inference, _ = _open_graph(import_onnxruntime(), path, plain, None, search=False)
    return Runner(inference, path.name, plain)


def open_model(path: Path, model: bytes, placement: Placement, *, optimize: bool = True) -> Runner:
    """Open a graph in memory, which was made from that of a file, on the CPU.

    Parameters
    ----------
    path
        The file, which errors name.
    model
        The graph, with all its tensors in it.
    optimize
        Whether onnxruntime optimises the graph first.

    Raises
    ------
    DeviceError
        When onnxruntime is missing.
    ModelError
        When onnxruntime cannot open the graph.
    MemoryShortage
        When there is too little memory for it.
    """
    inference = _open_cpu(import_onnxruntime(), path, placement, optimize=optimize, model=model)
    return Runner(inference, path.name, placement)


def read_metadata(folder: ModelFolder, recipe: str, key: GraphKey = PLAIN) -> Metadata:
    """Return the metadata of one of a recipe's graphs, as fast as onnxruntime can load a graph.

    Raises
    ------
    ModelError
        When the graph is missing, damaged, or of another format.
    """
    path = folder.graph(recipe, key)
    return _read_metadata(path, folder.identity(path))


@functools.lru_cache(maxsize=256)
def _read_metadata(path: Path, identity: tuple[int, ...]) -> Metadata:
    """Return the metadata of a graph; `identity` changes when its file is written again."""
    return _metadata(_open_unoptimized(import_onnxruntime(), path), path)


def _open(
    ort: Any, folder: ModelFolder, recipe: str, key: GraphKey, extents: Mapping[str, int] | None, placement: Placement
) -> Session:
    """Open a graph on the one device that the placement names."""
    path = folder.graph(recipe, key)
    fixed = extents if key.layout == DIRECT else None  # in `winograd`, large tables would become constants
    # A graph that measures targets runs once or twice: a search for the fastest convolutions would take longer.
    inference, placement = _open_graph(ort, path, placement, fixed, search=key.role == OBJECTIVE)
    metadata = _metadata(inference, path)
    folder.check_weights(metadata)
    return Session(inference, path.name, placement, metadata, folder)


def _metadata(inference: Any, path: Path) -> Metadata:
    return Metadata.from_json(inference.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""), path)


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
        if is_shortage(error):  # pictures have no part in it yet
            raise MemoryShortage(f"{path.name}: too little memory to open it; {advice()}") from error
        raise ModelError(
            f"{path}: onnxruntime cannot open it ({one_line(error)}); {export_again(path.parent)}"
        ) from None


def _open_unoptimized(ort: Any, path: Path) -> Any:
    """Open a graph on the CPU in the quickest way, to read the metadata or to check that it can be opened at all."""
    return _open_cpu(ort, path, Placement(threads=1), optimize=False)


def _open_graph(
    ort: Any, path: Path, placement: Placement, extents: Mapping[str, int] | None, *, search: bool
) -> tuple[Any, Placement]:
    """Open a graph on a definite device; return it, and its placement in the end."""
    if placement.device == "cpu":
        return _open_cpu(ort, path, placement), placement
    check_location(path)
    check_device(placement.device)
    if provider_of(placement.device).plugin:
        return _open_on_plugin(ort, path, placement, extents or {}), placement
    preload_libraries(ort)
    number = part_of(placement.device)
    plain = placement.unrecorded()
    if extents and placement.recorded:
        if inference := _open_strictly(ort, path, placement, number, extents):
            return inference, placement
        if placement.cuda.graph:  # graphs with loops are refused, such as those with regions
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
    """Warn that a graph cannot be recorded, though the user asked for it."""
    warnings.warn(
        f"{name}: cannot be recorded; runs without {option('cuda.graph', True)}", RuntimeWarning, stacklevel=3
    )


def _open_strictly(ort: Any, path: Path, placement: Placement, number: str, extents: Mapping[str, int]) -> Any | None:
    """Open for pictures of one size, so that every node runs on the device; return None if one does not.

    Raises
    ------
    TransferError
        When there is too little memory for the graph.
    """
    options = _options(ort, placement)
    fix_extents(options, extents)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = (CUDA, placement.cuda.provider(number, search=True))
    try:
        return _create(ort, path, [provider], options)  # not the CPU, too: it is excluded by the entry above
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):
            raise shortage(path.name, placement) from error
        return None  # if it is another error, the next attempt raises it


def _open_on_plugin(ort: Any, path: Path, placement: Placement, extents: Mapping[str, int]) -> Any:
    """Open on a plug-in's device: every node has to run there.

    Raises
    ------
    DeviceError
        When the device does not take the whole graph, or does not work.
    MemoryShortage
        When there is too little memory for the graph.
    """
    device, options = placement.device, _options(ort, placement)
    fix_extents(options, extents)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    settings = provider_of(device).settings(part_of(device), placement.precision, placement.threads)
    try:
        options.add_provider_for_devices([find_device(device)], settings)
        with turn(provider_of(device)):
            return _create(ort, path, [], options)
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):
            raise shortage(path.name, placement) from error
        _open_unoptimized(ort, path)  # raises an error if the graph is to blame, and not the device
        if _PARTLY_TAKEN in str(error):
            raise DeviceError(f"{path.name}: {device} does not run all of it; {use_cpu()}") from None
        raise DeviceError(f"{path.name}: device {device} does not work ({one_line(error)}); {use_cpu()}") from None


def fix_extents(options: Any, extents: Mapping[str, int]) -> None:
    """Fix the sizes of a session's pictures: its graph's shapes become constants, and arithmetic on them is folded.

    Parameters
    ----------
    options
        onnxruntime's `SessionOptions`.
    """
    for name, extent in extents.items():
        options.add_free_dimension_override_by_name(name, extent)


def _open_cuda(ort: Any, path: Path, placement: Placement, provider: Any) -> Any:
    """Open on CUDA, and check the result: onnxruntime falls back to the CPU silently."""
    device = placement.device
    try:
        inference = _create(ort, path, [provider, CPU], _options(ort, placement))
    except Exception as error:  # onnxruntime's own exception types are not public
        if is_shortage(error):
            raise shortage(path.name, placement) from error
        _open_unoptimized(ort, path)  # raises an error if the graph is to blame, and not the device
        raise DeviceError(
            f"device {device} does not work ({one_line(error)}); check the driver with nvidia-smi, or use "
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


def _options(ort: Any, placement: Placement) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if threads := placement.threads or processors.default_threads():
        options.intra_op_num_threads = threads
    # Weights are allocated once. In the arena, which grows by powers of two, they would leave gaps.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # Between evaluations SciPy needs the processor; threads that spin while they wait would slow it down.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A memory pattern packs all values into one block, beside the memory that the first evaluation left in the arena.
    # The arena alone is smaller.
    options.enable_mem_pattern = False
    if not is_host(placement.device):
        # Memory is shorter there. Memory that is planned for reuse is held from one value's end to another's beginning;
        # the arena does better. And nodes run in the order of the file, as early as possible: the statistics of a map
        # while it exists. (On a CPU both take more: results are not in place, and the arena grows in another way.)
        options.enable_mem_reuse = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    return options


def _create(ort: Any, model: Path | bytes, providers: list[Any], options: Any) -> Any:
    # Its own fall-back would print on standard output, and try the CPU with options for another device.
    inference = ort.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=providers or None,
        enable_fallback=0,
        disabled_optimizers=_IDLE_OPTIMIZERS if providers == [CPU] else (),
    )
    _trim()
    return inference


def _trim() -> None:
    """Give freed memory back to the system if the C library keeps it, as glibc does.

    Preparing the weights of a session leaves hundreds of megabytes that are free but not returned.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, another system
        ctypes.CDLL(None).malloc_trim(0)
