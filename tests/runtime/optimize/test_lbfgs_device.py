"""L-BFGS on a device takes SciPy's steps, and ends for the same reasons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto import figures
from impasto.runtime import StopOptimization, TransferError, stylize
from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.objective import Objective
from impasto.runtime.engine.session import download
from impasto.runtime.optimize.ending import FLAT, HELD, STUCK, Ending
from impasto.runtime.optimize.minimize import Minimum, minimize
from impasto.runtime.optimize.search import Evaluation, Function
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import SHAPE, Array, Doubled, Lifted, bowl


def on_device(algebra: Algebra, function: Function, start: Array, evaluations: int, **options: Any) -> Minimum:
    resident = Lifted(function, algebra)
    return minimize(function, start, evaluations=evaluations, optimizer="lbfgs-device", resident=resident, **options)


# --- beside SciPy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_step", [0.05, 1.0, 40.0])
def test_it_follows_scipy_from_point_to_point(algebra: Algebra, first_step: float) -> None:
    function, bottom = bowl()
    start = np.full_like(bottom, 4)
    seen: dict[str, list[Evaluation]] = {"scipy": [], "device": []}
    minimize(function, start, evaluations=25, first_step=first_step, callback=seen["scipy"].append)
    on_device(algebra, function, start, 25, first_step=first_step, callback=seen["device"].append)
    for one, other in zip(seen["scipy"], seen["device"], strict=True):
        assert other.loss == pytest.approx(one.loss, rel=2e-3)
        np.testing.assert_allclose(other.point, one.point, atol=2e-3 * np.abs(one.point - start).max() + 1e-5)


def test_the_bottom_of_a_bowl_is_found(algebra: Algebra) -> None:
    function, bottom = bowl()
    minimum = on_device(algebra, function, np.full_like(bottom, 4), 200)
    np.testing.assert_allclose(minimum.point, bottom, atol=5e-3)
    assert minimum.end.kind in (Ending.CONVERGED, Ending.EVALUATIONS)


@pytest.mark.parametrize("exponent", [-60, 40])
def test_the_scale_of_the_loss_does_not_matter(algebra: Algebra, exponent: int) -> None:
    function, bottom = bowl()

    def scaled(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return loss * 2.0**exponent, gradient * np.float32(2.0**exponent)

    start = np.full_like(bottom, 4)
    plain, other = (on_device(algebra, f, start, 30) for f in (function, scaled))
    np.testing.assert_array_equal(plain.point, other.point)


# --- within bounds --------------------------------------------------------------------------------------------

BOX = (-1.0, 1.5)


@pytest.mark.parametrize("first_step", [0.05, 1.0, 40.0])
def test_the_lowest_point_within_bounds_is_found(algebra: Algebra, first_step: float) -> None:
    """Of this function it is the bottom, each element brought within the bounds; half of them end there."""
    function, bottom = bowl()
    seen: list[Evaluation] = []
    start = np.full_like(bottom, 4)
    minimum = on_device(
        algebra, function, start, 200, first_step=first_step, variable=Within(BOX), callback=seen.append
    )
    expected = bottom.clip(*BOX)
    assert 0.2 < np.mean(expected != bottom) < 0.8
    assert minimum.loss == pytest.approx(function(expected)[0], rel=1e-5)
    np.testing.assert_allclose(minimum.point, expected, atol=5e-3)
    for evaluation in seen:
        assert evaluation.point.min() >= BOX[0]
        assert evaluation.point.max() <= BOX[1]


def test_within_bounds_it_needs_hardly_more_evaluations_than_scipy(algebra: Algebra) -> None:
    function, bottom = bowl()
    start, seen = np.full_like(bottom, 1), {"scipy": list[Evaluation](), "device": list[Evaluation]()}
    minimize(function, start, evaluations=60, variable=Within(BOX), callback=seen["scipy"].append)
    on_device(algebra, function, start, 60, variable=Within(BOX), callback=seen["device"].append)
    least = function(bottom.clip(*BOX))[0]
    needed = {
        name: next(e.number for e in evaluations if e.loss < least * (1 + 1e-4)) for name, evaluations in seen.items()
    }
    assert needed["device"] <= 1.25 * needed["scipy"]


def test_a_start_from_which_descent_leads_only_out_of_the_bounds_is_the_result(algebra: Algebra) -> None:
    way = np.where(bowl()[1] > 0, np.float32(1), np.float32(-1))

    def slope(x: Array) -> tuple[float, Array]:
        return 10.0 - float((way * x).sum()), -way

    held = on_device(algebra, slope, way.clip(*BOX), 50, variable=Within((-1.0, 1.0)))
    assert (held.evaluations, held.end) == (1, HELD)
    moved = on_device(algebra, slope, -way, 50, variable=Within((-1.0, 1.0)))
    np.testing.assert_array_equal(moved.point, way)
    assert moved.end == HELD


@pytest.mark.parametrize("bounds", [None, BOX])
def test_at_the_minimum_it_says_so(algebra: Algebra, bounds: tuple[float, float] | None) -> None:
    function, bottom = bowl()
    minimum = on_device(algebra, function, np.full_like(bottom, 1), 1000, variable=Within(bounds))
    assert minimum.end.kind is Ending.CONVERGED
    assert minimum.evaluations < 300


def test_what_is_not_finite_at_a_bound_is_noticed(algebra: Algebra) -> None:
    function, bottom = bowl()

    def breaks(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        gradient[x <= BOX[0]] = np.inf
        return loss, gradient

    minimum = on_device(algebra, breaks, np.full_like(bottom, 1), 50, first_step=40.0, variable=Within(BOX))
    assert minimum.end.kind is Ending.NOT_FINITE


# --- counting and ending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 2, 3, 17])
def test_exactly_the_allowed_evaluations_are_made(algebra: Algebra, allowed: int) -> None:
    function, bottom = bowl()
    seen: list[Evaluation] = []
    minimum = on_device(algebra, function, np.full_like(bottom, 4), allowed, callback=seen.append)
    assert minimum.evaluations == len(seen) == allowed
    assert minimum.reason == figures.all_made(allowed)
    assert minimum.loss == min(e.loss for e in seen) == function(minimum.point)[0]
    assert len({e.point.tobytes() for e in seen}) == allowed  # what a callback keeps is not overwritten


def test_a_start_without_a_slope_is_the_result(algebra: Algebra) -> None:
    function, bottom = bowl()
    minimum = on_device(algebra, function, bottom, 50)
    assert (minimum.evaluations, minimum.end) == (1, FLAT)


def test_noise_in_the_loss_ends_the_search_with_a_named_reason_only(algebra: Algebra) -> None:
    wave = np.cos(np.arange(math.prod(SHAPE), dtype=np.float32)).reshape(SHAPE)

    def noisy(x: Array) -> tuple[float, Array]:
        return float(np.float32(1e6) + np.float32((wave * wave * x * x).sum())), 2 * wave * wave * x

    minimum = on_device(algebra, noisy, np.full(SHAPE, 9, np.float32), 150)
    assert minimum.evaluations == 150 or minimum.end == STUCK
    assert minimum.loss < 1e6 + 1


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_what_breaks_midway_keeps_the_best_point(algebra: Algebra, how: str) -> None:
    function, bottom = bowl()
    calls = iter(range(100))

    def breaks(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        if next(calls) < 5:
            return loss, gradient
        if how == "loss":
            return math.nan, gradient
        gradient[0, 0, 0, 0] = np.nan
        return loss / 2, gradient

    minimum = on_device(algebra, breaks, np.full_like(bottom, 4), 50)
    assert (minimum.evaluations, minimum.reason) == (6, "loss or gradient was not finite at evaluation 6")
    assert function(minimum.point)[0] == minimum.loss


def test_the_callback_ends_the_search(algebra: Algebra) -> None:
    function, bottom = bowl()

    def stop(evaluation: Evaluation) -> None:
        if evaluation.number == 4:
            raise StopOptimization("enough")

    minimum = on_device(algebra, function, np.full_like(bottom, 4), 50, callback=stop)
    assert (minimum.evaluations, minimum.reason, minimum.stopped) == (4, "enough", True)


def test_a_failure_between_evaluations_keeps_the_best_point(algebra: Algebra, monkeypatch: pytest.MonkeyPatch) -> None:
    function, bottom = bowl()
    calls = itertools.count(1)

    def fail(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise TransferError("lbfgs.remember.onnx: out of memory")
        return remember(*arguments)

    remember = algebra.remember
    monkeypatch.setattr(algebra, "remember", fail)
    minimum = on_device(algebra, function, np.full_like(bottom, 4), 50)
    assert (minimum.end.kind, minimum.stopped) == (Ending.FAILED, True)
    assert minimum.reason.startswith("the step after evaluation ")
    assert minimum.reason.endswith(" failed: lbfgs.remember.onnx: out of memory")
    assert function(minimum.point)[0] == minimum.loss < function(np.full_like(bottom, 4))[0]


def test_a_variable_that_is_not_the_picture_is_refused(algebra: Algebra) -> None:
    function, bottom = bowl()
    with pytest.raises(ValueError, match="a variable that is the picture"):
        on_device(algebra, function, bottom, 5, variable=Doubled())


# --- whole transfers ------------------------------------------------------------------------------------------


def test_a_transfer_on_the_device_takes_scipys_steps(model: Path, noise: Callable[..., Array]) -> None:
    """At first: rounding grows from step to step, as it does when SciPy's own start is changed in the last digit."""
    options: dict[str, Any] = {"model": model, "recipe": "gatys", "size": 64, "evaluations": 12, "device": "cpu"}
    one, other = (
        stylize(noise(64, 64, 1), [noise(48, 48, 2)], optimizer=optimizer, **options)
        for optimizer in ("lbfgs", "lbfgs-device")
    )
    for mine, scipys in zip(other.history[:4], one.history[:4], strict=True):
        assert mine.loss == pytest.approx(scipys.loss, rel=1e-3)
        assert mine.change == pytest.approx(scipys.change, rel=1e-2, abs=1e-6)
    assert other.loss <= 1.05 * one.loss
    assert other.evaluations == 12
    assert sum(other.terms.values()) == pytest.approx(other.loss, rel=1e-5)


