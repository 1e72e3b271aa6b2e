"""The model of memory, beside what real transfers take; and the tiles that keep a budget."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import memory as memory_of_pictures
from benchmarks import tile_memory
from impasto.runtime.engine import footprints
from impasto.runtime.engine.footprints import (
    FOOTPRINTS,
    LEAST_AUTO,
    TILE_FOOTPRINTS,
    TILED_WORK,
    Halos,
    Held,
    Load,
    Peak,
    budget_of,
    placed_within,
    without_tiles,
)
from impasto.runtime.engine.objective import Objective
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.providers import PROVIDERS, is_host
from impasto.runtime.engine.tiles import tiles_of, windows_of
from impasto.runtime.machine.memory import Room
from impasto.runtime.model.graphs import DIRECT, GRAPHS, LAYOUTS
from impasto.runtime.model.sums import Halo
from impasto.runtime.plan.recipe import load_recipe

#: Layout -> what models ask of tiles.
HALOS = {"winograd": Halo(80, 192), "direct": Halo(80, 16)}


def placed(lowering: str = "winograd", low_memory: bool = False, tile: int | str = "off") -> Placement:
    return Placement("cpu", lowering, low_memory=low_memory, tile=tile).on("cpu")


def load(
    width: int, height: int, recipe: str = "gatys", style: int = 64, regions: int = 0, halos: Halos = HALOS.get
) -> Load:
    return Load(load_recipe(recipe), width, height, ((style, style),), regions, halos)


def peak(width: int, height: int, placement: Placement | None = None) -> Peak:
    return load(width, height).peak(placement or placed())


# --- whole pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("lowering", LAYOUTS)
def test_memory_grows_in_proportion_to_the_pixels(lowering: str, low_memory: bool) -> None:
    small, middle, large = (peak(side, side, placed(lowering, low_memory)).size for side in (512, 1024, 2048))
    assert 200e6 < small < middle < large
    assert large - middle == pytest.approx(4 * (middle - small), rel=1e-6)


def test_what_spares_memory_takes_less() -> None:
    assert peak(1024, 1024, placed(DIRECT, True)).size < peak(1024, 1024, placed(DIRECT, False)).size
    with_optimizer = replace(load(1024, 1024), held=Held(0, 1e8)).peak(placed())
    assert with_optimizer.size == pytest.approx(peak(1024, 1024).size + 1e8)


def test_a_deeper_recipe_takes_more() -> None:
    deep, middle, shallow = (load(512, 512, recipe).peak(placed()).size for recipe in ("seed", "keras", "gatys"))
    assert deep > middle > shallow


def test_a_style_that_is_much_larger_than_the_result_counts() -> None:
    assert load(512, 384, style=200).peak(placed()) == load(512, 384).peak(placed())
    assert load(512, 384, style=2000).peak(placed()).size > 2 * peak(512, 384).size


def test_at_worst_more_is_taken_by_onnxruntime_alone() -> None:
    plain, held = (replace(load(1024, 768), held=Held(held, held)).peak(placed()) for held in (0, 1e9))
    assert plain.at_most > 1.3 * plain.size
    assert held.at_most - plain.at_most == held.size - plain.size == 1e9


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("lowering", LAYOUTS)
def test_masks_take_more_and_many_regions_little_more(lowering: str, low_memory: bool) -> None:
    placement = placed(lowering, low_memory)
    none, *some = (load(1000, 1000, regions=number).peak(placement).size for number in (0, 1, 2, 3, 4, 64))
    assert none < some[0] < some[1] < some[2] < some[3]
    assert some[2] - some[1] == some[1] - some[0] > some[3] - some[2]
    assert some[4] < 2.5 * some[3]


def test_masks_take_more_in_small_pictures_and_in_large_styles() -> None:
    for size, style in ((64, 64), (400, 2000)):
        none, two = (load(size, size, style=style, regions=number).peak(placed()).size for number in (0, 2))
        assert none < two


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")


def assert_right(model: Path, setting: memory_of_pictures.Setting) -> None:
    """Compare with the peak size of a process that carries a transfer out."""
    measured = memory_of_pictures.measure(setting, str(model)).peak
    assert memory_of_pictures.estimated(setting, dict(FOOTPRINTS)) == pytest.approx(measured, rel=0.15)


@linux
def test_memory_is_what_a_small_transfer_takes(real_model: Path) -> None:
    assert_right(real_model, memory_of_pictures.Setting("gatys", "winograd", False, 96, 96, "lbfgs"))


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "size", "style", "optimizer", "lowering", "low_memory", "regions"),
    [  # not the sizes that the figures were measured at
        ("gatys", 448, 448, "lbfgs", "winograd", False, 0),
        ("seed", 448, 448, "lbfgs, restarted", "winograd", True, 0),
        ("crowson", 448, 448, "adam", "winograd", False, 0),
        ("gatys", 448, 448, "bounds", "direct", False, 0),
        ("seed", 448, 448, "lbfgs", "direct", True, 0),
        ("gatys", 96, 640, "lbfgs", "winograd", False, 0),
        ("gatys", 720, 720, "lbfgs", "winograd", False, 0),
        ("impasto", 600, 448, "adam", "winograd", False, 2),
        ("crowson", 448, 448, "adam", "direct", False, 3),
    ],
)
def test_memory_is_what_a_transfer_takes(
    real_model: Path, recipe: str, size: int, style: int, optimizer: str, lowering: str, low_memory: bool, regions: int
) -> None:
    assert_right(real_model, memory_of_pictures.Setting(recipe, lowering, low_memory, size, style, optimizer, regions))


def test_every_way_to_run_graphs_has_its_figures() -> None:
    plugins = [
        f"{provider.kind} {precision}"
        for provider in PROVIDERS.values()
        for part in provider.parts
        if is_host(f"{provider.kind}:{part}")
        for precision in provider.precisions(part)
    ]
    whole = {key for key in GRAPHS if not key.role.startswith("tile") and "sums" not in key.role}
    assert set(FOOTPRINTS) == {
        *((key.layout, key.small, low) for key in whole for low in (False, True)),
        *((plugin, False, False) for plugin in plugins),
    }
    assert set(TILE_FOOTPRINTS) == {*LAYOUTS, *plugins}
    for (form, _, low_memory), footprint in FOOTPRINTS.items():
        figures = asdict(footprint)
        masks = [figures.pop(name) for name in ("guided_opening", "guided_fixed", "guided", "region", "further")]
        assert all(value > 0 for name, value in figures.items() if name != "kept" or not low_memory)
        assert all(value >= 0 for value in masks)
        assert any(masks) == (form != "openvino fp32")  # which does not run graphs with masks
        assert footprint.statistics < footprint.objective
    for tiles in TILE_FOOTPRINTS.values():
        assert all(value > 0 for name, value in asdict(tiles).items() if name != "guided")
        assert tiles.statistics < tiles.window


# --- tiles ----------------------------------------------------------------------------------------------------


@given(st.integers(32, 3000), st.integers(32, 3000), st.integers(16, 1200), st.sampled_from(list(HALOS.values())))
def test_the_extent_of_tiles_is_known_without_them(width: int, height: int, side: int, halo: Halo) -> None:
    areas = [tile.shape[0] * tile.shape[1] for tile in tiles_of(height, width, side, halo)]
    assert windows_of(height, width, side, halo) == (len(areas), max(areas), sum(areas))


def test_what_an_optimiser_takes_between_evaluations_may_have_the_place_of_a_window() -> None:
    picture, placement = load(3000, 2000), placed(tile=256)
    always, between = (replace(picture, held=Held(held, 2e9)).peak(placement).size for held in (2e9, 0))
    window = always - between
    assert 50e6 < window < 2e9
    assert replace(picture, held=Held(2e9 - window, 2e9)).peak(placement).size == pytest.approx(between)


@pytest.mark.parametrize(("lowering", "sides"), [("winograd", (960, 576, 384)), ("direct", (1024, 512, 256))])
def test_smaller_tiles_take_less_memory_and_more_work(lowering: str, sides: tuple[int, ...]) -> None:
    picture = load(3000, 2000)
    placements = [placed(lowering, tile=side) for side in sides]
    sizes, works = zip(*((picture.peak(p).size, picture.work(p)) for p in placements), strict=True)
    assert sizes[0] > sizes[1] > sizes[2]
    assert TILED_WORK < works[0] < works[1] < works[2]
    assert picture.work(placed()) == 1


@pytest.mark.parametrize("lowering", LAYOUTS)
def test_masks_of_one_region_count_in_tiles(lowering: str) -> None:
    none, one, two = (load(3000, 2000, regions=number).peak(placed(lowering, tile=512)).size for number in (0, 1, 2))
    assert none < one < two


def test_what_is_kept_grows_with_the_picture_and_not_what_onnxruntime_takes() -> None:
    small, large = (load(side, side, regions=3).peak(placed(tile=512)) for side in (2000, 4000))
    assert large.at_most - small.at_most == pytest.approx(large.size - small.size, rel=0.05)


@settings(max_examples=50)
@given(st.integers(64, 6000), st.integers(64, 6000), st.integers(300_000_000, 20_000_000_000))
def test_the_largest_tile_that_keeps_the_budget_is_chosen(width: int, height: int, budget: int) -> None:
    picture, asked = load(width, height), placed(tile="auto")
    chosen = placed_within(asked, picture, budget)
    whole = replace(asked, tile="off")
    if chosen == whole:
        fits = picture.peak(whole).at_most <= budget
        assert fits or not any(keeps(picture, side, budget) for side in (LEAST_AUTO, 256, 512))
        return
    assert chosen == replace(asked, tile=chosen.side)
    assert picture.peak(whole).at_most > budget
    assert chosen.side is not None
    if picture.peak(chosen).at_most <= budget:
        number = picture.tiles(chosen)
        larger = [
            side
            for side in range(chosen.side + 16, max(width, height), 16)
            if picture.tiles(replace(asked, tile=side)) not in (1, number)
        ]
        assert not any(keeps(picture, side, budget) for side in larger)


def keeps(picture: Load, side: int, budget: int) -> bool:
    placement = placed(tile=side)
    return picture.tiles(placement) > 1 and picture.peak(placement).at_most <= budget


def test_a_tile_that_is_asked_for_stands_unless_the_picture_is_one_tile() -> None:
    assert placed_within(placed(tile=512), load(2000, 1000), None).tile == 512
    assert placed_within(placed(tile=512), load(500, 500), None).tile == "off"


@pytest.mark.parametrize(
    ("halos", "budget", "device"),
    [(without_tiles, 10**9, "cpu"), (HALOS.get, None, "cpu"), (HALOS.get, 10**9, "cuda:0")],
)
def test_pictures_stay_whole_without_graphs_for_tiles_or_knowledge_of_memory_or_on_a_gpu(
    halos: Halos, budget: int | None, device: str
) -> None:
    placement = replace(Placement("cpu"), device=device)
    assert placed_within(placement, load(6000, 4000, halos=halos), budget).tile == "off"


def test_where_winograd_takes_too_much_an_automatic_lowering_becomes_direct() -> None:
    picture = load(3000, 2000)
    budgets = range(5_000_000_000, 1_000_000_000, -50_000_000)
    chosen = [placed_within(Placement("cpu", tile="auto"), picture, budget) for budget in budgets]
    assert [one.lowering for one in chosen] == sorted((one.lowering for one in chosen), key=("auto", "direct").index)
    assert {one.lowering for one in chosen} == {"auto", "direct"}
    assert all(placed_within(placed(tile="auto"), picture, budget).lowering == "winograd" for budget in budgets)


def test_the_budget_is_what_is_asked_for_and_no_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprints, "room", lambda threads: Room(7))
    assert budget_of(Placement("cpu", memory=5)) == 5
    assert budget_of(Placement("cpu", memory=9)) == 7
    assert budget_of(Placement("cpu")) == 7
    assert budget_of(replace(Placement(), device="cuda:0")) is None
    monkeypatch.setattr(footprints, "room", lambda threads: None)
    assert budget_of(Placement("cpu")) is None
    assert budget_of(Placement("cpu", memory=9)) == 9


def test_an_objective_is_opened_in_tiles_where_a_whole_picture_is_too_large(
    model: Path, noise: Callable[..., NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, style = noise(200, 240), noise(seed=1)
    whole = Objective.open(model, "gatys", content=picture, styles=[style], device="cpu", tile="off")
    start = picture[::-1].copy()
    loss, gradient = whole(start)
    picture_load = Load(whole.recipe, 240, 200, ((48, 40),))
    least = picture_load.peak(placed()).at_most - 1
    monkeypatch.setattr(footprints, "LEAST_AUTO", 16)
    monkeypatch.setitem(
        footprints.TILE_FOOTPRINTS, "winograd", replace(TILE_FOOTPRINTS["winograd"], fixed=0, opening=0, convolution=0)
    )
    tiled = Objective.open(model, "gatys", content=picture, styles=[style], device="cpu", memory=least)
    assert len(tiled.evaluator.tiles) > 1
    found, slope = tiled(start)
    assert found == pytest.approx(loss, rel=1e-5)
    assert np.linalg.norm(slope - gradient) < 1e-2 * np.linalg.norm(gradient)  # see test_tiled.py


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "form", "size", "side", "regions"),
    [  # not what the figures were measured with
        ("impasto", "winograd", (1300, 900), 384, 0),
        ("seed", "winograd", (1000, 1000), 320, 0),
        ("gatys", "direct", (1300, 900), 384, 0),
        ("impasto", "winograd", (900, 900), 256, 3),
    ],
)
def test_memory_is_what_a_transfer_in_tiles_takes(
    real_model: Path, recipe: str, form: str, size: tuple[int, int], side: int, regions: int
) -> None:
    setting = tile_memory.Setting(recipe, form, *size, side, regions)
    measured = tile_memory.measure(setting, str(real_model))
    found = TILE_FOOTPRINTS[form].peak(setting.load, side, setting.halo)
    assert found.size == pytest.approx(measured, rel=0.15)
    assert measured < found.at_most
