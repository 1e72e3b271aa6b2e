"""Protection: what a mask says, and that the content counts more where it is white, and nothing changes elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, export_unchecked
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from impasto.export import guidance
from impasto.export.weights.weights import Weights
from impasto.runtime import InputError, ModelError, Objective, PictureError, stylize
from impasto.runtime.model.graphs import OBJECTIVE, GraphKey
from impasto.runtime.pictures.protection import Protection
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Record, fingerprint

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]


def slope(width: int, height: int) -> Image.Image:
    """Return a mask that is black on the left and white on the right."""
    levels = np.linspace(0, 255, width).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(levels, (height, width)).copy())


def gray(level: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    return Image.new("L", size, level)


# --- masks ----------------------------------------------------------------------------------------------------


def as_transparency(mask: Image.Image) -> Image.Image:
    """Return white of the mask's opacity."""
    white = Image.new("RGBA", mask.size, "white")
    white.putalpha(mask)
    return white


@pytest.mark.parametrize(
    "form",
    [
        lambda mask: mask,
        lambda mask: mask.convert("RGB"),
        as_transparency,
        lambda mask: np.asarray(mask),
        lambda mask: np.asarray(mask).astype(np.uint16) * 257,
        lambda mask: np.asarray(mask).astype(np.float32),
    ],
    ids=["grey", "rgb", "transparent", "array", "uint16", "float"],
)
def test_a_mask_of_any_form_says_the_same(form: Callable[[Image.Image], Any]) -> None:
    mask = slope(64, 48)
    factors = Protection.given(form(mask), 20).factors(64, 48)
    assert factors.dtype == np.float32
    np.testing.assert_allclose(factors[0, 0], 1 + 19 * np.asarray(mask, np.float64) / 255, atol=1e-5)


@settings(max_examples=20)
@given(st.integers(32, 90), st.integers(32, 90), st.sampled_from([0.0, 0.5, 1.0, 20.0, 1e6]), st.integers(0, 9))
def test_factors_lie_between_one_and_the_weight_whatever_the_sizes(
    width: int, height: int, times: float, seed: int
) -> None:
    mask = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (50, 60), np.uint8))
    factors = Protection.given(mask, times).factors(width, height)
    assert factors.shape == (1, 1, height, width)
    assert min(1, times) <= factors.min() <= factors.max() <= max(1, times) * (1 + 1e-6)


def test_a_mask_twice_as_large_is_averaged_over_areas() -> None:
    large = np.kron(np.asarray(slope(64, 48)), np.ones((2, 2), np.uint8))
    factors = [Protection.given(mask, 20).factors(64, 48) for mask in (slope(64, 48), Image.fromarray(large))]
    np.testing.assert_allclose(*factors, atol=1e-5)


def test_black_and_the_factor_one_are_idle_and_the_share_of_white_is_told() -> None:
    assert Protection.given(gray(0), 20).is_idle
    assert str(Protection.given(gray(0), 20)) == "nothing is protected"
    assert Protection.given(gray(255), 1).is_idle
    half = Image.new("L", (64, 48))
    half.paste(255, (0, 0, 32, 48))
    assert not Protection.given(half, 20).is_idle
    assert str(Protection.given(half, 20)) == "50.0% protected: the content counts 20 times there"


def test_a_mask_of_other_proportions_is_refused(small_model: Path, noise: Noise) -> None:
    expected = "protection mask: 64x64 pixels for a picture of 64x48; expected the same proportions"
    with pytest.raises(PictureError, match=expected):
        prepare(noise(48, 64), noise(48, 64), model=small_model, recipe="small", protect=gray(255, (64, 64)))


@pytest.mark.parametrize("times", [-1.0, 2e6, float("nan")])
def test_a_weight_out_of_range_is_refused(small_model: Path, noise: Noise, times: float) -> None:
    with pytest.raises(InputError, match=r"protect_weight is .*; expected "):
        prepare(
            noise(), noise(), model=small_model, recipe="small", protect=gray(255), protect_weight=times, size="content"
        )


# --- objectives -----------------------------------------------------------------------------------------------

LOWERINGS = pytest.mark.parametrize("lowering", ["direct", "winograd"])


def evaluated(model: Path, noise: Noise, lowering: str, **options: Any) -> tuple[float, dict[str, float], Rgb]:
    content, style, image = (noise(40, 48, k) for k in range(3))
    objective = Objective.open(
        model, "small", content=content, styles=[style], device="cpu", lowering=lowering, **options
    )
    loss, gradient = objective(image)
    return loss, objective.terms, gradient


def assert_close(one: tuple[float, dict[str, float], Rgb], other: tuple[float, dict[str, float], Rgb]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1] == pytest.approx(other[1], rel=1e-5)
    assert np.linalg.norm(one[2] - other[2]) <= 1e-3 * np.linalg.norm(other[2])


@LOWERINGS
def test_white_everywhere_is_a_content_weight_so_many_times_higher(
    small_model: Path, noise: Noise, lowering: str
) -> None:
    protected = evaluated(small_model, noise, lowering, protect=gray(255), protect_weight=20)
    assert_close(protected, evaluated(small_model, noise, lowering, content_weight=20))


@LOWERINGS
def test_black_everywhere_changes_no_bit(small_model: Path, noise: Noise, lowering: str) -> None:
    plain, black = evaluated(small_model, noise, lowering), evaluated(small_model, noise, lowering, protect=gray(0))
    assert plain[:2] == black[:2]
    assert np.array_equal(plain[2], black[2])


