"""Images and arrays become what a graph takes, and are resized; what is no picture is refused, and no file is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime.errors import InputError, OutputError, PictureError, SaveError
from impasto.runtime.pictures.encoding import check_output, write_picture
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.planes import (
    as_list,
    as_styles,
    fit_style,
    resize,
    to_image,
    to_planes,
    triptych,
)
from impasto.runtime.plan.recipe import FITS, load_recipe
from impasto.runtime.plan.sizes import result_size
from tests.runtime.files import as_image

SIZE = (40, 36)


def save_png(path: Path, width: int = 48, height: int = 40, colour: Any = (10, 200, 30)) -> Path:
    Image.new("RGB", (width, height), colour).save(path)
    return path


WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((1, 40, 40, 3)), "expected"),
        (np.full((40, 40, 3), "a"), "expected"),
        (np.full((40, 40, 3), np.nan), "not finite"),
        (np.full((40, 40, 3), -np.inf), "not finite"),
        (np.zeros((31, 40, 3)), "40x31 pixels"),
        (np.zeros((0, 40, 3)), "40x0 pixels"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray[Any, Any], reason: str) -> None:
    for take in (to_planes, as_image):
        with pytest.raises(PictureError, match=f"^content: .*{reason}"):
            take(array, "content")


def test_small_images_are_refused() -> None:
    for take in (to_planes, as_image):
        with pytest.raises(PictureError, match="style 1: 31x40 pixels"):
            take(Image.new("RGB", (31, 40)), "style 1")


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((40, 40)),
        np.zeros((40, 40, 4)),
        np.zeros((40, 40, 3), bool),
        *(Image.new(mode, SIZE) for mode in ("L", "RGBA")),
    ],
)
def test_planes_are_made_of_levels_in_three_channels_only(picture: Any) -> None:
    with pytest.raises(PictureError, match=r"^image: array .*; expected numbers \[H, W, 3\]"):
        to_planes(picture, "image")


def test_a_photograph_is_taken_as_it_is_however_often_it_is_given() -> None:
    photograph = Photograph.given(Image.new("RGB", SIZE), "content")
    assert Photograph.given(photograph, "content") is photograph
    assert photograph.over_white() is photograph.picture
    assert resize(photograph.picture, *photograph.picture.size) is photograph.picture


# --- one or several -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", ["painting.jpg", Path("painting.jpg"), Image.new("RGB", SIZE), np.zeros((40, 40))])
def test_one_picture_is_a_list_of_itself(one: Any) -> None:
    for given_ in (one, [one], (one,)):
        (found,) = as_list(given_, "styles")
        assert found is one


def test_a_batch_is_as_many_pictures_as_it_has() -> None:
    batch = np.arange(2 * 40 * 40 * 3).reshape(2, 40, 40, 3)
    for found, expected in zip(as_list(batch, "styles"), batch, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(as_list((picture for picture in batch), "styles")) == 2


def test_what_is_neither_a_picture_nor_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"^styles: is of type int; expected a picture, or a list of them"):
        as_list(3, "styles")
    with pytest.raises(InputError, match=r"^styles: none given"):
        as_styles([])


# --- planes ---------------------------------------------------------------------------------------------------


def test_planes_hold_the_picture_unrounded() -> None:
    array = np.random.default_rng(0).uniform(-20, 300, (33, 47, 3))
    planes = to_planes(array, "image")
    assert planes.shape == (1, 3, 33, 47)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    np.testing.assert_array_equal(planes[0, 2], array[:, :, 2].astype(np.float32))


def test_images_survive_the_way_to_planes_and_back() -> None:
    array = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    np.testing.assert_array_equal(to_image(to_planes(Image.fromarray(array), "image")), array)


def test_levels_are_rounded_and_clipped() -> None:
    levels = np.array([-9.0, -0.4, 0.4, 0.6, 254.4, 254.6, 255.4, 999.0], np.float32)
    image = to_image(np.broadcast_to(levels, (1, 3, 32, 8)))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 0, 1, 254, 255, 255, 255]


# --- geometry -------------------------------------------------------------------------------------------------

sides = st.integers(32, 4000)


@given(width=sides, height=sides, size=st.integers(1, 2000))
def test_the_long_side_is_as_asked_and_proportions_are_kept(width: int, height: int, size: int) -> None:
    content = blank(width, height)
    short = size * min(width, height) / max(width, height)
    if round(short) < 32:
        with pytest.raises(PictureError, match="the result"):
            result_size(size, content)
        return
    found = result_size(size, content)
    assert max(found) == size
    assert abs(min(found) - short) <= 0.5 + 1e-9
    assert (found[0] >= found[1]) == (width >= height) or found[0] == found[1]


@given(width=sides, height=sides)
def test_a_size_given_in_full_is_taken_to_the_letter(width: int, height: int) -> None:
    assert result_size((width, height), blank(100, 700)) == (width, height)


@pytest.mark.parametrize("size", [0, -5, 31, (31, 500), (500, 31), (-40, 40)])
def test_results_below_32_pixels_are_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(PictureError, match=r"the result: .*expected 32 or more"):
        result_size(size, Image.new("RGB", (64, 64)))


@given(width=st.integers(32, 300), height=st.integers(32, 300), result=st.tuples(*[st.integers(64, 200)] * 2))
def test_styles_are_fitted_as_the_recipe_says(width: int, height: int, result: tuple[int, int]) -> None:
    style = Image.new("RGB", (width, height))
    stretched, area, same = (replace(load_recipe("gatys"), style_fit=fit) for fit in FITS)
    assert fit_style(style, stretched, *result).size == result
    by_area = (result[0] * result[1] / (width * height)) ** 0.5
    by_side = max(result) / max(width, height)
    for recipe, factor in ((area, by_area), (same, by_side)):
        for scale in (1.0, 2.5):
            for found, side in zip(fit_style(style, recipe, *result, scale).size, (width, height), strict=True):
                assert abs(found - max(32, side * factor * scale)) <= 0.5 * scale + 0.5 + 1e-9


def test_resizing_to_the_same_size_changes_nothing() -> None:
    image = Image.new("RGB", SIZE)
    assert resize(image, *SIZE) is image
    assert resize(image, 50, 60).size == (50, 60)


@given(
    styles=st.lists(st.tuples(st.integers(32, 90), st.integers(32, 90)), min_size=1, max_size=3),
    result=st.tuples(st.integers(32, 200), st.integers(32, 200)),
)
def test_the_panels_of_a_triptych_stand_side_by_side(styles: list[tuple[int, int]], result: tuple[int, int]) -> None:
    width, height = result
    images = [Image.new("RGB", size, "blue") for size in styles]
    sheet = triptych(Image.new("RGB", (77, 55), "red"), images, Image.new("RGB", result, "lime"))
    middle = [max(1, round(w * height / h)) for w, h in styles]
    gap = sheet.width - 2 * width - sum(middle)
    assert sheet.height == height
    assert gap >= 2 * (len(styles) + 1)
    row = np.asarray(sheet)[height // 2]
    for colour, expected in (((255, 0, 0), width), ((0, 0, 255), sum(middle)), ((0, 255, 0), width)):
        assert (row == colour).all(axis=1).sum() == expected
    assert (row == WHITE).all(axis=1).sum() == gap
    assert row[0].tolist() == [255, 0, 0]
    assert row[-1].tolist() == [0, 255, 0]


def blank(width: int, height: int) -> Image.Image:
    """Return a picture of that size that takes next to no time to make."""
    return Image.new("1", (width, height))


# --- output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.png", "out.PNG", "out.jpg", "out.JPEG"])
def test_free_names_of_known_formats_are_accepted(tmp_path: Path, name: str) -> None:
    assert check_output(tmp_path / name) == tmp_path / name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out", "out.gif", "out.tiff", ".png", "out.png.exe"])
def test_unknown_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"unknown format .*\.png, \.jpg, \.jpeg"):
        check_output(tmp_path / name)


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    file = save_png(tmp_path / "file.png")
    (tmp_path / "folder.png").mkdir()
    for path, reason in (
        (tmp_path / "folder.png", "is a folder"),
        (tmp_path / "none" / "out.png", "does not exist"),
        (file / "out.png", "does not exist"),
        (tmp_path / f"{'a' * 300}.png", "304 bytes long"),
    ):
        with pytest.raises(OutputError, match=reason) as refused:
            check_output(path, force=True)
        assert "\n" not in str(refused.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.png", "folder.png"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where not even root can write")
def test_folders_without_room_for_files_are_refused() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_output("/proc/self/out.png")


@pytest.mark.usefixtures("unprivileged")
def test_read_only_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(folder / "out.png")


def test_existing_files_are_replaced_with_force_only(tmp_path: Path) -> None:
    path = save_png(tmp_path / "out.png")
    with pytest.raises(OutputError, match=r"exists already.*force=True"):
        check_output(path)
    assert check_output(path, force=True) == path


def test_pictures_being_read_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = save_png(tmp_path / "photo.png")
    (tmp_path / "symbolic.png").symlink_to(picture)
    (tmp_path / "hard.png").hardlink_to(picture)
    monkeypatch.chdir(tmp_path)
    ways: list[str | Path] = [picture, "photo.png", "./../" + tmp_path.name + "/photo.png", "symbolic.png", "hard.png"]
    for path in ways:
        for read in ways:
            with pytest.raises(OutputError, match="one of the pictures to be read"):
                check_output(path, force=True, inputs=["missing.png", read])


@pytest.mark.parametrize(("name", "format_"), [("out.png", "PNG"), ("out.JPG", "JPEG"), ("out.jpeg", "JPEG")])
def test_the_extension_chooses_the_format(tmp_path: Path, name: str, format_: str) -> None:
    write_picture(Image.new("RGB", SIZE, (200, 100, 50)), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.format == format_
        assert np.abs(np.asarray(image, int) - (200, 100, 50)).max() <= 3
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_written_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    write_picture(Image.new("RGB", SIZE), tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, noise: Callable[..., Any], scarce_space: Callable[..., Any], extension: str
) -> None:
    path = tmp_path / f"out.{extension}"
    path.write_bytes(b"what was there")
    picture = as_image(noise(), "noise")
    with pytest.raises(SaveError, match=f"output {path}: could not be written") as refused, scarce_space():
        write_picture(picture, path)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_place_that_vanished_is_a_save_error(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="could not be written"):
        write_picture(Image.new("RGB", SIZE), tmp_path / "gone" / "out.png")
