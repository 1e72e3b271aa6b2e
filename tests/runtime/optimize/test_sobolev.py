"""The filter that is the metric of a search: symmetric, positive definite, and larger for slow changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from impasto.runtime.optimize.sobolev import CUTOFF, FLOOR, HALF_AT, RISE, Sobolev

SHAPES = pytest.mark.parametrize("shape", [(1, 3, 64, 48), (1, 3, 37, 41), (1, 3, 1, 5), (9, 8), (7,)])


@SHAPES
def test_it_is_symmetric_and_between_the_least_and_the_most_it_gives(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    sobolev = Sobolev(shape)
    assert np.vdot(sobolev.apply(a), b) == pytest.approx(np.vdot(a, sobolev.apply(b)), rel=1e-4, abs=1e-3)
    quotient = np.vdot(sobolev.apply(a), a) / np.vdot(a, a)
    assert 0.999 * FLOOR.min() < quotient < 1.001 * (FLOOR + RISE).max()


@pytest.mark.parametrize(
    ("colour", "number"), [((1, 1, 1), 0), ((1, 0, -1), 1), ((1, -2, 1), 2)], ids=["lightness", "red-blue", "green"]
)
def test_a_change_that_is_the_same_everywhere_gets_floor_and_rise_of_its_colour(
    colour: tuple[int, int, int], number: int
) -> None:
    change = np.broadcast_to(np.array(colour, np.float32)[:, None, None], (1, 3, 20, 30))
    np.testing.assert_allclose(Sobolev(change.shape).apply(change), (FLOOR + RISE)[number] * change, atol=1e-4)


def test_it_multiplies_each_wave_of_the_cosine_transform_of_lightness_by_its_gain() -> None:
    grey = np.random.default_rng(0).normal(size=(1, 1, 40, 60)).astype(np.float32).repeat(3, 1)
    frequency = np.hypot(np.arange(40)[:, None] / 40, np.arange(60) / 60)
    gain = FLOOR[0] + np.where(frequency < CUTOFF, RISE[0] / (1 + (frequency / HALF_AT) ** 2), 0)
    expected = idctn(gain * dctn(grey, axes=(2, 3), norm="ortho"), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(Sobolev(grey.shape).apply(grey), expected, atol=1e-4)


def test_the_array_is_left_as_it_is() -> None:
    array = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    before = array.copy()
    Sobolev(array.shape).apply(array)
    np.testing.assert_array_equal(array, before)