@LOWERINGS
def test_black_everywhere_changes_no_bit_with_regions(small_model: Path, noise: Noise, lowering: str) -> None:
    mask = Image.new("RGB", (48, 40), "red")
    mask.paste("blue", (0, 0, 20, 40))
    masks = {"content_mask": mask, "style_masks": [mask]}
    plain = evaluated(small_model, noise, lowering, **masks)
    black = evaluated(small_model, noise, lowering, **masks, protect=gray(0))
    assert plain[:2] == black[:2]
    assert np.array_equal(plain[2], black[2])


@LOWERINGS
@pytest.mark.parametrize("tile", ["off", 16])
def test_a_soft_mask_raises_the_content_by_the_mean_of_what_it_says(
    small_model: Path, noise: Noise, lowering: str, tile: str | int
) -> None:
    """The loss is linear in the mask. So a mask and its negative, each times two, are three times as much as none."""
    mask = slope(48, 40)
    negative = Image.fromarray(255 - np.asarray(mask))
    none, soft, opposite = (
        evaluated(small_model, noise, lowering, tile=tile, protect=given_, protect_weight=2)
        for given_ in (None, mask, negative)
    )
    content = "content/block2_conv1"
    assert none[1][content] < soft[1][content] < 2 * none[1][content]
    assert soft[1][content] + opposite[1][content] == pytest.approx(3 * none[1][content], rel=1e-5)
    others = {name for name in none[1] if name != content}
    assert {name: soft[1][name] for name in others} == pytest.approx({name: none[1][name] for name in others}, rel=1e-5)


def test_what_is_protected_stays_nearer_to_the_content(small_model: Path, noise: Noise) -> None:
    mask = Image.new("L", (96, 48))
    mask.paste(255, (48, 0, 96, 48))
    content, style = noise(48, 96), 0.3 * noise(64, 64, 1)
    off = []
    for weight in (1, 10_000):
        result = stylize(
            content, style, model=small_model, recipe="small", size="content", evaluations=20, device="cpu",
            lowering="direct", style_weight=1e-2, protect=mask, protect_weight=weight,
        )  # fmt: skip
        off.append(np.abs(np.asarray(result.image, np.float32) - content)[:, 56:].mean())
    assert off[1] < 0.7 * off[0]


# --- records and models ---------------------------------------------------------------------------------------


def prepared(model: Path, noise: Noise, **options: Any) -> Any:
    given_ = {"recipe": "small", "evaluations": 2, "size": "content", "device": "cpu", "lowering": "direct", **options}
    return prepare(Image.fromarray(noise().astype(np.uint8)), noise(40, 48, 1), model=model, **given_)


def test_a_record_has_the_mask_and_the_weight_and_makes_the_picture_again(small_model: Path, noise: Noise) -> None:
    transfer = prepared(small_model, noise, protect=slope(48, 40), protect_weight=7)
    result = transfer.run()
    record = Record.from_json(result.record.to_json(), "out.png")
    (mask,) = record.inputs("protect")
    assert (mask.width, mask.height, record.plan.protect_weight) == (48, 40, 7)
    pictures: dict[str, list[Image.Image]] = {}
    for role, image in transfer.material.inputs:
        pictures.setdefault(role, []).append(image)
    again = record.transfer(pictures, model=small_model, placement=record.origin.placement).run()
    assert again.image.tobytes() == result.image.tobytes()
    pictures["protect"] = [slope(48, 40).transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("RGB")]
    with pytest.raises(InputError, match="protect 1: its pixels are not those that the record names"):
        record.transfer(pictures, model=small_model, placement=record.origin.placement)


def test_the_mask_and_its_weight_are_part_of_what_is_asked_for(small_model: Path, noise: Noise) -> None:
    wishes: list[dict[str, Any]] = [
        {}, {"protect": slope(48, 40)}, {"protect": slope(48, 40), "protect_weight": 3}, {"protect": gray(255)}
    ]  # fmt: skip
    transfers = [prepared(small_model, noise, **wish) for wish in wishes]
    assert len({fingerprint(transfer, transfer.origin) for transfer in transfers}) == len(wishes)


def test_plans_of_earlier_versions_are_read(small_model: Path, noise: Noise) -> None:
    record = prepared(small_model, noise).run().record
    older = json.loads(record.to_json())
    for name in ("protect_weight", "region_strengths"):
        del older["plan"][name]
    assert Record.from_json(json.dumps(older), "older.png").plan == record.plan


@pytest.fixture
def older(tmp_path: Path, random_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder whose graphs are as they were before there was protection."""
    monkeypatch.setattr(guidance.ByRegion, "counted", guidance.Everywhere.counted)
    export_unchecked(tmp_path / "older", SMALL[:1], random_weights)
    monkeypatch.undo()
    return tmp_path / "older"


def test_an_older_model_serves_without_protection_and_says_how_to_have_it(older: Path, noise: Noise) -> None:
    assert (older / GraphKey(OBJECTIVE, by_region=True).file("small")).exists()
    masks = {"content_mask": "#112233", "style_masks": ["#112233"]}
    for options in ({}, masks, {**masks, "tile": 16}):
        assert np.isfinite(prepared(older, noise, **options).run().loss)
    reason = r"older: its recipe 'small' cannot protect a part of the picture, .*; export it again .*--force"
    with pytest.raises(ModelError, match=reason):
        prepared(older, noise, protect=slope(48, 40))
    with pytest.raises(ModelError, match=reason):
        Objective.open(older, "small", content=noise(), styles=noise(), protect=slope(48, 40), device="cpu")
