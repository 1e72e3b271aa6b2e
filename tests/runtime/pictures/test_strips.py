"""What is made in strips is what is made at once, bit for bit, whatever the strips."""

from __future__ import annotations

import contextlib
import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.pictures import strips
from impasto.runtime.pictures.colors import KEEPS, MATCHES, mix, statistics
from impasto.runtime.pictures.masks import read_labels
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.planes import difference, image_planes, resize_planes, to_image, to_planes
from impasto.runtime.plan.plan import KEEP_EDGES, Plan, Stage
from impasto.runtime.plan.recipe import Noise, load_recipe
from impasto.runtime.run import canvas
from impasto.runtime.run.material import Material
from impasto.runtime.run.record import digest

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(32, 70)
sizes = st.tuples(sides, sides)
pixels = st.integers(1, 5000)


@contextlib.contextmanager
def strips_of(count: int) -> Iterator[None]:
    """Make strips of so many pixels."""
    before, strips.PIXELS = strips.PIXELS, count
    try:
        yield
    finally:
        strips.PIXELS = before


def in_strips(count: int, make: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what is made in strips of so many pixels, and what is made at once."""
    with strips_of(count):
        made = make()
    with strips_of(1 << 40):
        return made, make()


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def planes(seed: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-20, 280, (1, 3, size[1], size[0])).astype(np.float32)


# --- strips ---------------------------------------------------------------------------------------------------


@given(size=st.tuples(st.integers(1, 99), st.integers(0, 99)), count=pixels)
def test_strips_are_all_rows_in_order(size: tuple[int, int], count: int) -> None:
    with strips_of(count):
        found = list(strips.rows(*size))
    assert [row for strip in found for row in range(strip.start, strip.stop)] == list(range(size[1]))
    assert all(strip.stop - strip.start in (1, *range(1, count // size[0] + 1)) for strip in found)


# --- planes ---------------------------------------------------------------------------------------------------


@given(seed=seeds, size=sizes, count=pixels)
def test_planes_are_made_of_images_and_images_of_planes(seed: int, size: tuple[int, int], count: int) -> None:
    image, levels = picture(seed, size), planes(seed, size)
    with strips_of(count):
        np.testing.assert_array_equal(to_planes(image, "image"), to_planes(np.asarray(image), "image"))
        whole = levels[0].transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)
        np.testing.assert_array_equal(np.asarray(to_image(levels)), whole)


@given(seed=seeds, size=sizes, other=sizes, count=pixels)
def test_planes_are_resized(seed: int, size: tuple[int, int], other: tuple[int, int], count: int) -> None:
    levels = planes(seed, size)
    with strips_of(count):
        found = resize_planes(levels, *other)
    whole = [np.asarray(Image.fromarray(plane).resize(other, Image.Resampling.LANCZOS)) for plane in levels[0]]
    np.testing.assert_array_equal(found, np.stack(whole)[None])


@given(seed=seeds, size=sizes, count=pixels)
def test_the_difference_of_two_pictures_is_its_root_mean_square(seed: int, size: tuple[int, int], count: int) -> None:
    one, other = planes(seed, size), planes(seed + 1, size)
    with strips_of(count):
        found = difference(one, other)
    assert np.isclose(found, np.sqrt(np.mean((one.astype(float) - other) ** 2)), rtol=1e-6, atol=0)
    assert difference(one, one) == 0


# --- colours --------------------------------------------------------------------------------------------------


@given(seed=seeds, size=sizes, other=sizes, count=pixels, strength=st.floats(0, 1))
def test_colours_are_kept_matched_and_mixed(
    seed: int, size: tuple[int, int], other: tuple[int, int], count: int, strength: float
) -> None:
    result, content = picture(seed, size), picture(seed + 1, other)
    for change in (*KEEPS.values(), *MATCHES.values(), lambda result, content: mix(result, content, strength)):
        found, whole = in_strips(count, lambda change=change: change(result, content))  # type: ignore[misc]
        np.testing.assert_array_equal(np.asarray(found), np.asarray(whole))


@given(seed=seeds, size=sizes, count=pixels)
def test_statistics_of_colours_are_exact(seed: int, size: tuple[int, int], count: int) -> None:
    image = picture(seed, size)
    (mean, covariance), (whole_mean, whole_covariance) = in_strips(count, lambda: statistics(image))
    np.testing.assert_array_equal(mean, whole_mean)
    np.testing.assert_array_equal(covariance, whole_covariance)
    levels = np.asarray(image, float).reshape(-1, 3)
    np.testing.assert_allclose(mean, levels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(levels.T, bias=True), rtol=1e-9, atol=1e-9)


def test_a_picture_at_full_strength_is_the_picture() -> None:
    result = picture(0, (40, 50))
    assert mix(result, picture(1, (40, 50)), 1.0) is result


@given(seed=seeds, size=sizes, count=pixels)
def test_the_hash_of_a_picture_is_that_of_all_its_bytes(seed: int, size: tuple[int, int], count: int) -> None:
    image = picture(seed, size)
    with strips_of(count):
        assert digest(image) == hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


# --- masks ----------------------------------------------------------------------------------------------------


@given(seed=seeds, size=sizes, other=sizes, count=pixels, colors=st.integers(1, 300))
def test_masks_have_the_same_regions_and_guides(
    seed: int, size: tuple[int, int], other: tuple[int, int], count: int, colors: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (3, 3), np.uint8)
    label = Image.fromarray(palette[rng.integers(0, 3, (3, 3))]).resize(size, Image.Resampling.NEAREST)
    label.paste(picture(seed, (max(1, colors // 12), 12)), (0, 0))

    def make() -> tuple[Any, ...]:
        labels = read_labels(label, "mask")
        return labels.colors, labels.shares, labels.codes, labels.guides(*other, [*range(len(labels.colors)), None])

    try:
        with strips_of(1 << 40):
            make()
    except Exception as error:
        refusal: str | None = str(error)
    else:
        refusal = None
    if refusal is None:
        (found_colors, found_shares, *found), (all_colors, all_shares, *whole) = in_strips(count, make)
        assert (found_colors, found_shares) == (all_colors, all_shares)
        for one, another in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one, another)
    else:
        with strips_of(count):
            try:
                make()
            except Exception as error:
                assert str(error) == refusal
            else:
                raise AssertionError("it is refused at once only")


# --- the picture that is optimised ----------------------------------------------------------------------------


def material_of(content: Image.Image) -> Material:
    style = Photograph(picture(9, (60, 45)))
    return Material.given(content, [style])


@given(
    size=sizes,
    count=pixels,
    seed=st.integers(0, 1000),
    init=st.sampled_from(["random", "content", "style", "statistics"]),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    noise=st.sampled_from([Noise(), Noise(kind="normal", mean=(1.0, 2.0, 3.0), std=20.0)]),
)
def test_a_start_is_the_same(
    size: tuple[int, int], count: int, seed: int, init: str, share: float, noise: Noise
) -> None:
    recipe = replace(load_recipe("impasto"), noise=noise)
    plan, material = Plan(recipe, (Stage(*size, 1),), init, noise=share, seed=seed), material_of(picture(1, (50, 40)))
    found, whole = in_strips(count, lambda: canvas.begin(plan, material))
    np.testing.assert_array_equal(found, whole)
    if init == "random":
        drawn = noise.draw(np.random.default_rng(seed), *size)
        np.testing.assert_array_equal(found, to_planes(drawn, "drawn"))


@given(seed=seeds, size=sizes, count=pixels, clip=st.booleans(), init=st.sampled_from(["content", "style"]))
def test_a_coarse_picture_is_enlarged_as_its_difference_from_the_photograph(
    seed: int, size: tuple[int, int], count: int, clip: bool, init: str
) -> None:
    content, coarse = picture(seed, (50, 40)), planes(seed, size)
    width, height = 2 * size[0], 2 * size[1]
    plan = Plan(load_recipe("impasto"), (Stage(width, height, 1),), init, clip=clip)
    with strips_of(count):
        found = canvas.enlarge(coarse, width, height, plan, material_of(content))
    if init == "content":
        small, large = (image_planes(content.resize(s, Image.Resampling.LANCZOS)) for s in (size, (width, height)))
        whole = large + resize_planes(coarse - small, width, height)
    else:
        whole = resize_planes(coarse, width, height)
    np.testing.assert_array_equal(found, whole.clip(0, 255) if clip else whole)
    assert found is not coarse


def test_a_picture_of_the_same_size_is_not_changed_by_clipping() -> None:
    point = planes(0, (40, 36))
    before, plan = point.copy(), Plan(load_recipe("impasto"), (Stage(40, 36, 1),), "content", clip=True)
    found = canvas.enlarge(point, 40, 36, plan, material_of(picture(0, (40, 36))))
    np.testing.assert_array_equal(point, before)
    np.testing.assert_array_equal(found, before.clip(0, 255))


@given(seed=seeds, side=st.integers(1, 200), scale=st.sampled_from([1, 2]), colors=st.sampled_from(["style", *KEEPS]))
def test_a_reduced_picture_has_the_long_side_that_is_asked_for_and_the_same_look(
    seed: int, side: int, scale: int, colors: str
) -> None:
    content = picture(seed, (12, 8)).resize((120, 80), Image.Resampling.BICUBIC)
    plan = Plan(load_recipe("impasto"), (Stage(120, 80, 1),), "content", colors=colors, strength=0.8)
    point = image_planes(content.resize((120 // scale, 80 // scale), Image.Resampling.LANCZOS))
    point = 255 - point if scale == 1 else point
    whole = canvas.picture_of(point, plan, material_of(content))
    found = canvas.picture_of(point, plan, material_of(content), side)
    if side >= 120:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(whole))
        return
    assert found.size == (side, max(1, round(80 * side / 120)))
    reduced = whole.resize(found.size, Image.Resampling.LANCZOS)
    most = 25 if colors == KEEP_EDGES else 8  # a cell has four pixels at least, in a tiny picture, too
    assert np.abs(np.asarray(found, float) - np.asarray(reduced)).mean() < most


# --- memory ---------------------------------------------------------------------------------------------------


def traced(make: Callable[[], Any]) -> int:
    """Return the most memory that Python and NumPy take meanwhile, in bytes, with what is returned."""
    tracemalloc.start()
    try:
        result = make()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    return peak


@pytest.mark.parametrize("colors", ["style", "keep", "match"])
def test_nothing_takes_several_arrays_of_all_pixels(colors: str) -> None:
    """Of the picture of a result, all is Pillow's; of what an optimiser gets, NumPy has the picture itself."""
    width, height = 600, 400
    content, point = picture(0, (width, height)), planes(1, (width, height))
    plan = Plan(load_recipe("impasto"), (Stage(width, height, 1),), "content", colors=colors, noise=0.5, strength=0.5)
    material, small = material_of(content), planes(2, (width // 2, height // 2))
    whole = point.nbytes
    with strips_of(1 << 12):
        assert traced(lambda: canvas.picture_of(point, plan, material)) < 0.2 * whole
        for match in MATCHES.values():
            assert traced(lambda match=match: match(content, content)) < 0.3 * whole
        assert traced(lambda: digest(content)) < 0.1 * whole
        assert traced(lambda: difference(point, point)) < 0.1 * whole
        assert traced(lambda: to_planes(content, "content")) < 1.2 * whole
        assert traced(lambda: canvas.begin(plan, material)) < 1.2 * whole
        assert traced(lambda: canvas.enlarge(small, width, height, plan, material)) < 1.3 * whole
