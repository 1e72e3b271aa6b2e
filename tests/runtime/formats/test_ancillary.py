"""What goes with the pixels of a PNG is kept, or left out and named; a bomb among it takes no memory."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

from impasto.runtime.formats import ancillary, png
from impasto.runtime.formats.ancillary import Ancillary
from tests.runtime import pngs
from tests.runtime.pngs import chunk

DATA = zlib.compress(pngs.lines(np.zeros((40, 48, 3), int), png.RGB, 8))


def read(*extra: bytes) -> Ancillary:
    head = pngs.header(48, 40, png.RGB, 8)
    return png.read(io.BytesIO(pngs.assembled(head, *extra, chunk(b"IDAT", DATA)))).extras


# --- what goes with them --------------------------------------------------------------------------------------

PROFILE = np.random.default_rng(1).integers(0, 256, 3_000_000, np.uint8).tobytes()


def test_what_goes_with_the_pixels_is_kept_by_pillows_names() -> None:
    found = read(
        chunk(b"iCCP", b"p\0\0" + zlib.compress(PROFILE)),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"cHRM", struct.pack(">8I", *range(8))),
        chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        chunk(b"eXIf", b"II*\0rest"),
        chunk(b"tRNS", struct.pack(">3H", 1, 2, 259)),
        chunk(b"tEXt", b"Title\0Gr\xf6\xdfe"),
        chunk(b"zTXt", b"Long\0\0" + zlib.compress(b"x" * 5_000_000)),
        chunk(b"iTXt", "XML:com.adobe.xmp\0\0\0\0\0<x>ü</x>".encode()),
        chunk(b"iTXt", b"Packed\0\1\0de\0\0" + zlib.compress("größer".encode())),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n1\n00")),
        chunk(b"prIv", b"whatever"),
    )
    assert not found.dropped
    assert found.info.pop("icc_profile") == PROFILE
    assert found.info.pop("dpi") == pytest.approx((300, 300), abs=0.01)
    assert found.info == {
        "gamma": 0.45455,
        "chromaticity": tuple(value / 100_000 for value in range(8)),
        "exif": b"Exif\0\0II*\0rest",
        "transparency": (1, 2, 3),
        "xmp": "<x>ü</x>".encode(),
        "Raw profile type exif": "\nexif\n1\n00",
    }
    assert found.text["Title"] == "Größe"
    assert found.text["Packed"] == "größer"
    assert len(found.text["Long"]) == 5_000_000


BOMB = zlib.compress(bytes(ancillary.MOST_UNFOLDED + 1))

UNSOUND: dict[str, bytes] = {
    "tEXt checksum": chunk(b"tEXt", b"Comment\0hello", crc=1),
    "unknown checksum": chunk(b"prIv", b"hello", crc=1),
    "tEXt without an end": chunk(b"tEXt", b"Comment"),
    "zTXt of another compression": chunk(b"zTXt", b"Comment\0\1" + zlib.compress(b"")),
    "zTXt cut short": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"hello")[:-2]),
    "zTXt bomb": chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "iTXt bomb": chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "iTXt of no UTF-8": chunk(b"iTXt", b"Comment\0\0\0\0\0\xff\xfe"),
    "iTXt too short": chunk(b"iTXt", b"Comment\0"),
    "iCCP bomb": chunk(b"iCCP", b"p\0\0" + BOMB),
    "iCCP of another compression": chunk(b"iCCP", b"p\0\7" + zlib.compress(b"none")),
    "iCCP empty": chunk(b"iCCP"),
    "gAMA short": chunk(b"gAMA", b"\0\0"),
    "cHRM short": chunk(b"cHRM", bytes(8)),
    "sRGB long": chunk(b"sRGB", bytes(2)),
    "pHYs short": chunk(b"pHYs", bytes(4)),
    "tRNS short": chunk(b"tRNS", bytes(2)),
    "cICP of high dynamic range": chunk(b"cICP", bytes([9, 16, 0, 1])),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_is_unsound_beside_the_pixels_is_left_out_and_named(kind: str) -> None:
    for extra in ((UNSOUND[kind],), (UNSOUND[kind], chunk(b"tEXt", b"After\0it"))):
        found = read(*extra)
        assert found.dropped == [UNSOUND[kind][4:8].decode()]
        assert not found.info
        assert found.text == ({"After": "it"} if len(extra) > 1 else {})


def test_many_small_bombs_are_one() -> None:
    part = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(ancillary.MOST_UNFOLDED // 3)))
    assert read(*[part] * 5).dropped == ["zTXt"] * 2


@pytest.mark.parametrize(("points", "gamma"), [((12, 13), 1 / 2.2), ((9, 8), 1.0)])
def test_code_points_come_before_a_profile(points: tuple[int, int], gamma: float) -> None:
    found = read(chunk(b"cICP", bytes([*points, 0, 1])), chunk(b"iCCP", b"p\0\0" + zlib.compress(b"profile")))
    assert found.info["gamma"] == gamma
    assert len(found.info["chromaticity"]) == 8
    assert "icc_profile" not in found.info
