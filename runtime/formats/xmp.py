"""XMP packets: properties of the file are changed to those of a result, or left out; the other bytes stay.

Packets are those of ISO 16684-1:2019, in UTF-8; the properties are those of part 2 of Adobe's XMP specification (2016).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.parsers import expat

_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_ORIENTATION = (_TIFF, "Orientation")
_WIDTHS = ((_TIFF, "ImageWidth"), (_EXIF, "PixelXDimension"))
_HEIGHTS = ((_TIFF, "ImageLength"), (_EXIF, "PixelYDimension"))
_FORMAT = ("http://purl.org/dc/elements/1.1/", "format")

#: Properties that would be false in a result: the storage of pixels, and other contents of the file.
_FALSE = {
    *((_TIFF, name) for name in ("BitsPerSample", "Compression", "PhotometricInterpretation", "SamplesPerPixel")),
    *((_TIFF, name) for name in ("PlanarConfiguration", "YCbCrSubSampling", "YCbCrPositioning")),
    *(("http://ns.adobe.com/photoshop/1.0/", name) for name in ("ColorMode", "ICCProfile")),
    ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
    ("http://purl.org/dc/terms/", "provenance"),  # the place of a C2PA manifest
}

#: Namespaces of data after the picture in the file: films, depth, and gains for brighter displays.
_FALSE_NAMESPACES = {
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
}

#: The parts of a tag. Each is matched at one position only: a search would be very slow among many spaces.
_NAME, _TAG_END = re.compile(rb"<[^\s/>]+"), re.compile(rb"\s*(/?)>")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>/"']+)\s*=\s*("[^"]*"|'[^']*')""")

#: The most elements and attributes of a packet: each takes some microseconds, and millions fit into a small file.
_MOST = 1 << 18

_Name = tuple[str, str]


class XmpError(ValueError):
    """Bytes that are not XMP; the text says why."""


@dataclass
class _Property:
    """A property by namespace and name: its first and last byte, and those of its value."""

    name: _Name
    whole: tuple[int, int]
    value: tuple[int, int] | None  # None in an empty element


def sound(packet: bytes) -> bytes:
    """Return a packet in UTF-8, after a check of its XML.

    Raises
    ------
    XmpError
        When it is not well-formed XML, has a document type, or has absurdly many elements.
    """
    packet = packet.rstrip(b"\0")
    for encoding in ("utf-16-le", "utf-16-be"):
        if packet.removeprefix("\ufeff".encode(encoding)).startswith("<".encode(encoding)):
            packet = (packet + bytes(len(packet) % 2)).decode(encoding, "replace").removeprefix("\ufeff").encode()
    _Finder(packet)
    return packet


def orientation(packet: bytes) -> int | None:
    """Return the orientation in a sound packet, 1 to 8; None if there is none."""
    for property_ in _Finder(packet).properties:
        if property_.name == _ORIENTATION and property_.value:
            value = packet[slice(*property_.value)].strip()
            return int(value) if value in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8") else None
    return None


def renewed(packet: bytes, size: tuple[int, int], mime: str) -> bytes:
    """Return a sound packet for a result: upright, with a width and height in pixels and a MIME type.

    The bytes of everything else stay.
    """
    values: dict[_Name, bytes] = {_ORIENTATION: b"1", _FORMAT: mime.encode()}
    values |= dict.fromkeys(_WIDTHS, b"%d" % size[0]) | dict.fromkeys(_HEIGHTS, b"%d" % size[1])
    pieces, done = [], 0
    for start, end, value in sorted(_changes(_Finder(packet).properties, values)):
        if start >= done:  # otherwise it is inside a property that was left out
            pieces += [packet[done:start], value]
            done = end
    return b"".join([*pieces, packet[done:]])


def _changes(properties: list[_Property], values: Mapping[_Name, bytes]) -> Iterator[tuple[int, int, bytes]]:
    for one in properties:
        if one.name in values and one.value:
            yield *one.value, values[one.name]
        elif one.name in _FALSE or one.name[0] in _FALSE_NAMESPACES:
            yield *one.whole, b""


def without_padding(packet: bytes) -> bytes:
    """Return a packet without the padding for editing in place."""
    packet, end, rest = packet.rpartition(b"<?xpacket end")
    return packet.rstrip() + b"\n" + end + rest if end else rest


class _Finder:
    """Finds the properties of a packet, elements and attributes, with an XML parser."""

    def __init__(self, packet: bytes) -> None:
        self.properties: list[_Property] = []
        self._packet = packet
        self._namespaces: dict[str, list[str]] = {}
        self._open: list[tuple[int, int, bool]] = []  # each element's start, the end of its tag, whether it is empty
        self._count = 0
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.EndNamespaceDeclHandler = lambda prefix: self._namespaces[prefix or ""].pop()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse
        try:
            self._parser.Parse(packet, True)
        except expat.ExpatError as error:
            raise XmpError(f"it is no well-formed XML: {error}") from None

    def _refuse(self, *_: object) -> None:
        raise XmpError("it has a document type")

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._namespaces.setdefault(prefix or "", []).append(uri or "")

    def _start(self, _: str, attributes: Mapping[str, str]) -> None:
        self._count += 1 + len(attributes)
        if self._count > _MOST:
            raise XmpError(f"it has more than {_MOST} elements and attributes")
        start = self._parser.CurrentByteIndex
        name = _NAME.match(self._packet, start)
        at = name.end() if name else start
        while attribute := _ATTRIBUTE.match(self._packet, at):
            at = attribute.end()
            prefix, _colon, local = attribute[1].decode("utf-8").partition(":")
            if local and (uris := self._namespaces.get(prefix)):
                value = attribute.start(2) + 1, attribute.end(2) - 1
                self.properties.append(_Property((uris[-1], local), attribute.span(), value))
        end = _TAG_END.match(self._packet, at)
        if end is None:
            raise XmpError("it has a tag that cannot be understood")
        self._open.append((start, end.end(), bool(end[1])))

    def _end(self, name: str) -> None:
        start, inside, is_empty = self._open.pop()
        outside = self._parser.CurrentByteIndex
        end = inside if is_empty else self._packet.index(b">", outside) + 1
        uri, _, local = name.rpartition(" ")
        self.properties.append(_Property((uri, local), (start, end), None if is_empty else (inside, outside)))
