"""Plain margins and frames of paintings are found; what is painted up to the border is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime.pictures.margins import edges_of, find_margins, find_surroundings
from impasto.runtime.plan.crop import Crop


def painting(width: int = 300, height: int = 220, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def framed(left: int, top: int, right: int, bottom: int, grain: float = 3.0, seed: int = 0) -> Image.Image:
    """Return a painting on paper with a grain, of 300x220 pixels in all."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(20, 236, 3)
    paper = np.clip(colour + rng.normal(0, grain, (220, 300, 3)), 0, 255)
    inside = np.asarray(painting(300 - left - right, 220 - top - bottom, seed), float)
    inside = np.where(np.abs(inside - colour).max(axis=-1, keepdims=True) < 60, 255 - colour, inside)
    paper[top : 220 - bottom, left : 300 - right] = inside
    return Image.fromarray(paper.astype(np.uint8))


margins = st.integers(6, 50)


@given(margins, margins, margins, margins, st.integers(0, 1000))
def test_a_margin_of_paper_is_found_to_the_pixel_and_its_edge_is_left_out(
    left: int, top: int, right: int, bottom: int, seed: int
) -> None:
    found = find_margins(framed(left, top, right, bottom, seed=seed))
    for pixels, expected in zip(
        (found.left, found.top, found.right, found.bottom), (left, top, right, bottom), strict=True
    ):
        assert expected < pixels <= expected + 3


@given(st.integers(0, 1000))
def test_what_is_painted_up_to_its_border_has_no_margin(seed: int) -> None:
    assert find_margins(painting(seed=seed)) == Crop()


def test_three_sides_are_a_margin_and_two_are_none() -> None:
    assert find_margins(framed(20, 20, 20, 0)).bottom == 0
    assert find_margins(framed(20, 20, 20, 0))
    assert not find_margins(framed(20, 20, 0, 0))


@pytest.mark.parametrize("size", [(300, 220), (1, 1), (40, 3), (2000, 32)])
def test_a_plain_picture_has_no_margin(size: tuple[int, int]) -> None:
    assert not find_margins(Image.new("RGB", size, "#808080"))


def test_a_grey_picture_has_margins_as_any_other() -> None:
    assert find_margins(framed(20, 20, 20, 20).convert("L")) == find_margins(
        framed(20, 20, 20, 20).convert("L").convert("RGB")
    )
    assert not find_margins(Image.new("L", (300, 220)))


def test_a_margin_is_found_alike_in_a_large_picture() -> None:
    large = framed(30, 24, 30, 24).resize((2400, 1760), Image.Resampling.BICUBIC)
    found = find_margins(large)
    assert 240 <= found.left <= 290
    assert 192 <= found.top <= 240


def test_a_few_pixels_at_the_border_are_a_scan_s_edge_and_a_wide_plain_part_is_the_picture() -> None:
    assert not find_margins(framed(2, 2, 2, 2))
    assert find_margins(framed(90, 70, 90, 70)) == Crop()


def test_the_edges_of_a_painting_without_a_margin_are_left_out() -> None:
    assert find_surroundings(painting(300, 200)) == Crop(9, 6, 9, 6)


def test_within_a_margin_edges_are_left_out_too() -> None:
    image = framed(30, 20, 40, 20)
    margins, found = find_margins(image), find_surroundings(image)
    assert margins
    assert found == Crop(margins.left + 7, margins.top + 5, margins.right + 7, margins.bottom + 5)


@given(st.integers(1, 80), st.integers(1, 80))
def test_no_painting_gets_too_small_by_its_edges(width: int, height: int) -> None:
    left, top, right, bottom = find_surroundings(painting(width, height)).box(width, height)
    assert right - left >= min(width, 32)
    assert bottom - top >= min(height, 32)


@pytest.mark.parametrize(("size", "margin"), [((48, 48), 8), ((60, 60), 14), ((100, 40), 6)])
def test_a_margin_stays_where_too_little_would_be_left_without(size: tuple[int, int], margin: int) -> None:
    width, height = size
    image = Image.new("RGB", size, "#fafafa")
    image.paste(painting(width - 2 * margin, height - 2 * margin).point(lambda level: level // 2), (margin, margin))
    assert find_margins(image)
    assert find_surroundings(image) == edges_of(width, height)
    find_surroundings(image).check("style", width, height)
