"""What a photograph comes with - colours, transparency, EXIF - its result has again, and tells how it was made."""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from impasto.runtime.encoding import check_output, write_picture
from impasto.runtime.errors import OutputError, PictureError
from impasto.runtime.photographs import Photograph, read_photograph, read_picture, read_text, to_rgb
from impasto.runtime.sizes import result_size
from tests.runtime import icc

Base, Ifd = ExifTags.Base, ExifTags.IFD

SIZE = (48, 40)
FORMATS = ["png", "jpg"]
ADOBE = icc.rgb_profile()


def array(image: Image.Image) -> NDArray[np.int64]:
    assert image.mode == "RGB"
    return np.asarray(image, np.int64)


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def written(path: Path, image: Image.Image, **options: Any) -> Image.Image:
    """Write a result and return what others read there."""
    write_picture(image, path, **options)
    with Image.open(path) as found:
        found.load()
        return found


# --- colour profiles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [*FORMATS, "tiff", "webp"])
def test_a_picture_with_a_profile_is_worked_on_in_srgb(tmp_path: Path, extension: str) -> None:
    colour = (100, 140, 110)
    options = {"lossless": True} if extension == "webp" else {}
    path = saved(tmp_path / f"photo.{extension}", Image.new("RGB", SIZE, colour), icc_profile=ADOBE, **options)
    photograph = read_photograph(path)
    assert np.abs(array(photograph.picture) - icc.to_srgb(np.array(colour, float))).max() <= 3
    assert photograph.profile == ADOBE
    assert not photograph.picture.info


def test_images_from_python_are_converted_too() -> None:
    image = Image.new("RGB", SIZE, (100, 140, 110))
    image.info["icc_profile"] = ADOBE
    once = to_rgb(image)
    assert np.abs(array(once) - icc.to_srgb(np.array((100, 140, 110), float))).max() <= 1.5
    np.testing.assert_array_equal(array(to_rgb(once)), array(once))


@pytest.mark.parametrize("extension", FORMATS)
def test_the_result_is_in_the_photographs_colours_and_says_so(tmp_path: Path, extension: str) -> None:
    colour = (100, 140, 110)
    photograph = read_photograph(saved(tmp_path / "photo.png", Image.new("RGB", SIZE, colour), icc_profile=ADOBE))
    result = written(tmp_path / f"out.{extension}", photograph.picture, like=photograph)
    assert result.info["icc_profile"] == ADOBE
    assert np.abs(array(result) - colour).max() <= 3
    assert np.abs(array(read_picture(tmp_path / f"out.{extension}")) - array(photograph.picture)).max() <= 3


def test_a_picture_with_the_profile_of_srgb_is_not_touched_by_it(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))
    photograph = read_photograph(saved(tmp_path / "photo.png", image, icc_profile=profile))
    np.testing.assert_array_equal(array(photograph.picture), array(image))
    result = written(tmp_path / "out.png", photograph.picture, like=photograph)
    np.testing.assert_array_equal(array(result), array(image))
    assert result.info["icc_profile"] == profile


CYAN = (153, 108, 104)

