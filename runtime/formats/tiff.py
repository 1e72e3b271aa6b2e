"""TIFF files that Pillow would misread: corrected if that is simple, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageFile

from impasto.runtime.formats.magic import ADVICE, UnreadError

#: Tags of a TIFF: the kind of its first picture, the storage of samples, the offsets of other pictures, the version of
#: DNG (TIFF 6.0; DNG 1.7).
_REDUCED, _BITS, _SAMPLES, _PLANES, _OTHERS, _DNG = 254, 258, 277, 284, 330, 50706
_SEPARATE = 2

#: With libtiff, Pillow reads four separate planes at most; in these modes it misplaces the second plane.
_MOST_LAYERS, _GREY_AND_ALPHA = 4, ("LA", "La", "PA")

#: Pillow's name for levels in a file's byte order -> its name for them in the machine's order, which libtiff returns.
_NATIVE = {
    **{"F;32F": "F;32NF", "F;32BF": "F;32NF", "I;16S": "I;16NS", "I;16BS": "I;16NS"},
    **{"I;32S": "I;32NS", "I;32BS": "I;32NS"},
}


def prepare(image: Image.Image) -> None:
    """Check an open TIFF before its levels are read, and correct its byte order.

    Raises
    ------
    UnreadError
        When it is a raw camera file, or Pillow would misread its samples.
    ValueError
        When lines are missing.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if _DNG in tags or (_OTHERS in tags and tags.get(_REDUCED) == 1):  # Pillow would read a thumbnail
        raise UnreadError(f"is a raw camera file, and those are not read; develop it, and {ADVICE}")
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:  # it has been read
        return
    tiles: list[Any] = image.tile
    by_libtiff = tiles[0][0] == "libtiff"
    layers = tags.get(_SAMPLES, 1) if tags.get(_PLANES) == _SEPARATE else 1
    if layers > 1:
        _check_layers(image, layers, max(tags.get(_BITS, (1,))), by_libtiff)
    expected = image.width * image.height * (1 if by_libtiff else layers)
    if sum((right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in tiles) < expected:
        raise ValueError("some of its lines are missing")  # Pillow would leave them black
    if by_libtiff:
        image.tile = [_in_native_order(tile) for tile in tiles]


def _check_layers(image: Image.Image, layers: int, bits: int, by_libtiff: bool) -> None:
    """Refuse separate planes that Pillow would read as noise, or not at all."""
    fits = layers <= _MOST_LAYERS if by_libtiff else bits == 8 and layers == len(image.getbands())
    if image.mode in _GREY_AND_ALPHA or not fits:
        raise UnreadError(f"is a TIFF file of a kind that is not read ({layers} separate planes); {ADVICE}")


def _in_native_order(tile: Any) -> Any:
    """Return a tile with the machine's byte order, in which libtiff returns levels from files of either order."""
    args = (_NATIVE.get(tile[3][0], tile[3][0]), *tile[3][1:])
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)  # older Pillows: a tuple
