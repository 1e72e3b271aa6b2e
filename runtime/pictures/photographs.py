"""Photographs as they are given: read, made upright 8-bit sRGB, and what their result should have again."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import PictureError
from impasto.runtime.formats import embedded, png
from impasto.runtime.formats.embedded import Metadata
from impasto.runtime.pictures import arrays, colors, decoding, levels, places
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.sizes import check_sides

#: How a picture is turned upright, by its orientation (EXIF 2.32, tag 0x0112).
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
        8-bit sRGB, upright: its colours as they would be opaque; where nothing is visible, those beside go on.
    alpha
        Its opacity, 8 bits (mode L), or None where all is opaque.
    profile
        The ICC profile it came with, if that is one for RGB.
    metadata
        What else its file told.
    place
        Where it came from; None for what was made in memory.
    """

    picture: Image.Image
    alpha: Image.Image | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    place: Place | None = None

    @classmethod
    def given(cls, picture: Picture, subject: str) -> Photograph:
        """Take a picture as users give it; `subject` names one in memory in errors and warnings, its place any other.

        An image that was opened from a file is taken to come from there. A photograph is taken as it is.

        Raises
        ------
        PictureError
            When it is none, cannot be read, or is smaller than 32 x 32 pixels.
        """
        if isinstance(picture, Photograph):
            return picture
        if isinstance(picture, str | os.PathLike):
            return read_photograph(picture if isinstance(picture, str) else Path(os.fsdecode(picture)))
        if isinstance(picture, Image.Image):
            check_sides(subject, *picture.size)
            opened = getattr(picture, "filename", None)
            place = Path(os.fsdecode(opened)) if opened and isinstance(opened, str | bytes | os.PathLike) else None
            return replace(cls.of(picture, subject), place=place)
        if arrays.is_array(picture):
            image = arrays.to_image(picture, subject)
            check_sides(subject, *image.size)
            return cls.of(image, subject)
        expected = "expected a path, an address, a PIL image or an array [H, W, 3]"
        raise PictureError(f"{subject}: is of type {type(picture).__name__}; {expected}{_opened_by(picture)}")

    @classmethod
    def of(cls, image: Image.Image, subject: str = "picture") -> Photograph:
        """Take a picture of any mode apart; `subject` names it in errors and warnings.

        Raises
        ------
        PictureError
            When its levels cannot be read, or it cannot be told what they mean.
        """
        image = decoding.decoded(image, subject)
        with decoding.refusing(subject), decoding.settled():
            metadata, orientation = embedded.read(image, subject)
            turn = _UPRIGHT.get(orientation)
            profile = image.info.get("icc_profile")
            picture, alpha = levels.split(image)
            if picture is image:  # which is the caller's, perhaps
                picture = image.copy()
            del image  # it may be huge
            picture, profile = _to_srgb(picture, profile, subject)
            if alpha is not None:
                picture = levels.spread(picture, alpha)
            if turn is not None:
                picture, alpha = picture.transpose(turn), alpha.transpose(turn) if alpha else None
            for part in (picture, alpha):
                if part is not None:
                    part.info.clear()  # what it says has been heeded
            return cls(picture, alpha, profile, metadata)

    def over_white(self, picture: Image.Image | None = None) -> Image.Image:
        """Return a picture, by default this, over white: as opaque as this photograph, whatever its size."""
        shown = self.picture if picture is None else picture
        if self.alpha is None:
            return shown
        composed = Image.new("RGB", shown.size, "white")
        same = self.alpha.size == shown.size
        composed.paste(shown, mask=self.alpha if same else self.alpha.resize(shown.size, Image.Resampling.LANCZOS))
        return composed


#: What may be given for a picture: where it is (a file's path, an http or https address), an image of any mode, an
#: array, [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], NumPy's or another library's; see
#: `impasto.runtime.pictures.arrays`.
Picture = Photograph | str | os.PathLike[str] | Image.Image | NDArray[Any]


def read_photograph(place: Place) -> Photograph:
    """Read a picture of any mode, and what to restore in a result; of an animation, the first frame.

    Parameters
    ----------
    place
        A path, ``-`` for standard input, or an http or https address; see `impasto.runtime.pictures.places`.

    Raises
    ------
    PictureError
        When it is missing, a folder, no picture, of a format that is not read, damaged, cut short, too large for the
        memory there is, or smaller than 32 x 32 pixels.
    """
    subject = _name(place)
    with decoding.refusing(subject), places.opened(place) as file:
        photograph = Photograph.of(decoding.decode(file, subject, str(place)), subject)
    check_sides(subject, *photograph.picture.size)
    return replace(photograph, place=place)


def read_picture(place: Place) -> Image.Image:
    """Read a picture as `read_photograph` does, as it looks: 8-bit sRGB, upright, over white.

    Raises
    ------
    PictureError
        As `read_photograph`.
    """
    return read_photograph(place).over_white()


def read_text(place: Place) -> dict[str, str]:
    """Return the text in a picture, by keyword; a plain comment is ``UserComment``.

    It is what `impasto.runtime.pictures.encoding.write_picture` put there.

    Raises
    ------
    PictureError
        When it cannot be read; see `read_photograph`.
    """
    subject = _name(place)
    with decoding.refusing(subject), places.opened(place) as file:
        if file.read(len(png.SIGNATURE)) == png.SIGNATURE:
            file.seek(0)
            return png.read(file).extras.text
        image = decoding.decode(file, subject, str(place))
        return embedded.comment_text(image)


def _opened_by(picture: object) -> str:
    """Return what to do with what is not taken for a picture, and may hold one."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return "; open the bytes of a file with PIL.Image.open(io.BytesIO(...))"
    if hasattr(picture, "read"):
        return "; open a file object with PIL.Image.open"
    return "; give one picture" if isinstance(picture, list | tuple) else ""


def _name(place: Place) -> str:
    return f"picture {places.name(place)}"


def _to_srgb(picture: Image.Image, profile: bytes | None, subject: str) -> tuple[Image.Image, bytes | None]:
    """Return a picture of mode L, RGB or CMYK in sRGB, and the profile if a result can be given it."""
    if profile:
        try:
            converted = colors.to_srgb(picture, profile, in_place=True)
            return converted, profile if colors.color_space(profile) == "RGB" else None
        except ValueError as error:
            warnings.warn(f"{subject}: its colour profile is ignored: {error}", RuntimeWarning, stacklevel=2)
    return picture if picture.mode == "RGB" else picture.convert("RGB"), None
