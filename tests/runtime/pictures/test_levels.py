"""Levels of every mode become 8-bit colours and opacity: to scale, or refused, never black or noise."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from impasto.runtime.errors import PictureError
from impasto.runtime.pictures import levels, strips
from impasto.runtime.pictures.photographs import read_photograph, read_picture
from tests.runtime import icc, pngs
from tests.runtime.files import to_rgb

SIZE = (40, 36)
Colour = tuple[int, int, int]


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, SIZE, colour)


def sixteen_bit(level: int, mode: str) -> Image.Image:
    return Image.fromarray(np.full(SIZE[::-1], level, {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]))


def palette(colour: Colour, transparency: int | bytes | None = None) -> Image.Image:
    image = Image.new("P", SIZE, 1)
    image.putpalette([9, 9, 9, *colour])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def palette_alpha(colour: Colour, alpha: int) -> Image.Image:
    image = Image.new("PA", SIZE, (1, alpha))
    image.putpalette([9, 9, 9, *colour])
    return image


def with_colour_key(image: Image.Image, key: Any) -> Image.Image:
    image.info["transparency"] = key
    return image


# --- modes ----------------------------------------------------------------------------------------------------

WHITE = (255, 255, 255)

MODES: dict[str, tuple[Callable[[], Image.Image], Colour]] = {
    "1": (lambda: flat("1", 1), WHITE),
    "L": (lambda: flat("L", 77), (77, 77, 77)),
    "L, keyed out": (lambda: with_colour_key(flat("L", 77), 77), WHITE),
    "P": (lambda: palette((200, 100, 50)), (200, 100, 50)),
    "P, transparent": (lambda: palette((200, 100, 50), 1), WHITE),
    "P, half transparent": (lambda: palette((200, 100, 50), bytes([255, 128])), (227, 177, 152)),
    "P, another entry transparent": (lambda: palette((200, 100, 50), 0), (200, 100, 50)),
    "PA": (lambda: palette_alpha((200, 100, 50), 255), (200, 100, 50)),
    "PA, transparent": (lambda: palette_alpha((200, 100, 50), 0), WHITE),
    "RGB": (lambda: flat("RGB", (10, 20, 30)), (10, 20, 30)),
    "RGB, keyed out": (lambda: with_colour_key(flat("RGB", (10, 20, 30)), (10, 20, 30)), WHITE),
    "RGBX": (lambda: flat("RGBX", (10, 20, 30, 40)), (10, 20, 30)),
    "RGBA, opaque": (lambda: flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
    "RGBA, transparent": (lambda: flat("RGBA", (10, 20, 30, 0)), WHITE),
    "RGBA, half transparent": (lambda: flat("RGBA", (0, 100, 200, 128)), (127, 177, 227)),
    "RGBa": (lambda: flat("RGBA", (0, 0, 0, 0)).convert("RGBa"), WHITE),
    "LA": (lambda: flat("LA", (77, 255)), (77, 77, 77)),
    "LA, transparent": (lambda: flat("LA", (77, 0)), WHITE),
    "La": (lambda: flat("LA", (77, 0)).convert("La"), WHITE),
    "CMYK": (lambda: flat("CMYK", (255, 0, 0, 0)), (0, 255, 255)),
    "CMYK, black": (lambda: flat("CMYK", (0, 0, 0, 255)), (0, 0, 0)),
    "YCbCr": (lambda: flat("YCbCr", (100, 128, 128)), (100, 100, 100)),
    "HSV": (lambda: flat("HSV", (85, 255, 255)), (0, 255, 0)),
    "LAB": (lambda: flat("LAB", (255, 128, 128)), WHITE),
    "I;16": (lambda: sixteen_bit(65535, "I;16"), WHITE),
    "I;16, middle": (lambda: sixteen_bit(32896, "I;16"), (128, 128, 128)),
    "I;16, keyed out": (lambda: with_colour_key(sixteen_bit(1234, "I;16"), 1234), WHITE),
    "I;16B": (lambda: sixteen_bit(257 * 3, "I;16B"), (3, 3, 3)),
    "I": (lambda: sixteen_bit(65535, "I"), WHITE),
    "F": (lambda: flat("F", 99.6), (100, 100, 100)),
    "F, of 1": (lambda: flat("F", 0.5), (128, 128, 128)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    make, expected = MODES[mode]
    image = to_rgb(make())
    assert image.mode == "RGB"
    assert image.size == SIZE
    assert np.abs(np.asarray(image, int) - expected).max() <= (2 if mode in ("YCbCr", "LAB") else 1)


# --- more than eight bits -------------------------------------------------------------------------------------


def tiff(levels: NDArray[Any], **tags: tuple[int, int]) -> bytes:
    """Return a TIFF of one channel; tags by name, each a type and a value (TIFF 6.0, section 2)."""
    kind = {"u": 1, "i": 2, "f": 3}[levels.dtype.kind]
    height, width = levels.shape
    entries = {256: (4, width), 257: (4, height), 258: (3, levels.dtype.itemsize * 8), 259: (3, 1), 262: (3, 1)}
    entries |= {273: (4, 0), 277: (3, 1), 278: (4, height), 279: (4, levels.nbytes), 339: (3, kind)}
    entries |= {getattr(ExifTags.Base, name).value: value for name, value in tags.items()}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[273] = (4, start)
    order = "<" if levels.dtype.byteorder in "<=|" else ">"
    packed = b"".join(
        struct.pack(f"{order}HHL", tag, type_, 1) + struct.pack(f"{order}{'fL'[type_ != 11]}", value)
        if type_ != 3
        else struct.pack(f"{order}HHLHH", tag, type_, 1, value, 0)
        for tag, (type_, value) in sorted(entries.items())
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    return head + struct.pack(f"{order}H", len(entries)) + packed + bytes(4) + levels.tobytes()


RAMP = np.linspace(0, 1, 48)[None, :] * np.ones((40, 1))

SCALED: dict[str, bytes] = {
    "float": tiff(RAMP.astype("<f4")),
    "float, big-endian": tiff(RAMP.astype(">f4")),
    "float, a little beyond": tiff((RAMP * 1.02 - 0.01).astype("<f4")),
    "float, of 255": tiff((RAMP * 255).astype("<f4")),
    "float, of what it says": tiff((RAMP * 30 - 10).astype("<f4"), SMinSampleValue=(11, -10), SMaxSampleValue=(11, 20)),
    "float, white is zero": tiff((1 - RAMP).astype("<f4"), PhotometricInterpretation=(3, 0)),
    "uint32": tiff((RAMP * (2**32 - 1)).astype("<u4")),
    "int32": tiff((RAMP * (2**31 - 1)).astype("<i4")),
    "int32, big-endian": tiff((RAMP * (2**31 - 1)).astype(">i4")),
    "uint32, of 16 bits": tiff((RAMP * 65535).astype("<u4")),
    "int32, of 16 bits": tiff((RAMP * 65535).astype("<i4")),
    "int32, of 8 bits": tiff((RAMP * 255).astype("<i4")),
    "uint16": tiff((RAMP * 65535).astype("<u2")),
    "uint16, big-endian": tiff((RAMP * 65535).astype(">u2")),
    "uint16, white is zero": tiff(((1 - RAMP) * 65535).astype("<u2"), PhotometricInterpretation=(3, 0)),
    "int16": tiff((RAMP * 32767).astype("<i2")),
    "PGM": b"P5 48 40 65535\n" + (RAMP * 65535).astype(">u2").tobytes(),
    "PGM of 10 bits": b"P5 48 40 1023\n" + (RAMP * 1023).astype(">u2").tobytes(),
    "PFM": b"Pf 48 40 -1.0\n" + RAMP.astype("<f4").tobytes(),
}


@pytest.mark.parametrize("kind", SCALED)
def test_deep_grey_is_scaled_to_what_it_means(tmp_path: Path, kind: str) -> None:
    if kind == "PFM" and tuple(map(int, PIL.__version__.split(".")[:2])) < (10, 3):
        pytest.skip("this Pillow reads none")
    (tmp_path / "deep").write_bytes(SCALED[kind])
    found = np.asarray(read_picture(tmp_path / "deep"), int)
    assert np.abs(found - (RAMP * 255)[..., None]).max() <= (6 if "beyond" in kind else 1)


UNTOLD: dict[str, tuple[bytes, str]] = {
    "float, of light": (tiff((RAMP * 7).astype("<f4")), "floating-point numbers from 0 to 7, and what is white"),
    "float, of 65535": (tiff((RAMP * 65535).astype("<f4")), "what is white cannot be told"),
    "float, negative": (tiff((RAMP - 0.5).astype("<f4")), "from -0.5 to 0.5"),
    "float, not a number": (tiff(np.where(RAMP > 0.5, np.nan, RAMP).astype("<f4")), "not finite"),
    "float, infinite": (tiff(np.where(RAMP > 0.5, np.inf, RAMP).astype("<f4")), "not finite"),
    "int32, negative": (tiff((RAMP * 1000 - 500).astype("<i4")), "integers from -500 to 500"),
    "int16, negative": (tiff((RAMP * 1000 - 500).astype("<i2")), "integers from -500 to 500"),
}


@pytest.mark.parametrize("kind", UNTOLD)
def test_deep_grey_of_no_known_range_is_refused(tmp_path: Path, kind: str) -> None:
    data, reason = UNTOLD[kind]
    (tmp_path / "deep").write_bytes(data)
    with pytest.raises(PictureError, match=reason) as refused:
        read_picture(tmp_path / "deep")
    assert "damaged" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("image", [flat("I", 70_000), flat("I", -5), flat("F", 1e9), flat("F", float("nan"))])
def test_deep_grey_from_python_is_held_to_the_same(image: Image.Image) -> None:
    with pytest.raises(PictureError, match=r"^style 2: its levels|^style 2: it has levels"):
        to_rgb(image, "style 2")


def test_strips_make_the_same_of_it_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), np.uint16))
    whole = np.asarray(to_rgb(image))
    monkeypatch.setattr(strips, "PIXELS", 100)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), whole)


# --- opacity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_level_of_grey_is_transparent_whatever_its_bits(tmp_path: Path, depth: int) -> None:
    grey = (np.arange(40 * 48).reshape(40, 48, 1) * 7) % (1 << depth)
    for key in (0, int(grey[7, 5, 0]), int(grey.max())):
        (tmp_path / "a.png").write_bytes(pngs.png(grey, 0, depth, pngs.chunk(b"tRNS", struct.pack(">H", key))))
        alpha = read_photograph(tmp_path / "a.png").alpha
        assert alpha is not None
        np.testing.assert_array_equal(np.asarray(alpha) == 0, grey[..., 0] == key)


@given(seed=st.integers(0, 999))
def test_hidden_places_go_on_in_the_colours_beside_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    color = rng.integers(0, 256, 3)
    visible = rng.integers(0, 2, (height, width)) * rng.integers(1, 256, (height, width))
    pixels = np.where(visible[..., None] > 0, color, rng.integers(0, 256, 3)).astype(np.uint8)
    found = levels.spread(Image.fromarray(pixels), Image.fromarray(visible.astype(np.uint8)))
    expected = color if visible.any() else WHITE
    assert np.abs(np.asarray(found, int) - expected).max() <= 6
    np.testing.assert_array_equal(np.asarray(found)[visible > 0], pixels[visible > 0])


def test_a_gamma_in_an_images_info_is_heeded() -> None:
    for more in ({}, {"chromaticity": (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)}):
        for mode, color in (("L", 64), ("RGB", (64, 64, 64)), ("RGBA", (64, 64, 64, 255)), ("P", 64)):
            image = flat(mode, color)
            if mode == "P":
                image.putpalette([level for level in range(256) for _ in range(3)])
            image.info |= {"gamma": 1.0, **more}
            assert np.abs(np.asarray(to_rgb(image), int) - icc.encode(np.array(64 / 255))).max() <= 1
