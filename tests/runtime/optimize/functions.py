"""Functions that are minimised in tests, and what watches how they are."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import rosen, rosen_der

from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.session import DeviceArray, download
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize.minimize import Minimum, minimize
from impasto.runtime.optimize.search import Evaluation, Function

Array = NDArray[np.float32]

#: The shape of a bowl's points.
SHAPE = (1, 3, 9, 11)


def quadratic(shape: tuple[int, ...] = (1, 3, 4, 5)) -> tuple[Function, Array]:
    """Return an uneven bowl and where its bottom is."""
    rng = np.random.default_rng(0)
    bottom = rng.uniform(-3, 3, shape).astype(np.float32)
    steepness = rng.uniform(0.5, 5, shape)

    def function(x: Array) -> tuple[float, Array]:
        away = x.astype(np.float64) - bottom
        return 1 + float((steepness * away**2).sum()), (2 * steepness * away).astype(np.float32)

    return function, bottom


def rosenbrock(x: Array) -> tuple[float, Array]:
    return float(rosen(x.astype(np.float64))), rosen_der(x.astype(np.float64)).astype(np.float32)


def bowl(steepest: float = 50.0) -> tuple[Function, Array]:
    """Return a convex function, rather flat in some directions, and where its bottom is."""
    rng = np.random.default_rng(0)
    bottom = rng.uniform(-3, 3, SHAPE).astype(np.float32)
    steepness = np.geomspace(0.5, steepest, bottom.size).reshape(SHAPE)

    def function(x: Array) -> tuple[float, Array]:
        away = x.astype(np.float64) - bottom
        bent = np.sqrt(1 + away**2)  # a bowl, but no parabola: line searches have something to find
        return 1 + float((steepness * (bent - 1)).sum()), (steepness * away / bent).astype(np.float32)

    return function, bottom


def noisy(x: Array) -> tuple[float, Array]:
    """Return a loss of 1e6 that float32 holds to 0.06, as a graph's: down there its differences mean nothing."""
    wave = np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    loss = np.float32(1e6) + np.float32((wave * wave * x * x).sum())
    return float(loss), 2 * wave * wave * x


def coarse(function: Function) -> Function:
    """Return a function whose loss and gradient are rounded to 8 bits, like numbers in bfloat16."""

    def rounded(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return float(_in_8_bits(np.array(loss))), _in_8_bits(gradient).astype(np.float32)

    return rounded


def _in_8_bits(values: NDArray[Any]) -> NDArray[Any]:
    significands, exponents = np.frexp(values)
    return np.ldexp(np.round(significands * 2**8) / 2**8, exponents)


def bumpy(x: Array) -> tuple[float, Array]:
    """Return a loss with many hills, large enough that it is rescaled."""
    y = x.astype(np.float64)
    return float(1e7 * (y**2 + 3 * np.sin(3 * y)).sum()), (1e7 * (2 * y + 9 * np.cos(3 * y))).astype(np.float32)


def scaled(function: Function, factor: float) -> Function:
    def times(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return loss * factor, (gradient.astype(np.float64) * factor).astype(np.float32)

    return times


def broken_after(good: int, how: str) -> Function:
    function, _ = quadratic()
    calls = 0

    def breaks(x: Array) -> tuple[float, Array]:
        nonlocal calls
        calls += 1
        loss, gradient = function(x)
        if calls <= good:
            return loss, gradient
        if how == "gradient":
            return loss / 2, np.where(gradient == gradient.max(), np.float32(np.nan), gradient)
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[how], gradient

    return breaks


def failing_after(good: int) -> Function:
    function, _ = quadratic()
    calls = itertools.count(1)

    def fails(x: Array) -> tuple[float, Array]:
        if next(calls) > good:
            raise TransferError("out of memory")
        return function(x)

    return fails


class Recorder:
    """A function that remembers how often it was called, and a callback that remembers what it was told."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.calls: list[Array] = []
        self.seen: list[Evaluation] = []

    def __call__(self, x: Array) -> tuple[float, Array]:
        self.calls.append(x.copy())
        return self.function(x)

    def see(self, evaluation: Evaluation) -> None:
        self.seen.append(evaluation)

    def minimize(self, start: Array, evaluations: int, **options: Any) -> Minimum:
        minimum = minimize(self, start, evaluations=evaluations, callback=self.see, **options)
        assert len(self.calls) == len(self.seen) == minimum.evaluations <= evaluations
        assert [e.number for e in self.seen] == list(range(1, minimum.evaluations + 1))
        losses = [e.loss for e in self.seen if e.improved]
        assert losses == sorted(set(losses), reverse=True)
        assert minimum.loss == losses[-1] == self.function(minimum.point)[0]
        return minimum


class Lifted:
    """A function of NumPy's arrays as one of arrays on the device."""

    def __init__(self, function: Function, algebra: Algebra) -> None:
        self.function, self.algebra = function, algebra

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        loss, values = self.function(download(point))
        gradient.update_inplace(np.ascontiguousarray(values, np.float32))
        return loss


class Doubled:
    """A variable, half of the picture."""

    bounds = None

    def picture(self, x: Array) -> Array:
        return x * np.float32(2)

    def inverse(self, picture: Array) -> Array:
        return picture / np.float32(2)

    def adjoint(self, gradient: Array, scale: float = 1.0) -> Array:
        return gradient * np.float32(2 * scale)
