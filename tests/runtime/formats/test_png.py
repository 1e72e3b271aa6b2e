"""What the pixels of a PNG need has to be sound, to the last bit."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.runtime.formats import png
from tests.runtime import pngs
from tests.runtime.pngs import assembled, chunk, header

LEVELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3))
DATA = zlib.compress(pngs.lines(LEVELS, png.RGB, 8))
HEAD = header(48, 40, png.RGB, 8)


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError) as refused:
        png.read(io.BytesIO(data)).check()
    return str(refused.value)


# --- pixels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color", "depth", "samples"),
    [(0, 1, 1), (0, 2, 1), (0, 4, 1), (0, 8, 1), (2, 8, 3), (3, 4, 1), (4, 8, 2), (6, 8, 4)],
)
@given(width=st.integers(1, 20), height=st.integers(1, 20), seed=st.integers(0, 99))
def test_sound_pixels_are_passed_on_as_they_are(
    color: int, depth: int, samples: int, interlaced: bool, width: int, height: int, seed: int
) -> None:
    levels = np.random.default_rng(seed).integers(0, 1 << depth, (height, width, samples))
    colors = chunk(b"PLTE", bytes(range(48))) if color == png.PALETTE else b""
    data = pngs.png(levels, color, depth, colors, chunk(b"tEXt", b"a\0b"), interlaced=interlaced, seed=seed)
    found = png.read(io.BytesIO(data))
    found.check()
    plain, whole = (np.asarray(Image.open(file)) for file in (found.plain(), io.BytesIO(data)))
    np.testing.assert_array_equal(plain, whole)


@given(place=st.integers(0, len(DATA) - 1), bit=st.integers(0, 7))
def test_no_bit_of_the_image_data_may_be_another(place: int, bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= 1 << bit
    assert refusal(assembled(HEAD, chunk(b"IDAT", bytes(damaged))))


@given(cut=st.integers(0, len(assembled(HEAD, chunk(b"IDAT", DATA))) - 1))
def test_no_byte_may_be_missing_at_the_end(cut: int) -> None:
    assert refusal(assembled(HEAD, chunk(b"IDAT", DATA))[:cut])


DAMAGED: dict[str, tuple[bytes, str]] = {
    "no header": (assembled(chunk(b"IDAT", DATA)), "its header is damaged"),
    "header of another checksum": (assembled(chunk(b"IHDR", HEAD[8:21], crc=1)), "its header is damaged"),
    "no size": (assembled(header(0, 40, 2, 8)), "0x40 pixels"),
    "depth of no kind": (assembled(header(48, 40, 2, 4)), "makes no sense"),
    "another header": (assembled(HEAD, HEAD, chunk(b"IDAT", DATA)), "chunk IHDR makes no sense"),
    "no image data": (assembled(HEAD), "no image data"),
    "no palette": (assembled(header(48, 40, 3, 8), chunk(b"IDAT", DATA)), "no palette"),
    "palette of two thirds": (assembled(HEAD, chunk(b"PLTE", bytes(5))), "chunk PLTE makes no sense"),
    "image data of another checksum": (assembled(HEAD, chunk(b"IDAT", DATA, crc=5)), "chunk IDAT is damaged"),
    "too little": (assembled(HEAD, chunk(b"IDAT", zlib.compress(b"0" * 99))), "image data is missing"),
    "too much": (assembled(HEAD, chunk(b"IDAT", zlib.compress(bytes(10**7)))), "more image data than pixels"),
    "a critical chunk of a kind unknown": (assembled(HEAD, chunk(b"ABCD"), chunk(b"IDAT", DATA)), "chunk ABCD"),
    "Apple's own": (assembled(chunk(b"CgBI", bytes(4)), HEAD), "Apple's devices"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_the_pixels_need_has_to_be_sound(kind: str) -> None:
    data, reason = DAMAGED[kind]
    assert reason in refusal(data)


# --- transparency ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("color", "depth", "raw", "expected"), [(0, 2, 5, 1), (0, 8, 0x109, 9), (0, 16, 0x109, 0x109)])
def test_a_transparent_level_has_as_many_bits_as_the_levels(color: int, depth: int, raw: int, expected: int) -> None:
    data = pngs.png(np.zeros((4, 4, 1), int), color, depth, chunk(b"tRNS", struct.pack(">H", raw)))
    assert png.read(io.BytesIO(data)).extras.info["transparency"] == expected


def test_where_there_is_opacity_no_level_is_transparent() -> None:
    data = pngs.png(np.zeros((4, 4, 4), int), png.RGB_ALPHA, 8, chunk(b"tRNS", bytes(6)))
    assert png.read(io.BytesIO(data)).extras.dropped == ["tRNS"]


def test_a_palette_has_no_more_opacities_than_colours() -> None:
    data = pngs.png(np.zeros((4, 4, 1), int), 3, 8, chunk(b"PLTE", bytes(6)), chunk(b"tRNS", bytes(200)))
    assert png.read(io.BytesIO(data)).extras.info["transparency"] == bytes(2)
