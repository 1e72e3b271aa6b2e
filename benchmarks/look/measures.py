"""Measures of a painted picture, beside the photograph and the painting that it was made of.

None of them is a loss that impasto or a peer optimises, and none calls what it measures: luma and CIE Lab are written
down once more here. Pictures are float64 (H, W, 3), RGB, 0..255.

- *Effect*: the distance of the picture's statistics from the painting's, in percent of the photograph's distance. The
  distance is the sliced Wasserstein distance (Rabin et al. 2011; Heitz et al. 2021) of activations of layers that no
  candidate compares, and of colours.
- *Large forms*: the same of the pictures made small, where strokes are gone and shapes remain.
- *Coherence*: how much of the photograph is still there: its luminance gradients, and its deepest activations.
- *Grain*: the energy at the highest frequencies, where the photograph is flat.
- *Frame*: the step between a side's outermost pixels and those further inside, beside such steps in the interior; and
  the same as a multiple of the photograph's, where that has a step itself, such as a dark edge of a hill.
- *Gamut*: levels at the ends of their range, and chroma, beside the painting's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[np.float64]

#: A picture, (H, W, 3) -> its activations by layer, each [C, M].
Network = Callable[[Array], Mapping[str, Array]]

#: The layers whose distributions are compared, and the one that says what is shown.
STYLE_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv2", "block4_conv4")
DEEP_LAYER = "block5_conv2"

#: Directions that distributions are projected to, and quantiles in which projections are compared.
DIRECTIONS, QUANTILES = 64, 256

#: The long sides to which pictures are reduced, to see their large forms.
REDUCED = (128, 64)

#: Pixels of which the outermost strip of the frame's step consists; the strip that it is compared with begins and ends
#: so far inside; how far the interior's steps are from each other; and the length of a piece of the strip.
OUTERMOST, INSIDE, APART, PIECE = 3, (8, 13), 4, 16


@dataclass(frozen=True)
class Direction:
    """Whether a measure is better when it is larger, and by what it differs beyond noise."""

    larger_is_better: bool
    text: str


#: The measures, in the order of tables.
MEASURES: Mapping[str, Direction] = {
    "effect": Direction(False, "style left, %"),
    "colours": Direction(False, "colours left, %"),
    "forms": Direction(False, "large forms left, %"),
    "gradients": Direction(True, "gradients kept, %"),
    "deep": Direction(True, "deep activations kept, %"),
    "grain": Direction(False, "grain, levels"),
    "frame": Direction(False, "frame's step"),
    "beyond": Direction(False, "frame's step beyond the photograph's"),
    "clipped": Direction(False, "clipped beyond the painting's, %"),
    "chroma": Direction(True, "chroma of the painting's, %"),
}


def measure(picture: Array, photograph: Array, painting: Array, network: Network) -> dict[str, float]:
    """Return all measures of a picture by name; the photograph has its size."""
    steps, own = frame_steps(picture), frame_steps(photograph)
    left = {name: _left(picture, photograph, painting, network, side) for name, side in _sides(photograph).items()}
    return {
        "effect": left["whole"],
        "colours": 100 * colour_distance(picture, painting) / colour_distance(photograph, painting),
        "forms": float(np.mean([value for name, value in left.items() if name != "whole"])),
        "gradients": 100 * gradients_kept(picture, photograph),
        "deep": 100 * deep_kept(network(picture)[DEEP_LAYER], network(photograph)[DEEP_LAYER]),
        "grain": grain(picture, photograph),
        "frame": max(steps.values()),
        "beyond": max(step / max(1.0, own[side]) for side, step in steps.items()),
        "clipped": 100 * max(0.0, clipped(picture) - clipped(painting)),
        "chroma": 100 * chroma(picture) / max(chroma(painting), 1e-9),
    }


# --- effect, large forms --------------------------------------------------------------------------------------


def _sides(photograph: Array) -> dict[str, int]:
    return {"whole": max(photograph.shape[:2]), **{str(side): side for side in REDUCED}}


def _left(picture: Array, photograph: Array, painting: Array, network: Network, side: int) -> float:
    """Return the mean over layers of the distance from the painting, in percent of the photograph's."""
    scale = side / max(photograph.shape[:2])
    of = [network(reduced(x, scale)) for x in (picture, photograph, painting)]
    ratios = [
        sliced_wasserstein(of[0][layer], of[2][layer]) / sliced_wasserstein(of[1][layer], of[2][layer])
        for layer in STYLE_LAYERS
    ]
    return 100 * float(np.mean(ratios))


