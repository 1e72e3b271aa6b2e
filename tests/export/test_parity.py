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
from numpy.typing import NDArray
from reference import Record, Reference, margin, torch
from running import decisions, run

from docs.samples import draw_content, draw_style
from impasto.export import ops
from impasto.export.graph import Map
from impasto.export.losses import activations
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.direct import direct
from impasto.export.lowering.winograd import small, winograd
from impasto.export.networks import NETWORKS, TORCHVISION
from impasto.export.weights.sources import load_weights
from impasto.export.weights.weights import Weights
from impasto.export.weights_file import write_weights
from impasto.runtime.engine.objective import Objective
from impasto.runtime.model.graphs import LAYOUTS
from impasto.runtime.pictures.photographs import read_picture
from impasto.runtime.pictures.planes import resize
from impasto.runtime.plan.recipe import load_recipe
from tests.conftest import export_unchecked

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]

#: Of the gradient. Through `winograd`, more ReLUs are decided by rounding; one alone may move it by 1e-3
#: (see test_gradient_is_the_exact_one_for_decisions_within_rounding_error).
TOLERANCE = {"direct": 1e-3, "winograd": 1e-2}

#: Pooling and size of the pictures.
CASES = [
    *(pytest.param(pooling, size) for size in ((96, 128), (75, 101)) for pooling in ("max", "average")),
    *(pytest.param(pooling, (300, 300), marks=pytest.mark.slow) for pooling in ("max", "average")),  # the same graphs
]


@pytest.fixture(scope="module")
def average_model(tmp_path_factory: pytest.TempPathFactory, real_weights: Weights) -> Path:
    """The same recipes with average pooling."""
    folder = tmp_path_factory.mktemp("models") / "average"
    recipes = [replace(load_recipe(name), pooling="average") for name in ("seed", "gatys")]
    export_unchecked(folder, recipes, real_weights)
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


@pytest.mark.parametrize("lowering", LAYOUTS)
@pytest.mark.parametrize(("pooling", "size"), CASES, ids=lambda x: x if isinstance(x, str) else f"{x[0]}x{x[1]}")
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


@functools.cache
def drawn(height: int, width: int) -> tuple[Rgb, Rgb, Rgb]:
    """Return content, style and a picture between them, drawn: strong edges, and flat areas that are full of ties."""
    content, style = (np.asarray(draw(width, height), np.float32) for draw in (draw_content, draw_style))
    return content, style, 0.8 * content + 0.2 * style


@functools.cache
def photographed(height: int, width: int) -> tuple[Rgb, Rgb, Rgb]:
    """Return content, style and a picture between them, of the pictures that lie beside the project."""
    folder = Path(__file__).parents[2].parent / "shared" / "images"
    paths = [folder / name for name in ("tubingen.jpg", "starry_night.jpg")]
    if not all(path.exists() for path in paths):
        pytest.skip(f"no pictures in {folder}")
    content, style = (np.asarray(resize(read_picture(path), width, height), np.float32) for path in paths)
    return content, style, 0.8 * content + 0.2 * style


_LARGE = [(300, 300), (512, 512), (300, 400), (333, 517), (131, 97), (768, 1024)]


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
@pytest.mark.parametrize("recipe", ["seed", "gatys"])
@pytest.mark.parametrize(
    "pictures", [drawn, pytest.param(photographed, marks=pytest.mark.slow)], ids=lambda f: f.__name__
)
@pytest.mark.parametrize(
    "size",
    [(61, 67), *(pytest.param(size, marks=pytest.mark.slow) for size in _LARGE)],
    ids=lambda s: f"{s[0]}x{s[1]}",
)
def test_gradient_is_the_exact_one_for_decisions_within_rounding_error(
    size: tuple[int, int],
    pictures: Callable[[int, int], tuple[Rgb, Rgb, Rgb]],
    recipe: str,
    lowering: Lowering,
    real_model: Path,
    real_weights: Weights,
    tmp_path: Path,
) -> None:
    """A ReLU whose input is zero to within rounding may be open or shut, and a window with a tie to within rounding...

    ...may go to either. So the reference, in float64, decides as the lowering did; what is left is held to 1e-4. And
    the lowering may decide otherwise than float64 only where that is as good as tied.
    """
    content, style, image = pictures(*size)
    objective = Objective.open(
        real_model, recipe, content=content, styles=[style], device="cpu", lowering=lowering.layout
    )
    reference, taken = Reference(real_weights, objective.recipe, content, style), Record()
    used = small if objective.metadata.graph.small else lowering
    made = decisions(real_weights, used, objective.recipe, image, tmp_path)
    loss, gradient = objective(image)
    expected_loss, expected = reference.loss_and_gradient(image, taken, made)
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected) <= 1e-4
    assert margin(taken, made) <= 5e-5


