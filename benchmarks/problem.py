"""The losses that contenders compute, written down once more from the recipes' sources, and not from the recipes.

`seed` is the reference algorithm, the classic Keras notebook; `gatys` is the paper's. Weights multiply plain sums, and
Gram matrices are not normalised. That impasto's loss comes out the same is checked before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.files import pictures_file, weights_file
from benchmarks.protocol import Job

Rgb = NDArray[np.float32]

#: The means that the network expects to be subtracted, in the order R, G, B.
MEAN = np.array([123.68, 116.779, 103.939], np.float32)

#: The convolutions of VGG-19, block by block; a 2x2 max pooling stands between blocks.
CONVOLUTIONS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}


@dataclass(frozen=True)
class Problem:
    """A recipe's loss.

    Attributes
    ----------
    content_weight
        Of ``sum((F - P)^2)`` at `content_layer`.
    style_factor
        (channels, positions of the layer, pixels of the picture) -> the factor of ``sum((G - A)^2)`` of a layer.
    tv_weight
        Of ``sum((a + b)^1.25)``.
    """

    content_layer: str
    content_weight: float
    style_layers: tuple[str, ...]
    style_factor: Callable[[int, int, int], float]
    tv_weight: float

    def blocks(self) -> list[list[str]]:
        """Return the convolutions that are needed, block by block, the last of them one that the loss names."""
        names = [[f"block{block}_conv{k}" for k in range(1, count + 1)] for block, count in CONVOLUTIONS.items()]
        last = max((self.content_layer, *self.style_layers))
        return [kept for block in names if (kept := [name for name in block if name <= last])]


PROBLEMS = {
    "seed": Problem(
        content_layer="block2_conv2",
        content_weight=0.02,
        style_layers=("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"),
        style_factor=lambda n, m, pixels: 4.5 / 5 / (4 * 3**2 * pixels**2),
        tv_weight=0.995,
    ),
    "gatys": Problem(
        content_layer="block4_conv2",
        content_weight=1 / 2,
        style_layers=tuple(f"block{block}_conv1" for block in CONVOLUTIONS),
        style_factor=lambda n, m, pixels: 2e4 / 5 / (4 * n**2 * m**2),
        tv_weight=0.0,
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Float32 (H, W, 3), RGB, 0..255: two to measure targets on, and one to evaluate loss and gradient at."""

    content: Rgb
    style: Rgb
    start: Rgb


def load_pictures(job: Job) -> Pictures:
    """Return the pictures of a job."""
    with np.load(pictures_file(job.data, job.size)) as arrays:
        return Pictures(arrays["content"], arrays["style"], arrays["start"])


def load_weights(job: Job) -> Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel (out, in, 3, 3) and bias of every convolution that a job needs."""
    names = [name for block in PROBLEMS[job.recipe].blocks() for name in block]
    with np.load(weights_file(job.data)) as arrays:
        return {name: (arrays[f"{name}.kernel"], arrays[f"{name}.bias"]) for name in names}
