"""What a transfer does to fit into memory: tiles first, then another optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.runtime import stylize
from impasto.runtime.engine import footprints
from impasto.runtime.engine.footprints import FOOTPRINTS, TILE_FOOTPRINTS, without_tiles
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.tiles import tiles_of
from impasto.runtime.machine.memory import Room
from impasto.runtime.model.sums import Halo
from impasto.runtime.pictures.edges import MOST_BYTES
from impasto.runtime.plan.plan import KEEP_EDGES, Plan, Stage, schedule
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.estimate import estimate
from impasto.runtime.run.fitting import FEWER_PAIRS, WORTHWHILE, Need, alternatives, told
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Record
from impasto.runtime.run.state import State
from impasto.runtime.run.transfer import Transfer

Noise = Callable[..., NDArray[np.float32]]

CPU = Placement("cpu", "winograd").on("cpu")

#: As models have them.
HALOS = {"winograd": Halo(80, 192), "direct": Halo(80, 16)}


def need(width: int, height: int, *, placement: Placement = CPU, **options: Any) -> Need:
    plan = Plan(load_recipe("gatys"), schedule(width, height, 100), "content", **options)
    return Need(plan, [(64, 64)], placement, halos=HALOS.get)


def with_plan(wanted: Need, plan: Plan) -> Need:
    return replace(wanted, plan=plan)


def test_with_enough_memory_nothing_changes() -> None:
    wanted = need(3000, 2000)
    assert wanted.fitted(10**12) == wanted.fitted(None) == wanted.plan
    assert wanted.placed(wanted.plan.stages[-1], 10**12).tile == "off"


def test_what_colours_that_are_kept_take_is_counted_whatever_the_size() -> None:
    for side in (600, 3000):
        plain, pixels, edges = (need(side, side, colors=colors) for colors in ("style", "keep", KEEP_EDGES))
        stage = plain.plan.stages[-1]
        assert plain.peak(stage, None) == pixels.peak(stage, None)
        assert edges.peak(stage, None).size - plain.peak(stage, None).size in (0, int(MOST_BYTES))
    assert edges.peak(stage, None).size > plain.peak(stage, None).size


def test_tiles_come_before_another_optimiser() -> None:
    wanted = need(2000, 1500)
    whole = wanted.peak(wanted.plan.stages[-1], None).at_most
    assert wanted.fitted(whole - 1) == wanted.plan
    assert wanted.placed(wanted.plan.stages[-1], whole - 1).side


def test_the_less_memory_the_fewer_pairs_and_in_the_end_adam_in_large_stages_only() -> None:
    wanted = need(6000, 4000)
    seen = []
    for budget in range(30_000_000_000, 2_000_000_000, -250_000_000):
        fitted = wanted.fitted(budget)
        peak = with_plan(wanted, fitted).highest(budget)[1]
        last = fitted.stages[-1]
        if peak.at_most <= budget and (last.optimizer, last.pairs) not in seen:
            seen.append((last.optimizer, last.pairs))
            assert fitted.stages[0] == wanted.plan.stages[0]
            assert with_plan(wanted, fitted).placed(last, budget).side
    assert seen == [
        (None, None),
        (None, 3),
        ("lbfgs-sobolev", None),
        ("lbfgs-sobolev", 5),
        ("lbfgs-sobolev", 3),
        ("adam", None),
    ]


def test_fewer_pairs_come_before_tiny_tiles_and_these_before_adam() -> None:
    wanted = need(1000, 750)
    *_, fewest, adam = alternatives(wanted.plan, wanted.plan.stages[-1])
    least = wanted.peak(fewest, 1).at_most
    assert wanted.fitted(least).stages[-1] == fewest
    assert (wanted.placed(fewest, least).side or 0) < WORTHWHILE
    assert wanted.fitted(least - 1).stages[-1] == adam


def test_fewer_pairs_are_not_taken_where_they_make_no_tiles_larger() -> None:
    wanted = need(900, 700, optimizer="lbfgs-sobolev")
    last = wanted.plan.stages[-1]
    least = wanted.peak(last, 1).at_most
    assert wanted.placed(last, least).side == 192
    assert wanted.fitted(least) == wanted.plan


def test_small_tiles_that_are_asked_for_change_no_optimiser() -> None:
    wanted = need(1000, 750, placement=replace(CPU, tile=64))
    assert wanted.fitted(10**12) == wanted.plan


def test_where_nothing_fits_the_plan_stays() -> None:
    wanted = need(6000, 4000)
    assert wanted.fitted(300_000_000) == wanted.plan


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"optimizer": "lbfgs-device"}, {"restart_every": 20}])
def test_what_has_no_alternative_keeps_its_optimiser(options: dict[str, Any]) -> None:
    wanted = need(3000, 2000, **options)
    assert list(alternatives(wanted.plan, wanted.plan.stages[-1])) == [wanted.plan.stages[-1]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("the smallest tiles", "Adam")),
        ({"optimizer": "adam"}, ("the smallest tiles",)),
        ({"restart_every": 20}, ("the smallest tiles",)),
        ({"placement": replace(CPU, tile="off")}, ("Adam",)),
        ({"placement": replace(CPU, tile=512)}, ("Adam",)),
        ({"placement": replace(CPU, tile="off"), "restart_every": 20}, ()),
    ],
)
def test_it_is_known_with_what_the_least_memory_suffices(options: dict[str, Any], words: tuple[str, ...]) -> None:
    wanted = need(3000, 2000, **options)
    assert wanted.sparing() == words
    assert wanted.least() <= wanted.highest(1)[1].at_most
    assert replace(wanted, halos=without_tiles).sparing() == tuple(word for word in words if word == "Adam")


def test_what_was_chosen_before_stands() -> None:
    plan = need(3000, 2000).plan
    assert list(alternatives(plan, Stage(3000, 2000, 5, pairs=3))) == [Stage(3000, 2000, 5, pairs=3)]


def test_on_a_device_the_optimiser_has_no_tiles() -> None:
    wanted = need(6000, 4000, optimizer="lbfgs-device")
    assert wanted.placed(wanted.plan.stages[-1], 3_000_000_000).tile == "off"


def test_what_was_changed_is_told_in_a_line() -> None:
    plan = need(3000, 2000).plan
    *before, last = plan.stages

    def line(**changes: Any) -> list[str]:
        return told(plan, replace(plan, stages=(*before, replace(last, **changes))))

    assert line() == []
    assert line(pairs=3) == ["memory for 3 pairs of L-BFGS, not 5, at 3000x2000"]
    assert line(optimizer="lbfgs-sobolev", pairs=5) == [
        "memory for lbfgs-sobolev with 5 pairs, not for lbfgs, at 3000x2000"
    ]
    assert line(optimizer="adam") == ["memory for Adam only, not for L-BFGS, at 3000x2000"]
    assert max(FEWER_PAIRS) < 10


# --- transfers ------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memory be counted by the pixel alone, so that a tiny picture is too large for a tiny budget."""
    whole = {
        key: replace(value, opening=0, fixed=0, opening_convolution=0, convolution=0, kept=0)
        for key, value in FOOTPRINTS.items()
    }
    tiles = {key: replace(value, opening=0, fixed=0, convolution=0) for key, value in TILE_FOOTPRINTS.items()}
    monkeypatch.setattr(footprints, "FOOTPRINTS", whole)
    monkeypatch.setattr(footprints, "TILE_FOOTPRINTS", tiles)
    monkeypatch.setattr(footprints, "LEAST_AUTO", 16)


