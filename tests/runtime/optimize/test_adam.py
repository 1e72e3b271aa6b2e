"""Adam is the textbook's, within bounds and at any scale, and goes on from where it stood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.runtime.optimize.adam import Adam
from impasto.runtime.optimize.minimize import minimize
from impasto.runtime.optimize.search import Function
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import Array, Recorder, quadratic, rosenbrock, scaled


def textbook_adam(function: Function, start: Array, rate: float, steps: int) -> list[NDArray[np.float64]]:
    """Return where Adam looks, after Kingma and Ba's algorithm 1, in float64, its steps falling to a tenth."""
    x, m, v, looks = start.astype(np.float64), 0.0, 0.0, []
    for t in range(1, steps + 1):
        looks.append(x)
        g = function(x.astype(np.float32))[1].astype(np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        alpha = rate * (1 - 0.9 * (t - 1) / steps)
        x = x - alpha * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.999**t))
    return looks


def test_adam_follows_the_textbook() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 20)
    recorder = Recorder(function)
    recorder.minimize(start, 60, optimizer="adam", first_step=0.5 * start.size**0.5)
    np.testing.assert_allclose(recorder.calls, textbook_adam(function, start, 0.5, 60), rtol=1e-4, atol=1e-3)


def test_adam_finds_the_bottom_of_a_bowl_and_counts_every_evaluation() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 5)
    minimum = Recorder(function).minimize(start, 400, optimizer="adam", first_step=0.2 * start.size**0.5)
    np.testing.assert_allclose(minimum.point, bottom, atol=0.05)
    assert minimum.evaluations == 400
    assert minimum.reason == "all 400 evaluations were made"
    assert not minimum.stopped


@pytest.mark.parametrize("at", [1, 7, 29])
@pytest.mark.parametrize("bounds", [None, (-1.0, 4.0)])
def test_adam_goes_on_bit_for_bit_from_where_it_stood(at: int, bounds: tuple[float, float] | None) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "first_step": 3.0, "variable": Within(bounds), "steps": 30}
    start = np.array([-1.2, 1.0, -0.5, 0.8, 3.9], np.float32)
    straight = Recorder(rosenbrock)
    expected = straight.minimize(start, 30, **options)
    first = Recorder(rosenbrock)
    half = first.minimize(start, at, **options)
    second = Recorder(rosenbrock)
    adam = first.seen[-1].adam
    assert adam is not None
    assert adam.steps == at
    minimum = minimize(
        second, half.point, evaluations=30 - at, adam=adam, best=half.loss, callback=second.see, **options
    )
    np.testing.assert_array_equal([*first.calls, *second.calls], straight.calls)
    assert minimum.loss == expected.loss
    np.testing.assert_array_equal(minimum.point, expected.point)
    again = Recorder(rosenbrock)  # what was handed in has not been changed
    minimize(again, half.point, evaluations=30 - at, adam=adam, best=half.loss, callback=again.see, **options)
    np.testing.assert_array_equal(again.calls, second.calls)


def test_adam_that_goes_on_from_beyond_the_bounds_is_brought_inside() -> None:
    recorder = Recorder(rosenbrock)
    start = np.array([1.0, 1.0], np.float32)
    adam = Adam(3, np.array([-5.0, 9.0], np.float32), np.zeros_like(start), np.ones_like(start))
    recorder.minimize(start, 2, optimizer="adam", adam=adam, variable=Within((0.0, 2.0)))
    np.testing.assert_array_equal(recorder.calls[0], [0, 2])


@pytest.mark.parametrize("exponent", [-110, -60, 60, 90])
def test_adam_takes_the_same_steps_whatever_the_scale_of_the_loss(exponent: int) -> None:
    """The squares of such gradients are beyond float32, or nothing in it."""
    start = np.array([-1.2, 1.0, -0.5, 0.8, 3.9], np.float32)
    plain, moved = Recorder(rosenbrock), Recorder(scaled(rosenbrock, 2.0**exponent))
    for recorder in (plain, moved):
        recorder.minimize(start, 30, optimizer="adam", first_step=1.0)
    np.testing.assert_array_equal(plain.calls, moved.calls)
    assert not np.array_equal(plain.calls[0], plain.calls[-1])
