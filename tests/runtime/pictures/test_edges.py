"""Colours move with a result's edges of lightness, are the photograph's own elsewhere, and never new ones."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import ConvexHull

from impasto.runtime.pictures import edges
from impasto.runtime.pictures.colors import LUMA, keep_colors, keep_pixels

Array = NDArray[Any]

RED, BLUE = (200, 60, 50), (70, 110, 220)


def image(levels: Array) -> Image.Image:
    return Image.fromarray(np.asarray(levels).round().clip(0, 255).astype(np.uint8))


def array(picture: Image.Image) -> Array:
    return np.asarray(picture, float)


def moved(result: Image.Image, content: Image.Image) -> Array:
    return edges.colors_along(result, content)(slice(0, result.height))


def halves(edge: int, size: tuple[int, int] = (96, 64), left: Any = RED, right: Any = BLUE) -> Image.Image:
    """Return a picture whose left part, as far as an edge, has one colour, and the right another."""
    picture = Image.new("RGB", size, right)
    picture.paste(left, (0, 0, edge, size[1]))
    return picture


def chroma(picture: Image.Image) -> Array:
    return array(picture) - (array(picture) @ np.array(LUMA))[..., None]


# --- moving ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edge", "left_over"), [(44, 0.7), (46, 0.4), (47, 0.4), (49, 0.4), (50, 0.4), (52, 0.7)])
def test_where_an_edge_has_moved_the_colours_move_with_it(edge: int, left_over: float) -> None:
    """The lightness of the painting: dark on the left, light on the right, with some of its strokes."""
    strokes = np.random.default_rng(0).normal(0, 4, (64, 96, 1))
    result, content = image(array(halves(edge, left=(60,) * 3, right=(190,) * 3)) + strokes), halves(48)
    between, wanted = slice(min(edge, 48), max(edge, 48)), chroma(Image.new("RGB", (1, 1), RED if edge > 48 else BLUE))
    far, near = (
        np.linalg.norm(chroma(keep(result, content))[:, between] - wanted, axis=-1).mean()
        for keep in (keep_pixels, keep_colors)
    )
    assert far > 150
    assert near < left_over * far


def test_no_halo_is_left_where_the_result_is_flat_and_the_photograph_has_an_edge() -> None:
    result, content = image(np.full((64, 96, 3), 128.0)), halves(48, left=(120, 30, 20), right=(170, 200, 250))
    hard, soft = (
        np.abs(np.diff(array(keep(result, content))[32], axis=0)).max() for keep in (keep_pixels, keep_colors)
    )
    assert hard > 80
    assert soft < 0.25 * hard


def test_a_part_of_another_lightness_has_no_share_in_an_average() -> None:
    content = halves(48)
    result = halves(48, left=(40,) * 3, right=(200,) * 3)
    colors = moved(result, content)
    np.testing.assert_allclose(colors[:, :48], np.broadcast_to(RED, colors[:, :48].shape), atol=1e-3)
    np.testing.assert_allclose(colors[:, 48:], np.broadcast_to(BLUE, colors[:, 48:].shape), atol=1e-3)


@given(shift=st.integers(-2, 2), seed=st.integers(0, 99))
def test_an_average_is_that_of_a_joint_bilateral_filter(shift: int, seed: int) -> None:
    """The grid's own sums, pixel by pixel: what a bilateral grid approximates, with boxes for its cells."""
    rng = np.random.default_rng(seed)
    content = image(rng.integers(0, 256, (40, 40, 3)).repeat(1, 0))
    result = image(np.roll(array(halves(20, (40, 40), (50,) * 3, (200,) * 3)), shift, axis=1))
    found = edges._averages(result, content, 4)(slice(0, 40))
    y, x = np.mgrid[:40, :40]
    light = np.round(array(result) @ np.array(LUMA))
    for row, column in ((20, 8), (13, 30), (5, 20)):
        weight = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 4.4**2)) * (light == light[row, column])
        expected = (weight[..., None] * array(content)).sum((0, 1)) / weight.sum()
        np.testing.assert_allclose(found[row, column], expected, atol=9)  # of levels of noise from 0 to 255