def transfer(model: Path, noise: Noise, **options: Any) -> Transfer:
    given: dict[str, Any] = {"size": (192, 160), "evaluations": 6, "stages": 2, "device": "cpu", "recipe": "gatys"}
    return prepare(noise(), [noise(seed=1)], model=model, **{**given, **options})


@pytest.mark.usefixtures("narrow")
def test_only_the_stages_that_are_too_large_are_in_tiles(model: Path, noise: Noise) -> None:
    wanted = transfer(model, noise, optimizer="adam", memory=50_000_000)
    seen: list[int | None] = []
    wanted.callback = lambda step: seen.append(wanted.state.tile)
    result = wanted.run()
    assert seen[0] is None
    assert seen[-1] == result.tile
    assert result.tile
    placement = result.record.origin.placement
    assert (placement.tile, placement.memory) == ("auto", 50_000_000)


def test_the_side_in_force_is_told() -> None:
    def side(asked: int, layout: str) -> int | None:
        wanted = need(3000, 2250, placement=replace(CPU, tile=asked, lowering=layout))
        wanted = replace(wanted, halos=lambda layout: Halo(80, 192 if layout == "winograd" else 16))
        last = wanted.plan.stages[-1]
        told = wanted.side(last, None)
        assert wanted.tiles(last, None) == len(tiles_of(2250, 3000, asked, wanted.halos(layout)))
        return told

    assert [side(asked, "winograd") for asked in (16, 320, 500, 9000)] == [192, 192, 384, None]
    assert [side(asked, "direct") for asked in (16, 512, 9000)] == [16, 480, None]


