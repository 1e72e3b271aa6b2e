"""Pictures as planes, the form that a graph takes; resizing them, and setting them side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import InputError, PictureError
from impasto.runtime.pictures import arrays
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
    return to_planes(np.asarray(photograph.over_white() if over_white else photograph.picture), subject)


def to_planes(picture: Image.Image | NDArray[Any], subject: str) -> Planes:
    """Return an 8-bit RGB image, or an array (H, W, 3) of levels 0..255, as float32 [1, 3, H, W].

    Both are taken as they are: an image comes from `Photograph.given`, and an array may be an optimiser's, of any
    range.

    Raises
    ------
    PictureError
        When it is not finite, of another shape, or too small; `subject` names it in the text.
    """
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise PictureError(
            f"{subject}: array {array.dtype}{list(array.shape)}; expected numbers [H, W, 3], RGB, 0..255"
        )
    check_sides(subject, array.shape[1], array.shape[0])
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None], np.float32)
    if not np.isfinite(planes).all():
        raise PictureError(f"{subject}: has values that are not finite; expected levels 0..255")
    return planes


def to_image(planes: Planes) -> Image.Image:
    """Return float32 [1, 3, H, W] as an 8-bit image, rounded and clipped."""
    return Image.fromarray(planes[0].transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to exactly width x height; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def resize_planes(planes: Planes, width: int, height: int) -> Planes:
    """Resize float32 [1, 3, h, w] to exactly width x height, without rounding or clipping the levels."""
    if planes.shape[2:] == (height, width):
        return planes
    channels = [Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in planes[0]]
    return np.stack([np.asarray(channel) for channel in channels])[None]


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
