"""What docs/architecture.md adds does what it says: run by tests/docs/test_architecture.py in a copy that has it all.

What a term or a loss should be is computed here with NumPy alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import export_unchecked
from numpy.typing import NDArray
from running import run

import impasto.runtime
from impasto.export import ops
from impasto.export.graph import Map
from impasto.export.lowering.plain import plain  # type: ignore[import-not-found]  # only in the copy
from impasto.export.weights.weights import Weights
from impasto.runtime import Objective, stylize
from impasto.runtime.model.graphs import DIRECT, GRAPHS, SINGLE
from impasto.runtime.plan.recipe import Overflow, Recipe, builtin_recipes, load_recipe  # type: ignore[attr-defined]
from impasto.runtime.run.losses import Losses  # type: ignore[import-not-found]

Array = NDArray[np.float32]
Noise = Callable[..., Array]

STYLE, OVERFLOW = "style/block1_conv1", "overflow"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """The page's recipe with the page's style loss and term, and little else."""
    pencil = load_recipe("pencil")
    style = replace(pencil.style, loss="mean", weight=10)
    return replace(pencil, content=replace(pencil.content, weight=0.01), style=style, overflow=Overflow(3))


@pytest.fixture(scope="module")
def own_model(recipe: Recipe, random_weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "own"
    export_unchecked(folder, [recipe], random_weights)
    return folder


def mean_activation(picture: Array, weights: Weights) -> NDArray[np.float64]:
    """Return the mean of each channel of block1_conv1."""
    mean, scale = weights.preprocessing.mean, weights.preprocessing.scale
    padded = np.pad((picture - mean) * scale, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    layer = weights.layers["block1_conv1"]
    sums = np.einsum("hwcyx,ocyx->hwo", windows, layer.dense().astype(float)) + layer.bias
    return sums.clip(0).mean((0, 1))  # type: ignore[no-any-return]


def test_this_is_the_copy() -> None:
    assert Path(impasto.runtime.__file__).resolve().is_relative_to(Path(__file__).parents[2])


def test_the_recipe_comes_along() -> None:
    assert "pencil" in builtin_recipes()


@pytest.mark.parametrize("lowering", ["direct", "winograd"])
def test_the_style_loss_compares_means_and_the_term_sees_what_is_out_of_range(
    lowering: str, own_model: Path, random_weights: Weights, noise: Noise
) -> None:
    content, style, picture = noise(40, 36), noise(34, 44, 1), 1.3 * noise(40, 36, 2) - 30
    objective = Objective.open(own_model, "pencil", content=content, styles=style, lowering=lowering)
    loss, gradient = objective(picture)
    assert sum(objective.terms.values()) == pytest.approx(loss, rel=1e-5)
    m, n = mean_activation(picture, random_weights), mean_activation(style, random_weights)
    assert objective.terms[STYLE] == pytest.approx(10 * np.mean((m - n) ** 2), rel=1e-4)
    outside = np.maximum(picture - 255, 0) - np.minimum(picture, 0)
    assert objective.terms[OVERFLOW] == pytest.approx(3 * np.mean(outside.astype(float) ** 2), rel=1e-4)
    step = gradient / np.abs(gradient).max()
    slope = (objective(picture + step)[0] - objective(picture - step)[0]) / 2
    assert slope == pytest.approx(np.vdot(gradient, step), rel=1e-2)


def test_the_style_loss_is_the_same_by_region_where_all_is_one(own_model: Path, noise: Noise) -> None:
    content, style, picture = noise(40, 36), noise(34, 44, 1), noise(40, 36, 2)
    masks = {}, {"content_mask": "#000000", "style_masks": "#000000"}
    terms, guided = (
        _terms(Objective.open(own_model, "pencil", content=content, styles=style, **m), picture) for m in masks
    )
    assert guided == pytest.approx(terms, rel=1e-4)


def _terms(objective: Objective, picture: Array) -> dict[str, float]:
    objective(picture)
    return objective.terms


def test_the_optimizer_lowers_the_loss_and_the_table_has_every_evaluation(own_model: Path, noise: Noise) -> None:
    table = Path("losses.csv")
    wishes = {"optimizer": "descent", "evaluations": 6, "callback": Losses(table), "size": 48}
    result = stylize(noise(), noise(seed=1), model=own_model, recipe="pencil", **wishes)
    assert result.plan.optimizer == "descent"
    assert result.loss < result.history[0].loss
    lines = [line.split(",") for line in table.read_text("utf-8").splitlines()]
    assert [(int(number), float(loss)) for number, loss in lines] == [
        (step.evaluation, step.loss) for step in result.history
    ]


def test_the_lowering_computes_the_same_and_leaves_out_what_is_lacking(own_model: Path, noise: Noise) -> None:
    import onnx

    picture = noise()[None].transpose(0, 3, 1, 2)
    x = ops.graph_input("x", Map(3))
    assert run({"y": ops.mean_square(x)}, {"x": picture}, plain)["y"] == pytest.approx(np.mean(picture**2), rel=1e-5)
    single = [key for key in GRAPHS if (key.layout, key.precision) == (DIRECT, SINGLE)]
    for key in single:
        graph = onnx.load(own_model / key.file("pencil"), load_external_data=False).graph
        assert "ReduceSumSquare" not in {node.op_type for node in graph.node}, key
    assert len(single) == 14  # four of whole pictures, ten of tiles


def test_the_command_runs_and_its_help_knows_it(own_model: Path) -> None:
    def impasto_(*arguments: str) -> str:
        command = [sys.executable, "-m", "impasto", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    size = sum(path.stat().st_size for path in own_model.iterdir())
    assert impasto_("weigh", "--model", str(own_model)) == f"{size}\n"
    assert "Print how many bytes a model folder has." in impasto_("--help")
