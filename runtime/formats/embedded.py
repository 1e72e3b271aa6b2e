"""The metadata in a photograph's file, as far as a result may have them, too."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from PIL import ExifTags, Image

from impasto.runtime.formats import exif as exif_
from impasto.runtime.formats import iptc as iptc_
from impasto.runtime.formats import xmp as xmp_
from impasto.runtime.formats.density import Density
from impasto.runtime.formats.exif import Exif, ExifError
from impasto.runtime.formats.xmp import XmpError

_COMMENT = ExifTags.Base.UserComment.name
_KEY = re.compile(r"[ -~\xa1-\xff]{1,79}")

#: Keywords of a PNG's texts that describe the picture, and not the way it was made: those that the PNG specification
#: registers (third edition, 11.3.3.1) except Software, and a few others.
_KEYWORDS = {"Title", "Author", "Description", "Copyright", "Creation Time", "Disclaimer", "Warning", "Source"}
_KEYWORDS |= {"Comment", "Collection", "Artist", "Credit", "Keywords", "Location", "Subject"}

#: Texts about a file or its making, which are left out without a warning: impasto's records, notes of ImageMagick and
#: thumbnailers, and profiles, which are read in another way.
_OF_THE_FILE = re.compile(r"impasto.*|Software|.*:.*|Raw profile type .*", re.DOTALL)
XMP_TEXT, RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "

#: The key in an image's `info` of a PNG's texts by keyword; Pillow mixes them with all other data.
TEXTS = "texts of a PNG"

#: The key in an image's `info` of a TIFF's EXIF, which `load` puts there.
_TIFF_EXIF = "EXIF of a TIFF"

#: Comments of encoders about their own settings.
_OF_AN_ENCODER = re.compile(rb"CREATOR: gd-jpeg|Lavc\d|Lavf\d|LEAD Technologies|Intel\(R\) JPEG Library|JPEG Encoder")

#: The beginnings of the JPEG segments of extended XMP (XMP specification part 3, 1.1.3.1), and of XMP itself.
_EXTENDED_XMP, XMP_SEGMENT = b"http://ns.adobe.com/xmp/extension/\0", b"http://ns.adobe.com/xap/1.0/\0"

#: Formats whose density is in their EXIF, or whose ``dpi`` Pillow makes up.
_NO_DPI = ("JPEG", "MPO", "TIFF")


@dataclass(frozen=True)
class Metadata:
    """The metadata of a photograph that a result can have, too.

    Attributes
    ----------
    exif
        Its EXIF, without orientation, thumbnail and tags that describe the file.
    xmp
        Its XMP packet, well-formed, in UTF-8.
    iptc
        The image resources of Photoshop that describe a picture: IPTC, and resources about it.
    density
        Pixels per inch or centimetre.
    texts
        Texts of a PNG by keyword.
    comments
        Comments of a JPEG or GIF, as bytes.
    left_out
        The names, for a warning, of metadata that no result gets.
    """

    exif: Exif | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: Density | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    comments: tuple[bytes, ...] = ()
    left_out: tuple[str, ...] = ()


def load(image: Image.Image) -> None:
    """Read an image's pixels; of a TIFF, keep the EXIF in its `info`.

    Once Pillow has read the pixels of a TIFF, its EXIF is no longer available, and the picture is upright.
    """
    exif_data = _tiff(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags that Pillow does not understand
        image.load()
    if exif_data is not None:
        image.info[_TIFF_EXIF] = exif_.upright(exif_data)


def read(image: Image.Image, subject: str) -> tuple[Metadata, int]:
    """Return the metadata of a picture's file, and its orientation.

    This reads the pixels. Damaged metadata are left out, with one warning that begins with `subject`.

    Returns
    -------
    metadata
        The metadata of the upright picture.
    orientation
        1 to 8, as EXIF numbers them.
    """
    load(image)
    damage: list[str] = []
    exif_data = _exif(image, damage)
    packet = _xmp(image, exif_data, damage)
    turn = 1
    if image.format != "TIFF":
        turn = (exif_data and exif_.orientation(exif_data)) or (packet and xmp_.orientation(packet)) or 1
    density = Density.of(_of_density(image), exif_.resolution(exif_data) if exif_data else None)
    metadata = Metadata(
        exif=exif_.without_others(exif_.upright(exif_data, turn)) if exif_data else None,
        xmp=packet,
        iptc=_iptc(image, exif_data) or None,
        density=density.turned() if density and turn >= 5 else density,
        texts={key: _sound(value) for key, value in _texts(image).items() if key in _KEYWORDS},
        comments=_comments(image),
        left_out=_left_out(image),
    )
    if exif_data and exif_data.damaged:
        damage.insert(0, f"its EXIF is damaged and left out in part ({exif_data.damaged} of its entries)")
    if damage:
        warnings.warn(f"{subject}: {'; '.join(damage)}", RuntimeWarning, stacklevel=2)
    return metadata, turn


def _tiff(image: Image.Image) -> Exif | None:
    """Return the EXIF of a TIFF that has not been read yet; None for other pictures."""
    file: IO[bytes] | None = getattr(image, "fp", None)
    if image.format != "TIFF" or file is None or file.closed:
        return None
    at = file.tell()
    try:
        return exif_.read_tiff(file)
    except ExifError:
        return None  # Pillow may still be able to read it
    finally:
        file.seek(at)


def _exif(image: Image.Image, damage: list[str]) -> Exif | None:
    if isinstance(exif_data := image.info.get(_TIFF_EXIF), Exif):
        return exif_data
    data = image.info.get("exif")
    if data is None and (profile := _raw_profile(image, "exif", "APP1")):
        data = profile
    if data is None:
        with contextlib.suppress(Exception):  # of a picture that a program made, or a TIFF that was read before
            data = image.getexif().tobytes() if image.getexif() else None
    if not isinstance(data, bytes) or not data:
        return None
    try:
        return exif_.parse(data)
    except ExifError as error:
        damage.append(f"its EXIF is damaged and left out ({error})")
        return None


def _raw_profile(image: Image.Image, *names: str) -> bytes:
    texts = (image.info.get(RAW_PROFILE + name) for name in names)
    return next((profile for text in texts if isinstance(text, str) and (profile := iptc_.from_text(text))), b"")


def _segments(image: Image.Image, name: str, start: bytes = b"") -> list[bytes]:
    """Return the data of a JPEG's marker segments of a name that begin with `start`, without it."""
    segments: Iterable[tuple[str, bytes]] = getattr(image, "applist", ())
    return [data.removeprefix(start) for marker, data in segments if marker == name and data.startswith(start)]


