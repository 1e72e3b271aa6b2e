"""Tiles beside the whole picture: what is compared, and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiles import Case, Difference, compare, measure
from docs.samples import draw_content, draw_style


@pytest.fixture
def case(model: Path, tmp_path: Path) -> Case:
    draw_content(160, 120).save(tmp_path / "town.png")
    draw_style(120, 100).save(tmp_path / "sunset.png")
    return Case(str(model), tmp_path / "town.png", tmp_path / "sunset.png", "gatys", "direct", (140, 112), 2)


def test_tiles_differ_from_the_whole_by_rounding_alone(case: Case) -> None:
    ((side, tiles, difference),) = compare(case, [32])
    assert (side, tiles > 1) == (32, True)
    assert difference.loss < 1e-5
    assert 0 < difference.gradient < 1e-5


def test_differences_are_relative() -> None:
    whole = 2.0, np.array([3.0, 4.0], np.float32)
    found = Difference.of((2.5, np.array([3.0, 4.5], np.float32)), whole)
    assert (found.loss, found.gradient) == pytest.approx((0.25, 0.1))


def test_the_whole_comes_first_and_every_tiling_is_timed_in_every_round(case: Case) -> None:
    whole, tiled = measure(case, [32], rounds=2)
    assert (whole.side, whole.tiles, tiled.side) == (None, 1, 32)
    assert tiled.tiles > 1
    assert len(whole.seconds) == len(tiled.seconds) == 2


def test_sides_that_are_too_large_for_the_picture_are_not_compared(case: Case) -> None:
    assert case.sides() == [96]
