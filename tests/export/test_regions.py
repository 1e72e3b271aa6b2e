"""Losses by region: every operator against NumPy, and the graphs against the formulas of the paper, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import narrow_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from running import from_tiles, run, to_tiles

from impasto.export import losses, ops
from impasto.export.graph import GraphError, Guides, Map, PerRegion, Scalar, Var, square
from impasto.export.lowering import tiles
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.direct import direct
from impasto.export.lowering.winograd import winograd
from impasto.export.networks import CAFFE, NETWORKS, Network
from impasto.export.weights.weights import Weights
from impasto.export.weights_file import WeightsFile, write_weights
from impasto.runtime.plan.recipe import Recipe, StyleTerm, load_recipe
from impasto.runtime.plan.terms import CONTENT, GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, STYLE, target_of, weight_of

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]
Noise = Callable[..., Array]

GATYS, CROWSON, GALERNE = (load_recipe(name) for name in ("gatys", "crowson", "galerne"))
COVARIANCE = replace(GATYS, style=StyleTerm(**{**vars(GATYS.style), "loss": "covariance"}))

#: The most that a gradient may be off, relative: see `test_recipes`.
MOST = {"gram": 5e-3, "moments": 5e-3, "covariance": 5e-3, "wasserstein": 2e-2}


def relative(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def soft_guides(regions: int, height: int, width: int, seed: int = 0) -> Array:
    """Return guides [1, R, H, W] that sum to 1: areas with soft borders."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    centres = rng.uniform(0, 1, (regions, 2))
    far = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres])
    weights = np.exp(-40 * far)
    weights /= weights.sum(0)
    weights[weights < 1e-2] = 0
    return (weights / weights.sum(0))[None].astype(np.float32)


# --- operators ------------------------------------------------------------------------------------------------

C, LEVEL = 64, 1


def evaluate(output: Var, feeds: Mapping[str, Array], lowering: Lowering, height: int, width: int) -> Array:
    """Run one output for a picture of height x width; maps go in and come out as planes."""
    image = ops.graph_input(IMAGE, Map(3))
    given = {
        name: to_tiles(x, tiles.LARGE_TILING.sides[LEVEL]) if lowering is winograd and name == "x" else x
        for name, x in feeds.items()
    }
    given[IMAGE] = np.zeros((1, 3, height, width), np.float32)
    got = run({"y": output, "picture": image}, given, lowering)["y"]
    if lowering is winograd and isinstance(output.type, Map):
        return from_tiles(got, height >> LEVEL, width >> LEVEL)
    return got


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@settings(max_examples=6, deadline=None)
@given(st.integers(32, 70), st.integers(32, 70), st.integers(1, 4), st.integers(0, 99))
def test_guided_operators_are_their_formulas(
    lowering: Lowering, height: int, width: int, regions: int, seed: int
) -> None:
    h, w = height >> LEVEL, width >> LEVEL
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, C, h, w)).astype(np.float32)
    u = rng.uniform(0, 1 / (h * w), (1, regions, h, w)).astype(np.float32) * rng.integers(0, 2, (1, regions, h, w))
    u[0, 0] = 0  # one region is nowhere
    u = u.astype(np.float32)
    a = rng.normal(size=(regions, C, C)).astype(np.float32)
    v = rng.normal(size=(regions, C, 1)).astype(np.float32)
    at, guides = ops.graph_input("x", Map(C, LEVEL)), ops.graph_input("u", Guides(LEVEL))
    feeds = {"x": x, "u": u, "a": a, "v": v}
    flat, each = x[0].reshape(C, -1).astype(np.float64), u[0].reshape(regions, -1).astype(np.float64)
    matrices, columns = ops.graph_input("a", PerRegion(square(C))), ops.graph_input("v", PerRegion(ops.Matrix(C, 1)))
    expected = {
        ops.guided_gram(at, guides): np.stack([(flat * g) @ flat.T for g in each]),
        ops.guided_mean(at, guides): np.stack([flat @ g for g in each])[:, :, None],
        ops.guided_mix(matrices, at, guides): sum(m @ (flat * g) for m, g in zip(a, each, strict=True)).reshape(
            x.shape
        ),
        ops.guided_spread(columns, at, guides): sum(c * g for c, g in zip(v, each, strict=True)).reshape(x.shape),
    }
    for output, wanted in expected.items():
        got = evaluate(output, feeds, lowering, height, width)
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max() + 1e-9)


