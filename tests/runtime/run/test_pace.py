"""What repeats with time is done when it is due, and seldom where it is slow."""

from __future__ import annotations

import time

from impasto.runtime.run.pace import Pace


def test_a_pace_keeps_its_seconds_and_slows_down_for_what_is_slow() -> None:
    pace = Pace(0.05)
    assert pace.is_due()
    pace.done(time.monotonic())
    assert not pace.is_due()
    time.sleep(0.06)
    assert pace.is_due()
    pace.done(time.monotonic() - 60)  # took a minute
    time.sleep(0.06)
    assert not pace.is_due()


def test_a_pace_of_zero_is_always_due() -> None:
    pace = Pace(0)
    pace.done(time.monotonic() - 60)
    assert pace.is_due()
