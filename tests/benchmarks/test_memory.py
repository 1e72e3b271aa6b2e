"""The figures of memory: what is measured for them, and how they are fitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory import RECIPES, REGIONS, Measurement, Setting, estimated, fit, measure, settings
from impasto.runtime.engine.footprints import FOOTPRINTS, Footprint

SIZES = (512, 768)
WAYS = [("direct", False), ("winograd", True)]
GROUPS = [("direct", False, False), ("winograd", False, True), ("winograd", True, True)]


def test_every_recipe_and_size_is_measured_in_every_way() -> None:
    found = settings(SIZES, WAYS)
    assert {setting.group for setting in found} == {*GROUPS}
    without = 2 * (len(RECIPES) * 3 + 1) + len(RECIPES)
    assert len(found) == len(set(found)) == without + 2 * (3 + len(REGIONS)) + 1
    assert any(setting.style > setting.size for setting in found)
    for form, _ in WAYS:
        assert {setting.regions for setting in found if setting.form == form} == {0, 2, *REGIONS}


def test_masks_are_measured_where_they_run() -> None:
    found = settings(SIZES, [("openvino fp32", False), ("openvino bf16", False)])
    assert {setting.form for setting in found if setting.regions} == {"openvino bf16"}


def test_figures_that_made_the_peaks_are_found_again() -> None:
    footprints = {
        ("direct", False, False): Footprint(300e6, 20e6, 200e6, 10e6, 3000, 900, 0, 30e6, 80e6, 0, 260, 60),
        ("winograd", False, True): Footprint(800e6, 60e6, 400e6, 40e6, 1500, 800, 0, 50e6, 140e6, 300, 120, 20),
        ("winograd", True, True): Footprint(500e6, 60e6, 400e6, 40e6, 1500, 800, 0, 60e6, 140e6, 300, 120, 20),
    }
    found = fit([Measurement(setting, estimated(setting, footprints)) for setting in settings(SIZES, WAYS)])
    for group, footprint in footprints.items():
        assert vars(found[group]) == pytest.approx(vars(footprint), abs=1e-3)


def test_the_figures_in_force_have_every_group() -> None:
    assert {*GROUPS} < {*FOOTPRINTS}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
@pytest.mark.parametrize("regions", [0, 2])
def test_a_transfer_is_measured_in_a_process_of_its_own(model: Path, regions: int) -> None:
    found = measure(Setting("gatys", "direct", False, 48, 64, "lbfgs", regions), str(model))
    assert 80e6 < found.peak < 2e9
