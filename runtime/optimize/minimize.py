"""The optimisation loop: SciPy's L-BFGS-B on a float32 objective, made safe; or Adam, for want of memory.

SciPy's own stopping tests compare the loss with float64's precision or with numbers of order one; a float32 loss, or
one of 1e12, meets them by accident. Here the objective is rescaled to order one (by a power of two, so that no digit
changes), the tests are switched off, and the loop ends for reasons it can name.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from impasto import figures
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize.lbfgs import HISTORY, Descent, Resident, remembered
from impasto.shortage import check_room, limits

T = TypeVar("T")

Function = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]

#: A search that is to end when it no longer improves is judged by so many evaluations.
PATIENCE = 10

#: Adam (Kingma and Ba, 2015): the decay of the two means, and the step size in units of the `first_step`, which falls
#: linearly to a tenth of it.
ADAM_DECAY = (0.9, 0.999)
ADAM_LAST_STEP = 0.1

#: Bytes of addresses that SciPy's L-BFGS-B takes, its libraries and the memory of its BLAS, and a little more.
_SCIPY = 200_000_000

#: What Adam multiplies losses by is within these: the inverse of a loss of single precision, none below 2^-100.
SCALES = (2.0**-128, 2.0**100)


class StopOptimization(Exception):
    """Raised by a callback to end the optimisation early; the best point so far is the result."""


class SearchOver(StopOptimization):
    """Raised by a callback to end a search that is part of something larger, which goes on."""


@dataclass(frozen=True)
class Adam:
    """Where Adam stands after so many steps; `minimize` goes on from there as if it had never been interrupted.

    Attributes
    ----------
    steps
        How many it has made.
    point
        Where it looks next.
    mean, square
        The decaying means of the gradient and of its square. They change with the next evaluation: copy what is kept.
    scale
        What gradients are multiplied by first: as the loss at the start times that is of order one, no square is too
        large or too small for float32. A power of two, so that no digit changes.
    """

    steps: int
    point: NDArray[np.float32]
    mean: NDArray[np.float32]
    square: NDArray[np.float32]
    scale: float = 1.0


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
    adam
        Where Adam stands; None with L-BFGS, whose memory SciPy keeps to itself.
    """

    number: int
    loss: float
    improved: bool
    point: NDArray[np.float32]
    adam: Adam | None = None


@dataclass(frozen=True)
class Minimum:
    """The best point found, its loss, how many evaluations it took in all, and why the search ended.

    `stopped` tells whether that was for a reason from outside: the callback's, or a failure of the function.
    `optimizer_seconds` is the optimiser's own time, without the function's and the callback's.
    """

    point: NDArray[np.float32]
    loss: float
    evaluations: int
    reason: str
    stopped: bool
    optimizer_seconds: float


def _power_of_two(value: float) -> float:
    """Return the power of two nearest a positive value: multiplying by it changes no digit."""
    return 2.0 ** round(math.log2(value))


class _Finished(Exception):
    """The search is over, for the reason given; `stopped` from outside or by itself."""

    def __init__(self, reason: str, *, stopped: bool = False) -> None:
        super().__init__(reason)
        self.stopped = stopped


class _Stopwatch:
    """Counts the seconds that functions take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return a function whose time is counted."""

        def timed(*arguments: Any) -> T:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


