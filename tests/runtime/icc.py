"""Colour profiles for tests, written from the ICC's specification (ICC.1:2001-04), and what they mean."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

D50 = (0.9642, 1.0, 0.8249)

#: Columns: XYZ (D50) of the primaries; Adobe's, from "Adobe RGB (1998) Color Image Encoding", and sRGB's.
ADOBE = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))

#: Gamma as a profile holds it, in 1/256.
GAMMA = 563 / 256


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _xyz(column: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*column)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(D50),
        **tags,
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">I4s4s4s4s4s", start + len(data), b"\0" * 4, b"\x02\x40\0\0", device, space, connection)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def rgb_profile(primaries: tuple[tuple[float, ...], ...] = ADOBE, gamma: float = GAMMA) -> bytes:
    """Return a display's profile."""
    red, green, blue = zip(*primaries, strict=True)
    columns = {b"rXYZ": _xyz(red), b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue)}
    curves = {name: _curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"mntr", b"RGB ", b"XYZ ", columns | curves)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def one_way_profile() -> bytes:
    """Return a scanner's profile: it says what its RGB means, and not how to make it."""
    return _profile(b"scnr", b"RGB ", b"Lab ", {b"A2B0": _table(3, lambda inks: (255 * min(inks), 128, 128))})


def cmyk_profile(cyan: tuple[int, int, int]) -> bytes:
    """Return a press's profile: white paper, full cyan of that Lab (8 bits each), black where anything else is."""

    def lab(inks: tuple[int, ...]) -> tuple[int, int, int]:
        return {(0, 0, 0, 0): (255, 128, 128), (1, 0, 0, 0): cyan}.get(inks, (0, 128, 128))  # type: ignore[call-overload]

    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": _table(4, lab)})


def _table(channels: int, lab: object) -> bytes:
    corners = [tuple(k >> (channels - 1 - c) & 1 for c in range(channels)) for k in range(2**channels)]
    identity = bytes(range(256))
    return (
        b"mft1\0\0\0\0"
        + struct.pack(">BBBB", channels, 3, 2, 0)
        + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + identity * channels
        + b"".join(bytes(lab(corner)) for corner in corners)  # type: ignore[operator]
        + identity * 3
    )


def to_srgb(levels: Array, primaries: tuple[tuple[float, ...], ...] = ADOBE, gamma: float = GAMMA) -> Array:
    """Return levels 0..255 of such an RGB profile in sRGB, unrounded; the formulae of IEC 61966-2-1."""
    xyz = (levels / 255) ** gamma @ np.array(primaries).T
    return encode(xyz @ np.linalg.inv(np.array(SRGB)).T)


def lab_to_srgb(lab: tuple[int, int, int]) -> Array:
    """Return Lab, 8 bits each, in sRGB; CIE 15, section 8.2.1."""
    lightness, a, b = lab[0] / 2.55, lab[1] - 128, lab[2] - 128
    y = (lightness + 16) / 116
    cubes = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(cubes > 6 / 29, cubes**3, (cubes - 4 / 29) * 3 * (6 / 29) ** 2) * np.array(D50)
    return encode(np.linalg.inv(np.array(SRGB)) @ xyz)


def encode(linear: Array) -> Array:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def table_profile(
    primaries: tuple[tuple[float, ...], ...] = ADOBE,
    gamma: float = GAMMA,
    *,
    grid: int = 17,
    deep: bool = True,
    back: str = "inverse",
) -> bytes:
    """Return a profile with look-up tables, of 16 bits or 8, as printers and scanners have.

    The way back is the inverse of the way there, or leaves levels as they are (``identity``, as XYB's of jpegli), or
    is missing (``none``), or is a display's that has nothing to do with it (``matrix``).
    """
    most = 65280 / 65535 if deep else 1.0  # what stands for a lightness of 100 (ICC.1:2001-04, 6.5.8)
    tags = {b"A2B0": _lattice(lambda levels: _rgb_to_lab(levels, primaries, gamma) * most, grid, deep)}
    if back == "inverse":
        tags[b"B2A0"] = _lattice(lambda lab: _lab_to_rgb(lab / most, primaries, gamma), grid, deep)
    if back == "identity":
        tags[b"B2A0"] = _lattice(lambda levels: levels, 2, deep)
    if back == "matrix":
        turned = zip(*primaries[::-1], strict=True)
        tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), turned, strict=True)}
        tags |= {name: _curve(1.0) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"prtr", b"RGB ", b"Lab ", tags)


def _lattice(function: Callable[[Array], Array], grid: int, deep: bool) -> bytes:
    """Return a look-up table of a function from [N, 3] to [N, 3], 0..1 (ICC.1:2001-04, 6.5.8 and 6.5.9)."""
    steps = np.linspace(0, 1, grid)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    values = function(points).clip(0, 1)
    head = (b"mft2" if deep else b"mft1") + bytes(4) + struct.pack(">BBBB", 3, 3, grid, 0)
    head += _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    if deep:
        curve = struct.pack(">HH", 0, 65535)
        return (
            head + struct.pack(">HH", 2, 2) + curve * 3 + (values * 65535).round().astype(">u2").tobytes() + curve * 3
        )
    curve = bytes(range(256))
    return head + curve * 3 + (values * 255).round().astype("u1").tobytes() + curve * 3


def _rgb_to_lab(levels: Array, primaries: tuple[tuple[float, ...], ...], gamma: float) -> Array:
    """Return levels 0..1 in Lab, of which 0..100 and -128..127 are 0..1."""
    relative = (levels**gamma @ np.array(primaries).T / np.array(D50)).clip(0, None)
    cubes = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = cubes.T
    return np.stack([(116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255], axis=-1)


def _lab_to_rgb(levels: Array, primaries: tuple[tuple[float, ...], ...], gamma: float) -> Array:
    lightness, a, b = (levels * (100, 255, 255) - (0, 128, 128)).T
    y = (lightness + 16) / 116
    cubes = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(cubes > 6 / 29, cubes**3, (cubes - 4 / 29) * 3 * (6 / 29) ** 2) * np.array(D50)
    return (xyz @ np.linalg.inv(np.array(primaries)).T).clip(0, 1) ** (1 / gamma)
