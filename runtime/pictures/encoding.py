"""Writing pictures: PNG and JPEG files with their metadata, whole or not at all."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.runtime.errors import OutputError
from impasto.runtime.formats import embedded
from impasto.runtime.formats.containers import can_hold, with_metadata
from impasto.runtime.pictures import colors, places
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.planes import resize

#: Extension -> the format that is written.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OPTIONS: dict[str, dict[str, Any]] = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}}

#: A warning names no more parts that are left out.
_NAMED = 5


def check_output(place: Place, *, force: bool = False, inputs: Sequence[Place] = (), again: bool = False) -> Place:
    """Make sure, before any work, that a picture can be written to a file, or to standard output (``-``).

    Parameters
    ----------
    force
        Whether an existing file may be replaced.
    inputs
        The pictures that are read: files among these are never replaced.
    again
        Whether it will be written more than once.

    Raises
    ------
    OutputError
        When the extension is unknown, the folder is missing or not writable, another file would be lost, or standard
        output is a terminal.
    """
    if _format(place) is None:
        raise unknown_format(place)
    places.check_destination(place, force=force, inputs=inputs, again=again)
    return place


def write_picture(
    image: Image.Image,
    place: Place,
    *,
    like: Photograph | None = None,
    text: Mapping[str, str] | None = None,
    replace: bool = True,
) -> None:
    """Write a picture, whole or not at all: PNG or JPEG by extension, PNG to standard output, a device or a pipe.

    Metadata that the file cannot hold are left out, with a warning.

    Parameters
    ----------
    image
        An 8-bit sRGB picture.
    like
        The photograph it was made from. The result gets its colour profile, its metadata, with the result's size, and,
        as PNG, its transparency, resized. JPEG has no transparency: there the picture is put over white. The density of
        pixels does not depend on the size: the result prints larger or smaller.
    text
        Keyword (1 to 79 printable Latin-1 characters) -> text, which `read_text` returns: iTXt chunks of a PNG, the
        EXIF's UserComment in a JPEG. A comment of the photograph moves to the keyword ``UserComment``.
    replace
        Whether an existing file may be replaced.

    Raises
    ------
    NameTaken
        When there is a file that may not be replaced: the picture is in another file beside it.
    SaveError
        When it cannot be written, for instance because the disk is full; a file that was there before is unchanged.
    """
    parts = _encode(image, _format(place) or "PNG", like or Photograph(image), embedded.sound(text or {}))
    with places.replacing(place, replace=replace) as file:
        for part in parts:
            file.write(part)


def unknown_format(place: Place) -> OutputError:
    """Return the error of a name with no extension of `FORMATS`."""
    expected = f"expected a name ending in {', '.join(FORMATS)}"
    return OutputError(f"output {places.name(place)}: unknown format {Path(place).suffix!r}; {expected}")


def _format(place: Place) -> str | None:
    """Return the format for a place, by its extension; without one, PNG for standard output, a device or a pipe."""
    format_ = FORMATS.get(Path(place).suffix.lower()) if places.is_file(place) else "PNG"
    return "PNG" if format_ is None and places.is_stream(place) else format_


def _encode(image: Image.Image, format_: str, like: Photograph, text: dict[str, str]) -> tuple[bytes | memoryview, ...]:
    """Return the parts of the file of a picture."""
    alpha = resize(like.alpha, *image.size) if like.alpha else None
    if alpha and format_ == "JPEG":
        image, alpha = like.over_white(image), None
    given = image
    image, profile = _from_srgb(image, like.profile, format_)
    if image is given and (alpha or image.info or type(image) is not Image.Image):
        image = image.copy()
        image.info.clear()  # Pillow would write what it knows of an opened file
    if alpha:
        image.putalpha(alpha)
    encoded = io.BytesIO()  # Pillow's JPEG encoder would not notice a full disk
    image.save(encoded, format_, **_OPTIONS[format_])
    parts, lost = with_metadata(encoded.getvalue(), format_, image.size, like.metadata, text, profile)
    _warn(lost, like.metadata.left_out)
    return parts


def _warn(lost: str, left_out: Sequence[str]) -> None:
    """Warn once of the metadata that the result lacks; of those that no result gets, name the first few."""
    reasons = [f"{lost} left out: more than a JPEG can hold; PNG can"] if lost else []
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        reasons.append(
            f"the photograph's {', '.join(left_out[:_NAMED])}{more} left out: it may not be true of the result"
        )
    if reasons:
        warnings.warn("; ".join(reasons), RuntimeWarning, stacklevel=4)


def _from_srgb(image: Image.Image, profile: bytes | None, format_: str) -> tuple[Image.Image, bytes]:
    """Return an sRGB picture in a profile's colours, and that profile; as it is, in sRGB, if this is impossible."""
    if profile:
        try:
            if not can_hold(profile, format_):
                raise ValueError(f"it is larger than a {format_} can hold")
            return colors.from_srgb(image, profile), profile
        except ValueError as error:
            warnings.warn(
                f"the result is sRGB: its colour profile cannot be used: {error}", RuntimeWarning, stacklevel=4
            )
    return image, b""
