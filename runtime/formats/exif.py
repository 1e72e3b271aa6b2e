"""EXIF, read and written as the TIFF structure that it is: unchanged values keep their bytes.

The structure is that of TIFF 6.0 (1992), section 2: directories of entries, each with a tag, a type, a count and a
value. The tags are those of EXIF 2.32 (CIPA DC-008-2019), section 4.6.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import IO

#: Type -> the bytes of one value; 129 is UTF-8 of EXIF 3.0, 16 to 18 are BigTIFF's.
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_BIG_ONLY = (16, 17, 18)

#: The most bytes of all values together: in damaged files many entries may share the same bytes.
_MOST = 1 << 26

#: The largest offset at which a maker note is kept: a larger one is not from a JPEG.
_MOST_OFFSET = 65_535

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_MAKER_NOTE, _USER_COMMENT = 0x927C, 0x9286

#: Directory -> the directories beneath it, both by the tags that lead to them.
_BELOW: dict[int, tuple[int, ...]] = {0: (_EXIF, _GPS, _INTEROPERABILITY), _EXIF: (_GPS, _INTEROPERABILITY)}
_POINTERS = (_EXIF, _GPS, _INTEROPERABILITY)

#: The tags of width and height, in the main and the EXIF directory.
_SIZES, _EXIF_SIZES = (256, 257), (0xA002, 0xA003)

#: Tags of data that are not EXIF: XMP, IPTC, Photoshop's resources, an ICC profile.
XMP, IPTC, PHOTOSHOP, _ICC_PROFILE = 700, 33723, 34377, 34675

#: Tags of the storage of pixels, and of the offsets of thumbnails and further pictures.
_LAYOUT = {254, 255, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338}
_LAYOUT |= {339, 347, 400, 512, 513, 514, 530}

#: More tags about the pixels of a TIFF: size, colours, inks, pages, layers (Photoshop), place on the earth (GeoTIFF,
#: GDAL), sensor (DNG, which has all from 50706 on except two of Panasonic's).
_OF_A_FILE = {*_SIZES, 264, 265, 280, 281, *range(288, 294), 297, 301, 318, 319, *range(321, 348), 529, 531, 532}
_OF_A_FILE |= {33550, 33922, 34264, 34735, 34736, 34737, 37724, 42112, 42113}
_OF_A_FILE |= {*range(50706, 50898), *range(50900, 52600)}

#: The names of encodings in UserComment (EXIF 2.32, table 9); UNICODE is UTF-16 in the byte order of the EXIF.
_ASCII, _UNICODE, _JIS, _UNKNOWN = b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8)


class ExifError(ValueError):
    """Bytes that are not EXIF; the text says why."""


@dataclass(frozen=True)
class Entry:
    """A tag and its value: the bytes in the file, or the directory that it leads to.

    The value of an unknown type is the field of four bytes. `offset` is the offset of a maker note, in bytes from the
    start of the structure: the offsets inside a maker note count from there, too.
    """

    tag: int
    kind: int
    count: int
    value: bytes | Directory
    offset: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Directory:
    """The entries of a directory (IFD), by ascending tag."""

    entries: tuple[Entry, ...] = ()

    def get(self, tag: int) -> Entry | None:
        """Return the first entry of a tag."""
        return next((entry for entry in self.entries if entry.tag == tag), None)

    def value(self, tag: int) -> bytes:
        """Return the bytes of a tag; no bytes if it is missing."""
        entry = self.get(tag)
        return entry.value if entry and isinstance(entry.value, bytes) else b""

    def below(self, tag: int) -> Directory:
        """Return the directory that a tag leads to; an empty one if there is none."""
        entry = self.get(tag)
        return entry.value if entry and isinstance(entry.value, Directory) else Directory()

    def without(self, tags: Container[int]) -> Directory:
        """Return the directory without some tags."""
        return Directory(tuple(entry for entry in self.entries if entry.tag not in tags))

    def with_entry(self, entry: Entry) -> Directory:
        """Return the directory with an entry, which replaces those of the same tag."""
        entries = (*self.without((entry.tag,)).entries, entry)
        return Directory(tuple(sorted(entries, key=lambda entry: entry.tag)))


@dataclass(frozen=True)
class Exif:
    """The EXIF of a photograph.

    Attributes
    ----------
    order
        The byte order: ``<`` (II) or ``>`` (MM).
    main
        The first directory. The next one in the file (IFD1, a thumbnail) is not read.
    damaged
        The number of entries that were left out because they, or the data they lead to, cannot be read.
    """

    order: str = "<"
    main: Directory = Directory()
    damaged: int = field(default=0, compare=False)


# --- bytes ----------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Exif:
    """Return the EXIF in bytes, with or without the six bytes that a JPEG has before it; see `read`."""
    return read(io.BytesIO(data.removeprefix(b"Exif\0\0")))


def read(file: IO[bytes], skip: Container[int] = ()) -> Exif:
    """Read EXIF from the start of a seekable file, which may be a whole TIFF or BigTIFF.

    Damaged entries are left out, the others are kept. The time is proportional to the number of entries.

    Parameters
    ----------
    skip
        Tags of the main directory whose values are not read.

    Raises
    ------
    ExifError
        When there is no such structure, or no entry in it can be read.
    """
    return _Reader(file).read(skip)


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._damaged = file, 0
        header = self._at(0, 8)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None or len(header) < 8:
            raise ExifError("it does not begin as EXIF does")
        self._order = order
        (version,) = self._numbers("H", header[2:4])
        self._big = version == 43
        if version not in (42, 43):
            raise ExifError("it is of an unknown version")
        first = self._at(8, 8) if self._big else header[4:]
        self._seen: set[int] = set()
        self._left = min(_MOST, file.seek(0, io.SEEK_END))
        self._first = self._offset(first)

    def read(self, skip: Container[int]) -> Exif:
        main = self._directory(self._first, 0, skip)
        if main is None:
            raise ExifError("it leads nowhere")
        if self._damaged and not main.entries:
            raise ExifError("none of its entries is whole")
        return Exif(self._order, main, self._damaged)

    def _at(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(length)
        except (OSError, OverflowError, ValueError):  # the offset is too large for any file
            return b""

    def _numbers(self, layout: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(self._order + layout, data)

    def _offset(self, data: bytes) -> int:
        layout = {4: "L", 8: "Q"}.get(len(data))
        return self._numbers(layout, data)[0] if layout else 0

    def _directory(self, offset: int, name: int, skip: Container[int] = ()) -> Directory | None:
        """Return a directory; None if the offset is wrong, or it has been read before."""
        counter, entry_size = ("Q", 20) if self._big else ("H", 12)
        counted = self._at(offset, struct.calcsize("=" + counter))
        if offset in self._seen or offset < 8 or len(counted) < struct.calcsize("=" + counter):
            return None
        self._seen.add(offset)
        (count,) = self._numbers(counter, counted)
        table = self._at(offset + len(counted), min(count, 65_535) * entry_size)
        if count * entry_size > len(table):
            self._damaged += 1  # one, for all missing entries
        fields = [table[k : k + entry_size] for k in range(0, len(table) - entry_size + 1, entry_size)]
        entries = [entry for field_ in fields for entry in self._entries(field_, name, skip)]
        return Directory(tuple(sorted(entries, key=lambda entry: entry.tag)))

    def _entries(self, data: bytes, name: int, skip: Container[int]) -> Iterator[Entry]:
        tag, kind, count = self._numbers("HHQ" if self._big else "HHL", data[: 12 if self._big else 8])
        if tag in skip:
            return
        entry = self._pointer(tag, name, data) if tag in _POINTERS else self._value(tag, kind, count, data)
        if entry is None:
            self._damaged += 1
        else:
            yield entry

    def _pointer(self, tag: int, name: int, data: bytes) -> Entry | None:
        if tag not in _BELOW.get(name, ()):
            return None
        below = self._directory(self._offset(data[-8:] if self._big else data[-4:]), tag)
        return Entry(tag, _LONG, 1, below) if below else None

    def _value(self, tag: int, kind: int, count: int, data: bytes) -> Entry | None:
        inline = data[12:] if self._big else data[8:]
        if kind not in _UNITS:  # more than four values are at another offset, and their size is unknown
            return Entry(tag, kind, count, inline) if count <= 4 and not self._big else None
        size = count * _UNITS[kind]
        if kind in _BIG_ONLY or count > 0xFFFFFFFF:
            return None
        if size <= len(inline):
            return Entry(tag, kind, count, inline[:size])
        offset = self._offset(inline)
        value = self._at(offset, size) if size <= self._left else b""
        if len(value) < size:
            return None
        self._left -= size
        return Entry(tag, kind, count, value, offset if tag == _MAKER_NOTE else None)


def serialise(exif: Exif) -> bytes:
    """Return EXIF as the bytes of a PNG's eXIf chunk; a JPEG has six bytes before them.

    A maker note keeps its offset, if that is within the first 64 KiB: then the offsets inside it stay right.
    """
    return _Writer(exif).data()


class _Writer:
    def __init__(self, exif: Exif) -> None:
        self._exif, self._written = exif, bytearray()
        note = exif.main.below(_EXIF).get(_MAKER_NOTE)
        self._note: Entry | None = None
        self._free = [(8, 1 << 32)]
        if note and isinstance(note.value, bytes) and note.offset and 8 <= note.offset <= _MOST_OFFSET:
            self._note = note
            self._free = [(8, note.offset), (note.offset + len(note.value), 1 << 32)]

    def data(self) -> bytes:
        first = self._directory(self._exif.main)
        self._put(0, {"<": b"II", ">": b"MM"}[self._exif.order] + self._numbers("HL", 42, first))
        return bytes(self._written)

    def _numbers(self, layout: str, *numbers: int) -> bytes:
        return struct.pack(self._exif.order + layout, *numbers)

    def _put(self, offset: int, data: bytes) -> None:
        self._written.extend(bytes(max(0, offset + len(data) - len(self._written))))
        self._written[offset : offset + len(data)] = data

    def _room(self, size: int) -> int:
        """Take the first free space of that size; return its offset, which TIFF requires to be even."""
        for k, (start, end) in enumerate(self._free):
            start += start % 2
            if start + size <= end:
                self._free[k] = (start + size, end)
                return start
        raise ExifError("it is larger than 4 GiB")

    def _directory(self, directory: Directory) -> int:
        count = len(directory.entries)
        offset = self._room(2 + 12 * count + 4)
        table = b"".join(self._entry(entry) for entry in directory.entries)
        self._put(offset, self._numbers("H", count) + table + bytes(4))
        return offset

    def _entry(self, entry: Entry) -> bytes:
        if isinstance(entry.value, Directory):
            value = self._numbers("L", self._directory(entry.value))
        elif len(entry.value) <= 4:
            value = entry.value.ljust(4, b"\0")
        else:
            at = entry.offset if entry is self._note and entry.offset else self._room(len(entry.value))
            self._put(at, entry.value)
            value = self._numbers("L", at)
        return self._numbers("HHL", entry.tag, entry.kind, entry.count) + value


# --- EXIF of a result -----------------------------------------------------------------------------------------


def read_tiff(file: IO[bytes]) -> Exif:
    """Read the EXIF of a whole TIFF, without the tags about its pixels, its pages and its size.

    XMP, IPTC and Photoshop's resources are still in it: `without_others` leaves them out.

    Raises
    ------
    ExifError
        When it is not a TIFF.
    """
    return read(file, _LAYOUT | _OF_A_FILE | {_ICC_PROFILE})


def orientation(exif: Exif) -> int | None:
    """Return the orientation of the picture, 1 to 8; None if there is no valid one."""
    value = _number(exif, exif.main, _ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else None


def resolution(exif: Exif) -> tuple[Fraction, Fraction, int] | None:
    """Return pixels per unit in x and y, and TIFF's number of the unit: 1 none, 2 inch, 3 centimetre."""
    sides = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        entry = exif.main.get(tag)
        if entry is None or (entry.kind, entry.count) != (_RATIONAL, 1) or not isinstance(entry.value, bytes):
            return None
        above, below = struct.unpack(f"{exif.order}2L", entry.value)
        if not above or not below:
            return None
        sides.append(Fraction(above, below))
    unit = _number(exif, exif.main, _RESOLUTION_UNIT)
    return sides[0], sides[1], 2 if unit is None else unit


