"""Crops: what is left out of a painting at its sides."""

from __future__ import annotations

import re
from dataclasses import dataclass

from impasto.defaults import STYLE_CROPS
from impasto.runtime.errors import InputError
from impasto.runtime.plan.sizes import MIN_SIDE
from impasto.text import shown
from impasto.wording import option

_SIDES = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})")


@dataclass(frozen=True)
class Crop:
    """What is left out at each side of a picture, in pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return any((self.left, self.top, self.right, self.bottom))

    def __str__(self) -> str:
        """Return it as `parse_crop` reads it."""
        return f"{self.left},{self.top},{self.right},{self.bottom}"

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return what is left of a picture of width x height: its left, top, right and lower edge, in pixels."""
        return self.left, self.top, width - self.right, height - self.bottom

    def scaled(self, across: float, down: float) -> Crop:
        """Return the crop of the same picture, larger by these factors."""
        left, right = (round(pixels * across) for pixels in (self.left, self.right))
        top, bottom = (round(pixels * down) for pixels in (self.top, self.bottom))
        return Crop(left, top, right, bottom)

    def check(self, subject: str, width: int, height: int) -> None:
        """Refuse a crop that leaves too little of a picture of width x height; errors name it `subject`.

        Raises
        ------
        InputError
            When a side is cropped by less than nothing, or fewer than 32 pixels are left of one.
        """
        left, top, right, bottom = self.box(width, height)
        if min(self.left, self.top, self.right, self.bottom) < 0 or min(right - left, bottom - top) < MIN_SIDE:
            raise InputError(
                f"{subject}: {width}x{height} pixels, cropped by {self} (left, top, right, bottom); expected "
                f"{MIN_SIDE} or more to be left on each side"
            )


def parse_crop(text: str) -> str | Crop:
    """Read a crop: ``auto``, ``off``, or pixels at the left, the top, the right and the bottom: ``12,0,12,40``.

    Raises
    ------
    InputError
        When the text is none of these.
    """
    if text in STYLE_CROPS:
        return text
    match = _SIDES.fullmatch(text) if isinstance(text, str) else None
    if not match:
        expected = f"{', '.join(STYLE_CROPS)}, or pixels at the left, top, right and bottom, such as 12,0,12,40"
        raise InputError(f"{option('style_crop')} {shown(text)}: expected {expected}")
    return Crop(*map(int, match.groups()))
