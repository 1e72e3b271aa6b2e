"""PNG files of 16 bits are read in full: rounded, not cut; keys and gamma are exact."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from impasto.runtime.formats import deep, png
from tests.runtime import icc, pngs
from tests.runtime.pngs import chunk

KINDS = {png.GREY: ("L", 1), png.GREY_ALPHA: ("LA", 2), png.RGB: ("RGB", 3), png.RGB_ALPHA: ("RGBA", 4)}


def decoded(data: bytes) -> NDArray[np.int64]:
    image = deep.decode(png.read(io.BytesIO(data)))
    return np.asarray(image, np.int64).reshape(image.height, image.width, -1)


def rounded(levels: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.floor(levels / 257 + 0.5).astype(np.int64)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("color", KINDS)
@given(width=st.integers(1, 40), height=st.integers(1, 30), seed=st.integers(0, 99), strip=st.sampled_from([1, 500]))
def test_levels_are_rounded_to_eight_bits(
    color: int, interlaced: bool, width: int, height: int, seed: int, strip: int
) -> None:
    mode, samples = KINDS[color]
    levels = np.random.default_rng(seed).integers(0, 65536, (height, width, samples))
    data = pngs.png(levels, color, 16, interlaced=interlaced, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "_STRIP", strip)
        assert deep.decode(png.read(io.BytesIO(data))).mode == mode
        np.testing.assert_array_equal(decoded(data), rounded(levels))


@pytest.mark.parametrize("color", [png.GREY, png.RGB])
def test_only_the_very_key_is_transparent(color: int) -> None:
    samples = KINDS[color][1]
    levels = np.full((32, 32, samples), 0x1234)
    levels[::2] += 1  # of the same eight bits
    found = decoded(pngs.png(levels, color, 16, chunk(b"tRNS", struct.pack(f">{samples}H", *[0x1234] * samples))))
    assert (found[::2, :, -1] == 255).all()
    assert (found[1::2, :, -1] == 0).all()
    np.testing.assert_array_equal(found[..., :-1], rounded(levels))


@pytest.mark.parametrize("color", KINDS)
def test_gamma_is_applied_before_bits_are_dropped(color: int) -> None:
    samples = KINDS[color][1]
    ramp = np.arange(0, 512)[None, :, None] * np.ones((1, 1, samples), int)  # darker than two levels of eight bits
    found = decoded(pngs.png(ramp, color, 16, chunk(b"gAMA", struct.pack(">I", 100_000))))
    colors = samples - (color in (png.GREY_ALPHA, png.RGB_ALPHA))
    assert np.abs(found[..., :colors] - icc.encode(ramp[..., :colors] / 65535)).max() <= 0.51
    assert len(np.unique(found[..., 0])) > 20
    np.testing.assert_array_equal(found[..., colors:], rounded(ramp[..., colors:]))


@pytest.mark.parametrize("lost", [1, 400])
def test_missing_or_damaged_image_data_is_refused(lost: int) -> None:
    raw = pngs.lines(np.full((20, 20, 3), 999), png.RGB, 16)
    for data in (zlib.compress(raw[:-lost]), zlib.compress(raw)[:-lost], zlib.compress(raw)[:-1] + b"\0"):
        with pytest.raises(ValueError, match="image data is"):
            decoded(pngs.assembled(pngs.header(20, 20, png.RGB, 16), chunk(b"IDAT", data)))
