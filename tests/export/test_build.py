"""What an export leaves behind, and what it leaves alone."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from impasto.export import build, ops
from impasto.export.build import export_model
from impasto.export.lowering.base import Builder
from impasto.export.lowering.direct import direct
from impasto.export.selfcheck import SelfCheck, self_check
from impasto.export.weights.sources import load_weights
from impasto.export.weights.weights import Weights
from impasto.runtime.engine.opening import open_session, read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import ExportError, OutputError, RecipeError
from impasto.runtime.model.folder import NOTICE_FILE, WEIGHTS_FILE, ModelFolder
from impasto.runtime.model.graphs import GRAPHS, PLAIN
from impasto.runtime.plan.recipe import Recipe, builtin_recipes, load_recipe
from tests.conftest import SHALLOW, SMALL

ONE, OTHER = SMALL
Rule = Callable[[Builder, ops.Gate, str, str], str]
MINE = replace(ONE, name="mine")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def copy(small_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the small model folder, over `random_weights`; its files may be replaced, not written into."""
    return Path(shutil.copytree(small_model, tmp_path / "copy", copy_function=os.link))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export without trying graphs out, most of the time, for what happens to files."""
    monkeypatch.setattr(build, "_check_all", lambda *_: [])


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


def zero(path: Path) -> None:
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(bytes(size))


def assert_whole(folder: Path) -> None:
    """Open every recipe of a folder."""
    found = ModelFolder.open(folder)
    for recipe, key in itertools.product(found.recipes(), (PLAIN.targets, PLAIN)):
        open_session(found, recipe, key, Placement("cpu", "direct"))


def test_every_graph_passes_the_checker_with_full_shape_inference(real_model: Path) -> None:
    graphs = sorted(real_model.glob("*.onnx"))
    assert len(graphs) >= 4
    for path in graphs:
        onnx.checker.check_model(str(path), full_check=True)


def test_height_and_width_are_dynamic(real_model: Path) -> None:
    for path in set(real_model.glob("*.*.*.onnx")).difference(real_model.glob("*-of-sums.onnx")):
        image = next(x for x in onnx.load(path, load_external_data=False).graph.input if x.name == "image")
        dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
        assert dims == [1, 3, "H", "W"]


def test_the_folder_is_small_because_8_bit_weights_stay_8_bit(real_model: Path) -> None:
    assert sum(p.stat().st_size for p in real_model.iterdir()) < 33e6


def test_graphs_for_tiles_are_less_than_a_fifth_of_the_folder(real_model: Path) -> None:
    sizes = {path: path.stat().st_size for path in real_model.iterdir()}
    of_tiles = sum(size for path, size in sizes.items() if any(role in path.name for role in ("tile-", "-of-sums")))
    assert of_tiles < 0.2 * (sum(sizes.values()) - of_tiles)


def test_provenance_hash_and_licence_travel_with_the_model(real_model: Path) -> None:
    metadata = read_metadata(ModelFolder.open(real_model), "seed")
    assert metadata.weights["sha256"] == "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
    assert "CC BY 4.0" in metadata.weights["licence"]
    assert "Simonyan" in (real_model / NOTICE_FILE).read_text()


def test_the_recipe_comes_back_from_the_graph(deep_model: Path) -> None:
    for name in ("seed", "gatys"):
        assert read_metadata(ModelFolder.open(deep_model), name).recipe == load_recipe(name)


def test_random_weights_are_marked(model: Path) -> None:
    assert read_metadata(ModelFolder.open(model), "seed").random_weights


@pytest.mark.parametrize("recipe", [SHALLOW, pytest.param(load_recipe("gatys"), marks=pytest.mark.slow)])
def test_vgg16_can_be_exported(recipe: Recipe, tmp_path: Path) -> None:
    checks = export_model(tmp_path / "vgg16", [recipe], load_weights("random", "vgg16"))
    expected = (*build.CHECKED, *build.CHECKED_IN_TILES)
    assert [(check.recipe, check.key) for check in checks] == [(recipe.name, key) for key in expected]
    assert all(check.error < 1e-2 for check in checks)


@pytest.mark.slow
def test_every_recipe_that_comes_along_passes_its_self_check(tmp_path: Path, real_weights: Weights) -> None:
    checks = export_model(tmp_path / "all", [load_recipe(name) for name in builtin_recipes()], real_weights)
    assert {check.recipe for check in checks} == {*builtin_recipes()}


@pytest.mark.usefixtures("unchecked")
def test_a_second_export_over_a_recipe_needs_force(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [ONE], random_weights)
    before = contents(folder)
    with pytest.raises(OutputError, match="force=True"):
        export_model(folder, list(SMALL), random_weights)
    assert contents(folder) == before
    export_model(folder, [replace(ONE, pooling="average")], random_weights, force=True)
    assert contents(folder) != before


@pytest.mark.usefixtures("unchecked")
def test_a_recipe_is_added_without_touching_the_others(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [ONE], random_weights)
    before = contents(folder)
    export_model(folder, [OTHER], random_weights)
    assert ModelFolder.open(folder).recipes() == ("other", "small")
    assert before.items() <= contents(folder).items()


@pytest.mark.usefixtures("unchecked")
def test_other_weights_need_force_and_then_replace_everything(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    export_model(folder, [ONE], random_weights)
    (folder / "my notes.txt").write_text("mine")
    other = load_weights("random", "vgg19", seed=99)
    with pytest.raises(OutputError, match="other weights"):
        export_model(folder, [OTHER], other)
    said: list[str] = []
    export_model(folder, [OTHER], other, force=True, notify=said.append)
    assert ModelFolder.open(folder).recipes() == ("other",)
    assert (folder / "my notes.txt").read_text() == "mine"
    assert said[0].startswith(f"model {folder}: dropping small (over other weights); ")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("small.direct.objective.onnx", cut),
        ("small.direct.statistics.onnx", zero),
        ("small.winograd.statistics.onnx", Path.unlink),
    ],
)
def test_force_drops_a_recipe_with_a_damaged_graph_and_says_so_and_keeps_the_others(
    copy: Path, random_weights: Weights, file: str, how: Callable[[Path], object]
) -> None:
    before = set(ModelFolder.open(copy).recipes())
    how(copy / file)
    said: list[str] = []
    export_model(copy, [MINE], random_weights, force=True, notify=said.append)
    assert {*ModelFolder.open(copy).recipes()} == {*before, "mine"} - {"small"}
    assert not list(copy.glob("small.*"))
    assert [line for line in said if "dropping" in line] == [
        f"model {copy}: dropping small ({file} cannot be read); to have any of it back, export it again"
    ]
    assert_whole(copy)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("how", [cut, zero])
def test_damaged_weights_are_replaced_and_every_recipe_stays(
    copy: Path, random_weights: Weights, how: Callable[[Path], object]
) -> None:
    before = contents(copy)
    how(copy / WEIGHTS_FILE)
    said: list[str] = []
    export_model(copy, [replace(OTHER, description="new")], random_weights, force=True, notify=said.append)
    after = contents(copy)
    assert not any("dropping" in line for line in said)
    assert set(after) == set(before)
    assert {name for name in before if after[name] != before[name]} == {p.name for p in copy.glob("other.*")}
    assert_whole(copy)


def test_without_force_a_damaged_recipe_is_not_dropped(copy: Path, random_weights: Weights) -> None:
    cut(copy / "other.direct.statistics.onnx")
    before = contents(copy)
    with pytest.raises(OutputError, match=r"holds other \(other\.direct\.statistics\.onnx cannot be .*force=True"):
        export_model(copy, [MINE], random_weights)
    assert contents(copy) == before


@pytest.mark.usefixtures("unchecked")
def test_what_a_killed_export_left_is_removed_once_it_is_old(tmp_path: Path, random_weights: Weights) -> None:
    folder = tmp_path / "model"
    left = {
        ".model.export-old": "model/weights.data",
        ".model.export-running": "model/weights.data",
        ".model.export-swapping": "previous/weights.data",
        ".model.export-mine": "notes.txt",
        ".model.backup": "model/weights.data",
    }
    for name, file in left.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if name != ".model.export-running":
            for each in (path, *path.parents[: len(Path(file).parts)]):
                os.utime(each, (time.time() - 4000,) * 2)
    export_model(folder, [ONE], random_weights)
    assert {path.name for path in tmp_path.iterdir()} == {"model", *left} - {".model.export-old"}


def test_a_folder_of_something_else_is_refused_even_with_force(tmp_path: Path, random_weights: Weights) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to mother.txt").write_text("dear")
    with pytest.raises(OutputError, match="something else"):
        export_model(tmp_path / "letters", [OTHER], random_weights, force=True)
    assert (tmp_path / "letters" / "to mother.txt").read_text() == "dear"


def test_a_recipe_with_a_layer_the_network_lacks_is_refused(tmp_path: Path) -> None:
    recipe = replace(ONE, content=replace(ONE.content, layers={"block3_conv4": 1.0}))
    with pytest.raises(RecipeError, match="vgg16 has no layer block3_conv4"):
        export_model(tmp_path / "model", [recipe], load_weights("random", "vgg16"))
    assert not list(tmp_path.iterdir())


def test_graphs_that_compute_the_same_are_tried_out_once_and_told_of_for_each_recipe(
    tmp_path: Path, random_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def counted(folder: ModelFolder, recipe: str, *arguments: Any, **options: Any) -> SelfCheck:
        tried.append(recipe)
        return self_check(folder, recipe, *arguments, **options)

    monkeypatch.setattr(build, "self_check", counted)
    said: list[str] = []
    told: list[SelfCheck] = []
    checks = export_model(
        tmp_path / "model", [ONE, MINE, OTHER], random_weights, notify=said.append, checked=told.append
    )
    assert {name: tried.count(name) for name in ("small", "mine", "other")} == {"small": 10, "mine": 0, "other": 10}
    assert told == checks
    assert [check.recipe for check in checks] == 10 * ["small"] + 10 * ["mine"] + 10 * ["other"]
    assert checks[10:20] == [replace(check, recipe="mine") for check in checks[:10]]
    assert [line.partition(":")[0] for line in said] == ["small", "mine", "other"]


def test_a_graph_is_named_after_network_recipe_and_kind(small_model: Path) -> None:
    for key, name in itertools.product(GRAPHS, ("small", "other")):
        graph = onnx.load(small_model / key.file(name), load_external_data=False).graph
        assert graph.name == f"vgg19 {name} {key.kind}"


def test_a_graph_is_lowered_in_the_layout_and_the_precision_of_its_key() -> None:
    for key in GRAPHS:
        lowering = build.lowering_of(key)
        assert (lowering.layout, lowering.precision) == (key.layout, key.precision)


def test_two_recipes_of_one_name_are_refused(tmp_path: Path, random_weights: Weights) -> None:
    with pytest.raises(RecipeError, match="twice"):
        export_model(tmp_path / "model", [ONE, ONE], random_weights)


def leaky(b: Builder, op: ops.Gate, g: str, y: str) -> str:
    return g  # the ReLU's gradient forgotten


def unfit(b: Builder, op: ops.Gate, g: str, y: str) -> str:
    return b.node("Gather", g, b.ints(10**6), axis=0)  # there are not so many, which shows only when it runs


@pytest.mark.parametrize(("gate", "reason"), [(leaky, "slope by"), (unfit, "onnxruntime failed on cpu")])
def test_a_graph_that_fails_the_self_check_leaves_the_old_model(
    copy: Path, random_weights: Weights, monkeypatch: pytest.MonkeyPatch, gate: Rule, reason: str
) -> None:
    before = contents(copy)
    monkeypatch.setitem(direct.rules, ops.Gate, gate)
    with pytest.raises(ExportError, match=f"self-check failed: .*{reason}"):
        export_model(copy, [MINE], random_weights)
    assert contents(copy) == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_weights_are_written_once_for_all_graphs(real_model: Path) -> None:
    locations = {
        entry.value
        for path in real_model.glob("*.onnx")
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert locations == {WEIGHTS_FILE}