def _xmp(image: Image.Image, exif_data: Exif | None, damage: list[str]) -> bytes | None:
    # For a TIFF this packet comes first: Pillow may have changed its own copy.
    within = exif_data.main.value(exif_.XMP) if exif_data else b""
    packets: list[str | bytes | None] = [within] if image.format == "TIFF" else []
    packets += [*_segments(image, "APP1", XMP_SEGMENT), image.info.get(XMP_TEXT), image.info.get("xmp")]
    packets += [_raw_profile(image, "xmp"), within]
    packet = next((one for one in packets if one), b"")
    packet = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    try:
        return xmp_.sound(packet) if packet else None
    except XmpError as error:
        damage.append(f"its XMP is damaged and left out ({error})")
        return None


def _iptc(image: Image.Image, exif_data: Exif | None) -> bytes:
    if segments := _segments(image, "APP13", iptc_.PHOTOSHOP):
        return iptc_.kept(b"".join(segments))
    if isinstance(resources := image.info.get("photoshop"), dict):  # a copy of a JPEG's picture has these
        return iptc_.joined({key: data for key, data in resources.items() if isinstance(data, bytes)})
    if profile := _raw_profile(image, "iptc", "8bim", "APP13"):
        return iptc_.of_profile(profile)
    if exif_data is None:
        return b""
    return iptc_.with_records(iptc_.kept(exif_data.main.value(exif_.PHOTOSHOP)), exif_data.main.value(exif_.IPTC))


def _of_density(image: Image.Image) -> dict[Any, Any]:
    return {key: value for key, value in image.info.items() if key != "dpi" or image.format not in _NO_DPI}


def _comments(image: Image.Image) -> tuple[bytes, ...]:
    comment = image.info.get("comment")
    comments = _segments(image, "COM") or ([comment] if isinstance(comment, bytes) else [])
    stripped = (comment.strip(b"\0") for comment in comments)
    return tuple(comment for comment in stripped if comment and not _OF_AN_ENCODER.match(comment))


def _texts(image: Image.Image) -> dict[str, str]:
    """Return a PNG's texts by keyword; none for formats that have no texts."""
    texts = image.info.get(TEXTS)
    if not isinstance(texts, dict):
        texts = image.info if image.format in ("PNG", None) else {}
    return {key: value for key, value in texts.items() if isinstance(key, str) and isinstance(value, str)}


def _left_out(image: Image.Image) -> tuple[str, ...]:
    """Return the names of metadata that can neither be kept nor be known to be true of a result."""
    extended = ("extended XMP",) if _segments(image, "APP1", _EXTENDED_XMP) else ()
    texts = (key for key in _texts(image) if key not in _KEYWORDS and not _OF_THE_FILE.fullmatch(key))
    return (*extended, *(f"text {key!r}" for key in texts))


# --- text by keyword ------------------------------------------------------------------------------------------


def sound(text: Mapping[str, str]) -> dict[str, str]:
    """Check the keywords; replace characters that UTF-8 or a PNG cannot hold."""
    for key in text:
        if not _KEY.fullmatch(key):
            raise ValueError(f"keyword {key!r}: expected 1 to 79 printable characters of Latin-1")
    return {key: _sound(value) for key, value in text.items()}


def _sound(value: str) -> str:
    cleaned = value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return value if cleaned == value else cleaned  # Pillow's text knows its language


def comment_text(image: Image.Image) -> dict[str, str]:
    """Return the texts in the UserComment of a picture's EXIF, by keyword; another program's comment as one text."""
    load(image)
    exif_data = _exif(image, [])
    return _parse_comment(exif_.comment(exif_data)) if exif_data else {}


def exif_with(exif: Exif | None, size: tuple[int, int], text: Mapping[str, str]) -> bytes:
    """Return a photograph's EXIF for a result of that size with that text in its UserComment; no bytes if it is empty.

    Another program's comment moves to the keyword ``UserComment``; impasto's record of the photograph is left out.
    """
    exif = exif_.with_size(exif or Exif(), size)
    texts = _parse_comment(exif_.comment(exif))
    note = {_COMMENT: texts[_COMMENT]} if _COMMENT in texts else {}
    if text:
        exif = exif_.with_comment(exif, json.dumps(note | {**text}, ensure_ascii=False))
    elif texts != note:
        exif = exif_.with_comment(exif, note.get(_COMMENT, ""))
    return exif_.serialise(exif) if exif.main.entries else b""


def _parse_comment(comment: str) -> dict[str, str]:
    with contextlib.suppress(ValueError, RecursionError):
        text = json.loads(comment)
        if isinstance(text, dict) and all(isinstance(value, str) for value in text.values()):
            return text
    return {_COMMENT: comment} if comment else {}
