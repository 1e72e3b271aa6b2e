"""Progress says what is done, what the loss is made of, and how long it will take."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace

import pytest

from impasto.cli.terminal import progress as progress_module
from impasto.cli.terminal.progress import BatchProgress, Progress
from impasto.runtime import Step
from impasto.runtime.plan.plan import Plan, Stage
from tests.runtime.steps import plan_of, steps


def plan_of_steps(known: list[Step]) -> Plan:
    """Return the plan that steps, up to its last one, carry out."""
    last = {step.stage: step for step in known}
    return plan_of([Stage(step.width, step.height, step.of_stage) for step in last.values()])


def shown(known: list[Step], expected: float | None = None) -> list[str]:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), Progress(plan_of_steps(known), expected) as progress:
        for step in known:
            progress.show(step)
    return stream.getvalue().splitlines()


def test_plain_lines_have_evaluation_loss_terms_stage_and_time() -> None:
    lines = shown(steps([Stage(100, 80, 3), Stage(200, 160, 3)], rate=1e-3))
    assert (
        lines[0] == "evaluation 1/6  loss 999 (99.9 % of the start's)  content 100, style 50, tv 5  stage 1/2, 100x80"
    )
    assert lines[1].startswith("evaluation 2/6  loss 998 (99.8 % of the start's)  content 100, style 50, tv 5  stage")
    assert lines[1].endswith("stage 1/2, 100x80  1:44 left")
    assert lines[5].endswith("stage 2/2, 200x160  0:00 left")


def test_one_stage_is_not_counted_and_long_times_have_hours() -> None:
    lines = shown(steps([Stage(1000, 1000, 5)], rate=1.5e-3))
    assert all("stage" not in line for line in lines)
    assert lines[1].endswith("1:15:00 left")


def test_long_runs_are_told_in_about_forty_lines() -> None:
    lines = shown(steps([Stage(100, 100, 2000)], rate=1e-6))
    assert 35 <= len(lines) <= 45


def test_a_tile_is_told_where_nothing_was_said_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    known, stream = steps([Stage(100, 80, 6)], rate=1e-3), io.StringIO()
    with contextlib.redirect_stderr(stream), Progress(plan_of_steps(known), done=2) as progress:
        progress.show_tile(1, 8)
        monkeypatch.setattr(progress_module, "_SILENCE", -1.0)
        progress.show_tile(3, 8)
        progress.show(known[2])
        progress.show_tile(5, 8)
        progress.show_tile(8, 8)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "evaluation 3/6: tile 3 of 8"
    assert lines[1].startswith("evaluation 3/6  loss")
    assert lines[2:] == ["evaluation 4/6: tile 5 of 8"]


def corrections(known: list[Step], expected: float | None) -> list[str]:
    return [line for line in shown(known, expected) if line.startswith("slower")]


def test_an_estimate_that_is_too_short_is_corrected_once() -> None:
    known = steps([Stage(100, 100, 100)], rate=1e-3)  # 10 s each
    assert corrections(known, expected=200.0) == ["slower than estimated: about 17 min in all"]
    assert corrections(known, expected=900.0) == []
    assert corrections(known, expected=None) == []


def test_a_machine_that_gets_slower_is_noticed() -> None:
    known = steps([Stage(100, 100, 200)], rate=1e-4)  # 1 s each, and from the middle on 5 s
    known = [replace(step, seconds=step.seconds + max(0, 4.0 * (step.evaluation - 100))) for step in known]
    assert corrections(known, expected=200.0)
    line = next(line for line in shown(known) if line.startswith("evaluation 151/"))
    assert clock_left(line) == pytest.approx(5 * 49, abs=1)


def clock_left(line: str) -> int:
    """Return the seconds that a line says are left."""
    minutes, seconds = line.split()[-2].split(":")
    return 60 * int(minutes) + int(seconds)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(kind: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what two evaluations write on a terminal of that kind and width."""
    stream = Terminal()
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", str(width))
    known = steps([Stage(100, 80, 3), Stage(200, 160, 3)], rate=1e-3)
    with contextlib.redirect_stderr(stream), Progress(plan_of_steps(known)) as progress:
        for step in known[:2]:
            progress.show(step)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (20, "2/6 1:44 left"),
        (40, "2/6 loss 99.8 %  1:44 left"),
        (60, "2/6 loss 99.8 %  1:44 left"),
        (80, "2/6 loss 99.8 %  stage 1/2, 100x80  1:44 left"),
        (120, "2/6 loss 998 (99.8 % of the start's)  stage 1/2, 100x80  1:44 left"),
        (150, "2/6 loss 998 (99.8 % of the start's)  content 100, style 50, tv 5  stage 1/2, 100x80  1:44 left"),
    ],
)
def test_a_live_line_has_what_the_terminal_has_room_for(
    width: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = on_terminal("xterm", width, monkeypatch)
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "\n").rstrip().splitlines()[-1]
    assert line.strip("━╸╺ ") == expected
    assert ("━" in line) == (width >= 50)
    assert len(line) <= width


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (60, "evaluation 2/6  loss 99.8 %  stage 1/2, 100x80  1:44 left"),
        (80, "evaluation 2/6  loss 998 (99.8 % of the start's)  stage 1/2, 100x80  1:44 left"),
        (
            110,
            "evaluation 2/6  loss 998 (99.8 % of the start's)  content 100, style 50, tv 5  stage 1/2, 100x80  "
            "1:44 left",
        ),
    ],
)
def test_a_line_on_a_dumb_terminal_is_not_wrapped(width: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal("dumb", width, monkeypatch).splitlines()[-1] == expected


# --- a batch --------------------------------------------------------------------------------------------------


def test_the_time_of_a_batch_is_that_of_the_work_that_is_left() -> None:
    with BatchProgress([1.0, 3.0, 0.0, 4.0], expected=16.0) as progress:
        assert progress.left == 16
        progress.end(0, 6.0)  # slower than was expected
        assert progress.left == 42
        progress.end(1, 18.0)
        progress.end(2, None)  # a picture that failed tells nothing
        assert progress.left == 24
        progress.end(3, 24.0)
        assert progress.left == 0


def test_pictures_that_are_made_at_a_time_share_what_is_left_and_end_in_any_order() -> None:
    with BatchProgress([1.0, 3.0, 4.0], expected=16.0) as progress:
        progress.lanes = 2
        assert progress.left == 8
        progress.end(2, 8.0)
        assert progress.left == 4


def test_a_batch_of_nothing_that_is_known_tells_no_time() -> None:
    with BatchProgress([0.0], expected=None) as progress:
        assert progress.left is None
        progress.end(0, None)
        assert progress.left is None


def test_a_picture_of_a_batch_is_told_seldom_and_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known, stream = steps([Stage(100, 80, 6)], rate=1e-3), io.StringIO()
    with (
        contextlib.redirect_stderr(stream),
        BatchProgress([1.0]) as batch,
        batch.begin("1/1 town x monet")(plan_of_steps(known)) as progress,
    ):
        progress.show(known[0])
        monkeypatch.setattr(progress_module, "_SILENCE", -1.0)
        progress.show(known[1])
        progress.finish("the end")
    assert stream.getvalue().startswith("1/1 town x monet: evaluation 2/6  loss")
    assert stream.getvalue().count("\n") == 1


def test_on_a_terminal_a_batch_has_a_line_and_its_picture_another(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(progress_module, "is_live", lambda: True)
    monkeypatch.setattr(progress_module.sys, "stderr", stream)
    known = steps([Stage(100, 80, 6)], rate=1e-3)
    with BatchProgress([1.0, 1.0], expected=120.0) as batch:
        with batch.begin("1/2 town x monet")(plan_of_steps(known)) as progress:
            progress.show(known[0])
            assert [(task.completed, task.total) for task in batch.live.tasks] == [(0, 2), (1, 6)]
            assert batch.live.tasks[0].fields["text"] == "1/2 town x monet  2:00 left"
        assert len(batch.live.tasks) == 1
        batch.end(0, 60.0)
        assert batch.live.tasks[0].fields["text"] == "1:00 left"
