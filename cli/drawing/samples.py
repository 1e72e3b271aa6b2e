"""The demo's two pictures: ``town``, a photograph to repaint, and ``sunset``, a painting to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PIL import Image


def open_sample(name: Literal["town", "sunset"]) -> Image.Image:
    """Return one of the pictures, of 480x360 RGB pixels; `docs/samples.py` drew them."""
    with Image.open(Path(__file__).with_name(f"{name}.jpg")) as image:
        return image.copy()
