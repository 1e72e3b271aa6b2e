"""L-BFGS in the metric of smooth changes, on the host: fewer evaluations than SciPy's, and less time between them.

Its steps, its line search and its constants are those of L-BFGS-B, but the initial inverse Hessian is a multiple of a
filter (`impasto.runtime.optimize.sobolev`), and vectors are of float32.

With bounds, elements are projected onto them along the search, and elements that descent would push against their bound
take no part in it. For the others, the restricted inverse Hessian is positive definite as the whole is, so that descent
goes down: the two-metric projection of Bertsekas, "Projected Newton methods for optimization problems with simple
constraints", 1982.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.optimize.ending import FLAT, HELD, STUCK, End
from impasto.runtime.optimize.history import HISTORY, History
from impasto.runtime.optimize.line_search import LineSearch
from impasto.runtime.optimize.noise import smoothed, until_stuck
from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.sobolev import Sobolev
from impasto.runtime.optimize.variable import Bounds, Within, clipped, power_of_two

Array = NDArray[np.float32]

#: Sums over a picture are made of pieces of so many elements: these stay in a processor's cache, and their sums, in
#: float32, are exact enough.
_PIECE = 2**14


@dataclass(frozen=True)
class _Sample:
    """A point with its loss and gradient.

    Attributes
    ----------
    loss
        The loss, scaled, and smoothed where it has noise.
    exact
        The loss as it was evaluated.
    gradient
        The gradient of the scaled loss.
    held
        Which elements descent would push out of the bounds; None without bounds.
    """

    point: Array
    loss: float
    exact: float
    gradient: Array
    held: NDArray[np.bool_] | None

    @property
    def free(self) -> Array:
        """The gradient without the elements that are held: made anew each time, for it is as large as the picture."""
        return self.gradient if self.held is None else np.where(self.held, np.float32(0), self.gradient)


class Pairs:
    """The last steps s and the filtered changes H y of the gradient.

    Parameters
    ----------
    count
        The largest number of pairs.
    size
        The number of elements of a point.
    """

    def __init__(self, count: int, size: int) -> None:
        self._steps, self._changes = (np.zeros((count, size), np.float32) for _ in range(2))
        self._order = np.arange(count)  # from the oldest to the newest

    @property
    def oldest(self) -> Array:
        """The oldest step, for a new one to be written in its place before `add`."""
        step: Array = self._steps[self._order[0]]
        return step

    def add(self, change: Array) -> None:
        """Put a pair in the place of the oldest, whose step is written there already."""
        self._order = np.roll(self._order, -1)
        self._changes[self._order[-1]] = change.ravel()

    def products(self, *arrays: Array) -> NDArray[np.float64]:
        """Return the inner products of all s, then all H y, from the oldest on, with some arrays: [2m, arrays]."""
        flat = [array.ravel() for array in arrays]
        total = np.zeros((2, len(self._order), len(flat)))
        for start in range(0, flat[0].size, _PIECE):
            piece = slice(start, start + _PIECE)
            columns = np.stack([array[piece] for array in flat], axis=1)
            for sums, rows in zip(total, (self._steps, self._changes), strict=True):
                sums += rows[:, piece] @ columns
        return total[:, self._order].reshape(-1, len(flat))

    def combined(self, coefficients: NDArray[np.float64]) -> Array:
        """Return the sum of all s, then all H y, from the oldest on, each times its coefficient."""
        ordered = np.empty((2, len(self._order)), np.float32)
        ordered[:, self._order] = coefficients.reshape(2, -1)
        total: Array = ordered[0] @ self._steps
        total += ordered[1] @ self._changes
        return total


class Descent:
    """A search for a minimum. The loss is scaled to order 1, as for SciPy."""

    def __init__(self, search: Search, options: Options) -> None:
        if not isinstance(options.variable, Within):
            raise ValueError("lbfgs-sobolev: expected a variable that is the picture")
        self._search, self._first_step = search, options.first_step
        self._bounds: Bounds = options.variable.bounds
        self._scale = 0.0
        self._filter = Sobolev(options.start.shape)
        pairs = options.pairs or HISTORY
        self._history, self._pairs = History(pairs), Pairs(pairs, options.start.size)

    def run(self, start: Array, length: float = 1.0) -> End:
        """Search from a picture until the search is over, or no step lowers the loss; return the end.

        The first step is `length` times as long as usual.
        """
        self._history.clear()
        now = self._sample(start)
        while True:
            slope, after = self._step(now, length)
            if slope == 0:
                return HELD if self._bounds else FLAT
            fresh = not self._history.pairs
            if after is not None:
                self._remember(now, after, slope)
                now = after
            elif fresh:
                return STUCK
            else:
                self._history.clear()

    def _step(self, now: _Sample, length: float) -> tuple[float, _Sample | None]:
        """Return the slope along a new direction, and the sample that a search there ends with, if it was accepted."""
        direction = self._direction(now)
        slope = inner(now.free, direction)
        fresh = not self._history.pairs
        first = 1.0
        if fresh and slope:
            first = length * self._first_step / math.sqrt(inner(direction, direction))
        return slope, self._follow(now, direction, slope, first) if slope < 0 else None

    def _sample(self, point: Array) -> _Sample:
        """Evaluate a point."""
        exact, gradient = self._search.evaluate(point)
        if not self._scale:
            self._scale = 1 / power_of_two(abs(exact)) if exact else 1.0
        gradient = gradient * np.float32(self._scale)
        held = _leaves(point, -gradient, self._bounds) if self._bounds else None
        return _Sample(point, exact * self._scale, exact, gradient, held)

    def _direction(self, now: _Sample) -> Array:
        """Return the direction -H g, without elements whose descent, or whose own way, leads out of the bounds."""
        own, coefficients = self._history.coefficients()
        direction = self._filter.apply(now.free)
        direction *= np.float32(own)
        if self._history.pairs:
            direction += self._pairs.combined(coefficients).reshape(direction.shape)
        if self._bounds and now.held is not None:
            direction[now.held | _leaves(now.point, direction, self._bounds)] = 0
        return direction

    def _follow(self, now: _Sample, direction: Array, slope: float, first: float) -> _Sample | None:
        """Return the sample that ends a line search; None if its step is not accepted, or its loss is not lower.

        `first` is the first step that is tried.
        """
        line = LineSearch(now.loss, slope, first)
        while True:
            step = line.step
            moved = direction * np.float32(step)
            moved += now.point
            point = clipped(moved, self._bounds)
            stays = moved != point if self._bounds else None  # elements that the bounds hold do not move
            del moved  # memory for the evaluation
            trial = self._sample(point)
            gradient = trial.gradient if stays is None else np.where(stays, np.float32(0), trial.gradient)
            trial_slope = inner(gradient, direction)
            del gradient
            if self._search.noise:
                trial = self._smoothed(now, trial, step * (slope + trial_slope) / 2)
            line.tell(trial.loss, trial_slope)
            if line.over:
                return trial if line.accepted and trial.loss < now.loss else None

    def _smoothed(self, now: _Sample, trial: _Sample, by_slopes: float) -> _Sample:
        """Return a trial with the loss that a line search should see; `by_slopes` is the change by the slopes."""
        change = smoothed(self._search, trial.exact, trial.exact - now.exact, by_slopes / self._scale)
        return _Sample(trial.point, now.loss + change * self._scale, trial.exact, trial.gradient, trial.held)

    def _remember(self, before: _Sample, after: _Sample, slope: float) -> None:
        """Add the step and the change of the gradient to the history."""
        step, change = self._pairs.oldest, after.gradient - before.gradient
        np.subtract(after.point.ravel(), before.point.ravel(), out=step)
        if inner(step, change) > np.finfo(np.float64).eps * abs(slope):
            self._pairs.add(self._filter.apply(change))
            self._history.record(self._pairs.products(after.free, change))
        else:
            self._history.clear()


def _leaves(point: Array, direction: Array, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which elements a direction leads out of the bounds."""
    lowest, highest = bounds
    return ((point <= lowest) & (direction < 0)) | ((point >= highest) & (direction > 0))


def inner(a: Array, b: Array) -> float:
    """Return the inner product of two arrays of one shape."""
    a, b = a.ravel(), b.ravel()
    pieces = range(0, a.size, _PIECE)
    return math.fsum(float(np.dot(a[start : start + _PIECE], b[start : start + _PIECE])) for start in pieces)


def run(search: Search, options: Options) -> End:
    """Follow L-BFGS; return the end if no step lowers the loss.

    The threads of NumPy's BLAS would spin on the processors that the next evaluation needs; so there is one.
    """
    from threadpoolctl import threadpool_limits  # here, because it takes a while to import

    descent = Descent(search, options)
    with threadpool_limits(1, "blas"):
        return until_stuck(search, options.start, descent.run)


OPTIMIZER = Optimizer(run)
