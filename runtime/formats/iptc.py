"""IPTC in files: among Photoshop's image resources, in a tag of a TIFF, in a text of a PNG.

The resources are those of Adobe's "Photoshop File Formats Specification" (2019), image resources section; the
records in them are those of "IPTC-NAA Information Interchange Model" version 4.2. The text of a PNG is ImageMagick's.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping

_SIGNATURE = b"8BIM"
_IPTC = 0x0404

#: Resources that describe a picture: IPTC, its digest, the copyright flag, and an address.
_KEPT = (_IPTC, 0x0425, 0x040A, 0x040B)

#: The beginning of a JPEG's APP13 segment.
PHOTOSHOP = b"Photoshop 3.0\0"


def kept(resources: bytes) -> bytes:
    """Return the image resources of Photoshop that describe a picture, without damaged ones."""
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
    """Return, as bytes, the image resources that describe a picture; `blocks` are all of them by number."""
    return b"".join(_resource(identifier, blocks[identifier]) for identifier in _KEPT if identifier in blocks)


def with_records(resources: bytes, records: bytes) -> bytes:
    """Return image resources from `kept`, with records of IPTC added if they have none.

    A TIFF holds records as 32-bit numbers, and some programs have swapped their bytes. Other data are left out.
    """
    if not records.startswith(b"\x1c"):
        whole = records[: len(records) // 4 * 4]
        records = struct.pack(f">{len(whole) // 4}L", *struct.unpack(f"<{len(whole) // 4}L", whole))
    has_some = resources.startswith(_resource(_IPTC, b"")[:8])
    return resources if has_some or not records.startswith(b"\x1c") else _resource(_IPTC, records) + resources


def of_profile(profile: bytes) -> bytes:
    """Return the resources of a profile as `to_text` takes it, which may be resources or only records."""
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
    """Return the profile in such a text; no bytes if it is damaged."""
    _name, _length, *digits = [*text.strip().split("\n"), "", ""]
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(digits))
    return b""
