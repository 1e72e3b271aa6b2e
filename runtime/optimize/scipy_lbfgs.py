"""SciPy's L-BFGS-B, made safe for a float32 function.

SciPy's own stopping tests compare the loss with float64's precision or with numbers of order one; a float32 loss, or
one of 1e12, meets them by accident. Here the loss is rescaled to order one (by a power of two, so that no digit
changes), the tests are switched off, and the search ends for reasons that have a name.
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

#: Bytes of addresses that SciPy's L-BFGS-B takes, its libraries and the memory of its BLAS, and a little more.
_SCIPY = 200_000_000


def run(search: Search, options: Options) -> End:
    """Run L-BFGS-B, again from where it ended whenever that may help; return why nothing more can be done.

    SciPy's BLAS has threads of its own, which spin for a while in wait of more work, on the processors that the next
    evaluation is to have: with one of them evaluations at 300x300 take a tenth less time, and SciPy no more.
    """
    from scipy.optimize import fmin_l_bfgs_b  # here, because it takes a while to import; see `preload`
    from threadpoolctl import threadpool_limits

    unlimited, restart_every = 2 * search.allowed + 1, options.restart_every
    variable = Scaled(power_of_two(options.first_step), options.variable)  # SciPy's own first step is 1
    x = variable.inverse(options.start)
    # Parity is with an objective as it is: SciPy has a longest first step of 1e10.
    function = _Rescaled(search, variable, x.shape, rescale=restart_every is None)
    # SciPy takes an array of pairs, too; a list of a million tuples takes it seconds to read.
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
        if not search.best_loss < before:  # not even a fresh start, down the gradient itself, led to a lower loss
            return STUCK


class _Rescaled:
    """The search as SciPy calls it: flat, and with a loss of order one."""

    def __init__(self, search: Search, variable: Scaled, shape: tuple[int, ...], *, rescale: bool) -> None:
        self._search, self._variable, self._shape = search, variable, shape
        self._scale = 0.0 if rescale else 1.0

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, gradient = self._search.look(self._variable.picture(x.reshape(self._shape)))
        if not self._scale:
            self._scale = power_of_two(1 / abs(loss)) if loss else 1.0
        return loss * self._scale, self._variable.adjoint(gradient, self._scale).ravel()


def preload() -> None:
    """Import SciPy in the background; that takes as long as an evaluation.

    Under a limit of addresses it is imported and tried out at once, where there is room for it: graphs could leave too
    few, and then its BLAS tries for ever.

    Raises
    ------
    MemoryError
        When a limit leaves too little room.
    """

    def work() -> None:
        with contextlib.suppress(Exception):  # `run` meets it, too, and says so
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
