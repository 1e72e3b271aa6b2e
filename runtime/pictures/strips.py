"""Large pictures are worked on in strips, some rows at a time: so that no step needs several arrays of all pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: The number of pixels in a strip: its float32 levels take 3 MB.
PIXELS = 1 << 18


def rows(width: int, height: int) -> Iterator[slice]:
    """Yield the rows of each strip of a picture of that size, from the top; a strip has one row at least."""
    step = max(1, PIXELS // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def cut(image: Image.Image, strip: slice) -> Image.Image:
    """Return the rows of a strip as a picture."""
    return image.crop((0, strip.start, image.width, strip.stop))


def levels(image: Image.Image, strip: slice) -> NDArray[Any]:
    """Return the levels of a strip's rows, [rows, W] or [rows, W, C], of the type that the image's mode has."""
    return np.asarray(cut(image, strip))


def painted(mode: str, size: tuple[int, int], levels_of: Callable[[slice], NDArray[Any]]) -> Image.Image:
    """Return a picture of that mode and size; `levels_of` returns the levels of a strip, of the mode's type."""
    image = Image.new(mode, size)
    for strip in rows(*size):
        image.paste(Image.fromarray(levels_of(strip)), (0, strip.start))
    return image
