"""Bfloat16: with every value rounded to its type, as a processor that multiplies bfloat16 does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Map, Var
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.bfloat import bfloat
from impasto.export.lowering.direct import direct
from impasto.export.lowering.half import half
from impasto.runtime.model.graphs import BFLOAT16, SINGLE, GraphKey
from impasto.runtime.pictures.planes import to_planes
from impasto.runtime.plan.terms import GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, TV, weight_of
from tests.export.running import Array, run_exactly

ml_dtypes = pytest.importorskip(
    "ml_dtypes"
)  # the type of bfloat16 arrays; without it onnx's reference evaluator has none

#: A bfloat16 has 8 significant bits.
ROUNDING = 2.0**-8

Rgb = NDArray[np.float32]


def relative(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b.astype(np.float64)))


def result(
    var: Var, feeds: Mapping[str, Array], parameters: Mapping[str, Array] | None = None, lowering: Lowering = bfloat
) -> Array:
    tensors = {name: numpy_helper.from_array(value, name) for name, value in (parameters or {}).items()}
    return run_exactly(lowering.lower("test", {"y": var}, tensors), feeds)["y"]


# --- single operators -----------------------------------------------------------------------------------------


def test_a_picture_is_not_rounded() -> None:
    """The kernels see differences of neighbours only: steps of a tenth at a level of 200, where bfloat16 has ones."""
    kernels = np.zeros((2, 3, 3, 3), np.float32)
    kernels[0, :, 1, 1], kernels[0, :, 1, 2] = 1, -1
    kernels[1, :, 1, 1], kernels[1, :, 2, 1] = 1, -1
    x = (200 + np.random.default_rng(0).uniform(0, 0.1, (1, 3, 8, 9))).astype(np.float32)
    var = ops.Conv("layer", 3, 2, bias=False)(ops.graph_input("x", Map(3)))
    y = result(var, {"x": x}, {"layer.kernel": kernels})[..., :-1, :-1]
    exact = np.stack([(x - np.roll(x, -1, axis)).sum(1) for axis in (3, 2)], 1)[..., :-1, :-1]
    assert np.abs(exact).max() > 0.2
    assert np.abs(y - exact).max() <= 0.005  # 16 bits of 200


@pytest.mark.parametrize("lowering", [bfloat, half], ids=lambda x: x.precision)
def test_a_repeated_border_and_its_gradient_are_those_of_single_precision(lowering: Lowering) -> None:
    rng = np.random.default_rng(2)
    kernels, x = (rng.normal(size=size).astype(np.float32) for size in ((4, 3, 3, 3), (1, 3, 9, 8)))
    image = ops.graph_input("x", Map(3))
    y = ops.Conv("layer", 3, 4, bias=False, padding=0)(ops.PadEdge(1)(image))
    for var in (y, gradient(ops.mean_square(y), image)):
        given, wanted = (result(var, {"x": x}, {"layer.kernel": kernels}, by) for by in (lowering, direct))
        assert given.shape == wanted.shape
        assert relative(given, wanted) <= ROUNDING


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (6, 9), (7, 8)])
def test_a_window_gives_its_gradient_to_its_first_maximum(size: tuple[int, int]) -> None:
    """With few levels, and so many ties; numbers that bfloat16 has exactly."""
    rng = np.random.default_rng(1)
    feeds = {
        "x": rng.integers(0, 3, (1, 5, *size)).astype(np.float32),
        "g": rng.integers(1, 100, (1, 5, size[0] // 2, size[1] // 2)).astype(np.float32),
    }
    x, g = (ops.relu(ops.graph_input(name, Map(5, level))) for name, level in (("x", 0), ("g", 1)))
    var = ops.max_unpool(g, x, ops.max_pool(x))
    np.testing.assert_array_equal(result(var, feeds), result(var, feeds, lowering=direct))


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_average_pooling_spreads_a_quarter(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    feeds = {
        "x": np.zeros((1, 5, *size), np.float32),
        "g": rng.integers(1, 100, (1, 5, size[0] // 2, size[1] // 2)).astype(np.float32),
    }
    x, g = (ops.graph_input(name, Map(5, level)) for name, level in (("x", 0), ("g", 1)))
    var = ops.average_unpool(g, x)
    np.testing.assert_array_equal(result(var, feeds), result(var, feeds, lowering=direct))


@pytest.mark.parametrize("channels", [8, 160])
def test_a_gram_matrix_is_a_sum_in_float32(channels: int) -> None:
    """Rounded to bfloat16, its entries would be off by up to `ROUNDING` / 2, half of that on average."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, (1, channels, 40, 30)).astype(np.float32)
    kernels = np.zeros((channels, channels, 3, 3), np.float32)
    kernels[range(channels), range(channels), 1, 1] = 1  # a convolution that changes nothing but the type
    var = ops.gram(ops.Conv("layer", channels, channels, bias=False)(ops.graph_input("x", Map(channels))))
    rows = np.moveaxis(x[0], 0, -1).reshape(-1, channels)
    rounded = rows.astype(ml_dtypes.bfloat16).astype(np.float64)
    exact = rounded.T @ rounded / len(rounded)
    assert relative(result(var, {"x": x}, {"layer.kernel": kernels}), exact) <= ROUNDING / 10


