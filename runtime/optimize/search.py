"""The search that an optimiser works on: it counts evaluations, keeps the best picture, and decides when to end.

`Optimizer` is the interface of optimisers. A new one is a module with an `OPTIMIZER`, which
`impasto.defaults.OPTIMIZERS` names.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.evaluator import Resident
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize import ending
from impasto.runtime.optimize.ending import End, StopOptimization
from impasto.runtime.optimize.variable import Variable

if TYPE_CHECKING:
    from impasto.runtime.optimize.adam import Adam

#: Picture -> loss and gradient, the gradient shaped like the picture.
Function = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]

#: With `min_improvement`, the improvement of a search is measured over so many evaluations.
PATIENCE = 10


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the function.

    Attributes
    ----------
    number
        Its number, from 1.
    loss
        The loss of the picture.
    improved
        Whether no earlier loss was as low. A line search may try points that are worse.
    point
        The picture that was evaluated.
    adam
        The state of Adam; None with L-BFGS, since SciPy does not give its state away.
    """

    number: int
    loss: float
    improved: bool
    point: NDArray[np.float32]
    adam: Adam | None = None


class Finished(Exception):
    """The search is over."""

    def __init__(self, end: End) -> None:
        super().__init__(end.sentence)
        self.end = end


class NotFinite(Finished):
    """The search is over, as loss or gradient was not finite."""


class Stopwatch:
    """Counts the seconds that pass inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = self._began = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


class Search:
    """The function, with a count of its evaluations and a memory of the best picture.

    Attributes
    ----------
    allowed, done
        The allowed number of evaluations, and the number so far.
    best_point, best_loss
        The best picture so far, and its loss.
    noise
        The error of a difference of losses of similar pictures, as a share of them; 0 for float32.
    outside
        The seconds that the function and the callback have taken.
    """

    def __init__(
        self,
        function: Function,
        evaluations: int,
        best_point: NDArray[np.float32],
        best_loss: float = math.inf,
        *,
        min_improvement: float | None = None,
        noise: float = 0.0,
        callback: Callable[[Evaluation], None] | None = None,
    ) -> None:
        self._function, self._callback, self._min_improvement = function, callback, min_improvement
        self._losses: list[float] = []  # those that tell of an improvement
        self.noise = noise
        self.allowed, self.done = evaluations, 0
        self.best_point, self.best_loss = best_point, best_loss
        self.outside = Stopwatch()

    def evaluate(
        self,
        picture: NDArray[np.float32],
        *,
        function: Function | None = None,
        advance: Callable[[float, NDArray[np.float32]], Adam] | None = None,
    ) -> tuple[float, NDArray[np.float32]]:
        """Return loss and gradient of a picture.

        Parameters
        ----------
        function
            The function to call in place of the search's own.
        advance
            Takes loss and gradient, if these are finite, and returns the state of Adam for the callback.

        Raises
        ------
        Finished
            When the search is over: only `minimize` may catch it.
        """
        if self.done == self.allowed:
            raise Finished(ending.all_made(self.allowed))
        loss, gradient = self._call(picture, function or self._timed)
        self.done += 1
        finite = math.isfinite(loss) and bool(np.isfinite(gradient).all())
        improved = finite and loss < self.best_loss
        if improved:
            self.best_loss, self.best_point = loss, picture
        adam = advance(loss, gradient) if advance and finite else None
        self._tell(Evaluation(self.done, loss, improved, picture, adam))
        if not finite:
            raise NotFinite(ending.not_finite(self.done))
        self._check_improvement(loss)
        return loss, gradient

    def _call(self, picture: NDArray[np.float32], function: Function) -> tuple[float, NDArray[np.float32]]:
        """Evaluate a function; if it fails, or is stopped, end the search with the best picture, if there is one."""
        try:
            return function(picture)
        except StopOptimization as stop:
            if math.isinf(self.best_loss):
                raise
            raise Finished(ending.stopped(stop)) from None
        except TransferError as error:
            if math.isinf(self.best_loss):
                raise
            raise Finished(ending.failed(self.done + 1, error)) from error

    def _timed(self, picture: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        with self.outside:
            return self._function(picture)

    def _tell(self, evaluation: Evaluation) -> None:
        if self._callback:
            try:
                with self.outside:
                    self._callback(evaluation)
            except StopOptimization as stop:
                raise Finished(ending.stopped(stop)) from None

    def _check_improvement(self, loss: float) -> None:
        """End the search when the last evaluations have lowered the loss by too small a fraction.

        Of losses without noise, the lowest ones are compared. With noise, one may be low by chance, and none after it
        lower; so the median of the last losses is compared with that of as many before them.
        """
        if self._min_improvement is None:
            return
        self._losses.append(loss if self.noise else self.best_loss)
        if len(self._losses) <= (2 * PATIENCE if self.noise else PATIENCE):
            return
        before, now = self._losses[-1 - PATIENCE], self.best_loss
        if self.noise:
            before, now = (statistics.median(self._losses[k:][:PATIENCE]) for k in (-2 * PATIENCE, -PATIENCE))
        if before - now < self._min_improvement * abs(before):
            raise Finished(ending.little_improvement(PATIENCE, self._min_improvement))


@dataclass(frozen=True)
class Options:
    """An optimiser's input beside the search; `impasto.runtime.optimize.minimize.minimize` describes each field.

    `start` is within the variable's bounds already.
    """

    start: NDArray[np.float32]
    variable: Variable[np.float32]
    first_step: float
    steps: int
    restart_every: int | None = None
    pairs: int | None = None
    adam: Adam | None = None
    resident: Resident | None = None


@dataclass(frozen=True)
class Optimizer:
    """A method of minimisation.

    Attributes
    ----------
    run
        Calls `Search.evaluate` with one picture after the other, until that raises `Finished`. If no picture is worth
        trying before that, it returns the end. It must not change the pictures afterwards: the best one is not copied.
    on_device
        Whether it needs `Options.resident`.
    preload
        Imports, in the background, the libraries that `run` needs, if that takes long.
    """

    run: Callable[[Search, Options], End]
    on_device: bool = False
    preload: Callable[[], None] | None = None
