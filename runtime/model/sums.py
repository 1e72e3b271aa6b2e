"""What is to be known of a recipe for pictures in tiles: the sums over positions, and how far its layers see.

A loss depends on the activations of a picture through means over positions: Gram matrices, means of squared differences
and the like. Such a mean is a sum over tiles. `impasto.export.tiled` cuts the loss there.
"""

from __future__ import annotations

from dataclasses import dataclass

from impasto.runtime.model.graphs import LEVELS
from impasto.runtime.plan.sizes import MAX_SIDE
from impasto.runtime.storage import codec
from impasto.text import shown

#: An input of the graphs for tiles: 1 for the pixels of the tile's core and 0 for those around, float32 [1, 1, h, w].
CORE = "core"

#: The kinds of sums: see `Sum`.
MEAN, SHARE, GUIDED = "mean", "share", "guided"
KINDS = (MEAN, SHARE, GUIDED)


@dataclass(frozen=True)
class Halo:
    """What a recipe, in one layout, asks of tiles, in pixels.

    Attributes
    ----------
    width
        How far around its core a tile has to see: a multiple of the extent of a position after the last pooling.
    stride
        Tiles follow one another at multiples of this: of that extent, and of the squares in which the layout computes.
        So these are the same squares as in the whole picture, and round alike.
    """

    width: int
    stride: int

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("stride", self.stride)):
            if not 0 < value <= MAX_SIDE:
                raise codec.Misfit(f"{name} of halo is {value}; expected 1 to {MAX_SIDE}")


@dataclass(frozen=True)
class Sum:
    """A sum over positions.

    Attributes
    ----------
    name
        The graphs' name of its value.
    kind
        ``mean``: of a map's elements, those outside of the core counted as 0. ``share``: of the weight of each region,
        in the same way. ``guided``: the sum of products of activations, times the weight of each region.
    level, trim
        The extent of its map: [(h >> level) - trim, (w >> level) - trim] for h x w pixels.
    """

    name: str
    kind: str
    level: int
    trim: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise codec.Misfit(f"kind of sum {shown(self.name)} is {shown(self.kind)}; expected {' or '.join(KINDS)}")
        if not (0 <= self.level <= LEVELS and abs(self.trim) <= 1):
            raise codec.Misfit(f"level and trim of sum {shown(self.name)} are {self.level} and {self.trim}")

    @property
    def gradient(self) -> str:
        """The graphs' name of the gradient of the loss with respect to it."""
        return f"{self.name}.gradient"

    def positions(self, height: int, width: int) -> int:
        """Return the number of positions of its map, for a picture or a tile of height x width pixels."""
        return ((height >> self.level) - self.trim) * ((width >> self.level) - self.trim)
