"""What a photograph's file tells, its result tells again, as far as it is true of that."""

from __future__ import annotations

import codecs
import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from impasto.runtime.errors import PictureError
from impasto.runtime.formats import exif as exif_
from impasto.runtime.formats.embedded import Metadata
from impasto.runtime.formats.exif import parse
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import Photograph, read_photograph, read_picture, read_text
from tests.runtime import files
from tests.runtime.files import EXIF, FORMATS, SIZE, array, encoded, saved, written

Base, Ifd = ExifTags.Base, ExifTags.IFD

SOURCES = [*FORMATS, "tiff", "webp"]


# --- EXIF -----------------------------------------------------------------------------------------------------

THUMBNAIL = b"a tiny picture, but too large"


def camera(order: str = "<", comment: bytes = b"") -> Image.Exif:
    """What a camera writes: tags of each directory, a rotation, a size."""
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Make] = "Kamera"
    exif[Base.Orientation] = 6
    exif[Base.DateTime] = "2024:05:06 07:08:09"
    exif[Ifd.Exif] = {
        Base.FNumber: 2.5,
        Base.MakerNote: b"secret of the maker",
        Base.ExifImageWidth: 4000,
        Base.ExifImageHeight: 3000,
        **({Base.UserComment: comment} if comment else {}),
    }
    exif[Ifd.GPSInfo] = {1: "N", 2: (48.0, 31.0, 12.0)}
    return exif


def with_thumbnail(exif: bytes) -> bytes:
    """Append a second directory with an embedded picture, as cameras do."""
    order = "little" if exif[6:8] == b"II" else "big"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)  # type: ignore[arg-type]

    tiff = bytearray(exif[6:])
    first = int.from_bytes(tiff[4:8], order)  # type: ignore[arg-type]
    link = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], order)  # type: ignore[arg-type]
    tiff[link : link + 4] = number(len(tiff), 4)
    after = len(tiff) + 2 + 2 * 12 + 4
    tiff += number(2, 2)
    for tag, value in ((0x0201, after), (0x0202, len(THUMBNAIL))):
        tiff += number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4)
    return b"Exif\0\0" + bytes(tiff) + number(0, 4) + THUMBNAIL


def pillow_exif_of(path: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    with Image.open(path) as image:
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(Ifd.Exif)), dict(exif.get_ifd(Ifd.GPSInfo))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", [*FORMATS, "tiff", "webp"])
def test_the_result_has_the_photographs_exif_upright_and_with_its_own_size(
    tmp_path: Path, source: str, extension: str, order: str
) -> None:
    path = saved(tmp_path / f"photo.{source}", Image.new("RGB", (60, 40), "teal"), exif=camera(order).tobytes())
    photograph = read_photograph(path)
    assert photograph.picture.size == (40, 60)
    write_picture(Image.new("RGB", (50, 75)), tmp_path / f"out.{extension}", like=photograph)
    assert read_picture(tmp_path / f"out.{extension}").size == (50, 75)
    main, details, place = pillow_exif_of(tmp_path / f"out.{extension}")
    assert main.keys() == {Base.Make, Base.DateTime, Ifd.Exif, Ifd.GPSInfo}
    assert (main[Base.Make], main[Base.DateTime]) == ("Kamera", "2024:05:06 07:08:09")
    assert details == {
        Base.FNumber: 2.5,
        Base.MakerNote: b"secret of the maker",
        Base.ExifImageWidth: 50,
        Base.ExifImageHeight: 75,
    }
    assert place == {1: "N", 2: (48.0, 31.0, 12.0)}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", ["png", "jpg", "webp"])
def test_every_byte_of_exif_that_need_not_change_stays(tmp_path: Path, source: str, extension: str, order: str) -> None:
    path = saved(tmp_path / f"photo.{source}", Image.new("RGB", SIZE), exif=files.exif(order))
    out = tmp_path / f"out.{extension}"
    write_picture(Image.new("RGB", (50, 75)), out, like=read_photograph(path))
    expected = files.camera(order)
    del expected[0x0112]
    expected[EXIF] = {**expected[EXIF], 0xA002: files.short(order, 50), 0xA003: files.short(order, 75)}
    assert files.entries(files.exif_of(out)) == expected


