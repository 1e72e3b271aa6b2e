"""Densities are told in whatever form a file has, as near as that form can."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.formats.density import Density

JFIF = [(1, 300, 300), (1, 72, 144), (2, 118, 118), (0, 2, 1), (0, 65_535, 1)]


def jfif(unit: int, x: int, y: int) -> dict[str, Any]:
    """Return what Pillow makes of a JPEG's density."""
    dpi: dict[int, Any] = {1: {"dpi": (x, y)}, 2: {"dpi": (x * 2.54, y * 2.54)}}
    return {"jfif_unit": unit, "jfif_density": (x, y)} | dpi.get(unit, {})


def phys(unit: int, x: int, y: int) -> dict[str, Any]:
    """Return what Pillow makes of a PNG's density."""
    return {"dpi": (x * 0.0254, y * 0.0254)} if unit else {"aspect": (x, y)}


def read(info: dict[str, Any]) -> Density:
    found = Density.of(info, None)
    assert found is not None
    return found


@pytest.mark.parametrize("told", JFIF)
def test_a_jpeg_tells_what_a_jpeg_told(told: tuple[int, int, int]) -> None:
    assert read(jfif(*told)).jfif() == struct.pack(">BHH", *told)


@given(st.tuples(st.integers(0, 1), st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)))
def test_a_png_tells_what_a_png_told(told: tuple[int, int, int]) -> None:
    found = Density.of(phys(*told), None)
    if found is None:
        assert told[0] == 0
        assert told[1] == told[2]
    else:
        assert found.phys() == struct.pack(">LLB", told[1], told[2], told[0])


@pytest.mark.parametrize(
    ("told", "expected"),
    [((1, 300, 300), (11811, 11811, 1)), ((2, 118, 59), (11800, 5900, 1)), ((0, 2, 1), (2, 1, 0))],
)
def test_a_png_tells_what_a_jpeg_told(told: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert read(jfif(*told)).phys() == struct.pack(">LLB", *expected)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((1, 11811, 11811), (1, 300, 300)),
        ((1, 2835, 2835), (1, 72, 72)),
        ((1, 10_000, 5000), (2, 100, 50)),
        ((0, 4, 3), (0, 4, 3)),
        ((0, 400_000, 300_000), (0, 4, 3)),
        ((0, 300_001, 400_000), (0, 29_493, 39_324)),
    ],
)
def test_a_jpeg_tells_what_a_png_told(told: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    unit, x, y = struct.unpack(">BHH", read(phys(*told)).jfif() or b"")
    assert unit == expected[0]
    assert math.isclose(x / y, told[1] / told[2], rel_tol=1e-4)
    assert unit == 0 or (unit, x, y) == expected


def test_what_a_tiff_told_counts_where_the_file_tells_nothing() -> None:
    tiff = (Fraction(300), Fraction(150), 2)
    assert Density.of({}, tiff) == Density.of({"jfif_unit": 0, "jfif_density": (1, 1)}, tiff) == Density(*tiff[:2], 1)
    assert Density.of(jfif(1, 72, 72), tiff) == Density(Fraction(72), Fraction(72), 1)
    assert Density.of({}, (Fraction(4), Fraction(3), 1)) == Density(Fraction(4), Fraction(3), 0)
    assert Density.of({}, (Fraction(4), Fraction(3), 7)) is None


@pytest.mark.parametrize(
    "info",
    [
        {},
        jfif(0, 1, 1),
        jfif(7, 3, 1),
        jfif(1, 0, 300),
        {"aspect": (5, 5)},
        {"dpi": (0.0, 0.0)},
        {"dpi": (math.nan, 72)},
        {"dpi": (math.inf, 72)},
        {"dpi": 72},
        {"dpi": ("a", "b")},
        {"dpi": (1, 2, 3)},
    ],
)
def test_no_density_is_made_of_none_or_nonsense(info: dict[str, Any]) -> None:
    assert Density.of(info, None) is None


@pytest.mark.parametrize("told", [(1, 2**31 - 1, 2**31 - 1), (1, 1, 1), (0, 2**31 - 1, 1)])
def test_what_a_jpeg_cannot_hold_it_does_not_tell(told: tuple[int, int, int]) -> None:
    assert read(phys(*told)).jfif() is None


def test_a_picture_that_is_turned_has_its_densities_changed_over() -> None:
    assert read(jfif(1, 300, 150)).turned() == read(jfif(1, 150, 300))