OTHER_SPACES: dict[str, tuple[Callable[[], bytes], Any]] = {
    "CMYK": (
        lambda: encoded(
            Image.new("CMYK", SIZE, (255, 0, 0, 0)), "JPEG", quality=100, icc_profile=icc.cmyk_profile(CYAN)
        ),
        icc.lab_to_srgb(CYAN),
    ),
    "grey": (
        lambda: encoded(Image.new("L", SIZE, 128), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "grey with alpha": (
        lambda: encoded(Image.new("LA", SIZE, (128, 255)), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "16-bit grey": (
        lambda: encoded(Image.fromarray(np.full(SIZE[::-1], 32896, "<u2")), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "palette": (
        lambda: encoded(Image.new("RGB", SIZE, (100, 140, 110)).quantize(2), icc_profile=ADOBE),
        icc.to_srgb(np.array((100, 140, 110), float)),
    ),
}


@pytest.mark.parametrize("kind", OTHER_SPACES)
def test_pictures_of_other_kinds_are_converted(tmp_path: Path, kind: str) -> None:
    make, expected = OTHER_SPACES[kind]
    (tmp_path / "photo").write_bytes(make())
    photograph = read_photograph(tmp_path / "photo")
    assert np.abs(array(photograph.picture) - expected).max() <= 3
    assert photograph.profile == (ADOBE if kind == "palette" else None)  # a result is RGB
    result = written(tmp_path / "out.png", photograph.picture, like=photograph)
    assert result.mode == "RGB"


@pytest.mark.parametrize("profile", [b"garbage" * 100, ADOBE[:300], icc.grey_profile(1.0)])
def test_a_profile_that_will_not_do_is_ignored_with_a_warning(tmp_path: Path, profile: bytes) -> None:
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE, (100, 140, 110)), icc_profile=profile)
    warning = rf"^picture {re.escape(str(path))}: its colour profile is ignored: it is "
    with pytest.warns(RuntimeWarning, match=warning) as warned:
        photograph = read_photograph(path)
    assert len(warned) == 1
    assert np.abs(array(photograph.picture) - (100, 140, 110)).max() <= 3
    assert photograph.profile is None


def test_a_result_that_a_profile_cannot_describe_is_srgb(tmp_path: Path) -> None:
    image = Image.new("RGB", SIZE, (100, 140, 110))
    with pytest.warns(RuntimeWarning, match="^the result is sRGB: its colour profile cannot be used"):
        result = written(tmp_path / "out.png", image, like=Photograph(image, profile=icc.one_way_profile()))
    np.testing.assert_array_equal(array(result), array(image))
    assert "icc_profile" not in result.info


@pytest.mark.parametrize("extension", FORMATS)
def test_what_an_image_happens_to_carry_is_not_written(tmp_path: Path, extension: str) -> None:
    image = Image.new("RGB", SIZE, (1, 2, 3))
    image.info |= {"icc_profile": ADOBE, "transparency": (1, 2, 3), "comment": b"mine", "exif": camera().tobytes()}
    result = written(tmp_path / f"out.{extension}", image)
    assert not {"icc_profile", "transparency", "comment", "exif"} & set(result.info)
    assert image.info["comment"] == b"mine"


# --- transparency ---------------------------------------------------------------------------------------------


def stencil() -> Image.Image:
    """A picture that is transparent at the left, opaque at the right, and half so in between."""
    levels = np.empty((40, 60, 4), np.uint8)
    levels[..., :3] = (200, 100, 50)
    levels[:, :20, 3], levels[:, 20:40, 3], levels[:, 40:, 3] = 0, 128, 255
    return Image.fromarray(levels)


def test_what_is_transparent_is_worked_on_in_its_own_colours_and_remembered(tmp_path: Path) -> None:
    photograph = read_photograph(saved(tmp_path / "photo.png", stencil()))
    assert np.abs(array(photograph.picture) - (200, 100, 50)).max() <= 3  # where it is hidden, too
    assert array(photograph.picture)[20, [30, 55]].tolist() == [[200, 100, 50], [200, 100, 50]]
    row = array(read_picture(tmp_path / "photo.png"))[20]
    assert row[[5, 30, 55]].tolist() == [[255, 255, 255], [227, 177, 152], [200, 100, 50]]
    assert photograph.alpha is not None
    assert photograph.alpha.mode == "L"
    assert photograph.alpha == stencil().getchannel("A")


def test_a_png_is_as_transparent_as_its_photograph(tmp_path: Path) -> None:
    photograph = Photograph.of(stencil())
    result = written(tmp_path / "out.png", Image.new("RGB", (120, 40), "navy"), like=photograph)
    assert result.mode == "RGBA"
    assert np.asarray(result)[20, [10, 60, 110]].tolist() == [[0, 0, 128, 0], [0, 0, 128, 128], [0, 0, 128, 255]]


def test_a_jpeg_is_white_where_its_photograph_is_transparent(tmp_path: Path) -> None:
    photograph = Photograph.of(stencil())
    result = written(tmp_path / "out.jpg", Image.new("RGB", (120, 40), "navy"), like=photograph)
    assert np.abs(array(result)[20, [10, 60, 110]] - [[255, 255, 255], [127, 127, 191], [0, 0, 128]]).max() <= 4


def keyed(image: Image.Image, key: Any) -> Image.Image:
    image.info["transparency"] = key
    return image


ALPHAS: dict[str, tuple[Callable[[], Image.Image], int | None]] = {
    "RGB": (lambda: Image.new("RGB", SIZE), None),
    "RGBA, opaque": (lambda: Image.new("RGBA", SIZE, (1, 2, 3, 255)), None),
    "RGBA": (lambda: Image.new("RGBA", SIZE, (1, 2, 3, 77)), 77),
    "RGBa": (lambda: Image.new("RGBA", SIZE, (1, 2, 3, 77)).convert("RGBa"), 77),
    "LA": (lambda: Image.new("LA", SIZE, (1, 77)), 77),
    "La": (lambda: Image.new("LA", SIZE, (1, 77)).convert("La"), 77),
    "RGB, keyed out": (lambda: keyed(Image.new("RGB", SIZE, (1, 2, 3)), (1, 2, 3)), 0),
    "RGB, another key": (lambda: keyed(Image.new("RGB", SIZE, (1, 2, 3)), (3, 2, 1)), None),
    "L, keyed out": (lambda: keyed(Image.new("L", SIZE, 9), 9), 0),
    "1, keyed out": (lambda: keyed(Image.new("1", SIZE, 1), 255), 0),
    "P": (lambda: keyed(Image.new("P", SIZE, 1), bytes([255, 77])), 77),
    "I;16, keyed out": (lambda: keyed(Image.fromarray(np.full(SIZE[::-1], 1234, "<u2")), 1234), 0),
}


@pytest.mark.parametrize("mode", ALPHAS)
def test_transparency_of_every_kind_is_remembered_where_there_is_any(mode: str) -> None:
    make, expected = ALPHAS[mode]
    alpha = Photograph.of(make()).alpha
    assert (None if alpha is None else alpha.getextrema()) == (None if expected is None else (expected, expected))


@pytest.mark.parametrize("alpha", [1, 16, 128, 254])
def test_what_comes_back_unpainted_has_the_colours_and_the_opacity_it_had(tmp_path: Path, alpha: int) -> None:
    photograph = read_photograph(saved(tmp_path / "photo.png", Image.new("RGBA", SIZE, (200, 0, 0, alpha))))
    result = written(tmp_path / "out.png", photograph.picture, like=photograph)
    assert result.getpixel((9, 9)) == (200, 0, 0, alpha)
    shown = written(tmp_path / "out.jpg", photograph.picture, like=photograph)
    once = np.array((200, 0, 0)) * alpha / 255 + 255 - alpha
    assert np.abs(array(shown) - once).max() <= 3
    assert np.abs(array(read_picture(tmp_path / "out.png")) - once).max() <= 1


def test_edges_keep_their_colour_when_a_photograph_is_resized(tmp_path: Path) -> None:
    levels = np.zeros((80, 96, 4), np.uint8)
    levels[20:60, 30:70] = (200, 0, 0, 255)
    photograph = Photograph.of(Image.fromarray(levels))
    result = written(
        tmp_path / "out.png", photograph.picture.resize((37, 31), Image.Resampling.LANCZOS), like=photograph
    )
    seen = np.asarray(result)[np.asarray(result)[..., 3] > 0]
    assert np.abs(seen[:, :3].astype(int) - (200, 0, 0)).max() <= 6


def test_colours_are_converted_before_they_are_composed(tmp_path: Path) -> None:
    image = Image.new("RGBA", SIZE, (100, 140, 110, 128))
    photograph = read_photograph(saved(tmp_path / "photo.png", image, icc_profile=ADOBE))
    expected = (icc.to_srgb(np.array((100, 140, 110), float)) * 128 + 255 * 127) / 255
    assert np.abs(array(photograph.over_white()) - expected).max() <= 2
    result = written(tmp_path / "out.png", photograph.picture, like=photograph)
    assert result.mode == "RGBA"
    assert result.info["icc_profile"] == ADOBE


# --- EXIF -----------------------------------------------------------------------------------------------------

THUMBNAIL = b"a tiny picture, but too large"


def camera(order: str = "<", comment: bytes = b"") -> Image.Exif:
    """What a camera writes: tags of each directory, a rotation, a size."""
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Make] = "Kamera"
    exif[Base.Orientation] = 6
    exif[Base.DateTime] = "2024:05:06 07:08:09"
    exif[Ifd.Exif] = {
        Base.FNumber: 2.5,
        Base.MakerNote: b"secret of the maker",
        Base.ExifImageWidth: 4000,
        Base.ExifImageHeight: 3000,
        **({Base.UserComment: comment} if comment else {}),
    }
    exif[Ifd.GPSInfo] = {1: "N", 2: (48.0, 31.0, 12.0)}
    return exif


def with_thumbnail(exif: bytes) -> bytes:
    """Append a second directory with an embedded picture, as cameras do."""
    order = "little" if exif[6:8] == b"II" else "big"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)  # type: ignore[arg-type]

    tiff = bytearray(exif[6:])
    first = int.from_bytes(tiff[4:8], order)  # type: ignore[arg-type]
    link = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], order)  # type: ignore[arg-type]
    tiff[link : link + 4] = number(len(tiff), 4)
    after = len(tiff) + 2 + 2 * 12 + 4
    tiff += number(2, 2)
    for tag, value in ((0x0201, after), (0x0202, len(THUMBNAIL))):
        tiff += number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4)
    return b"Exif\0\0" + bytes(tiff) + number(0, 4) + THUMBNAIL


