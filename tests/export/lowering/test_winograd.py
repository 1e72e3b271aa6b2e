"""The lowering `winograd` and its layout, against NumPy and against `direct`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from running import from_tiles, run, to_tiles

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import GraphError, Map, Op
from impasto.export.lowering import tiles
from impasto.export.lowering.base import OPSET, Builder
from impasto.export.lowering.direct import direct
from impasto.export.lowering.tiles import Tiling
from impasto.export.lowering.winograd import tiled, winograd
from impasto.runtime import Objective
from impasto.runtime.plan.terms import IMAGE

SIDES = st.integers(32, 130)
TILINGS = st.sampled_from([tiles.SMALL_TILING, tiles.LARGE_TILING])


def tables(tiling: Tiling, height: int, width: int, level: int) -> dict[str, NDArray[np.int64]]:
    """Compute every table of a level in the graph, for a picture of height x width."""
    b = tiles.Tiled({}, tiling=tiling)
    names = {
        "own": tiles.windows(b, level, tiles.layout_of(b, level)),
        "taps": tiles.taps(b, level),
        "overhang": tiles.overhang(b, level),
        "stride": tiles.layout_of(b, level).stride,
    }
    if level:
        names["pooled"] = tiles.windows(b, level, tiles.pooled(b, level))
        names["unpooled"] = tiles.unpooled(b, level - 1)
    b.nodes += [helper.make_node("Cast", [name], [key], to=7) for key, name in names.items()]
    return dict(zip(names, evaluate(b, list(names), height, width), strict=True))


def evaluate(b: Builder, names: list[str], height: int, width: int) -> list[NDArray[np.int64]]:
    """Return int64 values of a graph in the making, for a picture of height x width."""
    image = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, 3, "H", "W"])
    outputs = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names]
    graph = helper.make_graph(b.nodes, "tables", [image], outputs, list(b.initializers.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[NDArray[np.int64]] = session.run(names, {IMAGE: np.zeros((1, 3, height, width), np.float32)})
    return found


def row(y: int, x: int, m: int, stride: int, across: int) -> int:
    """Return the row of a pixel, by the formula at the head of `tiles`."""
    return ((y % m) * m + x % m) * stride + (y // m) * across + x // m


@settings(max_examples=12, deadline=None)
@given(TILINGS, SIDES, SIDES, st.integers(0, 4))
def test_every_pixel_has_a_row_of_its_own_and_all_others_overhang(
    tiling: Tiling, height: int, width: int, level: int
) -> None:
    m, (h, w) = tiling.sides[level], (height >> level, width >> level)
    down, across = -(-h // m), -(-w // m)
    got = tables(tiling, height, width, level)
    stride = down * across + 1
    assert got["stride"] == [stride]
    pixels = [row(y, x, m, stride, across) for y in range(h) for x in range(w)]
    assert (got["taps"][1, 1].ravel() // 9).tolist() == pixels  # those of the middle tap are the pixels' own
    phantom = {place * stride + down * across for place in range(m * m)}
    padding = m * m * stride - 1
    overhang = got["overhang"].tolist()
    assert overhang[-1] == padding
    assert set(overhang) - {padding} | set(pixels) == set(range(m * m * stride)) - phantom
    assert len(set(overhang)) == len(overhang)


@settings(max_examples=8, deadline=None)
@given(TILINGS, SIDES, SIDES, st.integers(0, 4))
def test_taps_are_added_to_the_pixel_that_they_read(tiling: Tiling, height: int, width: int, level: int) -> None:
    m, (h, w) = tiling.sides[level], (height >> level, width >> level)
    down, across = -(-h // m), -(-w // m)
    got = tables(tiling, height, width, level)
    stride = down * across + 1
    expected = np.full((3, 3, h, w), m * m * stride - 1)  # the padding row, where the output would be outside
    for dy, dx, y, x in np.ndindex(3, 3, h, w):
        at_y, at_x = y - (dy - 1), x - (dx - 1)  # the output whose tap (dy, dx) reads (y, x)
        if 0 <= at_y < h and 0 <= at_x < w:
            expected[dy, dx, y, x] = row(at_y, at_x, m, stride, across)
    np.testing.assert_array_equal(got["taps"], 9 * expected + np.arange(9).reshape(3, 3, 1, 1))


@settings(max_examples=8, deadline=None)
@given(TILINGS, SIDES, SIDES, st.integers(0, 4), st.data())
def test_windows_point_at_pixels_and_their_neighbours_or_at_padding(
    tiling: Tiling, height: int, width: int, level: int, data: st.DataObject
) -> None:
    m, (h, w) = tiling.sides[level], (height >> level, width >> level)
    down, across = -(-h // m), -(-w // m)
    got = tables(tiling, height, width, level)
    stride = down * across + 1
    sources = {"own": (m, stride, across)}
    if level:
        above = tiling.sides[level - 1]
        above_down, above_across = (-(-(side >> (level - 1)) // above) for side in (height, width))
        sources["pooled"] = (above // 2, above_down * above_across + 1, above_across)
    for name, (source_m, source_stride, source_across) in sources.items():
        table = got[name].reshape(m + 2, m + 2, stride)
        padding = source_m**2 * source_stride - 1
        assert (table[:, :, -1] == padding).all()
        for _ in range(20):
            i, j = data.draw(st.tuples(*[st.integers(0, m + 1)] * 2))
            ty, tx = data.draw(st.tuples(st.integers(0, down - 1), st.integers(0, across - 1)))
            y, x = ty * m + i - 1, tx * m + j - 1
            inside = 0 <= y < h and 0 <= x < w
            expected = row(y, x, source_m, source_stride, source_across) if inside else padding
            assert table[i, j, ty * across + tx] == expected


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@settings(max_examples=6, deadline=None)
@given(TILINGS, st.integers(32, 1500), st.integers(32, 1500))
def test_strips_have_about_the_width_that_is_wanted_and_the_last_may_be_empty(
    level: int, tiling: Tiling, height: int, width: int
) -> None:
    m, wanted, most = (values[level] for values in (tiling.sides, tiling.widths, tiling.strips))
    stride = -(-(height >> level) // m) * -(-(width >> level) // m) + 1
    b = tiles.Tiled({}, tiling=tiling)
    for strip in tiles.strips(b, level, tiles.windows(b, level, tiles.layout_of(b, level)), 1):
        b.nodes.append(helper.make_node("Shape", [strip], [f"width of {strip}"], start=1))
    names = [node.output[0] for node in b.nodes if node.output[0].startswith("width")]
    widths = [int(x[0]) for x in evaluate(b, names, height, width)]
    used = [x for x in widths if x]
    assert sum(widths) == stride
    assert widths == used + [0] * (most - len(used))
    assert max(used) - min(used) <= 1
    assert len(used) == np.clip(round(stride / wanted + 1e-9), 1, most)


def test_every_operator_is_lowered() -> None:
    assert winograd.rules.keys() == direct.rules.keys()


@settings(max_examples=10, deadline=None)
@given(TILINGS, SIDES, SIDES)
def test_a_repeated_border_is_convolved_and_given_its_gradient_as_torch_does(
    tiling: Tiling, height: int, width: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    sizes = ((8, 3, 3, 3), (1, 8, height, width), (1, 3, height, width))
    kernel, upstream, picture = (rng.normal(size=size).astype(np.float32) for size in sizes)
    image, wanted = ops.graph_input(IMAGE, Map(3)), ops.graph_input("wanted", Map(8))
    y = ops.Conv("layer", 3, 8, bias=False, padding=0)(ops.PadEdge(1)(image))
    loss = ops.mean_square(y - wanted)
    tensors = {"layer.kernel": numpy_helper.from_array(kernel, "layer.kernel")}
    model = tiled(tiling).lower("test", {"y": y, "gradient": gradient(loss, image)}, tensors)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {IMAGE: picture, "wanted": to_tiles(upstream, tiling.sides[0])}
    got = dict(zip(("y", "gradient"), session.run(["y", "gradient"], feeds), strict=True))

    x = torch.tensor(picture, dtype=torch.float64, requires_grad=True)
    around = torch.nn.functional.pad(x, (1, 1, 1, 1), "replicate")
    expected = torch.nn.functional.conv2d(around, torch.tensor(kernel).double())
    torch.nn.functional.mse_loss(expected, torch.tensor(upstream).double()).backward()
    assert x.grad is not None
    for ours, theirs in ((from_tiles(got["y"], height, width), expected.detach()), (got["gradient"], x.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4 * theirs.abs().max().item())


def test_only_a_picture_may_have_pixels_around_it() -> None:
    y = ops.Conv("layer", 8, 8, padding=0)(ops.PadEdge(1)(ops.graph_input("x", Map(8))))
    with pytest.raises(GraphError, match="for pictures only"):
        winograd.lower("test", {"y": y}, {})


@pytest.mark.parametrize("op", [ops.Mean(), ops.Inner(), ops.Spread()])
def test_sums_that_would_count_the_overhang_are_refused(op: Op) -> None:
    b = tiles.Tiled({}, tiling=tiles.LARGE_TILING)
    x = ops.graph_input("x", Map(64))
    b.origin["x"] = x
    with pytest.raises(GraphError, match="of an activation is not lowered in winograd"):
        winograd.rules[type(op)](b, op, "x", "x")


def test_statistics_of_a_pooled_map_are_refused() -> None:
    pooled = ops.max_pool(ops.relu(ops.Conv("layer", 3, 64)(ops.graph_input(IMAGE, Map(3)))))
    parameters = {"layer.kernel": TensorProto(), "layer.bias": TensorProto()}
    with pytest.raises(GraphError, match="only a convolution takes it"):
        winograd.lower("test", {"gram": ops.gram(pooled)}, parameters)


def test_the_first_of_equal_elements_takes_the_gradient_of_its_window() -> None:
    torch = pytest.importorskip("torch")
    image, x = ops.graph_input(IMAGE, Map(3)), ops.graph_input("x", Map(64))
    y = ops.max_pool(x)
    g = ops.graph_input("g", y.type)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, (1, 64, 39, 45)).astype(np.float32)
    upstream = rng.normal(size=(1, 64, 19, 22)).astype(np.float32)
    sides = tiles.LARGE_TILING.sides
    feeds = {"x": to_tiles(values, sides[0]), "g": to_tiles(upstream, sides[1])}
    feeds[IMAGE] = np.zeros((1, 3, 39, 45), np.float32)
    got = run({"u": ops.max_unpool(g, x, y), "picture": image}, feeds, winograd)["u"]
    t = torch.tensor(values, requires_grad=True)
    (torch.nn.functional.max_pool2d(t, 2) * torch.tensor(upstream)).sum().backward()
    assert t.grad is not None
    inside = np.s_[:, :, :38, :44]  # what an odd last row holds is nobody's gradient
    np.testing.assert_array_equal(from_tiles(got, 39, 45)[inside], t.grad.numpy()[inside])


def test_one_operator_is_onnxruntimes_own(real_model: Path) -> None:
    own = {
        node.op_type
        for path in real_model.glob("*.winograd.*.onnx")
        for node in onnx.load(path, load_external_data=False).graph.node
        if node.domain
    }
    assert own == {"FusedMatMul"}
    for path in real_model.glob("*.direct.*.onnx"):
        assert not any(node.domain for node in onnx.load(path, load_external_data=False).graph.node)


@pytest.mark.parametrize(("recipe", "reduce"), [("gatys", "ReduceMax"), ("impasto", "ReduceMean")])
def test_a_map_that_is_only_pooled_is_never_whole(recipe: str, reduce: str, real_model: Path) -> None:
    nodes = onnx.load(real_model / f"{recipe}.winograd.objective.onnx", load_external_data=False).graph.node
    sources = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Reshape"}
    pooled = {sources[node.input[0]] for node in nodes if node.op_type == reduce and node.input[0] in sources}
    joined = {name for node in nodes if node.op_type == "Concat" for name in node.input}
    assert len(pooled) == sum(tiles.LARGE_TILING.strips[:4])  # the fifth level is not pooled
    assert pooled.isdisjoint(joined)


def test_the_gradient_is_written_last_as_its_order_saves_memory(real_model: Path) -> None:
    for path in real_model.glob("*objective.onnx"):
        assert onnx.load(path, load_external_data=False).graph.node[-1].output == ["gradient"]


def evaluate_masked(folder: Path, recipe: str, *, masked: bool) -> tuple[Objective, float, NDArray[np.float32]]:
    """Return a recipe's objective, loss and gradient of a small picture of noise, with two regions where asked for."""
    rng = np.random.default_rng(2)
    content, style = (rng.uniform(0, 255, (93, width, 3)).astype(np.float32) for width in (110, 81))
    halves = [np.where(np.arange(x.shape[1])[:, None] < 40, x * 0, x * 0 + 255) for x in (content, style)]
    masks = {"content_mask": halves[0], "style_masks": halves[1:]} if masked else {}
    objective = Objective.open(
        folder, recipe, content=content, styles=[style], device="cpu", lowering="winograd", **masks
    )
    return objective, *objective(content[::-1])


