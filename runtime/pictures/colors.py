"""Colours of 8-bit images: keeping the photograph's, matching the painting's to them, mixing, and colour profiles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

from impasto.runtime.errors import InputError
from impasto.runtime.pictures import strips
from impasto.runtime.pictures.edges import colors_along
from impasto.runtime.pictures.lab import from_lab, to_lab
from impasto.runtime.plan.plan import KEEP_EDGES

Array = NDArray[np.float64]
Levels = NDArray[np.float32]

#: Colours whose statistics are wanted: 8-bit RGB, or levels [..., 3].
Colors = Image.Image | NDArray[np.floating]

#: The mean [3] and the covariance [3, 3] of colours.
Statistics = tuple[Array, Array]

#: The coefficients of luma, the Y of YIQ and YCbCr, in R'G'B': ITU-R BT.601-7, section 2.5.1.
LUMA = (0.299, 0.587, 0.114)

#: A smaller deviation of a picture's levels from their mean, in any direction of colour, is noise: it is amplified no
#: more than a deviation of so many levels would be.
NOISE = 4.0


# --- the photograph's colours ---------------------------------------------------------------------------------


def keep_colors(result: Image.Image, content: Image.Image) -> Image.Image:
    """Return the result's luma with the content's chroma, moved to the result's edges: strokes in its colours.

    As `keep_pixels`, but where strokes have moved an edge of lightness, the colours move with it: see
    `impasto.runtime.pictures.edges`. So no halo of the photograph's colour stays behind.

    Parameters
    ----------
    result, content
        8-bit RGB; the content is resized to the result's size.

    Returns
    -------
    Image
        8-bit RGB; its luma is the result's, up to rounding.
    """
    content = _fitted(content, result)
    colors = colors_along(result, content)
    return strips.painted("RGB", result.size, lambda rows: _rounded(_with_chroma(_levels(result, rows), colors(rows))))


def keep_pixels(result: Image.Image, content: Image.Image) -> Image.Image:
    """Return the result's luma with the content's chroma, pixel by pixel.

    Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic Style Transfer" (2016,
    arXiv:1606.05897), luminance-only transfer: Y of one picture with I and Q of the other. As grey has neither I nor Q,
    this adds the difference in luma to R, G and B alike. If a level leaves 0..255, the chroma is scaled down until it
    fits: clipping would change luma and hue.

    Parameters
    ----------
    result, content
        8-bit RGB; the content is resized to the result's size.

    Returns
    -------
    Image
        8-bit RGB; its luma is the result's, up to rounding.
    """
    return _combined(result, content, _with_chroma)


def _with_chroma(levels: Levels, colors: Levels) -> Levels:
    """Return the luma of levels, [..., 3], with the chroma of colours, as far as it fits."""
    luma = levels @ np.array(LUMA, np.float32)
    return _fitting(luma, colors - (colors @ np.array(LUMA, np.float32))[..., None])


def _fitting(luma: Levels, chroma: Levels) -> Levels:
    """Return levels of a luma, [...] within 0..255, with the chroma, [..., 3], scaled down until they are, too."""
    room = np.where(chroma > 0, 255 - luma[..., None], luma[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):  # no chroma fits into any room: the minimum ignores NaN
        factor = np.fmin.reduce(room / np.abs(chroma), axis=-1, keepdims=True, initial=1)
    return (luma[..., None] + factor * chroma).astype(np.float32, copy=False)


# --- the painting's colours, matched --------------------------------------------------------------------------


def match_colors(style: Image.Image, content: Image.Image) -> Image.Image:
    """Return the style picture in the content's colours: their mean and covariance become the content's.

    This is the first of the two methods of Gatys et al. (2016, as above), with the linear map of `color_map`.

    Parameters
    ----------
    style, content
        8-bit RGB of any sizes.

    Returns
    -------
    Image
        8-bit RGB of the style's size; levels outside 0..255 are clipped.
    """
    matrix, shift = (values.astype(np.float32) for values in color_map(style, content))
    return strips.painted("RGB", style.size, lambda rows: _rounded(_levels(style, rows) @ matrix + shift))


def with_colors(planes: Levels, target: Statistics, *, of: Levels | None = None) -> Levels:
    """Return a picture, float32 [1, 3, H, W], with the mean and covariance of its colours changed by `color_map`.

    Its levels may be beyond 0..255, before as after. The map is that of the colours of a part, `of`, if one is given.
    """
    own = statistics((planes if of is None else of)[0].transpose(1, 2, 0))
    matrix, shift = (values.astype(np.float32) for values in map_between(own, target, NOISE))
    changed = np.empty_like(planes)
    for rows in strips.rows(planes.shape[3], planes.shape[2]):
        changed[0][:, rows] = np.tensordot(matrix.T, planes[0][:, rows], 1) + shift[:, None, None]
    return changed


def mixture(parts: Sequence[tuple[Statistics, float]]) -> Statistics:
    """Return the mean and the covariance of a mixture of colours; `parts` are the statistics, and the share, of each.

    Of shares w, means m and covariances C: the mean m0 = sum w m, and sum w (C + (m - m0)(m - m0)^T).
    """
    mean = sum((share * own for (own, _), share in parts), np.zeros(3))
    spread = (share * (own + np.outer(m - mean, m - mean)) for (m, own), share in parts)
    return mean, sum(spread, np.zeros((3, 3)))


def match_in_lab(style: Image.Image, content: Image.Image) -> Image.Image:
    """Return the style picture in the content's colours: their mean and covariance in CIELAB become the content's.

    As `match_colors`, but lightness and chroma are those that the eye sees. Where a colour is outside sRGB, chroma is
    scaled down until it fits, as in `keep_pixels`.

    Parameters
    ----------
    style, content
        8-bit RGB of any sizes.

    Returns
    -------
    Image
        8-bit RGB of the style's size.
    """
    matrix, shift = map_between(statistics(style, _lab), statistics(content, _lab), NOISE * 100 / 255)

    def matched(rows: slice) -> NDArray[np.uint8]:
        levels = from_lab(to_lab(strips.levels(style, rows)) @ matrix + shift).astype(np.float32)
        luma = levels @ np.array(LUMA, np.float32)
        return _rounded(_fitting(luma.clip(0, 255), levels - luma[..., None]))

    return strips.painted("RGB", style.size, matched)


#: Fractions of CIELAB's units, so that statistics are of whole numbers.
_FRACTIONS = 16


def _lab(levels: NDArray[Any]) -> Array:
    """Return 8-bit levels in CIELAB, rounded to fractions of a unit."""
    return (to_lab(levels) * _FRACTIONS).round() / _FRACTIONS


def color_map(source: Colors, target: Colors) -> tuple[Array, Array]:
    """Return the affine map x A + b that gives the colours of `source` the mean and covariance of `target`.

    Parameters
    ----------
    source, target
        8-bit RGB, or levels [..., 3].

    Returns
    -------
    matrix, shift
        As of `map_between`; variances of `NOISE` squared are noise.
    """
    return map_between(statistics(source), statistics(target), NOISE)


def map_between(source: Statistics, target: Statistics, noise: float) -> tuple[Array, Array]:
    """Return the affine map x A + b that gives colours of some mean and covariance another mean and covariance.

    Of all such maps it moves colours least, by mean square. It is the Monge-Kantorovitch solution of Pitié and Kokaram,
    "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer" (CVMP 2007),
    A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 for covariances S and T. It is symmetric and, unlike that of Cholesky factors,
    does not depend on the order of the channels. The noise of a flat picture is not amplified: the eigenvalues of S are
    taken to be no less than `noise` squared, so that the covariance of the mapped colours never exceeds T.

    Parameters
    ----------
    source, target
        The mean [3] and the covariance [3, 3] of each.
    noise
        The standard deviation that noise may have, in the unit of the colours.

    Returns
    -------
    matrix, shift
        [3, 3], symmetric and positive semi-definite, and [3].
    """
    (source_mean, source_covariance), (target_mean, target_covariance) = source, target
    values, vectors = np.linalg.eigh(source_covariance)
    deviations = np.maximum(values, noise**2) ** 0.5
    root, inverse = (vectors * deviations) @ vectors.T, (vectors / deviations) @ vectors.T
    values, vectors = np.linalg.eigh(root @ target_covariance @ root)
    matrix = inverse @ (vectors * values.clip(0) ** 0.5) @ vectors.T @ inverse
    return matrix, target_mean - source_mean @ matrix


def statistics(colors: Colors, in_space: Callable[[NDArray[Any]], Array] | None = None) -> Statistics:
    """Return the mean [3] and the covariance [3, 3] of the colours of a picture, 8-bit RGB, or of levels [..., 3].

    Sums of whole levels and of their products are exact in float64: they do not depend on the strips.

    Parameters
    ----------
    in_space
        Turns levels [..., 3] into the coordinates whose statistics are wanted; by default they are those.
    """
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for strip in _strips(colors):
        levels = strip.reshape(-1, 3)
        levels = in_space(levels) if in_space else levels.astype(np.float64)
        count, total, products = count + len(levels), total + levels.sum(0), products + levels.T @ levels
    mean = total / count
    return mean, products / count - np.outer(mean, mean)


def _strips(colors: Colors) -> Iterator[NDArray[Any]]:
    if isinstance(colors, Image.Image):
        return (strips.levels(colors, rows) for rows in strips.rows(*colors.size))
    levels = colors.reshape(-1, 3)
    return (levels[rows] for rows in strips.rows(1, len(levels)))


#: The name of a way to match a style's colours before a run, as a plan has it -> the function.
MATCHES: Mapping[str, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "match": match_colors,
    "match-lab": match_in_lab,
}

#: The name of a way to keep the photograph's colours, as a plan has it -> the function.
KEEPS: Mapping[str, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "keep": keep_pixels,
    KEEP_EDGES: keep_colors,
}


# --- mixing ---------------------------------------------------------------------------------------------------


def mix(result: Image.Image, content: Image.Image, strength: float) -> Image.Image:
    """Return the result mixed with the content: their levels interpolated linearly.

    Parameters
    ----------
    result, content
        8-bit RGB; the content is resized to the result's size.
    strength
        From 0, exactly the content, to 1, exactly the result.

    Raises
    ------
    InputError
        When the strength is outside 0..1.
    """
    check_strength(strength)
    if strength == 1:
        return result
    return _combined(result, content, lambda over, under: under + np.float32(strength) * (over - under))


def check_strength(strength: float) -> None:
    """Refuse, before any work, a strength that `mix` cannot use.

    Raises
    ------
    InputError
        When the strength is outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength:g}; expected 0 (the content) to 1 (the result)")


