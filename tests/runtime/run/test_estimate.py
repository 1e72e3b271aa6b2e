"""Estimates: beside what real transfers take, and what is said when one does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime import InputError
from impasto.runtime.engine import footprints
from impasto.runtime.engine import placement as placement_module
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.placement import Placement, foreseen
from impasto.runtime.engine.references import References
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import Room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.run import estimate as estimates
from impasto.runtime.run.estimate import Estimate, estimate, fastest, largest_size, learn
from impasto.runtime.run.fitting import Need
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Step
from impasto.runtime.run.timings import Timing, Timings, kind_of
from impasto.runtime.run.transfer import Transfer

Noise = Callable[..., NDArray[np.float32]]


@pytest.fixture
def transfer(model: Path, noise: Noise) -> Callable[..., Transfer]:
    def make(**options: Any) -> Transfer:
        defaults: dict[str, Any] = {"size": (64, 48), "evaluations": 6, "device": "cpu", "recipe": "gatys"}
        return prepare(noise(), [noise(seed=1)], model=model, **{**defaults, **options})

    return make


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


def test_masks_count_in_the_memory_even_those_of_one_region(transfer: Callable[..., Transfer]) -> None:
    two = Image.fromarray(np.repeat([[[255, 0, 0]], [[0, 0, 255]]], 20, axis=0).astype(np.uint8)).resize((48, 40))
    masks = (None, "#ff0000", two)
    options: list[dict[str, Any]] = [{"content_mask": mask, "style_masks": [mask]} if mask else {} for mask in masks]
    needs = [transfer(**each).need for each in options]
    assert [need.regions for need in needs] == [0, 1, 2]
    sizes = [need.peak(need.plan.stages[-1], None).size for need in needs]
    assert sizes[0] < sizes[1] < sizes[2]


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
        replace(TOO_LARGE, ways={"low_memory": True, "tile": "auto"}, lacks_tiles=True).check(())


def test_the_options_that_help_are_named() -> None:
    with pytest.raises(InputError, match=r"; choose tile='auto', or add low_memory=True, or choose size='1920x1440'"):
        replace(TOO_LARGE, ways={"tile": "auto", "low_memory": True}).check()


def test_of_the_memory_that_the_user_allows_more_is_advised() -> None:
    with pytest.raises(InputError, match=r"12 GB are available within memory; .*, or raise memory to 61GB, or try"):
        replace(TOO_LARGE, is_asked=True).check()


def test_what_no_tiles_make_fit_is_told_with_the_least_that_it_takes() -> None:
    with pytest.raises(InputError) as refused:
        replace(TOO_LARGE, is_asked=True, least=20_040_000_000, sparing=("the smallest tiles", "Adam")).check()
    said = "size 4096x3072: takes 20 GB of memory at least, with the smallest tiles and Adam, and 12 GB are available"
    assert str(refused.value).startswith(said)
    assert "or raise memory to 20.1GB" in str(refused.value)


def test_a_model_without_graphs_for_tiles_is_to_be_exported_again() -> None:
    with pytest.raises(InputError, match=r"; export the model again, for graphs that compute in tiles .*, or choose"):
        replace(TOO_LARGE, lacks_tiles=True).check()


def test_tiles_are_told() -> None:
    found = str(replace(FITS, tiles=24, tile=1024))
    assert found.startswith("1024x768 in 24 tiles of 1024 pixels, 210 evaluations in 3 stages: about 3.4 GB")


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
        "tiles": 1,
        "tile": None,
        "seconds": 700.0,
        "measured": True,
    }


def with_room(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Let the machine have so many bytes of memory."""
    for module in (estimates, footprints):
        monkeypatch.setattr(module, "room", lambda threads: Room(round(size)))


