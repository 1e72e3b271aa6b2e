"""The engine opens a graph once, measures a style once, gives each evaluator its own, and keeps no more than said."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.runtime.engine import engine as engine_module
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import SessionEvaluator
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.references import References
from impasto.runtime.errors import TransferError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures.masks import Regions
from impasto.runtime.run.prepare import prepare

HERE = Placement("cpu", "direct", threads=1)


def planes(seed: int, height: int = 40, width: int = 48) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 255, (1, 3, height, width)).astype(np.float32)


def references(content: int = 0, style: int = 1, **size: int) -> References:
    return References(planes(content, **size), (planes(style),), (1.0,))


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often graphs are opened, by name, and pictures are measured."""
    count: Counter[str] = Counter()
    open_session, measure = engine_module.open_session, engine_module.measure

    def opened(*arguments: Any) -> Any:
        session = open_session(*arguments)
        count[session.name] += 1
        return session

    def measured(*arguments: Any) -> Any:
        count["styles"] += arguments[-1] == "style"
        return measure(*arguments)

    monkeypatch.setattr(engine_module, "open_session", opened)
    monkeypatch.setattr(engine_module, "measure", measured)
    return count


def evaluator(engine: Engine, model: Path, what: References | None = None, where: Placement = HERE) -> SessionEvaluator:
    return engine.evaluator(ModelFolder.open(model), "small", what or references(), where)


def test_forty_transfers_open_each_graph_once_and_measure_their_style_once(
    small_model: Path, work: Counter[str]
) -> None:
    engine, style = Engine(), np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for seed in range(40):
        content = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        transfer = prepare(content, [style], model=small_model, recipe="small", size=64, evaluations=2, device="cpu")
        transfer.engine = engine
        assert transfer.run().evaluations == 2
    assert work == {
        "small.winograd.small-statistics.onnx": 1, "small.winograd.small-objective.onnx": 1, "styles": 1
    }  # fmt: skip


def test_what_is_kept_changes_no_bit(small_model: Path) -> None:
    engine, point = Engine(), planes(5)
    evaluator(engine, small_model, references(content=2, style=3)).evaluate(planes(4))
    kept, fresh = evaluator(engine, small_model).evaluate(point), evaluator(Engine(), small_model).evaluate(point)
    assert (kept.loss, kept.terms) == (fresh.loss, fresh.terms)
    np.testing.assert_array_equal(kept.gradient, fresh.gradient)


def test_evaluators_that_are_held_at_once_have_graphs_of_their_own(small_model: Path, work: Counter[str]) -> None:
    engine, point = Engine(), planes(5)
    one, other = evaluator(engine, small_model), evaluator(engine, small_model, references(content=2))
    assert one.session is not other.session
    assert one.evaluate(point).loss != other.evaluate(point).loss
    assert work["small.direct.objective.onnx"] == 2
    del one, other
    evaluator(engine, small_model)
    assert work["small.direct.objective.onnx"] == 2


def test_another_size_uses_the_same_graph_and_another_placement_does_not(small_model: Path, work: Counter[str]) -> None:
    engine = Engine()
    evaluator(engine, small_model)
    evaluator(engine, small_model, references(height=64, width=56))
    assert work["small.direct.objective.onnx"] == 1
    evaluator(engine, small_model, where=Placement("cpu", "winograd", threads=1))
    assert work["small.winograd.small-objective.onnx"] == 1


def test_a_style_is_measured_again_where_anything_that_it_depends_on_is_another(
    small_model: Path, work: Counter[str]
) -> None:
    engine, halves = Engine(), np.repeat([[[255, 0, 0]], [[0, 0, 255]]], 20, axis=0).astype(np.uint8)
    plain = references()
    regions = Regions.match(np.repeat(halves, 48, axis=1), [np.repeat(halves, 40, axis=1)], 1)
    masked = References(plain.content, plain.styles, (1.0,), regions)
    for number, what in enumerate((plain, references(style=2), masked), 1):
        for _ in range(2):
            evaluator(engine, small_model, what)
            assert work["styles"] == number


def test_a_graph_that_was_written_anew_is_opened_anew(small_model: Path, tmp_path: Path, work: Counter[str]) -> None:
    engine, copy = Engine(), Path(shutil.copytree(small_model, tmp_path / "copy"))
    evaluator(engine, copy)
    for graph in copy.glob("small.direct.*.onnx"):
        data = graph.read_bytes()
        graph.unlink()
        graph.write_bytes(data)
    evaluator(engine, copy)
    assert work["small.direct.objective.onnx"] == work["styles"] == 2


@pytest.mark.parametrize(("graphs", "opened"), [(0, 4), (1, 4), (2, 2)])
def test_no_more_graphs_are_kept_than_said(small_model: Path, work: Counter[str], graphs: int, opened: int) -> None:
    """With one, each of the two that a picture needs takes the other's place."""
    engine = Engine(graphs=graphs)
    for _ in range(2):
        evaluator(engine, small_model)
    assert sum(number for name, number in work.items() if name != "styles") == opened


def test_graphs_of_another_recipe_or_kind_take_the_place_of_those_that_are_kept(
    small_model: Path, work: Counter[str]
) -> None:
    engine, folder = Engine(), ModelFolder.open(small_model)
    for recipe, where in [("small", HERE), ("other", HERE), ("small", HERE), ("small", Placement("cpu", "winograd"))]:
        engine.evaluator(folder, recipe, references(), where)
        assert sum(map(len, engine._graphs.values())) + len(engine._returned) == 2
    assert work["small.direct.objective.onnx"] == 2


def test_a_graph_that_has_failed_is_not_kept(small_model: Path, work: Counter[str]) -> None:
    engine = Engine()
    for _ in range(2):
        broken = evaluator(engine, small_model)
        with pytest.raises(TransferError):
            broken.session.run({})
        del broken
    assert work["small.direct.objective.onnx"] == 2
    assert work["small.direct.statistics.onnx"] == 1


def test_targets_are_forgotten_where_there_is_no_room(small_model: Path, work: Counter[str]) -> None:
    engine = Engine(targets=1)
    for _ in range(2):
        evaluator(engine, small_model)
    assert work["styles"] == 2


@pytest.mark.parametrize("reason", ["large", "low memory", "cleared"])
def test_graphs_are_closed_where_memory_is_short(
    small_model: Path, work: Counter[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "large":
        monkeypatch.setattr(engine_module, "KEPT_PIXELS", 40 * 48 - 1)
    engine, where = Engine(), Placement("cpu", "direct", threads=1, low_memory=reason == "low memory")
    for _ in range(2):
        evaluator(engine, small_model, where=where)
        if reason == "cleared":
            engine.clear()
    gc.collect()
    assert work["small.direct.objective.onnx"] == work["small.direct.statistics.onnx"] == 2
    assert work["styles"] == (2 if reason == "cleared" else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_opens_graphs_of_its_own(small_model: Path) -> None:
    """Those of its parent have lost their threads, and would never answer."""
    code = f"""if True:
        import os, sys, numpy as np
        from impasto.runtime import Objective, release_memory, stylize
        picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
        def paint():
            return stylize(picture, picture, model={str(small_model)!r}, recipe="small", size=40, evaluations=2,
                           threads=2, device="cpu").loss
        loss = paint()
        lent = Objective.open({str(small_model)!r}, "small", content=picture, styles=picture, device="cpu", threads=2)
        child = os.fork()
        if not child:
            del lent
            same = paint() == loss
            release_memory()
            sys.exit(0 if same else 1)  # all that is left is destroyed
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "0\n"
