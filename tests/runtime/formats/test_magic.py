"""Formats are known by their first bytes; sound files of those that are not read are told so."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import PIL
import pytest
from PIL import Image, ImageFile

from impasto.runtime.errors import PictureError
from impasto.runtime.formats import magic
from impasto.runtime.pictures.photographs import read_picture

READ = {
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WEBP",
    "TIFF": "TIFF",
    "GIF": "GIF",
    "BMP": "BMP",
    "PPM": "PPM",
    "JPEG2000": "JPEG2000",
    "AVIF": "AVIF",
}


@pytest.mark.parametrize("format_", READ)
def test_formats_that_are_read_are_known(format_: str) -> None:
    Image.init()
    if format_ not in Image.SAVE:
        pytest.skip("this Pillow writes none")
    data = io.BytesIO()
    Image.new("RGB", (48, 40)).save(data, format_)
    reader, kind = magic.reader_of(data.getvalue()[: magic.HEAD])
    assert reader == READ[format_]
    assert kind.name.startswith(("a ", "an "))


def test_tga_is_known_by_its_name(tmp_path: Path) -> None:
    for name in ("photo.tga", "PHOTO.TGA"):
        Image.new("RGB", (48, 40), "red").save(tmp_path / name, "TGA")
        assert read_picture(tmp_path / name).getpixel((5, 5)) == (255, 0, 0)
    (tmp_path / "photo").write_bytes((tmp_path / "photo.tga").read_bytes())
    with pytest.raises(PictureError, match="not a picture in a format that is read"):
        read_picture(tmp_path / "photo")


UNREAD = {
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n{} loop\n", "an EPS or PostScript file"),
    "EPS in DOS's wrapping": (b"\xc5\xd0\xd3\xc6" + bytes(40), "an EPS or PostScript file"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "SVG in XML": (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="1"/>', "an SVG drawing"),
    "Photoshop": (b"8BPS\0\1" + bytes(40), "a Photoshop file"),
    "WMF": (b"\xd7\xcd\xc6\x9a" + bytes(40), "a WMF drawing"),
    "EMF": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(40), "an EMF drawing"),
    "JPEG XL": (b"\xff\x0a" + bytes(40), "a JPEG XL file"),
    "JPEG XL in a box": (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
    "JPEG-LS": (b"\xff\xd8\xff\xf7\0\x0b\x08" + bytes(40), "a JPEG-LS file"),
    "JPEG XR": (b"II\xbc\1" + bytes(40), "a JPEG XR file"),
    "Canon": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "a raw camera file"),
    "Canon, new": (b"\0\0\0\x18ftypcrx " + bytes(40), "a raw camera file"),
    "Fujifilm": (b"FUJIFILMCCD-RAW 0201", "a raw camera file"),
    "film": (b"\0\0\0\x18ftypmp42" + bytes(40), "a film"),
    "icon": (b"\0\0\1\0\1\0\x20\x20" + bytes(40), "an icon"),
    "GIMP": (b"gimp xcf v011\0", "a GIMP file"),
    "OpenEXR": (b"\x76\x2f\x31\x01\2\0\0\0", "an OpenEXR file"),
    "archive": (b"PK\3\4" + bytes(40), "an archive"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_formats_that_are_not_read_are_called_by_their_names(tmp_path: Path, kind: str) -> None:
    data, name = UNREAD[kind]
    (tmp_path / "photo.jpg").write_bytes(data)
    with pytest.raises(PictureError) as refused:
        read_picture(tmp_path / "photo.jpg")
    assert f"photo.jpg: is {name}" in str(refused.value)
    assert "save it as PNG or JPEG (what is read: PNG, JPEG, " in str(refused.value)
    assert "damaged" not in str(refused.value)


def test_raw_camera_files_in_a_tiff_are_no_thumbnails(tmp_path: Path) -> None:
    for tags in ({254: 1, 330: 8}, {50706: b"\1\4\0\0"}):
        Image.new("RGB", (160, 120)).save(tmp_path / "raw.dng", "TIFF", tiffinfo=tags)
        with pytest.raises(PictureError, match="is a raw camera file, and those are not read; develop it"):
            read_picture(tmp_path / "raw.dng")


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(64)


def test_heic_without_what_reads_it_names_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magic, "_HEIF_PLUGIN", "no_such_module")
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "photo.heic").write_bytes(HEIC)
    with pytest.raises(PictureError, match=r"is a HEIC picture; install what reads it with pip install pillow-heif"):
        read_picture(tmp_path / "photo.heic")


def test_a_pillow_heif_for_another_pillow_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(ImageFile.ImageFile):  # as pillow-heif 1.8 fails with Pillow 10
        def _open(self) -> None:
            self._size, self._mode = (64, 48), "RGB"

        def load(self) -> None:
            raise AttributeError("'HeifImageFile' object has no attribute '_im'")

    monkeypatch.setitem(Image.OPEN, "HEIF", (Newer, None))
    (tmp_path / "photo.heic").write_bytes(HEIC)
    with pytest.raises(PictureError, match="this pillow-heif does not go with this Pillow; pip install --upgrade"):
        read_picture(tmp_path / "photo.heic")


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path) -> None:
    plugin = pytest.importorskip("pillow_heif")
    if int(PIL.__version__.partition(".")[0]) < 12:
        pytest.skip("pillow-heif is made for newer Pillows")
    image = Image.new("RGB", (64, 48), (200, 100, 50))
    plugin.from_pillow(image).save(tmp_path / "photo.heic", quality=95)
    script = (
        "import sys; from impasto.runtime.pictures.photographs import read_picture;"
        "print(read_picture(sys.argv[1]).size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "photo.heic")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(64, 48)\n"
    (tmp_path / "cut.heic").write_bytes((tmp_path / "photo.heic").read_bytes()[:-40])
    assert read_picture(tmp_path / "photo.heic").size == (64, 48)
    with pytest.raises(PictureError, match="truncated or damaged"):
        read_picture(tmp_path / "cut.heic")