def _fitted(content: Image.Image, result: Image.Image) -> Image.Image:
    return content if content.size == result.size else content.resize(result.size, Image.Resampling.LANCZOS)


def _combined(result: Image.Image, content: Image.Image, combine: Callable[[Levels, Levels], Levels]) -> Image.Image:
    """Return a picture of levels that are made of the result's and of the content's."""
    content = _fitted(content, result)
    return strips.painted(
        "RGB", result.size, lambda rows: _rounded(combine(_levels(result, rows), _levels(content, rows)))
    )


def _levels(image: Image.Image, rows: slice | None = None) -> Levels:
    return np.asarray(image if rows is None else strips.cut(image, rows), np.float32)


def _rounded(levels: Levels) -> NDArray[np.uint8]:
    return levels.round().clip(0, 255).astype(np.uint8)


def _image(levels: Levels) -> Image.Image:
    return Image.fromarray(_rounded(levels))


# --- colour profiles ------------------------------------------------------------------------------------------

#: Colour space of a profile -> image mode, for the colour spaces of pictures.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

#: Classes of profiles that define a device's levels (ICC.1:2022, table 18); others are links, effects, names.
_CLASSES = {b"scnr", b"mntr", b"prtr", b"spac"}

#: cmsFLAGS_BLACKPOINTCOMPENSATION and cmsFLAGS_NOOPTIMIZE in lcms2.h; older Pillows have no names for them. The
#: optimised conversion of grey makes dark levels of a linear profile up to ten too dark.
_BLACK_POINT_COMPENSATION, _EXACT = 0x2000, 0x0100

