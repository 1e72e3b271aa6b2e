"""Tiles give the loss and the gradient of the whole picture, whatever the recipe, the size and the tiles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import export_unchecked, narrow_weights
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from impasto.export import build
from impasto.export.networks import NETWORKS, Network
from impasto.runtime.engine import placement
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import TileStep, Value
from impasto.runtime.engine.placement import LEAST_SIDE, Placement
from impasto.runtime.engine.references import References
from impasto.runtime.engine.tiled import TiledEvaluator
from impasto.runtime.errors import InputError, ModelError
from impasto.runtime.machine import processors
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.pictures.masks import Regions
from impasto.runtime.pictures.protection import Protection
from impasto.runtime.plan.recipe import Recipe

Planes = NDArray[np.float32]

TILED = Placement("cpu", "direct", threads=1, tile=16)

#: VGG-19 with few channels.
NARROW = Network("vgg19", NETWORKS["vgg19"].depths, (6, 6, 8, 8, 8))

#: Style losses, poolings, forms of total variation, and layers of all depths.
RECIPES = {
    "deep": {"style": ["block1_conv1", "block3_conv1", "block5_conv1"], "content": "block4_conv2"},
    "average": {"style": ["block1_conv2", "block4_conv1"], "content": "block2_conv2", "pooling": "average"},
    "shallow": {"style": ["block1_conv1"], "content": "block1_conv1", "tv": {"form": "absolute"}},
    "covariance": {"style": ["block2_conv1", "block3_conv4"], "content": "block3_conv1", "loss": "covariance"},
    "moments": {"style": ["block2_conv2", "block3_conv2"], "content": "block2_conv1", "loss": "moments"},
    "nine-point": {"style": ["block1_conv1", "block2_conv1"], "content": "block2_conv1", "tv": {"form": "nine-point"}},
    "replicate": {"style": ["block1_conv1", "block3_conv1"], "content": "block2_conv2", "padding": "replicate"},
    "wasserstein": {"style": ["block1_conv1", "block2_conv2"], "content": "block2_conv1", "loss": "wasserstein"},
}
LAYOUTS = ("direct", "winograd")


def recipe(name: str) -> Recipe:
    entry = {"pooling": "max", "padding": "zeros", "loss": "gram", "tv": {}, **RECIPES[name]}
    style = {"weight": 5, "convention": "mean", "layers": dict.fromkeys(entry["style"], 1), "loss": entry["loss"]}
    content = {"weight": 1, "convention": "mean", "layers": {entry["content"]: 1}}
    tv = {"weight": 0.01, **entry["tv"]}
    return Recipe.from_mapping(
        {
            **{"name": name, "pooling": entry["pooling"], "padding": entry["padding"]},
            **{"content": content, "style": style, "tv": tv},
        },
        "tests",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelFolder]:
    """Return recipes over a narrow network whose weights keep the size of activations."""
    path = tmp_path_factory.mktemp("models") / "narrow"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(build.NETWORKS, "vgg19", NARROW)
        export_unchecked(path, [recipe(name) for name in RECIPES], narrow_weights(NARROW))
    return ModelFolder.open(path)


def planes(seed: int, height: int, width: int) -> Planes:
    """Return noise over a slope, so that no two parts of it are alike."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 150, height)[:, None] + np.linspace(0, 50, width)
    return (slope + rng.uniform(0, 55, (1, 3, height, width))).astype(np.float32)


def label(height: int, width: int, regions: int) -> Image.Image:
    """Return a mask whose regions are columns of unequal widths."""
    colors = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0)], np.uint8)
    ends = np.sqrt(np.linspace(0, 1, regions + 1)) * width
    numbers = np.searchsorted(ends, np.arange(width) + 0.5) - 1
    return Image.fromarray(np.broadcast_to(colors[numbers], (height, width, 3)).copy())


def references(height: int, width: int, regions: int, *, protected: bool = False) -> References:
    style = 0.3 * planes(1, 75, 118)  # unlike the content: small differences of Gram matrices would be rounding
    masks = Regions.match(label(height, width, regions), [label(75, 118, regions)], 1) if regions > 1 else None
    protection = Protection.given(slope(height, width), 9) if protected else None
    return References(planes(0, height, width), (style,), (1.0,), masks, protection)


def slope(height: int, width: int) -> Image.Image:
    """Return a mask that is black on the left and white on the right."""
    return Image.fromarray(np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width)).copy())


def evaluate(folder: ModelFolder, name: str, compared: References, placement: Placement) -> Value:
    height, width = compared.shape
    return Engine(graphs=0).evaluator(folder, name, compared, placement).evaluate(planes(2, height, width))


def assert_same(one: Value, other: Value, tolerance: float) -> None:
    """Compare losses and terms to five digits, and gradients within a tolerance."""
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert one.terms == pytest.approx(other.terms, rel=1e-5, abs=1e-5 * other.loss)
    difference = np.linalg.norm(one.gradient - other.gradient) / np.linalg.norm(other.gradient)
    assert difference < tolerance


