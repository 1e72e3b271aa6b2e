"""EXIF comes out with the bytes it went in with; what is damaged is left out, and nothing else."""

from __future__ import annotations

import io
import struct
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.formats import exif
from impasto.runtime.formats.exif import Directory, Entry, Exif, ExifError
from tests.runtime import files
from tests.runtime.files import EXIF, GPS, INTEROPERABILITY

UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
POINTERS = (EXIF, GPS, INTEROPERABILITY)

orders = pytest.mark.parametrize("order", "<>")


@st.composite
def entries(draw: st.DrawFn, tag: int) -> Entry:
    kind = draw(st.sampled_from([*UNITS, 99]))
    if kind not in UNITS:
        return Entry(tag, kind, draw(st.integers(0, 4)), draw(st.binary(min_size=4, max_size=4)))
    count = draw(st.integers(0, 20))
    size = count * UNITS[kind]
    offset = draw(st.none() | st.integers(0, 3000)) if tag == 0x927C and size > 4 else None
    return Entry(tag, kind, count, draw(st.binary(min_size=size, max_size=size)), offset)


@st.composite
def directories(draw: st.DrawFn, *below: int) -> Directory:
    tags = draw(st.lists(st.integers(0, 0xFFFF) | st.just(0x927C), max_size=8))  # some twice
    made = [draw(entries(tag)) for tag in tags if tag not in POINTERS]
    for tag in below:
        if draw(st.booleans()):
            further = [INTEROPERABILITY] if tag == EXIF else []
            made.append(Entry(tag, 4, 1, draw(directories(*further))))
    return Directory(tuple(sorted(made, key=lambda entry: entry.tag)))


structures = st.builds(Exif, st.sampled_from("<>"), directories(EXIF, GPS))


def plain(directory: Directory) -> dict[int, Any]:
    return {
        entry.tag: plain(entry.value) if isinstance(entry.value, Directory) else (entry.kind, entry.count, entry.value)
        for entry in directory.entries
    }


# --- bytes ----------------------------------------------------------------------------------------------------


@given(structures)
def test_what_is_written_is_read_again(given_: Exif) -> None:
    found = exif.parse(exif.serialise(given_))
    assert found == given_
    assert not found.damaged


@orders
def test_every_entry_is_read_as_it_stands_there(order: str) -> None:
    wanted = files.camera(order)
    found = exif.parse(files.tiff(order, wanted, after=b"\0\1\0\0thumbnail"))
    assert (found.order, found.damaged) == (order, 0)
    assert plain(found.main) == wanted


@orders
def test_every_entry_is_written_as_it_was(order: str) -> None:
    wanted = files.camera(order)
    data = exif.serialise(exif.parse(files.tiff(order, wanted)))
    assert files.entries(data) == wanted
    assert data[:2] == {"<": b"II", ">": b"MM"}[order]


@pytest.mark.parametrize("length", [20, 21, 3000])
@pytest.mark.parametrize("before", [0, 1, 700])
def test_a_maker_note_stays_at_its_offset(length: int, before: int) -> None:
    note = bytes(range(256)) * 20
    given_ = files.camera() | {0x010E: files.text(b"x" * before), EXIF: {0x927C: (7, length, note[:length])}}
    old = files.tiff("<", given_)
    shorter = exif.parse(old)
    shorter = Exif(shorter.order, shorter.main.without((0x010F, 0x013B)))
    longer = exif.with_comment(shorter, "far longer than before " * 40)
    for changed in (shorter, longer):
        new = exif.serialise(changed)
        assert new.index(note[:length]) == old.index(note[:length])
        assert exif.parse(new) == changed


def test_a_maker_note_beyond_what_a_jpeg_holds_is_kept_elsewhere() -> None:
    old = files.tiff("<", {0x010E: files.text(b"x" * 70_000), EXIF: {0x927C: (7, 9, b"the maker")}})
    found = exif.parse(old)
    new = exif.serialise(Exif(found.order, found.main.without((0x010E,))))
    assert len(new) < 100
    assert b"the maker" in new


