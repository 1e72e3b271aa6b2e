"""TIFF files that Pillow would misread, by what it is about to do: put right where that is simple, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageFile

from impasto.runtime.formats.magic import ADVICE, UnreadError

#: Tags of a TIFF: what its first picture is, how samples are stored, where other pictures are, and which DNG it is
#: (TIFF 6.0; DNG 1.7).
_REDUCED, _BITS, _SAMPLES, _PLANES, _OTHERS, _DNG = 254, 258, 277, 284, 330, 50706
_SEPARATE = 2

#: Of separate planes Pillow has libtiff read the first four, and puts the second of these modes where green would be.
_MOST_LAYERS, _GREY_AND_ALPHA = 4, ("LA", "La", "PA")

#: Pillow's names for levels in a file's order of bytes -> in the machine's, which libtiff gives.
_NATIVE = {
    **{"F;32F": "F;32NF", "F;32BF": "F;32NF", "I;16S": "I;16NS", "I;16BS": "I;16NS"},
    **{"I;32S": "I;32NS", "I;32BS": "I;32NS"},
}


def prepare(image: Image.Image) -> None:
    """Look at a TIFF that was opened before its levels are read.

    Raises
    ------
    UnreadError
        When it is a raw camera file, or its samples are stored in a way that Pillow takes for another.
    ValueError
        When lines are missing.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if _DNG in tags or (_OTHERS in tags and tags.get(_REDUCED) == 1):  # what Pillow finds is a thumbnail
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
        raise ValueError("some of its lines are missing")  # where Pillow would leave it black
    if by_libtiff:
        image.tile = [_in_native_order(tile) for tile in tiles]


def _check_layers(image: Image.Image, layers: int, bits: int, by_libtiff: bool) -> None:
    """Refuse separate planes that do not come out as they are: Pillow reads some as noise, and some as nothing."""
    fits = layers <= _MOST_LAYERS if by_libtiff else bits == 8 and layers == len(image.getbands())
    if image.mode in _GREY_AND_ALPHA or not fits:
        raise UnreadError(f"is a TIFF file of a kind that is not read ({layers} separate planes); {ADVICE}")


def _in_native_order(tile: Any) -> Any:
    """Return what is to be read by libtiff, which gives the machine's order of bytes whatever the file's is."""
    args = (_NATIVE.get(tile[3][0], tile[3][0]), *tile[3][1:])
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)  # older Pillows: a tuple
