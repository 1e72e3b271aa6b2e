"""The optimisation loop: SciPy's L-BFGS-B on a float32 objective, made safe.

SciPy's own stopping tests compare the loss with float64's precision or with numbers of order one; a float32 loss, or
one of 1e12, meets them by accident. Here the objective is rescaled to order one (by a power of two, so that no digit
changes), the tests are switched off, and the loop ends for reasons it can name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import TransferError

Function = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]


#: How many steps L-BFGS remembers. SciPy's own 10 bring the loss down a few percent further in as many evaluations,
#: but its work grows with them; in as much time the two come equally far.
HISTORY, PARITY_HISTORY = 5, 10


class StopOptimization(Exception):
    """Raised by a callback to end the optimisation early; the best point so far is the result."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the function.

    Attributes
    ----------
    number
        1 for the first.
    loss
        The loss here.
    improved
        Whether no earlier loss was as low. A line search may try points that are worse.
    point
        Where it was evaluated.
    """

    number: int
    loss: float
    improved: bool
    point: NDArray[np.float32]


@dataclass(frozen=True)
class Minimum:
    """The best point found, its loss, how many evaluations it took in all, and why the search ended."""

    point: NDArray[np.float32]
    loss: float
    evaluations: int
    reason: str


def _power_of_two(value: float) -> float:
    """Return the power of two nearest a positive value: multiplying by it changes no digit."""
    return 2.0 ** round(math.log2(value))


class _Finished(Exception):
    """The search is over, for the reason given."""


class _Search:
    """The function as SciPy sees it: flat, float64, rescaled; with a memory of the best point."""

    def __init__(
        self,
        function: Function,
        shape: tuple[int, ...],
        evaluations: int,
        unit: float,
        rescale: bool,
        callback: Callable[[Evaluation], None] | None,
    ) -> None:
        self.function, self.shape, self.unit, self.callback = function, shape, unit, callback
        self.rescale = rescale
        self.allowed, self.done = evaluations, 0
        self.best_loss = math.inf
        self.best_point = np.zeros(shape, np.float32)
        self.scale = 1.0

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if self.done == self.allowed:
            raise _Finished(f"all {self.allowed} evaluations were made")
        point = np.multiply(x, self.unit, dtype=np.float32, casting="same_kind").reshape(self.shape)
        loss, gradient = self.function(point)
        self.done += 1
        finite = math.isfinite(loss) and bool(np.isfinite(gradient).all())
        improved = finite and loss < self.best_loss
        if self.done == 1 and finite and loss and self.rescale:
            self.scale = _power_of_two(1 / abs(loss))
        if improved:
            self.best_loss, self.best_point = loss, point
        if self.callback:
            try:
                self.callback(Evaluation(self.done, loss, improved, point))
            except StopOptimization as stop:
                raise _Finished(str(stop) or "stopped by the callback") from None
        if not finite:
            raise _Finished(f"loss or gradient was not finite at evaluation {self.done}")
        return loss * self.scale, np.multiply(gradient, self.scale * self.unit, dtype=np.float64).ravel()


def minimize(
    function: Function,
    start: NDArray[np.float32],
    *,
    evaluations: int,
    first_step: float = 1.0,
    restart_every: int | None = None,
    callback: Callable[[Evaluation], None] | None = None,
) -> Minimum:
    """Minimise a function of a float32 array with L-BFGS-B, in exactly so many evaluations unless it must end earlier.

    Parameters
    ----------
    function
        Point -> (loss, gradient), the gradient shaped like the point.
    first_step
        Length (Euclidean norm) of the first step that is tried, about: it is rounded to a power of two. SciPy's own
        is 1, which for a picture is nothing, and evaluations are spent on growing it.
    restart_every
        Start SciPy anew (`maxfun`, which lets an iteration finish) after this many evaluations, as the reference
        algorithm does with 20. It throws away the curvature that has been learnt: for parity only.
    callback
        Called after every evaluation; may raise `StopOptimization`.

    Raises
    ------
    TransferError
        When not even the start has a finite loss and gradient.
    """
    unit = _power_of_two(first_step)  # what SciPy takes for a step of 1
    rescale = restart_every is None  # parity is with an objective as it is: SciPy has a longest first step of 1e10
    search = _Search(function, start.shape, evaluations, unit, rescale, callback)
    try:
        reason = _search(search, start.astype(np.float64).ravel() / unit, restart_every)
    except _Finished as finished:
        reason = str(finished)
    if math.isinf(search.best_loss):
        raise TransferError(f"the start has no finite loss ({reason}); check the weights of the terms and the model")
    return Minimum(search.best_point, search.best_loss, search.done, reason)


def _search(search: _Search, x: NDArray[np.float64], restart_every: int | None) -> str:
    """Run L-BFGS-B, again from where it ended whenever that may help; return why nothing more can be done."""
    from scipy.optimize import fmin_l_bfgs_b  # here, because it takes a while to import

    unlimited = 2 * search.allowed + 1
    history = PARITY_HISTORY if restart_every else HISTORY
    while True:
        before = search.best_loss
        x, _, info = fmin_l_bfgs_b(
            search, x, m=history, factr=0.0, pgtol=0.0, maxfun=restart_every or unlimited, maxiter=unlimited
        )
        if info["warnflag"] == 1:  # maxfun
            continue
        if not np.any(info["grad"]):
            return "converged: the gradient is zero"
        if not search.best_loss < before:  # a fresh start, down the gradient itself, found nothing either
            return "converged: float32 shows no lower loss in the direction of the gradient"
