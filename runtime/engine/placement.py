"""Placements: the device that graphs run on, the lowering, threads and memory."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from impasto import packages
from impasto.runtime.engine.cuda import CUDA_DEFAULTS, CudaOptions
from impasto.runtime.engine.library import CUDA, import_onnxruntime
from impasto.runtime.engine.plugins import find_device, is_installed
from impasto.runtime.engine.providers import AUTO, PROVIDERS, Provider, check_name, definite, part_of, provider_of
from impasto.runtime.errors import DeviceError, InputError, MemoryShortage, ModelError, TransferError
from impasto.runtime.machine import processors
from impasto.runtime.machine.nvidia import check_gpu
from impasto.runtime.model.graphs import BFLOAT16, DIRECT, LAYOUTS, PRECISIONS, SINGLE, WINOGRAD, WORDS
from impasto.runtime.plan.sizes import MAX_SIDE
from impasto.runtime.storage import codec
from impasto.text import shown
from impasto.wording import option, use_cpu

T = TypeVar("T")

#: The `Placement.tile` of pictures in one piece.
OFF = "off"

#: The least side of a tile's core: smaller ones would be mostly halo.
LEAST_SIDE = 16


@dataclass(frozen=True)
class Placement:
    """The device that graphs run on, and how they use it.

    Attributes
    ----------
    device
        ``auto`` (the fastest that works here: CUDA, or OpenVINO where the processor multiplies bfloat16 in tiles, else
        the CPU), ``cpu``, ``cuda:N``, or one of a plug-in: see `impasto.runtime.engine.providers`. Without its part
        after the colon, the provider's first device is meant.
    lowering
        ``auto`` (``winograd`` on a CPU, where it is about twice as fast; else ``direct``), or one of the two.
    threads
        The number of threads of the CPU; by default `impasto.runtime.machine.processors.default_threads`.
    low_memory
        Whether memory is given back after every evaluation, which takes more time. On a CPU less memory is needed; on
        CUDA it is only free between evaluations.
    cuda
        The options of CUDA.
    precision
        The precision of activations: ``fp32``, ``bf16``, ``fp16`` or ``auto``, which is ``bf16`` where the processor
        multiplies it faster and the provider has it, else ``fp32``. Losses, matrices, the picture and its gradient are
        always in single precision.
    tile
        The side of a tile's core, in pixels; ``off`` for pictures in one piece; or ``auto``, which is made definite
        before a graph is opened: see `impasto.runtime.engine.footprints.placed_within`, and
        `impasto.runtime.engine.tiles`.
    memory
        The most memory, in bytes, that the whole process may take, as far as tiles and the optimiser can be chosen for
        it; by default what the machine has.

    Raises
    ------
    InputError
        When the device, the lowering, the number of threads, the precision, the tile or the memory is not one of these.
    """

    device: str = "auto"
    lowering: str = "auto"
    threads: int | None = None
    low_memory: bool = False
    cuda: CudaOptions = CUDA_DEFAULTS
    precision: str = AUTO
    tile: int | str = AUTO
    memory: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cuda, CudaOptions):
            raise InputError(f"cuda is {shown(self.cuda)}; expected {CudaOptions.__module__}.CudaOptions")
        codec.check(self, called=option)
        check_name(self.device)
        if self.lowering not in ("auto", *LAYOUTS):
            raise ModelError(f"{option('lowering')} {self.lowering!r}: expected auto, {' or '.join(LAYOUTS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{option('threads')} is {self.threads}; expected 1 or more")
        if self.precision not in (AUTO, *PRECISIONS):
            *others, last = AUTO, *PRECISIONS
            raise InputError(f"{option('precision')} {self.precision!r}: expected {', '.join(others)} or {last}")
        self._check_tiles()
        if self.low_memory and self.cuda.graph:
            graph, low_memory = option("cuda.graph", True), option("low_memory", True)
            raise InputError(f"{graph}: needs the memory that {low_memory} gives back; leave one of the two out")
        if self.precision not in (AUTO, SINGLE) and self.lowering == WINOGRAD:
            precision, lowering = option("precision", self.precision), option("lowering", WINOGRAD)
            raise ModelError(f"{precision}: not with {lowering}; leave one of the two out")
        if self.device != AUTO:
            self._check_provider(provider_of(self.device), part_of(definite(self.device)))

    def _check_tiles(self) -> None:
        if self.tile not in (AUTO, OFF) and not (isinstance(self.tile, int) and LEAST_SIDE <= self.tile <= MAX_SIDE):
            expected = f"{AUTO}, {OFF} or a side of {LEAST_SIDE} to {MAX_SIDE} pixels"
            raise InputError(f"{option('tile')} is {shown(self.tile)}; expected {expected}")
        if self.memory is not None and self.memory < 1:
            raise InputError(f"{option('memory')} is {self.memory}; expected 1 byte or more")

    def _check_provider(self, provider: Provider, part: str) -> None:
        """Refuse what the device's provider does not have."""
        precisions = provider.precisions(part)
        if self.precision not in (AUTO, *precisions):
            asked, device = option("precision", self.precision), option("device", self.device)
            raise InputError(f"{asked}: not on {device}; expected {' or '.join((AUTO, *precisions))}")
        if self.lowering == WINOGRAD and provider.plugin:
            lowering, device = option("lowering", WINOGRAD), option("device", self.device)
            raise InputError(f"{lowering}: not on {device}, it is made for the CPU provider; leave one of the two out")

    @property
    def side(self) -> int | None:
        """The side of a tile's core, in pixels; None for pictures in one piece."""
        return self.tile if isinstance(self.tile, int) else None

    @property
    def recorded(self) -> bool:
        """Whether evaluations are recorded as a CUDA graph; not with `low_memory`, as a recording keeps its memory."""
        on_cuda = self.device == AUTO or provider_of(self.device).name == CUDA
        return on_cuda and not self.low_memory and self.cuda.recorded

    def on(self, device: str) -> Placement:
        """Return the same on a definite device, in a definite precision.

        Raises
        ------
        InputError
            When the device has not the precision.
        """
        device = definite(device)
        return replace(self, device=device, precision=_precision(self.precision, device))

    @property
    def of_targets(self) -> Placement:
        """The placement of the graphs that measure targets.

        It is the CPU's instead of a plug-in's, whose graphs are opened for pictures of one size: styles have many. But
        bfloat16 is a plug-in's alone, and needs targets of its own: see `GraphKey.targets`.
        """
        if not provider_of(self.device).plugin or self.precision == BFLOAT16:
            return self
        return replace(self, device="cpu", precision=SINGLE, lowering=self.layout)

    def unrecorded(self) -> Placement:
        """Return the same without recording."""
        return replace(self, cuda=replace(self.cuda, graph=False))

    @property
    def layout(self) -> str:
        """The lowering that is used; ``auto`` is resolved for the device."""
        fastest = WINOGRAD if self.device == "cpu" and self.precision in (AUTO, SINGLE) else DIRECT
        return fastest if self.lowering == "auto" else self.lowering


