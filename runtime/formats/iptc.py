"""IPTC as files hold it: among Photoshop's image resources, in a TIFF's tag, in a text of a PNG. Bytes in and out.

The resources are those of Adobe's "Photoshop File Formats Specification" (2019), image resources section; the
records in them those of "IPTC-NAA Information Interchange Model" version 4.2. The text of a PNG is ImageMagick's.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping

_SIGNATURE = b"8BIM"
_IPTC = 0x0404

#: Resources that describe a picture: IPTC, its digest, whether there is a copyright, and an address.
_KEPT = (_IPTC, 0x0425, 0x040A, 0x040B)

#: What a JPEG's APP13 segment begins with.
PHOTOSHOP = b"Photoshop 3.0\0"


def kept(resources: bytes) -> bytes:
    """Return those of Photoshop's image resources that describe a picture, less what is damaged."""
    blocks: dict[int, bytes] = {}
    at = 0
    while resources[at : at + 4] == _SIGNATURE and len(resources) >= at + 12:
        (identifier,) = struct.unpack_from(">H", resources, at + 4)
        at += 6 + _even(1 + resources[at + 6])  # a name, mostly empty
        length = int.from_bytes(resources[at : at + 4], "big")
        data = resources[at + 4 : at + 4 + length]
        at += 4 + _even(length)
        if len(data) == length:
            blocks.setdefault(identifier, data)
    return joined(blocks)


def joined(blocks: Mapping[int, bytes]) -> bytes:
    """Return image resources, by number, as bytes: those of them that describe a picture."""
    return b"".join(_resource(identifier, blocks[identifier]) for identifier in _KEPT if identifier in blocks)


def with_records(resources: bytes, records: bytes) -> bytes:
    """Return image resources that `kept` returned, with IPTC's records among them if these have none.

    A TIFF holds records as 32-bit numbers, which some programs have swapped. What is neither is left out.
    """
    if not records.startswith(b"\x1c"):
        whole = records[: len(records) // 4 * 4]
        records = struct.pack(f">{len(whole) // 4}L", *struct.unpack(f"<{len(whole) // 4}L", whole))
    has_some = resources.startswith(_resource(_IPTC, b"")[:8])
    return resources if has_some or not records.startswith(b"\x1c") else _resource(_IPTC, records) + resources


def of_profile(profile: bytes) -> bytes:
    """Return what `to_text` was given, be it resources or records alone."""
    return kept(profile) if profile.startswith(_SIGNATURE) else with_records(b"", profile)


def _resource(identifier: int, data: bytes) -> bytes:
    return _SIGNATURE + struct.pack(">HHL", identifier, 0, len(data)) + data + bytes(len(data) % 2)


def _even(length: int) -> int:
    return length + length % 2


def to_text(profile: bytes, name: str) -> str:
    """Return a profile as the text of a PNG that ImageMagick and ExifTool know as ``Raw profile type NAME``."""
    digits = profile.hex()
    lines = [digits[k : k + 72] for k in range(0, len(digits), 72)]
    return "\n".join(["", name, f"{len(profile):8}", *lines, ""])


def from_text(text: str) -> bytes:
    """Return the profile in such a text; nothing where it is damaged."""
    _name, _length, *digits = [*text.strip().split("\n"), "", ""]
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(digits))
    return b""
