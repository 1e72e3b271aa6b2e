"""The two pictures of the demo, drawn from scratch: a lakeside town to repaint and a painting to learn from.

Run it from the repository's root: ``python -m docs.samples`` writes them as the files that ``impasto demo`` reads.

Positions and sizes are relative to the picture, so every size shows the same scene, and all chance is seeded.
Colours are RGB in [0, 1]; points on a picture are (column, row) in [0, 1].
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFilter

Array = npt.NDArray[np.floating[Any]]
Point = tuple[float, float, float]
Polygon = Sequence[Point]
Side = Callable[..., Point]  # (right, up, share of the way out) on one side of a box, seen from outside
Item = tuple[Callable[..., None], tuple[Any, ...]]


#: Where the files lie.
FOLDER = Path(__file__).parents[1] / "cli" / "drawing"


def main() -> None:
    """Write the files."""
    for name, picture in (("town", draw_content()), ("sunset", draw_style())):
        (FOLDER / f"{name}.jpg").write_bytes(encoded(picture))


def encoded(picture: Image.Image) -> bytes:
    """Return a picture's file: a JPEG takes a third of what a PNG would, on every user's disk."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, subsampling=0, optimize=True)
    return file.getvalue()


def draw_content(width: int = 480, height: int = 360) -> Image.Image:
    """Draw a lakeside town with bridge, boat and mountains in `width` x `height` RGB pixels."""
    size = _working_size(width, height)
    canvas = _Canvas(_image(_terrain(_sky(size))), _noise(size, (60, 60), 5, 4, 0.7))
    _town(canvas)
    _lake(canvas)
    _boat(canvas)
    _reeds(canvas)
    pixels = np.asarray(canvas.image, dtype=np.float32) / 248 * _palette("fff8eb")
    return _image(_mix(pixels, _smooth(0, 1, pixels), 0.4)).resize((width, height), Image.Resampling.LANCZOS)


def draw_style(width: int = 480, height: int = 360) -> Image.Image:
    """Paint a low sun over a rolling sea, in thick strokes, in `width` x `height` RGB pixels."""
    rng = np.random.default_rng(1889)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48)), axis=-1)
    painting = _image(_pigment(grid, rng)).resize(_working_size(width, height))
    painting.putalpha(90)
    for girth, length, coats in _BRUSHES:
        _paint(painting, girth, *_strokes(girth, length, round(coats * 4 / 3 / girth / length), rng))
    return _relief(painting).resize((width, height), Image.Resampling.LANCZOS)


# --- shared -----------------------------------------------------------------------------------------------


def _working_size(width: int, height: int) -> tuple[int, int]:
    """Size to draw at before shrinking: up to four times larger, for smooth edges."""
    scale = min(max(1440 / max(width, height), 1), 4)
    return round(width * scale), round(height * scale)


def _image(pixels: Array) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


@lru_cache
def _palette(names: str) -> Array:
    return np.array([ImageColor.getrgb("#" + name) for name in names.split()], dtype=np.float32) / 255


def _ramp(t: Array | float, names: str) -> Array:
    """Blend of evenly spaced colours, named in hexadecimal, at `t` in [0, 1]: shape ``t.shape + (3,)``."""
    colours = _palette(names)
    knots = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(t, knots, channel).astype(np.float32) for channel in colours.T], axis=-1)


def _mix(a: Array, b: Array, t: Array | float) -> Array:
    return a + (b - a) * np.asarray(t, dtype=np.float32)[..., None]


