"""SciPy's L-BFGS-B finds minima of float32 functions of any scale, and ends for a reason that has a name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from threadpoolctl import threadpool_info, threadpool_limits

from impasto.runtime.optimize.ending import FLAT, STUCK, Ending
from impasto.runtime.optimize.minimize import minimize
from impasto.runtime.optimize.search import Function
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import Array, Recorder, bumpy, noisy, quadratic, rosenbrock, scaled


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_while_it_searches_and_as_many_as_before_afterwards() -> None:
    with threadpool_limits(2, "blas"):
        before, during = blas_threads(), list[int]()
        minimize(rosenbrock, np.zeros(8, np.float32), evaluations=3, callback=lambda e: during.extend(blas_threads()))
        assert before and set(before) == {2}
        assert during and set(during) == {1}
        assert blas_threads() == before


@pytest.mark.parametrize(("optimizer", "loaded"), [("lbfgs", True), ("adam", False)])
def test_scipy_is_imported_meanwhile_where_it_is_needed(optimizer: str, loaded: bool) -> None:
    script = (
        "import sys, threading\nfrom impasto.runtime.optimize.minimize import preload\n"
        f"assert 'scipy' not in sys.modules\npreload({optimizer!r})\n"
        "[thread.join() for thread in threading.enumerate() if thread.name == 'preload']\n"
        "print('scipy.optimize' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{loaded}\n"


# --- minima ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_step", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("restart_every", [None, 20])
def test_the_bottom_of_a_bowl_is_found(first_step: float, restart_every: int | None) -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 50)
    minimum = Recorder(function).minimize(start, 200, first_step=first_step, restart_every=restart_every)
    np.testing.assert_allclose(minimum.point, bottom, atol=1e-3)
    assert minimum.point.dtype == np.float32
    assert minimum.point.shape == bottom.shape


def test_the_end_of_rosenbrocks_valley_is_found() -> None:
    minimum = Recorder(rosenbrock).minimize(np.array([-1.2, 1.0, -0.5, 0.8], np.float32), 300)
    np.testing.assert_allclose(minimum.point, 1, atol=2e-2)


def test_the_first_step_is_as_long_as_asked() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 1e3)
    for length in (2.0, 64.0):
        recorder = Recorder(function)
        recorder.minimize(start, 2, first_step=length)
        step = np.linalg.norm((recorder.calls[1] - recorder.calls[0]).astype(np.float64))
        assert step == pytest.approx(length, rel=1e-3)


def test_bounds_with_restarts_hold_too() -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    recorder.minimize(np.full_like(bottom, 1), 60, restart_every=20, variable=Within((0.0, 2.0)))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)


def test_lbfgs_says_nothing_of_adam() -> None:
    recorder = Recorder(rosenbrock)
    recorder.minimize(np.zeros(3, np.float32), 5)
    assert {evaluation.adam for evaluation in recorder.seen} == {None}


# --- scale ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e12, 1e-12])
@pytest.mark.parametrize("evaluations", [10, 200])
def test_the_scale_of_the_loss_does_not_matter(factor: float, evaluations: int) -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 50)
    plain = Recorder(function).minimize(start, evaluations, first_step=30)
    minimum = Recorder(scaled(function, factor)).minimize(start, evaluations, first_step=30)
    np.testing.assert_allclose(minimum.point, plain.point, rtol=1e-3, atol=1e-3)
    assert minimum.loss == pytest.approx(plain.loss * factor, rel=1e-3)


@pytest.mark.parametrize("exponent", [-40, -3, 40])
def test_a_loss_scaled_by_a_power_of_two_takes_the_same_steps(exponent: int) -> None:
    start = np.array([-1.2, 1.0, -0.5, 0.8], np.float32)
    plain, other = Recorder(rosenbrock), Recorder(scaled(rosenbrock, 2.0**exponent))
    plain.minimize(start, 60, first_step=0.5)
    other.minimize(start, 60, first_step=0.5)
    np.testing.assert_array_equal(plain.calls, other.calls)


@pytest.mark.parametrize("loss", [0.0, -5.0])
def test_losses_that_are_not_positive_are_minimised_too(loss: float) -> None:
    function, bottom = quadratic()

    def lowered(x: Array) -> tuple[float, Array]:
        value, gradient = function(x)
        return value - at_start + loss, gradient

    start = np.full_like(bottom, 5)
    at_start = function(start)[0]
    minimum = Recorder(lowered).minimize(start, 100)
    np.testing.assert_allclose(minimum.point, bottom, atol=1e-2)


# --- ending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart_every", [None, 20])
def test_noise_in_the_loss_ends_the_search_with_a_named_reason_only(restart_every: int | None) -> None:
    minimum = Recorder(noisy).minimize(np.full((1, 3, 8, 8), 9, np.float32), 150, restart_every=restart_every)
    if minimum.evaluations < 150:
        assert minimum.end == STUCK
    assert minimum.loss < 1e6 + 1  # what is left are a few of the smallest differences that float32 tells apart


@pytest.mark.parametrize("size", [1e3, 1e8, 1e12])
def test_a_slow_descent_is_not_taken_for_the_end(size: float) -> None:
    """SciPy's own tests would see losses that agree in so many digits and stop."""

    def slope(x: Array) -> tuple[float, Array]:
        loss = size * (1 + 1e-9 * float(np.sqrt(1 + (x.astype(np.float64) ** 2).sum())))
        return loss, (size * 1e-9 * x / np.sqrt(1 + (x**2).sum())).astype(np.float32)

    minimum = Recorder(slope).minimize(np.full(10, 1e3, np.float32), 12)
    assert minimum.evaluations == 12 or minimum.end.kind is Ending.CONVERGED
    assert np.abs(minimum.point).max() < 1e3


def test_a_start_without_a_slope_is_the_result() -> None:
    function, bottom = quadratic()
    minimum = Recorder(function).minimize(bottom, 50)
    assert (minimum.evaluations, minimum.end) == (1, FLAT)
    np.testing.assert_array_equal(minimum.point, bottom)


# --- parity ---------------------------------------------------------------------------------------------------


def plain_loop(function: Function, start: Array, restarts: int) -> NDArray[np.float64]:
    """Optimise as the reference algorithm does: twenty evaluations, or a few more, again and again."""

    def flat(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, gradient = function(x.reshape(start.shape).astype(np.float32))
        return loss, gradient.ravel().astype(np.float64)

    x = start.ravel().astype(np.float64)
    for _ in range(restarts):
        x, _, _ = fmin_l_bfgs_b(flat, x, maxfun=20, factr=0, pgtol=0)
    return x


@pytest.mark.parametrize(
    ("function", "start"),
    [
        (rosenbrock, np.array([-1.2, 1.0, -0.5, 0.8, 0.3, -2.0], np.float32)),
        (bumpy, np.random.default_rng(0).uniform(-9, 9, (1, 3, 6, 5)).astype(np.float32)),
        (scaled(quadratic()[0], 1e9), np.full((1, 3, 4, 5), 50, np.float32)),
    ],
)
def test_restarts_follow_the_reference_loop_bit_for_bit(function: Callable[..., Any], start: Array) -> None:
    reference = Recorder(function)
    plain_loop(reference, start, restarts=3)
    mine = Recorder(function)
    mine.minimize(start, len(reference.calls), restart_every=20)
    assert len(reference.calls) > 45
    np.testing.assert_array_equal(mine.calls, reference.calls)
