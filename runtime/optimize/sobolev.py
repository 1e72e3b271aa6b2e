"""The metric of a search: the initial inverse Hessian of L-BFGS, as a filter that favours smooth changes.

L-BFGS begins each step with a guess of the inverse Hessian, and its remembered pairs correct that in some ten
directions. The usual guess is a multiple of the identity. But a slow change of a picture meets less curvature than a
fast one, in a similar proportion from picture to picture: the energy of steps, divided by that of the changes of the
gradient, says so. The proportion depends on the colour. Here the guess is, for each of three opponent colours, a
multiple of

    FLOOR + RISE (I - L^2 laplacian)^-1

which is FLOOR for waves that are short beside L, and FLOOR + RISE for long ones: a Sobolev gradient (Neuberger,
"Sobolev Gradients and Differential Equations", 1997). docs/search.md has what was measured.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

#: Lightness, red against blue, and both against green, as an orthonormal basis of the channels.
_OPPONENTS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

#: What fast changes of each opponent colour get, and how much more slow ones get.
FLOOR, RISE = np.array([0.8, 1.8, 1.1]), np.array([9.0, 4.0, 1.5])

#: The frequency at which half of the rise is left, as a share of Nyquist's: a wave of 50 pixels.
HALF_AT = 0.04

#: Waves faster than this share of Nyquist's frequency count as fast ones, which makes the filter cheap.
CUTOFF = 0.25


class Sobolev:
    """The filter for arrays of one shape, symmetric and positive definite.

    It multiplies the coefficients of a discrete cosine transform, whose waves continue a picture by its mirror image.
    Only those of low frequencies depend on the frequency: two products of matrices make these, and two undo them.

    Parameters
    ----------
    shape
        The shape of the arrays, [..., height, width]. Without three channels [..., 3, height, width], lightness is all
        there is.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        *_, channels, height, width = (1, 1, 1, *shape)
        opponents = _OPPONENTS if channels == len(_OPPONENTS) else np.eye(1)
        colours = len(opponents)
        self._planes = (-1, colours, height, width)
        self._floor = (opponents.T @ (FLOOR[:colours, None] * opponents)).astype(np.float32)
        self._opponents = opponents.astype(np.float32)
        self._rows, self._columns = _waves(height), _waves(width)
        square = _frequencies(height)[:, None] ** 2 + _frequencies(width) ** 2
        share = np.where(square < CUTOFF**2, 1 / (1 + square / HALF_AT**2), 0)
        self._gain = (RISE[:colours, None, None] * share).astype(np.float32)

    @np.errstate(all="ignore")  # kernels of OpenBLAS (AVX-512) compute beyond small matrices, and flag what is there
    def apply(self, array: Array) -> Array:
        """Return a filtered array, as a new one."""
        planes = array.reshape(self._planes)
        low = _mixed(self._opponents, self._rows @ (planes @ self._columns.T))
        low *= self._gain
        spread: Array = self._rows.T @ _mixed(self._opponents.T, low)
        smooth: Array = spread @ self._columns
        smooth += _mixed(self._floor, planes)
        return smooth.reshape(self._shape)


def _mixed(matrix: Array, planes: Array) -> Array:
    """Return each channel as a sum of all channels of planes [n, channels, h, w], times a row of the matrix."""
    mixed: Array = (matrix @ planes.reshape(*planes.shape[:2], -1)).reshape(planes.shape)
    return mixed


def _frequencies(length: int) -> NDArray[np.float64]:
    """Return the frequencies below the cutoff, as shares of Nyquist's."""
    return np.arange(max(1, math.ceil(CUTOFF * length))) / length


def _waves(length: int) -> Array:
    """Return the waves of the orthonormal cosine transform (DCT-II) below the cutoff, float32 [frequencies, length]."""
    phases = np.pi * np.outer(_frequencies(length), np.arange(length) + 0.5)
    waves = np.cos(phases) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)
    return waves.astype(np.float32)
