"""Pictures in and out: reading anything Pillow reads, resizing, and writing without ever leaving half a file."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffTags, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from impasto.runtime import colors, places
from impasto.runtime.errors import OutputError, PictureError
from impasto.runtime.places import Place
from impasto.runtime.recipe import SIZES_OF, Recipe, Size, scaled_size

#: The least width and height: a VGG network halves a picture four times and still needs something to look at.
MIN_SIDE = 32

Picture = Image.Image | NDArray[Any]
Planes = NDArray[np.float32]

#: What can be written, by extension.
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OPTIONS: dict[str, dict[str, Any]] = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}}

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Photograph:
    """A picture to work on, and what the work has no use for but its result should have again.

    Attributes
    ----------
    picture
        8-bit sRGB, upright; what is transparent is composed over white.
    alpha
        Its opacity, 8 bits (mode L), or None where all is opaque.
    profile
        The ICC profile it came with, if that is one for RGB.
    exif
        Its EXIF, without orientation (it is upright now), thumbnail and what only describes the file's layout.
    """

    picture: Image.Image
    alpha: Image.Image | None = None
    profile: bytes | None = None
    exif: bytes | None = None

    @classmethod
    def of(cls, image: Image.Image, what: str = "picture") -> Photograph:
        """Take a picture of any mode apart; `what` names it in warnings of a damaged profile or EXIF."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            exif = _read_exif(image, what)  # first: once it has read the pixels, Pillow closes a TIFF
        image = ImageOps.exif_transpose(image)
        for warning in told:  # now that the pixels themselves turn out to be sound
            warnings.warn(warning.message, stacklevel=2)
        profile = image.info.get("icc_profile")
        picture, alpha = _split(_to_eight_bits(image))
        picture, profile = _to_srgb(picture, profile, what)
        if alpha is not None:
            picture = _over_white(picture, alpha)
        picture.info.clear()  # what it says has been heeded
        return cls(picture, alpha, profile, exif)


def read_photograph(place: Place) -> Photograph:
    """Read a picture of any mode, and what to restore in a result; of an animation, the first frame.

    Parameters
    ----------
    place
        A path, ``-`` for standard input, or an http or https address; see `impasto.runtime.places`.

    Raises
    ------
    PictureError
        When it is missing, a folder, no picture, truncated, absurdly large or smaller than 32 x 32 pixels.
    """
    what = f"picture {places.name(place)}"
    with _reading(place) as image:
        photograph = Photograph.of(image, what)
    check_sides(what, *photograph.picture.size)
    return photograph


def read_picture(place: Place) -> Image.Image:
    """Read a picture as `read_photograph` does, for the picture alone: 8-bit sRGB, upright.

    Raises
    ------
    PictureError
        As `read_photograph`.
    """
    return read_photograph(place).picture


@contextlib.contextmanager
def _reading(place: Place) -> Iterator[Image.Image]:
    """Open a picture; whatever goes wrong with it meanwhile becomes a `PictureError` that names it."""
    try:
        if places.is_file(place) and Path(place).is_dir():
            raise IsADirectoryError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice that is refused as a bomb
            with places.opened(place) as file, _open(file) as image:
                yield image
    except PictureError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise PictureError(f"picture {places.name(place)}: {_why_unreadable(error)}") from None


class _WebPageError(UnidentifiedImageError):
    """What should have been a picture is HTML: the address was of a page that shows it."""


def _open(file: IO[bytes]) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, which a JPEG's is looked into for its resolution
            return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        if re.match(rb"(?i)\s*<(!doctype html|html)", file.read(256)):
            raise _WebPageError from None
        raise