def tiff_picture(order: str, tags: dict[int, files.Value], orientation: int = 1) -> bytes:
    """Return a TIFF of 48 x 40 grey pixels with further tags."""
    pixels = bytes(range(48)) * 40
    layout = {256: 48, 257: 40, 258: 8, 259: 1, 262: 1, 274: orientation, 277: 1, 278: 40}
    given_ = {tag: files.short(order, value) for tag, value in layout.items()}
    given_ |= {273: (4, 1, struct.pack(order + "L", 0)), 279: (4, 1, struct.pack(order + "L", len(pixels)))} | tags
    offset = len(files.tiff(order, given_))
    return files.tiff(order, given_ | {273: (4, 1, struct.pack(order + "L", offset))}) + pixels


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
def test_what_a_tiff_tells_stays_and_its_layout_goes(
    tmp_path: Path, extension: str, order: str, orientation: int
) -> None:
    told = files.camera(order)
    del told[0x0112]
    xmp = XMP.replace(b'"6"', b'"%d"' % orientation)
    further: dict[int, files.Value] = {700: (1, len(xmp), xmp), 33723: (7, len(RECORDS), RECORDS)}
    (tmp_path / "photo.tif").write_bytes(tiff_picture(order, told | further, orientation))
    data = io.BytesIO((tmp_path / "photo.tif").read_bytes())
    for photograph in (read_photograph(tmp_path / "photo.tif"), Photograph.of(Image.open(data))):
        assert photograph.picture.size == ((48, 40) if orientation == 1 else (40, 48))
        out = tmp_path / f"out.{extension}"
        write_picture(Image.new("RGB", (50, 75)), out, like=photograph)
        expected = told | {
            EXIF: {**told[EXIF], 0xA002: files.short(order, 50), 0xA003: files.short(order, 75)}  # type: ignore[dict-item]
        }
        assert files.entries(files.exif_of(out)) == expected
        assert xmp_of(out) == XMP.replace(b'"6"', b'"1"').replace(b'"4000"', b'"50"')
        assert RECORDS in iptc_of(out)


def test_a_tiff_that_python_has_read_already_is_understood() -> None:
    data = tiff_picture("<", {0x010F: files.text(b"Kamera")}, 6)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        photograph = Photograph.of(image)
    assert photograph.picture.size == (40, 48)
    assert photograph.metadata.exif is not None
    assert photograph.metadata.exif.main.value(0x010F) == b"Kamera\0"


def test_what_python_tells_of_an_image_is_kept() -> None:
    image = Image.new("RGB", SIZE)
    image.getexif()[Base.Make] = "Kamera"
    found = Photograph.of(image).metadata.exif
    assert found is not None
    assert found.main.value(Base.Make) == b"Kamera\0"


def test_a_tiff_with_a_damaged_entry_keeps_the_others(tmp_path: Path) -> None:
    tags: dict[int, files.Value] = {0x010F: files.text(b"Kamera"), 0x9C9B: (1, 99, struct.pack("<L", 0xFFFFFF))}
    (tmp_path / "photo.tif").write_bytes(tiff_picture("<", tags))
    with pytest.warns(RuntimeWarning, match=r"its EXIF is damaged and left out in part \(1 of its entries\)$"):
        found = read_photograph(tmp_path / "photo.tif").metadata.exif
    assert found is not None
    assert found.main.value(0x010F) == b"Kamera\0"


def test_exif_as_imagemagick_writes_it_is_kept(tmp_path: Path) -> None:
    info = PngInfo()
    data = files.exif()
    info.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n")
    found = read_photograph(saved(tmp_path / "photo.png", Image.new("RGB", (60, 40)), pnginfo=info))
    assert found.picture.size == (40, 60)
    assert found.metadata.exif == exif_.upright(parse(data))


