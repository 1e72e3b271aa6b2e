"""PNG files as chunks, by the PNG specification, third edition (W3C, 2025): every one checked, what is of use kept.

What the pixels need has to be sound. What only goes with them is left out where it is damaged, and named.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: The most bytes that what is compressed beside the pixels, profile and texts, may unfold to.
MOST_UNFOLDED = 1 << 26

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: Color type -> samples of a pixel, and the bits that one may have (section 11.2.1, table 12).
_TYPES = {GREY: (1, (1, 2, 4, 8, 16)), RGB: (3, (8, 16)), PALETTE: (1, (1, 2, 4, 8)), GREY_ALPHA: (2, (8, 16))}
_TYPES[RGB_ALPHA] = (4, (8, 16))

#: The passes of Adam7 interlacing: first column and row, and how far to the next (section 8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

#: Code points of cICP -> x and y of white, red, green and blue as cHRM has them (H.273, table 2), and gamma (table 3).
_PRIMARIES = {
    1: (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_TRANSFERS = {4: 1 / 2.2, 8: 1.0, 13: 1 / 2.2}

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Header:
    """What IHDR says."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Take the data of IHDR apart; raise `ValueError` where that makes no sense."""
        if len(data) != 13:
            raise ValueError("its header has not 13 bytes")
        width, height, depth, color, compression, filtering, interlacing = struct.unpack(">IIBBBBB", data)
        if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
            raise ValueError(f"its header says {width}x{height} pixels")
        if depth not in _TYPES.get(color, (0, ()))[1] or compression or filtering or interlacing > 1:
            raise ValueError("its header makes no sense")
        return cls(width, height, depth, color, bool(interlacing))

    @property
    def samples(self) -> int:
        """How many samples a pixel has."""
        return _TYPES[self.color][0]

    @property
    def most(self) -> int:
        """The highest level of a sample."""
        return int((1 << self.depth) - 1)

    def passes(self) -> Iterator[tuple[slice, slice, int, int]]:
        """Yield the rows and columns of each pass, and how many they are: one pass where it is not interlaced."""
        for x, y, dx, dy in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            width, height = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if width > 0 and height > 0:
                yield slice(y, None, dy), slice(x, None, dx), height, width

    def line(self, width: int) -> int:
        """Return the bytes of a line of so many pixels, without that of its filter."""
        return (width * self.samples * self.depth + 7) // 8


@dataclass
class Png:
    """A PNG file, its pixels still compressed.

    Attributes
    ----------
    header, palette, data
        The data of IHDR, of PLTE and of each IDAT.
    info
        What goes with the pixels, as Pillow calls it: icc_profile, exif, xmp, dpi, gamma, srgb, chromaticity,
        transparency in levels of the file's own depth, and "Raw profile type ..." as others write EXIF, too.
    text
        By keyword.
    dropped
        The chunks that were left out for being damaged.
    """

    header: Header
    palette: bytes = b""
    data: list[bytes] = field(default_factory=list)
    info: dict[str | tuple[int, int], Any] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    def plain(self) -> io.BytesIO:
        """Return a PNG of the same pixels, and nothing else."""
        header = self.header
        made = io.BytesIO()
        made.write(SIGNATURE)
        _put(made, b"IHDR", struct.pack(">IIBBBBB", *_first(header), 0, 0, header.interlaced))
        if self.palette:
            _put(made, b"PLTE", self.palette)
        for data in self.data:
            _put(made, b"IDAT", data)
        _put(made, b"IEND", b"")
        made.seek(0)
        return made

    def unfolded(self) -> Iterator[bytes]:
        """Yield the bytes of the lines, each with that of its filter, in blocks: not one more than there should be.

        Raises
        ------
        ValueError
            When they are damaged, or too few or too many.
        """
        left = sum(rows * (1 + self.header.line(columns)) for _, _, rows, columns in self.header.passes())
        stream = zlib.decompressobj()
        for data in self.data:
            while data and not stream.eof:
                try:
                    block = stream.decompress(data, _BLOCK)
                except zlib.error as error:
                    raise ValueError(f"its image data is damaged: {error}") from None
                data = stream.unconsumed_tail
                left -= len(block)
                if left < 0:
                    raise ValueError("more image data than pixels")
                yield block
        if left or not stream.eof:  # the end comes with a checksum
            raise ValueError("image data is missing")

    def check(self) -> None:
        """Refuse damaged image data: some of it no decoder notices that stops at the last line.

        Raises
        ------
        ValueError
            When it is damaged.
        """
        for _ in self.unfolded():
            pass


def _first(header: Header) -> tuple[int, int, int, int]:
    return header.width, header.height, header.depth, header.color


