"""The statistics of channels that hardly vary: where roots have no derivative, and float32 no digits left."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Map, Var
from impasto.export.lowering import tiles
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.direct import direct
from impasto.export.lowering.winograd import winograd
from impasto.export.style_losses import LEAST_VARIANCE, Moments, style_loss_of
from impasto.runtime.plan.recipe import StyleTerm
from impasto.runtime.plan.terms import IMAGE
from tests.export.running import from_tiles, run, to_tiles

Array = NDArray[np.float32]

C, LEVEL, HEIGHT, WIDTH = 64, 1, 48, 62


def evaluate(outputs: dict[str, Var], x: Array, feeds: dict[str, Array], lowering: Lowering) -> dict[str, Array]:
    """Run outputs of a map [1, C, H, W] of the input `x`; maps come out as planes."""
    image = ops.graph_input(IMAGE, Map(3))
    given = to_tiles(x, tiles.LARGE_TILING.sides[LEVEL]) if lowering is winograd else x
    picture = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    got = run({**outputs, "picture": image}, {**feeds, "x": given, IMAGE: picture}, lowering)
    return {
        name: from_tiles(value, HEIGHT >> LEVEL, WIDTH >> LEVEL)
        if lowering is winograd and isinstance(outputs[name].type, Map)
        else value
        for name, value in got.items()
        if name in outputs
    }


def activations(seed: int) -> Array:
    """Return activations of which two channels do not vary, one is zero, and one varies by 3 around 300."""
    x = np.random.default_rng(seed).gamma(1, 80, (1, C, HEIGHT >> LEVEL, WIDTH >> LEVEL))
    x[:, 0], x[:, 1], x[:, 2] = 0, 411.3, 0.37
    x[:, 3] = 300 + 3 * np.sin(np.arange(x[:, 3].size)).reshape(x[:, 3].shape)
    return x.astype(np.float32)


@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
def test_standard_deviations_are_right_to_the_digits_that_float32_leaves(lowering: Lowering) -> None:
    x = activations(0)
    f = ops.graph_input("x", Map(C, LEVEL))
    found = evaluate({"s": Moments(ops.gram(f), ops.channel_mean(f)).deviation}, x, {}, lowering)["s"][:, 0]
    flat = x.reshape(C, -1).astype(np.float64)
    rounding = 2e-6 * (flat**2).mean(1)  # of the variance, a difference of numbers of this size
    wanted = flat.var(1)
    error = np.abs(found.astype(np.float64) ** 2 - wanted - LEAST_VARIANCE)
    assert (error <= rounding + 1e-5 * wanted + 1e-9).all()
    assert found[3] == pytest.approx(flat[3].std(), rel=0.03)
    assert found[0] == pytest.approx(LEAST_VARIANCE**0.5)


@pytest.mark.parametrize("times", [10, 0.2])
@pytest.mark.parametrize("lowering", [direct, winograd], ids=lambda x: x.layout)
def test_a_channel_that_does_not_vary_has_a_finite_gradient(lowering: Lowering, times: float) -> None:
    x, target = activations(1), activations(2)
    target[:, :3] = np.random.default_rng(3).gamma(1, 80, target[:, :3].shape)  # the style's do vary
    f = ops.graph_input("x", Map(C, LEVEL))
    style = StyleTerm(1, "mean", {}, "moments", times)
    loss, moments = style_loss_of(style), Moments(ops.gram(f), ops.channel_mean(f))
    aim = evaluate({"t": loss.target(moments)}, target, {}, lowering)["t"]
    distance = loss.loss(moments, ops.graph_input("t", loss.target_type(C)))
    found = evaluate({"loss": distance, "gradient": gradient(distance, f)}, x, {"t": aim}, lowering)

    (g, m, s), (a, n, t) = (parts(y) for y in (x, target))
    wanted = ((g - a) ** 2).mean() / C**2 + times * (((m - n) ** 2).mean() + ((s - t) ** 2).mean())
    assert found["loss"] == pytest.approx(wanted, rel=1e-3)
    flat = x.reshape(C, -1).astype(np.float64)
    of_gram = 4 / C**4 * (g - a) @ flat
    of_mean = 2 * times / C * (m - n)
    varies = flat.std(1) > 1
    of_deviation = np.where(varies, 2 * times / C * (s - t) / np.where(varies, s, 1), 0)[:, None] * (flat - m[:, None])
    expected = ((of_gram + of_mean[:, None] + of_deviation) / flat.shape[1]).reshape(x.shape)
    np.testing.assert_allclose(found["gradient"], expected, atol=2e-3 * np.abs(expected).max())


def parts(x: Array) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the Gram matrix, the means and the standard deviations of a map."""
    flat = x.reshape(C, -1).astype(np.float64)
    return flat @ flat.T / flat.shape[1], flat.mean(1), flat.std(1)
