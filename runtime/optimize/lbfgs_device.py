"""L-BFGS whose history stays on the device: SciPy's method, with everything of the picture's size in graphs.

At the speed of a GPU, SciPy's L-BFGS-B takes longer than the evaluations between which it runs. Here the steps s and
the differences y of gradients lie on the device, in float32; the host sees their inner products, in float64, and solves
the small systems. The constants are those of L-BFGS-B.

With bounds, elements are projected onto them along the search, and elements that descent would push against their bound
take no part in it (Bertsekas, "Projected Newton methods for optimization problems with simple constraints", 1982).
L-BFGS-B first looks for the bounds that will be reached, and then searches; here it is one pass.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.optimize.ending import FLAT, HELD, STUCK, End
from impasto.runtime.optimize.history import History, remembered
from impasto.runtime.optimize.line_search import LineSearch, Trial
from impasto.runtime.optimize.noise import smoothed, until_stuck
from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.variable import Within, power_of_two


class Descent:
    """A search for a minimum, with everything of the point's size on the device.

    The loss is scaled to order 1, and points are measured in a unit of length, as for SciPy.
    """

    def __init__(self, search: Search, options: Options) -> None:
        function, start, variable = options.resident, options.start, options.variable
        if function is None or not isinstance(variable, Within):
            raise ValueError("lbfgs-device: expected a resident function, and a variable that is the picture")
        algebra, shape = function.algebra, start.shape
        self._search, self._function, self._algebra = search, function, algebra
        self._unit, self._scale = power_of_two(options.first_step), 0.0
        self._flat, self._box = HELD if variable.bounds else FLAT, algebra.box(variable.bounds)
        self._landing = algebra.landing(shape)
        self._point, self._trial, self._direction = (algebra.allocate(shape) for _ in range(3))
        self._gradient, self._trial_gradient = (algebra.allocate(shape) for _ in range(2))
        self._loss = self._trial_loss = 0.0  # neither scaled nor smoothed
        history = remembered(start.size)
        self._history = History(history)
        rows = (2 * history, *shape[1:])
        self._rows, self._spare = algebra.upload(np.zeros(rows, np.float32)), algebra.allocate(rows)
        self._products = algebra.allocate((2 * history, 2))

    @property
    def _factor(self) -> float:
        """The factor of the function's gradient."""
        return self._scale * self._unit

    def run(self, start: NDArray[np.float32], length: float = 1.0) -> End:
        """Search from a picture until the search is over, or no step lowers the loss; return the end.

        The first step is `length` times as long as usual.
        """
        self._trial.update_inplace(np.ascontiguousarray(start))
        self._history.clear()
        loss, _ = self._try()
        self._accept()
        while True:
            own, coefficients = self._history.coefficients()
            slope, square = self._algebra.direction(
                self._rows, coefficients, self._gradient, own, self._factor, self._point, self._box, self._direction
            )
            if slope == 0:
                return self._flat
            fresh = not self._history.pairs
            line = LineSearch(loss, slope, length / math.sqrt(square) if fresh else 1.0) if slope < 0 else None
            accepted = self._follow(line, loss, slope) if line else None
            if accepted is not None:
                self._remember(accepted, slope)
                loss = accepted.loss
            elif fresh:
                return STUCK
            else:
                self._history.clear()

    def _follow(self, line: LineSearch, before: float, start: float) -> Trial | None:
        """Return the trial that ends a line search; None if its step is not accepted, or its loss is not lower.

        The search begins with the loss `before` and the slope `start`.
        """
        while True:
            step = line.step
            self._algebra.step(self._point, self._direction, step * self._unit, self._box, self._trial)
            loss, slope = self._try()
            if self._search.noise:
                change, by_slopes = self._trial_loss - self._loss, step * (start + slope) / 2 / self._scale
                loss = before + self._scale * smoothed(self._search, self._trial_loss, change, by_slopes)
            line.tell(loss, slope)
            if line.over:
                return Trial(step, loss, slope) if line.accepted and loss < before else None

    def _try(self) -> tuple[float, float]:
        """Return the scaled loss and the slope at the trial point."""
        loss, slope = self._search.evaluate(self._landing.fetch(self._trial), function=self._evaluate)
        self._trial_loss = loss
        return loss * self._scale, float(slope[0])

    def _evaluate(self, _: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Return the loss and the slope at the trial point; the slope is finite if the gradient is."""
        with self._search.outside:
            loss = self._function(self._trial, self._trial_gradient)
        along = self._direction
        if not self._scale:
            self._scale = 1 / power_of_two(abs(loss)) if loss and math.isfinite(loss) else 1.0
            along = self._trial_gradient
        slope = self._algebra.slope(self._trial_gradient, along, self._factor, self._trial, self._box)
        return loss, np.array([slope], np.float32)

    def _remember(self, accepted: Trial, slope: float) -> None:
        """Add the step and the change of the gradient to the history."""
        products = self._algebra.remember(
            self._rows,
            (accepted.step, self._direction),
            (self._trial_gradient, self._gradient),
            self._factor,
            (self._trial, self._point),
            self._unit,
            self._box,
            self._spare,
            self._products,
        )
        curvature = products[self._history.size - 1, 1]  # the newest s times the newest y
        if curvature > np.finfo(np.float64).eps * -slope * accepted.step:
            self._rows, self._spare = self._spare, self._rows
            self._history.record(products)
        else:
            self._history.clear()
        self._accept()

    def _accept(self) -> None:
        self._point, self._trial = self._trial, self._point
        self._gradient, self._trial_gradient = self._trial_gradient, self._gradient
        self._loss = self._trial_loss


def run(search: Search, options: Options) -> End:
    """Follow L-BFGS on the device; return the end if no step lowers the loss."""
    return until_stuck(search, options.start, Descent(search, options).run)


OPTIMIZER = Optimizer(run, on_device=True)
