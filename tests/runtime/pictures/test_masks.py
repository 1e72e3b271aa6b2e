"""Masks: which regions a label picture has, what its pixels belong to, and that each region gets its own style."""

from __future__ import annotations

import io
import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from docs.samples import draw_content, draw_style
from impasto.export.weights.weights import Weights
from impasto.runtime import InputError, ModelError, Objective, PictureError, stylize
from impasto.runtime.model.graphs import GraphKey
from impasto.runtime.pictures.masks import (
    MOST_REGIONS,
    Labels,
    Mask,
    Regions,
    hex_color,
    is_color,
    plain,
    read_labels,
)
from impasto.runtime.run.prepare import prepare

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]

RED, BLUE, GREEN = (220, 30, 20), (20, 30, 220), (10, 200, 40)


def halves(
    width: int, height: int, left: tuple[int, int, int] = RED, right: tuple[int, int, int] = BLUE
) -> Image.Image:
    """Return a mask of two regions side by side."""
    mask = Image.new("RGB", (width, height), left)
    mask.paste(right, (width // 2, 0, width, height))
    return mask


def disc(size: int) -> Image.Image:
    """Return a green disc on red, with the soft edge that a paint program gives it."""
    large = Image.new("RGB", (4 * size, 4 * size), RED)
    ImageDraw.Draw(large).ellipse((size, size, 3 * size, 3 * size), fill=GREEN)
    return large.resize((size, size), Image.Resampling.LANCZOS)


def as_jpeg(mask: Image.Image, quality: int = 75) -> Image.Image:
    data = io.BytesIO()
    mask.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def all_guides(labels: Labels, width: int, height: int) -> NDArray[np.float32]:
    return labels.guides(width, height, range(len(labels.colors)))


# --- the regions of a mask ------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=6, unique=True), st.integers(0, 99))
def test_areas_of_any_colours_are_regions_and_hard_edges_stay_hard(
    colors: list[tuple[int, int, int]], seed: int
) -> None:
    cells = np.random.default_rng(seed).permutation(np.arange(36) % len(colors)).reshape(6, 6)
    wanted = np.kron(cells, np.ones((7, 7), int))
    mask = Image.fromarray(np.array(colors, np.uint8)[wanted])
    labels = read_labels(mask, "mask")
    assert set(labels.colors) == set(colors)
    guides = all_guides(labels, 42, 42)
    for number, color in enumerate(labels.colors):
        np.testing.assert_array_equal(guides[0, number], wanted == colors.index(color))
        assert labels.shares[number] == pytest.approx((wanted == colors.index(color)).mean())


@settings(max_examples=15, deadline=None)
@given(st.integers(32, 150), st.integers(32, 150))
def test_guides_of_any_size_sum_to_one_and_keep_the_shares(width: int, height: int) -> None:
    labels = read_labels(disc(96), "mask")
    guides = all_guides(labels, width, height)
    assert guides.dtype == np.float32
    assert guides.shape == (1, 2, height, width)
    np.testing.assert_allclose(guides.sum(1), 1, atol=1 / 128)
    np.testing.assert_allclose(guides.mean((2, 3))[0], labels.shares, atol=0.01)


def test_a_soft_edge_is_shared_between_its_two_regions() -> None:
    labels = read_labels(disc(96), "mask")
    assert labels.colors == (RED, GREEN)
    guides = all_guides(labels, 96, 96)[0]
    edge = (guides > 0.1) & (guides < 0.9)
    assert 100 < edge[0].sum() < 500
    np.testing.assert_allclose(guides.sum(0), 1, atol=1 / 128)
    y, x = np.mgrid[:96, :96] + 0.5
    np.testing.assert_allclose(guides[1], (np.hypot(y - 48, x - 48) < 24), atol=0.9)  # no pixel is on the wrong side
    assert labels.shares[1] == pytest.approx(np.pi * 24**2 / 96**2, rel=0.02)


def test_a_wide_transition_is_linear() -> None:
    ramp = np.concatenate([np.zeros(30), np.linspace(0, 1, 60), np.ones(30)])[None, :, None]
    mask = ((1 - ramp) * np.array(RED) + ramp * np.array(BLUE)).repeat(40, 0)
    labels = read_labels(mask.astype(np.float32), "mask")
    assert set(labels.colors) == {RED, BLUE}
    blue = all_guides(labels, 120, 40)[0, labels.colors.index(BLUE)]
    np.testing.assert_allclose(blue, np.broadcast_to(ramp[..., 0], (40, 120)), atol=0.1)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_jpeg_has_the_regions_that_were_drawn(quality: int) -> None:
    labels = read_labels(as_jpeg(disc(128), quality), "mask")
    assert len(labels.colors) == 2
    for found, drawn in zip(labels.colors, (RED, GREEN), strict=True):
        assert np.abs(np.subtract(found, drawn)).max() <= 4
    drawn_guides = all_guides(read_labels(disc(128), "mask"), 128, 128)
    assert np.abs(all_guides(labels, 128, 128) - drawn_guides).mean() < 0.02


def test_the_numbers_of_a_segmentation_are_regions_of_their_own() -> None:
    """0, 1 and 2 are as different as red and blue where colours are exact."""
    numbers = np.zeros((48, 48), np.uint8)
    numbers[:, 16:], numbers[30:] = 1, 2
    labels = read_labels(Image.fromarray(numbers), "mask")
    assert set(labels.colors) == {(0, 0, 0), (1, 1, 1), (2, 2, 2)}


def test_a_jpeg_of_few_colours_has_no_regions_along_its_edges() -> None:
    mask = as_jpeg(halves(90, 64), 60)
    assert len(np.unique(np.asarray(mask).reshape(-1, 3), axis=0)) < 64
    assert len(read_labels(mask, "mask").colors) == 2


def test_a_palette_and_transparency_are_read_as_they_look() -> None:
    mask = halves(64, 48).convert("P", palette=Image.Palette.ADAPTIVE)
    assert len(read_labels(mask, "mask").colors) == 2
    clear = halves(64, 48).convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    assert read_labels(clear, "mask").colors == ((255, 255, 255),)


def test_a_photograph_is_no_mask(noise: Noise) -> None:
    with pytest.raises(PictureError, match="content mask: has no area of one colour; expected a label picture"):
        read_labels(noise(64, 64), "content mask")
    blurred = Image.fromarray(noise(64, 64).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    blurred.paste(RED, (0, 0, 30, 64))
    with pytest.raises(PictureError, match=r"content mask: \d+% of it is neither .* \(#dc1e14\)"):
        read_labels(blurred, "content mask")


def patches(count: int, side: int = 16) -> Image.Image:
    """Return a mask of so many squares, each of a colour of its own."""
    across = math.isqrt(count - 1) + 1
    levels = np.zeros((across * side, across * side, 3), np.uint8)
    for k in range(across**2):
        y, x = divmod(k, across)
        of = k if k < count else 0
        levels[y * side : (y + 1) * side, x * side : (x + 1) * side] = (of * 37 % 251, of * 91 % 241, of * 53 % 239)
    return Image.fromarray(levels)


def test_a_mask_has_a_largest_number_of_regions() -> None:
    assert len(read_labels(patches(MOST_REGIONS), "mask").colors) == MOST_REGIONS
    with pytest.raises(
        PictureError, match=f"content mask: has {MOST_REGIONS + 1} regions .*expected {MOST_REGIONS} at"
    ):
        read_labels(patches(MOST_REGIONS + 1), "content mask")


def test_a_mask_of_a_million_colours_is_refused_at_once_and_takes_no_memory() -> None:
    colors = np.arange(1 << 20, dtype=np.uint32)
    levels = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1).astype(np.uint8).reshape(1024, 1024, 3)
    flat = np.concatenate([levels, np.full((256, 1024, 3), 255, np.uint8)])
    began = time.process_time()
    tracemalloc.start()
    with pytest.raises(PictureError, match=r"has \d+ colours; expected a label picture.* at most: save it as PNG"):
        read_labels(Image.fromarray(flat), "mask")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * flat.shape[0] * flat.shape[1]
    assert time.process_time() - began < 20


def test_what_many_colours_are_mixed_of_is_found_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = as_jpeg(halves(200, 160).filter(ImageFilter.GaussianBlur(2)), 40)
    whole = read_labels(soft, "mask")
    monkeypatch.setattr("impasto.runtime.pictures.masks._AT_ONCE", 7)
    np.testing.assert_array_equal(read_labels(soft, "mask").weights, whole.weights)


def test_a_colour_is_a_mask_of_one_region(tmp_path: Path) -> None:
    labels = read_labels("#dc1e14", "mask")
    assert (labels.colors, labels.shares) == ((RED,), (1.0,))
    np.testing.assert_array_equal(all_guides(labels, 50, 40), 1)
    assert plain("#dc1e14").getpixel((0, 0)) == RED
    assert not is_color(str(tmp_path / "#mask.png"))
    with pytest.raises(PictureError, match="reddish: no such file; check the path, or give a colour such as #ff0000"):
        read_labels("reddish", "mask")


# --- content and styles ---------------------------------------------------------------------------------------


def test_regions_are_matched_by_colour_in_any_order_and_through_jpeg() -> None:
    content, style = halves(64, 48), as_jpeg(halves(80, 80, BLUE, RED), 90)
    regions = Regions.match(content, [style], 1)
    assert regions is not None
    guides, of_style = regions.content_guides(64, 48), regions.style_guides(0, 80, 80)
    red = regions.content.colors.index(RED)
    assert guides[0, red, :, :32].all()
    assert not guides[0, red, :, 32:].any()
    assert of_style[0, red, :, 48:].min() > 0.9
    assert of_style[0, red, :, :32].max() < 0.1


def test_no_masks_are_no_regions() -> None:
    assert Regions.match(None, None, 2) is None
    assert Regions.match(None, [], 1) is None


@pytest.mark.parametrize(
    ("content", "styles", "count", "reason"),
    [
        (None, ["#ff0000"], 1, "content_mask: none given beside style_masks"),
        (halves(64, 48), None, 1, "style_masks: 0 given for 1 styles"),
        (halves(64, 48), ["#ff0000"], 2, "style_masks: 1 given for 2 styles; give one for each"),
        (
            halves(64, 48),
            [halves(64, 48, RED, GREEN)],
            1,
            r"region #141edc of the content mask \(50.0% of it\) is in no style mask \(style mask 1 has #",
        ),
        (
            Image.fromarray(np.kron([[0, 1], [1, 2]], np.ones((30, 30))).astype(np.uint8)),
            ["#000000"],
            1,
            "region #010101",
        ),
    ],
)
def test_what_does_not_match_is_refused(
    content: Mask | None, styles: list[Mask] | None, count: int, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        Regions.match(content, styles, count)


def test_a_strength_is_of_the_region_with_its_colour_and_of_no_other() -> None:
    regions = Regions.match(halves(64, 48), [halves(64, 48, BLUE, RED)], 1, {"#DC1E14": 0.25})
    plain = Regions.match(halves(64, 48), [halves(64, 48, BLUE, RED)], 1)
    assert regions is not None
    assert plain is not None
    red, blue = regions.content.colors.index(RED), regions.content.colors.index(BLUE)
    ours, theirs = (found.content_guides(64, 48)[0] for found in (regions, plain))
    np.testing.assert_array_equal(ours[red], 0.5 * theirs[red])  # the root of the strength
    np.testing.assert_array_equal(ours[blue], theirs[blue])
    np.testing.assert_array_equal(regions.style_guides(0, 64, 48), plain.style_guides(0, 64, 48))
    assert str(regions) == "2 regions: #141edc 50.0%, #dc1e14 50.0% (strength 0.25)"


def test_a_strength_of_a_region_that_only_a_style_has_is_not_used() -> None:
    regions = Regions.match("#dc1e14", [halves(64, 48)], 1, {"#141edc": 3})
    assert regions is not None
    assert regions.strengths == ()


@pytest.mark.parametrize(
    ("strengths", "reason"),
    [
        ({"#0ac828": 1}, r"region_strengths #0ac828: no such region in the content mask; it has #141edc, #dc1e14"),
        ({"#dc1e14": 1, "#dd1e14": 2}, "region_strengths: #dd1e14 is a region that is given twice"),
        ({"#dc1e14": -1}, "region_strengths #dc1e14 is -1; expected 0 to 1000000"),
        ({"#dc1e14": "much"}, "region_strengths #dc1e14 is 'much'; expected a number"),
        ({"red": 1}, "region_strengths 'red': expected a region's colour, such as #ff0000"),
    ],
)
def test_strengths_of_no_region_are_refused(strengths: dict[str, float], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Regions.match(halves(64, 48), [halves(64, 48)], 1, strengths)


def test_strengths_that_are_no_mapping_are_refused(small_model: Path, noise: Noise) -> None:
    options: dict[str, Any] = {"content_mask": "#112233", "style_masks": "#112233", "region_strengths": [1, 2]}
    for use in (prepare, lambda c, s, **more: Objective.open(content=c, styles=s, **more)):
        with pytest.raises(InputError, match=r"region_strengths is \[1, 2\]; expected numbers by colour"):
            use(noise(), noise(), model=small_model, recipe="small", **options)


def test_strengths_without_masks_are_refused() -> None:
    with pytest.raises(InputError, match="region_strengths: there are no regions without content_mask"):
        Regions.match(None, None, 1, {"#ff0000": 1})


def test_a_style_without_a_region_has_no_share_in_it() -> None:
    """The blend of the others is scaled up; a region that no style has is an error, not a picture of nothing."""
    regions = Regions.match(halves(64, 48), [halves(64, 48), "#dc1e14", "#0a0a0a"], 3)
    assert regions is not None
    guides = [regions.style_guides(k, 64, 48) for k in range(3)]
    red, blue = regions.content.colors.index(RED), regions.content.colors.index(BLUE)
    shares = regions.blend((0.2, 0.3, 0.5), guides, 4)
    np.testing.assert_allclose(shares[:, red], [0.4, 0.6, 0])
    np.testing.assert_allclose(shares[:, blue], [1, 0, 0])
    with pytest.raises(InputError, match="region #141edc: no style is left for it"):
        regions.blend((0.0, 0.5, 0.5), guides, 4)


def test_a_region_in_what_pooling_leaves_out_of_a_style_is_refused() -> None:
    mask = Image.new("RGB", (60, 60), RED)
    mask.paste(BLUE, (0, 54, 60, 60))
    regions = Regions.match(mask, [mask], 1)
    assert regions is not None
    guides = [regions.style_guides(0, 60, 60)]
    assert regions.blend((1.0,), guides, 1).all()
    with pytest.raises(InputError, match=r"region #141edc: .* larger area"):
        regions.blend((1.0,), guides, 4)


# --- transfers ------------------------------------------------------------------------------------------------


def test_a_mask_of_other_proportions_than_its_picture_is_refused(model: Path, noise: Noise) -> None:
    for masks, name in (
        ((halves(64, 64), halves(64, 48)), "content mask"),
        ((halves(64, 48), halves(64, 64)), "style mask 1"),
    ):
        with pytest.raises(PictureError, match=f"{name}: 64x64 pixels for a picture of 64x48; expected the same"):
            prepare(noise(48, 64), [noise(48, 64)], model=model, content_mask=masks[0], style_masks=[masks[1]])


def test_a_model_without_guided_graphs_says_so_and_still_serves_without_masks(
    model: Path, tmp_path: Path, noise: Noise
) -> None:
    for path in model.iterdir():
        if path.name != GraphKey(by_region=True).file("gatys"):
            (tmp_path / path.name).hardlink_to(path)
    pictures = {"content": noise(40, 48), "styles": [noise(40, 48, 1)], "device": "cpu", "lowering": "direct"}
    Objective.open(tmp_path, "gatys", **pictures)
    with pytest.raises(ModelError, match=r"gatys.direct.guided-objective.onnx is missing; export it again"):
        Objective.open(tmp_path, "gatys", **pictures, content_mask="#112233", style_masks=["#112233"])


def test_one_region_over_all_of_both_pictures_changes_nothing(model: Path, noise: Noise) -> None:
    content, style, image = (noise(40, 48, k) for k in range(3))
    plain, masked = (
        Objective.open(model, "gatys", content=content, styles=[style], device="cpu", **masks)(image)
        for masks in ({}, {"content_mask": "#112233", "style_masks": ["#112233"]})
    )
    assert masked[0] == pytest.approx(plain[0], rel=1e-5)
    assert np.linalg.norm(masked[1] - plain[1]) <= 1e-4 * np.linalg.norm(plain[1])


def test_a_style_of_one_colour_is_that_regions_alone(model: Path, noise: Noise) -> None:
    """The left half of the gradient, but for what the border mixes, is that of a transfer from the left style."""
    content, image = noise(64, 256), noise(64, 256, 1)
    styles = [noise(64, 64, 2), noise(64, 64, 3)]
    common = {"content": content, "device": "cpu", "lowering": "direct", "content_weight": 0.0}
    masks = {"content_mask": halves(256, 64), "style_masks": ["#dc1e14", "#141edc"]}
    _, both = Objective.open(model, "gatys", styles=styles, **common, **masks)(image)
    masks["style_masks"] = ["#141edc", "#dc1e14"]
    _, swapped = Objective.open(model, "gatys", styles=styles[::-1], **common, **masks)(image)
    np.testing.assert_allclose(both, swapped, rtol=1e-3, atol=1e-6 * np.abs(both).max())


def distances(
    picture: Rgb, styles: list[Rgb], guide: NDArray[np.float32], weights: Weights, layers: list[str]
) -> list[float]:
    """Return how far the Gram matrices of a region of a picture are from those of each style, layer by layer."""
    from peers import F, activations, torch

    def grams(image: Rgb, t: NDArray[np.float32]) -> dict[str, torch.Tensor]:
        x = torch.tensor(image.transpose(2, 0, 1), dtype=torch.float32)
        found, t_ = {}, torch.tensor(t)[None]
        for name, f in activations(weights, x, layers).items():
            side = t_
            for _ in range(int(name[5]) - 1):
                side = F.avg_pool2d(side, 2)
            w = (side.flatten() > 0.99).float()
            found[name] = (f * w) @ f.T / w.sum()
        return found

    with torch.no_grad():
        own = grams(picture, guide)
        theirs = [grams(style, np.ones(style.shape[:2], np.float32)) for style in styles]
        return [
            float(sum(((own[name] - other[name]) ** 2).sum() / (other[name] ** 2).sum() for name in layers))
            for other in theirs
        ]


def test_each_region_matches_its_own_style_better_than_the_others(
    model: Path, random_weights: Weights, noise: Noise
) -> None:
    content, warm, cold = noise(48, 96), noise(64, 64, 1) * [1, 0.4, 0.1], noise(64, 64, 2) * [0.1, 0.4, 1]
    result = stylize(
        content, [warm, cold], model=model, recipe="gatys", size="content", stages=1, evaluations=25, device="cpu",
        content_mask=halves(96, 48), style_masks=["#dc1e14", "#141edc"],
    )  # fmt: skip
    picture = np.asarray(result.image, np.float32)
    left = np.zeros((48, 96), np.float32)
    left[:, :48] = 1
    layers = ["block1_conv1", "block2_conv1", "block3_conv1"]
    for guide, own, other in ((left, warm, cold), (1 - left, cold, warm)):
        near, far = distances(
            picture, [own.astype(np.float32), other.astype(np.float32)], guide, random_weights, layers
        )
        assert near < 0.5 * far


def test_masks_work_in_stages_with_several_styles_and_on_both_lowerings(model: Path, noise: Noise) -> None:
    losses = []
    for lowering in ("direct", "winograd"):
        result = stylize(
            noise(64, 96), [noise(70, 50, 1), noise(64, 64, 2)], model=model, recipe="gatys", size="content", stages=2,
            evaluations=4, device="cpu", lowering=lowering, style_blend=[1, 3],
            content_mask=halves(192, 128), style_masks=[halves(50, 70), "#141edc"],
        )  # fmt: skip
        losses.append(result.loss)
        assert result.image.size == (96, 64)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("lowering", ["direct", "winograd"])
@pytest.mark.parametrize("tile", ["off", 32])
@pytest.mark.parametrize("recipe", ["gatys", "wasserstein"])
def test_a_region_counts_as_many_times_as_its_strength_says(
    model: Path, noise: Noise, recipe: str, tile: str | int, lowering: str
) -> None:
    """The style's loss is linear in the strengths, so that two of them tell what each region adds; none is 0."""
    content, style, image = noise(64, 96), noise(64, 96, 1), noise(64, 96, 2)

    def terms(red: float, blue: float) -> dict[str, float]:
        objective = Objective.open(
            model, recipe, content=content, styles=[style], device="cpu", lowering=lowering, tile=tile,
            content_mask=halves(96, 64), style_masks=[halves(96, 64, BLUE, RED)],
            region_strengths={"#dc1e14": red, "#141edc": blue},
        )  # fmt: skip
        _, gradient = objective(image)
        assert np.isfinite(gradient).all()
        return {name: value for name, value in objective.terms.items() if name.startswith("style")}

    only_red, only_blue, both = terms(1, 0), terms(0, 1), terms(0.3, 4)
    for name, value in both.items():
        assert value == pytest.approx(0.3 * only_red[name] + 4 * only_blue[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["gatys", "impasto"])
def test_with_real_weights_regions_have_their_styles_and_no_seam(
    recipe: str, real_model: Path, real_weights: Weights
) -> None:
    """The border lies in the middle of drawn pictures; a seam would be a jump across it that is larger than others."""
    size = 160
    content = np.asarray(draw_content(size, size), np.float32)
    first = np.asarray(draw_style(size, size), np.float32)
    second = first[::-1, :, ::-1].copy()  # other colours, the same strokes upside down
    result = stylize(
        content, [first, second], model=real_model, recipe=recipe, size="content", stages=1, evaluations=60,
        device="cpu", content_mask=halves(size, size), style_masks=["#dc1e14", "#141edc"],
    )  # fmt: skip
    picture = np.asarray(result.image, np.float32)
    left = np.zeros((size, size), np.float32)
    left[:, : size // 2] = 1
    layers = [f"block{k}_conv1" for k in range(1, 6)]
    for guide, own, other in ((left, first, second), (1 - left, second, first)):
        near, far = distances(picture, [own, other], guide, real_weights, layers)
        assert near < far
    jumps = np.abs(np.diff(picture, axis=1)).mean((0, 2))
    assert jumps[size // 2 - 1] < np.quantile(jumps, 0.98) * 1.2


def test_regions_are_described_by_colour_and_share() -> None:
    regions = Regions.match(halves(60, 40), [halves(60, 40)], 1)
    assert str(regions) == "2 regions: #141edc 50.0%, #dc1e14 50.0%"
    assert hex_color((1, 2, 255)) == "#0102ff"
