"""Colours: keeping the photograph's, lending them to the painting, mixing, and to sRGB and back.

Pure functions on 8-bit images.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from impasto.runtime.errors import InputError

Array = NDArray[np.float64]

#: Luma of R'G'B' as the Y of YIQ and YCbCr has it: ITU-R BT.601-7, section 2.5.1.
LUMA = (0.299, 0.587, 0.114)

#: Where a picture's levels deviate less from their mean (in any direction of colour), that is noise: it may be moved,
#: but is amplified no more than a deviation of so many levels would be.
NOISE = 4.0


# --- the photograph's colours ---------------------------------------------------------------------------------


def keep_colors(result: Image.Image, content: Image.Image) -> Image.Image:
    """Return the result's luma with the content's chroma: the painting's strokes in the photograph's colours.

    Gatys, Bethge, Hertzmann and Shechtman, "Preserving Color in Neural Artistic Style Transfer" (2016,
    arXiv:1606.05897), luminance-only transfer: Y of one picture with I and Q of the other. As grey has neither I nor Q,
    that is to add the difference in luma to R, G and B alike. Where this leaves 0..255 the chroma is scaled down until
    it fits: clipping would change luma and hue.

    Parameters
    ----------
    result, content
        8-bit RGB; the content is resized to the result's size.

    Returns
    -------
    Image
        8-bit RGB; its luma is the result's, up to rounding.
    """
    colors = _levels(_fitted(content, result))
    luma = _levels(result) @ np.array(LUMA, np.float32)
    chroma = colors - (colors @ np.array(LUMA, np.float32))[..., None]
    room = np.where(chroma > 0, 255 - luma[..., None], luma[..., None])
    with np.errstate(divide="ignore", invalid="ignore"):  # no chroma fits into any room: the minimum ignores NaN
        factor = np.fmin.reduce(room / np.abs(chroma), axis=-1, keepdims=True, initial=1)
    return _image(luma[..., None] + factor * chroma)


def match_colors(style: Image.Image, content: Image.Image) -> Image.Image:
    """Return the style picture in the content's colours: their mean and covariance become the content's.

    The first of the two ways of Gatys et al. (2016, as above), with the linear map of `color_map`.

    Parameters
    ----------
    style, content
        8-bit RGB of any sizes.

    Returns
    -------
    Image
        8-bit RGB of the style's size; levels outside 0..255 are clipped.
    """
    levels = _levels(style)
    matrix, shift = color_map(levels, _levels(content))
    return _image(levels @ matrix.astype(np.float32) + shift.astype(np.float32))


def color_map(source: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the affine map x A + b that gives the colours of `source` the mean and covariance of `target`.

    Of all such maps the one that moves colours least, by mean square: the Monge-Kantorovitch solution of Pitié and
    Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer" (CVMP 2007),
    A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 for covariances S and T. It is symmetric and, unlike that of Cholesky factors,
    does not depend on the order of the channels. A flat picture has nothing to amplify: the eigenvalues of S are taken
    to be no less than `NOISE` squared, so that the covariance reached never exceeds T.

    Parameters
    ----------
    source, target
        Levels [..., 3].

    Returns
    -------
    matrix, shift
        [3, 3], symmetric and positive semi-definite, and [3].
    """
    source_mean, source_covariance = _statistics(source)
    target_mean, target_covariance = _statistics(target)
    values, vectors = np.linalg.eigh(source_covariance)
    deviations = np.maximum(values, NOISE**2) ** 0.5
    root, inverse = (vectors * deviations) @ vectors.T, (vectors / deviations) @ vectors.T
    values, vectors = np.linalg.eigh(root @ target_covariance @ root)
    matrix = inverse @ (vectors * values.clip(0) ** 0.5) @ vectors.T @ inverse
    return matrix, target_mean - source_mean @ matrix


def _statistics(levels: NDArray[np.floating]) -> tuple[Array, Array]:
    colors = levels.reshape(-1, 3)
    mean = colors.mean(axis=0, dtype=np.float64)
    centred = colors - mean.astype(colors.dtype)
    return mean, np.asarray(centred.T @ centred, np.float64) / len(colors)


def mix(result: Image.Image, content: Image.Image, strength: float) -> Image.Image:
    """Return so much of the result over the content: their levels interpolated linearly.

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
    under = _levels(_fitted(content, result))
    return _image(under + np.float32(strength) * (_levels(result) - under))


def check_strength(strength: float) -> None:
    """Refuse, before any work, what `mix` cannot do.

    Raises
    ------
    InputError
        When the strength is outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength:g}; expected 0 (the content) to 1 (the result)")


def _fitted(content: Image.Image, result: Image.Image) -> Image.Image:
    return content if content.size == result.size else content.resize(result.size, Image.Resampling.LANCZOS)


def _levels(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image, np.float32)


def _image(levels: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


# --- colour profiles ------------------------------------------------------------------------------------------

#: An image mode for each colour space of a profile that pictures come in.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

_BLACK_POINT_COMPENSATION: Any = 0x2000  # cmsFLAGS_BLACKPOINTCOMPENSATION in lcms2.h; older Pillows have no name for it


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return a picture whose levels mean what its ICC profile says, as 8-bit sRGB.

    Relative colorimetric with black point compensation: white stays white, black black, and what sRGB holds as it is.

    Parameters
    ----------
    image
        Of mode L, RGB or CMYK.
    profile
        An ICC profile for RGB, grey or CMYK, fitting the image; grey images may have one for RGB.

    Raises
    ------
    ValueError
        When the profile is damaged or of another kind; the text says so.
    """
    space = color_space(profile)
    if space == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if _MODES.get(space) != image.mode:
        raise ValueError(f"it is for {space} and the picture is {image.mode}")
    if space == "RGB" and _is_srgb(profile):
        return image
    return _convert(image, _open(profile), _srgb())


def from_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an 8-bit sRGB picture with its levels as an ICC profile for RGB has them.

    Raises
    ------
    ValueError
        When the profile is damaged, not for RGB, or only for the other direction.
    """
    if (space := color_space(profile)) != "RGB":
        raise ValueError(f"it is for {space} and the picture is RGB")
    return image if _is_srgb(profile) else _convert(image, _srgb(), _open(profile))


def color_space(profile: bytes) -> str:
    """Return what an ICC profile's device levels are: ``RGB``, ``GRAY``, ``CMYK``, ``Lab``...

    Raises
    ------
    ValueError
        When it cannot be read.
    """
    return str(_open(profile).profile.xcolor_space).strip()


def _is_srgb(profile: bytes) -> bool:
    """Whether a profile for RGB means sRGB, whatever it is called: no colour moves by more than rounding."""
    steps = np.linspace(0, 255, 9).round()
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    moved = _convert(_image(colors.astype(np.float32)), _open(profile), _srgb())
    return bool(np.abs(_levels(moved) - colors).max() <= 2)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except ImportError:
        raise ValueError("this Pillow was built without LittleCMS") from None
    except (OSError, ValueError, TypeError):
        raise ValueError("it is damaged") from None


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(
            image,
            source,
            target,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=_BLACK_POINT_COMPENSATION,
        )
    except ImageCms.PyCMSError:
        raise ValueError("it is damaged, or not for this direction") from None
    assert converted is not None  # it is when converting in place
    converted.info.clear()  # else whoever saves it embeds the target profile
    return converted
