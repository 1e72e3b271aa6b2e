"""Pictures as planes, the form that a graph takes; resizing them, and setting them side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import InputError, PictureError
from impasto.runtime.pictures import arrays, strips
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.sizes import check_sides, fitted_size

Planes = NDArray[np.float32]


def as_list(pictures: object, subject: str) -> list[Any]:
    """Return pictures as a list: a single picture as a list of one, a batch of arrays, [N, H, W, C], as a list of N.

    Raises
    ------
    InputError
        When it is neither a picture nor a list of pictures; `subject` names it in the text.
    """
    is_array = arrays.is_array(pictures)
    if isinstance(pictures, Photograph | str | os.PathLike | Image.Image) or (is_array and np.ndim(pictures) < 4):  # type: ignore[arg-type]
        return [pictures]
    if not (isinstance(pictures, Iterable) or is_array):
        raise InputError(f"{subject}: is of type {type(pictures).__name__}; expected a picture, or a list of them")
    return list(pictures)  # type: ignore[call-overload, no-any-return]


def as_styles(styles: Picture | Sequence[Picture]) -> list[Picture]:
    """Return one style picture, or several, `as_list`.

    Raises
    ------
    InputError
        When there are none.
    """
    given: list[Picture] = as_list(styles, "styles")
    if not given:
        raise InputError("styles: none given; expected one style picture or more")
    return given


def measured_planes(picture: Picture, subject: str, *, over_white: bool = False) -> Planes:
    """Return a user's picture as planes; opaque arrays keep the fractions of their levels.

    Parameters
    ----------
    over_white
        Whether transparent parts become white; otherwise they have the colours beneath their transparency.

    Raises
    ------
    PictureError
        As `Photograph.given`; `subject` names it in the text.
    """
    if not isinstance(picture, str | os.PathLike | Image.Image) and arrays.is_array(picture):
        levels = arrays.levels(picture, subject)
        if levels.shape[2] in (1, 3):
            return to_planes(np.broadcast_to(levels, (*levels.shape[:2], 3)), subject)
    photograph = Photograph.given(picture, subject)
    return to_planes(photograph.over_white() if over_white else photograph.picture, subject)


def to_planes(picture: Image.Image | NDArray[Any], subject: str) -> Planes:
    """Return an 8-bit RGB image, or an array (H, W, 3) of levels 0..255, as float32 [1, 3, H, W].

    Both are taken as they are: an image comes from `Photograph.given`, and an array may be an optimiser's, of any
    range.

    Raises
    ------
    PictureError
        When it is not finite, of another shape, or too small; `subject` names it in the text.
    """
    if isinstance(picture, Image.Image) and picture.mode == "RGB":
        check_sides(subject, *picture.size)
        return image_planes(picture)
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise PictureError(
            f"{subject}: array {array.dtype}{list(array.shape)}; expected numbers [H, W, 3], RGB, 0..255"
        )
    check_sides(subject, array.shape[1], array.shape[0])
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None], np.float32)
    if not all(np.isfinite(plane).all() for plane in planes[0]):
        raise PictureError(f"{subject}: has values that are not finite; expected levels 0..255")
    return planes


def image_planes(image: Image.Image) -> Planes:
    """Return an 8-bit RGB image of any size as float32 [1, 3, H, W]."""
    planes = np.empty((1, 3, image.height, image.width), np.float32)
    for rows in strips.rows(*image.size):
        planes[0][:, rows] = strips.levels(image, rows).transpose(2, 0, 1)
    return planes


def to_image(planes: Planes) -> Image.Image:
    """Return float32 [1, 3, H, W] as an 8-bit image, rounded and clipped."""

    def levels(rows: slice) -> NDArray[np.uint8]:
        rounded: NDArray[np.uint8] = planes[0][:, rows].transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)
        return rounded

    return strips.painted("RGB", (planes.shape[3], planes.shape[2]), levels)


def difference(one: Planes, other: Planes) -> float:
    """Return the root of the mean square of the difference of two pictures, float32 [1, 3, H, W], in levels."""
    squares = 0.0
    for rows in strips.rows(one.shape[3], one.shape[2]):
        squares += float(np.square(one[0][:, rows] - other[0][:, rows]).sum(dtype=np.float64))
    return math.sqrt(squares / one.size)


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to exactly width x height; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def resize_planes(planes: Planes, width: int, height: int) -> Planes:
    """Resize float32 [1, 3, h, w] to exactly width x height, without rounding or clipping the levels."""
    if planes.shape[2:] == (height, width):
        return planes
    resized = np.empty((1, 3, height, width), np.float32)
    for plane, into in zip(planes[0], resized[0], strict=True):
        for rows, levels in resized_plane(plane, width, height):
            into[rows] = levels
    return resized


def surrounded(planes: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Return planes, float32 [1, C, H, W], mirrored beyond their borders: [1, C, H + 2 pixels, W + 2 pixels]."""
    around = (pixels, pixels)
    return np.pad(planes, ((0, 0), (0, 0), around, around), mode="symmetric") if pixels else planes


def without_surroundings(planes: Planes, pixels: int) -> Planes:
    """Return the inner part of what `surrounded` has made larger."""
    return planes[:, :, pixels:-pixels, pixels:-pixels] if pixels else planes


def resized_plane(plane: Planes, width: int, height: int) -> Iterator[tuple[slice, Planes]]:
    """Resize one channel, float32 [h, w], to width x height; yield rows of it, and their levels [rows, width]."""
    channel = Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS)
    for rows in strips.rows(width, height):
        yield rows, strips.levels(channel, rows)


def fit_style(style: Image.Image, recipe: Recipe, width: int, height: int, scale: float = 1.0) -> Image.Image:
    """Resize a style picture as a recipe's `style_fit` says, for a result of width x height, and by `scale`."""
    return resize(style, *fitted_size(style.size, recipe, width, height, scale))


def triptych(content: Image.Image, styles: Sequence[Image.Image], result: Image.Image) -> Image.Image:
    """Set content, styles and result side by side, all as high as the result."""
    height, gap = result.height, max(2, result.height // 60)
    panels = [resize(content, *result.size)]
    panels += [resize(s, max(1, round(s.width * height / s.height)), height) for s in styles]
    panels.append(result)
    sheet = Image.new("RGB", (sum(p.width for p in panels) + gap * (len(panels) - 1), height), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + gap
    return sheet