def test_a_big_tiff_is_read() -> None:
    entry = struct.Struct("<HHQ8s")
    data = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", 3)
    data += entry.pack(0x010F, 2, 7, b"Kamera\0") + entry.pack(0x013B, 2, 12, struct.pack("<Q", 200))
    data += entry.pack(0x0111, 16, 1, struct.pack("<Q", 1 << 40))
    found = exif.read(io.BytesIO(data.ljust(200, b"\0") + b"Jane Person\0"))
    assert plain(found.main) == {0x010F: (2, 7, b"Kamera\0"), 0x013B: (2, 12, b"Jane Person\0")}
    assert exif.parse(exif.serialise(found)) == found


# --- damage ---------------------------------------------------------------------------------------------------


def try_(data: bytes) -> Exif | None:
    """Read what may be damaged: that either works, and can be written, or is refused; and it takes no time."""
    start = time.perf_counter()
    try:
        found = exif.parse(data)
    except ExifError:
        found = None
    else:
        assert exif.parse(exif.serialise(found)) == found
        assert exif.comment(found) is not None
        assert exif.orientation(found) in (None, *range(1, 9))
        exif.resolution(found)
        exif.serialise(exif.with_size(found, (70_000, 5)))
    assert time.perf_counter() - start < 5
    return found


@given(st.binary(max_size=300), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0"]))
def test_any_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    try_(head + data)


@given(st.data(), st.sampled_from("<>"))
def test_damage_anywhere_is_survived(data: st.DataObject, order: str) -> None:
    whole = bytearray(files.exif(order, comment=b"UNICODE\0a\0b\0"))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(6, len(whole) - 1))] = data.draw(st.sampled_from([0, 1, 8, 127, 128, 255]))
    try_(bytes(whole[: data.draw(st.integers(6, len(whole)))]))


@orders
def test_of_damaged_entries_the_sound_ones_beside_them_are_kept(order: str) -> None:
    damaged: dict[int, Any] = {
        0x0100: (2, 0xFFFFFFFF, b"\0\0\0\x08"),  # a huge count
        0x0101: (5, 1, struct.pack(order + "L", 0xFFFFFF00)),  # out of range
        0x0102: (99, 5, struct.pack(order + "L", 8)),  # of a type that is not known, elsewhere
        GPS: (4, 1, struct.pack(order + "L", 0xFFFFFF00)),  # leads nowhere
    }
    found = exif.parse(files.tiff(order, {0x010F: files.text(b"Kamera")} | damaged))
    assert plain(found.main) == {0x010F: files.text(b"Kamera")}
    assert found.damaged == len(damaged)


@orders
def test_a_directory_that_is_cut_short_keeps_its_first_entries(order: str) -> None:
    whole = files.tiff(order, {tag: files.short(order, tag) for tag in range(500, 540)})
    found = exif.parse(whole[: 10 + 12 * 7 + 5])
    assert [entry.tag for entry in found.main.entries] == [*range(500, 507)]
    assert found.damaged


@pytest.mark.parametrize("tag", POINTERS)
def test_directories_that_lead_back_are_left_out(tag: int) -> None:
    loop = (4, 1, struct.pack("<L", 8))
    found = exif.parse(files.tiff("<", {0x010F: files.text(b"Kamera"), tag: loop}))
    assert plain(found.main) == {0x010F: files.text(b"Kamera")}
    assert found.damaged == 1
    found = exif.parse(files.tiff("<", {EXIF: {0x9003: files.text(b"2024"), INTEROPERABILITY: loop}}))
    assert plain(found.main) == {EXIF: {0x9003: files.text(b"2024")}}


def test_entries_that_share_bytes_take_no_more_memory_than_there_are_bytes() -> None:
    count, shared = 10_000, 60_000
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", count)
    table = b"".join(struct.pack("<HHLL", 1 + k, 7, shared, 8) for k in range(count))
    found = try_(head + table + bytes(4))
    assert found is not None
    assert sum(len(entry.value) for entry in found.main.entries if isinstance(entry.value, bytes)) <= len(table)
    assert found.damaged > count - 4


def test_ten_thousand_entries_are_read() -> None:
    given_ = {tag: files.text(b"value %d" % tag) for tag in range(1, 10_001)}
    assert plain(exif.parse(files.tiff(">", given_)).main) == given_


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin"),
        (b"Exif\0\0garbage!", "does not begin"),
        (b"II*\0", "does not begin"),
        (b"II\x55\0\x08\0\0\0", "unknown version"),
        (b"II*\0\xff\xff\xff\xff", "leads nowhere"),
        (b"MM\0*\0\0\0\0\0\0", "leads nowhere"),
        (b"MM\0*\0\0\0\x08\x12\x34", "none of its entries is whole"),
    ],
)
def test_what_is_no_exif_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ExifError, match=reason):
        exif.parse(data)


