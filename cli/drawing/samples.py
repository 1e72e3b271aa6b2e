"""The demo's two pictures: ``town``, a photograph to repaint, and ``sunset``, a painting to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from PIL import Image

Name = Literal["town", "sunset"]

#: Name -> what the picture is for: ``content`` or ``style``. `docs/samples.py` drew them, of 480x360 RGB pixels.
SAMPLES: Mapping[Name, str] = {"town": "content", "sunset": "style"}


def sample_file(name: Name) -> Path:
    """Return the file of one of the pictures."""
    return Path(__file__).with_name(f"{name}.jpg")


def open_sample(name: Name) -> Image.Image:
    """Return one of the pictures."""
    with Image.open(sample_file(name)) as image:
        return image.copy()