def upright(exif: Exif, turn: int | None = None) -> Exif:
    """Return the EXIF of a picture that has been turned upright, by default from its own orientation.

    After a quarter turn, its two resolutions change places.
    """
    turn = turn or orientation(exif) or 1
    main = exif.main.without((_ORIENTATION,))
    across, along = main.get(_X_RESOLUTION), main.get(_Y_RESOLUTION)
    if turn >= 5 and across and along and across.value != along.value:
        main = main.with_entry(replace(across, tag=_Y_RESOLUTION)).with_entry(replace(along, tag=_X_RESOLUTION))
    return replace(exif, main=main)


def without_others(exif: Exif) -> Exif | None:
    """Return EXIF without layout and data that are not EXIF; None if no entry is left."""
    main = exif.main.without({XMP, IPTC, PHOTOSHOP, _ICC_PROFILE, *_LAYOUT})
    return replace(exif, main=main) if main.entries else None


def with_size(exif: Exif, size: tuple[int, int]) -> Exif:
    """Return EXIF with another width and height in pixels, in every entry that has them."""
    details = _resized(exif, exif.main.below(_EXIF), _EXIF_SIZES, size)
    return _with_details(replace(exif, main=_resized(exif, exif.main, _SIZES, size)), details)


def _resized(exif: Exif, directory: Directory, tags: tuple[int, int], size: tuple[int, int]) -> Directory:
    for tag, side in zip(tags, size, strict=True):
        if (old := directory.get(tag)) is not None:
            kind = _SHORT if old.kind == _SHORT and side <= 0xFFFF else _LONG
            value = struct.pack(exif.order + {_SHORT: "H", _LONG: "L"}[kind], side)
            directory = directory.with_entry(Entry(tag, kind, 1, value))
    return directory


