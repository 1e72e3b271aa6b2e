"""A transfer does what its plan says: stages, starts, colours, limits; and it can be done in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime import InputError, Result, Step, StopOptimization, TransferError
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import Evaluator, SessionEvaluator, TileStep
from impasto.runtime.engine.references import References
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures.colors import keep_colors, keep_pixels
from impasto.runtime.pictures.planes import resize
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.plan.recipe import LEAST_WEIGHT, MOST_WEIGHT, Noise
from impasto.runtime.run import transfer as transfer_module
from impasto.runtime.run.material import Material
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.state import State
from impasto.runtime.run.transfer import Transfer

HERE: dict[str, Any] = {"device": "cpu", "lowering": "direct", "threads": 1}


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    """Return the quickest of models, for all tests here."""
    return small_model


def picture(seed: int = 0, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    """Return soft patches of colour: noise would leave little to resize."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def prepared(model: Path, **options: Any) -> Transfer:
    """Prepare a transfer of two stages, 36x32 and 72x60."""
    styles = options.pop("styles", [picture(1, 56, 40)])
    good: dict[str, Any] = {"model": model, "recipe": "small", "size": (72, 64), "evaluations": 9, "stages": 2}
    return prepare(picture(), styles, **{**good, **HERE, **options})


def run(model: Path, **options: Any) -> Result:
    return prepared(model, **options).run()


def levels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image, np.int64)


# --- stages ---------------------------------------------------------------------------------------------------


def test_stages_follow_each_other_from_coarse_to_fine(model: Path) -> None:
    result = run(model)
    assert [(s.evaluation, s.stage, s.width, s.height) for s in result.history] == [
        *((n, 1, 36, 32) for n in range(1, 7)), *((n, 2, 72, 64) for n in range(7, 10)),
    ]  # fmt: skip
    assert {(s.evaluations, s.stages) for s in result.history} == {(9, 2)}
    assert result.image.size == (72, 64)
    assert result.finished
    assert result.loss == min(s.loss for s in result.history if s.stage == 2)
    assert result.plan.stages == (Stage(36, 32, 6), Stage(72, 64, 3))


def test_the_reason_is_of_the_last_stage_where_one_before_it_was_cut_short(model: Path) -> None:
    result = run(model, evaluations=24, min_improvement=1)  # the first of 16 ends after 11
    assert [stage.evaluations for stage in result.plan.stages] == [11, 8]
    assert result.reason == "all 8 evaluations of the last stage were made"


@pytest.mark.parametrize("start", [{"init": "random", "content_weight": 0}, {"content_weight": 0}, {"init": "style"}])
def test_a_stage_starts_from_the_best_picture_of_the_one_before(model: Path, start: dict[str, Any]) -> None:
    """Where the photograph has no say, or all began with a painting: it is the picture enlarged."""
    seen: list[Image.Image] = []
    two = run(model, evaluations=3, callback=lambda step: seen.append(step.picture()), **start)
    np.testing.assert_array_equal(levels(seen[2]), levels(seen[1]))
    if start.get("init") != "style":
        assert not np.array_equal(levels(seen[1]), levels(seen[0]))
    if start.get("init") == "random":  # a start far worse
        assert two.history[2].loss < run(model, evaluations=1, stages=1, **start).loss


@pytest.mark.parametrize(("init", "clip"), [("content", False), ("content", True), ("random", False)])
def test_a_stage_starts_with_the_photographs_details_and_the_change_enlarged(
    model: Path, init: str, clip: bool
) -> None:
    points: list[NDArray[np.float64]] = []

    def keep(step: Step) -> None:
        points.append(transfer.state.point[0].transpose(1, 2, 0).astype(np.float64))

    transfer = prepared(model, evaluations=3, init=init, clip=clip, callback=keep)
    two = transfer.run()
    fine, coarse = (
        levels(resize(Image.fromarray(picture()), *size)).astype(np.float32) for size in ((72, 64), (36, 32))
    )
    change = (points[1] - coarse).astype(np.float32)
    enlarged = [
        np.asarray(Image.fromarray(np.ascontiguousarray(change[..., k])).resize((72, 64), Image.Resampling.LANCZOS))
        for k in range(3)
    ]
    expected = fine + np.stack(enlarged, axis=-1)
    assert np.abs(expected - fine).max() > 1  # there is a change
    np.testing.assert_allclose(points[2], expected.clip(0, 255) if clip else expected, atol=1e-3)
    one = run(model, evaluations=1, init=init, stages=1)
    assert two.history[2].loss < one.loss


