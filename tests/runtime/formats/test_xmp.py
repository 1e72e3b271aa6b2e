"""XMP packets keep their bytes, but for what would be false of a result."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.formats import xmp
from impasto.runtime.formats.xmp import XmpError

NAMESPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "container": "http://ns.google.com/photos/1.0/container/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}
END = "\n" + " " * 60 + "\n<?xpacket end='w'?>"


def packet(attributes: str = "", elements: str = "", **renamed: str) -> bytes:
    """Return a packet; namespaces may have other prefixes."""
    declared = " ".join(f'xmlns:{renamed.get(prefix, prefix)}="{uri}"' for prefix, uri in NAMESPACES.items())
    text = (
        "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>\n"
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="a > b"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f"<rdf:Description rdf:about='' {declared} {attributes}>{elements}<dc:title>Jürgen &amp; Söhne</dc:title>"
        f"</rdf:Description></rdf:RDF></x:xmpmeta>{END}"
    )
    return text.replace("dc:title", f"{renamed.get('dc', 'dc')}:title").encode()


def renewed(old: bytes) -> bytes:
    return xmp.renewed(xmp.sound(old), (50, 75), "image/png")


CHANGED = {
    "tiff:Orientation='6'": "tiff:Orientation='1'",
    'tiff:Orientation = "6"': 'tiff:Orientation = "1"',
    'exif:PixelXDimension="4000" exif:PixelYDimension="3000"': 'exif:PixelXDimension="50" exif:PixelYDimension="75"',
    'tiff:ImageWidth="4000" tiff:ImageLength="3000"': 'tiff:ImageWidth="50" tiff:ImageLength="75"',
    'dc:format="image/jpeg"': 'dc:format="image/png"',
    'xmp:Rating="5" xmpNote:HasExtendedXMP="ABC"': 'xmp:Rating="5"',
    'container:Version="1" xmp:Rating="5"': ' xmp:Rating="5"',
}


@pytest.mark.parametrize("old", CHANGED)
def test_attributes_are_made_true_of_the_result(old: str) -> None:
    assert renewed(packet(old)) == packet(CHANGED[old]).replace(b"  xmp:Rating", b" xmp:Rating")


ELEMENTS = {
    "<tiff:Orientation>6</tiff:Orientation>": "<tiff:Orientation>1</tiff:Orientation>",
    "<exif:PixelXDimension >4000</exif:PixelXDimension >": "<exif:PixelXDimension >50</exif:PixelXDimension >",
    "<tiff:Orientation/>": "<tiff:Orientation/>",
    "<tiff:Compression>6</tiff:Compression>.": ".",
    "<hdrgm:Gain/>.": ".",
    "<container:Directory><rdf:Seq><rdf:li><container:Item tiff:Orientation='6'/></rdf:li></rdf:Seq>"
    "</container:Directory>.": ".",
    "<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>.": ".",
    "<!-- <tiff:Orientation>6</tiff:Orientation> -->": "<!-- <tiff:Orientation>6</tiff:Orientation> -->",
    "<dc:description><![CDATA[<tiff:Orientation>6]]></dc:description>": "<dc:description><![CDATA["
    "<tiff:Orientation>6]]></dc:description>",
    "<a:Orientation xmlns:a='http://somebody/'>6</a:Orientation>": "<a:Orientation xmlns:a='http://somebody/'>6"
    "</a:Orientation>",
}


@pytest.mark.parametrize("old", ELEMENTS)
def test_elements_are_made_true_of_the_result(old: str) -> None:
    assert renewed(packet("", old)) == packet("", ELEMENTS[old])


def test_a_prefix_is_what_it_is_declared_to_be() -> None:
    assert renewed(packet('a:Orientation="6"', "<a:Orientation>6</a:Orientation>", tiff="a")) == packet(
        'a:Orientation="1"', "<a:Orientation>1</a:Orientation>", tiff="a"
    )
    assert renewed(packet('tiff:Orientation="6"', tiff="exif", exif="tiff")) == packet(
        'tiff:Orientation="6"', tiff="exif", exif="tiff"
    )


@pytest.mark.parametrize(
    ("value", "expected"), [("6", 6), (" 8 ", 8), ("1", 1), ("0", None), ("9", None), ("12", None), ("", None)]
)
def test_orientation_is_told_where_it_makes_sense(value: str, expected: int | None) -> None:
    for old in (packet(f'tiff:Orientation="{value}"'), packet("", f"<tiff:Orientation>{value}</tiff:Orientation>")):
        assert xmp.orientation(xmp.sound(old)) == expected
    assert xmp.orientation(packet()) is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_packets_in_other_encodings_become_utf_8(encoding: str) -> None:
    assert xmp.sound(packet('tiff:Orientation="6"').decode().encode(encoding)) == packet('tiff:Orientation="6"')


def test_room_for_editing_can_be_given_up() -> None:
    short = xmp.without_padding(packet())
    assert short == re.sub(rb"\n {60}\n", b"\n", packet())
    assert xmp.without_padding(b"<a> </a>") == b"<a> </a>"


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><a>&b;&b;&b;&b;</a>'


@pytest.mark.parametrize("data", [b"", b"\0", b"garbage", b"<a", b"<a></b>", b"<a/><b/>", b"<a>\xff</a>", BOMB])
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(XmpError, match=r"^it "):
        xmp.sound(data)


def test_a_packet_that_would_take_minutes_is_refused() -> None:
    deep = b"<a>" * 300_000 + b"</a>" * 300_000
    wide = b"<a " + b" ".join(b'a%d=""' % k for k in range(300_000)) + b"/>"
    for data in (deep, wide):
        with pytest.raises(XmpError, match="it has more than 262144 elements and attributes"):
            xmp.sound(data)


@given(st.data())
def test_damage_anywhere_is_survived(data: st.DataObject) -> None:
    whole = bytearray(packet('tiff:Orientation="6" dc:format="a"', "<container:a>b</container:a>"))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from(b"<>/\"'=: a&\0"))
    try:
        sound = xmp.sound(bytes(whole[: data.draw(st.integers(len(whole) - 9, len(whole)))]))
    except XmpError:
        return
    assert xmp.orientation(xmp.renewed(sound, (50, 75), "image/png")) in (None, 1)


def test_many_spaces_take_no_time() -> None:
    spaces = " " * 200_000
    start = time.perf_counter()
    old = packet(
        f"tiff:Orientation='6'{spaces}", f"<dc:a{spaces}/>{spaces}<tiff:Orientation{spaces}>6</tiff:Orientation>"
    )
    assert xmp.orientation(xmp.without_padding(renewed(old))) == 1
    assert time.perf_counter() - start < 5
