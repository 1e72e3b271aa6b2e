"""Colours are kept, matched, mixed and converted as the formulae say, for flat, grey and saturated pictures too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from scipy.linalg import sqrtm

from impasto.defaults import COLORS
from impasto.runtime.errors import InputError
from impasto.runtime.pictures.colors import (
    KEEPS,
    LUMA,
    MATCHES,
    NOISE,
    color_map,
    from_srgb,
    keep_colors,
    keep_pixels,
    match_colors,
    match_in_lab,
    mix,
    to_srgb,
)
from impasto.runtime.pictures.lab import from_lab, to_lab
from impasto.runtime.plan.plan import planned_colors
from tests.runtime import icc

Array = NDArray[Any]

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 40)


@st.composite
def pictures(draw: st.DrawFn, size: tuple[int, int] | None = None) -> Image.Image:
    """Pictures of noise, grey or coloured, about some colour; flat ones and black and white ones among them."""
    rng = np.random.default_rng(draw(seeds))
    width, height = size or (draw(sides), draw(sides))
    spread = draw(st.sampled_from([0, 1, 20, 100, 1000]))
    levels = rng.uniform(0, 255, 3) + rng.normal(0, spread, (height, width, 3)) @ rng.normal(0, 1, (3, 3))
    if draw(st.booleans()):
        levels = np.broadcast_to(levels[..., :1], levels.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def luma(image: Image.Image) -> Array:
    return np.asarray(image, float) @ np.array(LUMA)


def array(image: Image.Image) -> NDArray[np.int64]:
    assert image.mode == "RGB"
    return np.asarray(image, np.int64)


def noise(mean: tuple[int, ...], *deviations: float, seed: int = 0) -> Image.Image:
    """Noise that deviates along some axes of colour, which are no channels."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    levels = mean + rng.uniform(-1.7, 1.7, (100, 110, 3)) * deviations @ axes
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


# --- keeping --------------------------------------------------------------------------------------------------


#: Both ways to keep colours.
both = pytest.mark.parametrize("keep", [keep_colors, keep_pixels])
Keep = Callable[[Image.Image, Image.Image], Image.Image]


def test_every_choice_of_colours_is_done_once_at_most() -> None:
    found = [name for name in map(planned_colors, COLORS) if name in KEEPS or name in MATCHES]
    assert sorted(found) == sorted([*KEEPS, *MATCHES])
    assert [choice for choice in COLORS if planned_colors(choice) not in found] == ["style"]


@both
@given(result=pictures(), content=pictures())
def test_kept_colours_have_the_luma_of_the_result(keep: Keep, result: Image.Image, content: Image.Image) -> None:
    kept = keep(result, content)
    assert kept.size == result.size
    assert np.abs(luma(kept) - luma(result)).max() <= 0.501


@given(st.data())
def test_kept_colours_have_the_hue_of_the_content(data: st.DataObject) -> None:
    content = data.draw(pictures())
    kept = keep_pixels(data.draw(pictures(content.size)), content)
    chroma, before = (np.asarray(p, float) - luma(p)[..., None] for p in (kept, content))
    share = (chroma * before).sum(-1, keepdims=True) / np.maximum((before**2).sum(-1, keepdims=True), 1e-9)
    assert np.abs(chroma - share * before).max() <= 1.5  # one multiple for all three channels, up to rounding
    assert (chroma**2).sum(-1).max() <= ((before**2).sum(-1) ** 0.5 + 2).max() ** 2


@given(st.data())
def test_the_chroma_is_the_contents_wherever_there_is_room_for_it(data: st.DataObject) -> None:
    content = data.draw(pictures())
    result = data.draw(pictures(content.size))
    ideal = np.asarray(content, float) + (luma(result) - luma(content))[..., None]
    fits = ((ideal >= 0) & (ideal <= 255)).all(axis=-1)
    assert np.abs(array(keep_pixels(result, content)) - ideal)[fits].max(initial=0) <= 0.501


@both
@given(pictures())
def test_keeping_the_colours_of_the_same_picture_changes_nothing(keep: Keep, image: Image.Image) -> None:
    np.testing.assert_array_equal(array(keep(image, image)), array(image))


@given(result=pictures(), content=pictures())
def test_keeping_colours_twice_is_keeping_them_once(result: Image.Image, content: Image.Image) -> None:
    once = keep_pixels(result, content)
    assert np.abs(array(keep_pixels(once, content)) - array(once)).max() <= 3  # roundings of luma, and of the room


