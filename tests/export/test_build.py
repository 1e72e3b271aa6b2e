"""What an export leaves behind, and what it leaves alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from impasto.export import build
from impasto.export.build import export_model
from impasto.export.lowering import Builder
from impasto.export.sources import load_weights
from impasto.export.weights import Weights
from impasto.runtime.errors import ExportError, OutputError, RecipeError
from impasto.runtime.model import LOWERINGS, NOTICE_FILE, OBJECTIVE, WEIGHTS_FILE, ModelFolder
from impasto.runtime.recipe import load_recipe
from impasto.runtime.session import read_metadata

SEED = load_recipe("seed")
GATYS = load_recipe("gatys")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_every_graph_passes_the_checker_with_full_shape_inference(real_model: Path) -> None:
    graphs = sorted(real_model.glob("*.onnx"))
    assert len(graphs) >= 4
    for path in graphs:
        onnx.checker.check_model(str(path), full_check=True)


def test_height_and_width_are_dynamic(real_model: Path) -> None:
    for path in real_model.glob("*.onnx"):
        image = next(x for x in onnx.load(path, load_external_data=False).graph.input if x.name == "image")
        dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
        assert dims == [1, 3, "H", "W"]


def test_the_folder_is_small_because_8_bit_weights_stay_8_bit(real_model: Path) -> None:
    assert sum(p.stat().st_size for p in real_model.iterdir()) < 25e6


def test_provenance_hash_and_licence_travel_with_the_model(real_model: Path) -> None:
    metadata = read_metadata(ModelFolder.open(real_model), "seed", OBJECTIVE)
    assert metadata.weights["sha256"] == "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
    assert "CC BY 4.0" in metadata.weights["licence"]
    assert "Simonyan" in (real_model / NOTICE_FILE).read_text()


def test_the_recipe_comes_back_from_the_graph(model: Path) -> None:
    for name in ("seed", "gatys"):
        assert read_metadata(ModelFolder.open(model), name, OBJECTIVE).recipe == load_recipe(name)


def test_random_weights_are_marked(model: Path) -> None:
    assert read_metadata(ModelFolder.open(model), "seed", OBJECTIVE).random_weights


def test_vgg16_can_be_exported(tmp_path: Path) -> None:
    checks = export_model(tmp_path / "vgg16", [SEED, GATYS], load_weights("random", "vgg16"))
    assert {(check.recipe, check.lowering) for check in checks} == set(itertools.product(["seed", "gatys"], LOWERINGS))
    assert all(check.error < 1e-2 for check in checks)


def test_a_second_export_over_a_recipe_needs_force(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [GATYS], random_weights)
    before = contents(folder)
    with pytest.raises(OutputError, match="--force"):
        export_model(folder, [GATYS, SEED], random_weights)
    assert contents(folder) == before
    export_model(folder, [replace(GATYS, pooling="average")], random_weights, force=True)
    assert contents(folder) != before


def test_a_recipe_is_added_without_touching_the_others(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [GATYS], random_weights)
    before = contents(folder)
    export_model(folder, [SEED], random_weights)
    assert ModelFolder.open(folder).recipes() == ("gatys", "seed")
    assert before.items() <= contents(folder).items()


def test_other_weights_need_force_and_then_replace_everything(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [GATYS], random_weights)
    (folder / "my notes.txt").write_text("mine")
    other = load_weights("random", "vgg19", seed=99)
    with pytest.raises(OutputError, match="other weights"):
        export_model(folder, [SEED], other)
    export_model(folder, [SEED], other, force=True)
    assert ModelFolder.open(folder).recipes() == ("seed",)
    assert (folder / "my notes.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_refused_even_with_force(tmp_path: Path, random_weights: Weights) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to mother.txt").write_text("dear")
    with pytest.raises(OutputError, match="something else"):
        export_model(tmp_path / "letters", [SEED], random_weights, force=True)
    assert (tmp_path / "letters" / "to mother.txt").read_text() == "dear"


def test_a_recipe_with_a_layer_the_network_lacks_is_refused(tmp_path: Path) -> None:
    recipe = replace(GATYS, content=replace(GATYS.content, layers={"block3_conv4": 1.0}))
    with pytest.raises(RecipeError, match="vgg16 has no layer block3_conv4"):
        export_model(tmp_path / "model", [recipe], load_weights("random", "vgg16"))
    assert not list(tmp_path.iterdir())


def test_two_recipes_of_one_name_are_refused(tmp_path: Path, random_weights: Weights) -> None:
    with pytest.raises(RecipeError, match="twice"):
        export_model(tmp_path / "model", [GATYS, GATYS], random_weights)


def test_a_wrong_gradient_fails_the_self_check_and_leaves_the_old_model(
    tmp_path: Path, random_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    export_model(folder, [GATYS], random_weights)
    before = contents(folder)
    lowering = build.LOWERINGS[0]
    from impasto.export import ops

    def leaky(b: Builder, op: ops.Gate, g: str, y: str) -> str:
        return g  # the ReLU's gradient forgotten

    monkeypatch.setitem(lowering.rules, ops.Gate, leaky)
    with pytest.raises(ExportError, match="self-check failed"):
        export_model(folder, [SEED], random_weights)
    assert contents(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_weights_are_written_once_for_all_graphs(real_model: Path) -> None:
    locations = {
        entry.value
        for path in real_model.glob("*.onnx")
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert locations == {WEIGHTS_FILE}
