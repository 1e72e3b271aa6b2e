"""Steps that are taken satisfy the Wolfe conditions, and searches end."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.optimize.line_search import FTOL, GTOL, MOST_TRIALS, LineSearch


def search(function: Callable[[float], tuple[float, float]], first: float) -> tuple[LineSearch, list[float]]:
    loss, slope = function(0.0)
    line, steps = LineSearch(loss, slope, first), []
    while not line.over:
        steps.append(line.step)
        line.tell(*function(line.step))
    return line, steps


@given(
    st.floats(1e-3, 1e3),
    st.floats(0.05, 20),
    st.floats(-0.9, 0.9),
    st.floats(0.2, 6),
)
def test_the_step_that_is_taken_satisfies_the_wolfe_conditions(
    first: float, bottom: float, wave: float, frequency: float
) -> None:
    def function(x: float) -> tuple[float, float]:
        away, k = x - bottom, frequency
        loss = away**2 / (1 + abs(away)) + wave / k * math.sin(k * x) * 0.1
        slope = (2 * away + abs(away) * away) / (1 + abs(away)) ** 2 + wave * math.cos(k * x) * 0.1
        return loss, slope

    loss, slope = function(0.0)
    if slope >= -1e-3:
        return
    line, steps = search(function, first)
    assert line.accepted
    assert len(steps) <= MOST_TRIALS
    end, there = function(steps[-1])
    if abs(there) > GTOL * -slope:  # then a bracket has become too narrow to search
        assert end <= loss
    else:
        assert end <= loss + FTOL * slope * steps[-1]


def test_a_direction_that_only_rises_is_given_up() -> None:
    line, steps = search(lambda x: (x, -1.0), 1.0)
    assert len(steps) <= MOST_TRIALS
    assert not line.accepted or steps[-1] < 1e-3
