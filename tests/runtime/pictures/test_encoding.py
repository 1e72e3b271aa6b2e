"""Results are written as valid PNG and JPEG, in their photograph's colours, with all that these formats can hold."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from impasto.runtime.formats.ancillary import MOST_UNFOLDED
from impasto.runtime.formats.density import Density
from impasto.runtime.formats.embedded import Metadata
from impasto.runtime.formats.exif import parse
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import Photograph, read_photograph, read_picture, read_text
from tests.runtime import files, icc
from tests.runtime.files import FORMATS, SIZE, array, saved, written

ADOBE = icc.rgb_profile()


# --- colours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", FORMATS)
def test_the_result_is_in_the_photographs_colours_and_says_so(tmp_path: Path, extension: str) -> None:
    colour = (100, 140, 110)
    photograph = read_photograph(saved(tmp_path / "photo.png", Image.new("RGB", SIZE, colour), icc_profile=ADOBE))
    result = written(tmp_path / f"out.{extension}", photograph.picture, like=photograph)
    assert result.info["icc_profile"] == ADOBE
    assert np.abs(array(result) - colour).max() <= 3
    assert np.abs(array(read_picture(tmp_path / f"out.{extension}")) - array(photograph.picture)).max() <= 3


def test_a_picture_with_the_profile_of_srgb_is_not_touched_by_it(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))
    photograph = read_photograph(saved(tmp_path / "photo.png", image, icc_profile=profile))
    np.testing.assert_array_equal(array(photograph.picture), array(image))
    result = written(tmp_path / "out.png", photograph.picture, like=photograph)
    np.testing.assert_array_equal(array(result), array(image))
    assert result.info["icc_profile"] == profile


@pytest.mark.parametrize(
    "profile", [icc.one_way_profile(), *(icc.table_profile(back=back) for back in ("none", "identity", "matrix"))]
)
def test_a_result_that_a_profile_cannot_describe_is_srgb(tmp_path: Path, profile: bytes) -> None:
    image = Image.new("RGB", SIZE, (100, 140, 110))
    with pytest.warns(RuntimeWarning, match="^the result is sRGB: its colour profile cannot be used") as warned:
        result = written(tmp_path / "out.png", image, like=Photograph(image, profile=profile))
    assert len(warned) == 1
    np.testing.assert_array_equal(array(result), array(image))
    assert "icc_profile" not in result.info


@pytest.mark.parametrize("extension", FORMATS)
def test_what_an_image_happens_to_carry_is_not_written(tmp_path: Path, extension: str) -> None:
    image = Image.new("RGB", SIZE, (1, 2, 3))
    image.info |= {"icc_profile": ADOBE, "transparency": (1, 2, 3), "comment": b"mine", "exif": files.exif()}
    result = written(tmp_path / f"out.{extension}", image)
    assert not {"icc_profile", "transparency", "comment", "exif"} & set(result.info)
    assert image.info["comment"] == b"mine"


# --- what there is room for -----------------------------------------------------------------------------------


def test_exif_that_no_jpeg_can_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    exif = files.tiff("<", files.camera() | {0x010E: files.text(b"long " * 20_000)})
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(parse(exif)))
    with pytest.warns(RuntimeWarning, match="^the photograph's EXIF left out: more than a JPEG can hold; PNG can"):
        write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "told"})
    assert read_text(tmp_path / "out.jpg") == {"impasto": "told"}
    write_picture(photograph.picture, tmp_path / "out.png", like=photograph)
    assert files.entries(files.exif_of(tmp_path / "out.png"))[0x010E] == files.text(b"long " * 20_000)


def test_text_that_no_jpeg_can_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(parse(files.exif())))
    with pytest.warns(RuntimeWarning, match="^the text left out: more than a JPEG can hold; PNG can"):
        write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph, text={"impasto": "x" * 70_000})
    assert read_text(tmp_path / "out.jpg") == {}
    assert files.entries(files.exif_of(tmp_path / "out.jpg"))[0x010F] == files.text(b"Kamera")


PACKET = b"<a>%s</a>"


def everything(size: int) -> Metadata:
    """Return metadata with each part of some size."""
    xmp, iptc = PACKET % (b"x" * size), b"8BIM\x04\x04\0\0" + struct.pack(">L", size) + b"\x1c" * size
    density = Density.of({"jfif_unit": 1, "jfif_density": (300, 300)}, None)
    return Metadata(parse(files.exif()), xmp, iptc, density, {"Title": "t" * size}, (b"c" * size,))


def test_what_no_jpeg_can_hold_is_left_out_with_one_warning(tmp_path: Path) -> None:
    photograph = Photograph(Image.new("RGB", SIZE), metadata=everything(70_000))
    warning = (
        "^the photograph's XMP, the photograph's IPTC, a comment and the photograph's text 'Title' left out: "
        "more than a JPEG can hold; PNG can$"
    )
    with pytest.warns(RuntimeWarning, match=warning) as warned:
        write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph)
    assert len(warned) == 1
    assert [marker for marker, _ in files.segments((tmp_path / "out.jpg").read_bytes())][:2] == [0xE0, 0xE1]


def test_xmp_gives_up_its_padding_to_fit_into_a_jpeg(tmp_path: Path) -> None:
    packet = b"<a>b</a>" + b" " * 70_000 + b"\n<?xpacket end='w'?>"
    photograph = Photograph(Image.new("RGB", SIZE), metadata=Metadata(xmp=packet))
    write_picture(photograph.picture, tmp_path / "out.jpg", like=photograph)
    found = [value for marker, value in files.segments((tmp_path / "out.jpg").read_bytes()) if marker == 0xE1]
    assert found == [b"http://ns.adobe.com/xap/1.0/\0<a>b</a>\n<?xpacket end='w'?>"]


def test_a_png_holds_everything_and_is_valid(tmp_path: Path) -> None:
    like = Photograph(Image.new("RGB", SIZE), Image.new("L", SIZE, 128), ADOBE, everything(3_000_000))
    write_picture(like.picture, tmp_path / "out.png", like=like, text={"impasto": "told"})
    found = [*files.chunks((tmp_path / "out.png").read_bytes())]
    kinds = [kind for kind, _ in found]
    assert kinds[0] == b"IHDR"
    assert kinds[-2:] == [b"IDAT", b"IEND"]
    assert kinds[1:4] == [b"iCCP", b"pHYs", b"eXIf"]
    assert sorted(kinds[4:-2]) == [b"iTXt"] * 2 + [b"tEXt"] * 3
    name, profile = dict(found)[b"iCCP"].split(b"\0\0", 1)
    assert name == b"ICC Profile"
    assert zlib.decompress(profile) == ADOBE


def test_a_jpeg_holds_everything_and_is_valid(tmp_path: Path) -> None:
    large = ADOBE + bytes(200_000)
    large = struct.pack(">L", len(large)) + large[4:]
    metadata = everything(60_000)
    like = Photograph(Image.new("RGB", SIZE), profile=large, metadata=Metadata(*vars(metadata).values()))
    with pytest.warns(RuntimeWarning, match="^the photograph's text 'Title' left out"):
        write_picture(like.picture, tmp_path / "out.jpg", like=like, text={"impasto": "told"})
    data = (tmp_path / "out.jpg").read_bytes()
    found = [*files.segments(data)]
    assert [marker for marker, _ in found][:9] == [0xE0, 0xE1, 0xE1, 0xE2, 0xE2, 0xE2, 0xE2, 0xED, 0xFE]
    assert struct.unpack_from(">BHH", found[0][1], 7) == (1, 300, 300)
    assert b"".join(value[14:] for marker, value in found if marker == 0xE2) == large
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == large
        assert image.info["dpi"] == (300, 300)


def test_a_profile_that_no_jpeg_can_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    large = ADOBE + bytes(255 * 65_519)
    like = Photograph(Image.new("RGB", SIZE, (100, 140, 110)), profile=struct.pack(">L", len(large)) + large[4:])
    with pytest.warns(RuntimeWarning, match="^the result is sRGB: .*: it is larger than a JPEG can hold$"):
        result = written(tmp_path / "out.jpg", like.picture, like=like)
    assert np.abs(array(result) - (100, 140, 110)).max() <= 3
    assert written(tmp_path / "out.png", like.picture, like=Photograph(like.picture)).mode == "RGB"


def test_a_profile_that_would_not_be_found_again_in_a_png_is_left_out_with_a_warning(tmp_path: Path) -> None:
    like = Photograph(Image.new("RGB", SIZE), profile=ADOBE + bytes(MOST_UNFOLDED + 1 - len(ADOBE)))
    with pytest.warns(RuntimeWarning, match="^the result is sRGB: .*: it is larger than a PNG can hold$"):
        written(tmp_path / "out.png", like.picture, like=like)
    assert read_photograph(tmp_path / "out.png").profile is None
