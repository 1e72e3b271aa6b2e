"""The filter that is the metric of a search: symmetric, positive definite, and larger for slow changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from impasto.runtime.optimize.sobolev import CUTOFF, HALF_AT, RISE, Sobolev

SHAPES = pytest.mark.parametrize("shape", [(1, 3, 64, 48), (1, 3, 37, 41), (1, 3, 1, 5), (7,)])


@SHAPES
def test_it_is_symmetric_and_lengthens_nothing_by_less_than_one(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    sobolev = Sobolev(shape)
    assert np.vdot(sobolev.apply(a), b) == pytest.approx(np.vdot(a, sobolev.apply(b)), rel=1e-4, abs=1e-3)
    assert 0.999 < np.vdot(sobolev.apply(a), a) / np.vdot(a, a) < 1 + RISE


@SHAPES
def test_a_change_that_is_the_same_everywhere_gets_the_whole_rise(shape: tuple[int, ...]) -> None:
    filtered = Sobolev(shape).apply(np.full(shape, 2, np.float32))
    np.testing.assert_allclose(filtered, 2 * (1 + RISE), rtol=1e-5)


def test_it_multiplies_each_wave_of_the_cosine_transform_by_its_gain() -> None:
    shape = (1, 3, 40, 60)
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    frequency = np.hypot(np.arange(40)[:, None] / 40, np.arange(60) / 60)
    gain = np.where(frequency < CUTOFF, 1 + RISE / (1 + (frequency / HALF_AT) ** 2), 1)
    expected = idctn(gain * dctn(array, axes=(2, 3), norm="ortho"), axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(Sobolev(shape).apply(array), expected, atol=1e-4)


def test_the_array_is_left_as_it_is() -> None:
    array = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    before = array.copy()
    Sobolev(array.shape).apply(array)
    np.testing.assert_array_equal(array, before)
