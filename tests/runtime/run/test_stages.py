"""Stages that differ: each is what a run by itself would be, through masks, tiles, resumption and rerun."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime import InputError, Result, Step, StopOptimization
from impasto.runtime.engine.placement import Placement
from impasto.runtime.pictures.colors import statistics
from impasto.runtime.plan.plan import Plan, Stage, StageOptions
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run.estimate import estimate
from impasto.runtime.run.fitting import Need, alternatives
from impasto.runtime.run.idle import idle_options
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Record
from impasto.runtime.run.state import State
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.storage import codec

HERE: dict[str, Any] = {"device": "cpu", "lowering": "direct", "threads": 1, "recipe": "small"}

COARSE, FINE = (36, 32), (72, 64)


def picture(seed: int = 0, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    """Return soft patches of colour: noise would leave little to resize."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


CONTENT, STYLES = picture(), [picture(1, 56, 40), picture(2, 44, 60)]


def planned(model: Path, first: dict[str, Any], second: dict[str, Any], **options: Any) -> Transfer:
    """Prepare a transfer of two stages, 36x32 and 72x64, of three and four evaluations."""
    plan = {
        "size": "72x64",
        "init": "style",  # then a stage starts from nothing but the picture before
        **options.pop("whole", {}),
        "stages": [{"size": "50%", "evaluations": 3, **first}, {"evaluations": 4, **second}],
    }
    return prepare(CONTENT, options.pop("styles", STYLES), plan=plan, model=model, **{**HERE, **options})


def by_hand(model: Path, size: tuple[int, int], evaluations: int, start: Any = None, **options: Any) -> Transfer:
    """Carry out one stage by itself, from the beginning, or from a picture of float levels."""
    options = {"init": "style", "styles": STYLES, **options}
    transfer = prepare(
        CONTENT, options.pop("styles"), size=size, evaluations=evaluations, stages=1, model=model, **HERE, **options
    )
    transfer.run(None if start is None else State((0,), start))
    return transfer


