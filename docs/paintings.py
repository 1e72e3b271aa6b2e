"""Two more paintings to learn from, drawn for the pictures of the documentation: a mosaic and a woodcut.

Positions are relative to the picture's height, all chance is seeded, colours are RGB in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor
from scipy.spatial import cKDTree

Array = npt.NDArray[np.floating[Any]]

#: Paintings are drawn so many times larger, for smooth edges.
SCALE = 3


def draw_mosaic(width: int = 480, height: int = 360) -> Image.Image:
    """Lay a mosaic of rings and waves, its tesserae set in courses, in `width` x `height` RGB pixels."""
    rng = np.random.default_rng(79)
    x, y = grid(width, height)
    aspect = width / height
    stones: Array = np.stack([rng.uniform(-0.05, aspect + 0.05, 9000), rng.uniform(-0.05, 1.05, 9000)], axis=-1)
    for _ in range(3):  # Lloyd's relaxation on a coarse grid evens the stones out
        stones = _relaxed(stones, aspect)
    distance, nearest = (np.asarray(found) for found in cKDTree(stones).query(np.stack([x, y], axis=-1), k=2))
    joint = smoothstep(0.0012, 0.0028, distance[..., 1] - distance[..., 0])
    own = nearest[..., 0]
    tilt = rng.normal(0, 1, (len(stones), 2))
    offset = np.stack([x, y], axis=-1) - stones[own]
    bevel = (offset * tilt[own]).sum(axis=-1) * 6
    colour = _mosaic_colours(stones, aspect, rng)[own] * (1 + bevel)[..., None]
    grout = np.array(ImageColor.getrgb("#4a4038")) / 255
    return reduced(grout + (colour - grout) * joint[..., None], width, height)


def _relaxed(points: Array, aspect: float) -> Array:
    """Move each point to the middle of the places that are nearest to it."""
    x, y = np.meshgrid(np.linspace(-0.05, aspect + 0.05, 700), np.linspace(-0.05, 1.05, 560))
    places = np.stack([x.ravel(), y.ravel()], axis=-1)
    nearest = cKDTree(points).query(places)[1]
    count = np.bincount(nearest, minlength=len(points))
    sums = np.stack([np.bincount(nearest, axis, minlength=len(points)) for axis in places.T], axis=-1)
    return np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], points)


def _mosaic_colours(stones: Array, aspect: float, rng: np.random.Generator) -> Array:
    """Return a colour for each stone: rings around two suns above, waves below."""
    x, y = stones.T
    suns = np.minimum(np.hypot(x - 0.3 * aspect, y - 0.3), np.hypot(x - 0.82 * aspect, y - 0.22) * 1.3)
    rings = _pick(suns * 13 + 0.4 * np.sin(9 * x), "f6ecd2 e3b04b c9622e 8f2d24 e3b04b f6ecd2 2f7f86 1d4f6b")
    waves = _pick(26 * (y + 0.05 * np.sin(11 * x + 5 * y)), "12324a 1d6e7d 52a9a0 d9e6cf 1d4f6b 2f7f86")
    colour = np.where((y + 0.04 * np.sin(7 * x) > 0.62)[:, None], waves, rings)
    return colour * rng.normal(1, 0.09, (len(stones), 1)) + rng.normal(0, 0.02, (len(stones), 3))


def draw_woodcut(width: int = 480, height: int = 360) -> Image.Image:
    """Cut a red sun, hills and a river into wood and print it, in `width` x `height` RGB pixels."""
    x, y = grid(width, height)
    aspect = width / height
    waver = 0.006 * np.sin(23 * x + 9 * np.sin(5 * y)) + 0.004 * np.sin(47 * y + 11 * x)
    sun = np.hypot(x - 0.66 * aspect, y - 0.3)
    ridge = 0.5 + 0.09 * np.sin(4.1 * x + 0.6) + 0.035 * np.sin(11 * x)
    near = 0.7 + 0.07 * np.sin(3.3 * x + 2.2) + 0.02 * np.sin(13 * x + 1)
    sky = _cut((sun + waver) * 300, 0.42 + 0.5 * np.clip(sun - 0.2, 0, 1))
    far = _cut((y - ridge + waver + 0.35 * x) * 350, 0.5 + 0.9 * (y - ridge))
    front = _cut((y - near + 0.5 * waver - 0.25 * np.sin(3 * x)) * 240, 0.45 + 1.1 * (y - near))
    ink = np.where(y > near, front, np.where(y > ridge, far, sky))
    for edge in (np.abs(y - ridge), np.where(y > ridge - 0.3, np.abs(y - near), 1)):
        ink = np.maximum(ink, 1 - smoothstep(0.004, 0.007, edge))
    paper, black, red = (np.array(ImageColor.getrgb(f"#{name}")) / 255 for name in ("f1e4c8", "1c1a1d", "c8321f"))
    disc = (1 - smoothstep(0.128, 0.131, sun)) * (y < ridge)
    ground = paper + (red - paper) * disc[..., None]
    ink = ink * (1 - disc * smoothstep(-0.3, 0.3, np.sin(sun * 380)))
    return reduced(ground + (black - ground) * ink[..., None], width, height)


def _cut(phase: Array, tone: Array) -> Array:
    """Return lines of ink, one for each turn of the phase in radians, so wide that they darken to the tone."""
    wide = np.clip(tone, 0.12, 0.88)
    return smoothstep(-0.12, 0.12, np.cos(phase) + np.cos(np.pi * (1 - wide)) * 0.95)


def grid(width: int, height: int) -> tuple[Array, Array]:
    """Return the columns and rows of each point that is drawn, in picture heights."""
    columns = (np.arange(width * SCALE) + 0.5) / (height * SCALE)
    rows = (np.arange(height * SCALE) + 0.5) / (height * SCALE)
    x, y = np.meshgrid(columns, rows)
    return x, y


def _pick(t: Array, names: str) -> Array:
    """Return the colours, named in hexadecimal, in turn: one for each whole number."""
    colours = np.array([ImageColor.getrgb(f"#{name}") for name in names.split()]) / 255
    chosen: Array = colours[np.floor(t).astype(int) % len(colours)]
    return chosen


def smoothstep(low: float, high: float, t: Array) -> Array:
    """Return 0 below `low`, 1 above `high`, and a smooth ramp between."""
    t = np.clip((t - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def reduced(levels: Array, width: int, height: int) -> Image.Image:
    """Return levels that were drawn larger as a picture, in `width` x `height` RGB pixels."""
    image = Image.fromarray((np.clip(levels, 0, 1) * 255 + 0.5).astype(np.uint8))
    return image.resize((width, height), Image.Resampling.BOX)
