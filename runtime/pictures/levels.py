"""Levels of every mode that Pillow has, as 8-bit colours and opacity. Huge pictures are converted in strips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from impasto.runtime.formats.gamma import Gamma
from impasto.runtime.formats.magic import UnreadError
from impasto.runtime.pictures import strips

Array = NDArray[Any]
Numbers = type[np.uint32] | type[np.int8]

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT = ("RGBA", "LA", "PA")

#: Floating-point levels may leave their range by this part of it: sharpening and enlarging cause this.
_OVERSHOOT = 0.1

#: Floating-point levels have the range 0..255, as in Pillow, if their mean is no less than this and none is higher.
_SEEN = 16.0

#: Tags of a TIFF, and some of their values (TIFF 6.0, sections 8 and 19).
_BITS, _PHOTOMETRIC, _KIND, _LEAST, _MOST = (
    *(ExifTags.Base.BitsPerSample, ExifTags.Base.PhotometricInterpretation, ExifTags.Base.SampleFormat),
    *(ExifTags.Base.SMinSampleValue, ExifTags.Base.SMaxSampleValue),
)
_UNSIGNED, _SIGNED, _WHITE_IS_ZERO = 1, 2, 0


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture's colours, of mode L, RGB or CMYK, and its opacity, mode L; None if all is opaque.

    A transparent level, a gamma and primaries in the picture's info are applied; a profile is not.

    Raises
    ------
    UnreadError
        When levels of more than 16 bits are not finite, or their black and white are unknown.
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
        # Convert by way of RGBA: directly to RGB, Pillow may blacken colours that a palette's or a key's alpha hides.
        image = layer if mode == "RGB" else image
        del layer
        if alpha.getextrema() == (255, 255):
            alpha = None
    colors = image if image.mode == mode else image.convert(mode)
    gamma = Gamma.of(info) if mode != "CMYK" else None
    return colors if gamma is None else _without_gamma(colors, gamma), alpha


def spread(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return an RGB picture whose invisible parts continue the colours of the visible parts smoothly.

    The colours of invisible parts are unknown. They should fit those beside them, since strokes and resizing carry some
    of them across the edge. This is the pull and push of Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph"
    (SIGGRAPH 1996), section 3.4. A picture without visible parts becomes white.
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


def _converted(image: Image.Image, mode: str, convert: Callable[[Array], Array]) -> Image.Image:
    """Return a picture of that mode; `convert` makes its levels from those of another picture."""
    return strips.painted(mode, image.size, lambda strip: convert(strips.levels(image, strip)))


def _without_gamma(colors: Image.Image, gamma: Gamma) -> Image.Image:
    """Return a picture of mode L or RGB that has a gamma in sRGB."""
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    if gamma.matrix is None or colors.mode == "L":
        curve = (gamma.to_srgb(steps[:, None])[:, 0] * 255).round().astype(int).tolist()
        return colors.point(curve * len(colors.getbands()))
    return _converted(colors, "RGB", lambda levels: (gamma.to_srgb(steps[levels]) * 255).round().astype(np.uint8))


# --- more than eight bits -------------------------------------------------------------------------------------


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of one channel of 16 or 32 bits with 8 bits: mode L, or LA if a level of it is transparent."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    numbers = _number_type(image.mode, tags)
    if image.mode not in (*_SIXTEEN_BIT, "I", "F") and numbers is None:
        return image
    black, white = _black_and_white(image, tags, numbers)
    key = image.info.get("transparency")

    def convert(levels: Array) -> Array:
        exact = _as_numbers(levels, numbers)
        grey = ((exact - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)
        return grey if key is None else np.stack([grey, np.where(exact == key, 0, 255).astype(np.uint8)], -1)

    return _converted(image, "L" if key is None else "LA", convert)


def _number_type(mode: str, tags: Mapping[int, Any]) -> Numbers | None:
    """Return the type of the levels of a TIFF, if Pillow takes them for another type; by default they have no sign."""
    kind = (_first(tags, _KIND) or _UNSIGNED) if tags else None
    if (mode, kind) == ("I", _UNSIGNED):
        return np.uint32
    return np.int8 if (mode, kind) == ("L", _SIGNED) else None


def _as_numbers(levels: Array, numbers: Numbers | None) -> NDArray[np.float64]:
    return (levels if numbers is None else levels.view(numbers)).astype(np.float64)


def _black_and_white(image: Image.Image, tags: Mapping[int, Any], numbers: Numbers | None) -> tuple[float, float]:
    """Return the levels of black and white."""
    if image.mode in _SIXTEEN_BIT:
        black, white = 0.0, 2.0 ** (_first(tags, _BITS) or 16) - 1
    else:
        stated = _stated_range(tags)
        low, high, mean = _extremes(image, numbers)
        if stated:
            black, white = stated
        elif image.mode == "F":
            black, white = _of_floats(low, high, mean)
        else:
            black, white = _of_integers(low, high, tags, signed=numbers is not np.uint32)
    return (white, black) if _first(tags, _PHOTOMETRIC) == _WHITE_IS_ZERO else (black, white)


def _stated_range(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """Return the range of samples that a TIFF states; None if it states none."""
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
    """Return the black and white of integers that Pillow holds in 32 bits; in the file they may have had fewer.

    The levels in a TIFF of 32 bits may have a range of 8 or 16 bits: with a range of 32 bits, all would be black.
    """
    bits = _first(tags, _BITS)
    if bits is None:  # PNG and PPM of 16 bits; or from Python, where Pillow's 32 bits stand for 16
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


def _extremes(image: Image.Image, numbers: Numbers | None) -> tuple[float, float, float]:
    """Return the lowest and the highest level, and the approximate mean."""
    ranges = list[tuple[float, float, float]]()
    for strip in strips.rows(*image.size):
        levels = _as_numbers(strips.levels(image, strip), numbers)
        if not np.isfinite(levels).all():
            raise UnreadError("it has levels that are not finite numbers; expected 0 (black) to 1 (white)")
        ranges.append((float(levels.min()), float(levels.max()), float(levels.mean())))
    lows, highs, means = zip(*ranges, strict=True)
    return min(lows), max(highs), sum(means) / len(means)


def _first(tags: Mapping[int, Any], tag: int) -> Any:
    """Return the first value of a tag, or None."""
    value = tags.get(tag)
    return next(iter(value), None) if isinstance(value, tuple) else value
