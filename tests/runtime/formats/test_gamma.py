"""A gamma, and primaries beside it, are heeded as browsers do; absurd ones are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from impasto.runtime.formats.gamma import Gamma
from tests.runtime import icc

#: x and y of white, red, green and blue, as cHRM has them.
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

LEVELS = np.random.default_rng(0).uniform(0.1, 0.9, (5, 7, 3)).astype(np.float32)


@pytest.mark.parametrize("gamma", [1.0, 0.5556, 0.6, 0.3])
@pytest.mark.parametrize("more", [{}, {"chromaticity": SRGB}])
def test_levels_are_decoded_by_the_gamma_and_coded_as_srgb(gamma: float, more: dict[str, Any]) -> None:
    found = Gamma.of({"gamma": gamma, **more})
    assert found is not None
    expected = icc.encode(LEVELS.astype(float) ** (1 / gamma)) / 255
    assert np.abs(found.to_srgb(LEVELS) - expected).max() < 1e-5


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"gamma": 0.45455},
        {"gamma": 0.45455, "chromaticity": SRGB},
        {"gamma": 0.44},
        {"gamma": 0.0},
        {"gamma": 1e-5},
        {"gamma": 42949.67295},
        {"gamma": "1.0"},
        {"gamma": 1.0, "srgb": 0},
        {"gamma": 1.0, "icc_profile": b"profile"},
        {"chromaticity": ADOBE},
    ],
)
def test_nothing_is_done_where_nothing_else_is_meant_or_said(info: dict[str, Any]) -> None:
    assert Gamma.of(info) is None


@pytest.mark.parametrize("absurd", [(0.0,) * 8, SRGB[:2] * 4, (0.3127, -0.329, *SRGB[2:]), (float("nan"),) * 8])
def test_absurd_primaries_are_ignored(absurd: tuple[float, ...]) -> None:
    assert Gamma.of({"gamma": 0.45455, "chromaticity": absurd}) is None
    found = Gamma.of({"gamma": 1.0, "chromaticity": absurd})
    assert found is not None
    assert found.matrix is None


def test_primaries_are_converted_as_a_profile_of_them_is() -> None:
    found = Gamma.of({"gamma": 1.0, "chromaticity": ADOBE})
    assert found is not None
    expected = icc.to_srgb(LEVELS.astype(float) * 255, gamma=1.0)
    assert np.abs(found.to_srgb(LEVELS) * 255 - expected).max() < 1


@pytest.mark.parametrize("chromaticity", [ADOBE, (0.3457, 0.3585, *ADOBE[2:])])
def test_white_and_grey_stay_without_colour(chromaticity: tuple[float, ...]) -> None:
    found = Gamma.of({"gamma": 1.0, "chromaticity": chromaticity})
    assert found is not None
    grey = np.repeat(np.linspace(0, 1, 11, dtype=np.float32)[:, None], 3, 1)
    assert np.abs(found.to_srgb(grey) - icc.encode(grey) / 255).max() < 2e-3
    assert found.to_srgb(grey[:, :1]).shape == (11, 1)


def test_other_primaries_on_srgbs_curve_move_colours() -> None:
    found = Gamma.of({"gamma": 0.45455, "chromaticity": ADOBE})
    assert found is not None
    assert found.exponent is None
    moved = np.abs(found.to_srgb(LEVELS) - LEVELS)
    assert 0.01 < moved.max() < 0.5
