"""The loss of a result is of float32, whatever the precision of the evaluations that led to it."""

from __future__ import annotations

import json
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.runtime import InputError, Result, Step, StopOptimization, TransferError
from impasto.runtime.engine import footprints
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import SessionEvaluator
from impasto.runtime.engine.footprints import FOOTPRINTS, TILE_FOOTPRINTS
from impasto.runtime.engine.placement import Placement
from impasto.runtime.machine.memory import Room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import DIRECT
from impasto.runtime.run import estimate as estimates
from impasto.runtime.run.record import Record
from impasto.runtime.run.state import RunEnding
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.run.watch import Log, LogLine
from tests.runtime.run.test_transfer import prepared

HALF: dict[str, Any] = {"precision": "fp16", "lowering": "auto"}

pytestmark = pytest.mark.filterwarnings("ignore:precision='fp16'. on a CPU it only takes longer:RuntimeWarning")


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    return small_model


def in_float32(transfer: Transfer) -> tuple[float, dict[str, float]]:
    """Return the loss of a transfer's picture as a transfer in float32 evaluates it."""
    single = prepared(Path(transfer.model), lowering="winograd")
    stage = single.plan.stages[transfer.state.stage - 1]
    references = single.material.references(single.plan, stage)
    evaluator = Engine(graphs=0).evaluator(
        ModelFolder.open(single.model), single.plan.recipe.name, references, single.placement
    )
    loss, terms, _ = evaluator.evaluate(transfer.state.point)
    return loss, terms


def stopping_after(count: int, error: type[BaseException]) -> Any:
    def stop(step: Step) -> None:
        if step.evaluation == count:
            raise error

    return stop


def test_the_loss_of_a_result_is_evaluated_in_float32(model: Path) -> None:
    transfer = prepared(model, **HALF)
    result = transfer.run()
    assert (result.loss_precision, result.precision) == ("fp32", "fp16")
    assert (result.loss, result.terms) == in_float32(transfer)
    best = min(step.loss for step in result.history if step.stage == result.stage)
    assert result.loss != best
    assert result.loss == pytest.approx(best, rel=1e-2)
    assert {step.precision for step in result.history} == {"fp16"}


@pytest.mark.parametrize("count", [2, 7])
def test_one_who_stops_a_transfer_does_not_wait_for_float32(model: Path, count: int) -> None:
    result = prepared(model, callback=stopping_after(count, StopOptimization), **HALF).run()
    assert (result.loss_precision, result.precision) == ("fp16", "fp16")
    assert result.loss == min(step.loss for step in result.history if step.stage == result.stage)


def test_a_transfer_may_be_told_not_to_evaluate_it(model: Path) -> None:
    transfer = prepared(model, **HALF)
    transfer.appraises = False
    assert transfer.run().loss_precision == "fp16"


def test_restarts_do_not_keep_the_loss_from_being_evaluated_in_float32(model: Path) -> None:
    assert prepared(model, **HALF, optimizer="lbfgs", restart_every=3, stages=1).run().loss_precision == "fp32"