@pytest.mark.parametrize("colour", [0, 255, 90])
def test_flat_pictures_have_a_finite_gradient_and_the_right_loss(
    colour: int, real_model: Path, real_weights: Weights, noise: Noise
) -> None:
    """Where whole areas tie for a maximum, any share is a subgradient: the loss is what can be compared."""
    flat = np.full((75, 101, 3), colour, np.float32)
    content, style = noise(75, 101, 1), noise(75, 101, 2)
    expected, _ = Reference(real_weights, load_recipe("seed"), content, style).loss_and_gradient(flat)
    for lowering in LAYOUTS:
        objective = Objective.open(real_model, "seed", content=content, styles=[style], device="cpu", lowering=lowering)
        loss, gradient = objective(flat)
        assert abs(loss - expected) <= 1e-5 * expected
        assert np.isfinite(gradient).all()
        step = 1e-4 * loss / float(np.vdot(gradient, gradient)) * gradient
        assert objective(flat - step)[0] < loss


def test_torchvision_preprocessing_is_part_of_the_graph(tmp_path: Path, noise: Noise) -> None:
    weights = replace(load_weights("random", "vgg19", seed=3), preprocessing=TORCHVISION)
    export_unchecked(tmp_path / "model", [load_recipe("gatys")], weights)
    content, style, image = (noise(40, 48, k) for k in range(3))
    objective = Objective.open(tmp_path / "model", "gatys", content=content, styles=[style], device="cpu")
    loss, gradient = objective(image)
    expected_loss, expected_gradient = Reference(weights, objective.recipe, content, style).loss_and_gradient(image)
    assert abs(loss - expected_loss) <= 1e-5 * expected_loss
    assert relative(gradient, expected_gradient) <= 1e-3


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (36, 48), (54, 85)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_smallest_and_odd_sizes_agree_with_autograd(
    size: tuple[int, int], real_model: Path, real_weights: Weights, noise: Noise
) -> None:
    content, style, image = (noise(*size, k) for k in range(3))
    expected_loss, expected = Reference(real_weights, load_recipe("seed"), content, style).loss_and_gradient(image)
    for lowering in LAYOUTS:
        objective = Objective.open(real_model, "seed", content=content, styles=[style], device="cpu", lowering=lowering)
        loss, gradient = objective(image)
        assert abs(loss - expected_loss) <= 1e-5 * expected_loss, lowering
        assert relative(gradient, expected) <= TOLERANCE[lowering], lowering


def test_the_first_of_equal_elements_takes_the_gradient_of_its_window() -> None:
    """As in PyTorch and TensorFlow."""
    x = ops.graph_input("x", Map(2))
    y = ops.max_pool(x)
    g = ops.graph_input("g", y.type)
    value = np.random.default_rng(0).integers(0, 3, (1, 2, 7, 9)).astype(np.float32)
    upstream = np.random.default_rng(1).normal(size=(1, 2, 3, 4)).astype(np.float32)
    got = run({"u": ops.max_unpool(g, x, y)}, {"x": value, "g": upstream})["u"]
    t = torch.tensor(value, requires_grad=True)
    (torch.nn.functional.max_pool2d(t, 2) * torch.tensor(upstream)).sum().backward()
    assert t.grad is not None
    np.testing.assert_array_equal(got, t.grad.numpy())


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_activations_of_every_layer_agree_with_pytorch(
    pooling: str, real_weights: Weights, tmp_path: Path, noise: Noise
) -> None:
    network = NETWORKS["vgg19"]
    names = [layer.name for layer in network.layers]
    image = ops.graph_input("image", Map(3))
    graph = activations(image, network, real_weights.preprocessing, pooling, "zeros", names)
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
