"""OpenVINO on the CPU: its results are those of the CPU provider, and it keeps to what it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from impasto.cli.drawing.samples import open_sample
from impasto.runtime import DeviceError, InputError, Objective, stylize
from impasto.runtime.engine.plugins import devices_here, installed_version
from impasto.runtime.engine.providers import PROVIDERS
from impasto.runtime.machine import processors
from impasto.runtime.plan.recipe import builtin_recipes
from tests.cli.processes import command
from tests.plugins.conftest import Differences, distances, drawn, evaluated_together

pytest.importorskip("onnxruntime_ep_openvino", reason="run by make test, beside the other tests")

DEVICE = "openvino:cpu"

#: Of the gradient where a few ReLUs are decided by rounding, and where all are decided alike.
DECIDED, ALIKE = 1e-3, 1e-5

#: The style loss of `crowson` has roots of matrices, and the last digits of a small picture move its gradient by more.
UNDETERMINED = "crowson"
EXTENT = (64, 72)

#: A mask with two regions.
HALVES = np.zeros((*EXTENT, 3), np.uint8)
HALVES[:, EXTENT[1] // 2 :] = 255


@pytest.fixture(scope="module", autouse=True)
def _processor() -> None:
    """Skip the tests on a processor that the plug-in does not take; on one of Intel's, it has to."""
    if "Intel" not in processors.name() and DEVICE not in devices_here(PROVIDERS["openvino"]):
        pytest.skip("OpenVINO's plug-in takes Intel's processors only")