@pytest.mark.parametrize("extension", FORMATS)
def test_the_embedded_thumbnail_is_dropped(tmp_path: Path, extension: str) -> None:
    exif = with_thumbnail(camera().tobytes())
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE), exif=exif)
    assert THUMBNAIL in path.read_bytes()
    with Image.open(path) as image:
        assert image.getexif().get_ifd(Ifd.IFD1)
    write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", like=read_photograph(path))
    assert THUMBNAIL not in (tmp_path / f"out.{extension}").read_bytes()
    assert pillow_exif_of(tmp_path / f"out.{extension}")[0][Base.Make] == "Kamera"


def test_a_comment_has_the_type_that_exif_gives_it(tmp_path: Path) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(parse(camera().tobytes())))
    write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "told"})
    assert Base.UserComment.to_bytes(2, "little") + b"\x07\0" in (tmp_path / "out.jpg").read_bytes()


@pytest.mark.parametrize("extension", [*FORMATS, "webp"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\x12\x34"]
)
def test_damaged_exif_is_left_out_and_the_picture_read(tmp_path: Path, exif: bytes, extension: str) -> None:
    path = saved(tmp_path / f"photo.{extension}", Image.new("RGB", SIZE, (9, 99, 199)), exif=exif)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        photograph = read_photograph(path)
    assert photograph.metadata.exif is None
    assert np.abs(array(photograph.picture) - (9, 99, 199)).max() <= 6
    (said,) = {str(warning.message).partition(" (")[0] for warning in warned}
    assert said == f"picture {path}: its EXIF is damaged and left out"


# --- XMP and IPTC ---------------------------------------------------------------------------------------------

XMP = (
    "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>"
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" tiff:Orientation="6" '
    'exif:PixelXDimension="4000" dc:rights="© Jürgen"/>'
    "</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
).encode()
IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
RECORDS = b"\x1c\x02\x78\0\x05L\xc3\xb6we\0\0"
RESOURCES = b"8BIM\x04\x04\0\0" + struct.pack(">L", len(RECORDS)) + RECORDS


def xmp_of(path: Path) -> bytes:
    """Return the XMP of a PNG or JPEG."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        start = b"XML:com.adobe.xmp\0\0\0\0\0"
        return next((v[len(start) :] for k, v in files.chunks(data) if k == b"iTXt" and v.startswith(start)), b"")
    return next((v[len(IN_JPEG) :] for m, v in files.segments(data) if m == 0xE1 and v.startswith(IN_JPEG)), b"")


def iptc_of(path: Path) -> bytes:
    """Return Photoshop's resources of a PNG or JPEG."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        start = b"Raw profile type iptc\0\niptc\n"
        found = next((v for k, v in files.chunks(data) if k == b"tEXt" and v.startswith(start)), b"")
        return bytes.fromhex(found[len(start) + 9 :].decode())
    return next((v[14:] for m, v in files.segments(data) if m == 0xED and v.startswith(b"Photoshop 3.0\0")), b"")


def picture_with_xmp(source: str, packet: bytes = XMP) -> bytes:
    image = Image.new("RGB", (60, 40), "teal")
    if source == "webp":
        return encoded(image, "WEBP", xmp=packet)
    if source == "png":
        return files.with_chunks(encoded(image), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    return files.with_segments(encoded(image, "JPEG"), (0xE1, IN_JPEG + packet))


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", ["png", "jpg", "webp"])
def test_xmp_stays_and_turns_no_picture(tmp_path: Path, source: str, extension: str) -> None:
    (tmp_path / "photo").write_bytes(picture_with_xmp(source))
    photograph = read_photograph(tmp_path / "photo")
    assert photograph.picture.size == (40, 60)
    out = tmp_path / f"out.{extension}"
    write_picture(photograph.picture, out, like=photograph)
    assert xmp_of(out) == XMP.replace(b'"6"', b'"1"').replace(b'"4000"', b'"40"')
    assert read_picture(out).size == (40, 60)


@pytest.mark.parametrize("source", ["png", "jpg", "webp"])
def test_damaged_xmp_is_left_out_with_a_warning(tmp_path: Path, source: str) -> None:
    (tmp_path / "photo").write_bytes(picture_with_xmp(source, XMP.replace(b"</rdf:RDF>", b"")))
    with pytest.warns(RuntimeWarning, match=rf"^picture {tmp_path}/photo: its XMP is damaged and left out \(it is no"):
        photograph = read_photograph(tmp_path / "photo")
    assert photograph.metadata == Metadata()


def test_of_damaged_exif_and_xmp_one_warning_tells(tmp_path: Path) -> None:
    data = files.with_segments(
        encoded(Image.new("RGB", SIZE), "JPEG"), (0xE1, IN_JPEG + b"<"), (0xE1, b"Exif\0\0nothing!")
    )
    (tmp_path / "photo.jpg").write_bytes(data)
    with pytest.warns(RuntimeWarning, match="its EXIF is damaged.*; its XMP is damaged") as warned:
        read_photograph(tmp_path / "photo.jpg")
    assert len(warned) == 1


def test_what_is_told_beyond_a_segment_is_left_out_with_a_warning(tmp_path: Path) -> None:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">LL", 3, 0)
    data = files.with_segments(encoded(Image.new("RGB", SIZE), "JPEG"), (0xE1, IN_JPEG + XMP), (0xE1, head + b"<a>"))
    (tmp_path / "photo.jpg").write_bytes(data)
    photograph = read_photograph(tmp_path / "photo.jpg")
    with pytest.warns(
        RuntimeWarning, match="^the photograph's extended XMP left out: it may not be true of the result"
    ):
        write_picture(photograph.picture, tmp_path / "out.png", like=photograph)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", ["jpg", "png", "copy"])
def test_iptc_stays(tmp_path: Path, source: str, extension: str) -> None:
    image = Image.new("RGB", SIZE)
    given_ = b"8BIM\x04\x0c\0\0\0\0\0\4tiny" + RESOURCES
    text = b"Raw profile type iptc\0\nIPTC profile\n%8d\n%s\n" % (len(given_), given_.hex().encode())
    if source == "png":
        data = files.with_chunks(encoded(image), (b"tEXt", text))
    else:
        data = files.with_segments(encoded(image, "JPEG"), (0xED, b"Photoshop 3.0\0" + given_))
    photograph = Photograph.of(
        Image.open(io.BytesIO(data)).copy() if source == "copy" else Image.open(io.BytesIO(data))
    )
    out = tmp_path / f"out.{extension}"
    write_picture(photograph.picture, out, like=photograph)
    assert iptc_of(out) == RESOURCES


# --- density --------------------------------------------------------------------------------------------------


def told_density(path: Path) -> tuple[int, ...]:
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        return next((struct.unpack(">LLB", value) for kind, value in files.chunks(data) if kind == b"pHYs"), ())
    return next(struct.unpack_from(">BHH", value, 7) for marker, value in files.segments(data) if marker == 0xE0)


def with_density(source: str, unit: int) -> bytes:
    image = Image.new("RGB", SIZE)
    if source == "png":
        return files.with_chunks(
            encoded(image), (b"pHYs", struct.pack(">LLB", *((11811, 11811, 1) if unit else (2, 1, 0))))
        )
    if source == "jpg":
        jpeg = encoded(image, "JPEG")
        return jpeg[:13] + struct.pack(">BHH", *((1, 300, 300) if unit else (0, 2, 1))) + jpeg[18:]
    sides = (300, 1), ((300, 1) if unit else (150, 1))
    tags = {282: files.rationals("<", *sides[0]), 283: files.rationals("<", *sides[1]), 296: files.short("<", 1 + unit)}
    return tiff_picture("<", tags) if source == "tif" else encoded(image, "WEBP", exif=files.tiff("<", tags))


@pytest.mark.parametrize("unit", [0, 1])
@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", [*FORMATS, "tif", "webp"])
def test_the_density_stays_whatever_the_size(tmp_path: Path, source: str, extension: str, unit: int) -> None:
    (tmp_path / "photo").write_bytes(with_density(source, unit))
    out = tmp_path / f"out.{extension}"
    write_picture(Image.new("RGB", (50, 75)), out, like=read_photograph(tmp_path / "photo"))
    told = told_density(out)
    if unit:
        assert told == ((11811, 11811, 1) if extension == "png" else (1, 300, 300))
    else:
        pair = told[:2] if extension == "png" else told[1:]
        assert (pair[0], told[-1 if extension == "png" else 0]) == (2 * pair[1], 0)


@pytest.mark.parametrize("extension", FORMATS)
def test_no_density_is_told_where_there_was_none(tmp_path: Path, extension: str) -> None:
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE), exif=files.exif())
    write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", like=read_photograph(path))
    assert told_density(tmp_path / f"out.{extension}") == (() if extension == "png" else (0, 1, 1))


