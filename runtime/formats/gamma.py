"""Colours of a PNG that has a gamma, and perhaps primaries, instead of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float32]

#: Browsers do not change a picture whose gamma is within this of 1/2.2: libpng's PNG_GAMMA_THRESHOLD.
_NEAR = 0.05
_SCREEN = 2.2

#: x and y of white, red, green and blue of sRGB: IEC 61966-2-1.
_SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)

#: Bradford's cone responses to XYZ, for the change from one white to another (ICC.1:2022, annex E).
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True, eq=False)
class Gamma:
    """A conversion of levels to sRGB: linear light is level ** exponent, and a matrix converts primaries to sRGB's.

    Attributes
    ----------
    exponent
        The exponent; None if levels have sRGB's own curve.
    matrix
        [3, 3], for a row of R, G and B on its left; None if the primaries are sRGB's.
    """

    exponent: float | None
    matrix: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, info: Mapping[Any, Any]) -> Gamma | None:
        """Return the gamma in a picture's info, in Pillow's form; None if its levels are sRGB, or there is none.

        As in browsers, a profile comes before sRGB, and sRGB before gamma (PNG specification, third edition, section
        4.3). A gamma of about 1/2.2 stands for sRGB's curve. Primaries count only beside a gamma; absurd values are
        ignored.
        """
        gamma = info.get("gamma")
        if info.get("icc_profile") or "srgb" in info or not isinstance(gamma, float) or not 0.01 <= gamma <= 100:
            return None
        exponent = None if abs(gamma * _SCREEN - 1) <= _NEAR else 1 / gamma
        matrix = _to_srgb_primaries(info.get("chromaticity"))
        return None if exponent is None and matrix is None else cls(exponent, matrix)

    def to_srgb(self, levels: Levels) -> Levels:
        """Return levels [..., bands], 0..1, in sRGB; grey has one band, and primaries do not change it."""
        light = _decode(levels) if self.exponent is None else levels**self.exponent
        if self.matrix is not None and levels.shape[-1] == 3:
            light = light @ self.matrix.astype(np.float32)
        return _encode(light.clip(0, 1))


def _decode(levels: Levels) -> Levels:
    """Return the linear light of sRGB's levels (IEC 61966-2-1)."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode(light: Levels) -> Levels:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _to_srgb_primaries(chromaticity: Any) -> NDArray[np.float64] | None:
    """Return the matrix for primaries in the form of cHRM; None if they are sRGB's, or absurd."""
    if chromaticity is None or np.abs(np.subtract(chromaticity, _SRGB)).max() < 0.002:
        return None
    try:
        matrix = _to_cones(chromaticity) @ np.linalg.inv(_to_cones(_SRGB))
    except (np.linalg.LinAlgError, ValueError):
        return None
    return matrix if np.isfinite(matrix).all() and np.abs(matrix).max() < 100 else None


def _to_cones(chromaticity: Any) -> NDArray[np.float64]:
    """Return the matrix that takes a row of R, G, B to the responses of the cones, relative to white."""
    x, y = np.reshape(chromaticity, (4, 2)).astype(np.float64).T
    if (y <= 0).any():
        raise ValueError("no luminance")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    white, primaries = xyz[0] @ _BRADFORD.T, xyz[1:] @ _BRADFORD.T
    if (white <= 0).any():
        raise ValueError("no white")
    cones = primaries / white
    scale = np.linalg.solve(cones.T, np.ones(3))
    return np.asarray(scale[:, None] * cones)