def recipes(quick: set[str], every: set[str]) -> list[Any]:
    """Return the names of recipes to test with; all but the quick ones are slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in sorted(every)]


def opened(model: Path, recipe: str = "gatys", extent: tuple[int, int] = EXTENT, **options: Any) -> Objective:
    content, style, _ = drawn(*extent)
    return Objective.open(model, recipe, content=content, styles=[style], **{"device": DEVICE, **options})


@pytest.mark.parametrize("recipe", recipes({"gatys", "impasto"}, {*builtin_recipes()} - {UNDETERMINED}))
def test_in_float32_every_recipe_has_the_cpus_loss_and_gradient(differences: Differences, recipe: str) -> None:
    loss, gradient = differences(recipe, DEVICE, EXTENT, precision="fp32")
    print(f"{recipe}: loss {loss:.1e}, gradient {gradient:.1e}")
    assert loss < 1e-5
    assert gradient < DECIDED


@pytest.mark.parametrize("extent", [(64, 72), pytest.param((256, 320), marks=pytest.mark.slow)])
@pytest.mark.parametrize("recipe", ["gatys", pytest.param("seed", marks=pytest.mark.slow)])
def test_the_gradient_is_the_exact_one_for_the_decisions_that_were_made(
    differences_alike: Differences, recipe: str, extent: tuple[int, int]
) -> None:
    loss, gradient = differences_alike(recipe, DEVICE, extent)
    print(f"{recipe}: loss {loss:.1e}, gradient {gradient:.1e}")
    assert loss < 1e-5
    assert gradient < ALIKE


@pytest.mark.skipif(not processors.multiplies_bfloat16(), reason="it would take long, and is not for this processor")
def test_tiles_in_bfloat16_have_the_loss_and_the_gradient_of_the_whole_picture(every_recipe: Path) -> None:
    extent = 205, 97
    _, _, image = drawn(*extent)
    whole, tiled = (
        opened(every_recipe, "impasto", extent, precision="bf16", tile=tile).evaluate(image) for tile in ("off", 32)
    )
    assert tiled[0] == pytest.approx(whole[0], rel=1e-3)
    assert np.linalg.norm(tiled[1] - whole[1]) < 0.02 * np.linalg.norm(whole[1])


def test_crowsons_gradient_is_as_near_as_it_is_determined(every_recipe: Path) -> None:
    """On the CPU provider, the gradients of the picture's neighbours in float32 are as far away as OpenVINO's."""
    extent = (128, 144)
    _, _, picture = drawn(*extent)
    up = np.random.default_rng(1).random(picture.shape) < 0.5
    neighbour = np.nextafter(picture, np.where(up, np.inf, -np.inf).astype(np.float32))
    on_cpu = opened(every_recipe, UNDETERMINED, extent, device="cpu", lowering="direct")
    here = on_cpu.evaluate(picture)
    there = opened(every_recipe, UNDETERMINED, extent, precision="fp32").evaluate(picture)
    _, undetermined = distances(*on_cpu.evaluate(neighbour), *here)
    loss, gradient = distances(*there, *here)
    print(f"{UNDETERMINED}: loss {loss:.1e}, gradient {gradient:.1e}, its neighbour's {undetermined:.1e}")
    assert loss < 1e-5
    assert gradient < 3 * undetermined


# --- bfloat16 -------------------------------------------------------------------------------------------------

in_bfloat16 = pytest.mark.skipif(
    not processors.multiplies_bfloat16(), reason="needs a processor that multiplies bfloat16"
)


@in_bfloat16
@pytest.mark.parametrize("recipe", recipes({"crowson", "impasto"}, {*builtin_recipes()}))
def test_in_bfloat16_every_recipe_is_near(differences: Differences, recipe: str) -> None:
    loss, gradient = differences(recipe, DEVICE, EXTENT, precision="bf16")
    print(f"{recipe}: loss {loss:.1e}, gradient {gradient:.1e}")
    assert 1e-6 < loss < 3e-2
    assert 1e-3 < gradient < 0.15


@in_bfloat16
@pytest.mark.parametrize("recipe", ["crowson", "impasto"])
def test_in_bfloat16_masks_are_near(every_recipe: Path, recipe: str) -> None:
    masks = {"content_mask": HALVES, "style_masks": [HALVES]}
    _, _, picture = drawn(*EXTENT)
    there, here = (
        opened(every_recipe, recipe, device=device, precision=precision, **masks).evaluate(picture)
        for device, precision in ((DEVICE, "bf16"), ("cpu", "fp32"))
    )
    loss, gradient = distances(*there, *here)
    print(f"{recipe}: loss {loss:.1e}, gradient {gradient:.1e}")
    assert loss < 3e-2
    assert gradient < 0.15


@in_bfloat16
def test_a_transfer_in_bfloat16_reaches_the_cpus_loss_and_tells_it_in_float32(every_recipe: Path) -> None:
    content, style = open_sample("town"), open_sample("sunset")
    options: dict[str, Any] = {"model": every_recipe, "recipe": "gatys", "size": 96, "evaluations": 60}
    here = stylize(content, [style], device="cpu", **options)
    there = stylize(content, [style], device=DEVICE, precision="bf16", **options)
    assert (there.precision, there.loss_precision) == ("bf16", "fp32")
    assert there.loss < 1.1 * here.loss
    assert there.loss != there.history[-1].loss


@in_bfloat16
def test_a_transfer_in_bfloat16_gives_the_same_bits_again(every_recipe: Path) -> None:
    content, style = open_sample("town"), open_sample("sunset")
    options: dict[str, Any] = {"model": every_recipe, "recipe": "impasto", "size": 96, "evaluations": 8}
    first, again = (stylize(content, [style], device=DEVICE, precision="bf16", **options) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert [step.loss for step in first.history] == [step.loss for step in again.history]


# --- what it keeps to -----------------------------------------------------------------------------------------


def test_a_picture_that_was_evaluated_before_is_evaluated_again(every_recipe: Path) -> None:
    """A binding of onnxruntime copies its inputs when they are bound, not when it runs."""
    _, _, picture = drawn(*EXTENT)
    objective = opened(every_recipe, precision="fp32")
    first, other, again = (objective.evaluate(planes) for planes in (picture, picture + 1, picture))
    assert first[0] == again[0] != other[0]
    np.testing.assert_array_equal(first[1], again[1])


def test_objectives_of_several_sizes_live_side_by_side_and_in_several_threads(every_recipe: Path) -> None:
    extents = [(64, 72), (96, 80), (64, 72)]
    objectives = [opened(every_recipe, extent=extent, precision="fp32") for extent in extents]
    pictures = [drawn(*extent)[2] for extent in extents]
    alone = [objective.evaluate(picture)[0] for objective, picture in zip(objectives, pictures, strict=True)]
    assert evaluated_together(objectives, pictures) == alone


def test_one_thread_is_one_thread(every_recipe: Path) -> None:
    """onnxruntime's own number of threads does not reach it."""
    _, _, picture = drawn(128, 144)
    objective = opened(every_recipe, extent=(128, 144), precision="fp32", threads=1)
    objective.evaluate(picture)
    process = psutil.Process()
    before, began = process.cpu_times(), time.perf_counter()
    for _ in range(5):
        objective.evaluate(picture)
    took, after = time.perf_counter() - began, process.cpu_times()
    assert (after.user - before.user) + (after.system - before.system) < 1.25 * took


