"""The loop finds minima, counts every evaluation, keeps the best point, and names the reason it ended for."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b, rosen, rosen_der
from threadpoolctl import threadpool_info, threadpool_limits

from impasto import figures
from impasto.runtime.errors import TransferError
from impasto.runtime.optimize.minimize import PATIENCE, Adam, Evaluation, Function, Minimum, StopOptimization, minimize

Array = NDArray[np.float32]


def quadratic(shape: tuple[int, ...] = (1, 3, 4, 5)) -> tuple[Function, Array]:
    """Return an uneven bowl and where its bottom is."""
    rng = np.random.default_rng(0)
    bottom = rng.uniform(-3, 3, shape).astype(np.float32)
    steepness = rng.uniform(0.5, 5, shape)

    def function(x: Array) -> tuple[float, Array]:
        away = x.astype(np.float64) - bottom
        return 1 + float((steepness * away**2).sum()), (2 * steepness * away).astype(np.float32)

    return function, bottom


def rosenbrock(x: Array) -> tuple[float, Array]:
    return float(rosen(x.astype(np.float64))), rosen_der(x.astype(np.float64)).astype(np.float32)


def noisy(x: Array) -> tuple[float, Array]:
    """Return a loss of 1e6 that float32 holds to 0.06, as a graph's: down there its differences mean nothing."""
    wave = np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    loss = np.float32(1e6) + np.float32((wave * wave * x * x).sum())
    return float(loss), 2 * wave * wave * x


class Recorder:
    """A function that remembers how often it was called, and a callback that remembers what it was told."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.calls: list[Array] = []
        self.seen: list[Evaluation] = []

    def __call__(self, x: Array) -> tuple[float, Array]:
        self.calls.append(x.copy())
        return self.function(x)

    def see(self, evaluation: Evaluation) -> None:
        self.seen.append(evaluation)

    def minimize(self, start: Array, evaluations: int, **options: Any) -> Minimum:
        found = minimize(self, start, evaluations=evaluations, callback=self.see, **options)
        assert len(self.calls) == len(self.seen) == found.evaluations <= evaluations
        assert [e.number for e in self.seen] == list(range(1, found.evaluations + 1))
        losses = [e.loss for e in self.seen if e.improved]
        assert losses == sorted(set(losses), reverse=True)
        assert found.loss == losses[-1] == self.function(found.point)[0]
        return found


# --- SciPy ----------------------------------------------------------------------------------------------------


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


# --- finding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_step", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("restart_every", [None, 20])
def test_the_bottom_of_a_bowl_is_found(first_step: float, restart_every: int | None) -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 50)
    found = Recorder(function).minimize(start, 200, first_step=first_step, restart_every=restart_every)
    np.testing.assert_allclose(found.point, bottom, atol=1e-3)
    assert found.point.dtype == np.float32
    assert found.point.shape == bottom.shape


def test_the_end_of_rosenbrocks_valley_is_found() -> None:
    found = Recorder(rosenbrock).minimize(np.array([-1.2, 1.0, -0.5, 0.8], np.float32), 300)
    np.testing.assert_allclose(found.point, 1, atol=2e-2)


def test_the_first_step_is_as_long_as_asked() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 1e3)
    for length in (2.0, 64.0):
        recorder = Recorder(function)
        recorder.minimize(start, 2, first_step=length)
        step = np.linalg.norm((recorder.calls[1] - recorder.calls[0]).astype(np.float64))
        assert step == pytest.approx(length, rel=1e-3)


# --- counting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 2, 3, 7, 19, 20, 21, 40, 41])
@pytest.mark.parametrize("restart_every", [None, 1, 20])
def test_exactly_the_allowed_evaluations_are_made(allowed: int, restart_every: int | None) -> None:
    start = np.array([-1.2, 1.0, -0.5, 0.8, 0.3, -2.0], np.float32)
    found = Recorder(rosenbrock).minimize(start, allowed, restart_every=restart_every)
    assert found.evaluations == allowed
    assert found.reason == figures.all_made(allowed)


def test_a_single_evaluation_returns_the_start() -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 7)
    found = Recorder(function).minimize(start, 1, first_step=100)
    np.testing.assert_array_equal(found.point, start)


# --- scale ----------------------------------------------------------------------------------------------------


def scaled(function: Function, factor: float) -> Function:
    def times(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return loss * factor, (gradient.astype(np.float64) * factor).astype(np.float32)

    return times


@pytest.mark.parametrize("factor", [1e12, 1e-12])
@pytest.mark.parametrize("evaluations", [10, 200])
def test_the_scale_of_the_loss_does_not_matter(factor: float, evaluations: int) -> None:
    function, bottom = quadratic()
    start = np.full_like(bottom, 50)
    plain = Recorder(function).minimize(start, evaluations, first_step=30)
    found = Recorder(scaled(function, factor)).minimize(start, evaluations, first_step=30)
    np.testing.assert_allclose(found.point, plain.point, rtol=1e-3, atol=1e-3)
    assert found.loss == pytest.approx(plain.loss * factor, rel=1e-3)


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
    found = Recorder(lowered).minimize(start, 100)
    np.testing.assert_allclose(found.point, bottom, atol=1e-2)


# --- ending ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart_every", [None, 20])
def test_noise_in_the_loss_ends_the_search_with_a_named_reason_only(restart_every: int | None) -> None:
    found = Recorder(noisy).minimize(np.full((1, 3, 8, 8), 9, np.float32), 150, restart_every=restart_every)
    if found.evaluations < 150:
        assert found.reason.startswith("converged: float32 shows no lower loss")
    assert found.loss < 1e6 + 1  # what is left are a few of the smallest differences that float32 tells apart


@pytest.mark.parametrize("size", [1e3, 1e8, 1e12])
def test_a_slow_descent_is_not_taken_for_the_end(size: float) -> None:
    """SciPy's own tests would see losses that agree in so many digits and stop."""

    def slope(x: Array) -> tuple[float, Array]:
        loss = size * (1 + 1e-9 * float(np.sqrt(1 + (x.astype(np.float64) ** 2).sum())))
        return loss, (size * 1e-9 * x / np.sqrt(1 + (x**2).sum())).astype(np.float32)

    found = Recorder(slope).minimize(np.full(10, 1e3, np.float32), 12)
    assert found.evaluations == 12 or found.reason.startswith("converged: ")
    assert np.abs(found.point).max() < 1e3


