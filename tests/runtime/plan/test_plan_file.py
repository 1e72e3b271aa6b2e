"""Plans in files: what is written is read back as the same plan, and what does not fit is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.defaults import COLORS, INITS, OPTIMIZERS, PROTECT_WEIGHT
from impasto.runtime.errors import InputError
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.plan import (
    OF_STAGES,
    START_COLORS,
    Plan,
    Stage,
    StageOptions,
    normalized_blend,
    planned_colors,
    schedule,
)
from impasto.runtime.plan.plan_file import PlanFile, overruled
from impasto.runtime.plan.recipe import HINT, MOST_WEIGHT, load_recipe
from impasto.runtime.storage import codec

RECIPE = load_recipe("impasto")
CONTENT = Image.new("L", (400, 300))
NAMES = ["great_wave.jpg", "udnie.jpg"]


def plan(data: dict[str, Any], names: list[str | None] | list[str] = NAMES, content: Image.Image = CONTENT) -> Plan:
    return PlanFile.given(data).plan(RECIPE, content, names)


def sizes(found: Plan) -> list[tuple[int, int]]:
    return [(stage.width, stage.height) for stage in found.stages]


# --- what is written is read back -----------------------------------------------------------------------------

sides = st.integers(60, 9000)
weights = st.just(0.0) | st.floats(1e-15, 1e15) | st.integers(1, 1000)
blends = (
    st.lists(st.floats(0, 1e6) | st.integers(0, 9), min_size=2, max_size=2)
    .filter(any)
    .map(lambda given_: normalized_blend(given_, 2))
)
shares_of_layers = st.none() | st.dictionaries(st.sampled_from([*RECIPE.style.layers]), st.floats(0.1, 9), min_size=1)
options = st.none() | st.builds(
    StageOptions,
    content_weight=st.none() | weights,
    style_weight=st.none() | st.floats(1e-3, 1e6),
    tv_weight=st.none() | weights,
    style_layers=shares_of_layers,
    blend=st.none() | blends,
    style_scale=st.none() | st.floats(0.05, 20),
    colors=st.none() | st.sampled_from(OF_STAGES),
    optimizer=st.none() | st.sampled_from([*OPTIMIZERS]),
    start_colors=st.none() | st.sampled_from(START_COLORS),
).map(lambda one: None if one == StageOptions() else one)
stages = st.lists(st.builds(Stage, sides, sides, st.integers(1, 5000), options=options), min_size=1, max_size=4)
regular = st.builds(schedule, sides, sides, st.integers(1, 5000), st.none() | st.integers(1, 6))


def boldnesses(made: Plan) -> st.SearchStrategy[float]:
    """Return those that a plan may have: a hint of a style would make its largest weights too large."""
    heaviest = max(made.of(stage).recipe.content.weight for stage in made.stages)
    return st.floats(-1 if heaviest <= MOST_WEIGHT / HINT else 0, 1)


plans = st.builds(
    Plan,
    recipe=st.builds(RECIPE.with_weights, weights, st.floats(1e-3, 1e6), weights),
    stages=stages.map(tuple) | regular,
    init=st.sampled_from(INITS),
    noise=st.floats(0, 1),
    seed=st.integers(0, 1 << 62),
    blend=blends,
    style_scale=st.floats(0.05, 20),
    colors=st.sampled_from(COLORS).map(planned_colors),
    strength=st.floats(0, 1),
    clip=st.booleans(),
    bleed=st.integers(0, 256),
    protect_weight=st.floats(0, 100),
    region_strengths=st.dictionaries(st.sampled_from(["#ff0000", "#0000ff"]), st.floats(0, 9)),
    optimizer=st.sampled_from([*OPTIMIZERS]),
    min_improvement=st.none() | st.floats(0, 1),
    time_limit=st.none() | st.floats(0, 1e6),
).flatmap(lambda made: boldnesses(made).map(lambda boldness: replace(made, boldness=boldness)))


@settings(max_examples=50)
@given(plans, st.tuples(st.integers(32, 300), st.integers(32, 300)))
def test_a_plan_that_is_written_reads_back_as_itself(original: Plan, size: tuple[int, int]) -> None:
    content = Image.new("1", size)
    place = Path("plan.toml")
    place.write_text(PlanFile.of(original, content).to_toml(), encoding="utf-8")
    found = PlanFile.given(place).plan(RECIPE, content, NAMES)
    assert found == original
    assert codec.to_data(found) == codec.to_data(original)  # and numbers are whole where they were


@given(sides, sides, st.integers(1, 5000), st.none() | st.integers(1, 6))
def test_the_stages_of_an_ordinary_run_are_written_for_pictures_of_any_proportions(
    width: int, height: int, evaluations: int, number: int | None
) -> None:
    stages_ = schedule(width, height, evaluations, number)
    written = PlanFile.of(Plan(RECIPE, stages_, "content"), Image.new("1", (max(1, width // 30), max(1, height // 30))))
    full = sizes(Plan(RECIPE, stages_, "content"))[-1]
    even = all((full[0] / stage.width).is_integer() and (full[1] / stage.height).is_integer() for stage in stages_)
    assert not even or all(str(stage.size).endswith("%") for stage in written.stages)


def test_a_written_plan_says_which_crop_was_asked_for_and_not_what_was_found() -> None:
    found = Plan(RECIPE, schedule(400, 300, 30, 2), "content", crops=(Crop(9, 6, 9, 6),))
    assert PlanFile.of(found, CONTENT).style_crop is None
    assert PlanFile.of(found, CONTENT, "auto").style_crop == "auto"
    assert 'style_crop = "9,6,9,6"' in PlanFile.of(found, CONTENT, "9,6,9,6").to_toml()


def test_a_written_plan_says_what_would_be_done_in_the_terms_of_the_options() -> None:
    original = Plan(RECIPE, schedule(400, 300, 30, 2), "content", seed=7)
    assert PlanFile.of(original, CONTENT).to_toml() == (
        'recipe = "impasto"\nsize = 400\ninit = "content"\nnoise = 0.0\nseed = 7\ncolors = "style"\nstrength = 1.0\n'
        f"clip = false\nbleed = 0\nboldness = 0.0\nprotect_weight = {PROTECT_WEIGHT}\nstyle_scale = 1.0\n"
        f"content_weight = {RECIPE.content.weight}\nstyle_weight = {RECIPE.style.weight}\n"
        f'tv_weight = {RECIPE.tv.weight}\noptimizer = "lbfgs"\n'
        '\n[[stages]]\nevaluations = 20\nsize = "50%"\n\n[[stages]]\nevaluations = 10\nsize = "100%"\n'
    )


def test_a_plan_of_several_numbers_has_those_that_its_file_says() -> None:
    found = plan({"style_blend": [0.1, 0.2], "stages": [{"evaluations": 3}], "style_scale": 2, "noise": 1})
    assert found.blend == normalized_blend([0.1, 0.2], 2)
    assert (type(found.style_scale), type(found.noise)) == (float, float)


# --- sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "of_stages", "found"),
    [
        (800, ["25%", "50%", "100%"], [(200, 150), (400, 300), (800, 600)]),
        ("1000x200", ["50%", "100%"], [(500, 100), (1000, 200)]),
        ("1000x200", [250, "100%"], [(250, 50), (1000, 200)]),
        ("content", ["50%", "100%"], [(200, 150), (400, 300)]),
        (None, [200, "300", "320x100"], [(200, 62), (300, 94), (320, 100)]),  # in the proportions of the result
        (None, [200, "content"], [(200, 150), (400, 300)]),
        (512, [256, 512], [(256, 192), (512, 384)]),
        (None, ["50%", "100%"], [(256, 192), (512, 384)]),  # the recipe's own size
        (100, ["10%", "43%", "100%"], [(43, 32), (43, 32), (100, 75)]),  # no side is below the least
        (100, ["66.6%", "100%"], [(67, 50), (100, 75)]),
    ],
)
def test_sizes_are_pixels_or_shares_of_the_results(
    whole: Any, of_stages: list[Any], found: list[tuple[int, int]]
) -> None:
    data = {"stages": [{"size": size, "evaluations": 2} for size in of_stages]}
    assert sizes(plan(data | ({} if whole is None else {"size": whole}))) == found


def test_a_stage_without_a_size_has_the_results() -> None:
    assert sizes(plan({"size": 100, "stages": [{"evaluations": 2}] * 2})) == [(100, 75)] * 2


def test_a_plan_of_shares_serves_any_proportions_and_size() -> None:
    file = PlanFile.given({"stages": [{"size": "50%", "evaluations": 2}, {"evaluations": 1}]})
    assert file.sizes(RECIPE, Image.new("1", (300, 400)), 200) == [(75, 100), (150, 200)]
    assert file.sizes(RECIPE, CONTENT, (100, 200)) == [(50, 100), (100, 200)]


# --- styles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "blend"),
    [
        ({"styles": [1]}, (1.0, 0.0)),
        ({"styles": [2]}, (0.0, 1.0)),
        ({"styles": ["udnie.jpg"]}, (0.0, 1.0)),
        ({"styles": ["great_wave"]}, (1.0, 0.0)),
        ({"styles": ["udnie", 1]}, (0.5, 0.5)),
        ({"styles": ["udnie", 1], "style_blend": [3, 1]}, (0.25, 0.75)),
        ({"style_blend": [3, 1]}, (0.75, 0.25)),
    ],
)
def test_a_stage_takes_styles_by_number_or_name(stage: dict[str, Any], blend: tuple[float, ...]) -> None:
    (found,) = plan({"stages": [{"evaluations": 3, **stage}]}).stages
    assert found.options == StageOptions(blend=blend)


# --- refusals -------------------------------------------------------------------------------------------------

ONE = {"evaluations": 3}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "plan: stages is missing"),
        ({"stages": []}, "plan: stages is empty; expected one or more"),
        ({"stages": 3}, "plan: stages is 3; expected a list"),
        ({"stages": [{}]}, "plan: stages.1.evaluations is missing"),
        ({"stages": [ONE, 3]}, "plan: stages.2 is 3; expected a table"),
        ({"stages": [ONE], "sede": 3}, "plan: unknown key sede; expected one of .*; did you mean seed[?]"),
        ({"stages": [{**ONE, "style_wieght": 3}]}, "unknown key stages.1.style_wieght; .* mean stages.1.style_weight"),
        ({"stages": [ONE], "place": "x"}, "plan: unknown key place"),
        ({"stages": [ONE], "noise": 3}, "plan: noise is 3.0; expected 0 to 1"),
        ({"stages": [ONE], "style_weight": -1}, "plan: style_weight is -1; expected 0, or 1e-15"),
        ({"stages": [ONE], "init": "photo.jpg"}, "plan: init 'photo.jpg': expected random, content, style"),
        ({"stages": [ONE], "init": "picture"}, "plan: init is picture; name the picture to start from with init"),
        ({"stages": [ONE], "size": "vast"}, "plan: size 'vast': expected the long side"),
        ({"stages": [ONE], "style_blend": [1]}, "plan: style_blend has 1 weights for 2 styles"),
        ({"stages": [ONE, ONE], "restart_every": 5}, "plan: restart_every: needs a single stage; the plan has 2"),
        ({"stages": [{"evaluations": 0}]}, "plan: stage 1: evaluations is 0; expected 1 to 1000000"),
        ({"stages": [{**ONE, "size": "0%"}]}, "size is '0%'; expected more than 0% and 100% at most"),
        ({"stages": [{**ONE, "size": "101%"}]}, "size is '101%'; expected more than 0% and 100% at most"),
        ({"stages": [{**ONE, "size": "50%"}]}, "size is 512x384, and the last stage has 256x192; write sizes"),
        ({"size": 300, "stages": [{**ONE, "size": 200}]}, "size is 300x225, and the last stage has 200x150"),
        ({"stages": [{**ONE, "size": 20}, ONE]}, "plan: stage 1: 20x15 pixels; expected 32 or more on each side"),
        ({"stages": [{**ONE, "styles": [3]}]}, "stage 1: styles has 3; expected a number from 1 to 2"),
        ({"stages": [{**ONE, "styles": ["udine"]}]}, "stage 1: styles has 'udine'; expected .*; did you mean udnie[?]"),
        ({"stages": [{**ONE, "styles": [1, "great_wave"]}]}, "stage 1: styles is .*; expected each style once"),
        ({"stages": [{**ONE, "styles": []}]}, "stage 1: styles is empty; name one or more"),
        ({"stages": [{**ONE, "styles": [1], "style_blend": [1, 1]}]}, "stage 1: style_blend has 2 weights for 1"),
        ({"stages": [ONE, {**ONE, "style_scale": 99}]}, "plan: stage 2: style_scale is 99.0; expected 0.05 to 20"),
        ({"stages": [{**ONE, "tv_weight": -2}]}, "plan: stage 1: tv_weight is -2; expected 0, or"),
        ({"stages": [{**ONE, "colors": "keep"}]}, "plan: stage 1: colors 'keep'; expected style or match"),
        ({"stages": [{**ONE, "start_colors": "blue"}]}, "stage 1: start_colors 'blue'; expected content or style"),
        ({"stages": [{**ONE, "optimizer": "sgd"}]}, "plan: stage 1: optimizer 'sgd': expected lbfgs"),
        ({"stages": [{**ONE, "style_layers": {"block9": 1}}]}, "stage 1: style_layers has 'block9'; expected layers"),
        ({"stages": [{**ONE, "content_weight": 0, "style_weight": 0, "tv_weight": 0}]}, "stage 1: weights: all are 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(data: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        plan(data)
    assert str(refused.value).startswith("plan: ")


def test_a_name_that_two_styles_have_is_refused() -> None:
    with pytest.raises(InputError, match="two styles have this name; expected their numbers"):
        plan({"stages": [{**ONE, "styles": ["wave"]}]}, ["wave.jpg", "wave.png"])
    (found,) = plan({"stages": [{**ONE, "styles": ["wave.png"]}]}, ["wave.jpg", "wave.png"]).stages
    assert found.options == StageOptions(blend=(0.0, 1.0))
    with pytest.raises(InputError, match="expected a number: none has a name"):
        plan({"stages": [{**ONE, "styles": ["wave"]}]}, [None, None])


def test_a_file_is_named_in_its_errors() -> None:
    Path("mine.toml").write_text("stages = 3")
    with pytest.raises(InputError, match=r"^plan mine.toml: stages is 3; expected a list"):
        PlanFile.given("mine.toml")
    Path("mine.toml").write_text("stages =")
    with pytest.raises(InputError, match=r"^plan mine.toml: not valid TOML: "):
        PlanFile.given(Path("mine.toml"))
    with pytest.raises(InputError, match=r"^plan none.toml: No such file"):
        PlanFile.given("none.toml")
    with pytest.raises(InputError, match=r"^plan is 3; expected the path of a .toml file"):
        PlanFile.given(3)  # type: ignore[arg-type]


# --- options beside a plan ------------------------------------------------------------------------------------

LONG = {
    "size": 400,
    "stages": [
        {"size": "50%", "evaluations": 30, "styles": [1], "style_weight": 5, "optimizer": "adam"},
        {"evaluations": 10, "style_scale": 0.5, "colors": "match", "start_colors": "style"},
    ],
}


@pytest.mark.parametrize(
    ("given_", "whole", "first", "second"),
    [
        ({"seed": 5}, {"seed": 5}, {}, {}),
        ({"style_weight": 7.0}, {"style_weight": 7.0}, {"style_weight": None}, {}),
        ({"style_scale": 2.0}, {"style_scale": 2.0}, {}, {"style_scale": None}),
        ({"colors": "keep"}, {"colors": "keep-edges"}, {}, {"colors": None}),
        ({"optimizer": "lbfgs"}, {"optimizer": "lbfgs"}, {"optimizer": None}, {}),
        ({"style_blend": [1, 3]}, {"blend": (0.25, 0.75)}, {"blend": None}, {}),
        ({"init": "random", "noise": None}, {"init": "random"}, {}, {}),
    ],
)
def test_an_option_beside_a_plan_holds_in_every_stage(
    given_: dict[str, Any], whole: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    original = plan(LONG)
    found = overruled(original, given_)
    for stage, own, changed in zip(found.stages, original.stages, (first, second), strict=True):
        assert own.options is not None
        assert stage.options == replace(own.options, **changed)
    for name, value in whole.items():
        of_found = found.recipe.style.weight if name == "style_weight" else getattr(found, name)
        assert of_found == value
        for stage in found.stages:
            own_plan = found.of(stage)
            assert (own_plan.recipe.style.weight if name == "style_weight" else getattr(own_plan, name)) == value


def test_a_bleed_beside_a_plan_leaves_sizes_as_they_are() -> None:
    found = overruled(plan(LONG), {"bleed": 3})
    assert found.bleed == 3
    assert sizes(found) == sizes(plan(LONG))


def test_a_stage_that_has_nothing_left_of_its_own_is_an_ordinary_one() -> None:
    data = {"stages": [{**ONE, "style_weight": 5}]}
    assert overruled(plan(data), {"style_weight": 3.0}).stages[0].options is None


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=5), st.data())
def test_evaluations_beside_a_plan_are_divided_as_it_says(planned: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(planned), 4000))
    found = overruled(plan({"stages": [{"evaluations": count} for count in planned]}), {"evaluations": total})
    counts = [stage.evaluations for stage in found.stages]
    assert sum(counts) == total
    for count, own in zip(counts, planned, strict=True):
        assert count >= 1
        assert abs(count - own * total / sum(planned)) <= len(planned) + 1


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"stages": 3}, "stages: the plan has its own; leave one of the two out"),
        ({"evaluations": 1}, "evaluations is 1; expected 2 or more, one for each stage"),
        ({"restart_every": 5, "optimizer": "lbfgs"}, "restart_every: needs a single stage; the plan has 2"),
        ({"noise": 3.0}, "noise is 3.0; expected 0 to 1"),
        ({"style_weight": -1.0}, "style_weight is -1.0; expected 0"),
        ({"style_blend": [1.0]}, "style_blend has 1 weights for 2 styles"),
    ],
)
def test_an_option_that_has_no_meaning_beside_a_plan_is_refused(given_: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        overruled(plan(LONG), given_)
