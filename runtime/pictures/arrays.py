"""Arrays as pictures: the meaning of their shape and of the type of their levels. An unclear array is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import PictureError

Array = NDArray[Any]

#: The expected array, for errors.
EXPECTED = "expected levels 0..255, RGB, shaped [H, W, 3]"

#: The length of the last axis -> Pillow's mode. Without such an axis all is grey.
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

#: Type of levels -> the level of white, for types that define it.
_WHITE = {np.dtype(bool): 1, np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}

#: If no level is farther from 0, the range is not 0..255, but 0..1, -1..1, or that of standardised levels.
_DARK = 4.0

#: Levels may leave 0..255 by so much, as those of an optimiser do; they are clipped.
_OVERSHOOT = 255.0


def is_array(picture: object) -> bool:
    """Whether an object is an array, of NumPy or of another library that NumPy can read."""
    return isinstance(picture, np.ndarray) or hasattr(picture, "__array__")


def levels(picture: Any, subject: str) -> Array:
    """Return an array's levels, [H, W, C] in 0..255 with C of 1 to 4: grey, grey and alpha, RGB, RGBA.

    Truth values are black and white, 16-bit levels have the range 0..65535, all others the range 0..255. Levels keep
    their fractions, and are not clipped.

    Parameters
    ----------
    picture
        An array of any library.
    subject
        Its name in errors.

    Raises
    ------
    PictureError
        When the shape or the range is wrong, or a level is not finite.
    """
    array = as_numpy(picture, subject)
    if array.dtype.kind not in "biuf":
        raise PictureError(f"{_described(array, subject)}; {EXPECTED}")
    array = _shaped(array.astype(array.dtype.newbyteorder("="), copy=False), subject)
    if not array.size:
        return array  # the caller checks its size
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError(f"{subject}: has values that are not finite; expected levels 0..255")
    _check_range(array.dtype, low, high, subject)
    white = _WHITE.get(array.dtype, 255)
    return array if white == 255 else array * np.float32(255 / white)


def to_image(picture: Any, subject: str) -> Image.Image:
    """Return an array as an 8-bit image of mode L, LA, RGB or RGBA: its `levels`, rounded and clipped.

    Raises
    ------
    PictureError
        As `levels`.
    """
    values = levels(picture, subject)
    height, width, channels = values.shape
    if not values.size:
        return Image.new(_MODES[channels], (width, height))
    exact = np.ascontiguousarray(values if values.dtype == np.uint8 else values.round().clip(0, 255).astype(np.uint8))
    return Image.frombytes(_MODES[channels], (width, height), exact.tobytes())


def as_numpy(picture: Any, subject: str) -> Array:
    """Return an array of any library as an array of NumPy.

    Raises
    ------
    PictureError
        When NumPy cannot read it, for instance because it is on a GPU, or records gradients.
    """
    try:
        return np.asarray(picture)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        name = f"{type(picture).__module__.partition('.')[0]}'s {type(picture).__name__}"
        raise PictureError(f"{subject}: {name} cannot be read as an array ({reason}); {EXPECTED}") from None


def _shaped(array: Array, subject: str) -> Array:
    """Return an array as [H, W, C]."""
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3 and array.shape[2] in _MODES:
        return array
    advice = EXPECTED
    if array.ndim == 3 and array.shape[0] in _MODES:
        advice += ": its channels come first; give array.transpose(1, 2, 0)"
    elif array.ndim == 4:
        advice += f": it is a batch of {array.shape[0]}; give one picture of it, array[0]"
    raise PictureError(f"{_described(array, subject)}; {advice}")


def _check_range(dtype: np.dtype[Any], low: float, high: float, subject: str) -> None:
    """Refuse levels whose range is not that of their type: the picture would be black, or white."""
    described = f"{subject}: its levels, {dtype}, are from {round(low, 2):g} to {round(high, 2):g}"
    if low == high == 0 or dtype == np.bool_:
        return
    if dtype == np.uint16:
        if high <= 255:
            raise PictureError(f"{described}; expected 0..65535: give levels of 0..255 as uint8")
    elif low >= -_DARK and high <= _DARK:
        scaled = "multiply it by 255" if low >= 0 else "scale it"
        raise PictureError(f"{described}; expected 0..255: {scaled}")
    elif low < -_OVERSHOOT or high > 255 + _OVERSHOOT:
        raise PictureError(f"{described}; expected 0..255: scale it, or give levels of 16 bits as uint16")


def _described(array: Array, subject: str) -> str:
    return f"{subject}: array {array.dtype}{list(array.shape)}"
