"""Tiles of a picture: which pixels each of them is for, and which it has to see.

A tile's *core* are the pixels whose activations it is for. Its *window* are all pixels that these activations depend
on: the core and a *halo* around it, as far as the deepest layer of the recipe sees. The picture's own borders need no
halo: there the network pads the picture, and the window alike. Windows begin where the windows of all poolings do, so
that they are pooled as the whole picture is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.model.sums import Halo
from impasto.runtime.pictures.planes import Planes

#: With strides of no more pixels, all windows of a picture are made equally large.
_EQUAL = 32


@dataclass(frozen=True)
class Span:
    """A tile's rows, or its columns: those of the window, from `start` to `stop`, and in it those of the core."""

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def length(self) -> int:
        """The length of the window."""
        return self.stop - self.start


@dataclass(frozen=True)
class Tile:
    """A tile of a picture."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of its window."""
        return self.rows.length, self.columns.length

    def of(self, planes: Planes) -> Planes:
        """Return the window of planes [1, C, H, W], a view."""
        return planes[:, :, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def core(self) -> NDArray[np.float32]:
        """Return 1 for the pixels of its core and 0 for those around, float32 [1, 1, height, width] of its window."""
        inside = np.zeros((1, 1, *self.shape), np.float32)
        rows, columns = self.rows, self.columns
        inside[
            :,
            :,
            rows.core_start - rows.start : rows.core_stop - rows.start,
            columns.core_start - columns.start : columns.core_stop - columns.start,
        ] = 1
        return inside


def tiles_of(height: int, width: int, side: int | None, halo: Halo) -> tuple[Tile, ...]:
    """Divide a picture of height x width pixels into tiles, whose cores cover it once.

    In layouts with small strides all windows have the same size: a graph that is opened for one size serves them all.
    In others, those of the last row and the last column may be smaller.

    Parameters
    ----------
    side
        The most rows and columns of a core that has a halo on both sides; a core at the picture's border needs none
        there, and is larger by that. None makes one tile of all.
    """
    rows, columns = (_spans(length, side, halo) for length in (height, width))
    return tuple(Tile(down, across) for down in rows for across in columns)


class Windows(NamedTuple):
    """The windows of a picture's tiles: how many, the pixels of the largest, and those of all."""

    number: int
    largest: int
    total: int


def windows_of(height: int, width: int, side: int | None, halo: Halo) -> Windows:
    """Return the extent of the tiles that `tiles_of` makes, without making them."""
    rows, columns = (_extent(length, side, halo) for length in (height, width))
    return Windows(*(down * across for down, across in zip(rows, columns, strict=True)))


@lru_cache(maxsize=4096)
def _extent(length: int, side: int | None, halo: Halo) -> tuple[int, int, int]:
    """Return the number of the spans of a length, the length of the longest window, and that of all."""
    count, each = _cores(length, side, halo)
    starts = each * np.arange(count)
    lengths = np.minimum(length, starts + each + 2 * halo.width) - starts
    lengths[-1] = length - starts[-1]
    longest = int(lengths.max())
    if halo.stride <= _EQUAL:
        lengths[:] = longest = longest + (length - longest) % halo.stride
    return count, longest, int(lengths.sum())


@lru_cache(maxsize=256)
def sides_of(height: int, width: int, halo: Halo) -> tuple[int, ...]:
    """Return all sides that divide a picture in different ways into two tiles or more, the largest first.

    Each is the least of those that make the same tiles.
    """
    inner = [max(0, length - 2 * halo.width) for length in (height, width)]
    sides = {
        halo.stride * math.ceil(x / k / halo.stride) for x in inner for k in range(1, math.ceil(x / halo.stride) + 1)
    }
    return tuple(side for side in sorted(sides, reverse=True) if windows_of(height, width, side, halo).number > 1)


def _spans(length: int, side: int | None, halo: Halo) -> list[Span]:
    count, each = _cores(length, side, halo)
    ends = [0, *(halo.width + k * each for k in range(1, count)), length]
    spans = [
        Span(max(0, start - halo.width), min(length, stop + halo.width), start, stop) for start, stop in pairwise(ends)
    ]
    return _equal(spans, length, halo.stride) if halo.stride <= _EQUAL else spans


def _cores(length: int, side: int | None, halo: Halo) -> tuple[int, int]:
    """Return the number of cores along a length, and the length of those that have a halo on both sides."""
    inner = length - 2 * halo.width  # what the cores cover beyond the outer ones' share of the border
    count = 1 if side is None else max(1, math.ceil(inner / _strides(side, halo)))
    if count == 1:
        return 1, length
    each = halo.stride * math.ceil(inner / count / halo.stride)
    return count, each


def _equal(spans: list[Span], length: int, stride: int) -> list[Span]:
    """Make windows equally long: so long that the last one, too, begins at a multiple of the stride."""
    longest = max(span.length for span in spans)
    window = longest + (length - longest) % stride
    starts = [min(span.start, length - window) for span in spans]
    return [replace(span, start=start, stop=start + window) for start, span in zip(starts, spans, strict=True)]


def side_of(height: int, width: int, side: int, halo: Halo) -> int | None:
    """Return the side in force of a picture's cores, where one is asked for; None if there is one tile.

    It is a multiple of the stride. Where rows and columns differ, it is the larger of the two.
    """
    cores = (_cores(length, side, halo) for length in (height, width))
    return max((each for count, each in cores if count > 1), default=None)


def _strides(side: int, halo: Halo) -> int:
    """Return a core's side as a multiple of the stride: the next smaller one, and one at least."""
    return max(halo.stride, side // halo.stride * halo.stride)
