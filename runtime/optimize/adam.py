"""Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015): it needs little memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.variable import Bounds, clipped, power_of_two

#: The decay of the two means, and the last step as a share of the first; steps fall linearly.
DECAY = (0.9, 0.999)
LAST_STEP = 0.1

#: A step is made for so many elements at once: they stay in a processor's cache.
_PIECE = 2**16

#: The bounds of the factor of losses: it is the inverse of a loss in single precision, of 2^-100 or more.
LOSS_SCALES = (2.0**-128, 2.0**100)


@dataclass(frozen=True)
class Adam:
    """The state of Adam after some steps; `minimize` goes on from it as if there had been no interruption.

    Attributes
    ----------
    steps
        The number of steps so far.
    point
        The variable that it evaluates next.
    mean, square
        The decaying means of the gradient and of its square. The next evaluation changes them: copy them to keep them.
    scale
        The factor of gradients, a power of two so that no digit changes. It brings the loss at the start to order one:
        then no square is too large or too small for float32.
    """

    steps: int
    point: NDArray[np.float32]
    mean: NDArray[np.float32]
    square: NDArray[np.float32]
    scale: float = 1.0

    def advanced(self, gradient: NDArray[np.float32], rate: float, bounds: Bounds) -> Adam:
        """Return the state after a step of size `rate` against the gradient, which is scaled already."""
        (slow, slower), t = DECAY, self.steps + 1
        point = np.empty(self.point.shape, np.float32)
        for start in range(0, point.size, _PIECE):  # a whole picture's intermediate results would take much memory
            now, mean, square, slope, after = (
                array.reshape(-1)[start : start + _PIECE]
                for array in (self.point, self.mean, self.square, gradient, point)
            )
            mean += (1 - slow) * (slope - mean)
            square += (1 - slower) * (slope * slope - square)
            change = mean / (1 - slow**t) / (np.sqrt(square / (1 - slower**t)) + np.finfo(np.float32).tiny)
            after[:] = clipped(now - np.float32(rate) * change, bounds)
        return replace(self, steps=t, point=point)


def run(search: Search, options: Options) -> NoReturn:
    """Follow Adam until the search is over."""
    variable = options.variable
    x = variable.inverse(options.start)
    adam = options.adam or Adam(0, x, np.zeros_like(x), np.zeros_like(x))
    adam = replace(adam, point=clipped(adam.point, variable.bounds), mean=adam.mean.copy(), square=adam.square.copy())
    rate = options.first_step / x.size**0.5  # the step of an element at first

    def advance(loss: float, gradient: NDArray[np.float32]) -> Adam:
        nonlocal adam
        if not adam.steps:
            adam = replace(adam, scale=power_of_two(1 / max(abs(loss), 1 / LOSS_SCALES[1])))
        left = max(LAST_STEP, 1 - (1 - LAST_STEP) * adam.steps / options.steps)
        adam = adam.advanced(variable.adjoint(gradient, adam.scale), rate * left, variable.bounds)
        return adam

    while True:
        search.evaluate(variable.picture(adam.point), advance=advance)


OPTIMIZER = Optimizer(run)
