"""Half precision, in onnxruntime's CPU provider: it rounds to float16 what goes into a convolution and comes out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from impasto.export import ops
from impasto.export.graph import Map
from impasto.export.half import half
from impasto.runtime import Objective, stylize
from impasto.runtime.errors import InputError
from impasto.runtime.session import Placement

Rgb = NDArray[np.float32]

#: A float16 has 11 significant bits; sums of many products lose less than their factors.
ROUNDING = 2.0**-10

HEIGHT, WIDTH = 61, 67


@pytest.fixture(autouse=True)
def _slow_on_purpose() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precision fp16", RuntimeWarning)
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
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(1, 5, 9, 8)) * 10.0**of_input).astype(np.float32)
    kernel = (rng.normal(size=(4, 5, 3, 3)) * 10.0**of_kernel).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    parameters = {f"block1_conv1.{key}": value for key, value in (("kernel", kernel), ("bias", bias))}
    tensors = {name: numpy_helper.from_array(value, name) for name, value in parameters.items()}
    var = ops.conv(ops.graph_input("x", Map(5)), "block1_conv1", 5, 4)
    model = half.lower("one convolution", {"y": var}, tensors)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": x})
    exact = torch.nn.functional.conv2d(*(torch.from_numpy(v).double() for v in (x, kernel, bias)), padding=1).numpy()
    without_bias = exact - bias[:, None, None]
    assert np.abs(found - exact).max() <= 4 * ROUNDING * np.abs(without_bias).max() + 1e-6 * np.abs(bias).max()


@pytest.mark.parametrize("recipe", ["seed", "crowson"])
def test_half_precision_agrees_with_single_up_to_its_rounding(recipe: str, real_model: Path) -> None:
    rng = np.random.default_rng(1)
    content, style, image = (rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(3))
    single = Objective.open(real_model, recipe, content=content, styles=[style], device="cpu", lowering="direct")
    loss, gradient = single(image)
    half_loss, half_gradient = open_half(real_model, content, style, recipe)(image)
    assert half_loss != loss  # it does round
    assert half_loss == pytest.approx(loss, rel=5e-3)
    assert relative(half_gradient, gradient) <= 2e-2


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


@pytest.mark.parametrize("weight", [1e-20, 1e20])
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
    with pytest.raises(InputError, match="precision 'fp8': expected fp32 or fp16"):
        Placement(precision="fp8")
    with pytest.raises(InputError, match="precision fp16: not with lowering winograd; leave one of the two out"):
        Placement(lowering="winograd", precision="fp16")


def test_a_cpu_is_said_to_be_slower_with_it(model: Path) -> None:
    picture = pictures()["a spark"]
    with pytest.warns(RuntimeWarning, match="precision fp16: on a CPU it only takes longer"):
        open_half(model, picture, picture)
