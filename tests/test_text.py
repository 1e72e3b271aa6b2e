"""What strangers wrote is shown as one line that does nothing but show."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.errors import InputError
from impasto.text import printable, shown

ANY = st.text(st.characters(exclude_categories=()))


@given(ANY)
def test_nothing_but_printable_characters_is_left_of_any_text(text: str) -> None:
    assert printable(text).isprintable()
    assert str(InputError(text)).isprintable()
    assert printable(printable(text)) == printable(text)


@given(ANY.map(json.dumps))
def test_json_says_the_same_as_before(text: str) -> None:
    assert json.loads(printable(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller's photo (1).png", "Müller's photo (1).png"),
        ("日本語 Ω", "日本語 Ω"),
        ("\x1b[31m\x07\x7f\x9b", "\\u001b[31m\\u0007\\u007f\\u009b"),
        ("a\nb\r\nc\td", "a b  c d"),
        ("a\u2028b\u2029c\u00a0d", "a b c d"),
        ("\u202egpj.exe\u2066\u200b\u200f\ufeff", "\\u202egpj.exe\\u2066\\u200b\\u200f\\ufeff"),
        ("caf\udce9.png", "café.png"),  # a byte of a name in Latin-1
        ("\udc9b", "\\u009b"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\udb40\\udc41"),
    ],
)
def test_what_a_terminal_would_obey_is_an_escape(text: str, expected: str) -> None:
    assert printable(text) == expected


nested: Any = []
for _ in range(10_000):
    nested = [nested]


@pytest.mark.parametrize(
    "value",
    [10**5000, 10**400, "x" * 10**6, nested, {"a": nested}, "\x1b", float("nan"), b"\xff" * 1000, {1: {2: {3: 4}}}],
    ids=lambda value: type(value).__name__,
)
def test_values_are_quoted_in_a_short_line(value: object) -> None:
    assert shown(value).isprintable()
    assert 0 < len(shown(value)) < 100


def test_short_values_are_quoted_as_they_are() -> None:
    for value in (3, 1e38, "a", ["a"], ("sum",), {"a": 1}, None, True, sys.maxsize):
        assert shown(value) == repr(value)
