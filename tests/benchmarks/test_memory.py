"""The figures of memory: what is measured for them, and how they are fitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory import RECIPES, Measurement, Setting, estimated, fit, measure, settings
from impasto.runtime.engine.footprints import FOOTPRINTS, Footprint

SIZES = (512, 768)
WAYS = [("direct", False), ("winograd", True)]
GROUPS = [("direct", False, False), ("winograd", False, True), ("winograd", True, True)]


def test_every_recipe_and_size_is_measured_in_every_way() -> None:
    found = settings(SIZES, WAYS)
    assert {setting.group for setting in found} == {*GROUPS}
    assert len(found) == len(set(found)) == 2 * (len(RECIPES) * 3 + 1) + len(RECIPES)
    assert any(setting.style > setting.size for setting in found)


def test_figures_that_made_the_peaks_are_found_again() -> None:
    footprints = {
        ("direct", False, False): Footprint(300e6, 20e6, 200e6, 10e6, 3000, 900),
        ("winograd", False, True): Footprint(800e6, 60e6, 400e6, 40e6, 2500, 800),
        ("winograd", True, True): Footprint(500e6, 60e6, 400e6, 40e6, 2500, 800),
    }
    found = fit([Measurement(setting, estimated(setting, footprints)) for setting in settings(SIZES, WAYS)])
    for group, footprint in footprints.items():
        assert vars(found[group]) == pytest.approx(vars(footprint))


def test_the_figures_in_force_have_every_group() -> None:
    assert {*GROUPS} < {*FOOTPRINTS}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_a_transfer_is_measured_in_a_process_of_its_own(model: Path) -> None:
    found = measure(Setting("gatys", "direct", False, 48, 64, "lbfgs"), str(model))
    assert 80e6 < found.peak < 2e9
