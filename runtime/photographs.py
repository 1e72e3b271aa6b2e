"""Photographs as they are given: read, made upright 8-bit sRGB, and what their result should have again."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from impasto.runtime import colors, embedded, places
from impasto.runtime.embedded import Metadata
from impasto.runtime.errors import PictureError
from impasto.runtime.places import Place
from impasto.runtime.sizes import check_sides

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")

#: What makes a picture upright, by its orientation as EXIF 2.32 numbers it.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
    metadata
        What else its file told.
    """

    picture: Image.Image
    alpha: Image.Image | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @classmethod
    def of(cls, image: Image.Image, what: str = "picture") -> Photograph:
        """Take a picture of any mode apart; `what` names it in warnings of a damaged profile or EXIF."""
        metadata, orientation = embedded.read(image, what)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        profile = image.info.get("icc_profile")
        picture, alpha = _split(_to_eight_bits(image))
        picture, profile = _to_srgb(picture, profile, what)
        if alpha is not None:
            picture = over_white(picture, alpha)
        picture.info.clear()  # what it says has been heeded
        return cls(picture, alpha, profile, metadata)


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


def read_text(place: Place) -> dict[str, str]:
    """Return the text in a picture, by keyword; a plain comment is ``UserComment``.

    It is what `impasto.runtime.encoding.write_picture` put there.

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
        return embedded.comment_text(image)


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
            converted = colors.to_srgb(picture, profile, in_place=True)
            return converted, profile if colors.color_space(profile) == "RGB" else None
        except ValueError as error:
            warnings.warn(f"{what}: its colour profile is ignored: {error}", RuntimeWarning, stacklevel=2)
    return picture.convert("RGB"), None


def over_white(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """Compose an RGB picture over white, as opaque as `alpha` (mode L) says."""
    layer = Image.merge("RGBA", (*picture.split(), alpha))
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), layer).convert("RGB")
