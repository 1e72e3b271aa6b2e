"""Minimisation of a loss with noise, such as one whose activations are rounded to bfloat16 or float16.

A line search compares losses of pictures that lie close together. With noise, they differ by it more than by the
descent. Slopes do not: a slope is a sum over all elements of a gradient, in which rounding errors cancel out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.model.graphs import BFLOAT16, HALF, SINGLE
from impasto.runtime.optimize.ending import LOST, STUCK, End
from impasto.runtime.optimize.search import NotFinite, Search

#: The precision of activations -> the error of a difference of losses of similar pictures, as a share of them: the
#: largest relative error of rounding one number. Losses of float32 are compared as they are.
NOISE: Mapping[str, float] = {SINGLE: 0.0, HALF: 2.0**-11, BFLOAT16: 2.0**-8}

#: A search ends when so many descents in a row have not led to a lower loss.
ATTEMPTS = 4

#: After a descent that has led to no lower loss, the first step of the next one is so many times as long: otherwise it
#: would try the same pictures again.
SHORTER = 0.25


def smoothed(search: Search, loss: float, change: float, by_slopes: float) -> float:
    """Return the change of the loss along a step, as a line search should see it.

    The mean of the slopes at both ends, times the step, is the change of a parabola. Where it agrees with the change of
    the loss within the noise, it is taken instead. Wolfe's condition of decrease for it is the approximate one of Hager
    and Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search" (2005), section 4.
    As there, no loss may exceed the lowest by more than the noise: many small steps cannot lead far up.

    Parameters
    ----------
    search
        The search that has evaluated the end of the step.
    loss, change
        The loss there, and how much more it is than at the beginning.
    by_slopes
        The mean of the slopes at both ends, times the step.
    """
    noise = search.noise * abs(loss)
    return by_slopes if abs(change - by_slopes) <= noise and loss - search.best_loss <= noise else change


class Smoother:
    """Gives smoothed losses of one picture after the other, for line searches between them.

    Parameters
    ----------
    search
        The search that evaluates them.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._last: _Sample | None = None
        self._base: _Sample | None = None

    def smooth(self, picture: NDArray[np.float32], gradient: NDArray[np.float32], loss: float) -> float:
        """Return the smoothed loss of a picture; neither of the arrays is copied."""
        base, smooth = self._base, loss
        if base:
            by_slopes = float(np.sum((picture - base.picture) * (gradient + base.gradient), dtype=np.float64)) / 2
            smooth = base.smooth + smoothed(self._search, loss, loss - base.loss, by_slopes)
        self._last = _Sample(picture, gradient, loss, smooth)
        self._base = base or self._last
        return smooth

    def accept(self) -> None:
        """Note that the next line search begins from the last picture."""
        self._base = self._last


@dataclass(frozen=True)
class _Sample:
    """A picture with its gradient, its loss and its smoothed loss."""

    picture: NDArray[np.float32]
    gradient: NDArray[np.float32]
    loss: float
    smooth: float


def until_stuck(
    search: Search, start: NDArray[np.float32], descend: Callable[[NDArray[np.float32], float], End]
) -> End:
    """Descend again and again, from the best picture each time; return the end when that leads no further.

    Without noise there is one descent.

    A search forgets the curvature that noise has misled it by. Where loss or gradient was not finite, it steps back.

    Parameters
    ----------
    search
        A search for a loss, with noise or without.
    descend
        (start, length) -> the end of a descent: `STUCK` where it found no lower loss. `length` is that of the first
        step, as a share of the usual one.

    Raises
    ------
    Finished
        When the search is over.
    """
    if not search.noise:
        return descend(start, 1.0)
    picture, length, left = start, 1.0, ATTEMPTS
    while True:
        before = search.best_loss
        try:
            end = descend(picture, length)
        except NotFinite:
            if math.isinf(search.best_loss):
                raise
            end = STUCK
        if end is not STUCK:
            return end
        length, left = (1.0, ATTEMPTS) if search.best_loss < before else (length * SHORTER, left - 1)
        if not left:
            return LOST
        picture = search.best_point
