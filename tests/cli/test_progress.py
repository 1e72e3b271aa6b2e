"""Progress says what is done, what the loss is made of, and how long it will take."""

from __future__ import annotations

import contextlib
import io

from impasto.cli.progress import Progress
from impasto.runtime import Step
from impasto.runtime.plan import Stage
from tests.runtime.steps import steps


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
