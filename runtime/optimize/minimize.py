"""`minimize`: minimises a float32 function by an optimiser that is chosen by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from impasto.defaults import OPTIMIZERS
from impasto.runtime.engine.evaluator import Resident
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize import ending
from impasto.runtime.optimize.adam import Adam
from impasto.runtime.optimize.ending import End
from impasto.runtime.optimize.search import Evaluation, Finished, Function, Optimizer, Options, Search, Stopwatch
from impasto.runtime.optimize.variable import Variable, Within


@dataclass(frozen=True)
class Minimum:
    """The best picture of a search.

    Attributes
    ----------
    point, loss
        The picture and its loss.
    evaluations
        The number of evaluations.
    end
        Why the search ended.
    optimizer_seconds
        The optimiser's own time, without the function's and the callback's.
    """

    point: NDArray[np.float32]
    loss: float
    evaluations: int
    end: End
    optimizer_seconds: float

    @property
    def reason(self) -> str:
        """Why the search ended, in words."""
        return self.end.sentence

    @property
    def stopped(self) -> bool:
        """Whether the callback or a failure of the function ended the search."""
        return self.end.kind.from_outside


def optimizer_named(name: str) -> Optimizer:
    """Return one of the `impasto.defaults.OPTIMIZERS`."""
    optimizer: Optimizer = import_module(OPTIMIZERS[name]).OPTIMIZER
    return optimizer


def preload(optimizer: str) -> None:
    """Import, in the background, the libraries that `minimize` needs for an optimiser.

    Raises
    ------
    MemoryError
        When a limit leaves too little memory.
    """
    if work := optimizer_named(optimizer).preload:
        work()


def minimize(
    function: Function,
    start: NDArray[np.float32],
    *,
    evaluations: int,
    optimizer: str = "lbfgs",
    variable: Variable[np.float32] = Within(),  # noqa: B008  # it is frozen
    first_step: float = 1.0,
    restart_every: int | None = None,
    pairs: int | None = None,
    min_improvement: float | None = None,
    noise: float = 0.0,
    steps: int | None = None,
    adam: Adam | None = None,
    best: float = math.inf,
    resident: Resident | None = None,
    callback: Callable[[Evaluation], None] | None = None,
) -> Minimum:
    """Minimise a function of a float32 array, in exactly `evaluations` evaluations unless it must end earlier.

    Parameters
    ----------
    function
        Picture -> (loss, gradient), the gradient shaped like the picture. When it raises a `TransferError` or
        `StopOptimization`, the search ends, with the best picture so far.
    start
        The picture to begin with. If the variable's bounds exclude it, the nearest one within them is taken.
    optimizer
        One of `impasto.defaults.OPTIMIZERS`. Adam keeps two float32 arrays of the picture's size and takes several
        times as many evaluations as the others; ``lbfgs`` keeps some dozen in float64, ``lbfgs-sobolev`` some thirty
        in float32.
    variable
        The map from the optimiser's variable to the picture; by default the picture itself, without bounds.
    first_step
        Length (Euclidean norm) of the first step of the variable that is tried, about: with L-BFGS it is rounded to a
        power of two. SciPy's own is 1, which is very little for a picture, and growing it would cost evaluations.
    restart_every
        Restart SciPy (`maxfun`, which lets an iteration finish) after this many evaluations, as the reference
        algorithm does with 20. This discards the curvature that has been learnt: for parity only.
    pairs
        The number of pairs that ``lbfgs`` or ``lbfgs-sobolev`` remembers; by default as many as the optimiser chooses.
        With few the loss falls more slowly: see docs/scale.md#the-budget-of-memory.
    min_improvement
        End when the last `PATIENCE` evaluations have lowered the loss by less than this fraction of it.
    noise
        The error of a difference of losses of similar pictures, as a share of them: see
        `impasto.runtime.optimize.noise.NOISE`. Where it is not 0, L-BFGS that finds no lower loss, or one that is not
        finite, starts again from the best picture; after `impasto.runtime.optimize.noise.ATTEMPTS` in vain it ends.
    steps
        The number of steps in which Adam's steps fall to a tenth of the first; `evaluations` by default.
    adam
        The state of Adam to go on from.
    best
        The loss of the start, if it is known already and Adam has moved on from it.
    resident
        The function on its device, for ``lbfgs-device``: see `impasto.runtime.optimize.lbfgs_device`.
    callback
        Called after every evaluation; may raise `StopOptimization`.

    Raises
    ------
    TransferError
        When not even the start has a finite loss and gradient; or the error that the function raises there.
    StopOptimization
        When the function raises it for the start.
    """
    chosen = optimizer_named(optimizer)
    if chosen.on_device != (resident is not None):
        raise ValueError("resident: goes with an optimizer on the device, lbfgs-device, and that with it")
    with Stopwatch() as whole:
        start = variable.picture(variable.inverse(start))
        search = Search(
            function, evaluations, start, best, min_improvement=min_improvement, noise=noise, callback=callback
        )
        options = Options(start, variable, first_step, steps or evaluations, restart_every, pairs, adam, resident)
        try:
            end = chosen.run(search, options)
        except Finished as finished:
            end = finished.end
        except TransferError as error:  # between two evaluations, on the device
            if math.isinf(search.best_loss):
                raise
            end = ending.failed(search.done, error, during=False)
        if math.isinf(search.best_loss):
            problem = f"the start has no finite loss ({end.sentence})"
            raise TransferError(f"{problem}; check the weights of the terms and the model")
    own_seconds = whole.seconds - search.outside.seconds
    return Minimum(search.best_point, search.best_loss, search.done, end, own_seconds)