#: The largest error of colours after conversion to a profile and back, in levels of 255: of the mean, and of 99 of 100
#: colours. Display profiles stay below 2 and 19, tables of 17 steps below 6 and 19, of 9 steps below 9 and 29; a
#: profile without a real way back (jpegli's XYB) has 100 and 190.
_MEAN_ERROR, _MOST_ERROR = 6.0, 32.0


def to_srgb(image: Image.Image, profile: bytes, *, in_place: bool = False) -> Image.Image:
    """Return a picture that has an ICC profile as 8-bit sRGB.

    The conversion is relative colorimetric with black point compensation: white stays white, black stays black, and
    colours inside sRGB are exact.

    Parameters
    ----------
    image
        A picture of mode L, RGB or CMYK.
    profile
        An ICC profile for RGB, grey or CMYK that fits the image: grey images may have one for RGB, and images of RGB
        with three equal channels may have one for grey.
    in_place
        Whether an image of mode RGB may be changed, which saves the memory for another; use the returned image.

    Raises
    ------
    ValueError
        When the profile is damaged or of another kind; the text says so.
    """
    space = color_space(profile)
    if space == "RGB" and image.mode == "L":
        image, in_place = image.convert("RGB"), True
    if space == "GRAY" and image.mode == "RGB" and _is_grey(image):
        image = image.getchannel("R")
    if _MODES.get(space) != image.mode:
        raise ValueError(f"it is for {space} and the picture is {image.mode}")
    if space == "RGB" and _is_srgb(profile):
        return image
    if image.mode == "L":
        levels = Image.frombytes("L", (256, 1), bytes(range(256)))
        curves = _convert(levels, _to_srgb(profile)).split()
        return Image.merge("RGB", [image.point(list(curve.tobytes())) for curve in curves])
    return _convert(image, _to_srgb(profile), in_place=in_place)