def sliced_wasserstein(a: Array, b: Array) -> float:
    """Return the sliced Wasserstein-2 distance of two sets of points [C, M] and [C, N].

    Each is projected to directions of chance, the same for both. The distance of two projections is the root mean
    square of the differences of their quantiles.
    """
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((DIRECTIONS, a.shape[0]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles = [np.quantile(directions @ x, at, axis=1) for x in (a, b)]
    return float(np.sqrt(np.mean((quantiles[0] - quantiles[1]) ** 2)))


def colour_distance(a: Array, b: Array) -> float:
    """Return the sliced Wasserstein distance of the colours of two pictures, in CIE Lab."""
    return sliced_wasserstein(lab(a).reshape(-1, 3).T, lab(b).reshape(-1, 3).T)


def reduced(picture: Array, scale: float) -> Array:
    """Return a picture made smaller by a factor below 1."""
    if scale >= 1:
        return picture
    height, width = (max(16, round(side * scale)) for side in picture.shape[:2])
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in picture.transpose(2, 0, 1)]
    small = [np.asarray(plane.resize((width, height), Image.Resampling.BOX), np.float64) for plane in planes]
    return np.stack(small, axis=-1)


# --- coherence ------------------------------------------------------------------------------------------------


def gradients_kept(picture: Array, photograph: Array, sigma: float = 2) -> float:
    """Return the cosine of the luminance gradients of two pictures, each smoothed by sigma pixels."""
    a, b = (_gradient(luminance(x), sigma) for x in (picture, photograph))
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-12))


def _gradient(x: Array, sigma: float) -> Array:
    parts = [ndimage.gaussian_filter(x, sigma, order=order, mode="nearest") for order in ((1, 0), (0, 1))]
    gradient: Array = np.stack(parts)
    return gradient


def deep_kept(a: Array, b: Array) -> float:
    """Return the mean over positions of the cosine of two pictures' activations [C, M], each less the mean of b."""
    middle = b.mean(axis=1, keepdims=True)
    a, b = a - middle, b - middle
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return float(((a * b).sum(axis=0) / np.maximum(norms, 1e-9)).mean())


# --- grain ----------------------------------------------------------------------------------------------------


def grain(picture: Array, photograph: Array) -> float:
    """Return the median size of what is finer than half of Nyquist's frequency, in the photograph's flattest quarter.

    The median leaves the edges of strokes out: they are few. What is finer is the difference from the picture smoothed
    by the binomial filter 1, 4, 6, 4, 1.
    """
    edges = ndimage.gaussian_gradient_magnitude(luminance(photograph), 3, mode="nearest")
    flat = edges <= np.quantile(edges, 0.25)
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    smooth = ndimage.convolve1d(ndimage.convolve1d(picture, kernel, 0, mode="nearest"), kernel, 1, mode="nearest")
    return float(np.median(np.linalg.norm(picture - smooth, axis=2)[flat]))


# --- frame ----------------------------------------------------------------------------------------------------


def frame_steps(picture: Array) -> dict[str, float]:
    """Return, by side, the step at the border as a multiple of such steps in the interior.

    A step is the mean, over pieces of the side, of the distance between the mean colour of the `OUTERMOST` pixels and
    that of the pixels `INSIDE`. The interior's is the median over strips that lie further inside, down to the middle.
    """
    turned = picture.transpose(1, 0, 2)
    views = {"top": picture, "bottom": picture[::-1], "left": turned, "right": turned[::-1]}
    return {side: _step(view, 0) / max(_interior_step(view), 1e-9) for side, view in views.items()}


def _step(rows: Array, at: int) -> float:
    near = rows[at : at + OUTERMOST].mean(axis=0)
    far = rows[at + INSIDE[0] : at + INSIDE[1]].mean(axis=0)
    pieces = np.array_split(near - far, max(1, len(near) // PIECE))
    return float(np.mean([np.linalg.norm(piece.mean(axis=0)) for piece in pieces]))


def _interior_step(rows: Array) -> float:
    starts = range(2 * INSIDE[0], max(2 * INSIDE[0] + 1, rows.shape[0] // 2), APART)
    return float(np.median([_step(rows, at) for at in starts]))


# --- colours --------------------------------------------------------------------------------------------------


def clipped(picture: Array) -> float:
    """Return the share of levels that are at 0 or 255."""
    return float(((picture <= 0.5) | (picture >= 254.5)).mean())


def chroma(picture: Array) -> float:
    """Return the mean chroma in CIE Lab."""
    return float(np.linalg.norm(lab(picture)[..., 1:], axis=-1).mean())


def luminance(picture: Array) -> Array:
    """Return the luma of Rec. 601, (H, W), 0..255."""
    weighted: Array = picture @ np.array([0.299, 0.587, 0.114])
    return weighted


def lab(picture: Array) -> Array:
    """Return CIE Lab of sRGB levels, under D65."""
    levels = np.clip(picture, 0, 255) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
