"""SciPy's L-BFGS-B, made safe for a float32 function.

SciPy's own stopping tests compare the loss with float64's precision or with numbers of order one. A float32 loss, or a
loss of 1e12, passes them by accident. Here the loss is rescaled to order one (by a power of two, so that no digit
changes), the tests are switched off, and the search ends for one of the reasons in `impasto.runtime.optimize.ending`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.optimize.ending import FLAT, STUCK, End
from impasto.runtime.optimize.history import HISTORY, remembered
from impasto.runtime.optimize.noise import Smoother, until_stuck
from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.variable import Bounds, Scaled, power_of_two
from impasto.shortage import check_room, limits

#: The address space that SciPy's L-BFGS-B takes for its libraries and the memory of its BLAS, and a little more.
_SCIPY = 200_000_000


def run(search: Search, options: Options) -> End:
    """Run L-BFGS-B, and run it again from its last point while this lowers the loss; return the end.

    The threads of SciPy's BLAS spin for a while after their work, on the processors that the next evaluation needs.
    With one thread, evaluations at 300x300 take a tenth less time, and SciPy takes no more.
    """
    from threadpoolctl import threadpool_limits

    def smoothly(start: NDArray[np.float32], length: float) -> End:
        function = _Smoothed(search, options, length)
        return _follow(function, start, search, options, accept=function.accept)

    with threadpool_limits(1, "blas"):
        if search.noise:
            return until_stuck(search, options.start, smoothly)
        return _follow(_Rescaled(search, options), options.start, search, options)


def _follow(
    function: _Rescaled,
    start: NDArray[np.float32],
    search: Search,
    options: Options,
    accept: Callable[[NDArray[np.float64]], None] | None = None,
) -> End:
    """Run L-BFGS-B again and again while this lowers the loss; return the end. It calls `accept` after every step."""
    x = function.inverse(start)
    while True:
        before = search.best_loss
        x, end = _descend(function, x, search, options, accept)
        if end and (end is FLAT or not search.best_loss < before):
            return end  # not even a fresh start, along the gradient itself, led to a lower loss


def _descend(
    function: _Rescaled,
    x: NDArray[np.float64],
    search: Search,
    options: Options,
    accept: Callable[[NDArray[np.float64]], None] | None,
) -> tuple[NDArray[np.float64], End | None]:
    """Run SciPy's L-BFGS-B once; return its last point, and why it ended, unless for its number of evaluations."""
    from scipy.optimize import fmin_l_bfgs_b  # here, because it takes a while to import; see `preload`

    unlimited, restart_every = 2 * search.allowed + 1, options.restart_every
    # SciPy takes an array of pairs, too, and would need seconds to read a list of a million tuples.
    box: Any = function.bounds and np.broadcast_to(np.array(function.bounds), (x.size, 2))
    x, _, info = fmin_l_bfgs_b(
        function,
        x,
        bounds=box,
        m=options.pairs or (HISTORY if restart_every else remembered(x.size)),
        factr=0.0,
        pgtol=0.0,
        maxfun=restart_every or unlimited,
        maxiter=unlimited,
        callback=accept,
    )
    if info["warnflag"] == 1:  # maxfun
        return x, None
    return x, STUCK if np.any(info["grad"]) else FLAT


class _Rescaled:
    """The search as SciPy calls it: flat, with a loss of order one.

    SciPy's first step is one, which is the first step of the options times `length`.
    """

    def __init__(self, search: Search, options: Options, length: float = 1.0) -> None:
        self._search, self._shape = search, options.start.shape
        # For parity the objective is not rescaled: SciPy has a longest first step of 1e10.
        self._scale = 0.0 if options.restart_every is None else 1.0
        self._variable = Scaled(power_of_two(options.first_step * length), options.variable)

    @property
    def bounds(self) -> Bounds:
        """The bounds of the point."""
        return self._variable.bounds

    def inverse(self, picture: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the point of a picture."""
        return self._variable.inverse(picture).ravel()

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        picture = self._variable.picture(x.reshape(self._shape))
        loss, gradient = self._search.evaluate(picture)
        loss = self._seen(picture, gradient, loss)
        if not self._scale:
            self._scale = power_of_two(1 / abs(loss)) if loss else 1.0
        return loss * self._scale, self._variable.adjoint(gradient, self._scale).ravel()

    def _seen(self, picture: NDArray[np.float32], gradient: NDArray[np.float32], loss: float) -> float:
        """Return the loss that SciPy gets."""
        return loss


class _Smoothed(_Rescaled):
    """The same, with smoothed losses."""

    def __init__(self, search: Search, options: Options, length: float) -> None:
        super().__init__(search, options, length)
        self._smoother = Smoother(search)

    def accept(self, x: NDArray[np.float64]) -> None:
        """Note that a line search has ended, with the picture evaluated last."""
        self._smoother.accept()

    def _seen(self, picture: NDArray[np.float32], gradient: NDArray[np.float32], loss: float) -> float:
        return self._smoother.smooth(picture, gradient, loss)


def preload() -> None:
    """Import SciPy in the background; this takes as long as an evaluation.

    Under a limit of the address space, SciPy is imported and tried out at once, before graphs take the space: with too
    little of it, its BLAS would never return.

    Raises
    ------
    MemoryError
        When a limit leaves too little memory.
    """

    def work() -> None:
        with contextlib.suppress(Exception):  # `run` raises it again
            import scipy.optimize
            import threadpoolctl  # noqa: F401

            if limits():
                scipy.optimize.fmin_l_bfgs_b(lambda x: (float((x * x).sum()), 2 * x), np.ones(1))

    check_room(_SCIPY, "SciPy")
    thread = threading.Thread(target=work, name="preload")
    thread.start()
    if limits():
        thread.join()


OPTIMIZER = Optimizer(run, preload=preload)