def _with_details(exif: Exif, details: Directory) -> Exif:
    main = exif.main.without((_EXIF,))
    return replace(exif, main=main.with_entry(Entry(_EXIF, _LONG, 1, details)) if details.entries else main)


def _number(exif: Exif, directory: Directory, tag: int) -> int | None:
    entry = directory.get(tag)
    layout = {1: "B", _SHORT: "H", _LONG: "L"}.get(entry.kind) if entry else None
    if entry is None or layout is None or entry.count != 1 or not isinstance(entry.value, bytes):
        return None
    return int(struct.unpack(exif.order + layout, entry.value)[0])


# --- comments -------------------------------------------------------------------------------------------------


def comment(exif: Exif) -> str:
    """Return the text of the UserComment, decoded by the encoding that it names."""
    raw = exif.main.below(_EXIF).value(_USER_COMMENT)
    code, body = raw[:8], raw[8:]
    if code == _UNICODE:
        marked = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = body.decode("utf-16" if marked else _utf16(exif), "replace")
    elif code == _JIS:
        text = body.decode("iso2022_jp", "replace")
    else:
        text = decode(body if code in (_ASCII, _UNKNOWN) else raw)
    return text.rstrip("\0 ")


def decode(text: bytes) -> str:
    """Return a text that should be ASCII, but may be UTF-8 or Latin-1."""
    with contextlib.suppress(UnicodeDecodeError):
        return text.decode("utf-8")
    return text.decode("latin-1")


def with_comment(exif: Exif, text: str) -> Exif:
    """Return EXIF with another UserComment; without one if the text is empty."""
    details = exif.main.below(_EXIF).without((_USER_COMMENT,))
    if text:
        value = _encode_comment(text, exif)
        details = details.with_entry(Entry(_USER_COMMENT, _UNDEFINED, len(value), value))
    return _with_details(exif, details)


def _encode_comment(text: str, exif: Exif) -> bytes:
    if text.isascii():
        return _ASCII + text.encode("ascii")
    return _UNICODE + text.encode(_utf16(exif))


def _utf16(exif: Exif) -> str:
    return "utf-16-le" if exif.order == "<" else "utf-16-be"
