"""Photographs: reading them, making them upright 8-bit sRGB, and keeping the data that their result gets back."""

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

#: Orientation (EXIF 2.32, tag 0x0112) -> the turn that makes a picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: The turns that exchange width and height.
_ON_ITS_SIDE = (
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90
)  # fmt: skip

#: The tags of EXIF, and of TIFF 6.0, for the size of a picture as it is stored, and its orientation.
_IMAGE_WIDTH, _IMAGE_LENGTH, _ORIENTATION = 0x0100, 0x0101, 0x0112


@dataclass(frozen=True)
class Photograph:
    """A picture to work on, and the data beside it that its result gets back.

    Attributes
    ----------
    picture
        8-bit sRGB, upright, without transparency; invisible parts continue the colours beside them.
    alpha
        Its opacity, 8 bits (mode L); None if all is opaque.
    profile
        The ICC profile of its file, if it is one for RGB.
    metadata
        The other metadata of its file.
    place
        Its place; None for a picture that was made in memory.
    """

    picture: Image.Image
    alpha: Image.Image | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    place: Place | None = None

    @classmethod
    def given(cls, picture: Picture, subject: str) -> Photograph:
        """Take a picture as users give it.

        Errors and warnings name a picture by its place, one in memory by `subject`. An image that was opened from a
        file has that file as its place. A photograph is returned as it is.

        Raises
        ------
        PictureError
            When it is not a picture, cannot be read, or is smaller than 32 x 32 pixels.
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
        raise PictureError(f"{subject}: is of type {type(picture).__name__}; {expected}{_advice_on(picture)}")

    @classmethod
    def of(cls, image: Image.Image, subject: str = "picture") -> Photograph:
        """Make a photograph of an image of any mode; `subject` names it in errors and warnings.

        Raises
        ------
        PictureError
            When its levels cannot be read, or their meaning is unknown.
        """
        image = decoding.decoded(image, subject)
        with decoding.refusing(subject), decoding.settled():
            metadata, orientation = embedded.read(image, subject)
            turn = _UPRIGHT.get(orientation)
            profile = image.info.get("icc_profile")
            picture, alpha = levels.split(image)
            if picture is image:  # it may be the caller's image
                picture = image.copy()
            del image  # it may be huge
            picture, profile = _to_srgb(picture, profile, subject)
            if alpha is not None:
                picture = levels.spread(picture, alpha)
            if turn is not None:
                picture, alpha = picture.transpose(turn), alpha.transpose(turn) if alpha else None
            for part in (picture, alpha):
                if part is not None:
                    part.info.clear()  # all of it has been applied or kept
            return cls(picture, alpha, profile, metadata)

    def over_white(self, picture: Image.Image | None = None) -> Image.Image:
        """Return a picture of any size, by default this one, over white, with this photograph's opacity."""
        return self.over("white", picture)

    def over(self, ground: str, picture: Image.Image | None = None) -> Image.Image:
        """Return a picture of any size, by default this one, over a colour, with this photograph's opacity."""
        picture = self.picture if picture is None else picture
        if self.alpha is None:
            return picture
        composed = Image.new("RGB", picture.size, ground)
        same = self.alpha.size == picture.size
        composed.paste(picture, mask=self.alpha if same else self.alpha.resize(picture.size, Image.Resampling.LANCZOS))
        return composed


#: A picture as users give it: its place (a file's path, an http or https address), an image of any mode, or an array,
#: [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], of NumPy or another library; see `impasto.runtime.pictures.arrays`.
Picture = Photograph | str | os.PathLike[str] | Image.Image | NDArray[Any]


def read_photograph(place: Place) -> Photograph:
    """Read a picture of any mode, with the data that a result gets back; of an animation, the first frame.

    Parameters
    ----------
    place
        A path, ``-`` for standard input, or an http or https address; see `impasto.runtime.pictures.places`.

    Raises
    ------
    PictureError
        When it is missing, a folder, not a picture, of a format that is not supported, damaged, cut short, too large
        for the free memory, or smaller than 32 x 32 pixels.
    """
    subject = _name(place)
    with decoding.refusing(subject), places.opened(place) as file:
        photograph = Photograph.of(decoding.decode(file, subject, str(place)), subject)
    check_sides(subject, *photograph.picture.size)
    return replace(photograph, place=place)


def read_size(place: Place) -> tuple[int, int]:
    """Return the width and height of a picture, upright by its EXIF, without reading its levels.

    Raises
    ------
    PictureError
        When it is missing, a folder, of a format that is not supported, too large for the memory, or too small.
    """
    subject = _name(place)
    with decoding.refusing(subject), places.opened(place) as file:
        image = decoding.look(file, str(place))
        stored = getattr(image, "tag_v2", {})  # Pillow turns a TIFF while it opens it
        width, height = stored.get(_IMAGE_WIDTH, image.width), stored.get(_IMAGE_LENGTH, image.height)
        exif = Image.Image.getexif(image)  # a PNG's own would read the levels
        turn = _UPRIGHT.get(exif.get(_ORIENTATION, 1))
    check_sides(subject, width, height)
    return (height, width) if turn in _ON_ITS_SIDE else (width, height)


def read_picture(place: Place) -> Image.Image:
    """Read a picture as `read_photograph` does, and return it as 8-bit sRGB, upright, over white.

    Raises
    ------
    PictureError
        As `read_photograph`.
    """
    return read_photograph(place).over_white()


def read_text(place: Place) -> dict[str, str]:
    """Return the text in a picture, by keyword; a plain comment is ``UserComment``.

    `impasto.runtime.pictures.encoding.write_picture` writes such text.

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


def _advice_on(picture: object) -> str:
    """Return advice on an object that is not a picture, but may hold one."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return "; open the bytes of a file with PIL.Image.open(io.BytesIO(...))"
    if hasattr(picture, "read"):
        return "; open a file object with PIL.Image.open"
    return "; give one picture" if isinstance(picture, list | tuple) else ""


def _name(place: Place) -> str:
    return f"picture {places.name(place)}"


def _to_srgb(picture: Image.Image, profile: bytes | None, subject: str) -> tuple[Image.Image, bytes | None]:
    """Return a picture of mode L, RGB or CMYK in sRGB, and its profile if a result can have it."""
    if profile:
        try:
            converted = colors.to_srgb(picture, profile, in_place=True)
            return converted, profile if colors.color_space(profile) == "RGB" else None
        except ValueError as error:
            warnings.warn(f"{subject}: its colour profile is ignored: {error}", RuntimeWarning, stacklevel=2)
    return picture if picture.mode == "RGB" else picture.convert("RGB"), None