class _Search:
    """The function with a memory of the best point; called, as SciPy sees it: flat, float64, rescaled."""

    def __init__(
        self,
        function: Function,
        shape: tuple[int, ...],
        evaluations: int,
        unit: float,
        rescale: bool,
        min_improvement: float | None,
        callback: Callable[[Evaluation], None] | None,
    ) -> None:
        self.function, self.shape, self.unit, self.callback = function, shape, unit, callback
        self.rescale, self.min_improvement = rescale, min_improvement
        self.best_losses: list[float] = []
        self.allowed, self.done = evaluations, 0
        self.best_loss = math.inf
        self.best_point = np.zeros(shape, np.float32)
        self.scale = 1.0

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = np.multiply(x, self.unit, dtype=np.float32, casting="same_kind").reshape(self.shape)
        loss, gradient = self.look(point)
        if self.done == 1 and loss and self.rescale:
            self.scale = _power_of_two(1 / abs(loss))
        return loss * self.scale, np.multiply(gradient, self.scale * self.unit, dtype=np.float64).ravel()

    def look(
        self, point: NDArray[np.float32], step: Callable[[float, NDArray[np.float32]], Adam] | None = None
    ) -> tuple[float, NDArray[np.float32]]:
        """Evaluate the function, unless the search is over, and remember the best point.

        `step` takes loss and gradient, where these are finite, before the callback is told.
        """
        if self.done == self.allowed:
            raise _Finished(figures.all_made(self.allowed))
        loss, gradient = self._evaluate(point)
        self.done += 1
        finite = math.isfinite(loss) and bool(np.isfinite(gradient).all())
        improved = finite and loss < self.best_loss
        if improved:
            self.best_loss, self.best_point = loss, point
        adam = step(loss, gradient) if step and finite else None
        if self.callback:
            try:
                self.callback(Evaluation(self.done, loss, improved, point, adam))
            except StopOptimization as stop:
                stopped = not isinstance(stop, SearchOver)
                raise _Finished(str(stop) or "stopped by the callback", stopped=stopped) from None
        if not finite:
            raise _Finished(f"loss or gradient was not finite at evaluation {self.done}")
        self._check_improvement()
        return loss, gradient

    def _check_improvement(self) -> None:
        """End the search when the last evaluations have lowered the best loss by too small a fraction."""
        self.best_losses.append(self.best_loss)
        if self.min_improvement is None or len(self.best_losses) <= PATIENCE:
            return
        before = self.best_losses[-1 - PATIENCE]
        if before - self.best_loss < self.min_improvement * abs(before):
            raise _Finished(f"{PATIENCE} evaluations lowered the loss by less than {self.min_improvement:g} of it")

    def _evaluate(self, point: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Evaluate the function; if it fails, end the search with the best point, where there is one."""
        try:
            return self.function(point)
        except TransferError as error:
            if math.isinf(self.best_loss):
                raise
            raise _Finished(f"evaluation {self.done + 1} failed: {error}", stopped=True) from error


def preload(optimizer: str) -> None:
    """Import what `minimize` will need for that optimiser in the background; SciPy's takes as long as an evaluation.

    Under a limit of addresses it is imported and tried out at once, where there is room for it: graphs could leave too
    few, and then its BLAS tries for ever.

    Raises
    ------
    MemoryError
        When a limit leaves too little room.
    """

    def work() -> None:
        with contextlib.suppress(Exception):  # `minimize` meets it, too, and says so
            import scipy.optimize
            import threadpoolctl  # noqa: F401

            if limits():
                scipy.optimize.fmin_l_bfgs_b(lambda x: (float((x * x).sum()), 2 * x), np.ones(1))

    if optimizer == "lbfgs":
        check_room(_SCIPY, "SciPy")
        thread = threading.Thread(target=work, name="preload")
        thread.start()
        if limits():
            thread.join()


def minimize(
    function: Function,
    start: NDArray[np.float32],
    *,
    evaluations: int,
    optimizer: str = "lbfgs",
    first_step: float = 1.0,
    bounds: tuple[float, float] | None = None,
    restart_every: int | None = None,
    min_improvement: float | None = None,
    steps: int | None = None,
    adam: Adam | None = None,
    best: float = math.inf,
    resident: Resident | None = None,
    callback: Callable[[Evaluation], None] | None = None,
) -> Minimum:
    """Minimise a function of a float32 array, in exactly so many evaluations unless it must end earlier.

    Parameters
    ----------
    function
        Point -> (loss, gradient), the gradient shaped like the point. When it raises a `TransferError`, the search
        ends, with the best point so far.
    optimizer
        ``lbfgs``, ``lbfgs-device`` or ``adam``. Adam keeps two float32 arrays of the point's size, L-BFGS-B some dozen
        in float64, but takes several times as many evaluations.
    first_step
        Length (Euclidean norm) of the first step that is tried, about: it is rounded to a power of two. SciPy's own
        is 1, which for a picture is nothing, and evaluations are spent on growing it.
    bounds
        The lowest and highest value of every element, or none.
    restart_every
        Start SciPy anew (`maxfun`, which lets an iteration finish) after this many evaluations, as the reference
        algorithm does with 20. It throws away the curvature that has been learnt: for parity only.
    min_improvement
        End when the last `PATIENCE` evaluations have lowered the loss by less than this fraction of it.
    steps
        In how many steps Adam's fall to a tenth of the first; `evaluations` by default.
    adam
        Where Adam stood, to go on from there.
    best
        The loss of the start, where that is known already, and Adam has moved on from it.
    resident
        The function on its device, for ``lbfgs-device``: see `impasto.runtime.optimize.lbfgs`.
    callback
        Called after every evaluation; may raise `StopOptimization`.

    Raises
    ------
    TransferError
        When not even the start has a finite loss and gradient; or the function's own, from there.
    """
    if (optimizer == "lbfgs-device") != (resident is not None):
        raise ValueError("resident: goes with optimizer lbfgs-device, and that with it")
    began, elsewhere = time.perf_counter(), _Stopwatch()
    start = start.clip(*bounds) if bounds else start
    unit = _power_of_two(first_step)  # what SciPy takes for a step of 1
    rescale = restart_every is None  # parity is with an objective as it is: SciPy has a longest first step of 1e10
    descent = Descent(elsewhere.around(resident), resident.algebra, start, unit, bounds) if resident else None
    evaluate = descent.evaluate if descent else elsewhere.around(function)
    told = elsewhere.around(callback) if callback else None
    search = _Search(evaluate, start.shape, evaluations, unit, rescale, min_improvement, told)
    search.best_point, search.best_loss = start, best
    stopped = False
    try:
        if optimizer == "adam":
            at = adam or Adam(0, start, np.zeros_like(start), np.zeros_like(start))
            at = replace(at, point=at.point.clip(*bounds) if bounds else at.point)
            at = replace(at, mean=at.mean.copy(), square=at.square.copy())
            _adam(search, at, first_step / start.size**0.5, steps or evaluations, bounds)
        if descent:
            reason = descent.run(search.look)
        else:
            reason = _search(search, start.astype(np.float64).ravel() / unit, bounds, restart_every)
    except _Finished as finished:
        reason, stopped = str(finished), finished.stopped
    except TransferError as error:  # between two evaluations, on the device
        if math.isinf(search.best_loss):
            raise
        reason, stopped = f"the step after evaluation {search.done} failed: {error}", True
    if math.isinf(search.best_loss):
        raise TransferError(f"the start has no finite loss ({reason}); check the weights of the terms and the model")
    own = time.perf_counter() - began - elsewhere.seconds
    return Minimum(search.best_point, search.best_loss, search.done, reason, stopped, own)


def _adam(search: _Search, adam: Adam, rate: float, steps: int, bounds: tuple[float, float] | None) -> NoReturn:
    """Follow Adam until the search is over; `rate` is the step of an element at first, and falls in so many steps."""
    slow, slower = ADAM_DECAY

    def step(loss: float, gradient: NDArray[np.float32]) -> Adam:
        nonlocal adam
        mean, square, t = adam.mean, adam.square, adam.steps + 1
        scale = adam.scale if adam.steps else _power_of_two(1 / max(abs(loss), 1 / SCALES[1]))
        gradient = gradient * np.float32(scale)
        mean += (1 - slow) * (gradient - mean)
        square += (1 - slower) * (gradient * gradient - square)
        left = max(ADAM_LAST_STEP, 1 - (1 - ADAM_LAST_STEP) * (t - 1) / steps)
        change = mean / (1 - slow**t) / (np.sqrt(square / (1 - slower**t)) + np.finfo(np.float32).tiny)
        point = adam.point - np.float32(rate * left) * change
        adam = Adam(t, point.clip(*bounds) if bounds else point, mean, square, scale)
        return adam

    while True:
        search.look(adam.point, step)


def _search(
    search: _Search, x: NDArray[np.float64], bounds: tuple[float, float] | None, restart_every: int | None
) -> str:
    """Run L-BFGS-B, again from where it ended whenever that may help; return why nothing more can be done.

    SciPy's BLAS has threads of its own, which spin for a while in wait of more work, on the processors that the next
    evaluation is to have: with one of them evaluations at 300x300 take a tenth less time, and SciPy no more.
    """
    from scipy.optimize import fmin_l_bfgs_b  # here, because it takes a while to import; see `preload`
    from threadpoolctl import threadpool_limits

    unlimited = 2 * search.allowed + 1
    # SciPy takes an array of pairs, too; a list of a million tuples takes it seconds to read
    box: Any = None if bounds is None else np.broadcast_to(np.array(bounds) / search.unit, (x.size, 2))
    while True:
        before = search.best_loss
        with threadpool_limits(1, "blas"):
            x, _, info = fmin_l_bfgs_b(
                search,
                x,
                bounds=box,
                m=HISTORY if restart_every else remembered(x.size),
                factr=0.0,
                pgtol=0.0,
                maxfun=restart_every or unlimited,
                maxiter=unlimited,
            )
        if info["warnflag"] == 1:  # maxfun
            continue
        if not np.any(info["grad"]):
            return "converged: the gradient is zero"
        if not search.best_loss < before:  # a fresh start, down the gradient itself, found nothing either
            return "converged: float32 shows no lower loss in the direction of the gradient"
