"""The demo's pictures: what their drawings are like, and that the files are these."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from docs.samples import draw_content, draw_style, encoded
from impasto.cli.drawing.samples import open_sample

Draw = Callable[[int, int], Image.Image]

both = pytest.mark.parametrize("draw", [draw_content, draw_style])


def luminance(picture: Image.Image) -> npt.NDArray[np.float64]:
    """Luma in [0, 1], of shape (height, width)."""
    return np.asarray(picture.convert("L"), dtype=np.float64) / 255


def texture(picture: Image.Image, radius: float) -> npt.NDArray[np.float64]:
    """Deviation from the picture blurred by `radius` pixels, in each tile of 16 x 16 pixels, sorted."""
    blurred = picture.filter(ImageFilter.GaussianBlur(radius))
    fine = (np.asarray(picture, dtype=np.float64) - np.asarray(blurred)) / 255
    rows, columns = picture.height // 16, picture.width // 16
    tiles = fine[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16, 3)
    return np.sort(np.sqrt((tiles**2).mean(axis=(1, 3, 4))), axis=None)


@both
def test_same_picture_every_time(draw: Draw) -> None:
    assert draw(160, 120).tobytes() == draw(160, 120).tobytes()


@both
@pytest.mark.parametrize(("width", "height"), [(64, 64), (97, 65), (64, 171), (333, 250)])
def test_any_size(draw: Draw, width: int, height: int) -> None:
    picture = draw(width, height)
    assert picture.size == (width, height)
    assert picture.mode == "RGB"


@both
def test_same_scene_at_every_size(draw: Draw) -> None:
    small = luminance(draw(120, 90).resize((40, 30), Image.Resampling.BOX))
    large = luminance(draw(480, 360).resize((40, 30), Image.Resampling.BOX))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9


@both
def test_uses_the_tonal_range_and_colour(draw: Draw) -> None:
    picture = draw(240, 180)
    low, high = np.percentile(luminance(picture), [2, 98])
    assert luminance(picture).std() > 0.15
    assert high - low > 0.6
    assert (np.asarray(picture, dtype=np.float64).std(axis=(0, 1)) / 255 > 0.12).all()


@pytest.mark.parametrize(("name", "draw"), [("town", draw_content), ("sunset", draw_style)])
def test_the_files_are_what_is_drawn_and_encoded_but_for_rounding(name: Literal["town", "sunset"], draw: Draw) -> None:
    kept, drawn = open_sample(name), Image.open(io.BytesIO(encoded(draw(480, 360))))
    assert (kept.mode, kept.size) == (drawn.mode, drawn.size)
    apart = np.abs(np.asarray(kept, int) - np.asarray(drawn, int)).max(axis=-1)
    assert (apart > 8).mean() < 0.001, "run: python -m docs.samples"


@pytest.mark.parametrize("radius", [2, 8])
def test_strokes_cover_the_painting_but_not_the_photograph(radius: float) -> None:
    content, style = (texture(open_sample(name), radius) for name in ("town", "sunset"))
    assert np.median(style) > 1.5 * np.median(content)
    assert style[len(style) // 20] > 5 * content[len(content) // 20]  # the photograph has smooth places