# --- comments and texts of others -----------------------------------------------------------------------------


def png_with_texts(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key.replace("_", " "), value)
    return saved(path, Image.new("RGB", SIZE), pnginfo=info)


def test_texts_that_say_what_a_picture_is_stay(tmp_path: Path) -> None:
    texts = {"Author": "Jürgen", "Copyright": "© 2024", "Comment": "at the sea", "Title": "海", "Creation_Time": "1999"}
    photograph = read_photograph(png_with_texts(tmp_path / "photo.png", **texts))
    write_picture(photograph.picture, tmp_path / "out.png", like=photograph, text={"impasto": "told", "Title": "mine"})
    expected = {key.replace("_", " "): value for key, value in texts.items()} | {"impasto": "told", "Title": "mine"}
    assert read_text(tmp_path / "out.png") == expected
    assert b"tEXtAuthor\0J\xfcrgen" in (tmp_path / "out.png").read_bytes()


def test_a_text_keeps_its_language_and_loses_what_no_png_can_hold(tmp_path: Path) -> None:
    texts = b"Title\0\0\0de\0Titel\0das Meer", b"Author\0\0\0\0\0J\0rgen"
    data = files.with_chunks(encoded(Image.new("RGB", SIZE)), *((b"iTXt", text) for text in texts))
    write_picture(Image.new("RGB", SIZE), tmp_path / "out.png", like=Photograph.of(Image.open(io.BytesIO(data))))
    found = [value for kind, value in files.chunks((tmp_path / "out.png").read_bytes()) if kind == b"iTXt"]
    assert found == [texts[0], b"Author\0\0\0\0\0J\xef\xbf\xbdrgen"]


