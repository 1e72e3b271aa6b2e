"""The figures of memory of tiles: what is measured for them, and how they are fitted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.tile_memory import RECIPES, SIDES, Setting, fit, measure, settings
from impasto.runtime.engine.footprints import TILE_FOOTPRINTS, TileFootprint


def test_every_recipe_side_and_way_is_measured_and_some_masks() -> None:
    found = settings(["winograd", "openvino bf16"])
    assert len(found) == len(set(found))
    for form in ("winograd", "openvino bf16"):
        own = [one for one in found if one.form == form]
        assert {one.recipe for one in own} == {*RECIPES}
        assert {one.side for one in own} == {*SIDES}
        assert {one.regions for one in own} == {0, 2, 3}
    assert all(one.load.peak for one in found)


def test_figures_that_made_the_peaks_are_found_again() -> None:
    own = TileFootprint(0, 9e8, 7e7, 1500, 800, 90, 0, 130)
    found = fit({one: own.peak(one.load, one.side, one.halo).size for one in settings(["winograd"])})["winograd"]
    known = TILE_FOOTPRINTS["winograd"]
    expected = replace(own, opening=known.opening, statistics=known.statistics)
    assert vars(found) == pytest.approx(vars(expected))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_a_transfer_in_tiles_is_measured_in_a_process_of_its_own(model: Path) -> None:
    found = measure(Setting("gatys", "direct", 160, 128, 32, 2), str(model))
    assert 80e6 < found < 2e9
