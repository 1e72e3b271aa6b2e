"""Dataclasses become plain data and JSON, and come back; what does not fit is refused by its key, in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from impasto.runtime.storage import codec
from impasto.runtime.storage.codec import BESIDE, LONGEST_TEXT, Misfit, OtherFormat, Unreadable


@dataclass(frozen=True)
class Frame:
    width: int
    colors: tuple[float, float, float] = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Painting:
    name: str
    frame: Frame
    layers: Mapping[str, float]
    frames: tuple[Frame, ...] = ()
    price: float | None = None
    framed: bool = False
    note: str = field(default="", metadata=BESIDE)


PAINTING = Painting("sea", Frame(3), {"oil": 1, "water": 0.25}, (Frame(1), Frame(2)), 7.5, True)
DATA = codec.to_data(PAINTING)


def test_data_come_back_the_same() -> None:
    text = codec.to_json(PAINTING, 4)
    assert json.loads(text) == {"format": 4, **DATA}
    assert codec.from_json(Painting, text, 4) == codec.from_data(Painting, DATA) == PAINTING


def test_whole_numbers_stay_whole_where_any_number_will_do() -> None:
    assert type(codec.from_data(Painting, DATA).layers["oil"]) is int


def test_a_field_that_is_no_part_of_the_data_is_neither_written_nor_read() -> None:
    noted = replace(PAINTING, note="mine")
    assert codec.to_data(noted) == DATA
    with pytest.raises(Misfit, match=r"^unknown key note; expected one of"):
        codec.from_data(Painting, {**DATA, "note": "mine"})


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        ({"nom": "sea"}, "unknown key nom; expected one of frame, framed, .*"),
        (
            {"frame": {"widht": 3}},
            "unknown key frame.widht; expected one of .*; did you mean frame.width[?]",
        ),
        ({"frame": {}}, "frame.width is missing"),
        ({"frame": 3}, "frame is 3; expected a table"),
        ({"frame": {"width": "3"}}, "frame.width is '3'; expected a whole number"),
        ({"frame": {"width": 3.0}}, "frame.width is 3.0; expected a whole number"),
        ({"frame": {"width": True}}, "frame.width is True; expected a whole number"),
        ({"frame": {"width": 1 << 300}}, "frame.width is 20370.*; expected no more than 77 digits"),
        ({"frame": {"width": 3, "colors": [1, 2]}}, r"frame.colors is \(1, 2\); expected 3 numbers"),
        ({"frame": {"width": 3, "colors": 1}}, "frame.colors is 1; expected a list"),
        ({"frames": [{"width": 3}, {"width": None}]}, "frames.2.width is None; expected a whole number"),
        ({"layers": {"oil": False}}, "layers.oil is False; expected a number"),
        ({"layers": {"oil": math.inf}}, "layers.oil is inf; expected a finite number"),
        ({"layers": []}, r"layers is \[\]; expected a table"),
        ({"price": math.nan}, "price is nan; expected a finite number"),
        ({"price": "7"}, "price is '7'; expected a number"),
        ({"framed": 1}, "framed is 1; expected true or false"),
        ({"name": None}, "name is None; expected text"),
        ({"name": "a" * (LONGEST_TEXT + 1)}, "name has 100001 characters; expected 100000 at most"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(damage: dict[str, object], refusal: str) -> None:
    with pytest.raises(Misfit, match=f"^{refusal}$"):
        codec.from_data(Painting, {**DATA, **damage})


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is nested too deep"),
        ('{"format": 4, "format": 4}', "'format' is there twice"),
        ('{"format": NaN}', "NaN is no number of JSON"),
        ("9" * 5000, "it is not JSON"),
        ("[]", "it is not of impasto"),
        ("{}", "it is not of impasto"),
    ],
)
def test_what_is_no_json_of_ours_is_unreadable(text: str, refusal: str) -> None:
    with pytest.raises(Unreadable, match=refusal):
        codec.from_json(Painting, text, 4)


@pytest.mark.parametrize("version", [3, 5, "4", None])
def test_another_format_is_told_from_damage(version: object) -> None:
    with pytest.raises(OtherFormat, match=rf"^format {version!r}, not 4$"):
        codec.from_json(Painting, json.dumps({"format": version}), 4)


def test_numbers_that_json_lacks_are_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        codec.to_json(replace(PAINTING, price=math.nan), 4)