def _why_unreadable(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "no such file; check the path"
        case IsADirectoryError():
            return "is a folder; expected a file such as photo.jpg"
        case PermissionError():
            return "may not be read; check its permissions"
        case _WebPageError():
            return "is a web page, not a picture; give the address of the picture itself"
        case UnidentifiedImageError():
            return "not a picture in a format that Pillow reads; use PNG or JPEG"
        case Image.DecompressionBombError():
            return f"refused as a decompression bomb ({str(error).partition(',')[0]}); make it smaller"
        case OSError(strerror=str(reason)):
            return f"cannot be read ({reason}); check the path"
    return f"truncated or damaged ({error}); get a whole copy"


# --- modes and colours ----------------------------------------------------------------------------------------


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode, upright as its EXIF says, as 8-bit sRGB; what is transparent becomes white."""
    return Photograph.of(image).picture


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of 16 bits or floating point with 8: mode L, or LA where a level of it is transparent."""
    if image.mode == "F":
        return Image.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).round().astype(np.uint8))
    if image.mode not in _SIXTEEN_BIT:
        return image
    levels = np.array(image, np.float64)
    grey = Image.fromarray((levels / 257).clip(0, 255).round().astype(np.uint8))
    if "transparency" in image.info:
        opaque = levels != image.info["transparency"]
        return Image.merge("LA", (grey, Image.fromarray(opaque.astype(np.uint8) * 255)))
    return grey


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours, of mode L, RGB or CMYK, and the alpha; None where all is opaque."""
    image = image.convert({"La": "LA", "RGBa": "RGBA", "1": "L"}.get(image.mode, image.mode))
    alpha = None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    mode = {"LA": "L", "L": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    # By way of RGBA: what a palette's or a key's alpha hides, Pillow may blacken when it converts to RGB at once.
    return (image if mode != "RGB" or alpha is None else image.convert("RGBA")).convert(mode), alpha


def _to_srgb(picture: Image.Image, profile: bytes | None, what: str) -> tuple[Image.Image, bytes | None]:
    """Return a picture of mode L, RGB or CMYK in sRGB, and the profile if a result can be given it."""
    if profile:
        try:
            return colors.to_srgb(picture, profile), profile if colors.color_space(profile) == "RGB" else None
        except ValueError as error:
            warnings.warn(f"{what}: its colour profile is ignored: {error}", RuntimeWarning, stacklevel=2)
    return picture.convert("RGB"), None


def _over_white(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    layer = Image.merge("RGBA", (*picture.split(), alpha))
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), layer).convert("RGB")


def check_sides(what: str, width: int, height: int) -> None:
    """Refuse what is too small for the network to look at.

    Raises
    ------
    PictureError
        When either side is below 32 pixels.
    """
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{what}: {width}x{height} pixels; expected {MIN_SIDE} or more on each side")


def as_image(picture: Picture, what: str) -> Image.Image:
    """Return a picture as an 8-bit RGB image; an array (H, W, 3) in 0..255 is rounded and clipped.

    Raises
    ------
    PictureError
        When it is neither an image nor such an array, or too small; `what` names it in the text.
    """
    image = to_rgb(picture) if isinstance(picture, Image.Image) else to_image(to_planes(picture, what))
    check_sides(what, image.width, image.height)
    return image


def to_planes(picture: Picture, what: str) -> Planes:
    """Return a picture as float32 [1, 3, H, W], RGB, 0..255: what a graph takes.

    Raises
    ------
    PictureError
        When it is neither an image nor a finite (H, W, 3) array, or too small; `what` names it in the text.
    """
    array = np.asarray(to_rgb(picture) if isinstance(picture, Image.Image) else picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise PictureError(f"{what}: array {array.dtype}{list(array.shape)}; expected numbers [H, W, 3], RGB, 0..255")
    check_sides(what, array.shape[1], array.shape[0])
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None], np.float32)
    if not np.isfinite(planes).all():
        raise PictureError(f"{what}: has values that are not finite; expected levels 0..255")
    return planes


def to_image(planes: Planes) -> Image.Image:
    """Return float32 [1, 3, H, W] as an 8-bit image, rounded and clipped."""
    return Image.fromarray(planes[0].transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to exactly width x height; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def resize_planes(planes: Planes, width: int, height: int) -> Planes:
    """Resize float32 [1, 3, h, w] to exactly width x height, without rounding or clipping the levels."""
    if planes.shape[2:] == (height, width):
        return planes
    channels = [Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in planes[0]]
    return np.stack([np.asarray(channel) for channel in channels])[None]


def result_size(size: Size, content: Image.Image, size_of: str = "long") -> tuple[int, int]:
    """Return (width, height) of the result: as given, the content's, or in its proportions for so many pixels.

    What the number of pixels is of is one of `impasto.runtime.recipe.SIZES_OF`.

    Raises
    ------
    PictureError
        When a side comes out below 32 pixels.
    """
    width, height = content.size if size == "content" else scaled_size(size, size_of, *content.size)
    check_sides("the result", width, height)
    return width, height


def fitted_size(style: tuple[int, int], recipe: Recipe, width: int, height: int, scale: float = 1.0) -> tuple[int, int]:
    """Return what `fit_style` resizes a style of that width and height to."""
    if recipe.style_fit == "stretch":
        fitted = (width, height)
    else:
        measure = recipe.size_of if recipe.style_fit == "same" else "area"
        fitted = scaled_size(SIZES_OF[measure](width, height), measure, *style)
    return max(MIN_SIDE, round(fitted[0] * scale)), max(MIN_SIDE, round(fitted[1] * scale))


def fit_style(style: Image.Image, recipe: Recipe, width: int, height: int, scale: float = 1.0) -> Image.Image:
    """Resize a style picture as a recipe's `style_fit` says, for a result of width x height; `scale` times that."""
    return resize(style, *fitted_size(style.size, recipe, width, height, scale))