# --- changes --------------------------------------------------------------------------------------------------


@orders
@pytest.mark.parametrize(("kind", "width"), [(3, 640), (4, 640), (3, 70_000)])
def test_sizes_are_the_results_wherever_there_are_some(order: str, kind: int, width: int) -> None:
    old = (kind, 1, struct.pack(order + {3: "H", 4: "L"}[kind], 4000))
    found = exif.parse(files.tiff(order, {256: old, EXIF: {0xA002: old, 0xA003: old}}))
    kinds = (4 if width > 0xFFFF else kind), kind
    wide, high = (
        (kind_, 1, struct.pack(order + {3: "H", 4: "L"}[kind_], side))
        for kind_, side in zip(kinds, (width, 480), strict=True)
    )
    assert plain(exif.with_size(found, (width, 480)).main) == {256: wide, EXIF: {0xA002: wide, 0xA003: high}}


def test_sizes_are_not_told_where_none_were() -> None:
    found = exif.parse(files.tiff("<", {0x010F: files.text(b"Kamera")}))
    assert exif.with_size(found, (640, 480)) == found


@orders
@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8, 9])
def test_orientation_is_told_and_taken_out(order: str, orientation: int) -> None:
    found = exif.parse(files.exif(order, orientation=orientation))
    assert exif.orientation(found) == (orientation if 1 <= orientation <= 8 else None)
    assert found.main.without((0x0112,)) == exif.upright(found).main


def test_resolutions_change_places_when_a_picture_is_turned_by_a_quarter() -> None:
    across, along = files.rationals("<", 300, 1), files.rationals("<", 150, 1)
    given_ = {0x0112: files.short("<", 6), 282: across, 283: along}
    found = exif.parse(files.tiff("<", given_))
    assert exif.resolution(found) == (300, 150, 2)
    assert plain(exif.upright(found).main) == {282: along, 283: across}
    assert plain(exif.upright(found, 3).main) == {282: across, 283: along}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({282: (300, 1), 283: (300, 1), 296: 3}, (300, 300, 3)),
        ({282: (72009, 1000), 283: (72, 1), 296: 2}, (Fraction(72009, 1000), 72, 2)),
        ({282: (300, 1)}, None),
        ({282: (0, 1), 283: (300, 1)}, None),
        ({282: (300, 0), 283: (300, 1)}, None),
    ],
)
@orders
def test_resolution_is_read_where_it_makes_sense(order: str, values: dict[int, Any], expected: Any) -> None:
    given_ = {
        tag: files.short(order, value) if isinstance(value, int) else files.rationals(order, *value)
        for tag, value in values.items()
    }
    assert exif.resolution(exif.parse(files.tiff(order, given_))) == expected


def test_of_a_tiff_only_what_describes_its_picture_is_kept() -> None:
    pixels = dict.fromkeys((254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 301, 330, 34675), (4, 1, bytes(4)))
    places = dict.fromkeys((33550, 34735, 42112, 50706, 50721), (4, 1, bytes(4)))
    kept = files.camera() | {700: (1, 9, b"<x:xmpmet"), 50898: (7, 4, b"Pana")}
    assert plain(exif.read_tiff(io.BytesIO(files.tiff("<", kept | pixels | places))).main) == kept


@pytest.mark.parametrize("text", ["plain", "Tübingen", "海", ""])
@orders
def test_a_comment_is_read_as_it_was_given(order: str, text: str) -> None:
    found = exif.with_comment(Exif(order), text)
    assert exif.comment(found) == text
    assert exif.comment(exif.parse(exif.serialise(found))) == text
    assert bool(found.main.entries) == bool(text)


@pytest.mark.parametrize("raw", ["für".encode(), "für".encode("latin-1")])
@pytest.mark.parametrize("code", [b"ASCII\0\0\0", bytes(8), b""])
def test_comments_that_are_no_ascii_are_read_all_the_same(code: bytes, raw: bytes) -> None:
    assert exif.comment(exif.parse(files.exif(comment=code + raw + b" \0"))) == "für"
