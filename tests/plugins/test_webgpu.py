"""WebGPU: its results are those of the CPU provider, on a GPU, or on a device in software where there is none.

A device in software is SwiftShader, which comes with Chromium, behind the loader of Vulkan: on Debian, the packages
``chromium`` and ``libvulkan1``. An evaluation of a whole recipe takes it 5 to 20 seconds at 32x32 pixels, of
`crowson` three minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from impasto.runtime import DeviceError, InputError, Objective, stylize
from impasto.runtime.engine.plugins import find_device
from impasto.runtime.plan.recipe import builtin_recipes
from tests.plugins.conftest import Differences, distances, drawn, evaluated_together

pytest.importorskip("onnxruntime_ep_webgpu", reason="run by make test, beside the other tests")

DEVICE = "webgpu"

#: Where Linux distributions install SwiftShader.
DRIVERS = [
    Path(folder, "vk_swiftshader_icd.json")
    for folder in (
        "/usr/lib/chromium",
        "/usr/lib64/chromium-browser",
        "/usr/lib/chromium-browser",
        "/opt/google/chrome",
    )
]

#: As far as SwiftShader gets in a time that a test may take, and larger than the network's five poolings.
EXTENT = (32, 40)

#: The style loss of `crowson` has roots of matrices, and the last digits of a small picture move its gradient by more.
UNDETERMINED = "crowson"


@pytest.fixture(scope="module", autouse=True)
def _device() -> Iterator[None]:
    """Let a device in software serve where there is no GPU; skip the tests where there is neither."""
    driver = next((path for path in DRIVERS if path.exists()), None)
    with pytest.MonkeyPatch.context() as patched:
        if driver and "VK_DRIVER_FILES" not in os.environ:
            patched.setenv("VK_DRIVER_FILES", str(driver))
        if "VK_DRIVER_FILES" in os.environ:
            patched.setenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", "1")
        try:
            find_device(DEVICE)
        except DeviceError as error:
            pytest.skip(f"needs a GPU, or SwiftShader: {error}")
        yield


@pytest.mark.slow
def test_an_objective_of_few_layers_has_the_cpus_loss_and_gradient_picture_after_picture(small_model: Path) -> None:
    content, style, picture = drawn(*EXTENT)
    here, there = (
        Objective.open(small_model, "small", content=content, styles=[style], **placement)
        for placement in ({"device": "cpu", "lowering": "direct"}, {"device": DEVICE})
    )
    for planes in (picture, picture + 1, picture):
        loss, gradient = distances(*there.evaluate(planes), *here.evaluate(planes))
        assert loss < 1e-5
        assert gradient < 1e-4


@pytest.mark.slow
def test_two_threads_take_turns(small_model: Path) -> None:
    """Two runs at once are refused by WebGPU."""
    extents = [EXTENT, (40, 32)]
    objectives = []
    for extent in extents:
        content, style, _ = drawn(*extent)
        objectives.append(Objective.open(small_model, "small", content=content, styles=[style], device=DEVICE))
    pictures = [drawn(*extent)[2] for extent in extents]
    alone = [objective.evaluate(picture)[0] for objective, picture in zip(objectives, pictures, strict=True)]
    assert evaluated_together(objectives, pictures, times=3) == pytest.approx(alone, rel=1e-6)


@pytest.mark.slow
def test_a_transfer_reaches_the_cpus_loss(small_model: Path) -> None:
    content, style, _ = drawn(*EXTENT)
    here, there = (
        stylize(content, [style], model=small_model, recipe="small", size=max(EXTENT), evaluations=4, device=device)
        for device in ("cpu", DEVICE)
    )
    assert there.device == DEVICE
    assert there.loss == pytest.approx(here.loss, rel=1e-3)


def test_masks_and_bfloat16_are_refused_in_one_line(small_model: Path) -> None:
    content, style, _ = drawn(*EXTENT)
    halves = np.zeros(content.shape, np.uint8)
    halves[:, content.shape[1] // 2 :] = 255
    with pytest.raises(DeviceError, match=r"^device webgpu: does not run graphs with masks in float32; .*$"):
        Objective.open(
            small_model, "small", content=content, styles=[style], content_mask=halves, style_masks=[halves],
            device=DEVICE,
        )  # fmt: skip
    with pytest.raises(InputError, match=r"^precision='bf16': not on device='webgpu'; .*$"):
        Objective.open(small_model, "small", content=content, styles=[style], device=DEVICE, precision="bf16")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted({*builtin_recipes()} - {UNDETERMINED}))
def test_every_recipe_has_the_cpus_loss_and_gradient(differences: Differences, recipe: str) -> None:
    loss, gradient = differences(recipe, DEVICE, EXTENT)
    print(f"{recipe}: loss {loss:.1e}, gradient {gradient:.1e}")
    assert loss < 1e-5
    assert gradient < 1e-3


@pytest.mark.slow
def test_crowsons_gradient_is_as_near_as_it_is_determined(every_recipe: Path) -> None:
    """On the CPU provider, the gradients of the picture's neighbours in float32 are as far away as WebGPU's."""
    content, style, picture = drawn(*EXTENT)
    on_cpu, on_device = (
        Objective.open(every_recipe, UNDETERMINED, content=content, styles=[style], **placement)
        for placement in ({"device": "cpu", "lowering": "direct"}, {"device": DEVICE})
    )
    up = np.random.default_rng(1).random(picture.shape) < 0.5
    neighbour = np.nextafter(picture, np.where(up, np.inf, -np.inf).astype(np.float32))
    here = on_cpu.evaluate(picture)
    undetermined = distances(*on_cpu.evaluate(neighbour), *here)
    loss, gradient = distances(*on_device.evaluate(picture), *here)
    print(f"{UNDETERMINED}: loss {loss:.1e}, gradient {gradient:.1e}, its neighbour's {undetermined}")
    assert loss < 1e-4
    assert gradient < 3 * undetermined[1]
