"""The host's part of the history of L-BFGS: the inner products of the last steps.

The direction comes from the compact representation (Byrd, Nocedal and Schnabel, "Representations of quasi-Newton
matrices and their use in limited memory methods", 1994, equation 3.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The number of pairs that L-BFGS remembers, here and in SciPy: SciPy's own 10. For more elements than those of a
#: picture of 400 x 400 it is five. The loss then falls a few percent less in as many evaluations, but work and memory
#: are half.
HISTORY, LARGE_HISTORY = 10, 5
LARGE = 3 * 400 * 400


def remembered(size: int) -> int:
    """Return how many pairs to remember of a point with so many elements."""
    return HISTORY if size <= LARGE else LARGE_HISTORY


class History:
    """The inner products, in float64, of the steps s and the differences y of gradients.

    Attributes
    ----------
    size
        The largest number of pairs.
    pairs
        The present number of pairs: the last ones on the device, where a new one replaces the oldest.
    """

    def __init__(self, size: int) -> None:
        self.size, self.pairs = size, 0
        self._sy, self._yy = np.zeros((size, size)), np.zeros((size, size))
        self._sg, self._yg = np.zeros(size), np.zeros(size)

    def clear(self) -> None:
        """Forget everything."""
        self.pairs = 0

    def record(self, products: NDArray[np.float64]) -> None:
        """Add a pair; `products` [2m, 2] are those of all s, then all y, with the gradient and with the newest y."""
        self.pairs = min(self.pairs + 1, self.size)
        (self._sg, sy), (self._yg, yy) = products[: self.size].T, products[self.size :].T
        for known in (self._sy, self._yy):
            known[:-1, :-1] = known[1:, 1:].copy()
        self._sy[:, -1] = sy
        self._yy[:, -1] = self._yy[-1, :] = yy

    def coefficients(self) -> tuple[float, NDArray[np.float64]]:
        """Return the coefficients of the gradient, and of each s and each y, in the direction -H g.

        H = c 1 + [S cY] [[R^-T (D + c Y^T Y) R^-1, -R^-T], [-R^-1, 0]] [S cY]^T, where R is the upper triangle of
        S^T Y, D its diagonal, and c = s^T y / y^T y of the newest pair.
        """
        coefficients = np.zeros(2 * self.size)
        if not self.pairs:
            return -1.0, coefficients
        at = np.arange(self.size - self.pairs, self.size)
        r, yy = np.triu(self._sy[np.ix_(at, at)]), self._yy[np.ix_(at, at)]
        c = r[-1, -1] / yy[-1, -1]
        t = np.linalg.solve(r, self._sg[at])
        coefficients[at] = -np.linalg.solve(r.T, np.diag(r) * t + c * (yy @ t - self._yg[at]))
        coefficients[self.size + at] = c * t
        return -c, coefficients
