"""Numbers are written for people."""

from __future__ import annotations

import pytest

from impasto.figures import all_made, clock, evaluations, loss, percent, roughly


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (0.6, "0:01"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (36061, "10:01:01")],
)
def test_durations_have_hours_from_an_hour_on(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1, "100 %"), (0.0654321, "6.54 %"), (0.000123, "0.0123 %"), (0, "0 %"), (34.567, "3457 %")],
)
def test_shares_have_three_digits(share: float, expected: str) -> None:
    assert percent(share) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, "1 s"), (89, "89 s"), (100, "2 min"), (6000, "1 h 40 min")])
def test_what_is_not_known_exactly_is_said_in_words(seconds: float, expected: str) -> None:
    assert roughly(seconds) == expected


def test_one_evaluation_is_not_several() -> None:
    assert [evaluations(count) for count in (1, 2)] == ["1 evaluation", "2 evaluations"]
    assert [all_made(count) for count in (1, 2)] == ["the only evaluation was made", "all 2 evaluations were made"]


def test_a_loss_stands_beside_its_share_of_the_starts() -> None:
    assert loss(123456.0, 0.0321) == "loss 1.235e+05 (3.21 % of the start's)"
