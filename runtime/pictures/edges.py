"""A photograph's colours, moved to where its result has its edges of lightness.

Where strokes have moved an edge, the photograph's colour would stay behind, as a halo. So its colours are averaged over
places that are near, and that have the same lightness in the *result*. This is the joint bilateral filter of Petschnigg
et al., "Digital Photography with Flash and No-Flash Image Pairs" (SIGGRAPH 2004). It is computed in a bilateral grid:
Chen, Paris and Durand, "Real-time Edge-Aware Image Processing with the Bilateral Grid" (SIGGRAPH 2007). So its time
does not depend on how far it reaches, nor its memory on the size of the picture. Every colour that it returns is an
average, with positive weights, of colours of the photograph.

Where the result's edges are still the photograph's, nothing need be moved, and an average would lose small things. So
the photograph's own colour has a share, by how alike the two lightnesses are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.pictures import strips

Array = NDArray[np.float64]
Levels = NDArray[np.float32]

#: The long side of a picture has so many cells, but a cell has a side of so many pixels at least: strokes move edges by
#: a few pixels, and by more in a large picture, which is painted small first.
CELLS, LEAST_CELL = 192, 4

#: The height of a cell, in levels of luma: what differs by much more is across an edge.
STEP = 12

#: How far averages reach, as a standard deviation, in cells.
_REACH = 1.0

#: Lightness that varies, in the two pictures together, by a variance less than this is flat: flat places are alike.
FLAT = 100.0

#: Colours of so many pixels are averaged at once: a pixel takes some hundred bytes meanwhile.
_AT_ONCE = 1 << 16

#: The most bytes that this takes beside the pictures: some numbers for each of 200 x 200 x 22 cells and more, and what
#: `_AT_ONCE` pixels take.
MOST_BYTES = 64e6

#: Luma, as whole levels, of R'G'B' levels: the coefficients of `impasto.runtime.pictures.colors.LUMA`, in thousandths.
_THOUSANDTHS = (299, 587, 114)


def colors_along(result: Image.Image, content: Image.Image) -> Callable[[slice], Levels]:
    """Return a function of rows: the content's colours there, moved to the result's edges, [rows, W, 3].

    Parameters
    ----------
    result, content
        8-bit RGB of the same size.

    Returns
    -------
    Callable
        It takes the rows of a strip. Its levels are averages of the content's, float32; if the two pictures have the
        same luma, they are the content's levels themselves. They do not depend on the strips.
    """
    cell = max(LEAST_CELL, round(max(result.size) / CELLS))
    average, alike = _averages(result, content, cell), _likeness(result, content, cell // 2)

    def colors(rows: slice) -> Levels:
        own = strips.levels(content, rows).astype(np.float64)
        share = alike(rows)[..., None]
        moved: Levels = (own + (1 - share) * (average(rows) - own)).astype(np.float32)
        return moved

    return lambda rows: np.concatenate([colors(part) for part in _parts(rows, result.width)])


def _parts(rows: slice, width: int) -> list[slice]:
    step = max(1, _AT_ONCE // width)
    return [slice(top, min(top + step, rows.stop)) for top in range(rows.start, rows.stop, step)]


def _luma(image: Image.Image, rows: slice) -> NDArray[np.intp]:
    """Return the luma of rows in whole levels, [rows, W]: sums of them are exact."""
    red, green, blue = (strips.levels(image, rows)[..., k].astype(np.int32) * _THOUSANDTHS[k] for k in range(3))
    return ((red + green + blue + 500) // 1000).astype(np.intp)


def _averages(result: Image.Image, content: Image.Image, cell: int) -> Callable[[slice], Array]:
    """Return a function of rows: averages of the content's colours, near by and of one luma of the result's."""
    shape = (*_cells(result.size, cell), 255 // STEP + 2)

    def values(rows: slice) -> tuple[NDArray[np.intp], Sequence[NDArray[Any]]]:
        y, x = _places(result.width, rows)
        index = np.ravel_multi_index((y // cell, x // cell, (_luma(result, rows) + STEP // 2) // STEP), shape)
        levels = strips.levels(content, rows)
        return index, [np.ones_like(index), *levels.transpose(2, 0, 1)]

    sums = _blurred(_summed(result.size, shape, 4, values))

    def averages(rows: slice) -> Array:
        y, x = _places(result.width, rows)
        count, *levels = _interpolated(sums, [_in_cells(y, cell), _in_cells(x, cell), _luma(result, rows) / STEP])
        return np.stack(levels, -1) / count[..., None]

    return averages


def _likeness(result: Image.Image, content: Image.Image, cell: int) -> Callable[[slice], Array]:
    """Return a function of rows: how alike the two lumas vary near by, from 0 to 1, [rows, W].

    This is the square of the product of contrast and structure in SSIM, (2 c + k) / (v + w + k) with the covariance c
    and the variances v and w, cut at 0: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment" (2004),
    equation 13 less its factor of luminance.
    """
    shape = _cells(result.size, cell)

    def values(rows: slice) -> tuple[NDArray[np.intp], Sequence[NDArray[Any]]]:
        (y, x), one, two = _places(result.width, rows), _luma(result, rows), _luma(content, rows)
        index = np.ravel_multi_index((y // cell, x // cell), shape)
        return index, [np.ones_like(one), one, two, one * one, two * two, one * two]

    count, *sums = _blurred(_summed(result.size, shape, 6, values))
    one, two, one_square, two_square, product = (total / count for total in sums)
    variances = one_square - one * one + (two_square - two * two)
    alike = (2 * (product - one * two) + FLAT) / (variances + FLAT)
    alike = alike.clip(0, 1)[None] ** 2

    def at(rows: slice) -> Array:
        y, x = _places(result.width, rows)
        (share,) = _interpolated(alike, [_in_cells(y, cell), _in_cells(x, cell)])
        return share

    return at


def _cells(size: tuple[int, int], cell: int) -> tuple[int, int]:
    """Return the number of rows and of columns of cells."""
    return -(-size[1] // cell), -(-size[0] // cell)


def _places(width: int, rows: slice) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and the column of each pixel, [rows, W]."""
    y, x = np.meshgrid(np.arange(rows.start, rows.stop), np.arange(width), indexing="ij")
    return y, x


