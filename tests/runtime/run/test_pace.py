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


def test_what_takes_seconds_is_due_again_after_the_longest_pause() -> None:
    slow, limited = Pace(0.01), Pace(0.01, longest=0.1)
    for pace in (slow, limited):
        pace.done(time.monotonic() - 0.02)  # a twentieth of the time would be a pause of 0.4 seconds
        assert not pace.is_due()
    time.sleep(0.11)
    assert limited.is_due()
    assert not slow.is_due()


def test_no_work_takes_more_than_a_quarter_of_the_time() -> None:
    pace = Pace(0.01, longest=0.01)
    pace.done(time.monotonic() - 0.1)
    time.sleep(0.25)
    assert not pace.is_due()
    time.sleep(0.06)
    assert pace.is_due()
