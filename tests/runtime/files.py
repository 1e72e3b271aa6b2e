"""Picture files for tests: written and taken apart by other means than the code under test."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import Photograph, Picture

SIZE = (48, 40)
FORMATS = ["png", "jpg"]

#: A type, a count and a value, or the directory that a tag leads to.
Value = tuple[int, int, bytes] | Mapping[int, Any]

EXIF, GPS, INTEROPERABILITY = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop


def array(image: Image.Image) -> NDArray[np.int64]:
    assert image.mode == "RGB"
    return np.asarray(image, np.int64)


def as_image(picture: Picture, what: str = "picture") -> Image.Image:
    """Return a picture that is given as it looks."""
    return Photograph.given(picture, what).over_white()


def to_rgb(image: Image.Image, what: str = "picture") -> Image.Image:
    """Return an image of any size as it looks."""
    return Photograph.of(image, what).over_white()


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def written(path: Path, image: Image.Image, **options: Any) -> Image.Image:
    """Write a result and return what others read there."""
    write_picture(image, path, **options)
    with Image.open(path) as found:
        found.load()
        return found


# --- TIFF 6.0, section 2 --------------------------------------------------------------------------------------


def text(value: bytes) -> Value:
    return 2, len(value) + 1, value + b"\0"


def short(order: str, value: int) -> Value:
    return 3, 1, struct.pack(order + "H", value)


def rationals(order: str, *values: int, kind: int = 5) -> Value:
    return kind, len(values) // 2, struct.pack(f"{order}{len(values)}{'l' if kind == 10 else 'L'}", *values)


def tiff(order: str, main: Mapping[int, Value], after: bytes = b"") -> bytes:
    """Return directories as bytes: each one before the values and directories that it leads to; `after` is IFD1."""
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8))

    def write(directory: Mapping[int, Value], following: bytes) -> int:
        start = len(data)
        data.extend(bytes(2 + 12 * len(directory) + 4))
        struct.pack_into(order + "H", data, start, len(directory))
        for k, (tag, value) in enumerate(sorted(directory.items())):
            kind, count, raw = value if isinstance(value, tuple) else (4, 1, b"")
            if not isinstance(value, tuple):
                raw = struct.pack(order + "L", write(value, b""))
            elif len(raw) > 4:
                data.extend(raw + bytes(len(raw) % 2))
                raw = struct.pack(order + "L", len(data) - len(raw) - len(raw) % 2)
            struct.pack_into(order + "HHL4s", data, start + 2 + 12 * k, tag, kind, count, raw)
        if following:
            struct.pack_into(order + "L", data, start + 2 + 12 * len(directory), len(data))
            data.extend(following)
        return start

    write(main, after)
    return bytes(data)


def camera(order: str = "<", comment: bytes = b"", orientation: int = 6) -> dict[int, Value]:
    """Return what a camera writes: entries of each directory, a rotation, a size, and what Pillow would change."""
    details: dict[int, Value] = {
        0x829D: rationals(order, 5, 2),  # FNumber
        0x9204: rationals(order, -13, 10, kind=10),  # ExposureBiasValue
        0x927C: (7, 20, b"secret of the makers"),
        0xA002: short(order, 4000),
        0xA003: short(order, 3000),
        INTEROPERABILITY: {1: text(b"R98")},
    }
    if comment:
        details[0x9286] = (7, len(comment), comment)
    return {
        0x010F: text(b"Kamera"),
        0x0112: short(order, orientation),
        0x013B: text("Jürgen Müller".encode()),
        0x8298: text("© 2024".encode("latin-1")),
        0x9C9B: (1, 10, "Title".encode("utf-16-le")),  # XPTitle
        0x9999: (129, 7, "Ünité".encode()),  # UTF-8, of EXIF 3.0
        EXIF: details,
        GPS: {1: text(b"N"), 2: rationals(order, 48, 1, 31, 1, 12, 1)},
    }


def exif(order: str = "<", **options: Any) -> bytes:
    """Return a camera's EXIF as Pillow wants it."""
    return b"Exif\0\0" + tiff(order, camera(order, **options))


def exif_of(path: Path) -> bytes:
    """Return the EXIF of a PNG or JPEG."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        return next((value for kind, value in chunks(data) if kind == b"eXIf"), b"")
    return next((v[6:] for marker, v in segments(data) if marker == 0xE1 and v.startswith(b"Exif\0\0")), b"")


def entries(data: bytes) -> dict[int, Any]:
    """Return what directories hold, as `tiff` takes it, in the order of bytes that they have."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]

    def read(start: int) -> dict[int, Any]:
        (count,) = struct.unpack_from(order + "H", data, start)
        found: dict[int, Any] = {}
        for k in range(count):
            tag, kind, number, raw = struct.unpack_from(order + "HHL4s", data, start + 2 + 12 * k)
            (offset,) = struct.unpack(order + "L", raw)
            size = number * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 129: 1}[kind]
            if tag in (EXIF, GPS, INTEROPERABILITY):
                found[tag] = read(offset)
            else:
                found[tag] = kind, number, raw[:size] if size <= 4 else data[offset : offset + size]
        assert data[start + 2 + 12 * count :][:4] == bytes(4)
        return found

    return read(struct.unpack_from(order + "L", data, 4)[0])


# --- PNG and JPEG ---------------------------------------------------------------------------------------------


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Take a PNG apart; every checksum must be right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">L", data, at)
        kind, value = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">L", data, at + 8 + length) == (zlib.crc32(kind + value),)
        yield kind, value
        at += 12 + length


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take a JPEG apart, up to its pixels."""
    assert data[:2] == b"\xff\xd8"
    at = 2
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + length
    assert data.endswith(b"\xff\xd9")


def with_segments(jpeg: bytes, *given: tuple[int, bytes]) -> bytes:
    """Put marker segments into a JPEG, after its APP0."""
    made = b"".join(struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data for marker, data in given)
    return jpeg[:20] + made + jpeg[20:]


def with_chunks(png: bytes, *given: tuple[bytes, bytes]) -> bytes:
    """Put chunks into a PNG, after its header."""
    made = (struct.pack(">L", len(d)) + k + d + struct.pack(">L", zlib.crc32(k + d)) for k, d in given)
    return png[:33] + b"".join(made) + png[33:]