def test_texts_that_say_how_a_picture_was_made_go(tmp_path: Path) -> None:
    texts = {"Software": "GIMP", "impasto": "first", "impasto_mix": "first", "date:create": "1999", "Thumb::URI": "a"}
    photograph = read_photograph(png_with_texts(tmp_path / "photo.png", **texts))
    for extension in FORMATS:
        write_picture(photograph.picture, tmp_path / f"out.{extension}", like=photograph)
        assert read_text(tmp_path / f"out.{extension}") == {}


def test_texts_of_unknown_meaning_go_with_a_warning(tmp_path: Path) -> None:
    texts = {"parameters": "a cat, 20 steps"} | {f"key{k}": "value" for k in range(8)}
    photograph = read_photograph(png_with_texts(tmp_path / "photo.png", **texts))
    warning = (
        "^the photograph's text 'parameters', .*, text 'key3' and 4 more left out: it may not be true of the result$"
    )
    with pytest.warns(RuntimeWarning, match=warning) as warned:
        write_picture(photograph.picture, tmp_path / "out.png", like=photograph)
    assert len(warned) == 1
    assert read_text(tmp_path / "out.png") == {}


def test_a_jpeg_holds_the_comment_and_tells_what_it_cannot_hold(tmp_path: Path) -> None:
    photograph = read_photograph(png_with_texts(tmp_path / "photo.png", Author="J", Comment="für alle", Copyright="J"))
    warning = (
        "^the photograph's text 'Author' and the photograph's text 'Copyright' left out: more than a JPEG can hold"
    )
    with pytest.warns(RuntimeWarning, match=warning):
        result = written(tmp_path / "out.jpg", photograph.picture, like=photograph)
    assert result.info["comment"] == "für alle".encode()


