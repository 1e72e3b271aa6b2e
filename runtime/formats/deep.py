"""PNG files of 16 bits a sample, read in full, so that gamma and keys are exact: Pillow reads eight of the bits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.formats import png
from impasto.runtime.formats.gamma import Gamma

Bytes = NDArray[np.uint8]

#: Samples of a pixel -> Pillow's mode.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_STRIP = 1 << 21


def decode(picture: png.Png) -> Image.Image:
    """Return a PNG of 16 bits as an image of 8: mode L, LA, RGB or RGBA; a colour that is a key becomes transparent.

    A gamma is applied before the bits are dropped, and removed from the image's info.

    Raises
    ------
    ValueError
        When the image data is damaged.
    """
    header, gamma = picture.header, Gamma.of(picture.extras.info)
    key = picture.extras.info.get("transparency")
    colors = header.samples - (header.color in (png.GREY_ALPHA, png.RGB_ALPHA))
    bands = header.samples + (key is not None)
    levels = np.empty((header.height, header.width, bands), np.uint8)
    for rows, columns, strip in _strips(picture):
        part = levels[rows, columns]
        light = strip[..., :colors]
        part[..., : strip.shape[2]] = _rounded(strip)
        if gamma:
            part[..., :colors] = (gamma.to_srgb(light.astype(np.float32) / np.float32(65535)) * 255).round()
        if key is not None:
            part[..., -1] = np.where((light == np.uint16(key)).all(-1), 0, 255)
    image = Image.fromarray(levels.squeeze(2) if bands == 1 else levels)
    applied = ("transparency", "gamma", "chromaticity") if gamma else ("transparency",)
    image.info = {key: value for key, value in picture.extras.info.items() if key not in applied}
    return image


def _rounded(levels: NDArray[np.uint16]) -> Bytes:
    """Return the nearest of 8 bits: 65535 is 255."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _strips(picture: png.Png) -> Iterator[tuple[slice, slice, NDArray[np.uint16]]]:
    """Yield rows and columns of the picture, and their levels [h, w, samples], some lines at a time."""
    lines = _Lines(picture)
    for rows, columns, height, width in picture.header.passes():
        length = picture.header.line(width)
        before = np.zeros(length, np.uint8)
        step = max(1, _STRIP // length)
        for first in range(0, height, step):
            count = min(step, height - first)
            filtered = lines.take(count, length)
            # A filter combines a byte with the byte at the same position in the pixel before. So the high bytes of all
            # samples are the lines of an 8-bit PNG, and so are the low bytes. Pillow undoes the filters of such a PNG.
            high, low = (
                _unfiltered(filtered[:, :1], filtered[:, 1 + k :: 2], before[k::2], picture.header.samples)
                for k in (0, 1)
            )
            before[0::2], before[1::2] = high[-1], low[-1]
            levels = np.stack([low, high], -1).view("<u2").reshape(count, width, -1)
            start = (rows.start or 0) + first * rows.step
            yield slice(start, start + count * rows.step, rows.step), columns, levels
    lines.end()


class _Lines:
    """The stored lines of a PNG, decompressed bit by bit."""

    def __init__(self, picture: png.Png) -> None:
        self._blocks, self._rest = picture.unfolded(), bytearray()

    def take(self, count: int, length: int) -> Bytes:
        """Return the next lines [count, 1 + length]: the filter of each, and its bytes."""
        size = count * (1 + length)
        while len(self._rest) < size:
            self._rest += next(self._blocks)  # it raises an error rather than end too early
        taken = np.frombuffer(bytes(self._rest[:size]), np.uint8).reshape(count, 1 + length)
        del self._rest[:size]
        return taken

    def end(self) -> None:
        """Make sure that no data are left, and that the checksum is right."""
        for _ in self._blocks:
            pass


def _unfiltered(filters: Bytes, lines: Bytes, before: Bytes, samples: int) -> Bytes:
    """Return lines of an 8-bit PNG with so many samples a pixel, without filters; `before` is the line above."""
    stored = np.vstack([np.append(np.uint8(0), before), np.hstack([filters, lines])])
    mode = MODES[samples]
    size = lines.shape[1] // samples, len(stored)
    image = Image.frombytes(mode, size, zlib.compress(stored.tobytes(), 0), "zip", mode, 0)
    return np.asarray(image).reshape(len(stored), -1)[1:]
