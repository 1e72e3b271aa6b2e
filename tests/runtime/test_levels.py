"""Levels of every mode become 8-bit colours and opacity: to scale, or refused, never black or noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.runtime.photographs import to_rgb

SIZE = (40, 36)
Colour = tuple[int, int, int]


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, SIZE, colour)


def sixteen_bit(level: int, mode: str) -> Image.Image:
    return Image.fromarray(np.full(SIZE[::-1], level, {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]))


def palette(colour: Colour, transparency: int | bytes | None = None) -> Image.Image:
    image = Image.new("P", SIZE, 1)
    image.putpalette([9, 9, 9, *colour])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def palette_alpha(colour: Colour, alpha: int) -> Image.Image:
    image = Image.new("PA", SIZE, (1, alpha))
    image.putpalette([9, 9, 9, *colour])
    return image


def with_colour_key(image: Image.Image, key: Any) -> Image.Image:
    image.info["transparency"] = key
    return image


# --- modes ----------------------------------------------------------------------------------------------------

WHITE = (255, 255, 255)

MODES: dict[str, tuple[Callable[[], Image.Image], Colour]] = {
    "1": (lambda: flat("1", 1), WHITE),
    "L": (lambda: flat("L", 77), (77, 77, 77)),
    "L, keyed out": (lambda: with_colour_key(flat("L", 77), 77), WHITE),
    "P": (lambda: palette((200, 100, 50)), (200, 100, 50)),
    "P, transparent": (lambda: palette((200, 100, 50), 1), WHITE),
    "P, half transparent": (lambda: palette((200, 100, 50), bytes([255, 128])), (227, 177, 152)),
    "P, another entry transparent": (lambda: palette((200, 100, 50), 0), (200, 100, 50)),
    "PA": (lambda: palette_alpha((200, 100, 50), 255), (200, 100, 50)),
    "PA, transparent": (lambda: palette_alpha((200, 100, 50), 0), WHITE),
    "RGB": (lambda: flat("RGB", (10, 20, 30)), (10, 20, 30)),
    "RGB, keyed out": (lambda: with_colour_key(flat("RGB", (10, 20, 30)), (10, 20, 30)), WHITE),
    "RGBX": (lambda: flat("RGBX", (10, 20, 30, 40)), (10, 20, 30)),
    "RGBA, opaque": (lambda: flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
    "RGBA, transparent": (lambda: flat("RGBA", (10, 20, 30, 0)), WHITE),
    "RGBA, half transparent": (lambda: flat("RGBA", (0, 100, 200, 128)), (127, 177, 227)),
    "RGBa": (lambda: flat("RGBA", (0, 0, 0, 0)).convert("RGBa"), WHITE),
    "LA": (lambda: flat("LA", (77, 255)), (77, 77, 77)),
    "LA, transparent": (lambda: flat("LA", (77, 0)), WHITE),
    "La": (lambda: flat("LA", (77, 0)).convert("La"), WHITE),
    "CMYK": (lambda: flat("CMYK", (255, 0, 0, 0)), (0, 255, 255)),
    "CMYK, black": (lambda: flat("CMYK", (0, 0, 0, 255)), (0, 0, 0)),
    "YCbCr": (lambda: flat("YCbCr", (100, 128, 128)), (100, 100, 100)),
    "HSV": (lambda: flat("HSV", (85, 255, 255)), (0, 255, 0)),
    "LAB": (lambda: flat("LAB", (255, 128, 128)), WHITE),
    "I;16": (lambda: sixteen_bit(65535, "I;16"), WHITE),
    "I;16, middle": (lambda: sixteen_bit(32896, "I;16"), (128, 128, 128)),
    "I;16, keyed out": (lambda: with_colour_key(sixteen_bit(1234, "I;16"), 1234), WHITE),
    "I;16B": (lambda: sixteen_bit(257 * 3, "I;16B"), (3, 3, 3)),
    "I": (lambda: sixteen_bit(65535, "I"), WHITE),
    "F": (lambda: flat("F", 99.6), (100, 100, 100)),
    "F, of 1": (lambda: flat("F", 0.5), (128, 128, 128)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    make, expected = MODES[mode]
    image = to_rgb(make())
    assert image.mode == "RGB"
    assert image.size == SIZE
    assert np.abs(np.asarray(image, int) - expected).max() <= (2 if mode in ("YCbCr", "LAB") else 1)
