"""Photographs are read from anywhere, in sRGB and upright, with what their results should have again."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime.errors import OutputError, PictureError
from impasto.runtime.pictures.encoding import check_output, write_picture
from impasto.runtime.pictures.photographs import Photograph, read_photograph, read_picture, read_size, read_text
from impasto.runtime.plan.sizes import result_size
from tests.runtime import files, icc
from tests.runtime.files import FORMATS, SIZE, array, encoded, saved, to_rgb, written

ADOBE = icc.rgb_profile()


# --- what is given --------------------------------------------------------------------------------------------


class Located:
    """A path of another library's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


def test_a_photograph_remembers_where_it_came_from(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png", Image.new("RGBA", SIZE, (100, 140, 110, 60)))
    found = [Photograph.given(given_, "content") for given_ in (path, str(path), Located(path))]
    with Image.open(path) as opened:
        found.append(Photograph.given(opened, "content"))
        found.append(Photograph.given(np.asarray(opened), "content"))
        found.append(Photograph.given(opened.copy(), "content"))
    assert [str(one.place) for one in found] == [str(path)] * 4 + ["None"] * 2
    for one in found:
        assert one.picture.getpixel((0, 0)) == (100, 140, 110)
        assert one.alpha is not None
        assert one.alpha.getextrema() == (60, 60)


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (Image.new("RGB", (31, 40)), "content: 31x40 pixels; expected 32 or more on each side"),
        (np.zeros((31, 40), np.uint8), "content: 40x31 pixels; expected 32 or more on each side"),
        (np.zeros((0, 40, 3)), "content: 40x0 pixels"),
        (b"", "content: is of type bytes; expected a path, an address, a PIL image or an array"),
        ({}, "content: is of type dict"),
    ],
)
def test_what_is_no_photograph_is_refused_by_its_name(given_: Any, reason: str) -> None:
    with pytest.raises(PictureError, match=f"^{reason}"):
        Photograph.given(given_, "content")


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
    "grey as RGB": (
        lambda: encoded(Image.new("RGB", SIZE, (128, 128, 128)), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "grey as RGB, with alpha": (
        lambda: encoded(Image.new("RGBA", SIZE, (128, 128, 128, 255)), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "palette of greys": (
        lambda: encoded(Image.new("L", SIZE, 128).quantize(2), icc_profile=icc.grey_profile(1.0)),
        icc.encode(np.full(3, 128 / 255)),
    ),
    "black and white": (
        lambda: encoded(Image.new("1", SIZE, 1), icc_profile=icc.grey_profile(1.0)),
        np.full(3, 255.0),
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


def test_a_size_is_read_without_the_levels(tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(Image.new("RGB", (3000, 2000)))[:60])
    assert read_size(cut) == (3000, 2000)
    with pytest.raises(PictureError, match="no such file"):
        read_size(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(PictureError, match=r"text\.png: not a picture"):
        read_size(tmp_path / "text.png")


def test_pictures_come_from_the_web_and_from_standard_input(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", SIZE, "teal"), icc_profile=ADOBE, exif=files.exif())
    monkeypatch.setattr(Page, "body", data)
    monkeypatch.setattr(sys, "stdin", standard_input(data))
    fetched, piped = read_photograph(url), read_photograph("-")
    assert fetched.picture == piped.picture
    assert fetched.profile == piped.profile == ADOBE
    assert fetched.metadata == piped.metadata


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
    assert read_size(path) == (56, 40)
    corners = (slice(4, None, 28), slice(4, None, 44))
    assert np.abs(found[corners] - upright[corners]).max() < 30