@both
@given(result=pictures(), content=pictures())
def test_a_grey_content_makes_a_grey_result(keep: Keep, result: Image.Image, content: Image.Image) -> None:
    kept = array(keep(result, content.convert("L").convert("RGB")))
    assert np.ptp(kept, axis=-1).max() <= 1
    assert np.abs(kept - luma(result)[..., None]).max() <= 1


# --- matching -------------------------------------------------------------------------------------------------


def statistics(levels: Array) -> tuple[Array, Array]:
    flat = levels.reshape(-1, 3)
    return flat.mean(axis=0), np.cov(flat.T, bias=True)


@given(source=pictures(), target=pictures())
def test_mapped_colours_have_the_mean_and_no_more_than_the_covariance(source: Image.Image, target: Image.Image) -> None:
    levels, wanted = np.asarray(source, float), np.asarray(target, float)
    matrix, shift = color_map(levels, wanted)
    mean, covariance = statistics(levels @ matrix + shift)
    wanted_mean, wanted_covariance = statistics(wanted)
    np.testing.assert_allclose(mean, wanted_mean, atol=1e-6)
    excess = np.linalg.eigvalsh(wanted_covariance - covariance)
    assert excess.min() >= -1e-6 * (1 + wanted_covariance.trace())
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9 * (1 + np.abs(matrix).max()))
    assert np.linalg.eigvalsh(matrix).min() >= -1e-6


@given(seed=seeds, deviations=st.tuples(*[st.floats(NOISE + 0.5, 60)] * 3), target=pictures())
def test_colours_that_vary_every_way_get_the_very_covariance(
    seed: int, deviations: tuple[float, float, float], target: Image.Image
) -> None:
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    white = rng.normal(size=(500, 3))
    white = (white - white.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T, bias=True))).T
    levels = 128 + white * deviations @ axes
    wanted = np.asarray(target, float)
    matrix, shift = color_map(levels, wanted)
    found, expected = statistics(levels @ matrix + shift)[1], statistics(wanted)[1]
    np.testing.assert_allclose(found, expected, atol=1e-6 * (1 + expected.trace()))


