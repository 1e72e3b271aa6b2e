"""The VGG networks of Simonyan and Zisserman (2014), as data, and the form of picture that they expect.

Both are chains of 3x3 convolutions (stride 1, zero padding 1), each followed by a ReLU, in five blocks with a 2x2
pooling of stride 2 between them. A recipe may have the first convolution see the picture's border repeated in place of
zeros. A layer is named as Keras names it, ``block4_conv2``, and its name means the activation *after* the ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from impasto.runtime.model.sums import Halo

#: The pixels that total variation compares a pixel with are so far away at most, if its border is one of them.
NEIGHBOURS = 2


@dataclass(frozen=True)
class ConvLayer:
    """One 3x3 convolution: `inputs` -> `outputs` channels, after `level` poolings."""

    name: str
    inputs: int
    outputs: int
    level: int


@dataclass(frozen=True)
class Network:
    """A VGG network: for each block, the number of convolutions and that of their channels."""

    name: str
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)

    @property
    def layers(self) -> tuple[ConvLayer, ...]:
        """The convolutions, in order."""
        layers: list[ConvLayer] = []
        inputs = 3
        for level, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for number in range(1, depth + 1):
                layers.append(ConvLayer(f"block{level + 1}_conv{number}", inputs, width, level))
                inputs = width
        return tuple(layers)

    def up_to(self, names: set[str]) -> tuple[ConvLayer, ...]:
        """Return the convolutions needed to reach every layer of `names`, in order.

        Raises
        ------
        KeyError
            When the network has no layer of that name.
        """
        layers = self.layers
        position = {layer.name: index for index, layer in enumerate(layers)}
        return layers[: 1 + max(position[name] for name in names)]

    def halo(self, names: set[str], squares: Sequence[int] = ()) -> Halo:
        """Return what the layers of `names` ask of tiles.

        After k poolings, a convolution sees one position, which is 2^k pixels, further to each side. Pooling sees no
        further, as long as tiles begin where its windows do.

        Parameters
        ----------
        squares
            The side of the squares of positions in which a layout computes, after each number of poolings.
        """
        layers = self.up_to(names)
        deepest = layers[-1].level
        grid = 2**deepest
        reach = max(NEIGHBOURS, sum(2**layer.level for layer in layers))
        sides = (side * 2**level for level, side in enumerate(squares[: deepest + 1]))
        return Halo(math.ceil(reach / grid) * grid, math.lcm(grid, *sides))


NETWORKS = {network.name: network for network in (Network("vgg16", (2, 2, 3, 3, 3)), Network("vgg19", (2, 2, 4, 4, 4)))}


@dataclass(frozen=True)
class Preprocessing:
    """The input that a network expects.

    A picture ``x``, RGB in 0..255, enters as ``(x - mean) * scale``; `mean` and `scale` are always stated in
    RGB order. `channels` is the order in which kernels of this kind are *distributed*; once loaded they take
    RGB.
    """

    name: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    channels: Literal["rgb", "bgr"]


CAFFE = Preprocessing("caffe", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "bgr")
TORCHVISION = Preprocessing(
    "torchvision",
    (0.485 * 255, 0.456 * 255, 0.406 * 255),
    (1 / (0.229 * 255), 1 / (0.224 * 255), 1 / (0.225 * 255)),
    "rgb",
)
PREPROCESSINGS = {kind.name: kind for kind in (CAFFE, TORCHVISION)}