def from_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an 8-bit sRGB picture with its levels as an ICC profile for RGB has them.

    Raises
    ------
    ValueError
        When the profile is damaged, not for RGB, or only for the other direction: colours that it can hold, and greys,
        must not change on the way there and back.
    """
    if (space := color_space(profile)) != "RGB":
        raise ValueError(f"it is for {space} and the picture is RGB")
    if _is_srgb(profile):
        return image
    if not _has_way_back(profile):
        raise ValueError("colours do not come back from it as they were")
    return _convert(image, _from_srgb(profile))


def color_space(profile: bytes) -> str:
    """Return the colour space of an ICC profile's device levels: ``RGB``, ``GRAY``, ``CMYK``, ``Lab``...

    Raises
    ------
    ValueError
        When it cannot be read, or does not define a device's levels.
    """
    _open(profile)
    kind, space = profile[12:16], profile[16:20].decode("latin-1").strip()  # ICC.1:2022, table 17
    if kind not in _CLASSES:
        raise ValueError("it links, changes or names colours, or is damaged")
    if not (space.isascii() and space.isalnum()):
        raise ValueError("it is damaged")
    return space


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))


def _grid(first: int, last: int) -> Image.Image:
    """Return nine levels of each channel in all combinations, as a picture of one row."""
    steps = np.linspace(first, last, 9).round()
    return _image(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3).astype(np.float32))


@lru_cache(maxsize=8)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile for RGB is sRGB under any name: no colour changes by more than rounding."""
    colors = _grid(0, 255)
    return bool(_errors(_convert(colors, _to_srgb(profile)), colors).max() <= 2)


@lru_cache(maxsize=8)
def _has_way_back(profile: bytes) -> bool:
    """Whether colours survive the way to a profile for RGB and back: those that it can hold, and all greys.

    Colours at the surface of its gamut are not tested, since small tables lead back from there badly.
    """
    reached = _convert(_grid(32, 223), _to_srgb(profile))
    greys = _image(np.arange(256, dtype=np.float32).reshape(1, -1, 1).repeat(3, axis=-1))
    for colors in (reached, greys):
        errors = _errors(_convert(_convert(colors, _from_srgb(profile)), _to_srgb(profile)), colors)
        if errors.mean() > _MEAN_ERROR or np.percentile(errors, 99) > _MOST_ERROR:
            return False
    return True


def _errors(converted: Image.Image, expected: Image.Image) -> NDArray[np.float32]:
    """Return, for each pixel, the largest difference in a channel."""
    errors: NDArray[np.float32] = np.abs(_levels(converted) - _levels(expected)).max(axis=-1)
    return errors


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform:
    return _transform(_open(profile), _srgb(), _MODES[color_space(profile)])


@lru_cache(maxsize=8)
def _from_srgb(profile: bytes) -> ImageCms.ImageCmsTransform:
    return _transform(_srgb(), _open(profile), "RGB")


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except ImportError:
        raise ValueError("this Pillow was built without LittleCMS") from None
    except (OSError, ValueError, TypeError):
        raise ValueError("it is damaged") from None


def _transform(
    source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, mode: str
) -> ImageCms.ImageCmsTransform:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags: Any = _BLACK_POINT_COMPENSATION | (_EXACT if mode == "L" else 0)
    try:
        return ImageCms.buildTransform(source, target, mode, "RGB", intent, flags)
    except ImageCms.PyCMSError:
        raise ValueError("it is damaged, or not for this direction") from None


def _convert(image: Image.Image, transform: ImageCms.ImageCmsTransform, *, in_place: bool = False) -> Image.Image:
    in_place = in_place and image.mode == "RGB"
    try:
        converted = ImageCms.applyTransform(image, transform, inPlace=in_place) or image
    except ImageCms.PyCMSError:
        raise ValueError("it is damaged") from None
    converted.info.clear()  # otherwise Pillow would embed the target profile when the picture is saved
    return converted
