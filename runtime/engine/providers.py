"""The execution providers of onnxruntime: the one place that knows them, and how each is used.

A provider computes graphs on a device. Those for the CPU and for CUDA are parts of onnxruntime. Others are plug-ins:
packages with a library that an ordinary onnxruntime loads. One more plug-in is one more entry in `PROVIDERS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from impasto.runtime.errors import DeviceError
from impasto.runtime.machine import processors
from impasto.runtime.model.graphs import BFLOAT16, HALF, PRECISIONS, SINGLE
from impasto.text import shown
from impasto.wording import option

#: The device that is chosen for the user, and the precision.
AUTO = "auto"


@dataclass(frozen=True)
class Plugin:
    """A package that brings a provider.

    Attributes
    ----------
    distribution, module
        Its name for an installer, and for Python.
    """

    distribution: str
    module: str


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes
    ----------
    kind
        What a device's name begins with: ``cuda`` of ``cuda:0``.
    name
        onnxruntime's name of it.
    parts
        What may follow the colon: names, or ``N`` for any number; the first, or 0, is meant if nothing does.
    precisions
        Part -> the precisions that it computes in.
    plugin
        The package that brings it; None if onnxruntime has it already.
    on_host
        Whether pictures and gradients stay in the host's memory between evaluations.
    in_turn
        Whether it does one thing at a time in a process, whatever the session.
    takes
        (the metadata of one of onnxruntime's devices, a part) -> whether that is the device.
    masks
        The precisions in which it runs graphs for masks, which have loops.
    rounds
        The precisions that it makes of float32 graphs by itself.
    settings
        (part, precision, threads) -> the settings of the plug-in for a session.
    maker
        Whose devices alone it takes; empty if anyone's.
    """

    kind: str
    name: str
    parts: tuple[str, ...] = ()
    precisions: Callable[[str], tuple[str, ...]] = lambda part: (SINGLE,)
    plugin: Plugin | None = None
    on_host: bool = True
    masks: tuple[str, ...] = PRECISIONS
    rounds: tuple[str, ...] = ()
    in_turn: bool = False
    takes: Callable[[Mapping[str, str], str], bool] = lambda metadata, part: True
    settings: Callable[[str, str, int | None], dict[str, str]] = lambda part, precision, threads: {}
    maker: str = ""

    @property
    def restriction(self) -> str:
        """What to add to the sentence that it finds no device: whose it takes; empty if anyone's."""
        return f", and takes {self.maker}'s only" if self.maker else ""

    @property
    def pattern(self) -> str:
        """A regular expression for the names of its devices; its group is the part."""
        parts = "|".join("[0-9]+" if part == "N" else part for part in self.parts)
        return f"{self.kind}(?::({parts}))?" if parts else f"{self.kind}()"

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of its devices, for messages."""
        return (self.kind, *(f"{self.kind}:{part}" for part in self.parts))

    @property
    def definite_devices(self) -> tuple[str, ...]:
        """The whole names of its devices; of numbered ones, that of the first."""
        return tuple(self.definite(part.replace("N", "")) for part in self.parts or ("",))

    def definite(self, part: str) -> str:
        """Return the whole name of a device from its part, which may be empty."""
        chosen = part or next(iter(self.parts), "").replace("N", "0")
        return f"{self.kind}:{chosen}" if chosen else self.kind

    def graphs_of(self, precision: str) -> str:
        """Return the precision of the graphs that are opened to compute in a precision."""
        return SINGLE if precision in self.rounds else precision


def _is_openvinos(metadata: Mapping[str, str], part: str) -> bool:
    # Its combined devices (AUTO, HETERO) are offered once more for each device in them.
    return metadata.get("ov_device", "").partition(".")[0].lower() == part and "ov_meta_device" not in metadata


def _for_openvino(part: str, precision: str, threads: int | None) -> dict[str, str]:
    """Return OpenVINO's settings.

    Left alone, it rounds to 16 bits wherever the device has units for it. Graphs in bfloat16 say themselves what is
    rounded: docs/bfloat16.md says why.
    """
    load = {"INFERENCE_PRECISION_HINT": "f16" if precision == HALF else "f32"}
    if part == "cpu":
        count = threads or processors.default_threads()
        load |= {"INFERENCE_NUM_THREADS": str(count)} if count else {}
    return {"load_config": json.dumps({part.upper(): load})}


#: Every provider, by kind.
PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.kind: provider
        for provider in (
            Provider("cpu", "CPUExecutionProvider", precisions=lambda part: (SINGLE, HALF)),
            Provider("cuda", "CUDAExecutionProvider", ("N",), lambda part: (SINGLE, HALF), on_host=False),
            Provider(
                "openvino",
                "OpenVINOExecutionProvider",
                ("cpu", "gpu", "npu"),
                {"cpu": (SINGLE, BFLOAT16), "gpu": (SINGLE, HALF), "npu": (HALF,)}.__getitem__,
                Plugin("onnxruntime-ep-openvino", "onnxruntime_ep_openvino"),
                masks=(BFLOAT16,),
                rounds=(HALF,),
                takes=_is_openvinos,
                settings=_for_openvino,
                maker="Intel",
            ),
            Provider(
                "webgpu",
                "WebGpuExecutionProvider",
                plugin=Plugin("onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu"),
                masks=(),
                in_turn=True,
            ),
        )
    }
)

_DEVICE = re.compile("|".join([AUTO, *(f"(?:{provider.pattern})" for provider in PROVIDERS.values())]))


def check_name(device: str) -> None:
    """Refuse what is no name of a device.

    Raises
    ------
    DeviceError
        When it is none.
    """
    if not _DEVICE.fullmatch(device):
        known = [AUTO, *(name for provider in PROVIDERS.values() for name in provider.devices)]
        raise DeviceError(f"{option('device')} {shown(device)}: expected {', '.join(known[:-1])} or {known[-1]}")


def provider_of(device: str) -> Provider:
    """Return the provider of a device, which is not ``auto``."""
    return PROVIDERS[device.partition(":")[0]]


def part_of(device: str) -> str:
    """Return the part of a device after the colon."""
    return device.partition(":")[2]


def definite(device: str) -> str:
    """Return the whole name of a device: ``cuda:0`` for ``cuda``."""
    return provider_of(device).definite(part_of(device))


def is_host(device: str) -> bool:
    """Whether a device is the machine's own processor, whose memory is the machine's."""
    return device == "cpu" or device.endswith(":cpu")