def test_loss_gradient_and_terms_are_the_same_on_the_device(model: Path, noise: Callable[..., Array]) -> None:
    objective = Objective.open(model, "seed", content=noise(), styles=[noise(seed=1)], device="cpu")
    planes = np.ascontiguousarray(noise(seed=2).transpose(2, 0, 1)[None])
    loss, gradient = objective.evaluate(planes)
    terms = dict(objective.terms)
    resident = objective.evaluator.resident()
    into = resident.algebra.allocate(planes.shape)
    for _ in range(2):
        assert resident(resident.algebra.upload(planes), into) == loss
        np.testing.assert_array_equal(download(into), gradient)
        assert resident.terms == terms


@pytest.mark.slow
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("recipe", ["gatys", "impasto"])
def test_real_transfers_reach_scipys_loss_within_two_percent(recipe: str, clip: bool, real_model: Path) -> None:
    """In the mean of a few starts: SciPy's own result changes by some percent with the last digits of its start."""
    from impasto.cli.drawing.samples import open_sample

    content, style = (
        image.resize((200, 200), Image.Resampling.LANCZOS) for image in (open_sample("town"), open_sample("sunset"))
    )
    ratios = []
    for seed in range(4):
        options: dict[str, Any] = {"size": 200, "evaluations": 60, "noise": 1e-5, "seed": seed, "device": "cpu"}
        options |= {"recipe": recipe, "clip": clip, "stages": 1}
        scipys, mine = (
            stylize(content, [style], model=real_model, optimizer=optimizer, **options)
            for optimizer in ("lbfgs", "lbfgs-device")
        )
        ratios.append(mine.loss / scipys.loss)
    print(recipe, "clip" if clip else "no clip", [f"{ratio:.3f}" for ratio in ratios], f"{np.mean(ratios):.3f}")
    assert np.mean(ratios) <= 1.02
