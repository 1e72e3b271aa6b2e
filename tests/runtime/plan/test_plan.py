"""Plans are refused where they do not hold together, survive JSON, and divide evaluations among sizes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.errors import InputError
from impasto.runtime.plan.plan import (
    COARSEST,
    COLORS,
    FINER,
    OPTIMIZERS,
    PICTURE,
    Plan,
    Stage,
    StageOptions,
    chosen_colors,
    normalized_blend,
    planned_colors,
    schedule,
)
from impasto.runtime.plan.recipe import INITS, load_recipe
from impasto.runtime.storage import codec

RECIPE = load_recipe("gatys")
STAGES = (Stage(48, 40, 6), Stage(96, 80, 3))

sides = st.integers(32, 20_000)
counts = st.integers(1, 5000)


def plan(**values: Any) -> Plan:
    return Plan(**{"recipe": RECIPE, "stages": STAGES, "init": "content", **values})


# --- the schedule ---------------------------------------------------------------------------------------------


@given(sides, sides, counts, st.none() | st.integers(1, 12))
def test_a_schedule_makes_all_evaluations_and_ends_at_the_full_size(
    width: int, height: int, evaluations: int, stages: int | None
) -> None:
    found = schedule(width, height, evaluations, stages)
    assert sum(stage.evaluations for stage in found) == evaluations
    assert all(stage.evaluations >= 1 for stage in found)
    assert (found[-1].width, found[-1].height) == (width, height)
    assert all(min(stage.width, stage.height) >= 32 for stage in found)
    if stages is not None:
        assert len(found) <= stages


@given(sides, sides, counts, st.none() | st.integers(1, 12))
def test_each_stage_is_half_the_next_and_has_twice_its_evaluations(
    width: int, height: int, evaluations: int, stages: int | None
) -> None:
    found = schedule(width, height, evaluations, stages)
    for coarse, fine in itertools.pairwise(found):
        for a, b in ((coarse.width, fine.width), (coarse.height, fine.height)):
            assert a == 32 or abs(a - b / FINER) <= 1
        assert coarse.evaluations >= fine.evaluations
        assert coarse is found[0] or abs(coarse.evaluations - 2 * fine.evaluations) <= 2 or fine.evaluations == 1


@given(sides, sides, st.integers(100, 5000))
def test_unless_told_otherwise_the_first_stage_is_small_and_no_smaller_than_it_need_be(
    width: int, height: int, evaluations: int
) -> None:
    found = schedule(width, height, evaluations)
    if min(found[0].width, found[0].height) > 2 * 32:  # else a longer schedule would have no room
        assert max(found[0].width, found[0].height) <= COARSEST
    if len(found) > 1:
        assert max(found[1].width, found[1].height) >= COARSEST


def test_the_schedule_of_the_documentation() -> None:
    assert schedule(1024, 768, 210) == (Stage(256, 192, 120), Stage(512, 384, 60), Stage(1024, 768, 30))
    assert schedule(400, 300, 50) == (Stage(400, 300, 50),)
    assert [stage.evaluations for stage in schedule(5000, 5000, 2)] == [1, 1]
    assert [stage.evaluations for stage in schedule(4096, 4096, 8, 8)] == [1] * 8
    assert [stage.evaluations for stage in schedule(2048, 2048, 8, 7)] == [2, *[1] * 6]


def test_what_is_evaluated_has_the_bleed_and_the_result_has_none() -> None:
    bled = plan(bleed=8)
    assert [bled.canvas(stage) for stage in bled.stages] == [(64, 56), (112, 96)]
    assert bled.pixels(bled.stages[0]) == 64 * 56
    assert (bled.width, bled.height) == (96, 80)


# --- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ({"seed": True}, "seed is True; expected a whole number"),
        ({"noise": 1.01}, "noise is 1.01; expected 0 to 1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"strength": -0.1}, "strength is -0.1; expected 0 to 1"),
        ({"style_scale": 0.01}, "style_scale is 0.01; expected 0.05 to 20"),
        ({"style_scale": float("inf")}, "style_scale is inf"),
        ({"restart_every": 0}, "restart_every is 0; expected 1 to 1000000"),
        ({"min_improvement": -1}, "min_improvement is -1; expected 0 to 1"),
        ({"min_improvement": 1.5}, "min_improvement is 1.5; expected 0 to 1"),
        ({"time_limit": -1}, "time_limit is -1; expected 0 or more"),
        ({"time_limit": float("inf")}, "time_limit is inf"),
        ({"init": "noise"}, "init 'noise': expected random, content, style, statistics or picture"),
        ({"colors": "grey"}, "colors 'grey': expected style, keep, keep-pixels, match or match-lab"),
        ({"optimizer": "sgd"}, "optimizer 'sgd': expected lbfgs"),
        ({"optimizer": "adam", "restart_every": 20}, "restarts are SciPy's"),
        ({"stages": ()}, "stages: none"),
        ({"stages": (Stage(31, 40, 1),)}, "stage 1: width is 31; expected 32 to 99999"),
        ({"stages": (Stage(40, 40, 0), *STAGES)}, "stage 1: evaluations is 0; expected 1 to 1000000"),
        ({"stages": (*STAGES, Stage(40, 40, -1))}, "stage 3: evaluations is -1; expected 0 to 1000000"),
        ({"stages": (Stage(40, 40, 0),)}, "stage 1: evaluations is 0; expected 1 to 1000000"),
        ({"stages": (Stage(40, 40, 9, planned=8),)}, "stage 1: planned is 8; expected 9 to 1000000"),
        ({"restarts": (3, 0)}, "restarts is 0; expected 1 to 1000000"),
        ({"stages": (Stage(40, 40, 10**18),)}, "stage 1: evaluations is 1000000000000000000; expected 1 to 1000000"),
        ({"stages": (Stage(40, 40, 600_000),) * 2}, "evaluations is 1200000; expected 1 to 1000000"),
        ({"stages": (Stage(10**9, 40, 1),)}, "stage 1: width is 1000000000; expected 32 to 99999"),
        ({"stages": (3,)}, "stages is 3; expected stage"),
        ({"seed": 10**400}, "seed is 1000"),
        ({"noise": 10**400}, "noise is 1000"),
        ({"noise": "much"}, "noise is 'much'; expected a number"),
        ({"clip": 1}, "clip is 1; expected true or false"),
        ({"boldness": 1.5}, "boldness is 1.5; expected -1 to 1"),
        ({"boldness": "much"}, "boldness is 'much'; expected a number"),
        (
            {"boldness": -1.0, "recipe": RECIPE.with_weights(content=1e15)},
            "content_weight is 1.6e+16; expected 0, or 1e-15",
        ),
        ({"bleed": -1}, "bleed is -1; expected 0 to 256"),
        ({"bleed": 257}, "bleed is 257; expected 0 to 256"),
        ({"bleed": 1.5}, "bleed is 1.5; expected a whole number"),
        ({"blend": ("a",)}, "blend is 'a'; expected a number"),
        ({"blend": (0.5, 0.4)}, "blend is (0.5, 0.4); expected shares that sum to 1"),
        ({"blend": (2.0, -1.0)}, "blend is 2.0; expected 0 to 1"),
        ({"blend": ()}, "blend is (); expected shares that sum to 1"),
        ({"recipe": "gatys"}, "recipe is 'gatys'; expected recipe"),
        ({"recipe": RECIPE.with_weights(0, 0, 0)}, "weights: all are 0"),
    ],
)
def test_plans_that_do_not_hold_together_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(**values)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("blend", "styles", "expected"),
    [(None, 4, (0.25,) * 4), ([3, 1], 2, (0.75, 0.25)), ([0, 5], 2, (0.0, 1.0)), ([2], 1, (1.0,))],
)
def test_shares_of_styles_sum_to_one(blend: list[float] | None, styles: int, expected: tuple[float, ...]) -> None:
    assert normalized_blend(blend, styles) == expected


def test_shares_are_found_where_the_sum_of_the_weights_is_beyond_all_numbers() -> None:
    assert normalized_blend([1.5e308, 0.5e308], 2) == (0.75, 0.25)
    assert normalized_blend([5e-324, 0.0], 2) == (1.0, 0.0)


@pytest.mark.parametrize(
    "blend", [[1], [1, 2, 3], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")], ["a", "b"], [1, 10**400]]
)
def test_shares_that_make_no_sense_are_refused(blend: list[float]) -> None:
    with pytest.raises(InputError, match="style_blend"):
        normalized_blend(blend, 2)


@pytest.mark.parametrize("choice", COLORS)
def test_every_choice_of_colours_has_a_name_in_plans_and_is_known_by_it(choice: str) -> None:
    assert chosen_colors(plan(colors=planned_colors(choice)).colors) == choice


def test_the_kept_colours_of_older_plans_are_those_of_pixels() -> None:
    assert chosen_colors("keep") == "keep-pixels"
    assert planned_colors("keep") != "keep"


def test_the_boldness_is_in_the_weights_of_every_stage_and_not_in_the_recipe() -> None:
    own = StageOptions(content_weight=3.0, style_layers={"block5_conv3": 2.0})
    stages = (Stage(40, 40, 1, options=own), Stage(80, 80, 1))
    hint, abandon = (plan(recipe=load_recipe("seed"), stages=stages, boldness=boldness) for boldness in (-0.5, 0.5))
    assert hint.recipe == abandon.recipe == load_recipe("seed")
    assert hint.of(stages[0]).recipe.content.weight == 4 * 3
    assert hint.of(stages[1]).recipe.content.weight == 4 * load_recipe("seed").content.weight
    assert abandon.of(stages[0]).recipe.style.layers["block5_conv3"] == 4 * 2
    once = abandon.of(stages[1])
    assert once.recipe.style.layers["block5_conv3"] == 4 * load_recipe("seed").style.layers["block5_conv3"]
    assert once.of(stages[1]) == once


def test_a_plan_without_boldness_is_written_as_before_there_was_one() -> None:
    assert "boldness" not in codec.to_data(plan())
    assert codec.to_data(plan(boldness=0.5))["boldness"] == 0.5


# --- plain data -----------------------------------------------------------------------------------------------

plans = st.builds(
    Plan,
    recipe=st.sampled_from([RECIPE, load_recipe("seed"), load_recipe("crowson").with_weights(style=3.5)]),
    stages=st.lists(st.builds(Stage, sides, sides, counts), min_size=1, max_size=4).map(tuple),
    init=st.sampled_from([*INITS, PICTURE]),
    noise=st.floats(0, 1),
    seed=st.integers(0, 2**63),
    blend=st.lists(st.floats(0.01, 1), min_size=1, max_size=4).map(
        lambda shares: normalized_blend(shares, len(shares))
    ),
    style_scale=st.floats(0.05, 20),
    colors=st.sampled_from(COLORS).map(planned_colors),
    strength=st.floats(0, 1),
    clip=st.booleans(),
    bleed=st.integers(0, 256),
    boldness=st.floats(-1, 1),
    optimizer=st.sampled_from([*OPTIMIZERS]),
    min_improvement=st.none() | st.floats(0, 1),
    time_limit=st.none() | st.floats(0, 1e6),
    restarts=st.lists(st.integers(1, 999), max_size=3).map(tuple),
)


@given(plans)
def test_plans_survive_json_to_the_last_bit(original: Plan) -> None:
    assert codec.from_data(Plan, json.loads(json.dumps(codec.to_data(original)))) == original


@pytest.mark.parametrize(
    "damage",
    [
        {"seed": "one"},
        {"stages": [{"width": 40}]},
        {"stages": None},
        {"recipe": None},
        {"recipe": {"name": "gatys"}},
        {"blend": 1},
        {"colour": "red"},
        {"noise": "much"},
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(damage: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        codec.from_data(Plan, {**codec.to_data(plan()), **damage}, "plan")
    assert "\n" not in str(refused.value)


@given(plans, st.data())
def test_a_plan_as_made_makes_what_was_made_and_nothing_else_ends_it(original: Plan, data: st.DataObject) -> None:
    stages = original.stages
    full = data.draw(st.integers(0, len(stages) - 1))
    made = [stage.evaluations for stage in stages[:full]] + [data.draw(st.integers(1, stages[full].evaluations))]
    found = original.executed(made)
    assert found.evaluations == sum(made)
    begun = found.stages[: len(made)]
    assert [(s.width, s.height) for s in begun] == [(s.width, s.height) for s in stages[: len(made)]]
    assert [stage.steps for stage in begun] == [stage.steps for stage in stages[: len(made)]]
    assert found.finest == begun[-1]
    assert (found.width, found.height) == (original.width, original.height)
    assert found.min_improvement is found.time_limit is None
    assert found.executed(made) == found


def test_of_stages_that_had_not_begun_nothing_is_made_but_the_size() -> None:
    assert plan().executed([6, 0]).stages == (Stage(48, 40, 6), Stage(96, 80, 0))
    assert plan().executed([2], [1]).restarts == (1,)
