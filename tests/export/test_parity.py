"""Our graphs against PyTorch: activations, losses and gradients, with the real weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from reference import Reference
from running import run

from impasto.cli.samples import draw_content, draw_style
from impasto.export import ops
from impasto.export.build import export_model, write_weights
from impasto.export.direct import direct
from impasto.export.graph import Map
from impasto.export.losses import activations
from impasto.export.networks import NETWORKS
from impasto.export.sources import load_weights
from impasto.export.weights import TORCHVISION, Weights
from impasto.runtime.model import LOWERINGS
from impasto.runtime.objective import Objective
from impasto.runtime.recipe import load_recipe

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]

#: Of the gradient. Through `winograd`, more ReLUs are decided by rounding; one alone may move it by 1e-3
#: (see test_fast_gradient_is_the_exact_one_but_for_decisions_within_rounding_error).
TOLERANCE = {"direct": 1e-3, "winograd": 1e-2}

SIZES = [(96, 128), (75, 101), (300, 300)]


@pytest.fixture(scope="module")
def average_model(tmp_path_factory: pytest.TempPathFactory, real_weights: Weights) -> Path:
    """The same recipes with average pooling."""
    folder = tmp_path_factory.mktemp("models") / "average"
    recipes = [replace(load_recipe(name), pooling="average") for name in ("seed", "gatys")]
    export_model(folder, recipes, real_weights)
    return folder


def relative(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def smooth(picture: Rgb) -> Rgb:
    """Blur noise, so that a picture has structure at the scale the network sees."""
    for axis in (0, 1):
        picture = sum(np.roll(picture, k, axis) for k in range(-3, 4)) / 7  # type: ignore[assignment]
    return ((picture - picture.min()) / np.ptp(picture) * 255).astype(np.float32)


@functools.cache
def references() -> dict[tuple[str, str, tuple[int, int]], tuple[float, NDArray[np.float64]]]:
    """Remember what PyTorch says in float64, which takes long, for both lowerings."""
    return {}


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("recipe", ["seed", "gatys"])
def test_loss_and_gradient_agree_with_autograd(
    recipe: str,
    pooling: str,
    size: tuple[int, int],
    lowering: str,
    real_model: Path,
    average_model: Path,
    real_weights: Weights,
    noise: Noise,
) -> None:
    content, style = smooth(noise(*size, 1)), smooth(noise(*size, 2))
    image = 0.7 * content + 0.3 * noise(*size, 3)
    model = real_model if pooling == "max" else average_model
    objective = Objective.open(model, recipe, content=content, styles=[style], device="cpu", lowering=lowering)
    loss, gradient = objective(image)
    known, key = references(), (recipe, pooling, size)
    if key not in known:
        known[key] = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(image)
    expected_loss, expected_gradient = known[key]
    assert objective.recipe.pooling == pooling
    assert objective.metadata.lowering == lowering
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected_gradient) <= TOLERANCE[lowering]


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [(512, 512), (300, 400), (333, 517), (131, 97), (768, 1024)], ids=lambda s: f"{s[0]}x{s[1]}"
)
@pytest.mark.parametrize("recipe", ["seed", "gatys"])
def test_fast_lowering_agrees_with_autograd_on_large_pictures(
    recipe: str, size: tuple[int, int], real_model: Path, real_weights: Weights
) -> None:
    """On the drawn samples, between content and style; by hand, for the reference takes minutes and gigabytes."""
    height, width = size
    content, style = (np.asarray(draw(width, height), np.float32) for draw in (draw_content, draw_style))
    image = 0.8 * content + 0.2 * style
    objective = Objective.open(real_model, recipe, content=content, styles=[style], device="cpu", lowering="winograd")
    loss, gradient = objective(image)
    expected_loss, expected_gradient = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(
        image
    )
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected_gradient) <= 1e-3


@pytest.mark.parametrize("colour", [0, 255, 90])
def test_flat_pictures_have_a_finite_gradient_and_the_right_loss(
    colour: int, real_model: Path, real_weights: Weights, noise: Noise
) -> None:
    """Where whole areas tie for a maximum, any share is a subgradient: the loss is what can be compared."""
    flat = np.full((75, 101, 3), colour, np.float32)
    content, style = noise(75, 101, 1), noise(75, 101, 2)
    for lowering in LOWERINGS:
        objective = Objective.open(real_model, "seed", content=content, styles=[style], device="cpu", lowering=lowering)
        loss, gradient = objective(flat)
        expected, _ = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(flat)
        assert abs(loss - expected) <= 1e-5 * expected
        assert np.isfinite(gradient).all()
        step = 1e-4 * loss / float(np.vdot(gradient, gradient)) * gradient
        assert objective(flat - step)[0] < loss


def test_fast_gradient_is_the_exact_one_but_for_decisions_within_rounding_error(
    real_model: Path, real_weights: Weights, noise: Noise
) -> None:
    """A ReLU whose input is zero to within rounding may be open or shut; apart from such, the gradients are equal."""
    content, style, image = noise(61, 67, 1), noise(61, 67, 2), noise(61, 67, 3)
    objective = Objective.open(real_model, "gatys", content=content, styles=[style], device="cpu", lowering="winograd")
    reference = Reference(real_weights, objective.recipe, content, style)
    _, exact = reference.loss_and_gradient(image)
    difference = (objective(image)[1] - exact).ravel()
    undecided = reference.undecided(image, within=2e-5)
    if undecided.size:
        parts, *_ = np.linalg.lstsq(undecided.T, difference, rcond=None)
        difference = difference - undecided.T @ parts
    assert np.linalg.norm(difference) <= 5e-5 * np.linalg.norm(exact)


def test_torchvision_preprocessing_is_part_of_the_graph(tmp_path: Path, noise: Noise) -> None:
    weights = replace(load_weights("random", "vgg19", seed=3), preprocessing=TORCHVISION)
    export_model(tmp_path / "model", [load_recipe("gatys")], weights)
    content, style, image = (noise(40, 48, k) for k in range(3))
    objective = Objective.open(tmp_path / "model", "gatys", content=content, styles=[style], device="cpu")
    loss, gradient = objective(image)
    expected_loss, expected_gradient = Reference(weights, objective.recipe, content, style).loss_and_gradient(image)
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected_gradient) <= 1e-3


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (36, 48), (54, 85)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_smallest_and_odd_sizes_agree_with_autograd(
    size: tuple[int, int], lowering: str, real_model: Path, real_weights: Weights, noise: Noise
) -> None:
    content, style, image = (noise(*size, k) for k in range(3))
    objective = Objective.open(real_model, "seed", content=content, styles=[style], device="cpu", lowering=lowering)
    loss, gradient = objective(image)
    expected_loss, expected = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(image)
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected) <= TOLERANCE[lowering]


def test_ties_in_max_pooling_share_the_gradient(real_model: Path, real_weights: Weights, noise: Noise) -> None:
    """In a flat picture whole windows are equal; like PyTorch's amax (not max_pool2d), all of them get a share."""
    x = ops.graph_input("x", Map(2))
    y = ops.max_pool(x)
    g = ops.graph_input("g", y.type)
    value = np.round(noise(7, 9)[None, :, :, :2].transpose(0, 3, 1, 2) / 64).astype(np.float32)
    upstream = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)
    got = run({"u": ops.max_unpool(g, x, y)}, {"x": value, "g": upstream})["u"]
    t = torch.tensor(value, requires_grad=True)
    windows = t[:, :, :6, :8].reshape(1, 2, 3, 2, 4, 2)
    (windows.amax((3, 5)) * torch.tensor(upstream)).sum().backward()
    assert t.grad is not None
    np.testing.assert_allclose(got, t.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_activations_of_every_layer_agree_with_pytorch(
    pooling: str, real_weights: Weights, tmp_path: Path, noise: Noise
) -> None:
    network = NETWORKS["vgg19"]
    names = [layer.name for layer in network.layers]
    image = ops.graph_input("image", Map(3))
    graph = activations(image, network, real_weights.preprocessing, pooling, names)
    file = write_weights(real_weights, tmp_path / "weights.data")
    onnx.save(direct.lower("activations", graph, file.tensors), tmp_path / "activations.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "activations.onnx", providers=["CPUExecutionProvider"])
    picture = noise(75, 101)
    ours = dict(zip(names, session.run(names, {"image": picture.transpose(2, 0, 1)[None]}), strict=True))
    recipe = replace(load_recipe("seed"), pooling=pooling)
    reference = Reference(real_weights, recipe, picture, picture)
    with torch.no_grad():
        theirs = reference.activations(reference.tensor(picture), names)
    for name in names:
        assert ours[name].shape == tuple(theirs[name].shape)
        assert relative(ours[name], theirs[name].numpy()) < 1e-5, name
