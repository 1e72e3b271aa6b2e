"""Placements: the device that graphs run on, the lowering, threads and memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from impasto import packages
from impasto.runtime.engine.cuda import CUDA_DEFAULTS, CudaOptions
from impasto.runtime.engine.library import CUDA, import_onnxruntime
from impasto.runtime.errors import DeviceError, InputError, MemoryShortage, ModelError, TransferError
from impasto.runtime.machine import processors
from impasto.runtime.machine.nvidia import check_gpu
from impasto.runtime.model.graphs import DIRECT, LAYOUTS, PRECISIONS, SINGLE, WINOGRAD
from impasto.runtime.storage import codec
from impasto.text import shown
from impasto.wording import option

T = TypeVar("T")

_DEVICE = re.compile(r"auto|cpu|cuda(?::(\d+))?")


@dataclass(frozen=True)
class Placement:
    """The device that graphs run on, and how they use it.

    Attributes
    ----------
    device
        ``auto`` (CUDA if it works, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
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
        The precision of activations: ``fp32``, or ``fp16``, which takes less memory on a GPU and more time on a CPU.

    Raises
    ------
    InputError
        When the device, the lowering, the number of threads or the precision is not one of these.
    """

    device: str = "auto"
    lowering: str = "auto"
    threads: int | None = None
    low_memory: bool = False
    cuda: CudaOptions = CUDA_DEFAULTS
    precision: str = SINGLE

    def __post_init__(self) -> None:
        if not isinstance(self.cuda, CudaOptions):
            raise InputError(f"cuda is {shown(self.cuda)}; expected {CudaOptions.__module__}.CudaOptions")
        codec.check(self, called=option)
        if not _DEVICE.fullmatch(self.device):
            raise DeviceError(f"{option('device')} {self.device!r}: expected auto, cpu, cuda or cuda:N")
        if self.lowering not in ("auto", *LAYOUTS):
            raise ModelError(f"{option('lowering')} {self.lowering!r}: expected auto, {' or '.join(LAYOUTS)}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"{option('threads')} is {self.threads}; expected 1 or more")
        if self.precision not in PRECISIONS:
            raise InputError(f"{option('precision')} {self.precision!r}: expected {' or '.join(PRECISIONS)}")
        if self.low_memory and self.cuda.graph:
            graph, low_memory = option("cuda.graph", True), option("low_memory", True)
            raise InputError(f"{graph}: needs the memory that {low_memory} gives back; leave one of the two out")
        if self.precision != SINGLE and self.lowering == WINOGRAD:
            precision, lowering = option("precision", self.precision), option("lowering", WINOGRAD)
            raise ModelError(f"{precision}: not with {lowering}; leave one of the two out")

    @property
    def recorded(self) -> bool:
        """Whether evaluations are recorded as a CUDA graph; not with `low_memory`, as a recording keeps its memory."""
        return self.device != "cpu" and not self.low_memory and self.cuda.recorded

    def unrecorded(self) -> Placement:
        """Return the same without recording."""
        return replace(self, cuda=replace(self.cuda, graph=False))

    @property
    def layout(self) -> str:
        """The lowering that is used; ``auto`` is resolved for the device."""
        fastest = WINOGRAD if self.device == "cpu" and self.precision == SINGLE else DIRECT
        return fastest if self.lowering == "auto" else self.lowering


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
    """Refuse CUDA if this onnxruntime is not made for it, or if there is no such GPU.

    Other failures, such as a CUDA or cuDNN that does not load, appear when a graph is opened. Asking the driver for its
    GPUs is the first use of CUDA in a process. Fork processes that will use CUDA before this call.

    Raises
    ------
    DeviceError
        When onnxruntime is missing, or the device is a CUDA device that is not available.
    """
    ort = import_onnxruntime()
    available = ort.get_available_providers()
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return
    try:  # before the provider is checked: without a GPU, another onnxruntime would not help
        check_gpu(int(number or 0), str(getattr(ort, "cuda_version", "")))
    except DeviceError as error:
        raise DeviceError(f"device {device}: {error}") from None
    if CUDA not in available:
        raise DeviceError(
            f"device {device}: this onnxruntime has no CUDA provider (it has {', '.join(available)}); "
            f"{packages.NEITHER}, then {packages.GPU}"
        )


def on_device(placement: Placement, work: Callable[[Placement], T]) -> T:
    """Call `work` with a placement whose device is definite; ``auto`` is CUDA if the work succeeds there, else the CPU.

    A picture that is too large for CUDA does not go to the CPU: that could take hours, and more memory than there is.

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
    """Return a placement with a definite device and lowering: the expected ones, before a graph is opened.

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