@pytest.mark.parametrize("comment", [b"f\xfcr alle", "für alle".encode()])
def test_the_comments_of_a_jpeg_stay(tmp_path: Path, comment: bytes) -> None:
    data = encoded(Image.new("RGB", SIZE), "JPEG", comment=comment)
    encoder = b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v80), quality = 82\n"
    (tmp_path / "photo.jpg").write_bytes(files.with_segments(data, (0xFE, b"first\0"), (0xFE, encoder)))
    photograph = read_photograph(tmp_path / "photo.jpg")
    for extension in FORMATS:
        write_picture(photograph.picture, tmp_path / f"out.{extension}", like=photograph)
    found = [value for marker, value in files.segments((tmp_path / "out.jpg").read_bytes()) if marker == 0xFE]
    assert found == [b"first", comment]
    texts = [value for kind, value in files.chunks((tmp_path / "out.png").read_bytes()) if kind == b"tEXt"]
    assert texts == [b"Comment\0first", b"Comment\0f\xfcr alle"]


def test_the_comment_of_a_gif_stays(tmp_path: Path) -> None:
    photograph = read_photograph(saved(tmp_path / "photo.gif", Image.new("RGB", SIZE), comment=b"at the sea"))
    write_picture(photograph.picture, tmp_path / "out.png", like=photograph)
    assert read_text(tmp_path / "out.png") == {"Comment": "at the sea"}


@pytest.mark.parametrize("extension", FORMATS)
def test_no_claim_of_provenance_is_handed_on(tmp_path: Path, extension: str) -> None:
    jpeg = files.with_segments(encoded(Image.new("RGB", SIZE), "JPEG"), (0xEB, b"JP\0\1\0\0\0\1c2pa"))
    for data in (jpeg, files.with_chunks(encoded(Image.new("RGB", SIZE)), (b"caBX", b"jumb c2pa"))):
        (tmp_path / "photo").write_bytes(data)
        out = tmp_path / f"out.{extension}"
        write_picture(Image.new("RGB", SIZE), out, like=read_photograph(tmp_path / "photo"))
        assert b"c2pa" not in out.read_bytes()


# --- text -----------------------------------------------------------------------------------------------------

keywords = st.from_regex(r"[!-~\xa1-\xff]([ -~\xa1-\xff]{0,77}[!-~\xa1-\xff])?", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", FORMATS)
@given(text=st.dictionaries(keywords, words, max_size=4))
def test_text_is_read_as_it_was_written(folder: Path, extension: str, order: str, text: dict[str, str]) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(parse(camera(order).tobytes())))
    for like in (photograph, None):
        write_picture(photograph.picture, folder / f"out.{extension}", like=like, text=text)
        assert read_text(folder / f"out.{extension}") == text


