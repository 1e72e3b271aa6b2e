"""Levels of every mode that Pillow has, as 8-bit colours and opacity. Work goes by strips: pictures may be huge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from impasto.runtime.formats.gamma import Gamma
from impasto.runtime.formats.magic import UnreadError

Array = NDArray[Any]
Numbers = type[np.uint32] | type[np.int8]

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT = ("RGBA", "LA", "PA")

#: By this part of their range floating-point levels may leave it, as sharpening and enlarging make them do.
_OVERSHOOT = 0.1

#: Floating-point levels that are on average no less are of 0..255, as Pillow has them, unless some are higher.
_SEEN = 16.0

#: Pixels that are worked on at once.
_STRIP = 1 << 20

#: Tags of a TIFF, and what they may say (TIFF 6.0, sections 8 and 19).
_BITS, _PHOTOMETRIC, _KIND, _LEAST, _MOST = (
    *(ExifTags.Base.BitsPerSample, ExifTags.Base.PhotometricInterpretation, ExifTags.Base.SampleFormat),
    *(ExifTags.Base.SMinSampleValue, ExifTags.Base.SMaxSampleValue),
)
_UNSIGNED, _SIGNED, _WHITE_IS_ZERO = 1, 2, 0


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture's colours, of mode L, RGB or CMYK, and its opacity, mode L; None where all is opaque.

    What the picture's info says of a transparent level, a gamma or primaries is heeded; a profile is not.

    Raises
    ------
    UnreadError
        When levels of more than 16 bits are not finite, or it cannot be told what is black and white.
    """
    info = image.info
    image = _to_eight_bits(image)
    if image.mode in ("La", "RGBa", "1"):
        image = image.convert({"La": "LA", "RGBa": "RGBA", "1": "L"}[image.mode])
    mode = {"LA": "L", "L": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    alpha = None
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        alpha = layer.getchannel("A")
        # By way of RGBA: what a palette's or a key's alpha hides, Pillow may blacken when it converts to RGB at once.
        image = layer if mode == "RGB" else image
        del layer
        if alpha.getextrema() == (255, 255):
            alpha = None
    colors = image if image.mode == mode else image.convert(mode)
    gamma = Gamma.of(info) if mode != "CMYK" else None
    return colors if gamma is None else _without_gamma(colors, gamma), alpha


def spread(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return an RGB picture that goes on where nothing of it is to be seen: its colours run out into there, smoothly.

    Nothing is known of such places, and what lies beside the visible should not be foreign to it: strokes and resizing
    carry some of it across the edge. It is the pull and push of Gortler, Grzeszczuk, Szeliski and Cohen, "The
    Lumigraph" (SIGGRAPH 1996), section 3.4. Where nothing is visible at all, it is white.
    """
    return _spread(picture, alpha.point([0] + [255] * 255))


def _spread(picture: Image.Image, known: Image.Image) -> Image.Image:
    least, most = known.getextrema()
    if least == 255:
        return picture
    if most == 0:
        return Image.new("RGB", picture.size, "white")
    half = -(-picture.width // 2), -(-picture.height // 2)
    masked = Image.new("RGB", picture.size)
    masked.paste(picture, mask=known)
    bands = masked.resize(half, Image.Resampling.BOX).split()
    del masked  # each may be huge
    layer = Image.merge("RGBa", (*bands, known.resize(half, Image.Resampling.BOX))).convert("RGBA")
    small, seen = layer.convert("RGB"), layer.getchannel("A").point([0] + [255] * 255)
    del bands, layer
    coarse = _spread(small, seen)
    filled = coarse.resize(picture.size, Image.Resampling.BILINEAR)
    filled.paste(picture, mask=known)
    return filled


# --- by strips ------------------------------------------------------------------------------------------------


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return boxes of whole lines that make up a picture."""
    step = max(1, _STRIP // image.width)
    return [(0, y, image.width, min(y + step, image.height)) for y in range(0, image.height, step)]


def _converted(image: Image.Image, mode: str, convert: Callable[[Array], Array]) -> Image.Image:
    """Return a picture of that mode, its levels made of another's."""
    converted = Image.new(mode, image.size)
    for box in _strips(image):
        converted.paste(Image.fromarray(convert(np.asarray(image.crop(box)))), box)
    return converted


def _without_gamma(colors: Image.Image, gamma: Gamma) -> Image.Image:
    """Return sRGB of a picture of mode L or RGB that has a gamma."""
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    if gamma.matrix is None or colors.mode == "L":
        curve = (gamma.to_srgb(steps[:, None])[:, 0] * 255).round().astype(int).tolist()
        return colors.point(curve * len(colors.getbands()))
    return _converted(colors, "RGB", lambda levels: (gamma.to_srgb(steps[levels]) * 255).round().astype(np.uint8))


# --- more than eight bits -------------------------------------------------------------------------------------


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of one channel of 16 or 32 bits with 8: mode L, or LA where a level of it is transparent."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    meant = _meant(image.mode, tags)
    if image.mode not in (*_SIXTEEN_BIT, "I", "F") and meant is None:
        return image
    black, white = _range(image, tags, meant)
    key = image.info.get("transparency")

    def convert(levels: Array) -> Array:
        exact = _as_numbers(levels, meant)
        grey = ((exact - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)
        return grey if key is None else np.stack([grey, np.where(exact == key, 0, 255).astype(np.uint8)], -1)

    return _converted(image, "L" if key is None else "LA", convert)


def _meant(mode: str, tags: Mapping[int, Any]) -> Numbers | None:
    """Return which numbers the levels of a TIFF are, where Pillow takes them for others; untold they have no sign."""
    kind = (_first(tags, _KIND) or _UNSIGNED) if tags else None
    if (mode, kind) == ("I", _UNSIGNED):
        return np.uint32
    return np.int8 if (mode, kind) == ("L", _SIGNED) else None


def _as_numbers(levels: Array, meant: Numbers | None) -> NDArray[np.float64]:
    return (levels if meant is None else levels.view(meant)).astype(np.float64)


def _range(image: Image.Image, tags: Mapping[int, Any], meant: Numbers | None) -> tuple[float, float]:
    """Return which levels are black and white."""
    if image.mode in _SIXTEEN_BIT:
        black, white = 0.0, 2.0 ** (_first(tags, _BITS) or 16) - 1
    else:
        limits = _told(tags)
        low, high, mean = _extremes(image, meant)
        if limits:
            black, white = limits
        elif image.mode == "F":
            black, white = _of_floats(low, high, mean)
        else:
            black, white = _of_integers(low, high, tags, signed=meant is not np.uint32)
    return (white, black) if _first(tags, _PHOTOMETRIC) == _WHITE_IS_ZERO else (black, white)


def _told(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """Return the range that a TIFF says its samples have, if it does."""
    least, most = _first(tags, _LEAST), _first(tags, _MOST)
    if least is None or most is None or not (np.isfinite(least) and np.isfinite(most) and least < most):
        return None
    return float(least), float(most)


def _of_floats(low: float, high: float, mean: float) -> tuple[float, float]:
    for white in (1.0, 255.0):
        if -_OVERSHOOT * white <= low and high <= (1 + _OVERSHOOT) * white and (white == 1 or mean >= _SEEN):
            return 0.0, white
    raise UnreadError(
        f"its levels are floating-point numbers from {low:g} to {high:g}, and what is white cannot be told; "
        "expected 0 (black) to 1 (white): scale them, or save it with 8 or 16 bits"
    )


def _of_integers(low: float, high: float, tags: Mapping[int, Any], *, signed: bool) -> tuple[float, float]:
    """Return black and white of integers that Pillow holds in 32 bits, whatever they had in the file.

    From a TIFF of 32 bits what it holds may have been of 8 or 16: as 32 bits it would be black all over.
    """
    bits = _first(tags, _BITS)
    if bits is None:  # PNG and PPM of 16 bits, or from Python, where 16 bits are what Pillow means by it
        ranges = [16]
    elif bits <= 16:  # signed: others have a mode of their own
        ranges = [bits - 1]
    else:
        ranges = [8, 16, bits - signed]
    white = next((2.0**depth - 1 for depth in ranges if high < 2.0**depth), None)
    if low < 0 or white is None:
        raise UnreadError(
            f"its levels are integers from {low:.0f} to {high:.0f}, and what is black and white cannot be told; "
            "save it with 8 or 16 bits, without a sign"
        )
    return 0.0, white


def _extremes(image: Image.Image, meant: Numbers | None) -> tuple[float, float, float]:
    """Return the lowest and the highest level, and about the mean."""
    ranges = list[tuple[float, float, float]]()
    for box in _strips(image):
        levels = _as_numbers(np.asarray(image.crop(box)), meant)
        if not np.isfinite(levels).all():
            raise UnreadError("it has levels that are not finite numbers; expected 0 (black) to 1 (white)")
        ranges.append((float(levels.min()), float(levels.max()), float(levels.mean())))
    lows, highs, means = zip(*ranges, strict=True)
    return min(lows), max(highs), sum(means) / len(means)


def _first(tags: Mapping[int, Any], tag: int) -> Any:
    """Return the first value of a tag, or None."""
    value = tags.get(tag)
    return next(iter(value), None) if isinstance(value, tuple) else value