@pytest.mark.parametrize(("layout", "tolerance", "examples"), [("direct", 1e-5, 25), ("winograd", 1e-2, 10)])
def test_loss_and_gradient_are_those_of_the_whole_picture(
    folder: ModelFolder, layout: str, tolerance: float, examples: int
) -> None:
    """Gradients of `winograd` only come close: whole small pictures have smaller squares, which round otherwise."""
    whole = Placement("cpu", layout, threads=1)

    @settings(max_examples=examples, phases=set(Phase) - {Phase.shrink})
    @given(
        st.sampled_from(sorted(RECIPES)),
        st.integers(33, 170),
        st.integers(33, 170),
        st.integers(LEAST_SIDE, 60),
        st.integers(1, 3),
        st.booleans(),
    )
    def check(name: str, height: int, width: int, side: int, regions: int, protected: bool) -> None:
        compared = references(height, width, regions, protected=protected)
        ours = evaluate(folder, name, compared, replace(whole, tile=side))
        assert_same(ours, evaluate(folder, name, compared, whole), tolerance)

    check()


@pytest.mark.parametrize(("layout", "tolerance"), [("direct", 1e-5), ("winograd", 1e-2)])
@pytest.mark.parametrize(("height", "width", "regions"), [(64, 96, 1), (65, 91, 1), (77, 66, 2)])
def test_what_is_repeated_is_the_border_of_the_picture_and_not_of_tiles(
    folder: ModelFolder, layout: str, tolerance: float, height: int, width: int, regions: int
) -> None:
    whole, compared = Placement("cpu", layout, threads=1), references(height, width, regions)
    ours = evaluate(folder, "replicate", compared, replace(whole, tile=LEAST_SIDE))
    assert_same(ours, evaluate(folder, "replicate", compared, whole), tolerance)


@pytest.mark.parametrize(("regions", "protected"), [(1, False), (2, False), (1, True)])
@pytest.mark.parametrize("name", ["covariance", "moments"])
def test_in_half_precision_tiles_give_what_the_whole_picture_gives_but_for_rounding(
    folder: ModelFolder, name: str, regions: int, protected: bool
) -> None:
    compared = references(90, 130, regions, protected=protected)
    whole = Placement("cpu", "direct", threads=1, precision="fp16", tile="off")
    exact = evaluate(folder, name, compared, replace(whole, precision="fp32"))
    ours = evaluate(folder, name, compared, replace(whole, tile=32))
    assert ours.loss == pytest.approx(exact.loss, rel=5e-3)
    difference = np.linalg.norm(ours.gradient - exact.gradient) / np.linalg.norm(exact.gradient)
    assert 0 < difference < 0.1


def test_every_tile_of_both_passes_but_the_last_is_told(folder: ModelFolder) -> None:
    evaluator = Engine(graphs=0).evaluator(folder, "shallow", references(60, 50, 1), TILED)
    assert isinstance(evaluator, TiledEvaluator)
    steps: list[TileStep] = []
    evaluator.after_tile = steps.append
    evaluator.evaluate(planes(2, 60, 50))
    count = 2 * len(evaluator.tiles)
    assert len(evaluator.tiles) > 4
    assert steps == [TileStep(number, count) for number in range(1, count)]


def test_an_exception_after_a_tile_ends_the_evaluation(folder: ModelFolder) -> None:
    evaluator = Engine(graphs=0).evaluator(folder, "shallow", references(60, 50, 1), TILED)
    seen: list[TileStep] = []

    def stop(step: TileStep) -> None:
        seen.append(step)
        raise StopOptimization("enough")

    evaluator.after_tile = stop
    with pytest.raises(StopOptimization, match="enough"):
        evaluator.evaluate(planes(2, 60, 50))
    assert len(seen) == 1


def test_an_optimiser_on_the_device_is_refused(folder: ModelFolder) -> None:
    evaluator = Engine(graphs=0).evaluator(folder, "shallow", references(60, 50, 1), TILED)
    with pytest.raises(InputError, match=r"lbfgs-device.*: not with tiles"):
        evaluator.resident()


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_folder_of_a_version_without_tiles_is_refused_at_once(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    # as where OpenVINO is expected to be the fastest: nothing warns that the CPU takes its place
    monkeypatch.setattr(processors, "instructions", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(placement, "is_installed", lambda provider: provider.kind == "openvino")
    older = Path(shutil.copytree(folder.path, tmp_path / "older"))
    for path in older.glob("*tile-*.onnx"):
        path.unlink()
    placed = Placement(device, tile=TILED.tile)
    with pytest.raises(ModelError, match=r"older: has no graphs for tiles, it is of an older version; export it again"):
        Engine(graphs=0).evaluator(ModelFolder.open(older), "shallow", references(60, 50, 1), placed)
