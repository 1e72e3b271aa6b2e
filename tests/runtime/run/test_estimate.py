"""Estimates: beside what real transfers take, and what is said when one does not fit."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.memory import Setting, measure
from impasto.defaults import OPTIMIZERS
from impasto.runtime import InputError
from impasto.runtime.engine import placement as placement_module
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.placement import Placement, foreseen
from impasto.runtime.engine.providers import PROVIDERS, is_host
from impasto.runtime.engine.references import References
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import Room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import DIRECT, GRAPHS, LAYOUTS
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.plan.plan import Plan, schedule
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run import estimate as estimates
from impasto.runtime.run.estimate import (
    AT_MOST,
    FOOTPRINTS,
    Estimate,
    estimate,
    fastest,
    largest_size,
    learn,
    peak_memory,
)
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Step
from impasto.runtime.run.timings import Timing, Timings, kind_of
from impasto.runtime.run.transfer import Transfer

Noise = Callable[..., NDArray[np.float32]]

STYLES = [(600, 400)]


def plan(width: int = 512, height: int = 384, recipe: str = "gatys", **options: Any) -> Plan:
    return Plan(load_recipe(recipe), schedule(width, height, 100), "content", **options)


def placed(lowering: str = "winograd", low_memory: bool = False) -> Placement:
    return Placement("cpu", lowering, low_memory=low_memory).on("cpu")


def memory(plan: Plan, lowering: str = "winograd", low_memory: bool = False) -> int:
    return peak_memory(plan, STYLES, placed(lowering, low_memory))


@pytest.fixture
def transfer(model: Path, noise: Noise) -> Callable[..., Transfer]:
    def make(**options: Any) -> Transfer:
        defaults: dict[str, Any] = {"size": (64, 48), "evaluations": 6, "device": "cpu", "recipe": "gatys"}
        return prepare(noise(), [noise(seed=1)], model=model, **{**defaults, **options})

    return make


# --- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("lowering", LAYOUTS)
def test_memory_grows_in_proportion_to_the_pixels(lowering: str, low_memory: bool) -> None:
    small, middle, large = (memory(plan(side, side), lowering, low_memory) for side in (512, 1024, 2048))
    assert 200e6 < small < middle < large
    assert large - middle == pytest.approx(4 * (middle - small), rel=1e-6)


def test_what_spares_memory_takes_less() -> None:
    usual = memory(plan(1024, 1024))
    assert memory(plan(1024, 1024), DIRECT, True) < memory(plan(1024, 1024), DIRECT, False)
    assert memory(plan(1024, 1024, optimizer="adam")) < memory(plan(1024, 1024, optimizer="lbfgs-sobolev")) < usual
    assert memory(plan(1024, 1024, clip=True)) > usual
    assert memory(plan(1024, 1024, restart_every=20)) > usual


def test_adam_has_no_use_for_bounds_of_its_own() -> None:
    assert memory(plan(optimizer="adam", clip=True)) == memory(plan(optimizer="adam"))


def test_a_deeper_recipe_takes_more() -> None:
    assert memory(plan(recipe="seed")) > memory(plan(recipe="keras")) > memory(plan(recipe="gatys"))


def test_a_style_that_is_much_larger_than_the_result_counts() -> None:
    assert memory(plan(style_scale=0.5)) == memory(plan())
    assert memory(plan(style_scale=4)) > 2 * memory(plan())


@settings(max_examples=40)
@given(st.integers(64, 4096), st.integers(64, 4096), st.integers(300_000_000, 40_000_000_000))
def test_the_largest_size_fits_and_a_larger_one_does_not(width: int, height: int, available: int) -> None:
    wanted = plan(width, height)

    def fits(long: int) -> bool:
        size = (round(width * long / max(width, height)), round(height * long / max(width, height)))
        return AT_MOST * peak_memory(wanted, STYLES, placed(), size) <= available

    found = largest_size(wanted, STYLES, placed(), available)
    if found is None:
        assert not fits(math.ceil(33 * max(width, height) / min(width, height)))
        return
    assert fits(max(found))
    assert found == (width, height) or not fits(max(found) + 1)
    assert found[0] / found[1] == pytest.approx(width / height, rel=1 / min(found))


def assert_right(
    model: Path, recipe: str, size: int, style: int, optimizer: str, lowering: str, low_memory: bool
) -> None:
    """Compare with the peak size of a process that carries out a transfer."""
    setting = Setting(recipe, lowering, low_memory, size, style, optimizer)
    wanted = replace(
        plan(size, size, recipe),
        style_scale=style / size,
        optimizer=optimizer if optimizer in OPTIMIZERS else "lbfgs",
        restart_every=14 if optimizer == "lbfgs, restarted" else None,
        clip=optimizer in ("bounds", "lbfgs-sobolev"),
    )
    peak = measure(setting, str(model)).peak
    assert peak_memory(wanted, [(style, style)], placed(lowering, low_memory)) == pytest.approx(peak, rel=0.15)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")


@linux
def test_memory_is_what_a_small_transfer_takes(real_model: Path) -> None:
    assert_right(real_model, "gatys", 96, 96, "lbfgs", "winograd", False)


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "size", "style", "optimizer", "lowering", "low_memory"),
    [  # not the sizes that the figures were measured at
        ("gatys", 448, 448, "lbfgs", "winograd", False),
        ("seed", 448, 448, "lbfgs, restarted", "winograd", True),
        ("crowson", 448, 448, "adam", "winograd", False),
        ("gatys", 448, 448, "bounds", "direct", False),
        ("seed", 448, 448, "lbfgs", "direct", True),
        ("gatys", 448, 448, "lbfgs-sobolev", "winograd", False),
        ("gatys", 96, 640, "lbfgs", "winograd", False),
        ("gatys", 720, 720, "lbfgs", "winograd", False),
    ],
)
def test_memory_is_what_a_transfer_takes(
    real_model: Path, recipe: str, size: int, style: int, optimizer: str, lowering: str, low_memory: bool
) -> None:
    assert_right(real_model, recipe, size, style, optimizer, lowering, low_memory)


def test_every_way_to_run_graphs_has_its_figures() -> None:
    plugins = [
        (f"{provider.kind} {precision}", False, False)
        for provider in PROVIDERS.values()
        for part in provider.parts
        if is_host(f"{provider.kind}:{part}")
        for precision in provider.precisions(part)
    ]
    assert set(FOOTPRINTS) == {
        *((key.layout, key.small, low) for key in GRAPHS for low in (False, True)),
        *plugins,
    }
    for (_, _, low_memory), footprint in FOOTPRINTS.items():
        assert all(value > 0 for name, value in asdict(footprint).items() if name != "kept" or not low_memory)
        assert footprint.statistics < footprint.objective


# --- an estimate ----------------------------------------------------------------------------------------------


def test_an_estimate_tells_size_memory_and_time(transfer: Callable[..., Transfer]) -> None:
    found = estimate(transfer())
    assert (found.width, found.height, found.evaluations, found.stages) == (64, 48, 6, 1)
    assert found.memory is not None
    assert 100e6 < found.memory < 2e9
    assert found.seconds is not None
    assert 0 < found.seconds < 60
    assert not found.measured  # not worth it for so short a run
    assert found.fits
    assert found.at_most is not None
    assert found.at_most > found.memory
    found.check()


def test_stages_are_summed(transfer: Callable[..., Transfer]) -> None:
    one = estimate(transfer(size=(256, 256), evaluations=70, stages=1)).seconds
    three = estimate(transfer(size=(256, 256), evaluations=70, stages=3)).seconds
    assert one and three
    assert three < one / 2


def test_of_a_transfer_that_goes_on_the_time_is_that_of_what_is_left(transfer: Callable[..., Transfer]) -> None:
    wanted = transfer(size=(256, 256), evaluations=70, stages=3)  # 40, 20 and 10
    whole, rest = estimate(wanted), estimate(wanted, done=(40, 5))
    assert (rest.evaluations, rest.stages, rest.memory) == (25, 2, whole.memory)
    assert whole.seconds and rest.seconds
    last = estimate(wanted, done=(40, 20)).seconds
    assert last
    assert last < rest.seconds < whole.seconds
    assert estimate(wanted, done=(40, 20, 10)).seconds == 0


def test_a_time_limit_bounds_the_time(transfer: Callable[..., Transfer]) -> None:
    assert estimate(transfer(evaluations=100_000, time_limit=3)).seconds == 3
    assert estimate(transfer(evaluations=100_000, time_limit=0)).seconds == 0


def test_of_a_transfer_that_goes_on_the_time_limit_leaves_what_is_not_spent(transfer: Callable[..., Transfer]) -> None:
    wanted = transfer(evaluations=100_000, time_limit=3)
    assert [estimate(wanted, done=(1,), spent=spent).seconds for spent in (2, 4)] == [1, 0]


def test_on_cuda_nothing_is_refused_nor_known_before_a_first_run(transfer: Callable[..., Transfer]) -> None:
    wanted = transfer(size=(20_000, 20_000))
    wanted.placement = replace(wanted.placement, device="cuda:0")
    found = estimate(wanted)
    assert (found.memory, found.seconds, found.fits) == (None, None, True)
    assert str(found) == "20000x20000, 6 evaluations, on cuda:0 in float32"


def test_a_long_run_is_measured_first_and_once(
    transfer: Callable[..., Transfer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "_TRIAL_SIDE", 96)
    monkeypatch.setattr(estimates, "SOON", 0.0)
    path = tmp_path / "timings.json"
    long = {"evaluations": 100_000, "size": (96, 96)}
    first = estimate(transfer(**long), path)
    assert first.measured
    written = path.read_bytes()
    assert estimate(transfer(**long), path).seconds == first.seconds
    assert path.read_bytes() == written
    assert estimate(transfer(), path).measured  # what is known already serves short runs, too


def test_a_long_run_whose_own_first_evaluations_tell_as_soon_begins_at_once(
    transfer: Callable[..., Transfer], tmp_path: Path
) -> None:
    long = {"evaluations": 100_000, "size": (96, 96)}
    assert not estimate(transfer(**long), tmp_path / "timings.json").measured
    assert not (tmp_path / "timings.json").exists()


# --- learning -------------------------------------------------------------------------------------------------


def with_times(result: Result, size: int, began: float, each: float) -> Result:
    """Return a result whose single stage was of that size and whose evaluations ended at times that are made up."""
    steps = enumerate(result.history)
    made_up = tuple(replace(step, width=size, height=size, seconds=began + each * k) for k, step in steps)
    return replace(result, history=made_up)


def test_evaluations_are_measured_as_they_will_be_made(
    transfer: Callable[..., Transfer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the masks and in the precision of the run; what is learnt of one kind is not taken for another."""
    monkeypatch.setattr(estimates, "WORTH_MEASURING", 0.0)
    monkeypatch.setattr(estimates, "SOON", 0.0)
    opened: list[tuple[References, Placement]] = []
    make = Engine.evaluator

    def noted(engine: Engine, folder: ModelFolder, recipe: str, references: References, placement: Placement) -> Any:
        opened.append((references, placement))
        return make(engine, folder, recipe, references, placement)

    monkeypatch.setattr(Engine, "evaluator", noted)
    timings = tmp_path / "timings.json"
    mask = Image.fromarray(np.repeat([[[255, 0, 0]], [[0, 0, 255]]], 20, axis=0).astype(np.uint8)).resize((48, 40))
    masked = {"content_mask": mask, "style_masks": [mask]}
    for options in ({}, masked, {"optimizer": "adam"}, masked):
        assert estimate(transfer(**options), timings).measured
    assert estimate(transfer(precision="fp16"), timings).measured
    assert [references.regions is not None for references, _ in opened] == [False, True, False, False]
    assert [placement.precision for _, placement in opened] == ["fp32"] * 3 + ["fp16"]
    assert len(json.loads(timings.read_text())["kinds"]) == 4