# --- whole graphs ---------------------------------------------------------------------------------------------


def graph(folder: Path, recipe: str, key: GraphKey) -> onnx.ModelProto:
    return onnx.load(folder / key.file(recipe))


def single(folder: Path, recipe: str, key: GraphKey, feeds: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(folder / key.file(recipe), providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(names, {x.name: feeds[x.name] for x in session.get_inputs()}), strict=True))


def targets(
    folder: Path, recipe: str, key: GraphKey, content: Rgb, style: Rgb, guides: Mapping[str, Array]
) -> dict[str, Array]:
    """Measure targets in the precision of a key."""
    measured: dict[str, Array] = {}
    for part, picture in (("content", content), ("style", style)):
        feeds = {IMAGE: to_planes(picture, "picture"), **guides}
        if key.precision == SINGLE:
            found = single(folder, recipe, key.targets, feeds)
        else:
            found = run_exactly(graph(folder, recipe, key.targets), feeds)
        measured |= {name: value for name, value in found.items() if name.startswith(part)}
    return measured


def weights(terms: Sequence[str], means: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return weights by which each term comes to 1, or ones."""
    return {weight_of(t): np.array(1 / (float(means[t]) or 1) if means else 1, np.float32) for t in terms}


def pictures() -> tuple[Rgb, Rgb, Rgb]:
    rng = np.random.default_rng(4)
    content, style, image = rng.uniform(0, 255, (3, 34, 37, 3)).astype(np.float32)
    return content, style, image


@pytest.mark.parametrize("recipe", ["seed", "gatys", "impasto", "crowson", "galerne"])
@pytest.mark.parametrize("by_region", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_agrees_with_single_precision_up_to_its_rounding(recipe: str, by_region: bool, real_model: Path) -> None:
    content, style, image = pictures()
    guides: dict[str, Array] = {}
    if by_region:
        guides[GUIDES] = np.random.default_rng(5).uniform(0, 1, (1, 2, *image.shape[:2])).astype(np.float32)
    exact, rounded = (GraphKey(by_region=by_region, precision=precision) for precision in (SINGLE, BFLOAT16))
    factors = np.random.default_rng(6).uniform(0, 30, (1, 1, *image.shape[:2])).astype(np.float32)
    feeds = {IMAGE: to_planes(image, "image"), **guides, **({PROTECTION: factors} if by_region else {})}
    of_exact = targets(real_model, recipe, exact, content, style, guides)
    terms = [x.name for x in graph(real_model, recipe, exact).graph.output if x.name not in (LOSS, GRADIENT)]
    means = single(real_model, recipe, exact, feeds | of_exact | weights(terms))
    feeds |= weights(terms, means)
    wanted = single(real_model, recipe, exact, feeds | of_exact)
    of_rounded = targets(real_model, recipe, rounded, content, style, guides)
    given = run_exactly(graph(real_model, recipe, rounded), feeds | of_rounded)
    assert given[LOSS] == pytest.approx(wanted[LOSS], rel=0.03)
    assert relative(given[GRADIENT], wanted[GRADIENT]) <= 0.15


@pytest.mark.parametrize("recipe", ["gatys", "impasto"])
def test_a_picture_is_at_no_distance_from_its_own_targets(recipe: str, real_model: Path) -> None:
    """From targets of the exact kernels it would be: those that are rounded are another network."""
    picture, _, _ = pictures()
    key = GraphKey(precision=BFLOAT16)
    model = graph(real_model, recipe, key)
    terms = [x.name for x in model.graph.output if x.name not in (LOSS, GRADIENT)]

    def distance(measured_by: GraphKey) -> float:
        feeds = {IMAGE: to_planes(picture, "image"), **weights(terms)}
        found = run_exactly(model, feeds | targets(real_model, recipe, measured_by, picture, picture, {}))
        return sum(float(found[term]) for term in terms if term != TV.name())

    most = 1e-2 if recipe == "impasto" else 1e-4  # a deviation is the root of a difference, whose last digits it shows
    assert distance(key) <= most * distance(replace(key, precision=SINGLE))
