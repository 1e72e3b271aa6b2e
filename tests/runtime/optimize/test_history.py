"""Of inner products alone comes the direction of L-BFGS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.runtime.optimize.history import History


def pairs(m: int, n: int, rng: np.random.Generator) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    curvature = np.diag(rng.uniform(0.5, 5, n))
    for _ in range(m):
        s = rng.normal(size=n)
        yield s, curvature @ s


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_the_direction_is_that_of_the_two_loop_recursion(count: int) -> None:
    m, n = 4, 12
    rng = np.random.default_rng(count)
    gradient = rng.normal(size=n)
    history, rows = History(m), np.zeros((2 * m, n))
    known = list(pairs(count, n, rng))
    for s, y in known:
        rows[:m], rows[m:] = [*rows[1:m], s], [*rows[m + 1 :], y]  # as the graph `remember` has it
        history.record(rows @ np.stack([gradient, y], axis=1))
    own, coefficients = history.coefficients()
    expected, used = gradient.copy(), []
    for s, y in reversed(known[-m:]):
        a = s @ expected / (s @ y)
        used.append(a)
        expected -= a * y
    if known:
        s, y = known[-1]
        expected *= s @ y / (y @ y)
    for (s, y), a in zip(known[-m:], reversed(used), strict=True):
        expected += (a - y @ expected / (s @ y)) * s
    np.testing.assert_allclose(own * gradient + coefficients @ rows, -expected, rtol=1e-9, atol=1e-12)
