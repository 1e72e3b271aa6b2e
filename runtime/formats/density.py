"""The density of pixels, for print: reading it from metadata, and its forms in PNG and JPEG."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_INCH = Fraction(254, 100)  # centimetres

#: Units as JFIF 1.02 numbers them: none (only the proportions of a pixel), inch, centimetre.
_NONE, _PER_INCH, _PER_CM = 0, 1, 2
_MOST_JFIF, _MOST_PNG = 0xFFFF, 0x7FFFFFFF


@dataclass(frozen=True)
class Density:
    """Pixels per inch or centimetre, horizontally and vertically; with unit 0 only the proportions of a pixel."""

    x: Fraction
    y: Fraction
    unit: int

    @classmethod
    def of(cls, info: Mapping[Any, Any], tiff: tuple[Fraction, Fraction, int] | None) -> Density | None:
        """Return the density in a file's metadata; None if there is none, or an absurd one.

        Parameters
        ----------
        info
            Pillow's data of the file: JFIF's density, a PNG's in ``dpi`` and ``aspect``.
        tiff
            The resolution in a TIFF or EXIF: x, y, and a unit of 1 (none), 2 (inch) or 3 (centimetre). It is used if
            `info` has no density.
        """
        density = _jfif(info) or _pair(info.get("aspect"), _NONE) or _metric(_pair(info.get("dpi"), _PER_INCH))
        if density is None and tiff is not None and tiff[2] in (1, 2, 3):
            density = cls(tiff[0], tiff[1], tiff[2] - 1)
        return None if density is None or (density.unit == _NONE and density.x == density.y) else density

    def turned(self) -> Density:
        """Return the density of a picture that was turned by a quarter."""
        return Density(self.y, self.x, self.unit)

    def jfif(self) -> bytes | None:
        """Return unit and densities for a JPEG's APP0 segment (JFIF 1.02); None if they do not fit into 16 bits."""
        units = (self.unit, 3 - self.unit) if self.unit else ()
        choices = [self._in(unit) for unit in units] or [self._proportions(_MOST_JFIF)]
        choices = [choice for choice in choices if choice._fits(_MOST_JFIF)]
        if not choices:
            return None
        best = min(choices, key=lambda choice: abs(round(choice.x) / choice.x - 1))
        return struct.pack(">BHH", best.unit, *best._rounded())

    def phys(self) -> bytes | None:
        """Return the data of a PNG's pHYs chunk; None if they do not fit into 31 bits."""
        metric = self._in(_PER_CM) if self.unit else self._proportions(_MOST_PNG)
        scale = 100 if self.unit else 1
        whole = Density(metric.x * scale, metric.y * scale, self.unit)
        return struct.pack(">LLB", *whole._rounded(), bool(self.unit)) if whole._fits(_MOST_PNG) else None

    def _rounded(self) -> tuple[int, int]:
        return round(self.x), round(self.y)

    def _fits(self, most: int) -> bool:
        return min(self._rounded()) > 0 and max(self._rounded()) <= most

    def _in(self, unit: int) -> Density:
        factor = {(_PER_INCH, _PER_CM): 1 / _INCH, (_PER_CM, _PER_INCH): _INCH}.get((self.unit, unit), Fraction(1))
        return Density(self.x * factor, self.y * factor, unit)

    def _proportions(self, most: int) -> Density:
        """Return the proportions in whole numbers up to `most`: its own, or the nearest possible ones."""
        if self.x.denominator == self.y.denominator == 1 and max(self.x, self.y) <= most:
            return self
        ratio = (min(self.x, self.y) / max(self.x, self.y)).limit_denominator(most)
        less, more = Fraction(ratio.numerator), Fraction(ratio.denominator)
        return Density(less, more, _NONE) if self.x < self.y else Density(more, less, _NONE)


def _jfif(info: Mapping[Any, Any]) -> Density | None:
    unit = info.get("jfif_unit")
    density = _pair(info.get("jfif_density"), unit) if unit in (_NONE, _PER_INCH, _PER_CM) else None
    is_unknown = (
        density and density.unit == _NONE and density.x == density.y
    )  # encoders write this if they know no density
    return None if is_unknown else density


def _pair(pair: Any, unit: int) -> Density | None:
    try:
        x, y = (float(side) for side in pair)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    if not (math.isfinite(x) and math.isfinite(y) and min(x, y) > 0):
        return None
    return Density(Fraction(x), Fraction(y), unit)


def _metric(density: Density | None) -> Density | None:
    """Return the whole pixels per metre of a PNG or BMP, which Pillow has converted to inches."""
    if density is None:
        return None
    metre = [side / _INCH * 100 for side in (density.x, density.y)]
    if any(abs(side - round(side)) > Fraction(1, 1000) for side in metre):
        return density
    return Density(Fraction(round(metre[0]), 100), Fraction(round(metre[1]), 100), _PER_CM)
