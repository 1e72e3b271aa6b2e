"""Files of every format that is read are read whole; all else is refused in one line that says why."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.runtime.errors import PictureError
from impasto.runtime.photographs import read_picture
from tests.runtime.test_levels import MODES, SIZE


def save_png(path: Path, width: int = 48, height: int = 40) -> Path:
    Image.new("RGB", (width, height), (10, 200, 30)).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [(f"{mode}.{extension}", mode) for extension, modes in
     {"png": ("1", "L", "P, transparent", "RGB", "RGBA, transparent", "LA", "I;16", "RGB, keyed out",
              "I;16, keyed out"),
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
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
