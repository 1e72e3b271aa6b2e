"""L-BFGS in the metric of smooth changes: the same minima as SciPy's, in fewer evaluations where they lie far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from impasto.runtime import StopOptimization, TransferError
from impasto.runtime.optimize.ending import HELD, STUCK, Ending
from impasto.runtime.optimize.lbfgs_sobolev import inner
from impasto.runtime.optimize.minimize import Minimum, minimize
from impasto.runtime.optimize.search import Evaluation, Function
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import (
    Array,
    Doubled,
    bowl,
    broken_after,
    failing_after,
    noisy,
    quadratic,
    rosenbrock,
)

BOX = (-1.0, 1.5)
BOUNDS = pytest.mark.parametrize("bounds", [None, BOX])


def descend(function: Function, start: Array, evaluations: int, **options: Any) -> Minimum:
    return minimize(function, start, evaluations=evaluations, optimizer="lbfgs-sobolev", **options)


def picture_like(size: int = 48) -> tuple[Function, Array]:
    """Return a bowl as of pictures, whose slow changes meet the least curvature, and a start far from its bottom."""
    frequency = np.hypot(np.arange(size)[:, None], np.arange(size)) / size
    stiffness, rng = 0.02 + frequency, np.random.default_rng(0)
    waves = rng.normal(0, 20, (1, 1, size, size)) / (0.05 + frequency)

    def function(x: Array) -> tuple[float, Array]:
        away = dctn(x.astype(np.float64) - 128, axes=(2, 3), norm="ortho") - waves
        gradient = idctn(stiffness * away, axes=(2, 3), norm="ortho").astype(np.float32)
        return 1 + float((stiffness * away**2).sum()) / 2, gradient

    return function, np.full((1, 1, size, size), 128, np.float32)


# --- beside SciPy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [None, (0.0, 255.0)])
def test_where_slow_changes_meet_less_curvature_it_needs_fewer_evaluations_than_scipy(
    bounds: tuple[float, float] | None,
) -> None:
    function, start = picture_like()
    options: dict[str, Any] = {"variable": Within(bounds), "first_step": 4 * math.sqrt(start.size)}
    scipy = minimize(function, start, evaluations=18, **options)
    assert descend(function, start, 12, **options).loss < scipy.loss


@BOUNDS
def test_the_lowest_point_is_found(bounds: tuple[float, float] | None) -> None:
    """Of this function, within bounds, it is the bottom, each element brought within the bounds."""
    function, bottom = bowl()
    seen: list[Evaluation] = []
    minimum = descend(function, np.full_like(bottom, 4), 300, variable=Within(bounds), callback=seen.append)
    expected = bottom.clip(*bounds) if bounds else bottom
    assert minimum.loss == pytest.approx(function(expected)[0], rel=1e-5)
    np.testing.assert_allclose(minimum.point, expected, atol=5e-3)
    lowest, highest = bounds or (-math.inf, math.inf)
    assert all(lowest <= evaluation.point.min() <= evaluation.point.max() <= highest for evaluation in seen)


def test_a_curved_valley_without_height_and_width_is_followed_to_its_end() -> None:
    minimum = descend(rosenbrock, np.zeros(6, np.float32), 300)
    np.testing.assert_allclose(minimum.point, 1, atol=0.02)


@pytest.mark.parametrize("exponent", [-60, 40])
def test_the_scale_of_the_loss_does_not_matter(exponent: int) -> None:
    function, bottom = bowl()

    def scaled(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return loss * 2.0**exponent, gradient * np.float32(2.0**exponent)

    plain, other = (descend(f, np.full_like(bottom, 4), 30) for f in (function, scaled))
    np.testing.assert_array_equal(plain.point, other.point)


@pytest.mark.parametrize("first_step", [0.05, 1.0, 40.0])
def test_the_first_step_has_the_length_that_was_asked_for(first_step: float) -> None:
    function, bottom = bowl()
    seen: list[Evaluation] = []
    start = np.full_like(bottom, 4)
    descend(function, start, 2, first_step=first_step, callback=seen.append)
    assert np.linalg.norm(seen[1].point - start) == pytest.approx(first_step, rel=1e-3)


# --- ends -----------------------------------------------------------------------------------------------------


@BOUNDS
def test_at_the_minimum_it_says_so(bounds: tuple[float, float] | None) -> None:
    function, bottom = bowl()
    minimum = descend(function, np.full_like(bottom, 1), 2000, variable=Within(bounds))
    assert minimum.end.kind is Ending.CONVERGED
    assert minimum.evaluations < 500


def test_a_start_from_which_descent_leads_only_out_of_the_bounds_is_the_result() -> None:
    way = np.where(bowl()[1] > 0, np.float32(1), np.float32(-1))

    def slope(x: Array) -> tuple[float, Array]:
        return 10.0 - float((way * x).sum()), -way

    held = descend(slope, way.clip(*BOX), 50, variable=Within((-1.0, 1.0)))
    assert (held.evaluations, held.end) == (1, HELD)


def test_where_float32_shows_no_lower_loss_it_ends() -> None:
    minimum = descend(noisy, np.full((1, 3, 8, 8), 0.01, np.float32), 500)
    assert minimum.end is STUCK or minimum.end.kind is Ending.CONVERGED


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_ends_it_with_the_best_picture(how: str) -> None:
    start = np.full((1, 3, 4, 5), 9, np.float32)
    minimum = descend(broken_after(3, how), start, 50)
    assert (minimum.evaluations, minimum.end.kind) == (4, Ending.NOT_FINITE)
    assert minimum.loss < quadratic()[0](start)[0]


def test_a_failure_of_the_function_ends_it_with_the_best_picture_unless_it_is_the_first() -> None:
    start = np.full((1, 3, 4, 5), 9, np.float32)
    assert descend(failing_after(3), start, 50).end.kind is Ending.FAILED
    with pytest.raises(TransferError, match="out of memory"):
        descend(failing_after(0), start, 50)


def test_a_callback_can_stop_it() -> None:
    function, bottom = bowl()

    def stop(evaluation: Evaluation) -> None:
        if evaluation.number == 7:
            raise StopOptimization

    assert descend(function, np.full_like(bottom, 4), 50, callback=stop).evaluations == 7


def test_pictures_that_were_handed_out_are_not_changed() -> None:
    function, bottom = bowl()
    seen: list[tuple[Array, Array]] = []
    descend(
        function, np.full_like(bottom, 4), 30, variable=Within(BOX),
        callback=lambda evaluation: seen.append((evaluation.point, evaluation.point.copy())),
    )  # fmt: skip
    assert all((now == then).all() for now, then in seen)


def test_a_variable_that_is_not_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="lbfgs-sobolev: expected a variable that is the picture"):
        descend(quadratic()[0], np.zeros((1, 3, 4, 5), np.float32), 5, variable=Doubled())


def test_the_inner_product_of_a_large_picture_is_exact() -> None:
    a = np.full(3 * 1024 * 1024 + 5, 0.1, np.float32)
    assert inner(a, a) == pytest.approx(a.size * float(np.float32(0.1)) ** 2, rel=1e-5)