@pytest.mark.parametrize(
    ("recipe", "masked"),
    [
        *[("gatys", False), ("gatys", True), ("impasto", False), ("wasserstein", False), ("wasserstein", True)],
        # of the same operators
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("impasto", True), ("seed", False), ("seed", True)]),
    ],
)
def test_neither_strips_nor_graphs_for_larger_pictures_change_what_is_computed(
    recipe: str, masked: bool, deep_model: Path, narrow_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, loss, gradient = evaluate_masked(deep_model, recipe, masked=masked)
    _, narrow_loss, narrow_gradient = evaluate_masked(narrow_model, recipe, masked=masked)
    assert narrow_loss == pytest.approx(loss, rel=1e-6)
    assert np.linalg.norm(narrow_gradient - gradient) < 1e-5 * np.linalg.norm(gradient)
    monkeypatch.setattr("impasto.runtime.model.graphs.SMALL_PIXELS", 0)
    for folder in (deep_model, narrow_model):
        other, other_loss, other_gradient = evaluate_masked(folder, recipe, masked=masked)
        assert own.metadata.graph == replace(other.metadata.graph, small=True)
        assert other_loss == pytest.approx(loss, rel=1e-5)
        assert np.linalg.norm(other_gradient - gradient) < 5e-3 * np.linalg.norm(gradient)