def exif_of(path: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    with Image.open(path) as image:
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(Ifd.Exif)), dict(exif.get_ifd(Ifd.GPSInfo))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", [*FORMATS, "tiff", "webp"])
def test_the_result_has_the_photographs_exif_upright_and_with_its_own_size(
    tmp_path: Path, source: str, extension: str, order: str
) -> None:
    path = saved(tmp_path / f"photo.{source}", Image.new("RGB", (60, 40), "teal"), exif=camera(order).tobytes())
    photograph = read_photograph(path)
    assert photograph.picture.size == (40, 60)
    write_picture(Image.new("RGB", (50, 75)), tmp_path / f"out.{extension}", like=photograph)
    assert read_picture(tmp_path / f"out.{extension}").size == (50, 75)
    main, details, place = exif_of(tmp_path / f"out.{extension}")
    assert main.keys() == {Base.Make, Base.DateTime, Ifd.Exif, Ifd.GPSInfo}
    assert (main[Base.Make], main[Base.DateTime]) == ("Kamera", "2024:05:06 07:08:09")
    assert details == {
        Base.FNumber: 2.5,
        Base.MakerNote: b"secret of the maker",
        Base.ExifImageWidth: 50,
        Base.ExifImageHeight: 75,
    }
    assert place == {1: "N", 2: (48.0, 31.0, 12.0)}