def _precision(precision: str, device: str) -> str:
    """Return a definite precision for a device."""
    if precision != AUTO:
        return precision
    available = provider_of(device).precisions(part_of(device))
    if BFLOAT16 in available and processors.multiplies_bfloat16():
        return BFLOAT16
    return SINGLE if SINGLE in available else available[0]


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


def check_device(device: str) -> None:
    """Refuse a device that is not there: a plug-in that is not installed or has no such device, CUDA without its GPU.

    Other failures, such as a CUDA or cuDNN that does not load, appear when a graph is opened. Asking the driver for its
    GPUs is the first use of CUDA in a process. Fork processes that will use CUDA before this call.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device is not available.
    """
    ort = import_onnxruntime()
    if device == AUTO:
        return
    provider = provider_of(device)
    if provider.plugin:
        find_device(device)
    elif provider.name == CUDA:
        _check_cuda(ort, device)


def _check_cuda(ort: Any, device: str) -> None:
    available = ort.get_available_providers()
    try:  # before the provider is checked: without a GPU, another onnxruntime would not help
        check_gpu(int(part_of(definite(device))), str(getattr(ort, "cuda_version", "")))
    except DeviceError as error:
        raise DeviceError(f"device {device}: {error}") from None
    if CUDA not in available:
        raise DeviceError(
            f"device {device}: this onnxruntime has no CUDA provider (it has {', '.join(available)}); "
            f"{packages.NEITHER}, then {packages.GPU}"
        )


