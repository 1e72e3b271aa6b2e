"""The metric of a search: the initial inverse Hessian of L-BFGS, as a filter that favours smooth changes.

L-BFGS begins each step with a guess of the inverse Hessian, and its remembered pairs correct that in some ten
directions. The usual guess is a multiple of the identity. But a slow change of a picture meets less curvature than a
fast one, in the same proportion for every picture: the energy of steps, divided by that of changes of the gradient, by
frequency, says so. Here the guess is a multiple of

    I + RISE (I - L^2 laplacian)^-1

which is the identity for waves that are short beside L, and 1 + RISE times as much for long ones: a Sobolev gradient
(Neuberger, "Sobolev Gradients and Differential Equations", 1997). docs/search.md has what was measured.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

#: How many times a change that is the same everywhere gets more than a fast one, less 1.
RISE = 14.0

#: The frequency at which half of that is left, as a share of Nyquist's: a wave of 67 pixels.
HALF_AT = 0.03

#: Waves faster than this share of Nyquist's frequency count as fast ones, which makes the filter cheap.
CUTOFF = 0.25


class Sobolev:
    """The filter for arrays of one shape, symmetric and positive definite.

    It multiplies the coefficients of a discrete cosine transform, whose waves continue a picture by its mirror image.
    As only low frequencies are changed, two products of matrices make and two undo the part of it that is needed.

    Parameters
    ----------
    shape
        The shape of the arrays, [..., height, width].
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        height, width = (1, *shape)[-2:]
        self._planes = (-1, height, width)
        self._rows, self._columns = _waves(height), _waves(width)
        square = _frequencies(height)[:, None] ** 2 + _frequencies(width) ** 2
        gain = RISE / (1 + square / HALF_AT**2)
        self._gain = np.where(square < CUTOFF**2, gain, 0).astype(np.float32)

    def apply(self, array: Array) -> Array:
        """Return a filtered array, as a new one."""
        low = self._rows @ (array.reshape(self._planes) @ self._columns.T)
        low *= self._gain
        smooth: Array = ((self._rows.T @ low) @ self._columns).reshape(self._shape)
        smooth += array
        return smooth


def _frequencies(length: int) -> NDArray[np.float64]:
    """Return the frequencies below the cutoff, as shares of Nyquist's."""
    return np.arange(max(1, math.ceil(CUTOFF * length))) / length


def _waves(length: int) -> Array:
    """Return the waves of the orthonormal cosine transform (DCT-II) below the cutoff, float32 [frequencies, length]."""
    phases = np.pi * np.outer(_frequencies(length), np.arange(length) + 0.5)
    waves = np.cos(phases) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)
    return waves.astype(np.float32)
