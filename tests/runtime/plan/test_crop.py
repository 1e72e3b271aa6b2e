"""Crops are read, checked against the picture, and scaled with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.errors import InputError
from impasto.runtime.plan.crop import Crop, parse_crop

pixels = st.integers(0, 99_999)


@given(st.builds(Crop, pixels, pixels, pixels, pixels))
def test_a_crop_is_read_as_it_is_written(crop: Crop) -> None:
    assert parse_crop(str(crop)) == crop


@pytest.mark.parametrize("word", ["auto", "off"])
def test_words_stay_words(word: str) -> None:
    assert parse_crop(word) == word


@pytest.mark.parametrize(
    "text", ["", "on", "1,2,3", "1,2,3,4,5", "-1,0,0,0", "1.5,0,0,0", "1, 2, 3, 4", "999999,0,0,0", 3]
)
def test_what_is_no_crop_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"style_crop .*: expected auto, off, or pixels at the left, top") as refused:
        parse_crop(text)
    assert "\n" not in str(refused.value)


def test_a_crop_is_true_where_it_leaves_something_out() -> None:
    assert not Crop()
    assert all([Crop(1), Crop(top=1), Crop(right=1), Crop(bottom=1)])


def test_the_box_of_a_crop_is_in_pixels_and_scales_with_the_picture() -> None:
    crop = Crop(1, 2, 3, 4)
    assert crop.box(100, 80) == (1, 2, 97, 76)
    assert crop.scaled(2, 0.5).box(200, 40) == (2, 1, 194, 38)


@pytest.mark.parametrize("crop", [Crop(left=40, right=29), Crop(top=60), Crop(bottom=99_999), Crop(left=-1)])
def test_a_crop_that_leaves_too_little_is_refused_by_name(crop: Crop) -> None:
    with pytest.raises(InputError, match=r"style 2: 100x80 pixels, cropped by .*; expected 32 or more to be left"):
        crop.check("style 2", 100, 80)
    Crop(left=40, right=28).check("style 2", 100, 80)
