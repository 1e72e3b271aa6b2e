"""File formats of pictures by their first bytes: those that are supported, and others, which errors can name."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass

from PIL import Image

#: The number of first bytes that determine a format.
HEAD = 512

#: The supported formats, for messages about others.
READ = "PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, TGA, JPEG 2000, AVIF or HEIC"

ADVICE = "save it as PNG or JPEG"

_HEIF_PLUGIN = "pillow_heif"
_TGA_NAMES = (".tga", ".icb", ".vda", ".vst")


class UnreadError(ValueError):
    """A picture that may be sound is not read; the text says why, without naming the picture."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name
        Its name with an article, as in "is a PNG file".
    reader
        Pillow's name for it; None if it is not supported.
    """

    name: str
    reader: str | None = None

    @property
    def why_unread(self) -> str | None:
        """The reason why it is not read here, and advice; None if it is read.

        Some formats are not supported on purpose: those for which Pillow starts another program (EPS: Ghostscript),
        drawings (WMF, EMF, SVG, PDF), raw camera files, which need developing, and those that Pillow reads in part
        (PSD).
        """
        if self.reader is not None and (self.reader in Image.OPEN or self._registered()):
            return None
        if self.reader == "HEIF":
            return f"is {self.name}; install what reads it with pip install pillow-heif, or save it as JPEG"
        if self.reader is not None:
            return f"is {self.name}, which this Pillow was built without; {ADVICE}"
        return f"is {self.name}, which is not read; {ADVICE} (what is read: {READ})"

    def _registered(self) -> bool:
        if self.reader == "HEIF":
            try:
                importlib.import_module(_HEIF_PLUGIN).register_heif_opener(thumbnails=False)
            except Exception:  # not installed, or not for this Python or Pillow
                return False
        else:
            Image.preinit()
            if self.reader not in Image.OPEN:
                Image.init()  # this takes longer
        return self.reader in Image.OPEN


#: Pattern of the first bytes -> the format. Sources: each format's own specification.
_SIGNATURES: tuple[tuple[re.Pattern[bytes], Format], ...] = tuple(
    (re.compile(pattern, re.DOTALL), Format(*described))
    for pattern, *described in (
        (rb"\x89PNG\r\n\x1a\n", "a PNG file", "PNG"),
        (rb"\xff\xd8\xff\xf7", "a JPEG-LS file"),
        (rb"\xff\xd8\xff", "a JPEG file", "JPEG"),
        (rb"RIFF.{4}WEBP", "a WebP file", "WEBP"),
        (rb"GIF8[79]a", "a GIF file", "GIF"),
        (rb"BM.{12}[\x0c-\x7c]\0\0\0", "a BMP file", "BMP"),
        (rb"P[1-6][\s#]|Pf\s", "a PPM file", "PPM"),
        (rb"II\*\0.{4}CR", "a raw camera file (CR2)"),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF file", "TIFF"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 file", "JPEG2000"),
        (rb".{4}ftyp(avif|avis)", "an AVIF file", "AVIF"),
        (rb".{4}ftyp(mif1|msf1).{4}([^\0]{4})*?avif", "an AVIF file", "AVIF"),
        (rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "a HEIC picture", "HEIF"),
        # --- known, and not read
        (rb".{4}ftypcrx |FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM", "a raw camera file"),
        (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01", "a film"),
        (rb"II\xbc", "a JPEG XR file"),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
        (rb"\x1b?[^%]{0,64}?%!PS|\xc5\xd0\xd3\xc6", "an EPS or PostScript file"),
        (rb"[^%]{0,64}?%PDF-", "a PDF document"),
        (rb"8BPS", "a Photoshop file"),
        (rb"\xd7\xcd\xc6\x9a|[\x01\x02]\0\x09\0\0[\x01\x03]", "a WMF drawing"),
        (rb"\x01\0\0\0.{36} EMF", "an EMF drawing"),
        (rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml.*?|<!--.*?)?(<!doctype svg.*?)?<svg[\s>]", "an SVG drawing"),
        (rb"(\xef\xbb\xbf)?\s*<!DOCTYPE svg", "an SVG drawing"),
        (rb"\0\0[\x01\x02]\0[^\0]\0|icns", "an icon"),
        (rb"gimp xcf", "a GIMP file"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR file"),
        (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR file"),
        (rb"PF\s", "a floating-point PFM file"),
        (rb"P7\s", "a PAM file"),
        (rb"qoif", "a QOI file"),
        (rb"DDS ", "a DDS texture"),
        (rb"SIMPLE  =", "a FITS file"),
        (rb".{128}DICM", "a DICOM file"),
        (rb"\x89JNG|\x8aMNG", "an MNG or JNG file"),
        (rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", "a PCX file"),
        (rb"\x01\xda[\x00\x01][\x01\x02]", "an SGI file"),
        (rb"\x59\xa6\x6a\x95", "a Sun raster file"),
        (rb"#define ", "an XBM file"),
        (rb"/\* XPM", "an XPM file"),
        (rb"FLIF|BPG\xfb", "a FLIF or BPG file"),
        (rb"AT&TFORM", "a DjVu document"),
        (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive, or a document stored as one"),
        (rb"\xd0\xcf\x11\xe0", "an Office document"),
        (rb"(?i)\s*(<!--.*?-->\s*)?(<\?xml.*?\?>\s*)?<(!doctype html|html)", "a web page"),
    )
)

_WEB_PAGE = "is a web page, not a picture; give the address of the picture itself"


def format_of(head: bytes, name: str = "") -> Format | None:
    """Return the format of a file by its first bytes; None if it is unknown.

    Parameters
    ----------
    head
        The first `HEAD` bytes, or all if there are fewer.
    name
        The name of the file: TGA has no signature, and is known by its extension.
    """
    for pattern, format_ in _SIGNATURES:
        if pattern.match(head):
            return format_
    return Format("a TGA file", "TGA") if name.lower().endswith(_TGA_NAMES) and len(head) > 18 else None


def reader_of(head: bytes, name: str = "") -> tuple[str, Format]:
    """Return Pillow's name of the format of a file, and the format.

    Raises
    ------
    UnreadError
        When the format is not supported; the text names it, with advice.
    """
    format_ = format_of(head, name)
    if format_ is None:
        raise UnreadError(f"not a picture in a format that is read; expected {READ}")
    if format_.name == "a web page":
        raise UnreadError(_WEB_PAGE)
    if format_.why_unread:
        raise UnreadError(format_.why_unread)
    assert format_.reader is not None
    return format_.reader, format_
