"""What is left of the start's loss falls as the loss does, and does not jump where a stage begins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.run.share import Share

LOSSES = st.floats(1e-6, 1e12)


@given(st.lists(LOSSES, min_size=1))
def test_in_one_stage_it_is_the_quotient_with_the_first_loss(losses: list[float]) -> None:
    share = Share()
    share.begin()
    assert [share.of(loss) for loss in losses] == pytest.approx([loss / losses[0] for loss in losses])
    assert share.best == pytest.approx(min(losses) / losses[0])


@given(st.lists(LOSSES, min_size=1), st.lists(LOSSES, min_size=1))
def test_a_stage_begins_with_what_was_left(coarse: list[float], fine: list[float]) -> None:
    share = Share()
    share.begin()
    for loss in coarse:
        share.of(loss)
    left = share.best
    share.begin()
    assert [share.of(loss) for loss in fine] == pytest.approx([left * loss / fine[0] for loss in fine])


@given(st.lists(LOSSES, min_size=1), LOSSES)
def test_a_stage_that_goes_on_counts_as_before(losses: list[float], later: float) -> None:
    whole = Share()
    whole.begin()
    for loss in losses:
        whole.of(loss)
    resumed = Share(whole.best)
    resumed.begin(min(losses))
    assert resumed.of(later) == pytest.approx(whole.of(later))


def test_a_loss_that_is_not_finite_is_no_start() -> None:
    share = Share()
    share.begin()
    assert share.of(math.nan) == share.of(math.inf) == math.inf
    assert (share.of(4.0), share.of(1.0), share.best) == (1.0, 0.25, 0.25)


def test_a_start_without_loss_leaves_nothing() -> None:
    share = Share()
    share.begin()
    assert (share.of(0.0), share.of(3.0)) == (0.0, 0.0)
