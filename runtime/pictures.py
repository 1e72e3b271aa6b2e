"""Pictures in memory: images and arrays, what a graph takes of them, resized and set side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import PictureError
from impasto.runtime.photographs import to_rgb
from impasto.runtime.recipe import Recipe
from impasto.runtime.sizes import check_sides, fitted_size

Picture = Image.Image | NDArray[Any]
Planes = NDArray[np.float32]


def as_image(picture: Picture, what: str) -> Image.Image:
    """Return a picture as an 8-bit RGB image; an array (H, W, 3) in 0..255 is rounded and clipped.

    Raises
    ------
    PictureError
        When it is neither an image nor such an array, cannot be read, or is too small; `what` names it in the text.
    """
    image = to_rgb(picture, what) if isinstance(picture, Image.Image) else to_image(to_planes(picture, what))
    check_sides(what, image.width, image.height)
    return image


def to_planes(picture: Picture, what: str) -> Planes:
    """Return a picture as float32 [1, 3, H, W], RGB, 0..255: what a graph takes.

    Raises
    ------
    PictureError
        When it is neither an image nor a finite (H, W, 3) array, cannot be read, or is too small; `what` names it in
        the text.
    """
    array = np.asarray(to_rgb(picture, what) if isinstance(picture, Image.Image) else picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise PictureError(f"{what}: array {array.dtype}{list(array.shape)}; expected numbers [H, W, 3], RGB, 0..255")
    check_sides(what, array.shape[1], array.shape[0])
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None], np.float32)
    if not np.isfinite(planes).all():
        raise PictureError(f"{what}: has values that are not finite; expected levels 0..255")
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
    """Resize a style picture as a recipe's `style_fit` says, for a result of width x height; `scale` times that."""
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
