"""The sizes of pictures: the least for the network, a result's, and a style's for a result."""

from __future__ import annotations

from PIL import Image

from impasto.runtime.errors import PictureError
from impasto.runtime.plan.recipe import SIZES_OF, Recipe, Size, scaled_size

#: The least width and height: a VGG network halves a picture four times, and some pixels must be left.
MIN_SIDE = 32

#: No side of a result is longer, in pixels: `impasto.runtime.plan.recipe.parse_size` reads five digits.
MAX_SIDE = 99_999


def check_sides(subject: str, width: int, height: int) -> None:
    """Refuse a picture that is too small for the network; errors name it `subject`.

    Raises
    ------
    PictureError
        When either side is below 32 pixels.
    """
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{subject}: {width}x{height} pixels; expected {MIN_SIDE} or more on each side")


def result_size(size: Size, content: Image.Image, size_of: str = "long") -> tuple[int, int]:
    """Return (width, height) of the result: as given, the content's, or in its proportions for so many pixels.

    The number of pixels gives the measure `size_of`, one of `impasto.runtime.plan.recipe.SIZES_OF`.

    Raises
    ------
    PictureError
        When a side of the result is below 32 pixels.
    """
    width, height = content.size if size == "content" else scaled_size(size, size_of, *content.size)
    check_sides("the result", width, height)
    return width, height


def fitted_size(style: tuple[int, int], recipe: Recipe, width: int, height: int, scale: float = 1.0) -> tuple[int, int]:
    """Return the size to which `fit_style` resizes a style of that width and height."""
    if recipe.style_fit == "stretch":
        fitted = (width, height)
    else:
        measure = recipe.size_of if recipe.style_fit == "same" else "area"
        fitted = scaled_size(SIZES_OF[measure](width, height), measure, *style)
    return max(MIN_SIDE, round(fitted[0] * scale)), max(MIN_SIDE, round(fitted[1] * scale))
