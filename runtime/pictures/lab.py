"""CIELAB of sRGB levels, and back: CIE 15:2004, section 8.2.1, for the white of sRGB, and IEC 61966-2-1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The primaries of sRGB in XYZ, by column: IEC 61966-2-1. White is what R = G = B = 1 gives, so that greys have no
#: chroma to the last digit.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ.sum(axis=1)

#: Where the cube root of CIELAB begins, and the slope of the line below it.
_KNEE, _SLOPE = (6 / 29) ** 3, (29 / 6) ** 2 / 3


def to_lab(levels: NDArray[Any]) -> Array:
    """Return levels of sRGB, [..., 3] of 0..255, as L* of 0..100, a* and b*."""
    encoded = np.asarray(levels, np.float64) / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = light @ _XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > _KNEE, np.cbrt(xyz), _SLOPE * xyz + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: Array) -> Array:
    """Return L*, a* and b*, [..., 3], as levels of sRGB; those of colours outside sRGB are outside 0..255."""
    y = (lab[..., 0] + 16) / 116
    roots = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) / _SLOPE) * _WHITE
    light = xyz @ np.linalg.inv(_XYZ).T
    size = np.abs(light)  # negative light is encoded as its amount is
    encoded = np.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055)
    levels: Array = np.copysign(255 * encoded, light)
    return levels
