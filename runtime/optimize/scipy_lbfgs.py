"""SciPy's L-BFGS-B, made safe for a float32 function.

SciPy's own stopping tests compare the loss with float64's precision or with numbers of order one. A float32 loss, or a
loss of 1e12, passes them by accident. Here the loss is rescaled to order one (by a power of two, so that no digit
changes), the tests are switched off, and the search ends for one of the reasons in `impasto.runtime.optimize.ending`.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.optimize.ending import FLAT, STUCK, End
from impasto.runtime.optimize.history import HISTORY, remembered
from impasto.runtime.optimize.search import Optimizer, Options, Search
from impasto.runtime.optimize.variable import Scaled, power_of_two
from impasto.shortage import check_room, limits

#: The address space that SciPy's L-BFGS-B takes for its libraries and the memory of its BLAS, and a little more.
_SCIPY = 200_000_000


def run(search: Search, options: Options) -> End:
    """Run L-BFGS-B, and run it again from its last point while this lowers the loss; return the end.

    The threads of SciPy's BLAS spin for a while after their work, on the processors that the next evaluation needs.
    With one thread, evaluations at 300x300 take a tenth less time, and SciPy takes no more.
    """
    from scipy.optimize import fmin_l_bfgs_b  # here, because it takes a while to import; see `preload`
    from threadpoolctl import threadpool_limits

    unlimited, restart_every = 2 * search.allowed + 1, options.restart_every
    variable = Scaled(power_of_two(options.first_step), options.variable)  # SciPy's own first step is 1
    x = variable.inverse(options.start)
    # For parity the objective is not rescaled: SciPy has a longest first step of 1e10.
    function = _Rescaled(search, variable, x.shape, rescale=restart_every is None)
    # SciPy takes an array of pairs, too, and would need seconds to read a list of a million tuples.
    box: Any = variable.bounds and np.broadcast_to(np.array(variable.bounds), (x.size, 2))
    x = x.ravel()
    while True:
        before = search.best_loss
        with threadpool_limits(1, "blas"):
            x, _, info = fmin_l_bfgs_b(
                function,
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
            return FLAT
        if not search.best_loss < before:  # not even a fresh start, along the gradient itself, led to a lower loss
            return STUCK


class _Rescaled:
    """The search as SciPy calls it: flat, and with a loss of order one."""

    def __init__(self, search: Search, variable: Scaled, shape: tuple[int, ...], *, rescale: bool) -> None:
        self._search, self._variable, self._shape = search, variable, shape
        self._scale = 0.0 if rescale else 1.0

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, gradient = self._search.evaluate(self._variable.picture(x.reshape(self._shape)))
        if not self._scale:
            self._scale = power_of_two(1 / abs(loss)) if loss else 1.0
        return loss * self._scale, self._variable.adjoint(gradient, self._scale).ravel()


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
