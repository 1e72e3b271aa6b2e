"""The options of CUDA: memory, and how convolutions are computed. docs/cuda.md has measurements of the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from impasto.defaults import CONV_SEARCHES
from impasto.runtime.errors import InputError
from impasto.runtime.storage import codec
from impasto.wording import option

#: How cuDNN's algorithm for a convolution is chosen -> onnxruntime's name for it.
SEARCHES: Mapping[str, str] = MappingProxyType(
    {"exhaustive": "EXHAUSTIVE", "heuristic": "HEURISTIC", "default": "DEFAULT"}
)

#: Gibibytes. onnxruntime 1.31 ignores a limit below the size of the weights, which is up to 0.16.
LEAST_MEMORY = 0.25

#: Convolutions with channels last are twice as fast, and can add their bias as well. With channels first, adding the
#: bias has given NaN (onnxruntime 1.31).
_CHANNELS_LAST: Mapping[str, str] = MappingProxyType({"prefer_nhwc": "1", "fuse_conv_bias": "1"})


@dataclass(frozen=True)
class CudaOptions:
    """How graphs run on a CUDA device.

    Attributes
    ----------
    memory
        Gibibytes of the device's memory that onnxruntime's arena may take, `LEAST_MEMORY` or more; all of it by
        default. cuDNN and the CUDA context take more memory beside that.
    tf32
        Whether the factors of products are rounded to 11 significant bits, which tensor cores multiply several times
        as fast. PyTorch does this in convolutions by default, and onnxruntime in convolutions and matrix products.
    search
        How the algorithm of each convolution is chosen: ``heuristic`` (by cuDNN's estimate), ``exhaustive`` (all are
        tried out in the first evaluation) or ``default`` (always the same one, which is slow).
    workspace
        Whether convolutions may take as much scratch memory as their fastest algorithm needs, rather than 32 MB.
    graph
        Whether an evaluation is recorded as a CUDA graph and replayed: this is less work for the host. By default it is
        recorded if possible. It is not possible with regions, whose graphs have loops; with low memory, which frees
        the memory that a recording needs; and with the optimiser ``lbfgs-device``, whose pictures change addresses.

    Raises
    ------
    InputError
        When a value is out of range.
    """

    memory: float | None = None
    tf32: bool = True
    search: str = CONV_SEARCHES[0]
    workspace: bool = True
    graph: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.memory, (int, float)) and not LEAST_MEMORY <= self.memory < math.inf:
            raise InputError(f"{option('cuda.memory')} is {self.memory:g}; expected {LEAST_MEMORY:g} or more, in GiB")
        codec.check(self, "cuda", option)
        if self.search not in SEARCHES:
            raise InputError(f"{option('cuda.search')} {self.search!r}: expected {', '.join(SEARCHES)}")

    @property
    def recorded(self) -> bool:
        """Whether evaluations are to be recorded."""
        return self.graph is not False

    def provider(self, number: str, *, search: bool = True) -> dict[str, str]:
        """Return the options of onnxruntime's CUDA provider.

        Parameters
        ----------
        number
            The number of the device.
        search
            Whether the graph runs often enough for an exhaustive search to be worthwhile.
        """
        chosen = self.search if search or self.search == "default" else "heuristic"
        options = {
            "device_id": number,
            "use_tf32": _flag(self.tf32),
            "cudnn_conv_algo_search": SEARCHES[chosen],
            "cudnn_conv_use_max_workspace": _flag(self.workspace),
            "enable_cuda_graph": _flag(self.recorded),
            **_CHANNELS_LAST,
        }
        if self.memory is not None:
            # The arena still grows by powers of two, and by less when these do not fit. If it grew by the sizes asked
            # for, it would have gaps, and need a fifth more.
            options["gpu_mem_limit"] = str(round(self.memory * 2**30))
        return options


def _flag(value: bool) -> str:
    return "1" if value else "0"


CUDA_DEFAULTS = CudaOptions()
