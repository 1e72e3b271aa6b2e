"""Where losses have noise, as of bfloat16, the search goes on with what slopes say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from impasto.runtime import TransferError
from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.model.graphs import BFLOAT16, SINGLE
from impasto.runtime.optimize.ending import FLAT, LOST, STUCK, End, Ending
from impasto.runtime.optimize.minimize import Minimum, minimize
from impasto.runtime.optimize.noise import ATTEMPTS, NOISE, SHORTER, until_stuck
from impasto.runtime.optimize.search import PATIENCE, Evaluation, Function, NotFinite, Search
from impasto.runtime.optimize.variable import Within
from tests.runtime.optimize.functions import Array, Lifted, bowl, coarse, quadratic

COARSE = NOISE[BFLOAT16]
LBFGS = pytest.mark.parametrize("optimizer", ["lbfgs", "lbfgs-sobolev", "lbfgs-device"])


def lifted_bowl() -> tuple[Function, Array]:
    """Return a bowl whose lowest loss is 1000, and where its bottom is: numbers of 8 bits there are 4 apart."""
    function, bottom = bowl()

    def high(x: Array) -> tuple[float, Array]:
        loss, gradient = function(x)
        return loss + 999, gradient

    return high, bottom


@pytest.fixture
def run(algebra: Algebra) -> Any:
    def run(function: Function, start: Array, evaluations: int, optimizer: str, **options: Any) -> Minimum:
        resident = Lifted(function, algebra) if optimizer == "lbfgs-device" else None
        options = {"optimizer": optimizer, "resident": resident, **options}
        return minimize(function, start, evaluations=evaluations, **options)

    return run


# --- descent --------------------------------------------------------------------------------------------------


@LBFGS
@pytest.mark.parametrize("bounds", [None, (-4.0, 4.5)])
def test_with_8_bits_the_search_goes_on_where_a_plain_one_ends_far_above_the_bottom(
    run: Any, optimizer: str, bounds: tuple[float, float] | None
) -> None:
    exact, bottom = lifted_bowl()
    start, options = np.full_like(bottom, 4), {"optimizer": optimizer, "variable": Within(bounds)}
    plain = run(coarse(exact), start, 100, **options)
    noisy = run(coarse(exact), start, 100, noise=COARSE, **options)
    assert plain.end is STUCK and plain.evaluations < 100
    assert noisy.end.kind is Ending.EVALUATIONS and noisy.evaluations == 100
    assert exact(noisy.point)[0] - 1000 < (exact(plain.point)[0] - 1000) / 10


@LBFGS
def test_the_loss_still_falls_in_the_second_half_of_the_evaluations(run: Any, optimizer: str) -> None:
    exact, bottom = lifted_bowl()
    losses: list[float] = []
    run(
        coarse(exact), np.full_like(bottom, 4), 100, optimizer, noise=COARSE,
        callback=lambda evaluation: losses.append(exact(evaluation.point)[0] - 1000),
    )  # fmt: skip
    assert losses[-1] < losses[50] / 10 < losses[25] / 100


@LBFGS
def test_noise_that_is_not_there_changes_little(run: Any, optimizer: str) -> None:
    exact, bottom = bowl()
    start = np.full_like(bottom, 4)
    plain, noisy = (run(exact, start, 40, optimizer, noise=noise) for noise in (0.0, COARSE))
    assert noisy.loss - 1 < 2 * (plain.loss - 1) + 1e-3


@LBFGS
def test_a_gradient_that_leads_up_cannot_lead_far(run: Any, optimizer: str) -> None:
    """Each of many small steps may rise by the noise, but all of them together may not."""
    exact, bottom = lifted_bowl()

    def lies(x: Array) -> tuple[float, Array]:
        loss, gradient = exact(x)
        return loss, -gradient

    seen: list[float] = []
    minimum = run(lies, np.full_like(bottom, 4), 500, optimizer, noise=COARSE, callback=lambda e: seen.append(e.loss))
    assert np.median(seen) < minimum.loss * (1 + 2 * COARSE)


# --- losses that are not finite -------------------------------------------------------------------------------


@LBFGS
def test_a_loss_that_is_not_finite_leads_back_to_the_best_picture(run: Any, optimizer: str) -> None:
    exact, bottom = quadratic()
    calls = 0

    def overflows_once(x: Array) -> tuple[float, Array]:
        nonlocal calls
        calls += 1
        loss, gradient = exact(x)
        return (math.inf if calls == 5 else loss), gradient

    start = np.full_like(bottom, 50)
    minimum = run(overflows_once, start, 60, optimizer, noise=COARSE)
    assert minimum.end.kind is not Ending.NOT_FINITE
    np.testing.assert_allclose(minimum.point, bottom, atol=0.1)
    calls = 0
    plain = run(overflows_once, start, 60, optimizer)
    assert (plain.end.kind, plain.evaluations) == (Ending.NOT_FINITE, 5)


@LBFGS
def test_a_start_that_is_not_finite_is_refused_at_once(run: Any, optimizer: str) -> None:
    calls: list[Array] = []

    def never(x: Array) -> tuple[float, Array]:
        calls.append(x)
        return math.nan, x

    with pytest.raises(TransferError, match="no finite loss"):
        run(never, np.ones((1, 3, 4, 4), np.float32), 30, optimizer, noise=COARSE)
    assert len(calls) == 1


# --- new starts -----------------------------------------------------------------------------------------------


class Descents:
    """A descent that evaluates nothing but the losses it is given, one each time; None is not finite."""

    def __init__(self, losses: list[float | None], end: End = STUCK) -> None:
        self.losses, self.end, self.lengths = losses, end, list[float]()
        self.search = Search(self._function, 1000, np.zeros(1, np.float32), noise=COARSE)

    def _function(self, picture: Array) -> tuple[float, Array]:
        loss = self.losses[len(self.lengths) - 1]
        return (math.nan if loss is None else loss), picture

    def __call__(self, start: Array, length: float) -> End:
        self.lengths.append(length)
        self.search.evaluate(start)
        return self.end

    def run(self) -> End:
        return until_stuck(self.search, np.zeros(1, np.float32), self)


def test_so_many_descents_in_a_row_that_lower_nothing_are_the_end() -> None:
    descents = Descents([5.0] * 99)
    assert descents.run() is LOST
    assert descents.lengths == [1.0, *(SHORTER**k for k in range(ATTEMPTS))]


def test_a_lower_loss_brings_back_all_attempts_and_the_usual_first_step() -> None:
    descents = Descents([5.0, 5.0, None, 4.0, *[4.0] * 99])
    assert descents.run() is LOST
    assert descents.lengths == [1.0, 1.0, SHORTER, SHORTER**2, *(SHORTER**k for k in range(ATTEMPTS))]


def test_a_gradient_of_zero_is_the_end_at_once() -> None:
    descents = Descents([5.0], FLAT)
    assert descents.run() is FLAT


def test_a_first_loss_that_is_not_finite_is_no_reason_to_start_again() -> None:
    with pytest.raises(NotFinite):
        Descents([None, 1.0]).run()


# --- little improvement ---------------------------------------------------------------------------------------


def falls(losses: list[float], noise: float, share: float = 1e-3) -> int:
    """Return after how many evaluations with these losses a search ends, with Adam."""
    number = 0

    def function(x: Array) -> tuple[float, Array]:
        nonlocal number
        number += 1
        return losses[number - 1], np.ones_like(x)

    minimum = minimize(
        function, np.ones(4, np.float32), evaluations=len(losses), optimizer="adam", noise=noise, min_improvement=share
    )
    return minimum.evaluations


def test_one_loss_that_is_low_by_chance_does_not_end_a_search_that_still_improves() -> None:
    losses = [1000 * 0.999**k for k in range(60)]
    losses[20] *= 0.98
    assert falls(losses, COARSE) == 60
    assert falls(losses, 0.0) == 20 + 1 + PATIENCE  # as in float32, where a loss is what it is


def test_losses_that_only_have_noise_end_a_search() -> None:
    losses = [1000 * (1 + COARSE * math.sin(7 * k)) for k in range(200)]
    assert falls(losses, COARSE) < 60


def test_the_evaluations_that_a_search_begins_with_are_never_too_few() -> None:
    assert falls([1000.0] * 60, COARSE) == 2 * PATIENCE + 1
    assert falls([1000.0] * 60, 0.0) == PATIENCE + 1


# --- float32 --------------------------------------------------------------------------------------------------


def test_losses_of_float32_have_no_noise() -> None:
    assert NOISE[SINGLE] == 0


def test_adam_goes_on_whatever_the_noise_is() -> None:
    exact, bottom = bowl()
    seen: dict[float, list[Evaluation]] = {0.0: [], COARSE: []}
    for noise, evaluations in seen.items():
        minimize(
            exact, np.full_like(bottom, 4), evaluations=20, optimizer="adam", noise=noise, callback=evaluations.append
        )
    assert [e.loss for e in seen[0.0]] == [e.loss for e in seen[COARSE]]
