"""Tiles beside the whole picture: what is compared, and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiles import RECIPES, Case, Difference, compare, measure
from docs.samples import draw_content, draw_style


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Return the paths of a photograph and a painting."""
    draw_content(640, 480).save(tmp_path / "town.png")
    draw_style(640, 480).save(tmp_path / "sunset.png")
    return tmp_path / "town.png", tmp_path / "sunset.png"


@pytest.fixture
def case(model: Path, pictures: tuple[Path, Path]) -> Case:
    return Case(str(model), *pictures, "gatys", "direct", (140, 112), 2)


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
    assert case.sides() == [64]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["direct", "winograd"])
@pytest.mark.parametrize(("recipe", "regions"), RECIPES)
def test_with_real_weights_loss_and_gradient_are_those_of_the_whole_picture(
    real_model: Path, pictures: tuple[Path, Path], recipe: str, regions: int, layout: str
) -> None:
    case = Case(str(real_model), *pictures, recipe, layout, (500, 333), regions)
    compared = list(compare(case, case.sides()))
    assert compared
    for side, tiles, difference in compared:
        assert tiles > 1, side
        assert difference.loss < 1e-5, side
        assert difference.gradient < 1e-4, side
