"""What the tests of plug-ins share: a model folder with every recipe, and how far a device is from the CPU provider.

`make test` runs them by themselves, where the plug-ins can be imported: a library that is loaded stays in its process,
and everything else is tested without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from running import decisions

from impasto.cli.drawing.samples import open_sample
from impasto.export.lowering.direct import direct
from impasto.export.weights.weights import Weights
from impasto.runtime import Objective
from impasto.runtime.engine.opening import fix_extents
from impasto.runtime.engine.plugins import find_device
from impasto.runtime.engine.providers import part_of, provider_of
from impasto.runtime.model.graphs import SINGLE, extents
from impasto.runtime.pictures.planes import Planes, to_planes
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe
from tests.conftest import export_unchecked

Rgb = NDArray[np.float32]

#: (a recipe, a device, height and width, other options of `Objective.open`) -> how far the loss and the gradient on the
#: device are from those of the same graph on the CPU, relative to these.
Differences = Callable[..., tuple[float, float]]


@pytest.fixture(scope="session")
def every_recipe(tmp_path_factory: pytest.TempPathFactory, real_weights: Weights) -> Path:
    """A model folder with every recipe that comes along, over the real weights."""
    folder = tmp_path_factory.mktemp("models") / "every"
    export_unchecked(folder, [load_recipe(name) for name in builtin_recipes()], real_weights)
    return folder


def drawn(height: int, width: int) -> tuple[Rgb, Rgb, Planes]:
    """Return a content, a style and a picture to evaluate at: half noise, so that no term is zero."""
    content, style = (np.asarray(open_sample(name).resize((width, height)), np.float32) for name in ("town", "sunset"))
    noise = np.random.default_rng(0).uniform(0, 255, content.shape).astype(np.float32)
    return content, style, to_planes((content + noise) / 2, "start")


def evaluated_together(objectives: Sequence[Objective], pictures: Sequence[Planes], times: int = 1) -> list[float]:
    """Return the losses of pictures, each evaluated so many times by its objective, in a thread of its own."""
    losses: dict[int, float] = {}

    def evaluate(k: int) -> None:
        for _ in range(times):
            losses[k] = objectives[k].evaluate(pictures[k])[0]

    threads = [threading.Thread(target=evaluate, args=(k,)) for k in range(len(objectives))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [losses[k] for k in range(len(objectives))]


def distances(
    loss: float, gradient: NDArray[Any], true_loss: float, true_gradient: NDArray[Any]
) -> tuple[float, float]:
    """Return how far a loss and a gradient are from others, relative to these."""
    far = np.linalg.norm(gradient - true_gradient) / np.linalg.norm(true_gradient)
    return abs(loss / true_loss - 1), float(far)


@pytest.fixture(scope="session")
def differences(every_recipe: Path) -> Differences:
    def measure(recipe: str, device: str, extent: tuple[int, int], **options: Any) -> tuple[float, float]:
        content, style, picture = drawn(*extent)
        here, there = (
            Objective.open(every_recipe, recipe, content=content, styles=[style], **placement).evaluate(picture)
            for placement in ({"device": "cpu", "lowering": "direct"}, {"device": device, **options})
        )
        return distances(*there, *here)

    return measure


@pytest.fixture(scope="session")
def differences_alike(
    every_recipe: Path, real_weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> Differences:
    """The same against float64, whose ReLUs and poolings decide as those on the device do: see test_parity.py."""
    from reference import Reference  # without PyTorch, who asks for it is skipped

    def measure(recipe: str, device: str, extent: tuple[int, int]) -> tuple[float, float]:
        content, style, planes = drawn(*extent)
        picture = np.ascontiguousarray(planes[0].transpose(1, 2, 0))
        objective = Objective.open(
            every_recipe, recipe, content=content, styles=[style], device=device, precision=SINGLE
        )
        options = onnxruntime.SessionOptions()
        options.add_provider_for_devices(
            [find_device(device)], provider_of(device).settings(part_of(device), SINGLE, None)
        )
        fix_extents(options, extents(*extent))
        folder = tmp_path_factory.mktemp("activations")
        made = decisions(real_weights, direct, objective.recipe, picture, folder, provider=None, options=options)
        exact = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(picture, None, made)
        return distances(*objective(picture), *exact)

    return measure
