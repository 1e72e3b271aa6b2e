"""Margins and edges of paintings, which are no part of a manner: plain paper or frame, and where a canvas ends."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.sizes import MIN_SIDE

#: Margins are looked for in a picture of this long side at most: paper has a grain, which this evens out.
_SIDE = 512

#: A pixel is a margin's if its colour is so near to it: the root mean square of the differences, in levels.
_NEAR = 20.0

#: A line of pixels belongs to a margin if so large a share of it is the margin's: washes and ink run out of line.
_PLAIN = 0.97

#: No more than this share of what lies within the margins may have their colour: else it is a sky, or a wall.
_SAME = 0.6

#: The least and the largest share of a side that is a margin, and by how much more is left out: edges are blurred.
_LEAST, _MOST, _BLUR = 0.012, 0.25, 0.006

#: A margin has so many sides at least, of one colour: one side alone may well be painted.
_SIDES = 3

#: The share of each side that is an edge: bare canvas, a frame's shadow, or a scan's blur, in lines that are not plain.
_EDGE = 0.03


def find_surroundings(image: Image.Image) -> Crop:
    """Return the margins of an 8-bit RGB picture, and the edge of what they leave; no side gets too short by an edge.

    Zero padding tells the network where a picture ends. What a painting has there, and only there, is painted at the
    borders of every result, as a frame.
    """
    margins = find_margins(image)
    left, top, right, bottom = margins.box(*image.size)
    if min(right - left, bottom - top) < MIN_SIDE:  # too little would be left
        margins, right, bottom = Crop(), *image.size
        left = top = 0
    edges = edges_of(right - left, bottom - top)
    return Crop(*(margin + edge for margin, edge in zip(astuple(margins), astuple(edges), strict=True)))


def edges_of(width: int, height: int) -> Crop:
    """Return the edges of a painting of so many pixels; `MIN_SIDE` are left on each side, if it has them."""
    across, down = (max(0, min(round(_EDGE * side), (side - MIN_SIDE) // 2)) for side in (width, height))
    return Crop(across, down, across, down)


def find_margins(image: Image.Image) -> Crop:
    """Return the margins of an 8-bit RGB picture; nothing where it is painted up to its border.

    From each border inwards, lines of pixels are a margin's as long as nearly all of them have the border's own colour.
    Three sides or more have to agree on that colour, and what lies within has to have others.
    """
    scale = min(1.0, _SIDE / max(image.size))
    small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    levels = np.asarray(small.convert("RGB"), np.float32)
    turned = levels.transpose(1, 0, 2)
    views = (turned, levels, turned[::-1], levels[::-1])  # lines from the left, the top, the right, the bottom
    colour = _common([np.median(view[: max(1, len(view) // 100)], axis=(0, 1)) for view in views])
    if colour is None:
        return Crop()
    near = [_distance(view, colour) <= _NEAR for view in views]
    depths = [_depth(lines) for lines in near]
    if sum(depth > 0 for depth in depths) < _SIDES:
        return Crop()
    left, top, right, bottom = (round(depth / scale) for depth in depths)
    crop = Crop(left, top, right, bottom)
    inside = near[1][depths[1] : len(near[1]) - depths[3], depths[0] : near[1].shape[1] - depths[2]]
    return crop if inside.mean() <= _SAME else Crop()


def _common(colours: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """Return the mean of those colours, at least `_SIDES`, that are near to one of them; None if there are too few."""
    for one in colours:
        alike = [other for other in colours if _distance(other, one) <= 2 * _NEAR]
        if len(alike) >= _SIDES:
            return np.mean(alike, axis=0)  # type: ignore[no-any-return]
    return None


def _distance(levels: NDArray[np.float32], colour: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean square over channels of the differences from a colour."""
    return np.sqrt(np.square(levels - colour).mean(axis=-1))  # type: ignore[no-any-return]


def _depth(near: NDArray[np.bool_]) -> int:
    """Return how many lines, [lines, pixels], are a margin's, and a few more for its blurred edge; 0 if too few."""
    plain = near.mean(axis=1) >= _PLAIN
    depth = len(plain) if plain.all() else int(np.argmin(plain))
    within = _LEAST * len(plain) <= depth <= _MOST * len(plain)
    return depth + max(1, round(_BLUR * len(plain))) if within else 0