def _in_cells(places: NDArray[np.intp], cell: int) -> Array:
    """Return places in units of cells, from the middle of the first one."""
    return (places - (cell - 1) / 2) / cell


def _summed(
    size: tuple[int, int],
    shape: tuple[int, ...],
    number: int,
    values: Callable[[slice], tuple[NDArray[np.intp], Sequence[NDArray[Any]]]],
) -> Array:
    """Return sums in cells, [number, *shape]; `values` returns the cells of rows, and so many whole numbers for each.

    Sums of whole numbers are exact: they do not depend on the strips.
    """
    total = np.zeros((number, *shape))
    for strip in strips.rows(*size):
        for rows in _parts(strip, size[0]):
            index, numbers = values(rows)
            for sums, one in zip(total, numbers, strict=True):
                sums += np.bincount(index.ravel(), one.ravel(), sums.size).reshape(shape)
    return total


def _blurred(sums: Array) -> Array:
    """Return sums in cells, each with its neighbours' by a Gaussian; outside the picture there is nothing."""
    from scipy import ndimage  # here, because few runs need it, and it takes a fifth of a second

    for one in sums:
        ndimage.gaussian_filter(one, _REACH, output=one, mode="constant", truncate=3)
    return sums


def _interpolated(sums: Array, places: Sequence[Array]) -> list[Array]:
    """Return each of several sums in cells at places, linearly interpolated."""
    from scipy import ndimage

    return [ndimage.map_coordinates(one, places, order=1, mode="nearest") for one in sums]