def test_a_matched_picture_has_the_contents_colours() -> None:
    style, content = noise((90, 90, 130), 50, 12, 6), noise((140, 120, 110), 30, 20, 8, seed=1)
    for found, expected in zip(*(statistics(array(p)) for p in (match_colors(style, content), content)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1.5)  # 8 bits, and a little clipping


def test_matching_a_picture_to_itself_changes_nothing() -> None:
    image = noise((120, 110, 130), 40, 20, 6)
    np.testing.assert_array_equal(array(match_colors(image, image)), array(image))


@given(style=pictures(), content=pictures())
def test_matching_in_cielab_stays_in_srgb_and_keeps_the_size(style: Image.Image, content: Image.Image) -> None:
    assert match_in_lab(style, content).size == style.size


def test_a_picture_matched_in_cielab_has_the_contents_mean_and_covariance_there() -> None:
    style, content = noise((110, 100, 130), 30, 12, 9), noise((140, 120, 110), 20, 12, 8, seed=1)
    found, expected = (statistics(to_lab(array(p))) for p in (match_in_lab(style, content), content))
    np.testing.assert_allclose(found[0], expected[0], atol=0.1)  # 8 bits
    np.testing.assert_allclose(found[1], expected[1], atol=0.02 * expected[1].trace())
    before = statistics(to_lab(array(style)))
    assert np.abs(before[1] - expected[1]).max() > 0.2 * expected[1].trace()


def test_matching_a_picture_to_itself_in_cielab_changes_nothing() -> None:
    image = noise((120, 110, 130), 40, 20, 12)
    np.testing.assert_array_equal(array(match_in_lab(image, image)), array(image))


def test_what_cielab_has_beyond_srgb_loses_chroma_and_neither_luma_nor_hue() -> None:
    style, content = noise((128, 128, 128), 60, 20, 20), noise((200, 60, 60), 50, 10, 10, seed=1)
    matched = match_in_lab(style, content)
    source, target = (statistics(to_lab(array(p))) for p in (style, content))
    matrix = mapped(source[1], target[1])
    ideal = from_lab((to_lab(array(style)) - source[0]) @ matrix + target[0])
    luma_, outside = ideal @ np.array(LUMA), ((ideal < 0) | (ideal > 255)).any(-1)
    kept, chroma = np.asarray(matched, float), ideal - luma_[..., None]
    inside = outside & (luma_ > 0) & (luma_ < 255)
    assert 0.05 < inside.mean() < 0.95
    assert np.abs(kept @ np.array(LUMA) - luma_)[inside].max() < 1.5
    found = kept - (kept @ np.array(LUMA))[..., None]
    cosine = (found * chroma).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(chroma, axis=-1)
    assert cosine[inside & (np.linalg.norm(found, axis=-1) > 20)].min() > 0.998
    assert np.abs(kept - ideal)[~outside].max() < 1.5


def mapped(source: Array, target: Array) -> Array:
    """Return the linear map by another way: of S T, whose square root is S^1/2 (S^1/2 T S^1/2)^1/2 S^-1/2."""
    return np.real(np.linalg.inv(source) @ sqrtm(source @ target))


def test_matching_twice_is_matching_once() -> None:
    style, content = noise((90, 90, 130), 40, 12, 6), noise((140, 120, 110), 30, 20, 8, seed=1)
    once = match_colors(style, content)
    assert np.abs(array(match_colors(once, content)) - array(once)).max() <= 2


def test_of_all_maps_to_these_statistics_it_moves_colours_least() -> None:
    levels, target = (
        np.asarray(p, float).reshape(-1, 3) for p in (noise((9,) * 3, 40, 12, 6), noise((9,) * 3, 9, 9, 30))
    )
    matrix, shift = color_map(levels, target)
    least = ((levels @ matrix + shift - levels) ** 2).sum(axis=1).mean()
    mean, covariance = statistics(target)
    white = (levels - levels.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(statistics(levels)[1])).T
    for seed in range(20):  # every other such map turns the whitened colours
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        moved = white @ turn @ np.linalg.cholesky(covariance).T + mean
        np.testing.assert_allclose(statistics(moved)[1], covariance, atol=1e-6)
        assert least <= ((moved - levels) ** 2).sum(axis=1).mean() + 1e-6


@given(colour=st.tuples(*[st.integers(0, 255)] * 3), content=pictures())
def test_a_flat_style_takes_the_mean_colour(colour: tuple[int, int, int], content: Image.Image) -> None:
    matched = array(match_colors(Image.new("RGB", (40, 30), colour), content))
    assert np.abs(matched - array(content).reshape(-1, 3).mean(axis=0)).max() <= 0.51


def test_the_noise_of_a_flat_style_stays_noise() -> None:
    style, content = noise((128, 128, 128), 0.5, 0.5, 0.5), noise((128, 128, 128), 40, 30, 20, seed=1)
    assert array(match_colors(style, content)).reshape(-1, 3).std(axis=0).max() < 40 / NOISE


@given(style=pictures(), content=pictures())
def test_a_style_matched_to_grey_is_grey(style: Image.Image, content: Image.Image) -> None:
    matched = array(match_colors(style, content.convert("L").convert("RGB")))
    assert np.ptp(matched, axis=-1).max() <= 1


# --- mixing ---------------------------------------------------------------------------------------------------


@given(result=pictures(), content=pictures())
def test_full_strength_is_the_result_and_none_the_content(result: Image.Image, content: Image.Image) -> None:
    np.testing.assert_array_equal(array(mix(result, content, 1)), array(result))
    fitted = content.resize(result.size, Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(array(mix(result, content, 0)), array(fitted))


@given(data=st.data(), strength=st.floats(0, 1))
def test_levels_are_mixed_in_proportion(data: st.DataObject, strength: float) -> None:
    result = data.draw(pictures())
    content = data.draw(pictures(result.size))
    ideal = strength * array(result) + (1 - strength) * array(content)
    assert np.abs(array(mix(result, content, strength)) - ideal).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), float("inf")])
def test_other_strengths_are_refused(strength: float) -> None:
    image = Image.new("RGB", (4, 4))
    with pytest.raises(InputError, match=r"^strength is .*; expected 0 \(the content\) to 1 \(the result\)"):
        mix(image, image, strength)


# --- profiles -------------------------------------------------------------------------------------------------

#: Colours that sRGB and Adobe RGB both hold.
COMMON = np.array([[[0, 0, 0], [255, 255, 255], [128, 128, 128], [100, 140, 110], [180, 90, 60], [60, 70, 150]]])