@pytest.mark.parametrize("options", [{"tile": "off", "optimizer": "adam"}, {}])
def test_a_transfer_that_does_not_fit_is_told_what_would(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    with_room(monkeypatch, 3e9)
    found = estimate(transfer(size=(9000, 6000), **options))
    assert not found.fits
    assert not found.measured  # what is refused is not worth measuring
    assert found.largest is not None
    width, height = found.largest
    assert 32 <= height < width < 9000
    assert width / height == pytest.approx(1.5, rel=0.01)
    with pytest.raises(InputError, match=f"size='{width}x{height}'"):
        found.check()
    assert estimate(transfer(size=found.largest, **options)).fits


def test_what_is_too_large_for_one_piece_is_in_tiles(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_room(monkeypatch, 3e9)
    path = tmp_path / "timings.json"
    known = transfer(size=(100, 100), stages=1)
    learn(known, with_times(known.run(), 256, began=3.0, each=0.1), path)
    whole, tiled = (estimate(transfer(size=(2000, 1500), tile=tile), path) for tile in ("off", "auto"))
    assert not whole.fits
    assert whole.ways == {"tile": "auto"}
    assert tiled.fits
    assert tiled.tiles > 1
    assert f"2000x1500 in {tiled.tiles} tiles of {tiled.tile} pixels" in str(tiled)
    assert whole.seconds and tiled.seconds
    assert 1.3 * whole.seconds < tiled.seconds < 4 * whole.seconds


def test_the_memory_that_is_asked_for_counts_and_not_that_of_the_machine(transfer: Callable[..., Transfer]) -> None:
    found = estimate(transfer(size=(3000, 2000), memory="3GB"))
    assert found.fits
    assert (found.available, found.is_asked) == (3_000_000_000, True)
    assert found.tiles > 1


def test_of_more_memory_than_the_machine_has_only_that_is_taken(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room(monkeypatch, 3.06e9)
    asked, unasked = (estimate(transfer(size=(3000, 2000), memory=memory)) for memory in ("60GB", None))
    assert asked.fits
    assert asked.tiles > 1
    assert replace(asked, seconds=0.0) == replace(unasked, seconds=0.0)


def test_times_of_a_bleed_are_those_of_the_pixels_that_are_evaluated(
    transfer: Callable[..., Transfer], tmp_path: Path
) -> None:
    path = tmp_path / "timings.json"
    bled = transfer(size=(100, 36), bleed=46, stages=1)  # 192x128 are evaluated
    result = bled.run()
    steps = tuple(replace(step, seconds=3.0 + 0.6 * k) for k, step in enumerate(result.history))
    learn(bled, replace(result, history=steps), path)
    seconds = [estimate(transfer(size=(192, 128), stages=1, evaluations=n), path).seconds or 0 for n in (10, 20)]
    assert seconds[1] - seconds[0] == pytest.approx(10 * 0.6)


def test_a_bleed_is_part_of_what_does_not_fit(transfer: Callable[..., Transfer]) -> None:
    need = transfer(size=(3000, 2250), bleed=8, tile="off", memory="600MB").need
    plain, bled = (
        largest_size(replace(need, plan=replace(need.plan, bleed=bleed)), 3_000_000_000) for bleed in (0, 200)
    )
    assert plain is not None
    assert bled is not None
    assert bled[0] + 300 < plain[0]


def test_times_of_tiles_are_learnt_apart_and_for_the_same_work(
    transfer: Callable[..., Transfer], tmp_path: Path
) -> None:
    path = tmp_path / "timings.json"
    wanted = transfer(size=(256, 256), tile=64, stages=1)
    learn(wanted, with_times(wanted.run(), 256, began=3.0, each=0.6), path)
    assert not estimate(transfer(size=(256, 256), stages=1), path).measured
    same: dict[str, Any] = {"size": (256, 256), "tile": 64, "stages": 1}
    seconds = [estimate(transfer(**same, evaluations=n), path).seconds or 0 for n in (10, 20)]
    assert seconds[1] - seconds[0] == pytest.approx(10 * 0.6)


def test_times_of_tiles_in_another_lowering_are_learnt_as_its_own(
    transfer: Callable[..., Transfer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "timings.json"
    chosen: dict[str, Any] = {"size": (256, 256), "stages": 1, "optimizer": "adam"}
    asked = transfer(**chosen, tile=64, lowering="direct")
    result = asked.run()
    monkeypatch.setattr(Need, "placed", lambda *_: replace(asked.placement, device="cpu"))  # as if memory were scarce
    wanted = transfer(**chosen)
    learn(wanted, with_times(result, 256, began=3.0, each=0.6), path)
    kinds = [json.loads(kind) for kind in json.loads(path.read_text())["kinds"]]
    assert [(kind["lowering"], kind.get("tiled")) for kind in kinds] == [("direct", True)]
    assert estimate(transfer(**chosen, evaluations=1000), path).seconds == pytest.approx(1000 * 0.6, rel=0.1)
    assert wanted.placement.lowering == "auto"


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
