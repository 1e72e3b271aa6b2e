"""The figures of optimisers' memory: what is measured for them, and how they are fitted."""

from __future__ import annotations

import sys

import pytest

from benchmarks.optimizer_memory import Rise, Setting, fit, measure, settings
from impasto.runtime.optimize.footprints import OPTIMIZER_FOOTPRINTS, held

SIDES = (100, 200)


def test_every_optimiser_with_figures_is_measured_with_bounds_and_without() -> None:
    found = settings(SIDES)
    assert len(found) == len(set(found))
    for side in SIDES:
        for bounded in (False, True):
            own = {one.optimizer for one in found if (one.side, one.bounded) == (side, bounded)}
            assert own == {*OPTIMIZER_FOOTPRINTS}


def test_figures_that_made_the_rises_are_found_again() -> None:
    def rise(one: Setting) -> Rise:
        own = held(one.optimizer, one.side**2, pairs=one.pairs or None, bounded=one.bounded, restarted=False)
        return Rise(own.between, own.evaluating)

    found = fit({one: rise(one) for one in settings((1700, 2400))})
    for optimizer, footprint in OPTIMIZER_FOOTPRINTS.items():
        assert vars(found[optimizer]) == pytest.approx(vars(footprint), abs=1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_pairs_take_two_arrays_of_their_picture_each() -> None:
    """In float32 for L-BFGS on the host."""
    few, many = (measure(Setting("lbfgs-sobolev", pairs, 600)) for pairs in (3, 10))
    assert many.peak - few.peak == pytest.approx(7 * 24 * 600**2, rel=0.2)
