"""Paintings in manners that the other samples lack: hatching, dots of pure colours, and washes on paper.

They are drawn from scratch, with seeded chance. Positions are relative to the picture's height; colours are RGB in
[0, 1]. Ink and washes leave a margin of paper, as such pictures have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw
from scipy import ndimage

from docs.paintings import SCALE, grid, reduced, smoothstep

Array = npt.NDArray[np.floating[Any]]

_PAPER = "#f3ecdc"


def draw_hatching(width: int = 480, height: int = 360) -> Image.Image:
    """Draw a hill, a tree and clouds in hatched ink on paper, in `width` x `height` RGB pixels."""
    x, y = grid(width, height)
    aspect, waver = width / height, 0.004 * np.sin(31 * x + 7 * np.sin(13 * y)) + 0.003 * np.sin(53 * y)
    hill = 0.62 + 0.1 * np.sin(2.9 * x + 0.4) + 0.02 * np.sin(17 * x)
    crown = np.hypot((x - 0.42 * aspect) / 0.21, (y - 0.38) / 0.17) + 0.12 * np.sin(9 * x) * np.sin(11 * y)
    trunk = (np.abs(x - 0.42 * aspect) < 0.018 + 0.02 * np.clip(y - 0.6, 0, 1)) & (y > 0.45) & (y < 0.72)
    clouds = 0.5 + 0.5 * np.sin(6 * x + 3 * np.sin(5 * y)) * np.sin(14 * y)
    tone = np.where(y > hill, 0.35 + 0.5 * np.clip(y - hill, 0, 1), 0.12 * clouds)
    tone = np.where(crown < 1, 0.45 + 0.4 * np.clip(x - 0.35 * aspect, 0, 1) + 0.2 * (y - 0.3), tone)
    tone = np.where(trunk, 0.9, tone)
    ink = np.zeros_like(x)
    for number, angle in enumerate((0.9, -0.7, 0.1)):  # the darker, the more directions cross
        across = (x * np.sin(angle) + y * np.cos(angle) + waver) * 330
        share = np.clip(2.2 * tone - 0.55 * number, 0, 0.8)
        ink = np.maximum(ink, smoothstep(-0.15, 0.15, np.cos(across) - np.cos(np.pi * share)) * (share > 0.04))
    margin = np.minimum(np.minimum(x, aspect - x), np.minimum(y, 1 - y)) + waver
    ink = ink * smoothstep(0.05, 0.056, margin)
    paper, black = _colour(_PAPER), _colour("#1f2430")
    return reduced(paper + (black - paper) * ink[..., None], width, height)


def draw_dots(width: int = 480, height: int = 360) -> Image.Image:
    """Set a bay at noon in dots of pure colours, in `width` x `height` RGB pixels."""
    rng = np.random.default_rng(1884)
    image = Image.new("RGB", (width * SCALE, height * SCALE), "#e9e2cf")
    pen, unit, aspect = ImageDraw.Draw(image), height * SCALE, width / height
    for _ in range(42_000):
        x, y = rng.uniform(0, aspect), rng.uniform(0, 1)
        shore = 0.72 + 0.12 * np.sin(2.1 * x + 1) + 0.3 * (x - 0.8 * aspect)
        tree = np.hypot((x - 0.14 * aspect) / 0.2, (y - 0.3) / 0.28) < 1
        hues = (
            "#1f5a33 #3b7d3a #20486b #b5b03c #17402b" if tree
            else "#d9b34a #e7cf86 #c98a3d #7fa05a #d98f6f" if y > shore
            else "#2f6fa8 #5fa3c9 #8fc4cf #3a5fa0 #e8ddb0" if y > 0.42
            else "#9cc3dd #c9dbe0 #f0dfc0 #b4a8d0 #86b4dc"
        )  # fmt: skip
        radius = rng.uniform(0.0035, 0.0065) * unit
        colour = rng.choice(hues.split())
        pen.ellipse((x * unit - radius, y * unit - radius, x * unit + radius, y * unit + radius), colour)
    return image.resize((width, height), Image.Resampling.BOX)


def draw_washes(width: int = 480, height: int = 360) -> Image.Image:
    """Lay washes of watercolour on paper, hills behind hills, in `width` x `height` RGB pixels."""
    rng = np.random.default_rng(1801)
    x, y = grid(width, height)
    aspect = width / height
    cloud = _clouds(rng, x.shape, 90)
    picture = np.broadcast_to(_colour(_PAPER), (*x.shape, 3)).copy()
    sky = np.clip(0.9 - 1.5 * y, 0, 1) * (0.6 + 0.5 * cloud)
    picture = _wash(picture, sky, "#6f9fc4")
    for number, (top, hue) in enumerate(((0.42, "#8fa6b8"), (0.55, "#7f9a7a"), (0.68, "#b08a4e"), (0.82, "#4f6b58"))):
        edge = top + 0.06 * np.sin((2.3 + number) * x + 2 * number) + 0.03 * _clouds(rng, x.shape, 40)
        inside = smoothstep(0, 0.012, y - edge)
        pooled = np.exp(-np.clip(y - edge, 0, None) / 0.012)  # pigment gathers where a wash ends
        depth = (
            inside * (0.55 + 0.35 * _clouds(rng, x.shape, 60) + 0.35 * pooled) * np.exp(-1.2 * np.clip(y - edge, 0, 1))
        )
        picture = _wash(picture, depth, hue)
    grain = ndimage.gaussian_filter(rng.standard_normal(x.shape), SCALE * 0.8)
    picture = picture * (1 + 0.06 * grain / grain.std())[..., None] ** 0.5
    margin = np.minimum(np.minimum(x, aspect - x), np.minimum(y, 1 - y)) + 0.006 * _clouds(rng, x.shape, 30)
    kept = smoothstep(0.045, 0.055, margin)[..., None]
    return reduced(_colour(_PAPER) + (picture - _colour(_PAPER)) * kept, width, height)


def _wash(picture: Array, depth: Array, hue: str) -> Array:
    """Return a picture under a transparent wash: each channel is absorbed as its colour says, the more the deeper."""
    absorbed: Array = picture * _colour(hue) ** np.clip(depth, 0, 2)[..., None]
    return absorbed


def _clouds(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Return smooth noise of mean 0 and deviation 1, of features of `sigma` drawn pixels."""
    step = max(1, round(sigma / 4))
    coarse = rng.standard_normal([side // step + 2 for side in shape])
    smooth = ndimage.gaussian_filter(coarse, sigma / step)
    full = ndimage.zoom(smooth, step, order=1)[: shape[0], : shape[1]]
    clouds: Array = (full - full.mean()) / full.std()
    return clouds


def _colour(name: str) -> Array:
    return np.array(ImageColor.getrgb(name)[:3]) / 255
