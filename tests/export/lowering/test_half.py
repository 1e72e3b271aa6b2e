"""Half precision: in onnxruntime's CPU provider, which rounds some values, and with all rounded, as on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from impasto.export import losses, ops
from impasto.export.graph import Map, topological
from impasto.export.lowering.base import OPSET
from impasto.export.lowering.half import Halved, half
from impasto.export.lowering.parameters import tensors
from impasto.export.networks import NETWORKS
from impasto.export.weights.weights import Weights
from impasto.runtime import Objective, stylize
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import InputError
from impasto.runtime.model.graphs import HALF, GraphKey
from impasto.runtime.pictures.planes import to_planes
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.plan.terms import GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, weight_of
from tests.export.running import run_exactly

Rgb = NDArray[np.float32]

#: A float16 has 11 significant bits; sums of many products lose less than their factors.
ROUNDING = 2.0**-10

HEIGHT, WIDTH = 61, 67


@pytest.fixture(autouse=True)
def _slow_on_purpose() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precision='fp16'", RuntimeWarning)
        yield


def open_half(model: Path, content: Rgb, style: Rgb, recipe: str = "seed", **more: float) -> Objective:
    return Objective.open(model, recipe, content=content, styles=[style], device="cpu", precision="fp16", **more)  # type: ignore[arg-type]


def relative(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def pictures() -> dict[str, Rgb]:
    """Return pictures at the ends of what a picture can be, and beyond."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT, WIDTH, 3)
    spark = np.zeros(shape, np.float32)
    spark[30, 30] = 255
    return {
        "black": np.zeros(shape, np.float32),
        "white": np.full(shape, 255, np.float32),
        "a spark": spark,
        "black and white noise": rng.choice(np.float32([0, 255]), shape),
        "far out of range": rng.uniform(-1e6, 1e6, shape).astype(np.float32),
        "hardly anything": rng.uniform(0, 1e-6, shape).astype(np.float32),
    }


