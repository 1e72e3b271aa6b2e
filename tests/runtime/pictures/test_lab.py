"""CIELAB is that of the standards, and all of sRGB comes back from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.pictures.lab import from_lab, to_lab

levels = st.tuples(*[st.integers(0, 255)] * 3)


def reference(color: tuple[int, ...]) -> list[float]:
    """Return CIELAB of one colour, number by number, for the white of D65."""
    light = []
    for level in color:
        v = level / 255
        light.append(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
    r, g, b = light
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    roots = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return [116 * roots[1] - 16, 500 * (roots[0] - roots[1]), 200 * (roots[1] - roots[2])]


@given(levels)
def test_a_colour_has_the_cielab_that_the_standard_says(color: tuple[int, ...]) -> None:
    np.testing.assert_allclose(to_lab(np.array(color)), reference(color), atol=0.01)


@pytest.mark.parametrize(
    ("color", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_primaries_have_their_known_cielab(color: tuple[int, ...], lab: tuple[float, ...]) -> None:
    np.testing.assert_allclose(to_lab(np.array(color)), lab, atol=0.05)  # their white has other last digits


@given(levels)
def test_every_level_comes_back(color: tuple[int, ...]) -> None:
    np.testing.assert_allclose(
        from_lab(to_lab(np.array([[color]]))), [[color]], atol=1e-4
    )  # the halves differ at 0.04045


@given(st.integers(0, 255))
def test_grey_has_no_chroma(level: int) -> None:
    np.testing.assert_allclose(to_lab(np.full(3, level))[1:], 0, atol=1e-9)


@given(st.tuples(st.floats(0, 100), st.floats(-120, 120), st.floats(-120, 120)))
def test_what_srgb_lacks_comes_back_too(lab: tuple[float, ...]) -> None:
    found = from_lab(np.array(lab))
    assert np.isfinite(found).all()
    if found.min() >= 0:  # `to_lab` is for levels
        np.testing.assert_allclose(to_lab(found), lab, atol=1e-2)


def test_a_colour_more_vivid_than_srgb_has_levels_outside_it() -> None:
    assert from_lab(np.array([60.0, -90.0, 60.0])).min() < 0
    assert from_lab(np.array([60.0, 90.0, 60.0])).max() > 255