def test_a_start_without_a_slope_is_the_result() -> None:
    function, bottom = quadratic()
    found = Recorder(function).minimize(bottom, 50)
    assert (found.evaluations, found.reason) == (1, "converged: the gradient is zero")
    np.testing.assert_array_equal(found.point, bottom)


def broken_after(good: int, how: str) -> Function:
    function, _ = quadratic()
    calls = 0

    def breaks(x: Array) -> tuple[float, Array]:
        nonlocal calls
        calls += 1
        loss, gradient = function(x)
        if calls <= good:
            return loss, gradient
        if how == "gradient":
            return loss / 2, np.where(gradient == gradient.max(), np.float32(np.nan), gradient)
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[how], gradient

    return breaks


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
def test_a_loss_that_breaks_midway_keeps_the_best_point(how: str) -> None:
    seen: list[Evaluation] = []
    found = minimize(broken_after(5, how), np.full((1, 3, 4, 5), 50, np.float32), evaluations=50, callback=seen.append)
    assert found.evaluations == len(seen) == 6
    assert found.reason == "loss or gradient was not finite at evaluation 6"
    assert not seen[-1].improved
    best = min(seen[:5], key=lambda e: e.loss)
    assert found.loss == best.loss
    assert quadratic()[0](found.point)[0] == best.loss


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
def test_a_start_without_a_finite_loss_is_an_error(how: str) -> None:
    with pytest.raises(TransferError, match=r"the start has no finite loss \(.* at evaluation 1\)"):
        minimize(broken_after(0, how), np.zeros((1, 3, 4, 5), np.float32), evaluations=50)