# --- staying --------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 99), size=st.tuples(st.integers(1, 70), st.integers(1, 70)), scale=st.sampled_from([0, 20, 90])
)
def test_a_picture_with_the_photographs_lightness_has_the_photographs_colours(
    seed: int, size: tuple[int, int], scale: int
) -> None:
    rng = np.random.default_rng(seed)
    content = image(128 + rng.normal(0, scale, (size[1], size[0], 3)))
    grey = image((array(content) @ np.array(LUMA)).round()[..., None].repeat(3, -1))
    np.testing.assert_array_equal(moved(content, content), array(content))
    np.testing.assert_allclose(moved(grey, content), array(content), atol=2)  # its luma is rounded twice


def test_a_small_coloured_thing_keeps_its_colour_where_nothing_has_moved() -> None:
    content = Image.new("RGB", (200, 150), (90, 120, 150))
    content.paste((220, 60, 40), (100, 70, 103, 74))
    result = image(0.8 * array(content) + np.random.default_rng(0).normal(0, 5, (150, 200, 1)))
    found = moved(result, content)[70:74, 100:103]
    assert np.abs(found - (220, 60, 40)).mean() < 40


def test_an_edge_that_colours_alone_have_stays_where_nothing_moves() -> None:
    """Two colours of one luma: no lightness says where it could have moved to."""
    content = halves(48, left=(150, 100, 100), right=(93, 129, 100))
    assert np.ptp((array(content) @ np.array(LUMA)).round()) <= 1
    result = Image.new("RGB", content.size, (120, 120, 120))
    np.testing.assert_allclose(moved(result, content), array(content), atol=2)


# --- hull -----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_no_colour_is_outside_the_hull_of_the_photographs(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    content = image(rng.uniform(0, 255, 3) + rng.normal(0, 60, (size[1], size[0], 3)))
    result = image(rng.uniform(0, 255, (size[1], size[0], 3)))
    colors = moved(result, content).reshape(-1, 3)
    own = array(content).reshape(-1, 3)
    assert (colors >= own.min(0) - 1e-3).all()
    assert (colors <= own.max(0) + 1e-3).all()
    if len(own) > 20:
        sides = ConvexHull(own, qhull_options="QJ").equations
        assert (colors @ sides[:, :3].T + sides[:, 3]).max() < 1e-2


def test_colours_that_are_clipped_keep_their_luma_and_their_hue() -> None:
    result, content = image(np.full((64, 96, 3), 230.0)), halves(40, left=(200, 20, 20), right=(20, 20, 200))
    kept, own = keep_colors(result, content), moved(result, content)
    assert np.abs(array(kept) @ np.array(LUMA) - 230).max() < 0.51
    wanted = own - (own @ np.array(LUMA))[..., None]
    found = chroma(kept)
    share = (found * wanted).sum(-1, keepdims=True) / (wanted**2).sum(-1, keepdims=True)
    assert np.abs(found - share * wanted).max() < 1.5
    assert share.max() < 0.9


# --- sizes ----------------------------------------------------------------------------------------------------


def test_the_memory_does_not_grow_with_the_picture() -> None:
    content = Image.new("RGB", (850, 850), RED)  # so that there are as many cells as can be
    result = content.copy()
    tracemalloc.start()
    keep_colors(result, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < edges.MOST_BYTES


def test_a_large_picture_has_the_look_of_a_small_one() -> None:
    rng = np.random.default_rng(3)
    small = [image(rng.uniform(40, 210, (6, 8, 3))).resize((768, 576), Image.Resampling.BICUBIC) for _ in range(2)]
    large = [picture.resize((1536, 1152), Image.Resampling.BICUBIC) for picture in small]
    reduced = keep_colors(*large).resize((768, 576), Image.Resampling.BOX)
    assert np.abs(array(reduced) - array(keep_colors(*small))).mean() < 2
