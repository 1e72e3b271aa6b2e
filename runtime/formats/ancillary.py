"""The ancillary chunks of a PNG, which go with its pixels: PNG specification, third edition (W3C, 2025).

The data of a chunk are kept by Pillow's name for them. A damaged chunk is left out, and its type is noted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: The most bytes of all compressed data beside the pixels, profile and texts, once they are decompressed.
MOST_UNFOLDED = 1 << 26

#: Code points of cICP -> x and y of white, red, green and blue, as in cHRM (H.273, table 2), and gamma (table 3).
_PRIMARIES = {
    1: (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_TRANSFERS = {4: 1 / 2.2, 8: 1.0, 13: 1 / 2.2}


@dataclass
class Ancillary:
    """The data of the ancillary chunks of a PNG.

    Attributes
    ----------
    info
        Data by Pillow's names: icc_profile, exif, xmp, dpi, gamma, srgb, chromaticity, transparency (as it is stored),
        and "Raw profile type ...", another form of EXIF.
    text
        Texts by keyword.
    dropped
        The chunks that were left out because they are damaged, or not understood.
    """

    info: dict[str | tuple[int, int], Any] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    _room: int = MOST_UNFOLDED

    def take(self, kind: bytes, data: bytes, sound: bool) -> None:
        """Take a chunk; `sound` says whether its checksum is right."""
        try:
            if not sound:
                raise ValueError
            if kind in _TAKE:
                _TAKE[kind](self, data)
        except (ValueError, IndexError, struct.error, zlib.error):
            self.dropped.append(kind.decode("ascii"))

    def settle(self) -> None:
        """Apply the chunk that takes precedence over others; call this after the last chunk."""
        if "cicp" in self.info:
            self.info = {key: value for key, value in self.info.items() if key not in ("icc_profile", "srgb")}
            self.info |= self.info.pop("cicp")

    def unfold(self, data: bytes) -> bytes:
        """Return compressed data decompressed; raise `ValueError` if they are damaged or too large."""
        stream = zlib.decompressobj()
        unfolded = stream.decompress(data, self._room + 1)
        if not stream.eof or len(unfolded) > self._room:
            raise ValueError
        self._room -= len(unfolded)
        return unfolded


def _take_profile(chunks: Ancillary, data: bytes) -> None:
    _, _, rest = data.partition(b"\0")
    if rest[0] != 0:  # the one method of compression
        raise ValueError
    chunks.info["icc_profile"] = chunks.unfold(rest[1:])


def _take_text(chunks: Ancillary, data: bytes) -> None:
    key, separator, value = data.partition(b"\0")
    if not separator:
        raise ValueError
    _keep_text(chunks, key, value.decode("latin-1"))


def _take_compressed_text(chunks: Ancillary, data: bytes) -> None:
    key, _, rest = data.partition(b"\0")
    if rest[0] != 0:
        raise ValueError
    _keep_text(chunks, key, chunks.unfold(rest[1:]).decode("latin-1"))


def _take_international_text(chunks: Ancillary, data: bytes) -> None:
    key, _, rest = data.partition(b"\0")
    compressed, method = rest[0], rest[1]
    _language, _translated, value = rest[2:].split(b"\0", 2)
    if compressed > 1 or (compressed and method):
        raise ValueError
    value = chunks.unfold(value) if compressed else value
    if key == b"XML:com.adobe.xmp":
        chunks.info["xmp"] = value
    _keep_text(chunks, key, value.decode("utf-8"))


def _keep_text(chunks: Ancillary, key: bytes, value: str) -> None:
    if not key:
        raise ValueError
    keyword = key.decode("latin-1")
    chunks.text[keyword] = value
    if keyword.startswith("Raw profile type "):  # ImageMagick's and exiftool's way
        chunks.info[keyword] = value


def _take_exif(chunks: Ancillary, data: bytes) -> None:
    chunks.info["exif"] = b"Exif\0\0" + data.removeprefix(b"Exif\0\0")


def _take_gamma(chunks: Ancillary, data: bytes) -> None:
    (chunks.info["gamma"],) = (value / 100_000 for value in struct.unpack(">I", data))


def _take_primaries(chunks: Ancillary, data: bytes) -> None:
    chunks.info["chromaticity"] = tuple(value / 100_000 for value in struct.unpack(">8i", data))


def _take_intent(chunks: Ancillary, data: bytes) -> None:
    (chunks.info["srgb"],) = struct.unpack("B", data)


def _take_code_points(chunks: Ancillary, data: bytes) -> None:
    """Take cICP (ITU-T H.273) as the equivalent gAMA and cHRM, unless it is for high dynamic range."""
    primaries, transfer, *coding = struct.unpack("4B", data)
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS or coding != [0, 1]:
        raise ValueError
    chunks.info["cicp"] = {"gamma": _TRANSFERS[transfer], "chromaticity": _PRIMARIES[primaries]}


def _take_density(chunks: Ancillary, data: bytes) -> None:
    x, y, unit = struct.unpack(">IIB", data)
    if unit == 1:  # pixels per metre
        chunks.info["dpi"] = x * 0.0254, y * 0.0254
    elif unit == 0:
        chunks.info["aspect"] = x, y


def _take_transparency(chunks: Ancillary, data: bytes) -> None:
    chunks.info["transparency"] = data  # its meaning depends on the header


_TAKE: dict[bytes, Callable[[Ancillary, bytes], None]] = {
    b"iCCP": _take_profile,
    b"tEXt": _take_text,
    b"zTXt": _take_compressed_text,
    b"iTXt": _take_international_text,
    b"eXIf": _take_exif,
    b"gAMA": _take_gamma,
    b"cHRM": _take_primaries,
    b"sRGB": _take_intent,
    b"cICP": _take_code_points,
    b"pHYs": _take_density,
    b"tRNS": _take_transparency,
}