@pytest.mark.parametrize("extension", FORMATS)
def test_the_embedded_thumbnail_is_dropped(tmp_path: Path, extension: str) -> None:
    exif = with_thumbnail(camera().tobytes())
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE), exif=exif)
    assert THUMBNAIL in path.read_bytes()
    with Image.open(path) as image:
        assert image.getexif().get_ifd(Ifd.IFD1)
    write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", like=read_photograph(path))
    assert THUMBNAIL not in (tmp_path / f"out.{extension}").read_bytes()
    assert exif_of(tmp_path / f"out.{extension}")[0][Base.Make] == "Kamera"


def test_bytes_of_exif_have_the_type_that_exif_gives_them(tmp_path: Path) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), exif=camera().tobytes())
    write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "told"})
    data = (tmp_path / "out.jpg").read_bytes()
    for tag in (Base.MakerNote, Base.UserComment):
        entry = tag.to_bytes(2, "little")
        assert entry + b"\x07\0" in data
        assert entry + b"\x01\0" not in data


@pytest.mark.parametrize("extension", [*FORMATS, "webp"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\x12\x34"]
)
def test_damaged_exif_is_left_out_and_the_picture_read(tmp_path: Path, exif: bytes, extension: str) -> None:
    path = saved(tmp_path / f"photo.{extension}", Image.new("RGB", SIZE, (9, 99, 199)), exif=exif)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        photograph = read_photograph(path)
    assert photograph.exif is None
    assert np.abs(array(photograph.picture) - (9, 99, 199)).max() <= 6
    said = {str(warning.message).partition(" (")[0] for warning in warned}
    assert said <= {f"picture {path}: its EXIF is damaged and left out"}  # Pillow takes some damage for emptiness
    assert said or extension == "jpg" or exif != b"Exif\0\0garbage"


def test_exif_that_no_jpeg_can_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    exif = camera()
    exif[Base.ImageDescription] = "long " * 20_000
    photograph = Photograph(Image.new("RGB", SIZE), exif=exif.tobytes())
    with pytest.warns(RuntimeWarning, match="^the photograph's EXIF left out: more than a JPEG can hold; PNG can"):
        write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "told"})
    assert read_text(tmp_path / "out.jpg") == {"impasto": "told"}
    write_picture(photograph.picture, tmp_path / "out.png", like=photograph)
    assert len(exif_of(tmp_path / "out.png")[0][Base.ImageDescription]) > 65536