def test_another_rgb_is_converted_to_srgb() -> None:
    converted = to_srgb(Image.fromarray(COMMON.astype(np.uint8)), icc.rgb_profile())
    assert np.abs(array(converted) - icc.to_srgb(COMMON.astype(float))).max() <= 1.5
    assert np.abs(array(converted) - COMMON).max() > 20
    assert not converted.info


def test_what_srgb_lacks_is_clipped_to_its_surface() -> None:
    converted = to_srgb(Image.new("RGB", (4, 4), (0, 255, 0)), icc.rgb_profile())
    assert converted.getpixel((0, 0)) == (0, 255, 0)


@given(base=st.integers(80, 200), tint=st.tuples(*[st.integers(-25, 25)] * 3))
def test_srgb_survives_the_way_to_a_wider_space_and_back(base: int, tint: tuple[int, int, int]) -> None:
    # Of more saturated colours 8 bits of the wider space hold fewer.
    image = Image.new("RGB", (3, 2), tuple(base + level for level in tint))
    wide = from_srgb(image, icc.rgb_profile())
    assert np.abs(icc.to_srgb(array(wide).astype(float)) - array(image)).max() <= 2
    assert np.abs(array(to_srgb(wide, icc.rgb_profile())) - array(image)).max() <= 2


def test_a_grey_profile_says_how_grey() -> None:
    converted = to_srgb(Image.new("L", (4, 4), 128), icc.grey_profile(1.0))
    assert np.abs(array(converted) - icc.encode(np.array(128 / 255))).max() <= 1.5


def test_a_grey_picture_may_have_a_profile_for_rgb() -> None:
    converted = to_srgb(Image.new("L", (4, 4), 60), icc.rgb_profile(gamma=1.0))
    assert np.abs(array(converted) - icc.encode(np.array(60 / 255))).max() <= 1.5


def test_inks_become_what_their_profile_says() -> None:
    cyan = (153, 108, 104)
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    white, found, black = array(to_srgb(image, icc.cmyk_profile(cyan)))[0]
    assert white.min() >= 254
    assert black.max() <= 1
    assert np.abs(found - icc.lab_to_srgb(cyan)).max() <= 3


def test_srgb_by_whatever_name_is_left_alone() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = profile.replace("sRGB".encode("utf-16-be"), "Best".encode("utf-16-be"))
    assert renamed != profile
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    for convert in (to_srgb, from_srgb):
        for same in (profile, renamed):
            np.testing.assert_array_equal(array(convert(image, same)), array(image))


@pytest.mark.parametrize(
    ("mode", "profile", "reason"),
    [
        ("RGB", b"", "it is damaged"),
        ("RGB", b"garbage" * 100, "it is damaged"),
        ("RGB", icc.rgb_profile()[:300], "it is damaged"),
        ("RGB", icc.grey_profile(1.0), "it is for GRAY and the picture is RGB"),
        ("CMYK", icc.rgb_profile(), "it is for RGB and the picture is CMYK"),
        ("L", icc.cmyk_profile((0, 0, 0)), "it is for CMYK and the picture is L"),
        ("RGB", icc.rgb_profile().replace(b"RGB XYZ", b"Lab XYZ"), "it is for Lab and the picture is RGB"),
        ("RGB", icc.rgb_profile().replace(b"RGB XYZ", b"7CLRXYZ"), "it is for 7CLR and the picture is RGB"),
        ("RGB", icc.rgb_profile().replace(b"RGB XYZ", b"R\nB XYZ"), "it is damaged$"),
        ("RGB", icc.rgb_profile().replace(b"mntrRGB", b"linkRGB"), "it links, changes or names colours"),
        ("RGB", icc.rgb_profile().replace(b"mntrRGB", b"abstRGB"), "it links, changes or names colours"),
        ("RGB", icc.rgb_profile().replace(b"mntrRGB", b"nmclRGB"), "it links, changes or names colours"),
    ],
)
def test_profiles_that_will_not_do_are_refused(mode: str, profile: bytes, reason: str) -> None:
    image = Image.new(mode, (4, 4), (1, 2, 3) if mode == "RGB" else 0)
    with pytest.raises(ValueError, match=reason):
        to_srgb(image, profile)