def check_placement(placement: Placement, *, by_region: bool = False) -> None:
    """Refuse a placement that this machine cannot serve: too many threads, or a device that is not there.

    With `by_region`, also a device that cannot run graphs for masks.

    Raises
    ------
    InputError
        When there are more threads than processors; a `DeviceError` as `check_device` raises it.
    """
    check_threads(placement.threads)
    check_device(placement.device)
    if by_region:
        _check_masks(placement)
    if placement.device == AUTO:
        _candidates(placement)


def _check_masks(placement: Placement) -> None:
    """Refuse a device that does not run graphs with masks in the precision; ``auto`` takes only those that do."""
    if placement.device == AUTO:
        return
    placement = placement.on(placement.device)
    if placement.precision not in (able := provider_of(placement.device).masks):
        ways = " or ".join(option("precision", precision) for precision in able)
        way = f"use {ways}" if able else f"leave out {option('content_mask')} and {option('protect')}"
        refused = f"does not run graphs with masks in {WORDS[placement.precision]}"
        raise DeviceError(f"device {placement.device}: {refused}; {way}, or {use_cpu()}")


def _candidates(placement: Placement) -> list[str]:
    """Return the devices that ``auto`` stands for, the fastest first; the last one is the CPU, if it has the precision.

    A GPU with CUDA is always faster. OpenVINO is faster on a processor that multiplies bfloat16 in tiles (AMX), if it
    may be rounded to that; in float32 our own graphs are. Other devices are chosen by their users, or by known times:
    see `impasto.runtime.run.estimate.fastest`.

    Raises
    ------
    DeviceError
        When no device here has the precision.
    """
    devices, precision, openvino = [], placement.precision, PROVIDERS["openvino"]
    if CUDA in import_onnxruntime().get_available_providers() and precision != BFLOAT16:
        devices.append("cuda:0")
    if precision == BFLOAT16 or (
        precision == AUTO and placement.lowering != WINOGRAD and processors.has_bfloat16_tiles()
    ):
        devices += [openvino.definite("cpu")] if is_installed(openvino) else []
    if precision != BFLOAT16:
        devices.append("cpu")
    if not devices:
        assert openvino.plugin is not None
        get = packages.install(openvino.plugin.distribution)
        alone = f"{openvino.kind} alone has it, on {openvino.maker}'s devices"
        raise DeviceError(f"{option('precision', precision)}: {alone}; {get}, or leave it out")
    return devices


def on_device(placement: Placement, work: Callable[[Placement], T], *, by_region: bool = False) -> T:
    """Call `work` with a definite placement; ``auto`` is the fastest device on which the work succeeds.

    A picture that is too large for a device does not go to the CPU: that could take hours, and more memory than there
    is. With `by_region`, the work is with graphs for masks.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device asked for is not available. There is no silent fall-back.
    InputError
        When more threads are asked for than there are processors.
    MemoryShortage
        When there is too little memory for `work`.
    """
    check_threads(placement.threads)
    if placement.device != AUTO:
        if by_region:
            _check_masks(placement)
        return work(placement.on(placement.device))
    *faster, last = _candidates(placement)
    for device, other in pairwise([*faster, last]):
        try:
            return work(placement.on(device))
        except MemoryShortage:
            raise
        except (DeviceError, ModelError, TransferError) as error:  # an older model has no graphs in bfloat16
            reason = str(error).replace(f", or {use_cpu()}", "").replace(f"; {use_cpu()}", "")
            warnings.warn(f"{reason}; using {'the CPU' if other == 'cpu' else other}", RuntimeWarning, stacklevel=3)
    return work(placement.on(last))


def foreseen(placement: Placement) -> Placement:
    """Return a placement with a definite device, precision and lowering: the expected ones, before a graph is opened.

    Raises
    ------
    DeviceError
        When the device is ``auto`` and onnxruntime is missing.
    InputError
        When the device has not the precision.
    """
    device = placement.device
    if device == AUTO:
        *faster, device = _candidates(placement)
        for candidate in reversed(faster):
            with contextlib.suppress(DeviceError):
                check_device(candidate)
                device = candidate
    placement = placement.on(device)
    return replace(placement, lowering=placement.layout)