@pytest.mark.usefixtures("narrow")
def test_an_optimiser_that_is_changed_is_warned_of_once(model: Path, noise: Noise) -> None:
    words = "memory for .* at 192x160"
    first, second = (transfer(model, noise, memory=16_000_000, stages=1) for _ in range(2))
    with pytest.warns(RuntimeWarning, match=words):
        first.run()
    first.run()
    estimate(second)
    with pytest.warns(RuntimeWarning, match=words):
        second.run()


@pytest.mark.usefixtures("narrow")
def test_a_record_of_tiles_leads_to_the_same_bits(model: Path, noise: Noise) -> None:
    wanted = transfer(model, noise, optimizer="adam", memory=50_000_000)
    result = wanted.run()
    record = Record.from_json(result.record.to_json(), "result")
    rerun = again(wanted, record).run()
    assert np.array_equal(np.asarray(rerun.image), np.asarray(result.image))
    assert rerun.loss == result.loss
    assert rerun.tile == result.tile


def again(made: Transfer, record: Record, **changes: Any) -> Transfer:
    pictures = {role: [image for r, image in made.material.inputs if r == role] for role in ("content", "style")}
    return record.transfer(pictures, model=made.model, placement=replace(record.origin.placement, **changes))


@pytest.mark.usefixtures("narrow")
def test_a_rerun_keeps_the_optimiser_and_takes_tiles_where_the_whole_no_longer_fits(model: Path, noise: Noise) -> None:
    wanted = transfer(model, noise, optimizer="lbfgs", memory="4GB")
    result = wanted.run()
    placement = result.record.origin.placement
    assert (result.tile, placement.tile, placement.memory, placement.lowering) == (None, "auto", None, "winograd")
    same, least = again(wanted, result.record), result.plan.finest
    assert np.array_equal(np.asarray(same.run().image), np.asarray(result.image))
    size = same.need.peak(least, 1).at_most
    assert [stage.optimizer for stage in wanted.need.fitted(wanted.need.least()).stages] != [None, None]
    for memory in (size, wanted.need.least()):
        smaller = again(wanted, result.record, memory=memory)
        assert smaller.settle() == []
        assert smaller.plan == result.plan
        assert smaller.need.placed(least, smaller.memory).side


@pytest.mark.parametrize("tile", ["off", 1024])
def test_the_record_of_whole_pictures_says_that_they_were_asked_for(model: Path, noise: Noise, tile: Any) -> None:
    result = transfer(model, noise, tile=tile).run()
    assert result.tile is None
    assert result.record.origin.placement.tile == "off"
    assert result.record.origin.placement.memory is None


@pytest.mark.usefixtures("narrow")
def test_tiles_change_nothing_but_last_bits(model: Path, noise: Noise) -> None:
    given: dict[str, Any] = {"evaluations": 2, "stages": 1, "lowering": "direct"}
    whole, tiled = (transfer(model, noise, tile=tile, **given).run() for tile in ("off", 64))
    assert tiled.tile == 62  # on the network's grid
    assert [step.loss for step in tiled.history] == pytest.approx([step.loss for step in whole.history], rel=1e-3)


def test_fewer_pairs_are_in_the_plan_and_in_the_record_and_followed(model: Path, noise: Noise) -> None:
    def painted(pairs: int | None) -> Any:
        wanted = transfer(model, noise, size=(64, 48), stages=1, evaluations=14)
        stage = replace(wanted.plan.stages[0], pairs=pairs)
        wanted.plan = replace(wanted.plan, stages=(stage,))
        return wanted.run()

    usual, ten, two = painted(None), painted(10), painted(2)
    losses = [[step.loss for step in result.history] for result in (usual, ten, two)]
    assert losses[0] == losses[1]
    assert losses[0][:4] == losses[2][:4]
    assert losses[0] != losses[2]
    assert two.plan.stages[0].pairs == Record.from_json(two.record.to_json(), "two").plan.stages[0].pairs == 2