def test_guides_are_halved_like_maps_and_divided_by_their_sum() -> None:
    from peers import F, torch

    guides = soft_guides(3, 37, 45)
    guides[0, 1] = 0
    t = ops.graph_input("t", Guides())
    outputs = {"half": ops.halve_guides(t), "normal": ops.normalize_guides(t), "mean": ops.guide_mean(t)}
    got = run(outputs, {"t": guides})
    np.testing.assert_allclose(got["half"][0], F.avg_pool2d(torch.tensor(guides[0]), 2).numpy(), atol=1e-6)
    np.testing.assert_allclose(got["normal"].sum((2, 3)), [[1, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(got["mean"], guides[0].mean((1, 2)), atol=1e-6)


def test_functions_of_regions_are_evaluated_for_each_and_summed() -> None:
    a, s = ops.graph_input("a", square(2)), ops.graph_input("s", Scalar())
    twice = 2.0 * (s * a)
    function = ops.Function((a, s), (s * ops.inner(a, a), twice))
    values = [ops.graph_input("A", PerRegion(square(2))), ops.graph_input("S", PerRegion(Scalar()))]
    rng = np.random.default_rng(0)
    feeds = {"A": rng.normal(size=(5, 2, 2)).astype(np.float32), "S": rng.normal(size=5).astype(np.float32)}
    got = run({"sum": ops.RegionSum(function)(values), "each": ops.EachRegion(function, 1)(values)}, feeds)
    np.testing.assert_allclose(got["sum"], (feeds["S"] * (feeds["A"] ** 2).sum((1, 2))).sum(), rtol=1e-5)
    np.testing.assert_allclose(got["each"], 2 * feeds["S"][:, None, None] * feeds["A"], rtol=1e-5)


def test_what_does_not_fit_together_is_refused() -> None:
    x, u = ops.graph_input("x", Map(8, 1)), ops.graph_input("u", Guides(2))
    for make in (lambda: ops.guided_gram(x, u), lambda: ops.guided_mean(x, u), lambda: ops.guided_gram(u, u)):
        with pytest.raises(GraphError, match="takes a map and guides of its extent"):
            make()
    number = ops.graph_input("s", Scalar())
    with pytest.raises(GraphError, match="a number and its derivatives"):
        ops.RegionSum(ops.Function((number,), (ops.Identity(2)(),)))([ops.graph_input("S", PerRegion(Scalar()))])


# --- the graphs -----------------------------------------------------------------------------------------------


#: VGG-19 with fewer channels: small regions have more positions than that, which covariance matrices need.
NARROW = Network("vgg19", NETWORKS["vgg19"].depths, (8, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def narrow() -> Weights:
    return narrow_weights(NARROW)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, narrow: Weights) -> tuple[WeightsFile, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return write_weights(narrow, folder / "weights.data"), folder


def run_graph(
    outputs: Mapping[str, Var], feeds: Mapping[str, Array], lowering: Lowering, written: tuple[WeightsFile, Path]
) -> dict[str, Array]:
    file, folder = written
    onnx.save(lowering.lower("test", outputs, file.tensors), folder / "graph.onnx")
    session = onnxruntime.InferenceSession(folder / "graph.onnx", providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def planes(picture: Array) -> Array:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def style_inputs(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {name: value for name, value in feeds.items() if name.startswith("style/")}


def moments(f: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of f f^T and of f [C, M], with weights w [M]."""
    u = w / w.sum()
    return (f * u) @ f.T, f @ u


def deviation(covariance: torch.Tensor) -> torch.Tensor:
    """Return the standard deviations; that of a dead channel is 0, and has no derivative."""
    from peers import torch

    v = covariance.diagonal()
    return torch.where(v > 0, v.clamp(min=1e-30).sqrt(), 0.0)


def distance(
    loss: str, one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Return a style loss of two pairs of moments."""
    from peers import F, root, torch

    (g, m), (a, n) = one, other
    if loss == "gram":
        return F.mse_loss(g, a)
    s, t = g - torch.outer(m, m), a - torch.outer(n, n)
    if loss == "moments":
        of_channels = F.mse_loss(m, n) + F.mse_loss(deviation(s), deviation(t))
        return F.mse_loss(g, a) / len(s) ** 2 + 10 * of_channels
    if loss == "covariance":
        return F.mse_loss(s, t) + F.mse_loss(torch.outer(m, m), torch.outer(n, n))
    eps = 1e-4 * t.diagonal().mean() * torch.eye(len(s), dtype=s.dtype)
    root_ = root(t + eps).detach()
    trace = torch.linalg.svdvals(torch.linalg.cholesky(s + eps).T @ root_).sum()
    return F.mse_loss(m, n) + ((s + eps).trace() + (t + eps).trace() - 2 * trace) / len(s)


def weights_at(guides: Array, level: int) -> torch.Tensor:
    """Return the squares of guides at a level, [R, M]."""
    return (halved(guides, level) ** 2).flatten(1)


def halved(guides: Array, level: int) -> torch.Tensor:
    """Return guides at a level, [R, h, w]."""
    from peers import F, torch

    t = torch.tensor(guides[0], dtype=torch.float64)
    for _ in range(level):
        t = F.avg_pool2d(t, 2)
    return t


def soft_factors(height: int, width: int) -> Array:
    """Return factors of the content's weight, [1, 1, H, W]: 1 to 30 with soft borders, and 0 in a corner."""
    factors = 1 + 29 * soft_guides(2, height, width, 7)[:, :1]
    factors[..., : height // 4, : width // 4] = 0
    return factors


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@pytest.mark.parametrize("recipe", [GATYS, GALERNE, COVARIANCE, CROWSON], ids=lambda x: x.style.loss)
def test_loss_and_gradient_by_region_agree_with_autograd(
    recipe: Recipe, lowering: Lowering, written: tuple[WeightsFile, Path], narrow: Weights, noise: Noise
) -> None:
    from peers import PADDING_MODES, activations, torch

    image, content, style = noise(61, 75, 1), noise(61, 75, 2), noise(50, 67, 3)
    guides, of_style, factors = soft_guides(3, 61, 75, 1), soft_guides(3, 50, 67, 2), soft_factors(61, 75)
    graph = losses.statistics(recipe, NARROW, CAFFE, guided=True)
    feeds = run_graph(graph, {IMAGE: planes(content), GUIDES: guides}, lowering, written)
    feeds |= style_inputs(run_graph(graph, {IMAGE: planes(style), GUIDES: of_style}, lowering, written))
    weight = {CONTENT.name(name): 1e-3 for name in recipe.content.layers}
    weight |= {STYLE.name(name): 3.0 for name in recipe.style.layers} | {"tv": 0.0}
    feeds |= {weight_of(term): np.array(value, np.float32) for term, value in weight.items()}
    graph = losses.objective(recipe, NARROW, CAFFE, guided=True)
    got = run_graph(graph, {IMAGE: planes(image), GUIDES: guides, PROTECTION: factors, **feeds}, lowering, written)

    x = torch.tensor(planes(image)[0], dtype=torch.float64, requires_grad=True)
    f, p, s = (
        activations(narrow, y, recipe.layers, padding_mode=PADDING_MODES.get(recipe.name, "constant"))
        for y in (x, *(torch.tensor(planes(y)[0], dtype=torch.float64) for y in (content, style)))
    )
    loss = torch.zeros(())
    for name in recipe.content.layers:
        off = (f[name] - p[name]).unflatten(1, halved(factors, int(name[5]) - 1).shape[1:])
        loss = loss + 1e-3 * (halved(factors, int(name[5]) - 1) * off**2).mean()
    for name in recipe.style.layers:
        level = int(name[5]) - 1
        for w, v in zip(weights_at(guides, level), weights_at(of_style, level), strict=True):
            loss = loss + 3 * w.mean() * distance(recipe.style.loss, moments(f[name], w), moments(s[name], v))
    loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert abs(float(got[LOSS]) - loss.item()) <= 1e-4 * loss.item()
    assert relative(got[GRADIENT][0], x.grad.numpy()) <= MOST[recipe.style.loss]


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@pytest.mark.parametrize("recipe", [GATYS, GALERNE, CROWSON], ids=lambda x: x.style.loss)
def test_one_region_everywhere_is_no_region(
    recipe: Recipe, lowering: Lowering, written: tuple[WeightsFile, Path], noise: Noise
) -> None:
    image, target = noise(45, 53, 1), noise(45, 53, 2)
    got = []
    for guided in (False, True):
        feeds = {GUIDES: np.ones((1, 1, 45, 53), np.float32)} if guided else {}
        graph = losses.statistics(recipe, NARROW, CAFFE, guided=guided)
        targets = run_graph(graph, {IMAGE: planes(target), **feeds}, lowering, written)
        feeds |= {PROTECTION: np.ones((1, 1, 45, 53), np.float32)} if guided else {}
        graph = losses.objective(recipe, NARROW, CAFFE, guided=guided)
        feeds |= targets | {weight_of(term): np.ones((), np.float32) for term in graph if term not in (LOSS, GRADIENT)}
        got.append(run_graph(graph, {IMAGE: planes(image), **feeds}, lowering, written))
    plain, guided_ = got
    assert abs(float(plain[LOSS]) - float(guided_[LOSS])) <= 1e-5 * float(plain[LOSS])
    assert relative(guided_[GRADIENT], plain[GRADIENT]) <= 1e-3


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
def test_protection_everywhere_is_a_higher_weight_of_the_content(
    lowering: Lowering, written: tuple[WeightsFile, Path], noise: Noise
) -> None:
    ones = np.ones((1, 1, 45, 53), np.float32)
    graph = losses.statistics(GATYS, NARROW, CAFFE, guided=True)
    feeds = run_graph(graph, {IMAGE: planes(noise(45, 53, 2)), GUIDES: ones}, lowering, written)
    graph = losses.objective(GATYS, NARROW, CAFFE, guided=True)
    feeds |= {IMAGE: planes(noise(45, 53, 1)), GUIDES: ones}
    feeds |= {weight_of(term): np.ones((), np.float32) for term in graph if term not in (LOSS, GRADIENT)}
    weights = {weight_of(CONTENT.name(name)): np.array(16, np.float32) for name in GATYS.content.layers}
    protected = run_graph(graph, {**feeds, PROTECTION: 16 * ones}, lowering, written)
    weighed = run_graph(graph, {**feeds, **weights, PROTECTION: ones}, lowering, written)
    assert protected.keys() == weighed.keys()  # 16 is the square of a power of two: no digit differs
    assert all(np.array_equal(protected[name], weighed[name]) for name in protected)


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@pytest.mark.parametrize("recipe", [GATYS, COVARIANCE, CROWSON], ids=lambda x: x.style.loss)
def test_a_region_whose_guide_is_scaled_by_a_root_counts_so_many_times(
    recipe: Recipe, lowering: Lowering, written: tuple[WeightsFile, Path], noise: Noise
) -> None:
    """The style's loss is a sum over regions, each of which is measured here with no other that counts."""
    guides, strengths = soft_guides(3, 61, 75, 1), np.array([1, 0.3, 4], np.float32)
    graph = losses.statistics(recipe, NARROW, CAFFE, guided=True)
    feeds = run_graph(graph, {IMAGE: planes(noise(50, 67, 3)), GUIDES: soft_guides(3, 50, 67, 2)}, lowering, written)
    graph = losses.objective(recipe, NARROW, CAFFE, guided=True)
    weight = {weight_of(term): term.startswith("style") for term in graph if term not in (LOSS, GRADIENT)}
    feeds |= {name: np.array(value, np.float32) for name, value in weight.items()}
    feeds |= {IMAGE: planes(noise(61, 75, 1)), PROTECTION: np.ones((1, 1, 61, 75), np.float32)}

    def found(counts: Array) -> tuple[float, Array]:
        scaled = guides * np.sqrt(counts)[:, None, None]
        results = run_graph(graph, {**feeds, **content_of(61, 75), GUIDES: scaled}, lowering, written)
        return float(results[LOSS]), results[GRADIENT]

    def content_of(height: int, width: int) -> dict[str, Array]:
        measured = losses.statistics(recipe, NARROW, CAFFE, guided=True)
        one = {IMAGE: planes(noise(height, width, 2)), GUIDES: np.ones((1, 1, height, width), np.float32)}
        targets = run_graph(measured, one, lowering, written)
        return {name: value for name, value in targets.items() if name.startswith("content")}

    each = [found(np.eye(3, dtype=np.float32)[number]) for number in range(3)]
    loss, gradient = found(strengths)
    assert loss == pytest.approx(sum(s * one for s, (one, _) in zip(strengths, each, strict=True)), rel=1e-5)
    wanted = sum(s * one for s, (_, one) in zip(strengths, each, strict=True))
    assert relative(gradient, np.asarray(wanted)) <= 1e-4


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@pytest.mark.parametrize("recipe", [GATYS, GALERNE, CROWSON], ids=lambda x: x.style.loss)
def test_a_region_too_thin_for_the_deeper_layers_does_no_harm(
    recipe: Recipe, lowering: Lowering, written: tuple[WeightsFile, Path], noise: Noise
) -> None:
    """Here one is the last row of an odd number: every pooling leaves it out."""
    thin = np.zeros((1, 2, 45, 53), np.float32)
    thin[0, 0, :-1] = thin[0, 1, -1:] = 1
    graph = losses.statistics(recipe, NARROW, CAFFE, guided=True)
    feeds = run_graph(graph, {IMAGE: planes(noise(45, 53, 2)), GUIDES: soft_guides(2, 45, 53)}, lowering, written)
    graph = losses.objective(recipe, NARROW, CAFFE, guided=True)
    feeds |= {weight_of(term): np.ones((), np.float32) for term in graph if term not in (LOSS, GRADIENT)}
    feeds[PROTECTION] = np.ones((1, 1, 45, 53), np.float32)
    got = run_graph(graph, {IMAGE: planes(noise(45, 53, 1)), GUIDES: thin, **feeds}, lowering, written)
    assert all(np.isfinite(value).all() for value in got.values())


def test_graphs_without_guides_know_nothing_of_regions(narrow: Weights) -> None:
    for make in (losses.objective, losses.statistics):
        graph = make(GATYS, NARROW, CAFFE)
        model = direct.lower(
            "test",
            graph,
            {f"{k}.{part}": onnx.TensorProto() for k in narrow.layers for part in ("kernel", "bias")},
        )
        assert {GUIDES, PROTECTION}.isdisjoint(x.name for x in model.graph.input)
        assert "Scan" not in {node.op_type for node in model.graph.node}


def test_targets_are_named_as_without_guides(narrow: Weights) -> None:
    plain, guided = (losses.statistics(GATYS, NARROW, CAFFE, guided=guided) for guided in (False, True))
    assert plain.keys() == guided.keys()
    assert target_of(STYLE.name("block1_conv1")) in guided
