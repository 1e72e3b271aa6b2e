"""A time limit is divided among stages as their evaluations take time, and what cannot pay off is not begun."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.plan.plan import Stage, schedule
from impasto.runtime.run.budget import LEAST_EVALUATIONS, Budget, Countdown, Rate
from tests.runtime.steps import plan_of, steps


def simulate(size: int, evaluations: int, limit: float, rate: float, opening: float) -> tuple[list[int], float]:
    """Return the evaluations that each stage makes and when all has ended, on a machine of exactly that speed."""
    stages = schedule(size, size, evaluations)
    budget, made, seconds = Budget(stages, limit, pictures=2), [0] * len(stages), 0.0
    for number, stage in enumerate(stages):
        if number and not budget.pays(number, seconds):
            break
        budget.begin(seconds)
        pixels = stage.width * stage.height
        seconds += opening + 0.4 * 2 * rate * pixels
        while made[number] < stage.evaluations:
            seconds += rate * pixels
            made[number] += 1
            budget.note(number, made[number], sum(made), seconds)
            if budget.spent(number, seconds):
                return made, seconds
            if budget.is_enough(number, made[number], seconds):
                break
    return made, seconds


def whole(size: int, evaluations: int, rate: float, opening: float) -> float:
    """Return the seconds that all stages take."""
    return simulate(size, evaluations, 1e12, rate, opening)[1]


@given(
    size=st.integers(401, 3000),
    evaluations=st.integers(60, 1000),
    share=st.floats(0.01, 1.5),
    opening=st.floats(0, 3),
)
def test_a_transfer_ends_within_one_evaluation_of_its_limit_and_begins_what_pays(
    size: int, evaluations: int, share: float, opening: float
) -> None:
    rate = 6e-6
    limit = share * whole(size, evaluations, rate, opening)
    made, seconds = simulate(size, evaluations, limit, rate, opening)
    stages = schedule(size, size, evaluations)
    last = max(k for k, n in enumerate(made) if n)
    longest = rate * stages[last].width * stages[last].height
    assert seconds <= max(limit, opening + 3 * longest) + longest
    for number in range(1, last + 1):
        assert made[number] >= LEAST_EVALUATIONS - 1
    if share >= 1.01:
        assert made == [stage.evaluations for stage in stages]


def test_what_there_is_time_for_is_divided_as_planned() -> None:
    half = 0.5 * whole(1600, 300, 6e-6, 0.5)
    made, seconds = simulate(1600, 300, half, 6e-6, 0.5)
    planned = [stage.evaluations for stage in schedule(1600, 1600, 300)]
    assert seconds == pytest.approx(half, rel=0.05)
    for found, number in zip(made, planned, strict=True):
        assert 0.4 < found / number < 0.6


def test_the_time_of_a_stage_that_is_not_begun_goes_to_those_before_it() -> None:
    planned = [stage.evaluations for stage in schedule(1600, 1600, 70)]  # 40, 20, 10
    made, _ = simulate(1600, 70, 0.35 * whole(1600, 70, 6e-6, 0.5), 6e-6, 0.5)
    assert made[2] == 0
    assert made[:2] > [0.35 * n for n in planned[:2]]


def test_without_a_limit_nothing_is_over() -> None:
    stages = schedule(800, 800, 30)
    budget = Budget(stages, None, pictures=2)
    budget.begin(0.0)
    for n in (1, 2, 3):
        budget.note(0, n, n, 1e9 * n)
    assert not budget.spent(0, 1e10)
    assert not budget.is_enough(0, 3, 1e10)
    assert budget.pays(1, 1e10)


def test_the_rate_is_that_of_the_present_stage() -> None:
    rate = Rate()
    rate.note(1, 1, 100, 10.0)
    assert rate.value is None
    rate.note(1, 3, 100, 14.0)
    assert rate.value == pytest.approx(0.02)
    rate.note(2, 4, 400, 30.0)
    assert rate.value == pytest.approx(0.02)
    rate.note(2, 5, 400, 34.0)
    assert rate.value == pytest.approx(0.01)


@given(
    st.lists(st.builds(Stage, st.integers(32, 900), st.integers(32, 900), st.integers(2, 9)), min_size=1, max_size=4),
    st.floats(1e-7, 1e-4),
    st.integers(1, 2),
)
def test_the_time_left_is_exact_where_time_goes_with_the_pixels(stages: list[Stage], rate: float, first: int) -> None:
    clock = Countdown(plan_of(stages))
    known = steps(stages, rate, first=first)
    for k, step in enumerate(known):
        left = clock.left(step)
        if k == 0:
            assert left is None  # one step alone says nothing of the time a step takes
        elif left is not None:
            assert left == pytest.approx(known[-1].seconds - step.seconds, rel=1e-6, abs=1e-9)
        else:
            assert all(earlier.stage != step.stage or earlier is step for earlier in known[:k])


@given(st.floats(0, 200))
def test_the_time_left_is_never_more_than_a_limit_leaves(limit: float) -> None:
    stages = [Stage(100, 100, 5), Stage(200, 200, 5)]
    clock = Countdown(plan_of(stages, time_limit=limit))
    for step in steps(stages, rate=1e-4):  # 25 s in all
        left = clock.left(step)
        assert left is None or 0 <= left <= max(0.0, limit - step.seconds)


def test_the_work_of_tiles_counts_for_the_time_left() -> None:
    stages = [Stage(100, 100, 5), Stage(200, 200, 5)]
    clock, known = Countdown(plan_of(stages), [1.0, 2.5]), steps(stages, rate=1e-4)
    *_, last = (clock.left(step) for step in known[:5])
    assert last == pytest.approx(5 * 4 * 2.5)
    known = [replace(step, seconds=5 + 10 * step.of_stage) for step in known[5:]]  # the tiles take 10 s
    assert [clock.left(step) for step in known[:2]] == pytest.approx([4 * 10, 3 * 10])


def test_the_work_of_tiles_counts_for_a_time_limit() -> None:
    stages = (Stage(100, 100, 20), Stage(200, 200, 20))  # at 1 s and 4 s, and in tiles 12 s
    made = {}
    for work in (1.0, 3.0):
        budget = Budget(stages, 77.0, 0, [1.0, work])
        budget.begin(0.0)
        seen = (k for k in range(1, 21) if budget.note(0, k, k, float(k)) or budget.is_enough(0, k, k))
        made[work] = next(seen)
    assert made == {1.0: 16, 3.0: 6}  # of 20, 77 of 100 s and of 260 s
    whole, tiled = (Budget(stages, 60.0, 0, [1.0, work]) for work in (1.0, 3.0))
    for budget in (whole, tiled):
        budget.begin(0.0)
        budget.note(0, 1, 1, 1.0)
        budget.note(0, 2, 2, 2.0)
    assert whole.pays(1, 30.0)
    assert not tiled.pays(1, 30.0)


def test_opening_a_stage_is_not_taken_for_an_evaluation() -> None:
    stages = [Stage(100, 100, 5), Stage(200, 200, 5)]
    clock, known = Countdown(plan_of(stages)), steps(stages, rate=1e-4, setup=60.0)
    lefts = [clock.left(step) for step in known]
    assert lefts[1] == pytest.approx(3 * 1 + 5 * 4)
    assert lefts[5] == pytest.approx(4 * 4)
    assert lefts[-1] == 0