def failing_after(good: int) -> Function:
    function, _ = quadratic()
    calls = itertools.count(1)

    def fails(x: Array) -> tuple[float, Array]:
        if next(calls) > good:
            raise TransferError("out of memory")
        return function(x)

    return fails


@pytest.mark.parametrize("restart_every", [None, 3])
def test_a_failure_midway_keeps_the_best_point_and_is_the_reason(restart_every: int | None) -> None:
    seen: list[Evaluation] = []
    start = np.full((1, 3, 4, 5), 50, np.float32)
    found = minimize(failing_after(5), start, evaluations=50, restart_every=restart_every, callback=seen.append)
    assert found.evaluations == len(seen) == 5
    assert found.reason == "evaluation 6 failed: out of memory"
    assert found.loss == min(e.loss for e in seen)
    assert quadratic()[0](found.point)[0] == found.loss


def test_a_failure_at_the_start_is_handed_on() -> None:
    with pytest.raises(TransferError, match=r"^out of memory$"):
        minimize(failing_after(0), np.zeros((1, 3, 4, 5), np.float32), evaluations=50)


@pytest.mark.parametrize("restart_every", [None, 20])
def test_the_callback_ends_the_search(restart_every: int | None) -> None:
    seen: list[Evaluation] = []

    def stop_after_four(evaluation: Evaluation) -> None:
        seen.append(evaluation)
        if len(seen) == 4:
            raise StopOptimization("enough")

    start = np.array([-1.2, 1.0], np.float32)
    found = minimize(rosenbrock, start, evaluations=50, restart_every=restart_every, callback=stop_after_four)
    assert (found.evaluations, found.reason) == (4, "enough")
    assert found.loss == min(e.loss for e in seen)


def test_a_stop_without_a_word_is_explained() -> None:
    def stop(_: Evaluation) -> None:
        raise StopOptimization

    found = minimize(rosenbrock, np.zeros(2, np.float32), evaluations=9, callback=stop)
    assert (found.evaluations, found.reason) == (1, "stopped by the callback")


def test_other_errors_of_function_and_callback_are_handed_on() -> None:
    def fail(_: object) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minimize(rosenbrock, np.zeros(2, np.float32), evaluations=9, callback=fail)
    with pytest.raises(KeyError, match="mine"):
        minimize(fail, np.zeros(2, np.float32), evaluations=9)


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


def bumpy(x: Array) -> tuple[float, Array]:
    """Return a loss with many hills, large enough that it is rescaled."""
    y = x.astype(np.float64)
    return float(1e7 * (y**2 + 3 * np.sin(3 * y)).sum()), (1e7 * (2 * y + 9 * np.cos(3 * y))).astype(np.float32)


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


# --- Adam, bounds, and ending for want of improvement -----------------------------------------------------------


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
    found = Recorder(function).minimize(start, 400, optimizer="adam", first_step=0.2 * start.size**0.5)
    np.testing.assert_allclose(found.point, bottom, atol=0.05)
    assert found.evaluations == 400
    assert found.reason == "all 400 evaluations were made"
    assert not found.stopped


@pytest.mark.parametrize("at", [1, 7, 29])
@pytest.mark.parametrize("bounds", [None, (-1.0, 4.0)])
def test_adam_goes_on_bit_for_bit_from_where_it_stood(at: int, bounds: tuple[float, float] | None) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "first_step": 3.0, "bounds": bounds, "steps": 30}
    start = np.array([-1.2, 1.0, -0.5, 0.8, 3.9], np.float32)
    straight = Recorder(rosenbrock)
    expected = straight.minimize(start, 30, **options)
    first = Recorder(rosenbrock)
    half = first.minimize(start, at, **options)
    second = Recorder(rosenbrock)
    adam = first.seen[-1].adam
    assert adam is not None
    assert adam.steps == at
    found = minimize(second, half.point, evaluations=30 - at, adam=adam, best=half.loss, callback=second.see, **options)
    np.testing.assert_array_equal([*first.calls, *second.calls], straight.calls)
    assert found.loss == expected.loss
    np.testing.assert_array_equal(found.point, expected.point)
    again = Recorder(rosenbrock)  # what was handed in has not been changed
    minimize(again, half.point, evaluations=30 - at, adam=adam, best=half.loss, callback=again.see, **options)
    np.testing.assert_array_equal(again.calls, second.calls)


