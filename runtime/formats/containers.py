"""Writing metadata into a PNG or JPEG, as chunks or marker segments.

PNG: "Portable Network Graphics (PNG) Specification (Third Edition)", W3C 2025. JPEG: ITU-T T.81 with JFIF 1.02.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

from PIL.PngImagePlugin import PngInfo

from impasto.runtime.formats import embedded, exif, iptc, xmp
from impasto.runtime.formats.ancillary import MOST_UNFOLDED
from impasto.runtime.formats.embedded import Metadata
from impasto.runtime.formats.exif import Exif

#: The most bytes in a marker segment of a JPEG, and the header of a profile in it. A profile has 255 segments at most.
_MOST = 65_533
_ICC = b"ICC_PROFILE\0"
_MOST_ICC = _MOST - len(_ICC) - 2

#: The lengths of the signature and header of a PNG, and of SOI and APP0 of a JPEG (JFIF): metadata come after these.
_PNG_HEAD, _JPEG_HEAD = 33, 20
_EXIF = b"Exif\0\0"
_APP1, _APP2, _APP13, _COM = 0xE1, 0xE2, 0xED, 0xFE


def can_hold(profile: bytes, format_: str) -> bool:
    """Whether a file of format ``PNG`` or ``JPEG`` can hold an ICC profile so that readers accept it."""
    return len(profile) <= {"JPEG": 255 * _MOST_ICC, "PNG": MOST_UNFOLDED}[format_]


def with_metadata(
    encoded: bytes, format_: str, size: tuple[int, int], metadata: Metadata, text: Mapping[str, str], profile: bytes
) -> tuple[tuple[bytes | memoryview, ...], str]:
    """Return an encoded picture with metadata.

    Parameters
    ----------
    encoded, format_
        The file of a ``PNG`` or ``JPEG``, as Pillow writes it without metadata.
    size
        Width and height in pixels.
    text
        Texts by keyword; they take precedence over the photograph's.
    profile
        An ICC profile; empty if there is none.

    Returns
    -------
    parts
        The parts of the file, in order: a large picture is not copied.
    lost
        The metadata that the format cannot hold, in words; empty if it holds everything.
    """
    if format_ == "PNG":
        given, head = b"".join(_chunks(size, metadata, text, profile)), encoded[:_PNG_HEAD]
        lost: list[str] = []
    else:
        given, lost = _segments(size, metadata, text, profile)
        head = _with_density(encoded[:_JPEG_HEAD], metadata)
    return (head, given, memoryview(encoded)[len(head) :]), _listed(lost)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), "".join(names[-1:]))))


# --- PNG ------------------------------------------------------------------------------------------------------


def _chunks(size: tuple[int, int], metadata: Metadata, text: Mapping[str, str], profile: bytes) -> Iterator[bytes]:
    if profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if metadata.density and (phys := metadata.density.phys()):
        yield _chunk(b"pHYs", phys)
    if exif_data := embedded.exif_with(metadata.exif, size, {}):
        yield _chunk(b"eXIf", exif_data)
    for kind, data, *_ in _texts(size, metadata, text).chunks:
        yield _chunk(kind, data)


def _texts(size: tuple[int, int], metadata: Metadata, text: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in text.items():
        info.add_itxt(key, value)
    for key, value in metadata.texts.items():
        if key not in text:
            info.add_text(key, value)
    for comment in metadata.comments:
        info.add_text("Comment", exif.decode(comment).replace("\0", "\ufffd"))
    if metadata.iptc:
        info.add_text(embedded.RAW_PROFILE + "iptc", iptc.to_text(metadata.iptc, "iptc"))
    if metadata.xmp:
        info.add_itxt(embedded.XMP_TEXT, xmp.renewed(metadata.xmp, size, "image/png").decode("utf-8"))
    return info


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(data, zlib.crc32(kind)))


# --- JPEG -----------------------------------------------------------------------------------------------------


def _segments(
    size: tuple[int, int], metadata: Metadata, text: Mapping[str, str], profile: bytes
) -> tuple[bytes, list[str]]:
    """Return the segments, and the names of metadata that do not fit."""
    exif_data, lost = _exif(size, metadata, text)
    segments = [_segment(_APP1, exif_data)] if exif_data else []
    if metadata.xmp:
        packet = embedded.XMP_SEGMENT + xmp.renewed(metadata.xmp, size, "image/jpeg")
        packet = packet if len(packet) <= _MOST else xmp.without_padding(packet)
        segments += _fitting(_APP1, packet, "the photograph's XMP", lost)
    parts = [profile[k : k + _MOST_ICC] for k in range(0, len(profile), _MOST_ICC)]
    segments += [_segment(_APP2, _ICC + bytes((k, len(parts))) + part) for k, part in enumerate(parts, 1)]
    if metadata.iptc:
        segments += _fitting(_APP13, iptc.PHOTOSHOP + metadata.iptc, "the photograph's IPTC", lost)
    comments = [*metadata.comments, *(value.encode() for key, value in metadata.texts.items() if key == "Comment")]
    for comment in comments:
        segments += _fitting(_COM, comment, "a comment", lost)
    if metadata.density and not metadata.density.jfif():
        lost.append("the density of pixels")
    lost += [f"the photograph's text {key!r}" for key in metadata.texts if key != "Comment"]
    return b"".join(segments), lost


def _exif(size: tuple[int, int], metadata: Metadata, text: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """Return the part of the photograph's EXIF and the text that fits into a segment, and the names of the rest."""
    old = metadata.exif
    attempts: tuple[tuple[list[str], Exif | None, Mapping[str, str]], ...]
    attempts = ([], old, text), (["the photograph's EXIF"], None, text), (["the text"], old, {}), (["EXIF"], None, {})
    candidates = ((embedded.exif_with(kept, size, exif_data), lost) for lost, kept, exif_data in attempts)
    data, lost = next((data, lost) for data, lost in candidates if len(_EXIF + data) <= _MOST)
    return _EXIF + data if data else b"", lost


def _fitting(marker: int, data: bytes, name: str, lost: list[str]) -> list[bytes]:
    if len(data) > _MOST:
        lost.append(name)
        return []
    return [_segment(marker, data)]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


def _with_density(head: bytes, metadata: Metadata) -> bytes:
    """Return SOI and APP0 with the density; Pillow writes it in inches only."""
    density = metadata.density.jfif() if metadata.density else None
    return head[:13] + density + head[18:] if density else head