def test_a_transfer_that_goes_on_keeps_what_was_chosen_before(model: Path, noise: Noise) -> None:
    wanted = transfer(model, noise)
    stages = wanted.plan.stages
    earlier = replace(wanted.plan, stages=(stages[0], replace(stages[1], optimizer="lbfgs-sobolev", pairs=3)))
    assert wanted.settle(earlier, (3,)) == []
    assert wanted.plan == earlier
    checkpoint = Checkpoint(earlier, wanted.origin, State((3,), np.zeros((1, 3, 80, 96), np.float32)))
    checkpoint.check(transfer(model, noise), wanted.origin, "transfer.ckpt")


def test_with_less_memory_a_transfer_goes_on_as_it_began_and_only_later_stages_change() -> None:
    wanted = need(6000, 4000)
    least = wanted.least()
    changed = wanted.fitted(least)
    assert changed.stages[-1].optimizer == "adam"
    begun = len(wanted.plan.stages) - 1
    assert replace(wanted, kept=begun).fitted(least).stages[:begun] == wanted.plan.stages[:begun]
    assert replace(wanted, kept=begun).fitted(least).stages[-1] == changed.stages[-1]
    assert replace(wanted, kept=begun + 1).fitted(least) == wanted.plan
    assert replace(wanted, kept=begun + 1).least() > least


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("made", "begun"), [((), 0), ((3,), 1), ((3, 0), 1), ((3, 1), 2)])
def test_stages_that_have_begun_keep_the_optimiser_that_they_had(
    model: Path, noise: Noise, made: tuple[int, ...], begun: int
) -> None:
    asked = transfer(model, noise, optimizer="lbfgs")
    least = asked.need.least()
    changed = asked.need.fitted(least).stages
    assert all(stage.optimizer for stage in changed)
    wanted = transfer(model, noise, optimizer="lbfgs", memory=least)
    wanted.settle(asked.plan, made)
    assert wanted.plan.stages == (*asked.plan.stages[:begun], *changed[begun:])


@pytest.mark.usefixtures("narrow")
def test_it_is_said_if_the_machine_has_less_memory_than_was_asked_for_and_the_tiles_are_others(
    model: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, said in (
        (40_000_000, ["memory of 0.0 GB is free, not 2.0 GB: the tiles are others, and so may be last bits"]),
        (1_900_000_000, []),
    ):
        monkeypatch.setattr(footprints, "room", lambda threads, free=free: Room(free))
        wanted = transfer(model, noise, optimizer="adam", memory=2_000_000_000)
        assert wanted.settle() == said
        assert wanted.memory == free


def test_a_stage_has_its_own_optimiser(model: Path, noise: Noise) -> None:
    wanted = transfer(model, noise, size=(96, 64), evaluations=9)
    *before, last = wanted.plan.stages
    wanted.plan = replace(wanted.plan, stages=(*before, replace(last, optimizer="adam")))
    adams: list[bool] = []
    wanted.callback = lambda step: adams.append(wanted.state.adam is not None)
    wanted.run()
    assert adams == [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": 8}, "tile is 8; expected auto, off or a side of 16 to 99999 pixels"),
        ({"tile": "big"}, "tile is 'big'; expected auto, off or a side of 16 to 99999 pixels"),
        ({"memory": "4"}, "memory '4': expected a number with its unit, such as 4GB or 512MiB"),
        ({"memory": "4 elephants"}, "memory '4 elephants': expected a number with its unit"),
        ({"memory": "0 elephants"}, "memory '0 elephants': expected a number with its unit"),
        ({"memory": f"{9:0400}GB".replace("0", "9")}, "memory '999.*': expected a number with its unit"),
        ({"memory": "0GB"}, "memory '0GB': expected 1 byte or more"),
        ({"memory": ".4B"}, "memory '.4B': expected 1 byte or more"),
        ({"memory": 0}, "memory is 0; expected 1 byte or more"),
    ],
)
def test_tiles_and_memory_that_make_no_sense_are_refused(
    model: Path, noise: Noise, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(Exception, match=words):
        stylize(noise(), [noise(seed=1)], model=model, **options)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4_000_000_000), ("3.5 gb", 3_500_000_000), ("800MB", 800_000_000), ("2GiB", 2**31), (" .5kB ", 500)],
)
def test_memory_is_read_with_its_unit(model: Path, noise: Noise, text: str, size: int) -> None:
    assert transfer(model, noise, memory=text).placement.memory == size