def test_text_that_no_jpeg_can_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), exif=camera().tobytes())
    with pytest.warns(RuntimeWarning, match="^the text left out: more than a JPEG can hold; PNG can"):
        write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "x" * 70_000})
    assert read_text(tmp_path / "out.jpg") == {}
    assert exif_of(tmp_path / "out.jpg")[0][Base.Make] == "Kamera"


# --- text -----------------------------------------------------------------------------------------------------

keywords = st.from_regex(r"[!-~\xa1-\xff]([ -~\xa1-\xff]{0,77}[!-~\xa1-\xff])?", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
@given(text=st.dictionaries(keywords, words, max_size=4))
def test_text_is_read_as_it_was_written(folder: Path, extension: str, order: str, text: dict[str, str]) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), exif=camera(order).tobytes())
    for like in (photograph, None):
        write_picture(photograph.picture, folder / f"out.{extension}", like=like, text=text)
        assert read_text(folder / f"out.{extension}") == text


@pytest.mark.parametrize("extension", FORMATS)
def test_what_no_text_can_hold_is_replaced(tmp_path: Path, extension: str) -> None:
    write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", text={"path": "a\udcff\0b"})
    assert read_text(tmp_path / f"out.{extension}") == {"path": "a?\ufffdb"}


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("keyword", ["", "a" * 80, "名", "a\nb", "a\0b"])
def test_other_keywords_are_refused(tmp_path: Path, extension: str, keyword: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 79 printable characters of Latin-1"):
        write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", text={keyword: ""})


def test_text_in_a_png_is_plain_for_others(tmp_path: Path) -> None:
    result = written(tmp_path / "out.png", Image.new("RGB", SIZE), text={"impasto": "Tübingen, Sternennacht"})
    assert result.info["impasto"] == "Tübingen, Sternennacht"
    assert b"iTXtimpasto\0\0\0\0\0T\xc3\xbcbingen" in (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("plain", b'ASCII\0\0\0{"impasto": "plain"}'),
        ("Tübingen", b"UNICODE\0" + '{"impasto": "Tübingen"}'.encode("utf-16-le")),
    ],
)
def test_text_in_a_jpeg_is_a_comment_that_names_its_encoding(tmp_path: Path, value: str, raw: bytes) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), exif=camera("<").tobytes())
    write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": value})
    main, details, place = exif_of(tmp_path / "out.jpg")
    assert details[Base.UserComment] == raw
    assert main[Base.Make] == "Kamera"
    assert details[Base.FNumber] == 2.5
    assert place[1] == "N"


COMMENTS = {
    b"ASCII\0\0\0at the sea \0\0": "at the sea",
    b"UNICODE\0" + "an der Förde".encode("utf-16-le"): "an der Förde",
    b"UNICODE\0" + codecs.BOM_UTF16_BE + "an der Förde".encode("utf-16-be"): "an der Förde",
    b"JIS\0\0\0\0\0" + "海".encode("iso2022_jp"): "海",
    bytes(8) + "an der Förde".encode(): "an der Förde",
    b"no encoding named": "no encoding named",
    b"ASCII\0\0\0[1, 2]": "[1, 2]",
    b'ASCII\0\0\0{"a": 1}': '{"a": 1}',
    b"ASCII\0\0\0" + b"[" * 30_000: "[" * 30_000,
}


@pytest.mark.parametrize("raw", COMMENTS)
def test_the_comments_of_others_are_read_and_kept(tmp_path: Path, raw: bytes) -> None:
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE), exif=camera("<", raw).tobytes())
    assert read_text(path) == {"UserComment": COMMENTS[raw]}
    photograph = read_photograph(path)
    write_picture(photograph.picture, tmp_path / "silent.jpg", like=photograph)
    assert exif_of(tmp_path / "silent.jpg")[1][Base.UserComment] == raw
    write_picture(photograph.picture, tmp_path / "told.jpg", like=photograph, text={"impasto": "told"})
    assert read_text(tmp_path / "told.jpg") == {"UserComment": COMMENTS[raw], "impasto": "told"}
    again = read_photograph(tmp_path / "told.jpg")
    write_picture(again.picture, tmp_path / "again.jpg", like=again, text={"impasto": "anew"})
    assert read_text(tmp_path / "again.jpg") == {"UserComment": COMMENTS[raw], "impasto": "anew"}