def test_a_transfer_in_float32_evaluates_nothing_more(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = SessionEvaluator.evaluate

    def counted(evaluator: SessionEvaluator, planes: Any) -> Any:
        calls.append(evaluator)
        return original(evaluator, planes)

    monkeypatch.setattr(SessionEvaluator, "evaluate", counted)
    result = prepared(model).run()
    assert len(calls) == result.evaluations == 9
    assert result.loss == min(step.loss for step in result.history if step.stage == 2)
    assert (result.loss_precision, result.precision) == ("fp32", "fp32")
    assert " in " not in result.loss_text


def test_the_graphs_of_the_search_are_closed_before(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the engine keeps them for the next picture."""
    evaluators: list[weakref.ref[SessionEvaluator]] = []
    alive: list[int] = []
    original = Engine.evaluator

    def noted(engine: Engine, *arguments: Any) -> SessionEvaluator:
        alive.append(sum(known() is not None for known in evaluators))
        evaluator = original(engine, *arguments)
        evaluators.append(weakref.ref(evaluator))
        return evaluator

    monkeypatch.setattr(Engine, "evaluator", noted)
    transfer = prepared(model, **HALF)
    transfer.engine = Engine(graphs=0)
    transfer.run()
    assert alive == [0, 0, 0]  # two stages, and the final loss


@pytest.mark.parametrize(
    ("error", "ending"), [(KeyboardInterrupt, RunEnding.INTERRUPTED), (TransferError, RunEnding.FAILED)]
)
def test_one_who_interrupts_does_not_wait_and_is_told_the_precision(
    model: Path, error: type[BaseException], ending: RunEnding
) -> None:
    transfer = prepared(model, callback=stopping_after(3, error), **HALF)
    result = transfer.run()
    assert result.ending is ending
    assert (result.loss, result.loss_precision) == (transfer.state.loss, "fp16")
    assert " in float16 (" in result.loss_text


def test_with_too_little_memory_one_warning_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "room", lambda threads: Room(1_000_000))
    with pytest.warns(RuntimeWarning, match="the final loss is that of float16: it could not be evaluated in float32"):
        result = prepared(model, **HALF).run()
    assert result.finished
    assert (result.loss_precision, result.loss) == ("fp16", min(s.loss for s in result.history if s.stage == 2))


def test_where_the_kernels_of_winograd_take_too_much_it_is_evaluated_in_direct_tiles(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {key: replace(figures, fixed=0 if key[0] == DIRECT else 1e15) for key, figures in FOOTPRINTS.items()}
    tiles = {key: replace(figures, fixed=0 if key == DIRECT else 1e15) for key, figures in TILE_FOOTPRINTS.items()}
    monkeypatch.setattr(footprints, "FOOTPRINTS", whole)
    monkeypatch.setattr(footprints, "TILE_FOOTPRINTS", tiles)
    monkeypatch.setattr(footprints, "LEAST_AUTO", 16)
    placements: list[Placement] = []
    original = Engine.evaluator

    def noted(engine: Engine, folder: Any, recipe: Any, references: Any, placement: Placement, *more: Any) -> Any:
        placements.append(placement)
        return original(engine, folder, recipe, references, placement, *more)

    monkeypatch.setattr(Engine, "evaluator", noted)
    result = prepared(model, **HALF, size=(192, 160), stages=1, evaluations=2).run()
    assert result.loss_precision == "fp32"
    first, last = placements
    assert (first.side, last.layout) == (None, DIRECT)
    assert last.side


@pytest.mark.parametrize("error", [MemoryError(), TransferError("out of memory"), KeyboardInterrupt()])
def test_a_failure_of_the_last_evaluation_costs_no_picture(
    model: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SessionEvaluator.evaluate

    def failing(evaluator: SessionEvaluator, planes: Any) -> Any:
        if evaluator.precision == "fp32":
            raise error
        return original(evaluator, planes)

    monkeypatch.setattr(SessionEvaluator, "evaluate", failing)
    with pytest.warns(RuntimeWarning, match="the final loss is that of float16"):
        result = prepared(model, **HALF).run()
    assert result.finished and result.loss_precision == "fp16"


def test_masks_weights_and_several_styles_count_in_it(model: Path) -> None:
    left = np.zeros((40, 48, 3), np.uint8)
    left[:, :24] = 255
    style_mask = np.zeros((56, 40, 3), np.uint8)
    style_mask[:28] = 255
    options: dict[str, Any] = {"content_mask": left, "style_masks": [style_mask], "style_weight": 1e5, "stages": 1}
    result = prepared(model, **options, **HALF).run()
    best = min(step.loss for step in result.history)
    assert result.loss_precision == "fp32"
    assert result.loss == pytest.approx(best, rel=2e-2)
    assert result.loss != best


# --- where losses are written ---------------------------------------------------------------------------------


def written(result: Result) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads(result.record.to_json())["outcome"]
    return outcome


def test_the_record_says_the_precision_of_its_loss(model: Path) -> None:
    half, interrupted = (
        prepared(model, callback=call, **HALF).run() for call in (None, stopping_after(3, KeyboardInterrupt))
    )
    assert (written(half)["loss"], written(half)["loss_precision"]) == (half.loss, "fp32")
    assert written(interrupted)["loss_precision"] == "fp16"
    assert Record.from_json(half.record.to_json(), "it") == half.record


def test_a_record_of_a_precision_that_nobody_knows_is_refused(model: Path) -> None:
    data = json.loads(prepared(model).run().record.to_json())
    data["outcome"]["loss_precision"] = "fp8"
    with pytest.raises(InputError, match=r"outcome\.loss_precision is"):
        Record.from_json(json.dumps(data), "it")
    del data["outcome"]["loss_precision"]  # as records were before
    assert Record.from_json(json.dumps(data), "it").outcome.loss_precision is None


def test_every_line_of_the_log_says_the_precision_of_the_evaluations(model: Path, tmp_path: Path) -> None:
    with Log(tmp_path / "run.jsonl") as log:
        prepared(model, callback=log, **HALF).run()
    lines = [LogLine.read(line) for line in (tmp_path / "run.jsonl").read_bytes().splitlines()]
    assert len(lines) == 9
    assert {line.precision for line in lines} == {"fp16"}


def test_a_finished_transfer_that_is_read_again_has_the_same_loss(model: Path) -> None:
    transfer = prepared(model, **HALF)
    first = transfer.run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        second = prepared(model, **HALF).run(transfer.state.snapshot())
    assert (second.loss, second.loss_precision) == (first.loss, "fp32")