def _smooth(low: float, high: float, t: Array) -> Array:
    t = np.clip((t - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _noise(size: tuple[int, int], cells: tuple[int, int], seed: int, octaves: int, gain: float) -> Array:
    """Fractal noise of shape ``(height, width)``, mean 0, deviation 1, from `cells` (across, down) on."""
    rng = np.random.default_rng(seed)
    total = np.zeros(size[::-1], dtype=np.float32)
    for octave in range(octaves):
        lattice = rng.random((cells[1] << octave, cells[0] << octave), dtype=np.float32)
        total += gain**octave * np.asarray(Image.fromarray(lattice).resize(size, Image.Resampling.BICUBIC))
    scaled: Array = (total - total.mean()) / total.std()
    return scaled


# --- photograph -------------------------------------------------------------------------------------------

_EYE, _SHORE, _BOAT = 3.0, 44.0, 21.0  # height of the camera; distance of waterfront and boat (metres)
_SKYLINE = 0.60  # row of the horizon
_SUNWARD = np.array([-0.72, 0.50, -0.48], dtype=np.float32)  # unit vector: right, up, away from the camera
_GREEN = "16261f 24402a 3f6330 738b39 b9b95a"
_GOLD = "3a2317 6b3d1c a8641f d8982f f3cf6a"
_DARK = "0f1d1c 182f26 27462c 456236 7d8c4a"


def _sky(size: tuple[int, int]) -> Array:
    """Evening sky with clouds, of shape ``(height, width, 3)``."""
    row = np.linspace(0, 1, size[1], dtype=np.float32)[:, None]
    column = np.linspace(0, 1, size[0], dtype=np.float32)
    air = _ramp(row / _SKYLINE + 0.14 * (0.6 - column), "3a72b4 4f8bc6 7fb0d8 b4d0e2 ecdfcc f8dcb4")
    billow = _noise(size, (3, 6), 27, 8, 0.52) + 0.4 - 12 * (row - 0.22) ** 2
    reach = size[1] // 28
    sunward = np.pad(billow, ((reach, 0), (reach, 0)), mode="edge")[: size[1], : size[0]]
    cloud = _ramp(_smooth(-0.35, 0.75, billow - sunward), "a3adc4 c9c6cd f3e3d0 fffaf0")
    return _mix(air, cloud, 0.95 * _smooth(0.1, 1.1, billow))


def _terrain(sky: Array) -> Array:
    """Put land before a sky: heights on a grid of (distance, column), cut to the camera's view."""
    height, width = sky.shape[:2]
    far = np.linspace(0, 1, 700, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    crags = -np.abs(_noise((width, 700), (3, 6), 7, 9, 0.5))
    hills = _noise((width, 700), (3, 7), 4, 8, 0.45)
    peaks = 0.25 * np.exp(-(((across - 0.27) / 0.2) ** 2)) + 0.12 * np.exp(-(((across + 0.45) / 0.2) ** 2))
    rise = 0.01 + 0.07 * _smooth(0.15, 0.45, far) * (1 + 0.5 * np.cos(5 * across + 2.2))
    rise = rise + _smooth(0.55, 1, far) * (0.08 + peaks) * (1.15 + 0.35 * crags)
    rise = rise + (0.004 + 0.02 * far) * hills
    wood = _smooth(-0.2, 0.2, hills + 0.3) * (1 - _smooth(0.17, 0.23, rise + 0.02 * hills))
    land = _mix(_ramp(far + 0 * across, "a3a64a 9aa34e 8f9a58 8d8672 93877c"), _palette("2f4a2b"), wood)
    land = _mix(land, _palette("fbf6f0"), _smooth(0.22, 0.26, rise + 0.05 * crags + 0.02 * hills))
    slope_z, slope_x = np.gradient(rise, 1 / 700, 1 / width)
    normal = np.stack([-0.75 * slope_x, np.ones_like(rise), -rise - slope_z / 4], axis=-1)
    light = np.clip(normal @ _SUNWARD / np.linalg.norm(normal, axis=-1), 0, 1)
    land *= _mix(_palette("5c6b8c"), 1.36 * _palette("ffe9c7"), light)
    land = _mix(land, _palette("c2cfde"), 0.10 + 0.48 * far**1.5)
    sight = _SKYLINE - np.linspace(0, 1, height, dtype=np.float32)
    hit = np.stack([np.searchsorted(slope, sight) for slope in np.maximum.accumulate(rise).T], axis=1)
    return np.where((hit < 700)[..., None], land[np.minimum(hit, 699), np.arange(width)], sky)


class _Canvas:
    """A picture to draw on in metres: x to the right, y up from the water, z away from the camera."""

    def __init__(self, image: Image.Image, grain: Array) -> None:
        self.image, self.grain = image, grain

    def project(self, points: Polygon | Array) -> Array:
        """Pixel (column, row) of each point."""
        x, y, z = np.asarray(points, dtype=np.float64).T
        return np.stack([0.5 + 0.75 * x / z, _SKYLINE - (y - _EYE) / z], axis=-1) * self.image.size

    def face(self, points: Polygon, name: str, top: float = 1, bottom: float = 1, grain: float = 0.05) -> None:
        """Fill a flat polygon, clockwise when seen from its front, shaded from `top` to `bottom`."""
        corners = np.array(points) - (0, _EYE, 0)
        normal = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
        if normal @ corners[0] >= 0:  # seen from behind
            return
        normal /= np.linalg.norm(normal)
        pixels = self.project(points)
        x0, y0 = np.clip(pixels.min(axis=0), 0, np.subtract(self.image.size, 1)).astype(int).tolist()
        x1, y1 = np.clip(pixels.max(axis=0) + 2, (x0 + 1, y0 + 1), self.image.size).astype(int).tolist()
        mask = Image.new("L", (x1 - x0, y1 - y0))
        ImageDraw.Draw(mask).polygon((pixels - (x0, y0)).ravel().tolist(), fill=255)
        sun = 1.15 * max(0.0, float(normal @ _SUNWARD)) * _palette("ffd9a4")
        sky = 1.12 * (0.46 + 0.1 * float(normal[1])) * _palette("bfd6ff")
        light = np.linspace(top, bottom, y1 - y0, dtype=np.float32)[:, None, None]
        light = light + grain * self.grain[y0:y1, x0:x1, None]
        self.image.paste(_image(_palette(name) * (sun + sky) * light), (x0, y0), mask)


def _sides(foot: Point, turn: float, width: float, length: float) -> Iterator[tuple[float, Side]]:
    """Half the width and the surface of each side of a box standing at `foot`, turned by `turn` radians."""
    x, ground, z = foot
    for k in range(4):
        half, front = (width / 2, length / 2) if k % 2 == 0 else (length / 2, width / 2)
        c, s = np.cos(turn + k * np.pi / 2).item(), np.sin(turn + k * np.pi / 2).item()

        def side(u: float, y: float, out: float = 1, c: float = c, s: float = s, d: float = front) -> Point:
            return x + c * u - s * d * out, ground + y, z - s * u - c * d * out

        yield half, side


def _panel(side: Side, left: float, right: float, low: float, high: float) -> list[Point]:
    return [side(left, low), side(left, high), side(right, high), side(right, low)]


def _house(canvas: _Canvas, foot: Point, turn: float, size: Point, ridge: float, wall: str, roof: str) -> None:
    """Draw a gabled house of `size` (width, length, height of the eaves) metres."""
    width, length, eaves = size
    sides = list(_sides(foot, turn, width, length))
    for k, (half, side) in enumerate(sides):
        rise = (ridge - eaves) * (k % 2 == 0)
        top = [side(u * half, eaves + rise * (u == 0)) for u in (-1, 0, 1)]
        canvas.face([side(-half, 0), *top, side(half, 0)], wall, 0.92, 0.8)
        columns = round(half / 1.2)
        for u in (np.arange(0.5, columns) * 2 / columns - 1) * half:
            for y in np.arange(1.0, eaves + rise * max(0, 1 - (abs(u) + 0.5) / half) - 1.6, 2.7):
                _window(canvas, side, u, y)
    for half, side in sides[1::2]:
        _roof(canvas, side, 1.08 * half, eaves, ridge, roof)
    for half, side in _sides(sides[0][1](0.8, ridge, 0.3), turn, 0.9, 0.9):
        canvas.face(_panel(side, -half, half, -1.0, 1.0), "b98a6e")


def _window(canvas: _Canvas, side: Side, u: float, y: float) -> None:
    """Draw shutters, frame, pane and mullion of a window around (`u`, `y`) metres."""
    canvas.face(_panel(side, u - 0.8, u + 0.8, y + 0.05, y + 1.35), "5d7a6a")
    canvas.face(_panel(side, u - 0.48, u + 0.48, y - 0.12, y + 1.5), "f4efe2")
    canvas.face(_panel(side, u - 0.36, u + 0.36, y + 0.05, y + 1.35), "67788a", 1, 0.35)
    canvas.face(_panel(side, u - 0.05, u + 0.05, y, y + 1.4), "f4efe2")


def _roof(canvas: _Canvas, side: Side, half: float, eaves: float, ridge: float, name: str) -> None:
    """Draw the slope of a roof above a side of a house, in rows of tiles."""

    def strip(high: float, low: float, shade: float, grain: float = 0) -> None:
        a, b = ((ridge + 0.12 - (ridge - eaves) * out, out) for out in (high, low))
        corners = [side(-half, *b), side(-half, *a), side(half, *a), side(half, *b)]
        canvas.face(corners, name, shade, 0.85 * shade, grain)

    strip(0, 1.14, 1, 0.1)
    for out in np.linspace(0, 1.12, 13).tolist():
        strip(out, out + 0.02, 0.78 if out else 1.25)


def _tower(canvas: _Canvas, foot: Point, turn: float) -> None:
    """Draw a church tower of 5 x 5 x 16 metres, with belfry and clock, and its spire."""
    turns = np.linspace(np.pi, 0, 9)
    for half, side in _sides(foot, turn, 5.2, 5.2):
        canvas.face(_panel(side, -half, half, 0, 16), "f3eadb", 0.95, 0.8)
        canvas.face(_panel(side, -half, half, 11.2, 11.5), "ad9f8b")
        for u in (-0.8, 0.8):
            arch = [side(u + 0.42 * np.cos(t), 14 + 0.6 * np.sin(t)) for t in turns]
            canvas.face([side(u - 0.42, 12.2), *arch, side(u + 0.42, 12.2)], "45403f", 0.5, 0.9)
        canvas.face([side(0.95 * np.cos(2 * t), 9.6 + 0.95 * np.sin(2 * t)) for t in turns], "2f3f58")
        canvas.face([side(-0.1, 9.5), side(-0.05, 10.4), side(0.5, 9.3)], "ffe9a8", 1.2, 1.2)
        eaves = [side(1.15 * u, 15.9, 1.15) for u in (-half, half)]
        canvas.face([eaves[0], side(0, 27, 0), eaves[1]], "5c8a86", 1.2, 1.0, 0.08)
        canvas.face([side(-0.08, 26.5, 0), side(0, 29, 0), side(0.08, 26.5, 0)], "e6bf59", 1.2, 1.2)


def _tree(canvas: _Canvas, foot: Point, height: float, width: float, leaves: str) -> None:
    """Draw a tree: dabs in the colours of `leaves`, from shade to sun, lit by where they sit on the crown."""
    rng = np.random.default_rng(round(9000 + 97 * foot[0] + 13 * foot[2]))
    for half, side in _sides(foot, 0, 0.035 * height, 0.035 * height):
        canvas.face(_panel(side, -half, half, -0.3, height / 2), "4d3e32")
    count = int(66 * (height * width) ** 0.7)
    lobes, out = rng.normal(size=(9, 3)), rng.normal(size=(count, 3))
    lobe = (lobes / (np.linalg.norm(lobes, axis=1, keepdims=True) + 0.4))[rng.integers(0, 9, count)]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    light = (0.55 * out + 0.6 * lobe) @ _SUNWARD + rng.normal(0, 0.14, count)
    spot = (0.6 * lobe + 0.5 * out * rng.uniform(0.5, 1, (count, 1))) * (width / 2, 0.42 * height, width / 2)
    colours = (np.clip(_ramp(0.42 + 0.5 * light, leaves), 0, 1) * 255).astype(int).tolist()
    centres = canvas.project(spot + np.add(foot, (0, 0.62 * height, 0))).tolist()
    radii = (rng.uniform(0.10, 0.26, count) * (0.6 + 0.05 * height) * canvas.image.height / foot[2]).tolist()
    draw = ImageDraw.Draw(canvas.image)
    for i in np.argsort(light + rng.uniform(0, 0.3, count) - 0.06 * spot[:, 2]).tolist():
        (column, row), r = centres[i], radii[i]
        draw.ellipse((column - r, row - 0.8 * r, column + r, row + 0.8 * r), tuple(colours[i]))


def _bridge(canvas: _Canvas, foot: Point, span: float) -> None:
    """Draw a humped stone bridge of four arches, `span` metres long from its left `foot`."""
    left, _, z = foot

    def deck(x: float, up: float = 0.0) -> Point:
        return x, 3.2 + up + 1.5 * np.sin((x - left) / span * np.pi).item(), z

    def arch(k: int, grow: float, away: float) -> list[Point]:
        x, turns = left + (k + 0.5) * span / 4, np.linspace(np.pi, 0, 16).tolist()
        reach, rise = 0.095 * span + grow, deck(x)[1] - 1.2 + grow
        return [(x + reach * np.cos(t), 0.2 + rise * np.sin(t) ** 0.8, z + away) for t in turns]

    xs, below = np.linspace(left - 3, left + span + 3, 30).tolist(), []
    for k in range(4):
        front, back = arch(k, 0, 0), arch(k, 0, 5)
        below += [(front[0][0], -0.3, z), *front, (front[-1][0], -0.3, z)]
        for i in range(15):
            canvas.face([front[i], front[i + 1], back[i + 1], back[i]], "8d8172", 0.6, 0.6)
    wall = [deck(x, 0.9) for x in xs]
    canvas.face([(xs[0], -0.3, z), *wall, (xs[-1], -0.3, z), *below[::-1]], "c2ad8c", 1.15, 0.9, 0.12)
    for up, shade in ((1.05, 1.2), (0.0, 0.75)):
        coping = [deck(x, up) for x in xs] + [deck(x, up - 0.28) for x in xs[::-1]]
        canvas.face(coping, "e8d8b8", shade, shade)
    for k in range(4):
        canvas.face(arch(k, 0.35, 0) + arch(k, 0, 0)[::-1], "ddcaa6", 1.05, 1.05)


def _town(canvas: _Canvas) -> None:
    """Draw everything on land, from back to front."""
    canvas.face([(-60, 0, _SHORE), (-60, 2.5, 90), (60, 2.5, 90), (60, 0, _SHORE)], "70774c", 1, 0.9, 0.12)
    canvas.face([(4, 0, _SHORE), (9, 0.9, 90), (26, 0.9, 90), (28, 0, _SHORE)], "7f949f", 1, 0.9, 0.03)
    rng = np.random.default_rng(12)
    grove: list[Item] = [
        (_tree, ((z * rng.uniform(-0.7, 0.7), 3.0, z), *rng.uniform(5, 9, 2), _GREEN if z % 3 else _DARK))
        for z in range(110, 70, -1)
    ]
    for draw, (foot, *rest) in sorted(grove + _SCENE, key=lambda item: -item[1][0][2]):
        draw(canvas, foot, *rest)
    half, quay = next(_sides((-27.5, 0, _SHORE + 10), 0, 65, 20))
    canvas.face(_panel(quay, -half, half, 0, 1.4), "b8a98c", 1.1, 0.6, 0.16)
    canvas.face(_panel(quay, -half, half, 1.2, 1.5), "f0e2c4", 1.2, 1.2)


def _boat(canvas: _Canvas, afloat: float = 0) -> None:
    """Draw a sailing boat, raised by `afloat` metres."""

    def polygon(name: str, top: float, bottom: float, *points: tuple[float, float]) -> None:
        canvas.face([(3.0 + u, v + afloat, _BOAT) for u, v in points], name, top, bottom, 0.03)

    gunwale = [(-2.6, 0.95), (-1.4, 0.68), (0.0, 0.58), (1.3, 0.62), (2.3, 0.75)]
    polygon("f4ece0", 1.1, 0.4, *gunwale, (1.9, 0.1), (0.6, -0.08), (-1.0, -0.08), (-2.0, 0.2))
    polygon("7a4a2c", 1, 1, *gunwale, *((u, v - 0.13) for u, v in gunwale[::-1]))
    polygon("5a4433", 1, 1, (-0.35, 0.5), (-0.35, 6.8), (-0.25, 6.8), (-0.25, 0.5))
    polygon("5a4433", 1, 1, (-0.3, 1.1), (-0.3, 1.2), (2.3, 1.35), (2.3, 1.25))
    t = np.linspace(0, 1, 12)
    polygon("d4552f", 1.1, 0.8, (-0.2, 1.3), *zip(-0.2 + 2.5 * t**0.7, 6.5 - 5.1 * t, strict=True))
    polygon("fff4dc", 1.1, 0.85, *zip(-2.52 + 2.1 * t, 1 + 5 * t**0.8, strict=True), (-0.5, 1.2))


def _lake(canvas: _Canvas) -> None:
    """Fill everything below the waterfront with a rippled mirror image of the scene above it."""
    width, height = canvas.image.size
    shore = round((_SKYLINE + _EYE / _SHORE) * height)
    above = _Canvas(canvas.image.copy(), canvas.grain)
    _boat(above, afloat=2 * _EYE * (1 - _BOAT / _SHORE))  # so that mirroring at the shore puts it upon its keel
    scene = np.asarray(above.image, dtype=np.float32) / 255
    depth = np.arange(height - shore, dtype=np.float32)[:, None] / height  # below the shore, picture heights
    distance = _EYE / (depth + _EYE / _SHORE)  # metres
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * distance
    swell = _noise((2048, 2048), (80, 300), 8, 3, 0.5)
    ripple = swell[(distance * 40).astype(int) % 2048, (across * 14 + 1024).astype(int) % 2048]
    sway = ripple * (0.003 + 0.08 * depth) * height
    columns = np.clip(np.arange(width) + 0.2 * np.roll(sway, 7, axis=1), 0, width - 1).astype(int)
    mirror = np.zeros((height - shore, width, 3), dtype=np.float32)
    for smear in (0, 0.04, 0.08):
        rows = np.abs(shore - 1 - (1 + smear) * depth * height + 0.6 * sway)
        mirror += scene[np.clip(rows, 0, shore - 1).astype(int), columns] / 3
    clear = _smooth(0, 0.1, depth)
    murk = 0.18 + 0.34 * _smooth(0, 0.35, depth) + 0.09 * ripple * clear
    water = _mix(0.95 * mirror, _ramp(depth / 0.33, "1f4a5c 0c2a3c"), np.clip(murk, 0, 0.85))
    water = _mix(water, _palette("f2ede0"), 0.3 * _smooth(1.6, 2.6, ripple) * clear)
    canvas.image.paste(_image(water), (0, shore))


def _reeds(canvas: _Canvas) -> None:
    """Draw the reeds of the near shore, each a bent and tapering blade."""
    rng = np.random.default_rng(31)
    t = np.linspace(0, 1, 7)
    for x in np.sort(rng.uniform(-6, -1.8, 260))[::-1]:
        z, tall = rng.uniform(6, 7.3), rng.uniform(0.5, 1.0) * (2.0 - 0.42 * (x + 3.7))
        left = np.stack([x + rng.normal(0.1, 0.16) * tall * t * t, tall * t - 0.4, 0 * t + z], axis=-1)
        blade = [*left, *(left + np.multiply.outer(1.05 - t, (0.03, 0, 0)))[::-1]]
        canvas.face(blade, rng.choice(["24351f", "4a5829", "7d813a", "c0a654", "ecd083"]), 1.2, 0.5, 0)


_SCENE: list[Item] = [
    (_house, ((-27, 3, 66), 0.35, (8, 10, 6), 10, "e9d9b8", "84452f")),
    (_house, ((-18.5, 3, 63), 0.80, (8, 9, 6.5), 10.5, "f0e6d2", "a4502f")),
    (_house, ((2.6, 3, 62), 0.30, (8, 9, 6), 10, "e8c9a0", "9c4a2c")),
    (_house, ((-28, 1.4, 51), 0.85, (8, 10, 6), 9.8, "d9a878", "94472c")),
    (_house, ((-19.6, 1.4, 50.5), 0.35, (7, 8, 5.8), 9.4, "f2ead8", "b5653c")),
    (_house, ((-12, 1.4, 51), 1.00, (7.5, 8, 6.4), 10, "c9d2cf", "6e5a52")),
    (_house, ((-4.6, 1.4, 50.4), 0.45, (7, 8, 6.2), 10.2, "f4ecdc", "a85230")),
    (_house, ((2, 1.4, 49.5), 0.90, (6, 7, 4.6), 7.8, "e6b98c", "8c4832")),
    (_house, ((34, 2, 60), 0.40, (8, 9, 5), 9, "efe2c8", "9a4c30")),
    (_house, ((-5.5, 4, 62.1), 0.95, (9, 16, 8), 14, "efe6d6", "7d4332")),
    (_tower, ((-10.5, 4, 59), 0.5)), (_bridge, ((5, 0, 46), 22)),
    (_tree, ((7.5, 2, 56), 9, 6, _GREEN)), (_tree, ((-31, 1.4, 46), 7, 5, _GREEN)),
    (_tree, ((-24, 1.4, 45.5), 5.5, 4.5, _GOLD)), (_tree, ((-8.6, 1.4, 45.5), 5, 4, _GREEN)),
    (_tree, ((4.6, 1.4, 45), 6, 4.5, _GREEN)), (_tree, ((29, 1.4, 45), 10, 8, _GREEN)),
]  # fmt: skip


# --- painting ---------------------------------------------------------------------------------------------

_HORIZON, _SUN = 0.57, (0.68, 0.37)
_ASPECT = np.array([0.75, 1], dtype=np.float32)  # of a picture height, in columns and rows of a 4:3 picture
_BRUSHES = (
    (0.065, 0.24, 3.5),
    (0.042, 0.17, 2.6),
    (0.026, 0.11, 1.3),
    (0.015, 0.07, 0.35),
)  # girth, length, coats
_SKY = "fffbe0 fff0a8 ffd84f fbb32c f58e1f e8651f c8432b 2a8f9c 8fd0bd "
_SKY += "2587a0 1d6494 6fb3c4 1b4585 2d66a8 17306f 101f50 0c1638 1b3f80"
_SEA = "091738 0d2c5c 10466f 16707f 1f8f95 5fbcae e9efd2"
_GLITTER = "c8432b e8651f fbb32c ffe27a"
_VORTICES = [  # column, row, radius, spin
    (0.68, 0.32, 0.30, 1.6), (0.14, 0.30, 0.20, -1.3), (0.36, 0.06, 0.18, 1.2), (1.00, 0.06, 0.18, -1.2),
    (0.20, 0.80, 0.20, 1.5), (0.62, 0.98, 0.20, 1.2), (0.97, 0.78, 0.17, 1.2),
]  # fmt: skip


def _flow(at: Array) -> Array:
    """Return the unit direction of the brush at each point of shape (..., 2)."""
    x, y = at[..., 0], at[..., 1]
    flow = np.stack([np.full_like(x, 0.55), 0.25 * np.cos(9 * x + 4 * y)], axis=-1)
    for column, row, radius, spin in _VORTICES:
        dx, dy = (x - column) * 4 / 3, y - row
        pull = 1.6 * spin * np.exp(-(dx * dx + dy * dy) / (radius * radius)) / radius
        flow += np.stack([-dy * pull, dx * pull], axis=-1)
    direction: Array = flow / (np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-6)
    return direction


def _pick(t: Array, names: str) -> Array:
    """Nearest of evenly spaced colours at `t` in [0, 1]: shape ``t.shape + (3,)``."""
    last = len(_palette(names)) - 1
    return _ramp(np.rint(t * last) / last, names)


def _pigment(at: Array, rng: np.random.Generator) -> Array:
    """Pigment for each point of shape (..., 2): one of a limited palette, chosen with some looseness."""
    x, y = at[..., 0], at[..., 1]
    away = np.hypot((x - _SUN[0]) * 4 / 3, y - _SUN[1])
    loose = rng.normal(0, 0.025, x.shape)
    sky = away * 1.1 + 0.1 * np.sin(34 * away + 3 * np.sin(7 * x + 2) + 5 * y) + loose
    wave = 0.5 + 0.5 * np.sin(26 * y + 5 * np.sin(5 * x + 1) + 6 * x) + 2 * loose
    glitter = np.abs(x - _SUN[0] + 0.12 * (wave - 0.5)) < 0.03 + 0.16 * (wave - 0.35) * rng.random(x.shape)
    sea = np.where(glitter[..., None], _pick(wave, _GLITTER), _pick(wave, _SEA))
    return np.where((y < _HORIZON)[..., None], _pick(sky, _SKY), sea)


def _strokes(girth: float, length: float, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Lay `count` strokes along the flow, each a sheaf of 9 bristles loaded with two pigments.

    Returns the path of each bristle, (count, 9, 13, 2), and its colour and thickness, (count, 9, 4).
    """
    middle = rng.uniform(-0.05, 1.05, (count, 2))
    step = rng.uniform(0.5, 1.2, (count, 1)) * length / 12 * _ASPECT
    path = [middle]
    for _ in range(6):
        path.insert(0, path[0] - _flow(path[0] - _flow(path[0]) * step / 2) * step)
        path.append(path[-1] + _flow(path[-1] + _flow(path[-1]) * step / 2) * step)
    spine = np.stack(path, axis=1)[:, None]
    normal = _flow(spine)[..., ::-1] * (-1, 1) * _ASPECT
    across = np.linspace(-1, 1, 9)[:, None]
    taper = np.sqrt(np.sin(np.linspace(0.25, 2.8, 13)))
    lanes = spine + normal * (across * taper * girth / 2)[..., None]
    one, two = _pigment(middle + rng.normal(0, 0.012, (2, count, 2)), rng)[:, :, None]
    blend = np.clip(0.3 + 0.7 * across + rng.normal(0, 0.35, (count, 9, 1)), 0, 1)
    tone = rng.normal(0, 0.085, (count, 1, 1)) + rng.normal(0, 0.03, (count, 1, 3))
    tone = tone + rng.normal(0, 0.06, (count, 9, 1))
    thick = 0.35 + 0.35 * across**2 + rng.normal(0, 0.1, (count, 9, 1)) + rng.uniform(0, 0.2, (count, 1, 1))
    return lanes, np.concatenate([one + (two - one) * blend + tone, thick], axis=-1)


def _paint(painting: Image.Image, girth: float, lanes: Array, inks: Array) -> None:
    """Draw bristles in order, with ragged ends; the alpha channel keeps the thickness of the paint."""
    draw = ImageDraw.Draw(painting)
    pen = max(1, round(girth * painting.height / 6))
    paths = (lanes * painting.size).reshape(-1, 26).tolist()
    colours = (np.clip(inks, 0, 1) * 255).astype(int).reshape(-1, 4).tolist()
    ends = (2 * np.random.default_rng(0).integers(0, 4, (len(paths), 2))).tolist()
    for path, colour, (begin, end) in zip(paths, colours, ends, strict=True):
        draw.line(path[begin : 26 - end], tuple(colour), pen)


def _relief(painting: Image.Image) -> Image.Image:
    """Light the paint from the upper left by the slope of its thickness."""
    unit = painting.height / 1080
    pixels: Array = np.asarray(painting.filter(ImageFilter.GaussianBlur(1.5 * unit)), dtype=np.float32) / 255
    slope_y, slope_x = np.gradient(pixels[..., 3], unit)
    light = np.add(slope_x, slope_y)[..., None]
    shine = 1.2 * np.clip(light - 0.05, 0, 0.12)
    return _image(pixels[..., :3] * (1 + 4 * np.clip(light, -0.16, 0.16)) + shine)


if __name__ == "__main__":
    main()
