"""The figures of memory: what is measured for them, and how they are fitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.memory import RECIPES, Measurement, Setting, estimated, fit, measure, settings
from impasto.runtime.run.estimate import FOOTPRINTS, OPTIMIZER_BYTES, Footprint

SIZES = (512, 768)
WAYS = [("direct", False), ("winograd", True)]
GROUPS = [("direct", False, False), ("winograd", False, True), ("winograd", True, True)]


def test_every_recipe_size_and_optimiser_is_measured_in_every_way() -> None:
    found = settings(SIZES, WAYS)
    assert {setting.group for setting in found} == {*GROUPS}
    assert len(found) == len(set(found)) == 2 * (len(RECIPES) * 3 + 1 + 4) + len(RECIPES)
    assert {setting.optimizer for setting in found} == set(OPTIMIZER_BYTES)
    assert any(setting.style > setting.size for setting in found)


def test_figures_that_made_the_peaks_are_found_again() -> None:
    footprints = {
        ("direct", False, False): Footprint(300e6, 20e6, 200e6, 10e6, 3000, 900),
        ("winograd", False, True): Footprint(800e6, 60e6, 400e6, 40e6, 2500, 800),
        ("winograd", True, True): Footprint(500e6, 60e6, 400e6, 40e6, 2500, 800),
    }
    optimizers = {"adam": 0.0, "lbfgs": 400.0, "lbfgs, restarted": 600.0, "bounds": 100.0, "lbfgs-sobolev": 300.0}
    peaks = [Measurement(setting, estimated(setting, footprints, optimizers)) for setting in settings(SIZES, WAYS)]
    found, extra = fit(peaks)
    assert extra == pytest.approx(optimizers)
    for group, footprint in footprints.items():
        assert vars(found[group]) == pytest.approx(vars(footprint))


def test_the_figures_in_force_have_every_group_and_optimiser() -> None:
    assert {*GROUPS} < {*FOOTPRINTS}
    assert OPTIMIZER_BYTES["adam"] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_a_transfer_is_measured_in_a_process_of_its_own(model: Path) -> None:
    found = measure(Setting("gatys", "direct", False, 48, 64, "lbfgs"), str(model))
    assert 80e6 < found.peak < 2e9
