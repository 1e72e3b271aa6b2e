"""PNG files as chunks, all of them checked: PNG specification, third edition (W3C, 2025).

A damaged chunk that the pixels need is an error. A damaged ancillary chunk is left out, and its type is noted.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from impasto.runtime.formats.ancillary import Ancillary
from impasto.runtime.formats.magic import UnreadError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6

#: Color type -> the samples of a pixel, and the possible bits of a sample (section 11.2.1, table 12).
_TYPES = {GREY: (1, (1, 2, 4, 8, 16)), RGB: (3, (8, 16)), PALETTE: (1, (1, 2, 4, 8)), GREY_ALPHA: (2, (8, 16))}
_TYPES[RGB_ALPHA] = (4, (8, 16))

#: The passes of Adam7 interlacing: first column and row, and the steps to the next (section 8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Header:
    """The data of the IHDR chunk."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Parse the data of IHDR; raise `ValueError` if they make no sense."""
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
        """The number of samples of a pixel."""
        return _TYPES[self.color][0]

    @property
    def most(self) -> int:
        """The highest level of a sample."""
        return int((1 << self.depth) - 1)

    def passes(self) -> Iterator[tuple[slice, slice, int, int]]:
        """Yield the rows and columns of each pass, and their numbers; without interlacing there is one pass."""
        for x, y, dx, dy in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            width, height = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if width > 0 and height > 0:
                yield slice(y, None, dy), slice(x, None, dx), height, width

    def line(self, width: int) -> int:
        """Return the number of bytes in a line of so many pixels, without its filter byte."""
        return (width * self.samples * self.depth + 7) // 8


@dataclass
class Png:
    """A PNG file whose pixels are still compressed.

    Attributes
    ----------
    header, palette, data
        The data of IHDR, of PLTE and of each IDAT.
    extras
        The ancillary chunks; transparency is in levels of the file's own depth.
    """

    header: Header
    palette: bytes = b""
    data: list[bytes] = field(default_factory=list)
    extras: Ancillary = field(default_factory=Ancillary)

    def plain(self) -> io.BytesIO:
        """Return a PNG of the same pixels without ancillary chunks. The data of IDAT go into it, and stay no longer."""
        head = self.header
        file = io.BytesIO()
        file.write(SIGNATURE)
        _put(
            file,
            b"IHDR",
            struct.pack(">IIBBBBB", head.width, head.height, head.depth, head.color, 0, 0, head.interlaced),
        )
        if self.palette:
            _put(file, b"PLTE", self.palette)
        self.data.reverse()
        while self.data:
            _put(file, b"IDAT", self.data.pop())
        _put(file, b"IEND", b"")
        file.seek(0)
        return file

    def unfolded(self) -> Iterator[bytes]:
        """Yield the bytes of the lines with their filter bytes, in blocks.

        Raises
        ------
        ValueError
            When they are damaged, too few or too many.
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
        """Refuse damaged image data: a decoder that stops at the last line overlooks some damage.

        Raises
        ------
        ValueError
            When it is damaged.
        """
        for _ in self.unfolded():
            pass


def _put(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def read_header(file: IO[bytes]) -> Header:
    """Return the header of a PNG, which must come first.

    Raises
    ------
    ValueError
        When it does not come first, or is damaged; `UnreadError` for a kind of PNG that is not supported.
    """
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("it does not begin as a PNG does")
    kind, data, sound = _next(file)
    if kind == b"CgBI":
        raise UnreadError("is a PNG for Apple's devices only; save it as an ordinary one")
    if kind != b"IHDR" or not sound:
        raise ValueError("its header is damaged")
    return Header.parse(data)


def read(file: IO[bytes]) -> Png:
    """Read a PNG from its first byte to its end.

    Raises
    ------
    ValueError
        When a chunk that the pixels need is damaged, or the end is missing.
    """
    picture = Png(read_header(file))
    while True:
        kind, data, sound = _next(file)
        if not kind[0] & 0x20:  # a capital: critical
            if not sound:
                raise ValueError(f"chunk {kind.decode()} is damaged")
            if kind == b"IEND":
                break
            _take_critical(picture, kind, data)
        else:
            picture.extras.take(kind, data, sound)
    picture.extras.settle()
    _settle_transparency(picture)
    if not picture.data:
        raise ValueError("it has no image data")
    if picture.header.color == PALETTE and not picture.palette:
        raise ValueError("it has no palette")
    return picture


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


def _take_critical(picture: Png, kind: bytes, data: bytes) -> None:
    if kind == b"IDAT":
        picture.data.append(data)
    elif kind == b"PLTE" and not picture.palette and data and len(data) % 3 == 0 and len(data) <= 768:
        picture.palette = data if picture.header.color == PALETTE else b""
    else:
        raise ValueError(f"chunk {kind.decode()} makes no sense")


def _settle_transparency(picture: Png) -> None:
    """Replace the data of tRNS by the transparent level, or by the opacity of a palette's colours (11.3.1.1)."""
    header, info = picture.header, picture.extras.info
    data = info.pop("transparency", None)
    if data is None:
        return
    if header.color == PALETTE:
        info["transparency"] = data[: len(picture.palette) // 3]
    elif header.color in (GREY, RGB) and len(data) == 2 * header.samples:
        key = tuple(level & header.most for level in struct.unpack(f">{header.samples}H", data))
        info["transparency"] = key if header.color == RGB else key[0]
    else:
        picture.extras.dropped.append("tRNS")