def test_a_profile_that_only_says_what_its_colours_mean_leads_nowhere() -> None:
    image = Image.new("RGB", (4, 4), (128, 200, 240))
    assert np.ptp(array(to_srgb(image, icc.one_way_profile()))) <= 1
    for profile, reason in (
        (icc.one_way_profile(), "not for this direction"),
        (icc.grey_profile(1.0), "it is for GRAY"),
    ):
        with pytest.raises(ValueError, match=reason):
            from_srgb(image, profile)


P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
PROPHOTO = ((0.7977, 0.1352, 0.0313), (0.2880, 0.7119, 0.0001), (0.0, 0.0, 0.8249))
PASTEL = tuple(
    tuple(0.3 * side + 0.7 * white / 3 for side in row) for row, white in zip(icc.SRGB, icc.D50, strict=True)
)

SOUND = {
    "Adobe RGB": icc.rgb_profile(),
    "Display P3": icc.rgb_profile(P3, 2.2),
    "ProPhoto": icc.rgb_profile(PROPHOTO, 1.8),
    "linear": icc.rgb_profile(icc.SRGB, 1.0),
    "linear and wide": icc.rgb_profile(PROPHOTO, 1.0),
    "dark": icc.rgb_profile(icc.SRGB, 4.0),
    "narrow": icc.rgb_profile(PASTEL, 2.2),
    "tables": icc.table_profile(),
    "tables of 8 bits": icc.table_profile(deep=False),
    "coarse tables": icc.table_profile(grid=9),
    "fine tables of sRGB": icc.table_profile(icc.SRGB, 2.2, grid=33),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_profile_with_a_way_back_is_given_to_results(kind: str) -> None:
    image = Image.new("RGB", (4, 4), (120, 130, 110))
    found = from_srgb(image, SOUND[kind])
    assert np.abs(array(to_srgb(found, SOUND[kind])) - array(image)).max() <= 8


@pytest.mark.parametrize("back", ["identity", "matrix"])
def test_a_profile_from_which_colours_do_not_come_back_is_refused(back: str) -> None:
    with pytest.raises(ValueError, match="colours do not come back from it as they were"):
        from_srgb(Image.new("RGB", (4, 4), (128, 200, 240)), icc.table_profile(back=back))


@pytest.mark.parametrize("profile", [icc.rgb_profile(gamma=0.4), icc.rgb_profile(((0.0,) * 3,) * 3)])
def test_a_profile_that_holds_hardly_any_greys_is_refused(profile: bytes) -> None:
    with pytest.raises(ValueError, match=r"colours do not come back|not for this direction"):
        from_srgb(Image.new("RGB", (4, 4), (128, 200, 240)), profile)


def test_colours_are_converted_in_place_where_that_is_asked_for() -> None:
    image = Image.new("RGB", (4, 4), (100, 140, 110))
    fresh, before = to_srgb(image, icc.rgb_profile()), image.copy()
    assert image == before
    assert to_srgb(before, icc.rgb_profile(), in_place=True) is before
    assert before == fresh
    assert not before.info
    assert from_srgb(image, icc.rgb_profile()) != image == Image.new("RGB", (4, 4), (100, 140, 110))


def test_a_grey_profile_says_how_grey_a_picture_of_equal_channels_is() -> None:
    image = Image.new("RGB", (4, 4), (128, 128, 128))
    assert to_srgb(image, icc.grey_profile(1.0)) == to_srgb(image.getchannel("R"), icc.grey_profile(1.0))


@given(st.data())
def test_damaged_profiles_are_used_or_refused(data: st.DataObject) -> None:
    kinds = [icc.rgb_profile(), icc.grey_profile(1.8), icc.table_profile(grid=3), icc.cmyk_profile((1, 2, 3))]
    profile = bytearray(data.draw(st.sampled_from(kinds)))
    for _ in range(data.draw(st.integers(1, 5))):
        profile[data.draw(st.integers(0, min(len(profile) - 1, 600)))] = data.draw(st.integers(0, 255))
    cut = bytes(profile[: data.draw(st.integers(len(profile) - 200, len(profile)))])
    for mode, convert in (("RGB", to_srgb), ("RGB", from_srgb), ("L", to_srgb), ("CMYK", to_srgb)):
        try:
            converted = convert(Image.new(mode, (4, 4), (1, 2, 3) if mode == "RGB" else 0), cut)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert converted.mode == "RGB"