@settings(deadline=None, max_examples=25)
@given(st.integers(-12, 12), st.integers(-6, 6), st.integers(0, 2**32 - 1))
def test_a_convolution_keeps_its_digits_at_any_magnitude(of_input: int, of_kernel: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(1, 5, 9, 8)) * 10.0**of_input).astype(np.float32)
    kernel = (rng.normal(size=(4, 5, 3, 3)) * 10.0**of_kernel).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    parameters = {f"block1_conv1.{key}": value for key, value in (("kernel", kernel), ("bias", bias))}
    tensors = {name: numpy_helper.from_array(value, name) for name, value in parameters.items()}
    var = ops.Conv("block1_conv1", 5, 4)(ops.graph_input("x", Map(5)))
    model = half.lower("one convolution", {"y": var}, tensors)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": x})
    exact = torch.nn.functional.conv2d(*(torch.from_numpy(v).double() for v in (x, kernel, bias)), padding=1).numpy()
    without_bias = exact - bias[:, None, None]
    assert np.abs(found - exact).max() <= 4 * ROUNDING * np.abs(without_bias).max() + 1e-6 * np.abs(bias).max()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 4),
    st.sampled_from([0.0, 1e-8, 1e-3, 1.0, 1e4]),
    st.sampled_from([1e-4, 1e-2, 1.0, 1e2]),
    st.lists(st.sampled_from([0.0, 1e-6, 1.0, 1e3]), min_size=4, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_convolutions_in_a_row_keep_biases_and_signal(
    count: int, of_input: float, of_kernels: float, of_biases: list[float], seed: int
) -> None:
    """Whichever of the two is the larger, at whichever of them; nothing in a network says that they are alike."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(1, 5, 6, 7)) * of_input).astype(np.float32)
    var, exact, parameters = ops.graph_input("x", Map(5)), torch.from_numpy(x).double(), {}
    for k in range(count):
        name = f"block1_conv{k + 1}"
        kernel, bias = rng.normal(size=(5, 5, 3, 3)) * of_kernels, rng.normal(size=5) * of_biases[k]
        parameters |= {f"{name}.kernel": kernel.astype(np.float32), f"{name}.bias": bias.astype(np.float32)}
        var = ops.relu(ops.Conv(name, 5, 5)(var))
        layer = [torch.from_numpy(parameters[f"{name}.{key}"]).double() for key in ("kernel", "bias")]
        exact = torch.nn.functional.conv2d(exact, *layer, padding=1).relu()
    lowered = half.lower("chain", {"y": var}, {n: numpy_helper.from_array(v, n) for n, v in parameters.items()})
    found = run_exactly(lowered, {"x": x})["y"]
    assert np.abs(found - exact.numpy()).max() <= 0.02 * exact.abs().max().item() + 1e-20


@pytest.mark.parametrize("recipe", ["seed", "crowson", "galerne"])
def test_half_precision_agrees_with_single_up_to_its_rounding(recipe: str, real_model: Path) -> None:
    rng = np.random.default_rng(1)
    content, style, image = (rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(3))
    single = Objective.open(real_model, recipe, content=content, styles=[style], device="cpu", lowering="direct")
    loss, gradient = single(image)
    half_loss, half_gradient = open_half(real_model, content, style, recipe)(image)
    assert half_loss != loss  # it does round
    assert half_loss == pytest.approx(loss, rel=5e-3)
    assert relative(half_gradient, gradient) <= 2e-2


# --- with every value rounded ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """What an objective in half precision is given, and what that in single precision makes of it."""

    model: onnx.ModelProto
    feeds: Mapping[str, NDArray[np.float32]]
    loss: float
    gradient: NDArray[np.float32]


def problem(
    folder: Path,
    recipe: str,
    content: Rgb,
    style: Rgb,
    image: Rgb,
    weight: float = 1.0,
    guides: NDArray[np.float32] | None = None,
) -> Problem:
    """Weight a recipe's terms such that each comes to `weight` at a picture; by region, [1, R, H, W], with `guides`.

    With these, the first one's shares are also how much more the content counts.
    """
    key = GraphKey(by_region=guides is not None)
    measure, evaluate = (
        onnxruntime.InferenceSession(folder / single.file(recipe), providers=["CPUExecutionProvider"])
        for single in (key.targets, key)
    )
    targets = [x.name for x in measure.get_outputs()]
    given_ = {} if guides is None else {GUIDES: guides}
    of_content, of_style = (
        dict(zip(targets, measure.run(targets, {IMAGE: to_planes(picture, "picture"), **given_}), strict=True))
        for picture in (content, style)
    )
    feeds = {IMAGE: to_planes(image, "image"), **given_}
    if guides is not None:
        feeds[PROTECTION] = 1 + 29 * guides[:, :1]
    feeds |= {name: (of_content if "content" in name else of_style)[name] for name in targets}
    terms = [x.name for x in evaluate.get_outputs() if x.name not in (LOSS, GRADIENT)]
    ones = {weight_of(term): np.ones((), np.float32) for term in terms}
    means = evaluate.run(terms, feeds | ones)
    feeds |= {weight_of(term): np.array(weight / (m or 1), np.float32) for term, m in zip(terms, means, strict=True)}
    loss, gradient = evaluate.run([LOSS, GRADIENT], feeds)
    return Problem(onnx.load(folder / replace(key, precision=HALF).file(recipe)), feeds, float(loss), gradient)


def small_pictures() -> tuple[Rgb, Rgb, Rgb]:
    rng = np.random.default_rng(4)
    content, style, image = rng.uniform(0, 255, (3, 34, 37, 3)).astype(np.float32)
    return content, style, image


@pytest.mark.parametrize(
    ("recipe", "weight"),
    [("seed", 1e-20), ("seed", 1e20)] + [(name, 1.0) for name in ("seed", "gatys", "impasto", "crowson", "galerne")],
)
def test_with_every_value_rounded_it_agrees_with_single_precision(recipe: str, weight: float, real_model: Path) -> None:
    posed = problem(real_model, recipe, *small_pictures(), weight)
    found = run_exactly(posed.model, posed.feeds)
    assert found[LOSS] == pytest.approx(posed.loss, rel=5e-3)
    assert relative(found[GRADIENT], posed.gradient) <= 3e-2


@pytest.mark.parametrize(
    ("recipe", "most"),
    [(name, 3e-2) for name in ("gatys", "impasto", "seed", "galerne")]
    + [pytest.param("crowson", 0.2, marks=pytest.mark.slow)],
)
def test_by_region_with_every_value_rounded_it_agrees_with_single_precision(
    recipe: str, most: float, real_model: Path
) -> None:
    """With `crowson` less: its deepest covariances, of four positions in 512 channels here, are ill-conditioned."""
    content, style, image = small_pictures()
    guides = np.random.default_rng(5).uniform(0, 1, (1, 2, *image.shape[:2])).astype(np.float32)
    guides[0, 0, :, :4] = 0
    posed = problem(real_model, recipe, content, style, image, guides=guides)
    found = run_exactly(posed.model, posed.feeds)
    assert found[LOSS] == pytest.approx(posed.loss, rel=5e-3)
    assert relative(found[GRADIENT], posed.gradient) <= most


@pytest.mark.parametrize(
    ("recipe", "which"),
    [
        *(("seed", which) for which in pictures()),
        ("impasto", "black and white noise"),
        pytest.param("crowson", "a spark", marks=pytest.mark.slow),
    ],
)
def test_no_map_passes_its_bound(recipe: str, which: str, real_model: Path, real_weights: Weights) -> None:
    """The bounds are below float16's end, so nothing is infinite, nor NaN."""
    cut = {name: picture[10:44, 10:47] for name, picture in pictures().items()}
    posed = problem(real_model, recipe, cut["a spark"], cut["black and white noise"], cut[which])
    parameters = {name: numpy_helper.from_array(value, name) for name, value in tensors(real_weights).items()}
    graph = losses.objective(load_recipe(recipe), NETWORKS["vgg19"], real_weights.preprocessing)
    builder = Halved(parameters)
    for var in topological(graph.values()):
        if isinstance(var.op, ops.Input):
            builder.bind(var, var.op.name)
    half.emit(builder, graph.values())
    values = [(builder.values[graph[name]], TensorProto.FLOAT) for name in (LOSS, GRADIENT)]
    values += [(name, TensorProto.FLOAT16) for name in builder.scaled]
    model = helper.make_model(
        helper.make_graph(
            builder.nodes,
            "all maps",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in posed.feeds],
            [helper.make_tensor_value_info(name, type_, None) for name, type_ in values],
            list(builder.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    found = run_exactly(model, posed.feeds)
    assert all(np.isfinite(value).all() for value in found.values())
    assert len(builder.scaled) > 80
    for name, known in builder.scaled.items():
        assert known.bound <= 2.0**15
        assert np.abs(found[name]).max() <= known.bound * (1 + ROUNDING)
        assert not known.positive or found[name].min() >= 0


@pytest.fixture(scope="module")
def objective(real_model: Path) -> Objective:
    """Return an objective of extreme pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return open_half(real_model, pictures()["a spark"], pictures()["black and white noise"])


@pytest.mark.parametrize("which", pictures())
def test_extreme_pictures_have_a_loss_and_a_gradient(which: str, objective: Objective) -> None:
    loss, gradient = objective(pictures()[which])
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("weight", [1e-15, 1e15])  # the least and the largest that may be
def test_extreme_weights_leave_the_gradient_its_direction(weight: float, real_model: Path) -> None:
    """Gradients of float16 itself would be zeros or infinite."""
    rng = np.random.default_rng(2)
    content, style, image = (rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(3))
    weights = {"content_weight": weight, "style_weight": weight, "tv_weight": 0.0}
    single = Objective.open(
        real_model, "seed", content=content, styles=[style], device="cpu", lowering="direct", **weights
    )
    _, gradient = single(image)
    _, found = open_half(real_model, content, style, **weights)(image)
    assert np.linalg.norm(gradient.astype(np.float64)) > 0
    assert relative(found, gradient) <= 2e-2


def test_a_transfer_in_half_precision_ends_with_as_good_a_loss(real_model: Path) -> None:
    rng = np.random.default_rng(3)
    content, style = (rng.uniform(0, 255, (8, 8, 3)).astype(np.float32).repeat(10, 0).repeat(10, 1) for _ in range(2))

    def loss(precision: str) -> float:
        more = {"size": 80, "evaluations": 15, "device": "cpu", "lowering": "direct", "precision": precision}
        return stylize(content, [style], model=real_model, recipe="gatys", **more).loss  # type: ignore[arg-type]

    assert loss("fp16") == pytest.approx(loss("fp32"), rel=0.05)


def test_what_half_precision_is_not_for_is_refused() -> None:
    with pytest.raises(InputError, match="precision 'fp8': expected auto, fp32, fp16 or bf16"):
        Placement(precision="fp8")
    with pytest.raises(InputError, match="precision='fp16': not with lowering='winograd'; leave one of the two out"):
        Placement(lowering="winograd", precision="fp16")


def test_a_cpu_is_said_to_be_slower_with_it(model: Path) -> None:
    picture = pictures()["a spark"]
    with pytest.warns(RuntimeWarning, match="precision='fp16': on a CPU it only takes longer"):
        open_half(model, picture, picture)
