"""What a picture's file holds beside its pixels: EXIF, and text by keyword. Bytes in and out, no places."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import struct
import warnings
from collections.abc import Iterator, Mapping

from PIL import ExifTags, Image, TiffTags
from PIL.PngImagePlugin import PngInfo

#: Tags that say how the pixels of a TIFF are stored, or hold what is no EXIF: ICC, XMP, IPTC, Photoshop's.
_LAYOUT = (
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338),
    *(339, 347, 512, 513, 514, 530, 700, 33723, 34377, 34675),
)

#: What a marker of a JPEG holds.
_MOST_EXIF = 65_533

_COMMENT = ExifTags.Base.UserComment.name
_KEY = re.compile(r"[ -~\xa1-\xff]{1,79}")

#: How UserComment names its encoding (EXIF 2.32, table 9); UNICODE is UTF-16 in the byte order of the EXIF.
_ENCODINGS = {b"ASCII\0\0\0": "ascii", b"JIS\0\0\0\0\0": "iso2022_jp", bytes(8): "utf-8"}
_UNICODE = b"UNICODE\0"


def chunks(text: Mapping[str, str]) -> PngInfo:
    """Return texts by keyword as iTXt chunks of a PNG."""
    made = PngInfo()
    for key, value in text.items():
        made.add_itxt(key, value)
    return made


def sound(text: Mapping[str, str]) -> dict[str, str]:
    """Check the keywords; replace what neither UTF-8 nor a PNG can hold."""
    for key in text:
        if not _KEY.fullmatch(key):
            raise ValueError(f"keyword {key!r}: expected 1 to 79 printable characters of Latin-1")
    return {key: value.encode("utf-8", "replace").decode().replace("\0", "\ufffd") for key, value in text.items()}


def read_exif(image: Image.Image, what: str) -> bytes | None:
    """Return a picture's EXIF without what describes the file; damaged EXIF is left out, with a warning."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that make no sense: they are left out
            found = image.getexif()
            if not found:
                return None
            exif = _load_exif(found.tobytes())
            for tag in (ExifTags.Base.Orientation, *_LAYOUT):
                exif.pop(tag, None)
            return exif.tobytes() if exif else None
    except Exception as error:  # like damaged pixels, damaged EXIF raises almost anything
        warnings.warn(f"{what}: its EXIF is damaged and left out ({error})", RuntimeWarning, stacklevel=2)
    for key in ("exif", "Raw profile type exif"):
        image.info.pop(key, None)
    return None


def _load_exif(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    if data:
        exif.load(data)
    return exif


def exif_for(old: bytes | None, size: tuple[int, int], format_: str, text: dict[str, str]) -> bytes:
    """Return a photograph's EXIF for a result of that size, in a JPEG with the text."""
    if format_ != "JPEG":
        return _renewed(old, size, {})
    attempts: tuple[tuple[str, bytes | None, dict[str, str]], ...]
    attempts = (("", old, text), ("the photograph's EXIF", None, text), ("the text", old, {}), ("EXIF", None, {}))
    candidates = ((lost, _renewed(kept, size, told)) for lost, kept, told in attempts)
    lost, exif = next((lost, exif) for lost, exif in candidates if len(exif) <= _MOST_EXIF)
    if lost:
        warnings.warn(f"{lost} left out: more than a JPEG can hold; PNG can", RuntimeWarning, stacklevel=2)
    return exif


def _renewed(old: bytes | None, size: tuple[int, int], text: dict[str, str]) -> bytes:
    exif = _load_exif(old)
    tags = dict(exif.get_ifd(ExifTags.IFD.Exif))
    if ExifTags.IFD.Interop in tags:
        tags[ExifTags.IFD.Interop] = exif.get_ifd(ExifTags.IFD.Interop)
    for tag, side in zip((ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight), size, strict=True):
        if tag in tags:
            tags[tag] = side
    told = parse_comment(comment(exif))
    note = {_COMMENT: told[_COMMENT]} if _COMMENT in told else {}
    if text:
        tags[ExifTags.Base.UserComment] = _encode_comment(json.dumps(note | text, ensure_ascii=False), exif)
    elif told != note:  # the record of how the photograph itself was made
        tags[ExifTags.Base.UserComment] = _encode_comment(note.get(_COMMENT, ""), exif)
    if tags:
        exif[ExifTags.IFD.Exif] = tags
    return _mark_undefined(exif.tobytes()) if exif else b""


def comment(exif: Image.Exif) -> str:
    """Return what the UserComment says, in whatever encoding it names."""
    raw = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if not isinstance(raw, bytes):
        return raw if isinstance(raw, str) else ""
    code, body = raw[:8], raw[8:]
    encoding = _ENCODINGS.get(code)
    if code == _UNICODE:
        marked = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if marked else _utf16(exif)
    text = body.decode(encoding, "replace") if encoding else raw.decode("utf-8", "replace")
    return text.rstrip("\0 ")


def _encode_comment(text: str, exif: Image.Exif) -> bytes:
    if text.isascii():
        return b"ASCII\0\0\0" + text.encode("ascii")
    return _UNICODE + text.encode(_utf16(exif))


def _utf16(exif: Image.Exif) -> str:
    return "utf-16-le" if exif.endian == "<" else "utf-16-be"


def parse_comment(comment: str) -> dict[str, str]:
    """Return the text that `impasto.runtime.encoding.write_picture` made a comment of; a comment of others as it is."""
    with contextlib.suppress(ValueError, RecursionError):
        text = json.loads(comment)
        if isinstance(text, dict) and all(isinstance(value, str) for value in text.values()):
            return text
    return {_COMMENT: comment} if comment else {}


def _mark_undefined(exif: bytes) -> bytes:
    """Return EXIF with type UNDEFINED for the bytes in its sub-directory, where nothing is BYTE: Pillow writes that."""
    data = bytearray(exif)
    start = len(b"Exif\0\0")
    order = "<" if data[start : start + 2] == b"II" else ">"

    def entries(directory: int) -> Iterator[tuple[int, int, int, int]]:
        (count,) = struct.unpack_from(f"{order}H", data, start + directory)
        for k in range(count):
            place = start + directory + 2 + 12 * k
            tag, kind, _, value = struct.unpack_from(f"{order}HHLL", data, place)
            yield place, tag, kind, value

    (first,) = struct.unpack_from(f"{order}L", data, start + 4)
    for directory in [value for _, tag, _, value in entries(first) if tag == ExifTags.IFD.Exif]:
        for place, _, kind, _ in entries(directory):
            if kind == TiffTags.BYTE:
                struct.pack_into(f"{order}H", data, place + 2, TiffTags.UNDEFINED)
    return bytes(data)
