"""Progress says what is done, what the loss is made of, and how long it will take."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.cli.progress import Clock, Progress
from impasto.runtime import Step
from impasto.runtime.plan import Plan, Stage
from impasto.runtime.recipe import load_recipe

TERMS = {"content/block4_conv2": 100.0, "style/block1_conv1": 20.0, "style/block2_conv1": 30.0, "tv": 5.0}


def steps(stages: list[Stage], rate: float, setup: float = 0.0, first: int = 1) -> list[Step]:
    """Return the steps of a transfer whose evaluations take `rate` seconds a pixel; each stage takes `setup` to open.

    The first of them is that number: those before were made by another process.
    """
    plan = Plan(load_recipe("gatys"), tuple(stages), "content")
    found: list[Step] = []
    seconds = evaluation = 0.0
    for number, stage in enumerate(stages, 1):
        seconds += setup
        for k in range(1, stage.evaluations + 1):
            seconds, evaluation = seconds + rate * stage.width * stage.height, evaluation + 1
            made = [*(s.evaluations for s in stages[: number - 1]), k]
            transfer: Any = SimpleNamespace(plan=plan, made=made)  # all that is looked at
            found.append(
                Step(
                    int(evaluation), plan.evaluations, number, len(stages), stage.width, stage.height,
                    loss=1000.0 - evaluation, terms=TERMS, improved=True, change=1.0, seconds=seconds,
                    transfer=transfer,
                )
            )  # fmt: skip
    return found[first - 1 :]


@given(
    st.lists(st.builds(Stage, st.integers(32, 900), st.integers(32, 900), st.integers(2, 9)), min_size=1, max_size=4),
    st.floats(1e-7, 1e-4),
    st.integers(1, 2),
)
def test_the_time_left_is_exact_where_time_goes_with_the_pixels(stages: list[Stage], rate: float, first: int) -> None:
    clock = Clock()
    known = steps(stages, rate, first=first)
    for k, step in enumerate(known):
        left = clock.left(step)
        if k == 0:
            assert left is None  # one step alone says nothing of the time a step takes
        elif left is not None:
            assert left == pytest.approx(known[-1].seconds - step.seconds, rel=1e-6, abs=1e-9)
        else:
            assert all(earlier.stage != step.stage or earlier is step for earlier in known[:k])


def test_opening_a_stage_is_not_taken_for_an_evaluation() -> None:
    clock = Clock()
    known = steps([Stage(100, 100, 5), Stage(200, 200, 5)], rate=1e-4, setup=60.0)
    lefts = [clock.left(step) for step in known]
    assert lefts[1] == pytest.approx(3 * 1 + 5 * 4)
    assert lefts[5] == pytest.approx(4 * 4)
    assert lefts[-1] == 0


def shown(known: list[Step]) -> list[str]:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), Progress() as progress:
        for step in known:
            progress.show(step)
    return stream.getvalue().splitlines()


def test_plain_lines_have_evaluation_loss_terms_stage_and_time() -> None:
    lines = shown(steps([Stage(100, 80, 3), Stage(200, 160, 3)], rate=1e-3))
    assert lines[0] == "evaluation 1/6  loss 999  content 100, style 50, tv 5  stage 1/2, 100x80"
    assert lines[1] == "evaluation 2/6  loss 998  content 100, style 50, tv 5  stage 1/2, 100x80  1:44 left"
    assert lines[5].endswith("stage 2/2, 200x160  0:00 left")


def test_one_stage_is_not_counted_and_long_times_have_hours() -> None:
    lines = shown(steps([Stage(1000, 1000, 5)], rate=1.5e-3))
    assert all("stage" not in line for line in lines)
    assert lines[1].endswith("1:15:00 left")


def test_long_runs_are_told_in_about_forty_lines() -> None:
    lines = shown(steps([Stage(100, 100, 2000)], rate=1e-6))
    assert 35 <= len(lines) <= 45