def test_masks_are_refused_in_float32_in_one_line(every_recipe: Path) -> None:
    with pytest.raises(DeviceError, match=r"^device openvino:cpu: does not run graphs with masks in float32; .*$"):
        opened(every_recipe, precision="fp32", content_mask=HALVES, style_masks=[HALVES])


def test_the_lowering_for_the_cpu_provider_is_refused_in_one_line(every_recipe: Path) -> None:
    with pytest.raises(InputError, match=r"^lowering='winograd': not on device='openvino:cpu', .*$"):
        opened(every_recipe, lowering="winograd")


def test_a_transfer_reaches_the_cpus_loss(every_recipe: Path) -> None:
    content, style = open_sample("town"), open_sample("sunset")
    options: dict[str, Any] = {"model": every_recipe, "recipe": "gatys", "size": 96, "evaluations": 20}
    here = stylize(content, [style], device="cpu", **options)
    there = stylize(content, [style], device=DEVICE, precision="fp32", **options)
    assert there.loss == pytest.approx(here.loss, rel=0.1)


def painted(folder: Path, model: Path, size: int, *more: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line with OpenVINO, in float32, on the demo's pictures."""
    for name in ("town", "sunset"):
        open_sample(name).save(folder / f"{name}.png")
    arguments = ["stylize", folder / "town.png", folder / "sunset.png", "-o", folder / "result.png", "-r", "gatys"]
    arguments += [
        "--model",
        model,
        "--size",
        size,
        "--evaluations",
        2,
        "--device",
        "openvino",
        "--precision",
        "fp32",
        *more,
    ]
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, **options)


def test_the_command_line_prints_nothing_of_openvinos_own_and_records_it(every_recipe: Path, tmp_path: Path) -> None:
    done = painted(tmp_path, every_recipe, 64)
    assert (done.returncode, done.stdout) == (0, "")
    for line in done.stderr.splitlines():
        assert line.startswith(("64x48, 2 evaluations: ", "evaluation ", "loss ", "wrote ")), line
    with Image.open(tmp_path / "result.png") as result:
        record = json.loads(result.info["impasto"])
    assert record["origin"]["placement"]["device"] == DEVICE
    assert record["origin"]["machine"]["versions"]["onnxruntime-ep-openvino"] == installed_version(
        "onnxruntime-ep-openvino"
    )


def test_a_rerun_gives_the_same_bits_there_and_warns_on_another_device(every_recipe: Path, tmp_path: Path) -> None:
    painted(tmp_path, every_recipe, 64)
    rerun = ["rerun", tmp_path / "result.png", "--model", every_recipe, "-o", tmp_path / "again.png", "--force"]
    again, moved = (
        subprocess.run(command(*rerun, *more), capture_output=True, text=True, timeout=100, check=True)
        for more in ((), ("--device", "cpu"))
    )
    assert "bit for bit" in again.stderr
    assert "warning" not in again.stderr
    (warning,) = (line for line in moved.stderr.splitlines() if line.startswith("warning"))
    places = "device cpu instead of openvino:cpu; lowering winograd instead of direct"
    assert warning == f"warning: the bits may differ: {places}"


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked there")
def test_a_forked_process_opens_its_own_graph_and_ends(every_recipe: Path) -> None:
    code = f"""if True:
        import os, sys, numpy as np
        from impasto.runtime import stylize
        picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
        def paint():
            return stylize(picture, picture, model={str(every_recipe)!r}, recipe="gatys", size=40, evaluations=2,
                           threads=2, device="openvino", precision="fp32").loss
        loss = paint()
        child = os.fork()
        if not child:
            sys.exit(0 if paint() == loss else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_too_little_memory_is_one_line(every_recipe: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limit = 1_700_000_000
    done = painted(
        tmp_path,
        every_recipe,
        480,
        "--oversize",
        "--tile",
        "off",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1
    *before, error = done.stderr.splitlines()
    assert error.startswith("error: gatys.direct.objective.onnx: out of memory on openvino:cpu; ")
    assert len(before) <= 1, before  # what it will take, roughly
