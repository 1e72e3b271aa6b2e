"""Durations are written as clocks show them."""

from __future__ import annotations

import pytest

from impasto.durations import clock


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (0.6, "0:01"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (36061, "10:01:01")],
)
def test_durations_have_hours_from_an_hour_on(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected
