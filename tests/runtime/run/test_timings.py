"""Timings: the line through them, and that no file can hurt."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.placement import Placement
from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.plan.recipe import Recipe, load_recipe
from impasto.runtime.run.timings import FORMAT, KINDS, Timing, Timings, kind_of

SIDES = st.lists(st.integers(32, 4000), min_size=2, max_size=6, unique=True)


def timing(*points: tuple[int, float]) -> Timing:
    found = Timing(opening=0.5)
    for pixels, seconds in points:
        found.learn(pixels, seconds)
    return found


# --- the line -------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(1e-9, 1e-4), SIDES, st.integers(32, 8000))
def test_what_lies_on_a_line_is_found_again_at_any_size(a: float, b: float, sides: list[int], side: int) -> None:
    known = Timing(points={n: (float(s * s), a + b * s * s) for n, s in enumerate(sides)})
    close = max(sides) ** 2 < 1.1 * min(sides) ** 2  # then the slope is a matter of the last digits
    expected = a + b * side * side
    assert known.evaluation(side * side) == pytest.approx(expected, rel=1e-3) or close


@given(st.lists(st.tuples(st.integers(1024, 10**7), st.floats(1e-3, 100)), min_size=1), st.integers(1024, 10**8))
def test_no_time_is_negative_nor_less_for_more_pixels(points: list[tuple[int, float]], pixels: int) -> None:
    a, b = timing(*points).line(pixels)
    assert a >= 0
    assert b >= 0
    assert timing(*points).evaluation(pixels) > 0


def test_of_one_measurement_time_is_proportional_to_pixels() -> None:
    assert timing((10_000, 2.0)).evaluation(40_000) == pytest.approx(8.0)


def test_a_new_measurement_of_a_size_takes_half_the_place_of_the_old() -> None:
    known = timing((10_000, 1.0))
    known.learn(10_000, 3.0)
    assert known.evaluation(10_000) == pytest.approx(2.0)


def test_a_measurement_nearby_counts_more_than_one_of_another_size() -> None:
    known = timing((64**2, 0.5), (1024**2, 10.0))
    assert known.evaluation(1024**2) == pytest.approx(10.0, rel=0.05)
    crooked = timing((64**2, 0.01), (512**2, 4.0), (1024**2, 10.0))
    assert crooked.evaluation(1024**2) == pytest.approx(10.0, rel=0.1)


def test_small_pictures_tell_nothing_of_large_ones() -> None:
    known = timing((64**2, 0.5))
    assert known.serves(64**2)
    assert not known.serves(512**2)
    assert timing((256**2, 0.5)).serves(4096**2)


def test_targets_take_less_than_an_evaluation() -> None:
    known = timing((10_000, 1.0))
    assert 0 < known.targets([10_000]) < known.evaluation(10_000)
    assert known.targets([10_000, 10_000]) == pytest.approx(2 * known.targets([10_000]))


# --- the file -------------------------------------------------------------------------------------------------


def test_what_is_kept_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "timings.json"
    Timings(path).keep("a", timing((10_000, 2.0), (90_000, 15.0)))
    Timings(path).keep("b", timing((10_000, 1.0)))
    found = Timings(path)["a"]
    assert found is not None
    assert found == timing((10_000, 2.0), (90_000, 15.0))
    assert Timings(path)["c"] is None


def test_without_a_file_it_is_remembered_only_meanwhile() -> None:
    known = Timings(None)
    known.keep("a", timing((10_000, 2.0)))
    assert known["a"] == timing((10_000, 2.0))


def good(value: Any) -> str:
    return json.dumps({"format": FORMAT, "kinds": {"a": value}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2]",
        "null",
        "\0\0\0",
        '{"format": 99, "kinds": {}}',
        json.dumps({"format": FORMAT}),
        json.dumps({"format": FORMAT, "kinds": [1]}),
        good(None),
        good({}),
        good({"opening": 1, "points": []}),
        good({"opening": 1, "points": [[100]]}),
        good({"opening": 1, "points": [[100, -1]]}),
        good({"opening": "x", "points": [[100, 1]]}),
        good({"opening": 1, "points": [[0, 1]]}),
        good({"opening": math.nan, "points": [[100, 1]]}),
        good({"opening": 1, "points": [[100, math.inf]]}),
        good({"opening": 10**400, "points": [[100, 1]]}),
        good({"opening": 1, "points": [[1e300, 1e-300]]}),
        good({"opening": 1, "points": [["a", 1]]}),
        good({"opening": 1, "points": 3}),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_an_empty_one_and_is_mended(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timings.json"
    path.write_text(text)
    assert Timings(path)["a"] is None
    Timings(path).keep("a", timing((10_000, 2.0)))
    assert Timings(path)["a"] == timing((10_000, 2.0))


def test_bytes_that_are_no_text_are_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    path.write_bytes(b"\xff\xfe\x80")
    assert Timings(path)["a"] is None


@pytest.mark.parametrize("place", ["file/below/timings.json", "folder"])
def test_a_place_that_cannot_be_written_is_left_alone(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    Timings(tmp_path / place).keep("a", timing((10_000, 2.0)))
    assert Timings(tmp_path / place)["a"] is None
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    known = Timings(tmp_path / "timings.json")
    for number in range(KINDS + 5):
        known.keep(f"kind {number}", timing((10_000, 2.0)))
        known.keep("used again and again", timing((10_000, 2.0)))
    kinds = json.loads((tmp_path / "timings.json").read_text())["kinds"]
    assert len(kinds) == KINDS
    assert {"used again and again", f"kind {KINDS + 4}"} < set(kinds)
    assert "kind 0" not in kinds


# --- kinds ----------------------------------------------------------------------------------------------------


def plan(recipe: Recipe, **options: Any) -> Plan:
    return Plan(recipe, (Stage(64, 64, 3),), "content", **options)


def test_recipes_that_differ_in_weights_only_are_of_one_kind() -> None:
    where = ("vgg19", Placement("cpu"))
    gatys = load_recipe("gatys")
    assert kind_of(plan(gatys), *where) == kind_of(plan(gatys.with_weights(content=3)), *where)
    assert kind_of(plan(gatys), *where) == kind_of(plan(gatys, seed=3, strength=0.5), *where)
    assert kind_of(plan(gatys), *where) != kind_of(plan(load_recipe("seed")), *where)  # ends with block5_conv3
    other = replace(gatys, style=load_recipe("crowson").style)
    assert kind_of(plan(gatys), *where) != kind_of(plan(other), *where)


def test_whatever_changes_the_speed_makes_another_kind() -> None:
    gatys = load_recipe("gatys")
    kinds = [
        kind_of(plan(gatys), network, Placement(device, lowering, threads, low_memory), regions)
        for network in ("vgg16", "vgg19")
        for lowering in ("direct", "winograd")
        for device in ("cpu", "cuda:0")
        for threads in (None, 1)
        for low_memory in (False, True)
        for regions in (None, 1, 2)
    ]
    gpu = Placement("cuda:0")
    options = [{"tf32": False}, {"search": "exhaustive"}, {"workspace": False}, {"graph": False}]
    kinds += [kind_of(plan(gatys), "vgg19", replace(gpu, cuda=CudaOptions(**option))) for option in options]
    kinds += [kind_of(plan(gatys), "vgg19", replace(where, precision="fp16")) for where in (gpu, Placement("cpu"))]
    kinds += [kind_of(plan(gatys, optimizer=name), "vgg19", gpu) for name in ("adam", "lbfgs-device")]
    kinds += [kind_of(plan(gatys, clip=True), "vgg19", gpu)]
    assert len(set(kinds)) == len(kinds) == 105


def test_what_cuda_alone_knows_makes_no_difference_on_a_cpu() -> None:
    gatys, cpu = load_recipe("gatys"), Placement("cpu")
    other = replace(cpu, cuda=CudaOptions(tf32=False))
    assert kind_of(plan(gatys), "vgg19", cpu) == kind_of(plan(gatys), "vgg19", other)


def test_nothing_of_the_user_is_in_a_kind() -> None:
    kind = kind_of(plan(load_recipe("gatys")), "vgg19", Placement("cpu"))
    assert str(Path.home()) not in kind
    assert platform.node() not in kind