def _put(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def read_header(file: IO[bytes]) -> Header:
    """Return the header of a PNG, which has to come first.

    Raises
    ------
    ValueError
        When it does not, or is damaged.
    """
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("it does not begin as a PNG does")
    kind, data, sound = _next(file)
    if kind == b"CgBI":
        raise ValueError("it is made for Apple's devices only; save it as an ordinary PNG")
    if kind != b"IHDR" or not sound:
        raise ValueError("its header is damaged")
    return Header.parse(data)


def read(file: IO[bytes]) -> Png:
    """Read a PNG from its first byte to its end.

    Raises
    ------
    ValueError
        When a chunk is damaged that the pixels need, or the end is missing.
    """
    found = Png(read_header(file))
    room = _Room()
    while True:
        kind, data, sound = _next(file)
        name = kind.decode("ascii")
        if not kind[0] & 0x20:  # a capital: critical
            if not sound:
                raise ValueError(f"chunk {name} is damaged")
            if kind == b"IEND":
                break
            _take_critical(found, kind, data)
        elif kind in _TAKE:
            try:
                if not sound:
                    raise ValueError
                _TAKE[kind](found, data, room)
            except (ValueError, IndexError, struct.error, zlib.error):
                found.dropped.append(name)
        elif not sound:
            found.dropped.append(name)
    if "cicp" in found.info:  # comes before all others
        found.info = {key: value for key, value in found.info.items() if key not in ("icc_profile", "srgb")}
        found.info |= found.info.pop("cicp")
    if not found.data:
        raise ValueError("it has no image data")
    if found.header.color == PALETTE and not found.palette:
        raise ValueError("it has no palette")
    return found


def _next(file: IO[bytes]) -> tuple[bytes, bytes, bool]:
    """Return a chunk's type and data, and whether its checksum is right."""
    head = file.read(8)
    length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
    if not (kind.isalpha() and kind.isascii()):
        raise ValueError("the file breaks off" if len(head) < 8 else "what should be a chunk is none")
    data = file.read(length)
    tail = file.read(4)
    if len(data) != length or len(tail) != 4:
        raise ValueError("the file breaks off")
    return kind, data, zlib.crc32(data, zlib.crc32(kind)) == int.from_bytes(tail)


def _take_critical(found: Png, kind: bytes, data: bytes) -> None:
    if kind == b"IDAT":
        found.data.append(data)
    elif kind == b"PLTE" and not found.palette and data and len(data) % 3 == 0 and len(data) <= 768:
        found.palette = data if found.header.color == PALETTE else b""
    else:
        raise ValueError(f"chunk {kind.decode()} makes no sense")


# --- what goes with the pixels --------------------------------------------------------------------------------


class _Room:
    """Unfolds what is compressed, until there is too much of it."""

    def __init__(self) -> None:
        self._left = MOST_UNFOLDED

    def unfold(self, data: bytes) -> bytes:
        stream = zlib.decompressobj()
        unfolded = stream.decompress(data, self._left + 1)
        if not stream.eof or len(unfolded) > self._left:
            raise ValueError
        self._left -= len(unfolded)
        return unfolded


def _take_profile(found: Png, data: bytes, room: _Room) -> None:
    _, _, rest = data.partition(b"\0")
    if rest[0] != 0:  # the one method of compression
        raise ValueError
    found.info["icc_profile"] = room.unfold(rest[1:])


def _take_text(found: Png, data: bytes, room: _Room) -> None:
    key, separator, value = data.partition(b"\0")
    if not separator:
        raise ValueError
    _keep_text(found, key, value.decode("latin-1"))


def _take_compressed_text(found: Png, data: bytes, room: _Room) -> None:
    key, _, rest = data.partition(b"\0")
    if rest[0] != 0:
        raise ValueError
    _keep_text(found, key, room.unfold(rest[1:]).decode("latin-1"))


def _take_international_text(found: Png, data: bytes, room: _Room) -> None:
    key, _, rest = data.partition(b"\0")
    compressed, method = rest[0], rest[1]
    _language, _translated, value = rest[2:].split(b"\0", 2)
    if compressed > 1 or (compressed and method):
        raise ValueError
    value = room.unfold(value) if compressed else value
    if key == b"XML:com.adobe.xmp":
        found.info["xmp"] = value
    _keep_text(found, key, value.decode("utf-8"))


def _keep_text(found: Png, key: bytes, value: str) -> None:
    if not key:
        raise ValueError
    keyword = key.decode("latin-1")
    found.text[keyword] = value
    if keyword.startswith("Raw profile type "):  # ImageMagick's and exiftool's way
        found.info[keyword] = value


def _take_exif(found: Png, data: bytes, room: _Room) -> None:
    found.info["exif"] = b"Exif\0\0" + data.removeprefix(b"Exif\0\0")


def _take_gamma(found: Png, data: bytes, room: _Room) -> None:
    (found.info["gamma"],) = (value / 100_000 for value in struct.unpack(">I", data))


def _take_primaries(found: Png, data: bytes, room: _Room) -> None:
    found.info["chromaticity"] = tuple(value / 100_000 for value in struct.unpack(">8i", data))


def _take_intent(found: Png, data: bytes, room: _Room) -> None:
    (found.info["srgb"],) = struct.unpack("B", data)


def _take_code_points(found: Png, data: bytes, room: _Room) -> None:
    """Take cICP (ITU-T H.273) for what gAMA and cHRM would say of it, where they can: not of high dynamic range."""
    primaries, transfer, *coding = struct.unpack("4B", data)
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS or coding != [0, 1]:
        raise ValueError
    found.info["cicp"] = {"gamma": _TRANSFERS[transfer], "chromaticity": _PRIMARIES[primaries]}


def _take_density(found: Png, data: bytes, room: _Room) -> None:
    x, y, unit = struct.unpack(">IIB", data)
    if unit == 1:  # pixels per metre
        found.info["dpi"] = x * 0.0254, y * 0.0254
    elif unit == 0:
        found.info["aspect"] = x, y


def _take_transparency(found: Png, data: bytes, room: _Room) -> None:
    header = found.header
    if header.color == PALETTE:
        found.info["transparency"] = data[: len(found.palette) // 3]
    elif header.color in (GREY, RGB):
        key = tuple(level & header.most for level in struct.unpack(f">{header.samples}H", data))
        found.info["transparency"] = key if header.color == RGB else key[0]
    else:
        raise ValueError


_TAKE: dict[bytes, Callable[[Png, bytes, _Room], None]] = {
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
