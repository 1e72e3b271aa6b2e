"""Files as strangers bring them: sound ones are read as others show them, others are refused in a line.

Each is drawn here, by a seed that changes the picture and where it is damaged.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from impasto.runtime.errors import PictureError
from impasto.runtime.formats import png
from impasto.runtime.pictures import colors
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import read_photograph, read_picture, read_text
from tests.runtime import icc, pngs
from tests.runtime.files import as_image
from tests.runtime.pngs import chunk

pytestmark = pytest.mark.parametrize("seed", [1, 22, 333])

Levels = NDArray[np.uint8]


def drawn(seed: int) -> Levels:
    """Draw a picture with dark and light, flat and busy places, of a size of its own."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 90, 2)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 127 * np.sin(x / rng.uniform(3, 12) + y / rng.uniform(3, 12)) for _ in range(3)]
    picture = np.stack(waves, -1)
    picture[: height // 4] = rng.integers(0, 256, 3)
    picture[-8:] += rng.normal(0, 20, (8, width, 3))
    return picture.clip(0, 255).astype(np.uint8)


def file_of(folder: Path, data: bytes, name: str = "photo.png") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def levels_of(path: Path) -> NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said that a test does not expect
        return np.asarray(read_picture(path), np.int64)


def large_profile(seed: int) -> bytes:
    """Return the profile of sRGB with a good deal behind it that does not compress."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = np.random.default_rng(seed).integers(0, 256, 2_500_000, np.uint8).tobytes()
    return struct.pack(">I", len(plain) + len(more)) + plain[4:] + more


# --- damaged --------------------------------------------------------------------------------------------------


def test_a_png_with_a_flipped_bit_is_refused_from_a_file_and_from_python(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    packed = zlib.compress(pngs.lines(drawn(seed), png.RGB, 8, seed=seed), 9)
    head = pngs.header(*drawn(seed).shape[1::-1], png.RGB, 8)
    for place in rng.integers(2, len(packed), 40):
        damaged = bytearray(packed)
        damaged[place] ^= 1 << rng.integers(8)
        sums = chunk(b"IDAT", bytes(damaged)), chunk(b"IDAT", bytes(damaged), crc=zlib.crc32(b"IDAT" + packed))
        for image_data in sums:  # in the file, or before its checksum was made
            data = pngs.assembled(head, image_data)
            with pytest.raises(PictureError, match="truncated or damaged"):
                read_picture(file_of(tmp_path, data))
            with pytest.raises(PictureError, match=r"^content: truncated or damaged"):
                as_image(Image.open(io.BytesIO(data)), "content")


def test_an_eps_called_a_jpeg_is_refused_at_once(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)  # whatever would start a program
    endless = b"%%!PS-Adobe-3.0 EPSF-3.0\n%%%%BoundingBox: 0 0 %d 64\n%%%%EndComments\n{} loop\n" % (64 + seed)
    with pytest.raises(PictureError, match=r"is an EPS or PostScript file, which is not read; .* PNG, JPEG"):
        read_picture(file_of(tmp_path, endless, "photo.jpg"))


UNSOUND = {
    "tEXt": chunk(b"tEXt", b"Comment\0hello", crc=1),
    "cHRM": chunk(b"cHRM", bytes(8)),
    "iCCP": chunk(b"iCCP", b"profile\0\7" + zlib.compress(b"none")),
    "pHYs": chunk(b"pHYs", bytes(3)),
    "zTXt": chunk(b"zTXt", b"Comment\0\0no compressed text"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_a_png_is_read_without_what_is_unsound_beside_its_pixels(tmp_path: Path, name: str, seed: int) -> None:
    path = file_of(tmp_path, pngs.png(drawn(seed), png.RGB, 8, UNSOUND[name], seed=seed))
    with pytest.warns(RuntimeWarning, match=f"photo.png: damaged or not understood, and left out: {name}$") as said:
        photograph = read_photograph(path)
    assert len(said) == 1
    assert photograph.profile is None
    np.testing.assert_array_equal(np.asarray(photograph.picture), drawn(seed))


# --- large ----------------------------------------------------------------------------------------------------


def test_what_was_written_with_a_large_profile_is_read_again(tmp_path: Path, seed: int) -> None:
    profile = large_profile(seed)
    Image.fromarray(drawn(seed)).save(tmp_path / "photo.jpg", icc_profile=profile, quality=95)
    photograph = read_photograph(tmp_path / "photo.jpg")
    assert photograph.profile == profile
    write_picture(photograph.picture, tmp_path / "out.png", like=photograph, text={"impasto": "told"})
    assert read_photograph(tmp_path / "out.png").profile == profile
    assert read_text(tmp_path / "out.png") == {"impasto": "told"}
    np.testing.assert_array_equal(levels_of(tmp_path / "out.png"), np.asarray(photograph.picture))


def test_large_profiles_and_texts_of_others_are_read(tmp_path: Path, seed: int) -> None:
    profile, text = large_profile(seed), "x" * (2_000_000 + seed)
    path = file_of(
        tmp_path,
        pngs.png(
            drawn(seed),
            png.RGB,
            8,
            chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)),
            chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text.encode())),
        ),
    )
    np.testing.assert_array_equal(levels_of(path), drawn(seed))
    assert read_photograph(path).profile == profile
    assert read_text(path) == {"Comment": text}


# --- what levels mean -----------------------------------------------------------------------------------------


def test_linear_levels_are_shown_as_browsers_do(tmp_path: Path, seed: int) -> None:
    said = chunk(b"gAMA", struct.pack(">I", 100_000))
    expected = icc.encode(drawn(seed) / 255)
    assert np.abs(levels_of(file_of(tmp_path, pngs.png(drawn(seed), png.RGB, 8, said))) - expected).max() <= 1
    overruled = pngs.png(drawn(seed), png.RGB, 8, said, chunk(b"sRGB", b"\0"))
    np.testing.assert_array_equal(levels_of(file_of(tmp_path, overruled)), drawn(seed))


def test_floating_point_grey_of_0_to_1_is_scaled(tmp_path: Path, seed: int) -> None:
    grey = drawn(seed)[..., 0]
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "grey.tif")
    np.testing.assert_array_equal(levels_of(tmp_path / "grey.tif"), np.repeat(grey[..., None], 3, 2))


def test_grey_of_32_bits_is_scaled(tmp_path: Path, seed: int) -> None:
    grey = drawn(seed)[..., 0]
    height, width = grey.shape
    tags = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: height}
    tags |= {279: grey.size * 4, 339: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    levels = (grey.astype(np.uint64) * 0xFFFFFFFF // 255).astype("<u4").tobytes()
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + levels
    found = levels_of(file_of(tmp_path, data, "grey.tif"))
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, 2))


def test_half_transparent_colours_come_back(tmp_path: Path, seed: int) -> None:
    pixels = np.dstack([drawn(seed), np.full(drawn(seed).shape[:2], 100 + seed % 100)])
    photograph = read_photograph(file_of(tmp_path, pngs.png(pixels, png.RGB_ALPHA, 8)))
    mixed = colors.mix(Image.new("RGB", photograph.picture.size), photograph.picture, 0)
    write_picture(mixed, tmp_path / "out.png", like=photograph)
    with Image.open(tmp_path / "out.png") as out:
        np.testing.assert_array_equal(np.asarray(out), pixels)


def test_the_grey_profile_of_16_bit_grey_with_opacity_is_used(tmp_path: Path, seed: int) -> None:
    grey = drawn(seed)[..., 0].astype(np.int64)
    deep = np.stack([grey * 257, np.full_like(grey, 65535)], -1)
    np.testing.assert_array_equal(
        levels_of(file_of(tmp_path, pngs.png(deep, png.GREY_ALPHA, 16))), np.repeat(grey[..., None], 3, 2)
    )
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(icc.grey_profile(1.0)))
    found = levels_of(file_of(tmp_path, pngs.png(deep, png.GREY_ALPHA, 16, profile)))
    assert np.abs(found - icc.encode(grey[..., None] / 255)).max() <= 1


# --- what is written of them ----------------------------------------------------------------------------------


def test_exif_keeps_its_bytes(tmp_path: Path, seed: int) -> None:
    told = {ExifTags.Base.Artist: "Jörg Müßig".encode(), ExifTags.Base.Copyright: f"© {seed} 名".encode()}
    exif = Image.Exif()
    for tag, value in told.items():
        exif[tag] = "@" * len(value)
    data = exif.tobytes()
    for value in told.values():
        data = data.replace(b"@" * len(value) + b"\0", value + b"\0", 1)
    Image.fromarray(drawn(seed)).save(tmp_path / "photo.jpg", exif=data)
    photograph = read_photograph(tmp_path / "photo.jpg")
    for name in ("out.jpg", "out.png"):
        write_picture(photograph.picture, tmp_path / name, like=photograph)
        written = (tmp_path / name).read_bytes()
        assert all(value + b"\0" in written for value in told.values())