def test_lbfgs_says_nothing_of_adam() -> None:
    recorder = Recorder(rosenbrock)
    recorder.minimize(np.zeros(3, np.float32), 5)
    assert {evaluation.adam for evaluation in recorder.seen} == {None}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_no_point_beyond_the_bounds_is_ever_looked_at(optimizer: str) -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    start = np.full_like(bottom, 1)
    found = recorder.minimize(start, 150, optimizer=optimizer, first_step=3, bounds=(0.0, 2.0))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)
    np.testing.assert_allclose(found.point, bottom.clip(0, 2), atol=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("evaluations", [1, 20])
def test_a_start_beyond_the_bounds_is_brought_inside_before_it_is_looked_at(optimizer: str, evaluations: int) -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    start = np.linspace(-100, 100, bottom.size, dtype=np.float32).reshape(bottom.shape)
    found = recorder.minimize(start, evaluations, optimizer=optimizer, bounds=(0.0, 2.0))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)
    np.testing.assert_array_equal(recorder.calls[0].ravel(), start.clip(0, 2).ravel())
    assert 0 <= found.point.min() <= found.point.max() <= 2


def test_adam_that_goes_on_from_beyond_the_bounds_is_brought_inside() -> None:
    recorder = Recorder(rosenbrock)
    start = np.array([1.0, 1.0], np.float32)
    adam = Adam(3, np.array([-5.0, 9.0], np.float32), np.zeros_like(start), np.ones_like(start))
    recorder.minimize(start, 2, optimizer="adam", adam=adam, bounds=(0.0, 2.0))
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


def test_bounds_with_restarts_hold_too() -> None:
    function, bottom = quadratic()
    recorder = Recorder(function)
    recorder.minimize(np.full_like(bottom, 1), 60, restart_every=20, bounds=(0.0, 2.0))
    assert all(call.min() >= 0 and call.max() <= 2 for call in recorder.calls)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_search_that_no_longer_improves_ends_by_itself(optimizer: str) -> None:
    function, bottom = quadratic()
    seen: list[Evaluation] = []
    found = minimize(
        function, np.full_like(bottom, 50), evaluations=5000, optimizer=optimizer, first_step=10,
        min_improvement=1e-3, callback=seen.append,
    )  # fmt: skip
    assert PATIENCE < found.evaluations < 5000
    assert found.reason == "10 evaluations lowered the loss by less than 0.001 of it"
    assert not found.stopped
    best = list(itertools.accumulate((e.loss for e in seen), min))
    gains = [(best[k - PATIENCE] - best[k]) / best[k - PATIENCE] for k in range(PATIENCE, len(best))]
    assert gains[-1] < 1e-3 <= min(gains[:-1])


def test_a_min_improvement_of_zero_ends_only_where_nothing_improves() -> None:
    found = Recorder(rosenbrock).minimize(np.array([-1.2, 1.0], np.float32), 12, min_improvement=0.0)
    assert found.evaluations == 12


def test_the_reason_from_outside_is_told_from_one_of_its_own() -> None:
    def stop(_: Evaluation) -> None:
        raise StopOptimization

    start = np.array([-1.2, 1.0], np.float32)
    assert minimize(rosenbrock, start, evaluations=9, callback=stop).stopped
    assert minimize(failing_after(3), np.full((1, 3, 4, 5), 9, np.float32), evaluations=9).stopped
    assert not minimize(rosenbrock, start, evaluations=9).stopped