def test_a_finished_run_makes_the_next_estimate_right(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    wanted = transfer(stages=1)
    learn(wanted, with_times(wanted.run(), 100, began=3.0, each=0.1), path)
    found = estimate(transfer(size=(200, 100), stages=1, evaluations=40), path)
    assert found.measured
    # it took 2.8 s to open the graphs and measure two targets, each at 0.4 of an evaluation's 0.1 s, and one evaluation
    assert found.seconds == pytest.approx(2.82 + 2 * 0.4 * 0.2 + 40 * 0.2, rel=0.01)


def test_a_second_run_counts_as_much_as_the_first(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    wanted = transfer(stages=1)
    result = wanted.run()
    for each in (0.1, 0.3):
        learn(wanted, with_times(result, 100, began=3.0, each=each), path)
    seconds = [estimate(transfer(size=(100, 100), stages=1, evaluations=n), path).seconds or 0 for n in (10, 20)]
    assert seconds[1] - seconds[0] == pytest.approx(10 * 0.2)


def test_all_stages_of_a_real_run_teach(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    wanted = transfer(size=(96, 96), stages=2, evaluations=8)
    learn(wanted, wanted.run(), path)
    (kind,) = json.loads(path.read_text())["kinds"].values()
    assert [pixels for pixels, _ in kind["points"]] == [48 * 48, 96 * 96]
    assert estimate(wanted, path).measured


def test_a_run_of_one_evaluation_teaches_nothing(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        raise StopOptimization

    wanted = transfer(callback=stop)
    learn(wanted, wanted.run(), tmp_path / "timings.json")
    assert not (tmp_path / "timings.json").exists()


def test_a_place_that_cannot_be_written_does_not_matter(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    wanted = transfer()
    learn(wanted, wanted.run(), tmp_path / "file" / "timings.json")
    assert estimate(wanted, tmp_path / "file" / "timings.json").seconds


# --- words ----------------------------------------------------------------------------------------------------

FITS = Estimate(1024, 768, 3, 210, 3_400_000_000, 4_000_000_000, 11_800_000_000, 700.0, True)
TOO_LARGE = replace(FITS, width=4096, height=3072, memory=52_000_000_000, at_most=61_000_000_000, largest=(1920, 1440))


def test_an_estimate_is_one_line() -> None:
    assert str(FITS) == ("1024x768, 210 evaluations in 3 stages: about 3.4 GB of 12 GB of memory, about 12 min")
    unknown = replace(FITS, stages=1, available=None, seconds=5.2, measured=False)
    assert str(unknown) == "1024x768, 210 evaluations: about 3.4 GB of memory, very roughly 5 s"
    assert str(replace(FITS, seconds=9000)).endswith("about 2 h 30 min")
    assert (
        str(replace(FITS, memory=None, at_most=None, available=None, seconds=None))
        == "1024x768, 210 evaluations in 3 stages"
    )


def test_what_does_not_fit_is_refused_with_the_largest_size_that_does() -> None:
    with pytest.raises(InputError) as refused:
        TOO_LARGE.check()
    assert str(refused.value) == (
        "size 4096x3072: takes 52 GB to 61 GB of memory, and 12 GB are available; "
        "choose size='1920x1440', the largest that fits, or try it all the same with oversize=True"
    )


def test_a_limit_is_named_and_raising_it_is_advised() -> None:
    with pytest.raises(InputError, match=r"available within ulimit -v; .*, or raise the limit of ulimit -v, or"):
        replace(TOO_LARGE, limit="ulimit -v").check()


def test_only_what_a_command_can_change_is_advised() -> None:
    with pytest.raises(InputError, match=r"12 GB are available; try it all the same with oversize=True$"):
        replace(TOO_LARGE, low_memory_fits=True).check(())


def test_low_memory_is_named_where_it_helps() -> None:
    with pytest.raises(InputError, match=r"; add low_memory=True, or choose size='1920x1440'"):
        replace(TOO_LARGE, low_memory_fits=True).check()


def test_where_no_size_fits_none_is_named() -> None:
    with pytest.raises(InputError, match=r"are available; try it all the same with oversize=True$"):
        replace(TOO_LARGE, largest=None).check()


def test_nothing_is_refused_where_nothing_is_known() -> None:
    replace(TOO_LARGE, available=None).check()


def test_an_estimate_for_programs_is_in_bytes_and_seconds() -> None:
    assert FITS.to_mapping() == {
        "memory": 3_400_000_000,
        "at_most": 4_000_000_000,
        "available": 11_800_000_000,
        "seconds": 700.0,
        "measured": True,
    }


def test_a_transfer_that_does_not_fit_is_told_what_would(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = transfer(size=(9000, 6000))
    monkeypatch.setattr(estimates, "room", lambda threads: Room(6_000_000_000))
    found = estimate(wanted)
    assert not found.fits
    assert not found.measured  # what is refused is not worth measuring
    assert found.largest is not None
    width, height = found.largest
    assert 32 <= height < width < 9000
    assert width / height == pytest.approx(1.5, rel=0.01)
    with pytest.raises(InputError, match=f"size='{width}x{height}'"):
        found.check()
    assert estimate(transfer(size=found.largest)).fits


# --- the fastest device ---------------------------------------------------------------------------------------


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenVINO be expected to be the fastest, as on a processor with tiles, and take its device for there."""
    monkeypatch.setattr(processors, "instructions", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(placement_module, "is_installed", lambda provider: provider.kind == "openvino")
    monkeypatch.setattr(placement_module, "find_device", lambda device: device)


def known(path: Path, transfer: Transfer, **seconds: float) -> Path:
    """Write the times of an evaluation on some devices into a file; `_` stands for a colon."""
    timings = Timings(path)
    for name, value in seconds.items():
        placed = foreseen(replace(transfer.placement, device=name.replace("_", ":")))
        timing = Timing()
        timing.learn(64 * 48, value)
        timings.keep(kind_of(transfer.plan, transfer.metadata.network, placed), timing)
    return path


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(
    ("seconds", "device"),
    [
        ({}, "auto"),
        ({"openvino_cpu": 2.0}, "auto"),
        ({"cpu": 1.0}, "auto"),
        ({"cpu": 1.0, "openvino_cpu": 2.0}, "cpu"),
        ({"cpu": 1.0, "openvino_cpu": 1.05}, "auto"),
        ({"cpu": 2.0, "openvino_cpu": 1.0}, "auto"),
        ({"cpu": 2.0, "openvino_cpu": 1.0, "openvino_gpu": 0.5}, "openvino:gpu"),
    ],
)
def test_known_times_change_the_choice_of_a_device_if_another_is_much_faster(
    transfer: Callable[..., Transfer], tmp_path: Path, seconds: dict[str, float], device: str
) -> None:
    wanted = transfer(device="auto")
    placed = fastest(wanted, known(tmp_path / "timings.json", wanted, **seconds))
    assert placed == replace(wanted.placement, device=device)


@pytest.mark.usefixtures("tiles")
def test_known_times_change_nothing_that_was_asked_for(transfer: Callable[..., Transfer], tmp_path: Path) -> None:
    wanted = transfer(device="openvino")
    path = known(tmp_path / "timings.json", wanted, cpu=1.0, openvino_cpu=2.0)
    assert fastest(wanted, path) == wanted.placement
    assert fastest(transfer(device="auto"), None).device == "auto"


def test_the_place_is_told_unless_it_is_the_cpu_in_float32(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert " on " not in str(estimate(transfer()))
    monkeypatch.setattr(processors, "instructions", lambda: frozenset({"amx_bf16"}))
    wanted = transfer()
    wanted.placement = Placement("openvino")
    assert str(estimate(wanted)).endswith(", on openvino:cpu in bfloat16")