@pytest.mark.parametrize("extension", FORMATS)
def test_how_the_photograph_was_made_is_not_said_of_the_result(tmp_path: Path, extension: str) -> None:
    write_picture(Image.new("RGB", SIZE), tmp_path / "first.jpg", text={"impasto": "first", "other": "first"})
    photograph = read_photograph(tmp_path / "first.jpg")
    for text in ({}, {"impasto": "second"}):
        write_picture(photograph.picture, tmp_path / f"out.{extension}", like=photograph, text=text)
        assert read_text(tmp_path / f"out.{extension}") == text
        assert b"first" not in (tmp_path / f"out.{extension}").read_bytes()


def test_pictures_without_text_have_none(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.gif", "a.tiff", "a.webp"):
        assert read_text(saved(tmp_path / name, Image.new("RGB", SIZE))) == {}


def test_text_of_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for name, reason in (("a.png", "not a picture"), ("none.png", "no such file")):
        with pytest.raises(PictureError, match=reason):
            read_text(tmp_path / name)


# --- places ---------------------------------------------------------------------------------------------------


class Page(BaseHTTPRequestHandler):
    """Answers any path with `body`."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/photo.png"
    server.shutdown()
    thread.join()
    server.server_close()


def standard_input(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data))


def test_pictures_come_from_the_web_and_from_standard_input(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", SIZE, "teal"), icc_profile=ADOBE, exif=camera())
    monkeypatch.setattr(Page, "body", data)
    monkeypatch.setattr(sys, "stdin", standard_input(data))
    fetched, piped = read_photograph(url), read_photograph("-")
    assert fetched.picture == piped.picture
    assert fetched.profile == piped.profile == ADOBE
    assert fetched.exif == piped.exif


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture in a format that is read; expected PNG, JPEG, "),
        (b"GIF is no picture", "not a picture in a format that is read"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not a picture; give the address of the picture itself"),
        (b"<HTML lang=en>", "is a web page, not a picture"),
        (encoded(Image.effect_noise((64, 64), 90))[:1000], "truncated or damaged"),
        (encoded(Image.new("RGB", (31, 64))), "31x64 pixels; expected 32 or more"),
    ],
)
def test_what_is_no_picture_is_refused_wherever_it_is_from(
    url: str, data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Page, "body", data)
    monkeypatch.setattr(sys, "stdin", standard_input(data))
    for place in (url, "-") if data else (url,):
        with pytest.raises(PictureError) as refused:
            read_picture(place)
        assert str(refused.value).startswith(f"picture {place}: {reason}")
        assert "\n" not in str(refused.value)


def test_a_result_on_standard_output_is_a_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = Photograph.of(stencil())
    with (tmp_path / "piped").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert check_output("-", inputs=["-", "https://host/photo.png", tmp_path / "photo.png"]) == "-"
        write_picture(photograph.picture, "-", like=photograph, text={"impasto": "told"})
    with Image.open(tmp_path / "piped") as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
    assert read_text(tmp_path / "piped") == {"impasto": "told"}


def test_addresses_are_no_outputs() -> None:
    with pytest.raises(OutputError, match="is an address; expected a file name"):
        check_output("https://host/out.png")


def test_json_survives_as_text(tmp_path: Path) -> None:
    record = {"recipe": "gatys", "styles": ["Große Welle.jpg"], "size": [512, 384]}
    for extension in FORMATS:
        write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", text={"impasto": json.dumps(record)})
        assert json.loads(read_text(tmp_path / f"out.{extension}")["impasto"]) == record


# --- size -----------------------------------------------------------------------------------------------------


@given(width=st.integers(32, 500), height=st.integers(32, 500))
def test_the_contents_own_size_is_exactly_that(width: int, height: int) -> None:
    assert result_size("content", Image.new("1", (width, height))) == (width, height)


# --- upright --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, extension: str) -> None:
    upright = np.zeros((40, 56, 3), np.uint8)
    upright[:20, :28], upright[:20, 28:], upright[20:, :28] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what a camera held that way would have stored: EXIF 2.3, tag 0x0112
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{extension}"
    options = {"quality": 100, "subsampling": 0} if extension == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    found = np.asarray(read_picture(path), int)
    assert found.shape == upright.shape
    corners = (slice(4, None, 28), slice(4, None, 44))
    assert np.abs(found[corners] - upright[corners]).max() < 30
