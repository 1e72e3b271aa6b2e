"""IPTC survives from any form that files hold it in to any other."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.formats import iptc

RECORDS = b"\x1c\x02\x78\0\x05L\xc3\xb6we"
DIGEST = bytes(range(16))


def resource(identifier: int, data: bytes, name: bytes = b"") -> bytes:
    named = bytes([len(name)]) + name
    named += bytes(len(named) % 2)
    return b"8BIM" + struct.pack(">H", identifier) + named + struct.pack(">L", len(data)) + data + bytes(len(data) % 2)


KEPT = resource(0x0404, RECORDS) + resource(0x0425, DIGEST) + resource(0x040A, b"\1")


def test_of_photoshops_resources_those_are_kept_that_describe_a_picture() -> None:
    others = resource(0x03ED, bytes(16)), resource(0x040C, b"a thumbnail", b"odd"), resource(0x0BB7, b"path")
    given_ = (
        others[0] + resource(0x0425, DIGEST) + others[1] + resource(0x040A, b"\1") + resource(0x0404, RECORDS, b"n")
    )
    assert iptc.kept(given_ + others[2]) == KEPT


@given(st.binary(max_size=200), st.integers(0, len(KEPT)))
def test_of_damaged_resources_the_sound_ones_are_kept(data: bytes, cut: int) -> None:
    found = iptc.kept(KEPT[:cut] + data)
    assert iptc.kept(found) == found
    first = resource(0x0404, RECORDS)
    assert cut < len(first) or found.startswith(first)


@given(st.binary(max_size=500))
def test_a_profile_is_read_from_the_text_that_it_became(profile: bytes) -> None:
    text = iptc.to_text(profile, "iptc")
    assert iptc.from_text(text) == profile
    assert text.split("\n")[1:3] == ["iptc", f"{len(profile):8}"]


@pytest.mark.parametrize("text", ["", "iptc", "\niptc\n  5\n", "\niptc\n  5\nxyz", "\niptc\n 5\nabc"])
def test_a_damaged_text_holds_nothing(text: str) -> None:
    assert iptc.from_text(text) == b""


def test_a_profile_may_be_resources_or_records() -> None:
    assert iptc.of_profile(KEPT) == KEPT
    assert iptc.of_profile(RECORDS) == resource(0x0404, RECORDS)
    assert iptc.of_profile(b"neither") == b""


def test_records_of_a_tiff_are_read_in_either_order_of_bytes() -> None:
    padded = RECORDS + bytes(-len(RECORDS) % 4)
    swapped = b"".join(padded[k : k + 4][::-1] for k in range(0, len(padded), 4))
    for records in (padded, swapped):
        assert iptc.with_records(resource(0x040A, b"\1"), records) == resource(0x0404, padded) + resource(0x040A, b"\1")
        assert iptc.with_records(KEPT, records) == KEPT