def test_the_first_change_of_a_stage_is_none_and_later_ones_are_measured(model: Path) -> None:
    changes = {(s.evaluation, s.change > 0) for s in run(model).history}
    assert changes == {(n, n not in (1, 7)) for n in range(1, 10)}


def test_a_stage_that_fails_keeps_the_picture_of_the_one_before(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Engine.evaluator

    def make_small_ones(engine: Engine, folder: ModelFolder, recipe: str, references: References, *more: Any) -> Any:
        if references.shape[1] > 40:
            raise TransferError("out of memory on cpu")
        return make(engine, folder, recipe, references, *more)

    monkeypatch.setattr(Engine, "evaluator", make_small_ones)
    result = run(model)
    assert result.image.size == (72, 64)
    assert (result.stage, result.evaluated) == (1, (36, 32))
    assert result.reason == "stage 2 failed: out of memory on cpu"
    assert (result.evaluations, result.finished) == (6, False)
    assert result.plan.stages == (Stage(36, 32, 6), Stage(72, 64, 0))


def test_a_first_stage_that_fails_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Evaluator:
        raise TransferError("out of memory on cpu")

    monkeypatch.setattr(Engine, "evaluator", fail)
    with pytest.raises(TransferError, match="out of memory"):
        run(model)


# --- starts ---------------------------------------------------------------------------------------------------


# --- tiles ----------------------------------------------------------------------------------------------------


def test_a_transfer_in_tiles_is_that_of_whole_pictures(model: Path) -> None:
    whole, tiled = run(model, tile="off"), run(model, tile=16)
    assert tiled.tile == 16
    assert [step.loss for step in tiled.history] == pytest.approx([step.loss for step in whole.history], rel=1e-4)
    for one, other in zip(tiled.history, whole.history, strict=True):
        assert one.terms == pytest.approx(other.terms, rel=1e-3, abs=1e-4 * other.loss)
    assert abs(levels(tiled.image) - levels(whole.image)).max() <= 2


def stopped_within_a_tile(model: Path, evaluations: int, tile: int) -> Result:
    """Stop after so many evaluations, and so many tiles of the next one."""

    def stop(step: TileStep) -> None:
        if transfer.state.evaluations == evaluations and step.number == tile:
            raise StopOptimization("enough")

    transfer = prepared(model, tile=16)
    transfer.after_tile = stop
    return transfer.run()


@pytest.mark.parametrize("tile", [2, 11])
def test_a_stop_within_a_tile_keeps_the_best_picture(model: Path, tile: int) -> None:
    result = stopped_within_a_tile(model, 7, tile)
    assert (result.evaluations, result.reason, result.stage, result.finished) == (7, "enough", 2, False)
    assert result.evaluated == (72, 64)


def test_a_stop_within_the_first_evaluation_of_a_stage_keeps_the_picture_of_the_one_before(model: Path) -> None:
    result = stopped_within_a_tile(model, 6, 3)
    assert (result.evaluations, result.reason, result.stage, result.finished) == (6, "enough", 1, False)
    assert (result.evaluated, result.image.size) == ((36, 32), (72, 64))


def test_a_stop_before_there_is_a_picture_is_raised(model: Path) -> None:
    with pytest.raises(StopOptimization, match="enough"):
        stopped_within_a_tile(model, 0, 1)


def start_of(model: Path, **options: Any) -> NDArray[np.int64]:
    return levels(run(model, evaluations=1, stages=1, **options).image)


def test_noise_mixes_the_start_with_its_share(model: Path) -> None:
    pure, drawn = start_of(model), start_of(model, noise=1.0, seed=3)
    np.testing.assert_array_equal(drawn, start_of(model, init="random", seed=3))
    mixed = start_of(model, noise=0.25, seed=3)
    np.testing.assert_allclose(mixed, 0.75 * pure + 0.25 * drawn, atol=1)
    assert not np.array_equal(mixed, start_of(model, noise=0.25, seed=4))


def test_a_start_from_statistics_has_the_styles_colours_and_none_of_its_forms(model: Path) -> None:
    style = np.clip(np.random.default_rng(0).normal((150, 110, 80), (18, 12, 9), (64, 72, 3)), 0, 255).astype(np.uint8)
    start = start_of(model, init="statistics", styles=[style], seed=1).reshape(-1, 3)
    other = style.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(start.mean(0), other.mean(0), atol=2)
    np.testing.assert_allclose(np.cov(start.T), np.cov(other.T), atol=40)
    assert abs(np.corrcoef(start[:, 0], other[:, 0])[0, 1]) < 0.1


def test_a_picture_that_is_planned_and_not_given_is_asked_for(model: Path) -> None:
    transfer = prepared(model, init=picture(7))
    transfer.material = replace(transfer.material, start=None)
    with pytest.raises(InputError, match="init picture: none given"):
        transfer.run()


# --- styles, colours, strength --------------------------------------------------------------------------------


def test_a_blend_of_all_and_nothing_is_one_style(model: Path) -> None:
    a, b = picture(1, 56, 40), picture(2, 40, 56)
    one = run(model, styles=[b])
    np.testing.assert_array_equal(levels(run(model, styles=[a, b], style_blend=[0, 2]).image), levels(one.image))
    assert not np.array_equal(levels(run(model, styles=[a, b]).image), levels(one.image))


def test_the_scale_of_a_style_matters(model: Path) -> None:
    assert run(model, style_scale=2.0).loss != run(model).loss


@pytest.mark.parametrize("colors", ["keep", "keep-pixels"])
def test_kept_colours_are_the_contents_and_its_lightness_changes(model: Path, colors: str) -> None:
    content = Image.fromarray(picture()).resize((72, 64), Image.Resampling.LANCZOS)
    plain, kept = run(model), run(model, colors=colors)
    assert kept.loss == plain.loss  # it changes nothing of the run
    tint = [np.asarray(image.convert("YCbCr"), int)[..., 1:] for image in (content, kept.image, plain.image)]
    assert np.abs(tint[1] - tint[0]).mean() < np.abs(tint[2] - tint[0]).mean() / 2


@pytest.mark.parametrize("colors", ["match", "match-lab"])
def test_matched_colours_change_the_style_and_not_what_is_remembered_as_given(model: Path, colors: str) -> None:
    transfer = prepared(model, colors=colors)
    np.testing.assert_array_equal(levels(transfer.material.paintings[0]), picture(1, 56, 40))
    matched, content = (
        levels(image).reshape(-1, 3) for image in (transfer.material.styles("match")[0], transfer.material.content)
    )
    np.testing.assert_allclose(matched.mean(0), content.mean(0), atol=8)
    assert transfer.run().finished


def test_the_kept_colours_of_an_older_record_are_made_again_as_they_were(model: Path) -> None:
    transfer = prepared(model, colors="keep-pixels")
    assert transfer.plan.colors == "keep"  # as records have had it from the first
    content = transfer.material.content.resize((72, 64), Image.Resampling.LANCZOS)
    plain = run(model).image
    np.testing.assert_array_equal(levels(transfer.run().image), levels(keep_pixels(plain, content)))
    np.testing.assert_array_equal(levels(run(model, colors="keep").image), levels(keep_colors(plain, content)))


def test_strength_mixes_with_the_content_afterwards(model: Path) -> None:
    content = Image.fromarray(picture()).resize((72, 64), Image.Resampling.LANCZOS)
    full, half, none = (run(model, strength=s) for s in (1.0, 0.5, 0.0))
    assert full.loss == half.loss == none.loss
    np.testing.assert_array_equal(levels(none.image), levels(content))
    assert np.abs(levels(half.image) - (levels(full.image) + levels(content)) / 2).mean() < 3


def test_clipping_holds_the_levels_throughout(model: Path) -> None:
    extremes: list[tuple[float, float]] = []

    def look(step: Step) -> None:
        point = transfer.state.point
        extremes.append((float(point.min()), float(point.max())))

    transfer = prepared(model, clip=True, style_weight=1e6, callback=look)
    transfer.run()
    assert min(low for low, _ in extremes) >= 0
    assert max(high for _, high in extremes) <= 255


# --- ends -----------------------------------------------------------------------------------------------------


STARTS: dict[str, dict[str, Any]] = {
    "content": {}, "style": {"init": "style"}, "statistics": {"init": "statistics"}, "random": {"init": "random"},
    "content with noise": {"noise": 0.9}, "picture": {"init": "checks"},
}  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("optimizer", ["lbfgs", "lbfgs-sobolev", "adam", "lbfgs-device"])
def test_with_clip_no_evaluation_of_any_stage_is_beyond_the_levels(
    model: Path, optimizer: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharp edges overshoot when a stage's picture is enlarged, and a recipe's noise may be anything."""
    checks = Image.fromarray(np.kron(np.indices((8, 8)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)).convert(
        "RGB"
    )
    options = {**STARTS[start], "clip": True, "optimizer": optimizer, "stages": 2, "size": (96, 80), "evaluations": 9}
    options |= {"init": checks} if options.get("init") == "checks" else {}
    transfer = prepare(checks, [checks], model=model, recipe="small", device="cpu", style_weight=1e6, **options)
    wild = Noise(kind="normal", std=500.0)
    transfer.plan = replace(transfer.plan, recipe=replace(transfer.plan.recipe, noise=wild))
    seen: list[tuple[float, float]] = []
    evaluate = SessionEvaluator.evaluate_resident

    def look(self: SessionEvaluator, image: Any, gradient: Any) -> tuple[float, dict[str, float]]:
        seen.append((float(image.numpy().min()), float(image.numpy().max())))
        return evaluate(self, image, gradient)

    monkeypatch.setattr(SessionEvaluator, "evaluate_resident", look)
    result = transfer.run()
    assert len(seen) == result.evaluations
    assert {step.stage for step in result.history} == {1, 2}
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 255
    assert [step.change for step in result.history if step.evaluation == 1] == [0]


@pytest.mark.parametrize("weight", [LEAST_WEIGHT, MOST_WEIGHT])
@pytest.mark.parametrize("optimizer", ["lbfgs", "lbfgs-sobolev", "adam", "lbfgs-device"])
def test_weights_as_large_and_as_small_as_may_be_work(model: Path, optimizer: str, weight: float) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "style_weight": weight, "content_weight": 0, "tv_weight": 0}
    result = run(model, evaluations=6, stages=1, **options)
    assert result.history[0].loss > result.loss > 0


@pytest.mark.parametrize("weight", [1e38, 1e16, 1e-16, 1e-38, 5e-324, -1.0, -0.5e-300, float("nan"), float("inf")])
@pytest.mark.parametrize("term", ["content_weight", "style_weight", "tv_weight"])
def test_weights_that_float32_does_not_hold_are_refused_before_any_work(model: Path, term: str, weight: float) -> None:
    with pytest.raises(InputError, match=rf"{term} is .*; expected (0, or 1e-15 to 1e\+15|a finite number)"):
        run(model, callback=lambda step: pytest.fail("it has begun"), **{term: weight})


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"device": 3}, "device is 3; expected text"), ({"threads": "two"}, "threads is 'two'; expected a"),
        ({"low_memory": 1}, "low_memory is 1; expected true"), ({"seed": 1.0}, "seed is 1.0; expected a whole"),
        ({"style_blend": ["a"]}, "style_blend 'a': expected weights"), ({"time_limit": "1"}, "time_limit is '1'"),
        ({"precision": None}, "precision is None; expected text"), ({"optimizer": 3}, "optimizer is 3; expected text"),
    ],
)  # fmt: skip
def test_wishes_of_another_type_are_refused_by_their_name(model: Path, wish: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        run(model, **wish)


def test_without_any_weight_nothing_is_begun(model: Path) -> None:
    with pytest.raises(InputError, match="weights: all are 0"):
        run(model, content_weight=0, style_weight=0, tv_weight=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -5e-324, 1e308, 10**400, "1", True, None])
@pytest.mark.parametrize("name", ["noise", "strength", "style_scale"])
def test_numbers_out_of_range_are_refused_by_their_name(model: Path, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is ") as refused:
        run(model, **{name: value})
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["noise", "strength", "min_improvement"])
def test_numbers_next_to_nothing_are_taken(model: Path, name: str) -> None:
    assert run(model, evaluations=2, **{name: 5e-324}).evaluations == 2


def test_the_time_limit_ends_a_transfer_with_what_there_is(model: Path) -> None:
    result = run(model, time_limit=1e-6)
    assert result.evaluations == 1
    assert result.reason == "the time limit of 1e-06 seconds was reached"
    assert not result.finished


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_transfer_that_ends_in_a_coarse_stage_has_the_size_that_was_asked_for(model: Path, optimizer: str) -> None:
    """And starting the next stage would have begun with just that picture."""
    cut = run(model, optimizer=optimizer, init="random", evaluations=12, callback=stopping_after(5))
    assert cut.image.size == (72, 64)
    assert (cut.stage, cut.evaluated, cut.finished) == (1, (36, 32), False)
    seen: list[Image.Image] = []
    whole = run(
        model, optimizer=optimizer, init="random", evaluations=12, callback=lambda step: seen.append(step.picture())
    )
    np.testing.assert_array_equal(levels(cut.image), levels(seen[4]))
    assert {image.size for image in seen} == {(72, 64)}
    assert (whole.stage, whole.evaluated) == (2, (72, 64))


def slowed(monkeypatch: pytest.MonkeyPatch, seconds: float, fine: float = 4.0) -> None:
    """Let an evaluation of the coarse stage take so long, of the fine one so many times that, and all else no time."""
    evaluate, now = SessionEvaluator.evaluate, 0.0

    def slowly(evaluator: SessionEvaluator, planes: Any) -> Any:
        nonlocal now
        now += seconds * (1 if planes[0, 0].size == 36 * 32 else fine)
        return evaluate(evaluator, planes)

    monkeypatch.setattr(SessionEvaluator, "evaluate", slowly)
    monkeypatch.setattr(transfer_module, "time", SimpleNamespace(perf_counter=lambda: now))


def test_a_time_limit_is_divided_among_the_stages(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, 0.01)
    limit = 2.0  # of some 6 s that all would take
    result = run(model, evaluations=300, time_limit=limit)
    first, second = (sum(s.stage == stage for s in result.history) for stage in (1, 2))
    assert first > 20
    assert 0.25 < second / first < 0.7  # 2 to 1, as planned
    assert not result.finished
    ends = [s.seconds for s in result.history if s.stage == 2]
    longest = max(later - earlier for earlier, later in itertools.pairwise(ends))
    assert abs(ends[-1] - limit) <= longest
    assert "time limit of 2 seconds was reached" in result.reason


def test_where_only_the_last_stage_was_made_whole_the_time_limit_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowed(monkeypatch, 0.01, fine=0.1)  # it turns out much quicker than the coarse stage lets expect
    result = run(model, evaluations=60, time_limit=0.5)
    assert [stage.evaluations for stage in result.plan.stages][-1] == 20
    assert 20 < result.evaluations < 60
    told = "all 20 evaluations of the last stage were made, and fewer before it for the time limit of 0.5 seconds"
    assert (result.finished, result.reason) == (True, told)


def test_a_stage_that_cannot_pay_off_is_not_begun(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(monkeypatch, 0.05)
    result = run(model, evaluations=30, time_limit=1.3)  # all of the coarse stage, and one or two of the fine one
    assert {step.stage for step in result.history} == {1}
    assert (result.stage, result.image.size) == (1, (72, 64))
    assert result.seconds < 1.3
    assert result.reason == "the time limit of 1.3 seconds leaves too little for 72x64"
    assert not result.finished


def test_a_time_limit_that_is_not_reached_changes_nothing(model: Path) -> None:
    np.testing.assert_array_equal(levels(run(model, time_limit=1e6).image), levels(run(model).image))


@pytest.mark.parametrize("during", ["an evaluation", "the callback"])
def test_an_interrupt_returns_the_best_picture(model: Path, during: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, count = SessionEvaluator.evaluate, 0

    def interrupted(evaluator: SessionEvaluator, planes: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return evaluate(evaluator, planes)

    def call(step: Step) -> None:
        if step.evaluation == 3:
            raise KeyboardInterrupt

    if during == "an evaluation":
        monkeypatch.setattr(SessionEvaluator, "evaluate", interrupted)
    result = run(model, callback=call if during == "the callback" else None)
    assert (result.evaluations, result.finished, result.reason) == (3, False, "interrupted")
    assert result.image.size == (72, 64)
    assert result.loss == min(step.loss for step in result.history)


def test_an_interrupt_after_the_last_evaluation_finds_the_transfer_finished(model: Path) -> None:
    def call(step: Step) -> None:
        if step.evaluation == step.evaluations:
            raise KeyboardInterrupt

    result = run(model, callback=call)
    assert (result.finished, result.reason) == (True, f"all {result.evaluations} evaluations were made")


def test_the_share_of_the_starts_loss_falls_from_1_and_does_not_jump_between_stages(model: Path) -> None:
    result = run(model)
    first, second = ([step for step in result.history if step.stage == stage] for stage in (1, 2))
    assert first[0].share == 1
    assert second[0].share == pytest.approx(min(step.share for step in first))
    assert result.share == pytest.approx(min(step.share for step in result.history))
    assert second[-1].share / second[0].share == pytest.approx(second[-1].loss / second[0].loss)


def test_an_interrupt_before_the_first_evaluation_is_raised(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Evaluator:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "evaluator", fail)
    with pytest.raises(KeyboardInterrupt):
        run(model)


def test_too_little_improvement_ends_a_stage_and_not_the_transfer(model: Path) -> None:
    result = run(model, evaluations=60, min_improvement=0.9)
    counts = [sum(1 for s in result.history if s.stage == stage) for stage in (1, 2)]
    assert [stage.evaluations for stage in result.plan.stages] == counts
    assert counts[0] < 40
    assert counts[1] >= 11
    assert result.finished


# --- the bleed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["content", "style", "random", "picture"])
def test_a_bleed_is_painted_and_cut_off(model: Path, init: str) -> None:
    transfer = prepared(model, bleed=5, init=Image.fromarray(picture(7)) if init == "picture" else init)
    result = transfer.run()
    assert [(stage.width, stage.height) for stage in result.plan.stages] == [(36, 32), (72, 64)]
    assert {(step.width, step.height) for step in result.history} == {(36, 32), (72, 64)}
    assert result.image.size == result.evaluated == (72, 64)
    point = transfer.state.point[0].transpose(1, 2, 0)
    assert point.shape == (74, 82, 3)
    np.testing.assert_array_equal(levels(result.image), point[5:-5, 5:-5].round().clip(0, 255))


def test_beyond_the_borders_the_photograph_and_its_masks_are_mirrored_and_styles_are_as_large_as_before(
    model: Path,
) -> None:
    mask = np.zeros((40, 48, 3), np.uint8)
    mask[:, 20:] = 255
    masks: dict[str, Any] = {"styles": [picture(1)], "content_mask": mask, "style_masks": [mask]}
    plain, bled = (prepared(model, bleed=pixels, **dict(masks)) for pixels in (0, 5))
    for without, stage in zip(plain.plan.stages, bled.plan.stages, strict=True):
        expected, found = (one.material.references(one.plan, size) for one, size in ((plain, without), (bled, stage)))
        around = ((0, 0), (0, 0), (5, 5), (5, 5))
        np.testing.assert_array_equal(found.content, np.pad(expected.content, around, mode="symmetric"))
        assert expected.content_guides is not None
        np.testing.assert_array_equal(found.content_guides, np.pad(expected.content_guides, around, mode="symmetric"))
        np.testing.assert_array_equal(found.styles[0], expected.styles[0])


def test_a_bleed_wider_than_the_picture_is_mirrored_again_and_again(model: Path) -> None:
    assert run(model, bleed=100, stages=1, evaluations=2).image.size == (72, 64)


def test_the_loss_is_that_of_the_whole_picture_bleed_included(model: Path) -> None:
    """The photograph, mirrored by hand, is painted alike; its style has to be the size that the smaller one has."""
    style = picture(1, 64, 72)
    bled = run(model, styles=[style], bleed=4, stages=1)
    photograph = np.pad(levels(resize(Image.fromarray(picture()), 72, 64)), ((4, 4), (4, 4), (0, 0)), mode="symmetric")
    scale = {"style_scale": (72 * 64 / (80 * 72)) ** 0.5}
    other = prepare(
        photograph.astype(np.uint8), [style], model=model, recipe="small", size=(80, 72), evaluations=9, stages=1,
        **scale, **HERE,
    ).run()  # fmt: skip
    assert [step.loss for step in bled.history] == [step.loss for step in other.history]
    np.testing.assert_array_equal(levels(bled.image), levels(other.image)[4:-4, 4:-4])


@pytest.mark.parametrize(("option", "value"), [("bleed", "8"), ("bleed", 1.5), ("style_crop", 3)])
def test_values_of_another_type_are_refused_in_one_line(model: Path, option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{option}.* expected"):
        prepared(model, **{option: value})


def test_in_tiles_a_bleed_is_painted_alike(model: Path) -> None:
    whole, tiled = (run(model, bleed=12, stages=1, size=(160, 96), evaluations=3, tile=tile) for tile in ("off", 96))
    np.testing.assert_allclose([s.loss for s in tiled.history], [s.loss for s in whole.history], rtol=1e-5)


def test_boldness_is_in_the_loss_itself(deep_model: Path) -> None:
    given: dict[str, Any] = {"recipe": "gatys", "evaluations": 1, "stages": 1, "size": (64, 48), "init": "style"}
    plain, bold, hint = (run(deep_model, boldness=b, **given).history[0].terms for b in (0, 1, -1))
    times = {"style/block4_conv1": 4, "style/block5_conv1": 16}
    for name, value in plain.items():
        assert bold[name] == pytest.approx(times.get(name, 1) * value, rel=1e-5)
        assert hint[name] == pytest.approx((16 if name.startswith("content/") else 1) * value, rel=1e-5)


# --- the crops of styles ---------------------------------------------------------------------------------------


def test_a_cropped_style_is_the_rest_of_it_and_so_is_its_mask(model: Path) -> None:
    style, mask = picture(1, 60, 70), np.zeros((60, 70, 3), np.uint8)
    mask[:, 35:] = 255
    masks: dict[str, Any] = {"content_mask": mask[:40, :47], "style_masks": [mask]}
    rest = np.s_[4:-5, 3:-6]
    cropped = run(model, styles=[style], style_crop="3,4,6,5", **masks)
    by_hand = run(model, styles=[style[rest]], **{**masks, "style_masks": [mask[rest]]})
    assert [step.loss for step in cropped.history] == [step.loss for step in by_hand.history]
    np.testing.assert_array_equal(levels(cropped.image), levels(by_hand.image))


def test_a_plain_margin_is_left_out_where_the_option_says_so_and_the_plan_says_how_much(model: Path) -> None:
    style = np.full((80, 80, 3), 250, np.uint8)
    style[10:-8, 6:-6] = picture(1, 62, 68) // 2
    found, off, default = (prepared(model, styles=[style, picture(2)], style_crop=c) for c in ("auto", "off", None))
    crop, edges = found.plan.crops
    assert crop.box(80, 80) == (9, 13, 71, 69)
    assert edges == Crop(1, 1, 1, 1)
    assert off.plan.crops == default.plan.crops == ()
    assert [image.size for image in found.material.styles("style")] == [(62, 56), (46, 38)]


def test_a_crop_that_leaves_too_little_is_refused_before_any_work(model: Path) -> None:
    with pytest.raises(InputError, match=r"style 1: 40x56 pixels, cropped by 9,0,0,0"):
        prepared(model, style_crop="9,0,0,0")


# --- in pieces ------------------------------------------------------------------------------------------------

PLANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise, blend, colours": {
        "styles": [picture(1, 56, 40), picture(2, 40, 56)], "style_blend": [3, 1], "noise": 0.3, "seed": 5,
        "colors": "match", "strength": 0.8, "clip": True,
    },
    "restarts": {"stages": 1, "restart_every": 3, "init": "random", "colors": "keep"},
    "adam": {"optimizer": "adam", "evaluations": 12},
    "statistics": {"init": "statistics", "style_scale": 1.5, "recipe": "other"},
    "crop": {"style_crop": "2,0,3,1", "colors": "match"},
    "bleed": {"bleed": 5, "noise": 0.2, "colors": "keep", "strength": 0.9},
}  # fmt: skip


def stopping_after(count: int) -> Callable[[Step], None]:
    def stop(step: Step) -> None:
        if step.evaluation == count:
            raise StopOptimization("enough")

    return stop


def again(model: Path, transfer: Transfer, plan: Plan) -> Result:
    """Carry out a plan on the pictures of another transfer."""
    return Transfer(plan, transfer.material, model, transfer.placement).run()


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("count", [2, 7])
def test_what_was_made_can_be_made_again_bit_for_bit(model: Path, name: str, count: int) -> None:
    transfer = prepared(model, **PLANS[name], callback=stopping_after(count))
    first = transfer.run()
    assert first.evaluations == first.plan.evaluations == count
    second = again(model, transfer, first.plan)
    assert second.finished
    assert [s.loss for s in second.history] == [s.loss for s in first.history]
    np.testing.assert_array_equal(levels(second.image), levels(first.image))
    assert second.plan == first.plan


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("counts", [(2,), (6,), (3, 7)])
def test_a_transfer_in_pieces_can_be_made_again_in_one(model: Path, name: str, counts: tuple[int, ...]) -> None:
    """As a killed process leaves it: the position is all that the next one knows."""
    position: State | None = None
    for count in counts:
        transfer = prepared(model, **PLANS[name], callback=stopping_after(count))
        assert not transfer.run(position).finished
        position = transfer.state.snapshot()
        assert sum(position.made) == count
    last = prepared(model, **PLANS[name])
    result = last.run(position)
    assert result.finished
    assert result.evaluations == last.plan.evaluations
    assert [s.evaluation for s in result.history] == list(range(counts[-1] + 1, last.plan.evaluations + 1))
    assert last.state.resumed == counts
    second = again(model, last, result.plan)
    np.testing.assert_array_equal(levels(second.image), levels(result.image))
    assert second.loss == result.loss


def test_adam_in_pieces_is_adam_in_one(model: Path) -> None:
    whole = run(model, **PLANS["adam"])
    position: State | None = None
    for count in (3, 9):
        transfer = prepared(model, **PLANS["adam"], callback=stopping_after(count))
        transfer.run(position)
        position = transfer.state.snapshot()
    result = prepared(model, **PLANS["adam"]).run(position)
    np.testing.assert_array_equal(levels(result.image), levels(whole.image))
    assert result.plan.restarts == ()


def test_a_position_does_not_change_while_the_transfer_goes_on(model: Path) -> None:
    kept: list[tuple[State, NDArray[np.float32]]] = []

    def keep(step: Step) -> None:
        state = transfer.state.snapshot()
        assert state.adam is not None
        kept.append((state, state.adam.mean.copy()))

    transfer = prepared(model, **PLANS["adam"], callback=keep)
    transfer.run()
    assert [state.made for state, _ in kept[:2]] == [(1,), (2,)]
    for state, mean in kept:
        np.testing.assert_array_equal(state.adam.mean, mean)  # type: ignore[union-attr]


def test_resuming_begins_with_the_best_picture_so_far(model: Path) -> None:
    transfer = prepared(model, callback=stopping_after(4))
    transfer.run()
    position = transfer.state.snapshot()
    result = prepared(model).run(position)
    assert result.history[0].loss == position.loss
    assert result.history[0].share == pytest.approx(position.share)
    assert result.seconds > position.seconds


def test_what_had_finished_is_only_handed_out_again(model: Path) -> None:
    transfer = prepared(model)
    first = transfer.run()
    second = prepared(model).run(transfer.state.snapshot())
    np.testing.assert_array_equal(levels(second.image), levels(first.image))
    assert second.history == ()
    assert (second.evaluations, second.reason, second.device) == (first.evaluations, first.reason, first.device)
    assert second.lowering == "direct"
    assert second.plan == first.plan


def test_a_stage_that_was_killed_at_its_end_is_not_gone_on_with(model: Path) -> None:
    """The checkpoint is that of its last evaluation: the next stage had not begun."""
    transfer = prepared(model, callback=stopping_after(6))
    transfer.run()
    position = transfer.state.snapshot()
    assert position.made == (6,)
    result = prepared(model).run(position)
    assert [stage.evaluations for stage in result.plan.stages] == [6, 3]
    np.testing.assert_array_equal(levels(result.image), levels(run(model).image))  # nothing was lost


def test_after_each_stage_but_the_last_one_is_told(model: Path) -> None:
    transfer = prepared(model, evaluations=40, min_improvement=0.9)
    told: list[tuple[int, ...]] = []
    transfer.after_stage = lambda: told.append(transfer.state.snapshot().made)
    result = transfer.run()
    first = result.plan.stages[0].evaluations
    assert told == [(first, 0)]
    resumed = prepared(model, evaluations=40, min_improvement=0.9)
    assert resumed.run(replace(transfer.state.snapshot(), made=(first, 0), reason="")).history[0].stage == 2
    assert resumed.state.resumed == ()  # a stage that had not begun begins as it would have


def test_the_inputs_are_listed_with_their_roles(model: Path) -> None:
    transfer = prepared(model, styles=[picture(1), picture(2)], init=picture(3), colors="match")
    assert [role for role, _ in transfer.material.inputs] == ["content", "style", "style", "init"]
    for (_, image), seed in zip(transfer.material.inputs, (0, 1, 2, 3), strict=True):
        np.testing.assert_array_equal(levels(image), picture(seed))


def test_a_plan_of_one_own_can_be_carried_out(model: Path) -> None:
    plan = Plan(prepared(model).plan.recipe, (Stage(33, 40, 1), Stage(64, 64, 1)), init="style")
    content, style = (Image.fromarray(picture(seed)) for seed in (0, 1))
    result = Transfer(plan, Material.given(content, [style]), model).run()
    assert result.image.size == (64, 64)
