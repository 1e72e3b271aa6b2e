"""The check after an export: what it refuses, and what one check leaves for the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from impasto.export.build import CHECKED, CHECKED_IN_TILES
from impasto.export.lowering.constants import Constants
from impasto.export.selfcheck import Line, self_check
from impasto.runtime.errors import ExportError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import (
    LOSS_OF_SUMS,
    PLAIN,
    TARGETS_OF_SUMS,
    TILE_GRADIENT,
    TILE_STATISTICS,
    TILE_SUMS,
    WINOGRAD,
    GraphKey,
)
from impasto.runtime.plan.terms import GRADIENT, LOSS

RECIPE = "small"

#: The objective of `winograd`.
KEY = GraphKey(layout=WINOGRAD)


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> ModelFolder:
    """Return a copy of the small model folder, to damage."""
    return ModelFolder(Path(shutil.copytree(small_model, tmp_path / "copy")))


@pytest.fixture(scope="module")
def line(small_model: Path) -> Line:
    """The line that the check of `direct` measures."""
    return self_check(ModelFolder(small_model), RECIPE, PLAIN).line


def scale(folder: ModelFolder, key: GraphKey, output: str, factor: float) -> None:
    """Multiply an output of a graph."""
    path = folder.graph(RECIPE, key)
    model = onnx.load(path, load_external_data=False)
    [node] = (node for node in model.graph.node if output in node.output)
    node.output[0] = "unscaled"
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["unscaled", "factor"], [output]))
    onnx.save(model, path)


@pytest.mark.parametrize("key", CHECKED, ids=lambda key: f"{key.layout} {key.kind}")
def test_a_check_by_itself_and_one_along_the_line_of_another_tell_the_same(small_model: Path, key: GraphKey) -> None:
    folder, constants = ModelFolder(small_model), Constants(small_model)
    given = self_check(folder, RECIPE, GraphKey(by_region=key.by_region), constants=constants).line
    alone = self_check(folder, RECIPE, key, constants=constants)
    along = self_check(folder, RECIPE, key, constants=constants, line=given)
    assert along.finite_difference == given.slope
    assert along.gradient == pytest.approx(alone.gradient, rel=2e-3)
    assert along.loss == pytest.approx(alone.loss, rel=1e-4)


@pytest.mark.parametrize("key", CHECKED_IN_TILES, ids=lambda key: f"{key.layout} {key.kind}")
def test_graphs_for_tiles_give_the_loss_and_the_slope_of_the_whole_picture(small_model: Path, key: GraphKey) -> None:
    folder, constants = ModelFolder(small_model), Constants(small_model)
    whole = self_check(folder, RECIPE, GraphKey(by_region=key.by_region), constants=constants)
    tiled = self_check(folder, RECIPE, key, constants=constants, line=whole.line)
    assert tiled.gradient == pytest.approx(whole.gradient, rel=2e-3)
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-4)


@pytest.mark.parametrize(
    ("role", "output"),
    [
        (TILE_SUMS, "style/block1_conv1.gram"),
        (TILE_GRADIENT, GRADIENT),
        (TILE_STATISTICS, "content/block2_conv1.target"),
        (LOSS_OF_SUMS, "style/block2_conv1.gram.gradient"),
        (TARGETS_OF_SUMS, "style/block1_conv1.target"),
    ],
)
def test_a_damaged_graph_for_tiles_is_refused(folder: ModelFolder, line: Line, role: str, output: str) -> None:
    scale(folder, GraphKey(role), output, 1.2)
    with pytest.raises(
        ExportError, match=r"self-check failed: small \(direct, in tiles\): slope by .*please report it"
    ):
        self_check(folder, RECIPE, GraphKey(TILE_GRADIENT), line=line)


@pytest.mark.parametrize("factor", [0.97, -1.0, 0.0, float("nan")])
@pytest.mark.parametrize("alone", [True, False])
def test_a_damaged_gradient_is_refused(folder: ModelFolder, line: Line, factor: float, alone: bool) -> None:
    scale(folder, KEY, GRADIENT, factor)
    with pytest.raises(ExportError, match=r"self-check failed: small \(winograd\): slope by .*report it"):
        self_check(folder, RECIPE, KEY, line=None if alone else line)


def test_a_damaged_loss_is_refused_although_the_gradient_is_right(folder: ModelFolder, line: Line) -> None:
    scale(folder, KEY, LOSS, 1.01)
    with pytest.raises(ExportError, match=r"the loss is .*, expected .* as in another lowering; this is a bug"):
        self_check(folder, RECIPE, KEY, line=line)


def test_damaged_targets_are_refused_by_what_another_lowering_makes_of_them(folder: ModelFolder, line: Line) -> None:
    scale(folder, KEY.targets, "content/block2_conv1.target", 1.1)
    with pytest.raises(ExportError, match="self-check failed"):
        self_check(folder, RECIPE, KEY, line=line)


def test_every_term_weighs_alike(line: Line) -> None:
    assert line.start == pytest.approx(len(line.means), rel=1e-5)
