"""Files of every format that is read are read whole; all else is refused in one line that says why."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from impasto.runtime.errors import MemoryShortage, PictureError
from impasto.runtime.machine.memory import Room
from impasto.runtime.pictures import decoding
from impasto.runtime.pictures.photographs import read_picture
from tests.runtime import pngs
from tests.runtime.files import as_image
from tests.runtime.pictures.test_levels import MODES, SIZE


def save_png(path: Path, width: int = 48, height: int = 40) -> Path:
    Image.new("RGB", (width, height), (10, 200, 30)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [(f"{mode}.{extension}", mode) for extension, modes in
     {"png": ("1", "L", "P, transparent", "RGB", "RGBA, transparent", "LA", "I;16", "RGB, keyed out"),
      "jpg": ("L", "RGB", "CMYK"), "gif": ("P", "P, transparent"), "tiff": ("F", "I", "LAB", "CMYK", "I;16B"),
      "webp": ("RGBA, transparent",)}.items() for mode in modes],
)  # fmt: skip
def test_files_of_every_mode_are_read(tmp_path: Path, name: str, mode: str) -> None:
    make, expected = MODES[mode]
    image = make()
    key = image.info.get("transparency")
    image.save(tmp_path / name, **({} if key is None else {"transparency": key}))
    found = np.asarray(read_picture(tmp_path / name), int)
    assert found.shape == (*SIZE[::-1], 3)
    assert np.abs(found - expected).max() <= 3


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", SIZE, "red"), Image.new("RGB", SIZE, "blue")
    red.save(tmp_path / "film.gif", save_all=True, append_images=[blue])
    assert read_picture(tmp_path / "film.gif").getpixel((5, 5)) == (255, 0, 0)


# --- refusals -------------------------------------------------------------------------------------------------


def bomb(path: Path, side: int = 60_000) -> None:
    """Write a PNG of a few bytes whose header claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    )