@pytest.mark.parametrize("extension", FORMATS)
def test_what_no_text_can_hold_is_replaced(tmp_path: Path, extension: str) -> None:
    write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", text={"path": "a\udcff\0b"})
    assert read_text(tmp_path / f"out.{extension}") == {"path": "a?\ufffdb"}


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("keyword", ["", "a" * 80, "名", "a\nb", "a\0b"])
def test_other_keywords_are_refused(tmp_path: Path, extension: str, keyword: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 79 printable characters of Latin-1"):
        write_picture(Image.new("RGB", SIZE), tmp_path / f"out.{extension}", text={keyword: ""})


def test_text_in_a_png_is_plain_for_others(tmp_path: Path) -> None:
    result = written(tmp_path / "out.png", Image.new("RGB", SIZE), text={"impasto": "Tübingen, Sternennacht"})
    assert result.info["impasto"] == "Tübingen, Sternennacht"
    assert b"iTXtimpasto\0\0\0\0\0T\xc3\xbcbingen" in (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("plain", b'ASCII\0\0\0{"impasto": "plain"}'),
        ("Tübingen", b"UNICODE\0" + '{"impasto": "Tübingen"}'.encode("utf-16-le")),
    ],
)
def test_text_in_a_jpeg_is_a_comment_that_names_its_encoding(tmp_path: Path, value: str, raw: bytes) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(parse(camera("<").tobytes())))
    write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": value})
    main, details, place = pillow_exif_of(tmp_path / "out.jpg")
    assert details[Base.UserComment] == raw
    assert main[Base.Make] == "Kamera"
    assert details[Base.FNumber] == 2.5
    assert place[1] == "N"


COMMENTS = {
    b"ASCII\0\0\0at the sea \0\0": "at the sea",
    b"UNICODE\0" + "an der Förde".encode("utf-16-le"): "an der Förde",
    b"UNICODE\0" + codecs.BOM_UTF16_BE + "an der Förde".encode("utf-16-be"): "an der Förde",
    b"JIS\0\0\0\0\0" + "海".encode("iso2022_jp"): "海",
    bytes(8) + "an der Förde".encode(): "an der Förde",
    b"no encoding named": "no encoding named",
    b"ASCII\0\0\0[1, 2]": "[1, 2]",
    b'ASCII\0\0\0{"a": 1}': '{"a": 1}',
    b"ASCII\0\0\0" + b"[" * 30_000: "[" * 30_000,
}


@pytest.mark.parametrize("raw", COMMENTS)
def test_the_comments_of_others_are_read_and_kept(tmp_path: Path, raw: bytes) -> None:
    path = saved(tmp_path / "photo.jpg", Image.new("RGB", SIZE), exif=camera("<", raw).tobytes())
    assert read_text(path) == {"UserComment": COMMENTS[raw]}
    photograph = read_photograph(path)
    write_picture(photograph.picture, tmp_path / "silent.jpg", like=photograph)
    assert pillow_exif_of(tmp_path / "silent.jpg")[1][Base.UserComment] == raw
    write_picture(photograph.picture, tmp_path / "told.jpg", like=photograph, text={"impasto": "told"})
    assert read_text(tmp_path / "told.jpg") == {"UserComment": COMMENTS[raw], "impasto": "told"}
    again = read_photograph(tmp_path / "told.jpg")
    write_picture(again.picture, tmp_path / "again.jpg", like=again, text={"impasto": "anew"})
    assert read_text(tmp_path / "again.jpg") == {"UserComment": COMMENTS[raw], "impasto": "anew"}


@pytest.mark.parametrize("extension", FORMATS)
def test_how_the_photograph_was_made_is_not_said_of_the_result(tmp_path: Path, extension: str) -> None:
    write_picture(Image.new("RGB", SIZE), tmp_path / "first.jpg", text={"impasto": "first", "other": "first"})
    photograph = read_photograph(tmp_path / "first.jpg")
    for text in ({}, {"impasto": "second"}):
        write_picture(photograph.picture, tmp_path / f"out.{extension}", like=photograph, text=text)
        assert read_text(tmp_path / f"out.{extension}") == text
        assert b"first" not in (tmp_path / f"out.{extension}").read_bytes()


def test_pictures_without_text_have_none(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.gif", "a.tiff", "a.webp"):
        assert read_text(saved(tmp_path / name, Image.new("RGB", SIZE))) == {}


def test_text_of_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for name, reason in (("a.png", "not a picture"), ("none.png", "no such file")):
        with pytest.raises(PictureError, match=reason):
            read_text(tmp_path / name)