def enlarged(point: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return levels [1, 3, h, w] in another size, resampled by Pillow, a channel at a time."""
    channels = [Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in point[0]]
    return np.stack([np.asarray(channel, np.float32) for channel in channels])[None]


@pytest.mark.parametrize(
    ("first", "second", "one", "two"),
    [
        ({"styles": [1]}, {"styles": [2]}, {"styles": STYLES[:1]}, {"styles": STYLES[1:]}),
        (
            {"style_blend": [3, 1]},
            {"style_scale": 0.8, "colors": "match"},
            {"style_blend": [3, 1]},
            {"style_scale": 0.8, "colors": "match"},
        ),
        (
            {"style_weight": 50, "optimizer": "adam"},
            {"content_weight": 0, "tv_weight": 1},
            {"style_weight": 50, "optimizer": "adam"},
            {"content_weight": 0, "tv_weight": 1},
        ),
        ({"optimizer": "lbfgs-sobolev"}, {"optimizer": "lbfgs"}, {"optimizer": "lbfgs-sobolev"}, {}),
    ],
    ids=["styles", "scales and colours", "weights", "optimisers"],
)
def test_two_stages_are_two_runs_by_hand_one_from_the_others_picture(
    small_model: Path, first: dict[str, Any], second: dict[str, Any], one: dict[str, Any], two: dict[str, Any]
) -> None:
    """With the same bits: the second run starts from the picture before it was rounded to 8 bits."""
    result = planned(small_model, first, second).run()
    coarse = by_hand(small_model, COARSE, 3, **one)
    fine = by_hand(small_model, FINE, 4, enlarged(coarse.state.point, *FINE), **two)
    losses = [step.loss for transfer in (coarse, fine) for step in transfer._history]
    assert [step.loss for step in result.history] == losses
    assert len(set(losses)) > 4
    assert np.array_equal(np.asarray(result.image), np.asarray(fine.picture()))


def test_a_stage_weighs_layers_by_itself(small_model: Path) -> None:
    """The terms of the first picture of each stage, beside those of the same stages without shares of their own."""
    own = {"style_layers": {"block1_conv1": 0, "block2_conv1": 1.5}, "content_layers": {"block2_conv1": 3}}
    plain, weighed = (planned(small_model, {}, stage).run().history[3].terms for stage in ({}, own))
    assert weighed["style/block1_conv1"] == 0 < plain["style/block1_conv1"]
    assert weighed["style/block2_conv1"] == pytest.approx(3 * plain["style/block2_conv1"], rel=1e-5)  # 1.5 for 0.5
    assert weighed["content/block2_conv1"] == pytest.approx(3 * plain["content/block2_conv1"], rel=1e-5)


# --- colours --------------------------------------------------------------------------------------------------


def starts(transfer: Transfer) -> list[NDArray[np.float32]]:
    """Run a transfer, and return the picture that each stage has evaluated first, [H, W, 3]."""
    seen: list[NDArray[np.float32]] = []

    def keep(step: Step) -> None:
        if step.of_stage == 1:
            seen.append(transfer.state.point[0].transpose(1, 2, 0).copy())

    transfer.callback = keep
    transfer.run()
    return seen


@pytest.mark.parametrize(
    ("stage", "of"),
    [
        ({"start_colors": "content"}, [CONTENT]),
        ({"start_colors": "style", "styles": [2]}, [STYLES[1]]),
        ({"start_colors": "style", "style_blend": [3, 1]}, [STYLES[0]] * 3 + [STYLES[1]]),
    ],
)
def test_a_stage_starts_in_the_colours_of_the_photograph_or_of_its_styles(
    small_model: Path, stage: dict[str, Any], of: list[NDArray[np.uint8]]
) -> None:
    _, start = starts(planned(small_model, {}, stage))
    # of a mixture: each picture has the same share, whatever its number of pixels
    parts = [one.reshape(-1, 3).astype(np.float64) for one in of]
    mean = np.mean([part.mean(0) for part in parts], axis=0)
    second = np.mean([part.T @ part / len(part) for part in parts], axis=0)
    found_mean, found = statistics(start)
    np.testing.assert_allclose(found_mean, mean, atol=0.02)
    np.testing.assert_allclose(found, second - np.outer(mean, mean), atol=2, rtol=2e-3)


def test_the_first_stage_may_start_in_other_colours_and_levels_are_held(small_model: Path) -> None:
    transfer = planned(
        small_model, {"start_colors": "style", "styles": [2]}, {}, whole={"init": "content", "clip": True}
    )
    first, _ = starts(transfer)
    assert first.min() >= 0 and first.max() <= 255
    np.testing.assert_allclose(statistics(first)[0], statistics(STYLES[1])[0], atol=6)
    assert np.abs(statistics(CONTENT)[0] - statistics(STYLES[1])[0]).max() > 12


# --- masks, tiles, memory -------------------------------------------------------------------------------------


def halves(width: int, height: int) -> Image.Image:
    mask = Image.new("RGB", (width, height), "#ff0000")
    mask.paste("#0000ff", (0, 0, width // 2, height))
    return mask


def test_masks_hold_in_every_stage_and_a_region_without_style_is_refused(small_model: Path) -> None:
    masks = {"content_mask": halves(48, 40), "style_masks": [halves(40, 56), "#ff0000"]}
    plain = planned(small_model, {"styles": [1]}, {"style_blend": [1, 2]}, **masks)
    result = plain.run()
    assert result.finished and np.isfinite(result.loss)
    without = planned(small_model, {"styles": [1]}, {"style_blend": [1, 2]}).run()
    assert result.loss != without.loss
    with pytest.raises(InputError, match=r"^stage 2: region #0000ff has no style in it; give a share to one that has"):
        planned(small_model, {}, {"styles": [2]}, **masks)


def test_stages_that_differ_are_the_same_in_tiles(small_model: Path) -> None:
    stages = {"styles": [2], "style_weight": 40}, {"style_scale": 1.5, "start_colors": "content"}
    whole, tiled = (planned(small_model, *stages, tile=tile).run() for tile in ("off", 32))
    assert tiled.tile is not None
    np.testing.assert_allclose([step.loss for step in tiled.history], [step.loss for step in whole.history], rtol=1e-3)


def test_an_estimate_counts_the_styles_and_their_scale_of_each_stage(small_model: Path) -> None:
    transfer = planned(small_model, {"styles": [1]}, {"style_scale": 2.0})
    first, second = (transfer.need.load(stage).styles for stage in transfer.plan.stages)
    assert (len(first), len(second)) == (1, 2)
    (plain, _) = planned(small_model, {}, {}).need.load(transfer.plan.stages[1]).styles
    assert second[0] == plain
    assert transfer.need.load(replace(transfer.plan.stages[1], options=None)).styles[0][0] < second[0][0]
    assert estimate(transfer).evaluations == 7


def test_where_memory_is_short_a_stages_own_optimiser_is_the_first_choice() -> None:
    stage = Stage(400, 300, 9, options=StageOptions(optimizer="lbfgs-sobolev"))
    plan = Plan(load_recipe("seed"), (stage,), "content")
    assert plan.optimizer_of(stage) == "lbfgs-sobolev"
    first, *others = alternatives(plan, stage)
    assert first == stage
    assert {plan.optimizer_of(other) for other in others[:-1]} == {"lbfgs-sobolev"}
    assert all(other.pairs and other.options == stage.options for other in others[:-1])
    assert plan.optimizer_of(others[-1]) == "adam"
    fitted = Need(plan, [(400, 300)], Placement("cpu")).fitted(1)
    assert fitted.stages[0].options == stage.options


def test_an_option_that_one_stage_has_use_for_is_not_idle(small_model: Path) -> None:
    assert "style_scale" in idle_options(planned(small_model, {}, {}, whole={"style_weight": 0}))
    transfer = planned(small_model, {}, {"style_weight": 3}, whole={"style_weight": 0})
    assert "style_scale" not in idle_options(transfer)


# --- records, resumption, rerun -------------------------------------------------------------------------------

DIFFERENT = (
    {"styles": [2], "style_weight": 40, "start_colors": "content"},
    {"style_blend": [1, 3], "style_layers": {"block1_conv1": 2}, "start_colors": "style", "optimizer": "adam"},
)


def again(result: Result, model: Path) -> Result:
    """Carry out what a result's record says."""
    record = Record.from_json(result.record.to_json(), "test")
    images = {"content": [Image.fromarray(CONTENT)], "style": [Image.fromarray(style) for style in STYLES]}
    return record.transfer(images, model=model, placement=record.origin.placement).run()


def test_a_record_makes_stages_that_differ_again_bit_for_bit(small_model: Path) -> None:
    result = planned(small_model, *DIFFERENT, whole={"init": "content"}).run()
    assert result.plan == planned(small_model, *DIFFERENT, whole={"init": "content"}).plan
    assert np.array_equal(np.asarray(again(result, small_model).image), np.asarray(result.image))


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_run_goes_on_in_the_stage_where_it_was_stopped(small_model: Path, stop: int) -> None:
    """Adam's second stage goes on with the same bits; colours are not changed once more."""

    def end(step: Step) -> None:
        if step.evaluation == stop:
            raise StopOptimization

    whole = planned(small_model, *DIFFERENT).run()
    begun = planned(small_model, *DIFFERENT, callback=end)
    begun.run()
    state = pickle.loads(pickle.dumps(begun.state.snapshot()))
    result = planned(small_model, *DIFFERENT).run(state)
    assert result.evaluations == 7
    if stop >= 3:  # L-BFGS, in the first stage, forgets what it has learnt
        assert np.array_equal(np.asarray(result.image), np.asarray(whole.image))
    assert np.array_equal(np.asarray(again(result, small_model).image), np.asarray(result.image))


def test_the_record_of_an_ordinary_run_is_as_it_was(small_model: Path) -> None:
    ordinary = prepare(CONTENT, STYLES, size=FINE, evaluations=5, stages=2, model=small_model, **HERE)
    for stage in codec.to_data(ordinary.plan)["stages"]:
        assert list(stage) == ["width", "height", "evaluations", "planned", "optimizer", "pairs"]
    planned_ = planned(small_model, {"style_scale": 2}, {})
    first, second = json.loads(json.dumps(codec.to_data(planned_.plan)))["stages"]
    assert first["options"] == {"style_scale": 2}
    assert "options" not in second


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stages": 2}, "stages: the plan has its own"),
        ({"evaluations": 1}, "evaluations is 1; expected 2 or more"),
        ({"evaluations": 0}, "evaluations is 0; expected 1 or more"),
        ({"tile": 32, "optimizer": "lbfgs-device"}, "tile=32: its gradients are added up on the host"),
    ],
)
def test_an_option_that_does_not_go_with_a_plan_is_refused(
    small_model: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        planned(small_model, {}, {}, **options)


def test_a_size_beside_a_plan_is_that_of_the_result(small_model: Path) -> None:
    found = planned(small_model, {}, {}, size=48).plan
    assert [(stage.width, stage.height) for stage in found.stages] == [(38, 32), (48, 40)]
    with pytest.raises(InputError, match=r"^size is 48x40, and the last stage has 72x60; write sizes as shares"):
        planned(small_model, {}, {"size": 72}, whole={"size": 72}, size=48)


def test_a_plan_starts_from_a_picture_that_is_given_beside_it(small_model: Path) -> None:
    with pytest.raises(InputError, match="plan: init is picture; name the picture to start from with init"):
        planned(small_model, {}, {}, whole={"init": "picture"})
    transfer = planned(small_model, {}, {}, whole={"init": "picture"}, init=STYLES[1])
    assert transfer.plan.init == "picture"
    assert transfer.run().finished