def cut(path: Path, format_: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, format_)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (Path.mkdir, "is a folder"),
    "empty": (Path.touch, "not a picture"),
    "text": (lambda path: path.write_text("not a picture at all\n" * 50), "not a picture"),
    "truncated PNG": (lambda path: cut(path, "PNG"), "truncated or damaged"),
    "truncated JPEG": (lambda path: cut(path, "JPEG"), "truncated or damaged"),
    "truncated TIFF": (lambda path: cut(path, "TIFF"), "truncated or damaged"),
    "bomb": (bomb, "decompression bomb"),
    "too narrow": (lambda path: save_png(path, 31, 400), "31x400 pixels; expected 32 or more"),
    "too low": (lambda path: save_png(path, 400, 31), "400x31 pixels; expected 32 or more"),
    "loop": (link_to_itself, "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_refused(tmp_path: Path, kind: str) -> None:
    make, reason = BAD[kind]
    path = tmp_path / "photo.png"
    make(path)
    with pytest.raises(PictureError) as refused:
        read_picture(path)
    text = str(refused.value)
    assert str(path) in text
    assert reason in text
    assert "\n" not in text


def test_paths_below_a_file_and_endless_names_are_refused(tmp_path: Path) -> None:
    file = save_png(tmp_path / "photo.png")
    for path in (file / "photo.png", tmp_path / f"{'a' * 300}.png"):
        with pytest.raises(PictureError, match="cannot be read"):
            read_picture(path)


@pytest.mark.usefixtures("unprivileged")
def test_unreadable_pictures_are_refused(tmp_path: Path) -> None:
    path = save_png(tmp_path / "photo.png")
    path.chmod(0)
    with pytest.raises(PictureError, match="may not be read"):
        read_picture(path)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
def test_damaged_files_are_read_or_refused_but_nothing_else(tmp_path: Path, format_: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    path = tmp_path / "photo"
    Image.fromarray(noise).save(path, format_)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, rng.choice([64, len(whole)]), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(action="ignore"):
                assert read_picture(path).mode == "RGB"
        except PictureError as refused:
            assert "\n" not in str(refused)


# --- whole, or not at all -------------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)

STORED: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    "TIFF": {},
    "TIFF, LZW": {"compression": "tiff_lzw"},
    "TIFF, JPEG": {"compression": "jpeg"},
    "GIF": {},
    "WEBP": {},
    "BMP": {},
    "PPM": {},
    "JPEG2000": {},
    "AVIF": {},
}


def stored(kind: str) -> bytes:
    Image.init()
    format_ = kind.partition(",")[0]
    if format_ not in Image.SAVE:
        pytest.skip("this Pillow writes none")
    data = io.BytesIO()
    Image.fromarray(NOISE).save(data, format_, **STORED[kind])
    return data.getvalue()


@pytest.mark.parametrize("kind", STORED)
def test_what_is_cut_short_is_refused_whatever_others_have_told_pillow(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data, path = stored(kind), tmp_path / "photo"
    path.write_bytes(data)
    whole = read_picture(path)
    for left in np.random.default_rng(1).integers(1, len(data) - 8, 25):
        path.write_bytes(data[:left])
        with pytest.raises(PictureError, match=r"truncated or damaged|not a picture|of a kind that is not read"):
            read_picture(path)
    path.write_bytes(data[:-1])  # of a GIF a mark, and no pixel
    try:
        assert read_picture(path) == whole
    except PictureError as refused:
        assert "truncated or damaged" in str(refused)
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 100)
    assert capfd.readouterr() == ("", "")  # libraries print of themselves


@pytest.mark.parametrize("kind", STORED)
def test_images_from_python_that_cannot_be_read_are_refused_by_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = stored(kind)
    image = Image.open(io.BytesIO(data))
    image.close()
    with pytest.raises(PictureError, match=r"^style 1: was closed before its levels were read; give it while it is op"):
        as_image(image, "style 1")
    if kind in ("WEBP", "AVIF"):  # which Pillow reads when it opens them
        return
    image = Image.open(io.BytesIO(data))
    if kind.startswith("TIFF"):  # whose directory is at its end
        image.fp = io.BytesIO(data[: len(data) // 2])
    else:
        image = Image.open(io.BytesIO(data[: len(data) * 2 // 3]))
    with pytest.raises(PictureError, match=r"^content: truncated or damaged"):
        as_image(image, "content")


@pytest.mark.parametrize("kind", STORED)
def test_images_that_share_a_file_are_read_wherever_that_stands(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photo").write_bytes(stored(kind))
    with (tmp_path / "photo").open("rb") as file:
        first, second = Image.open(file), Image.open(file)
        file.seek(7)
        found = as_image(first, "content"), as_image(second, "style 1")
    assert found[0] == found[1] == read_picture(tmp_path / "photo")


def test_a_tiff_with_fewer_lines_than_it_says_is_not_made_black(tmp_path: Path) -> None:
    data = stored("TIFF")
    said, more = struct.pack("<HHLL", 257, 4, 1, 40), struct.pack("<HHLL", 257, 4, 1, 4000)
    if said not in data:  # as a SHORT
        said, more = struct.pack("<HHLHH", 257, 3, 1, 40, 0), struct.pack("<HHLHH", 257, 3, 1, 4000, 0)
    assert data.count(said) == 1
    (tmp_path / "photo.tif").write_bytes(data.replace(said, more))
    with pytest.raises(PictureError, match="some of its lines are missing"):
        read_picture(tmp_path / "photo.tif")
    lazy = Image.open(io.BytesIO((tmp_path / "photo.tif").read_bytes()))
    with pytest.raises(PictureError, match=r"^content: .*some of its lines are missing"):
        as_image(lazy, "content")


def test_damage_is_not_hidden_by_a_look_at_the_exif() -> None:
    raw = bytearray(zlib.compress(pngs.lines(NOISE, 2, 8)))
    raw[-1] ^= 1  # the checksum, which Pillow does not look at
    data = pngs.assembled(pngs.header(48, 40, 2, 8), pngs.chunk(b"IDAT", bytes(raw)))
    for _ in range(2):
        with pytest.raises(PictureError, match=r"^content: truncated or damaged"):
            as_image(Image.open(io.BytesIO(data)), "content")


def test_pillow_warns_nobody(tmp_path: Path) -> None:
    image = Image.new("P", SIZE, 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.info["transparency"] = bytes([255, 128])
    as_image(image, "content")  # "Palette images with Transparency expressed in bytes should be converted"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x0f\0\2\0\0\xff\xff\0\0\0\x20\0\0\0\0"  # runs beyond its end
    Image.new("RGB", SIZE).save(tmp_path / "photo.jpg", exif=exif)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_picture(tmp_path / "photo.jpg")
    assert all(str(warning.message).startswith("picture ") for warning in said)


# --- memory ---------------------------------------------------------------------------------------------------


def test_what_is_too_large_for_the_memory_there_is_is_refused_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "room_left", lambda: Room(1_000_000_000))
    for depth, needed in ((8, "1.3 GB"), (16, "1.3 GB")):
        head = pngs.header(12_000, 12_000, 2, depth)
        (tmp_path / "huge.png").write_bytes(pngs.assembled(head, pngs.chunk(b"IDAT", bytes(9))))
        with pytest.raises(
            PictureError, match=f"12000x12000 pixels take {needed} of memory to be read, and 1.0 GB are"
        ):
            read_picture(tmp_path / "huge.png")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.tif", compression="group4")
    monkeypatch.setattr(decoding, "room_left", lambda: Room(100_000_000, "ulimit -v"))
    with pytest.raises(
        PictureError,
        match=r"12000x12000 pixels take 0.9 GB of memory to be read, and 0.1 GB are left of ulimit -v; make it ",
    ):
        read_picture(tmp_path / "huge.tif")


def test_a_shortage_of_memory_is_not_called_damage() -> None:
    with (
        pytest.raises(MemoryShortage, match=r"^picture a.png: too little memory to read it; make it smaller, or "),
        decoding.refusing("picture a.png"),
    ):
        bytearray(1 << 62)


SCRIPT = """
import sys
from impasto.runtime.pictures.photographs import read_picture
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
read_picture(sys.argv[2])
before = peak()
width, height = read_picture(sys.argv[1]).size
print((peak() - before) * 1024 / width / height)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of the memory used")
@pytest.mark.parametrize(("color", "depth", "samples"), [(0, 16, 1), (2, 16, 3), (2, 8, 3), (6, 8, 4)])
def test_reading_takes_a_small_multiple_of_the_picture(tmp_path: Path, color: int, depth: int, samples: int) -> None:
    width = height = 3000
    line = bytes([0]) + bytes([200, 100, 50, 40] * (width * samples * depth // 32))
    head = pngs.header(width, height, color, depth)
    gamma = pngs.chunk(b"gAMA", (100_000).to_bytes(4))
    data = pngs.assembled(head, gamma, pngs.chunk(b"IDAT", zlib.compress(line * height)))
    (tmp_path / "large.png").write_bytes(data)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "large.png"), str(save_png(tmp_path / "small.png"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 14  # bytes of a pixel, of which the picture itself takes four