def triptych(content: Image.Image, styles: Sequence[Image.Image], result: Image.Image) -> Image.Image:
    """Set content, styles and result side by side, all as high as the result."""
    height, gap = result.height, max(2, result.height // 60)
    panels = [resize(content, *result.size)]
    panels += [resize(s, max(1, round(s.width * height / s.height)), height) for s in styles]
    panels.append(result)
    sheet = Image.new("RGB", (sum(p.width for p in panels) + gap * (len(panels) - 1), height), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + gap
    return sheet


# --- out ------------------------------------------------------------------------------------------------------


def check_output(place: Place, *, force: bool = False, inputs: Sequence[Place] = ()) -> Place:
    """Make sure, before any work, that a picture can be written to a file, or to standard output (``-``).

    Parameters
    ----------
    force
        Whether a file that is there may be replaced.
    inputs
        Pictures that are being read: files among these are never replaced.

    Raises
    ------
    OutputError
        When the extension is unknown, the folder is missing or not writable, something would be lost, or standard
        output is a terminal.
    """
    suffix = Path(place).suffix
    if places.is_file(place) and suffix.lower() not in _FORMATS:
        raise OutputError(f"output {place}: unknown format {suffix!r}; expected a name ending in {', '.join(_FORMATS)}")
    places.check_destination(place, force=force, inputs=inputs)
    return place


def write_picture(
    image: Image.Image, place: Place, *, like: Photograph | None = None, text: Mapping[str, str] | None = None
) -> None:
    """Write a picture, PNG or JPEG by extension, PNG to standard output (``-``): whole, or not at all.

    Nothing but a place that cannot be written stops it: what a file cannot hold is left out, with a warning.

    Parameters
    ----------
    image
        8-bit sRGB.
    like
        The photograph it was made from: the result gets its colour profile, its EXIF with the result's size and, as
        PNG, its transparency, resized. JPEG has no transparency: there what is transparent is composed over white.
    text
        By keyword (1 to 79 printable Latin-1 characters), what `read_text` finds again: iTXt chunks of a PNG, the
        EXIF's UserComment in a JPEG. A comment that is there moves beneath the keyword ``UserComment``.

    Raises
    ------
    SaveError
        When it cannot be written, for want of space for instance; whatever was there is still there.
    """
    format_ = _FORMATS[Path(place).suffix.lower()] if places.is_file(place) else "PNG"
    places.write(_encode(image, format_, like or Photograph(image), _sound(text or {})), place)


def _encode(image: Image.Image, format_: str, like: Photograph, text: dict[str, str]) -> bytes:
    options = _OPTIONS[format_] | {"exif": _exif_for(like.exif, image.size, format_, text)}
    if format_ == "PNG":
        options["pnginfo"] = _chunks(text)
    image = image.convert("RGB")
    alpha = resize(like.alpha, *image.size) if like.alpha else None
    if alpha and format_ == "JPEG":
        image, alpha = _over_white(image, alpha), None
    image, options["icc_profile"] = _from_srgb(image, like.profile)
    if alpha:
        image.putalpha(alpha)
    encoded = io.BytesIO()  # writing to a full disk itself, Pillow's JPEG encoder notices nothing
    image.save(encoded, format_, **options)
    return encoded.getvalue()


def _from_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Return a copy of an sRGB picture in a profile's colours, and that profile; as it is where that cannot be."""
    image = image.copy()
    image.info.clear()  # Pillow would write what it finds there
    if profile:
        try:
            return colors.from_srgb(image, profile), profile
        except ValueError as error:
            warnings.warn(
                f"the result is sRGB: its colour profile cannot be used: {error}", RuntimeWarning, stacklevel=2
            )
    return image, None


# --- text and EXIF --------------------------------------------------------------------------------------------

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


def read_text(place: Place) -> dict[str, str]:
    """Return the text in a picture as `write_picture` put it there, by keyword; a plain comment is ``UserComment``.

    Raises
    ------
    PictureError
        When it cannot be read; see `read_photograph`.
    """
    with _reading(place) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever else is wrong with the picture
        if image.format == "PNG":
            image.load()  # text may follow the pixels
            return {key: str(value) for key, value in getattr(image, "text", {}).items()}
        return _parse_comment(_comment(image.getexif()))


def _chunks(text: Mapping[str, str]) -> PngInfo:
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value)
    return chunks


def _sound(text: Mapping[str, str]) -> dict[str, str]:
    """Check the keywords; replace what neither UTF-8 nor a PNG can hold."""
    for key in text:
        if not _KEY.fullmatch(key):
            raise ValueError(f"keyword {key!r}: expected 1 to 79 printable characters of Latin-1")
    return {key: value.encode("utf-8", "replace").decode().replace("\0", "\ufffd") for key, value in text.items()}


def _read_exif(image: Image.Image, what: str) -> bytes | None:
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


def _exif_for(old: bytes | None, size: tuple[int, int], format_: str, text: dict[str, str]) -> bytes:
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
    told = _parse_comment(_comment(exif))
    note = {_COMMENT: told[_COMMENT]} if _COMMENT in told else {}
    if text:
        tags[ExifTags.Base.UserComment] = _encode_comment(json.dumps(note | text, ensure_ascii=False), exif)
    elif told != note:  # the record of how the photograph itself was made
        tags[ExifTags.Base.UserComment] = _encode_comment(note.get(_COMMENT, ""), exif)
    if tags:
        exif[ExifTags.IFD.Exif] = tags
    return _mark_undefined(exif.tobytes()) if exif else b""


def _comment(exif: Image.Exif) -> str:
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


def _parse_comment(comment: str) -> dict[str, str]:
    """Return the text that `write_picture` made a comment of; a comment of others as it is."""
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
