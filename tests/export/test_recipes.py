"""Every recipe that names a peer has that peer's loss: our graphs against the peers' own formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import peers
import pytest
from numpy.typing import NDArray

from impasto.export import losses
from impasto.export.lowering.direct import direct
from impasto.export.lowering.winograd import winograd
from impasto.export.networks import NETWORKS
from impasto.export.weights.sources import load_weights
from impasto.export.weights.weights import Weights
from impasto.export.weights_file import WeightsFile, write_weights
from impasto.runtime.model.metadata import Layer
from impasto.runtime.plan.recipe import Recipe, StyleTerm, TotalVariation, load_recipe
from impasto.runtime.plan.terms import (
    CONTENT,
    GRADIENT,
    IMAGE,
    LOSS,
    STYLE,
    effective_weights,
    target_of,
    weight_of,
)

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]

LOWERING = {lowering.layout: lowering for lowering in (direct, winograd)}

GATYS, PASTICHE = load_recipe("gatys"), load_recipe("pastiche")

#: Recipe, its peer's formula, the network that it is meant for.
CASES: dict[str, tuple[Recipe, peers.Loss, str]] = {
    **{
        name: (load_recipe(name), getattr(peers, name), "vgg16" if name == "titu" else "vgg19")
        for name in ("johnson", "keras", "titu", "pastiche", "pystiche", "crowson", "galerne", "impasto")
    },
    "pastiche, smoothed": (
        replace(PASTICHE, tv=TotalVariation(3, "sum", form="absolute")), peers.pastiche_smoothed, "vgg19",
    ),
    "covariance": (
        replace(GATYS, style=StyleTerm(**{**vars(GATYS.style), "loss": "covariance"})), peers.covariance, "vgg19",
    ),
}  # fmt: skip

#: The most that a gradient may be off, relative; that of the Wasserstein loss is of roots found to some digits only,
#: worst where, as here, the last layer has fewer positions than channels. See `impasto.export.roots`.
MOST = {"gram": 5e-3, "moments": 5e-3, "covariance": 5e-3, "wasserstein": 2e-2}

#: Those whose operators are lowered differently in `winograd`.
FAST = ("johnson", "galerne", "impasto", "covariance", "pastiche, smoothed")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Weights, WeightsFile, Path]]:
    """Random weights of a network, and the file of a folder that holds them."""
    made: dict[str, tuple[Weights, WeightsFile, Path]] = {}

    def weights(network: str) -> tuple[Weights, WeightsFile, Path]:
        if network not in made:
            folder = tmp_path_factory.mktemp(network)
            loaded = load_weights("random", network, seed=1)
            made[network] = loaded, write_weights(loaded, folder / "weights.data"), folder
        return made[network]

    return weights


def planes(picture: Rgb) -> Rgb:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def relative(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(
    ("case", "lowering"),
    [(case, "direct") for case in CASES]
    + [(case, "winograd") for case in FAST]
    + [pytest.param("crowson", "winograd", marks=pytest.mark.slow)],  # `test_regions` has it with fewer channels
)
def test_loss_and_gradient_are_the_peers(
    case: str, lowering: str, written: Callable[[str], tuple[Weights, WeightsFile, Path]], noise: Noise
) -> None:
    recipe, formula, network = CASES[case]
    weights, file, folder = written(network)
    content, image = noise(48, 64, 1), noise(48, 64, 3)
    style = noise(48, 64, 2) if recipe.style.convention == "keras" else noise(40, 57, 2)  # keras has them all alike

    def run(kind: str, feeds: dict[str, Rgb]) -> dict[str, Rgb]:
        graph = getattr(losses, kind)(recipe, NETWORKS[network], weights.preprocessing)
        path = folder / f"{kind}.onnx"
        onnx.save(LOWERING[lowering].lower(kind, graph, file.tensors), path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [x.name for x in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    targets = run("statistics", {IMAGE: planes(content)})
    targets |= {k: v for k, v in run("statistics", {IMAGE: planes(style)}).items() if k.startswith("style/")}
    layers = {x.name: Layer(x.name, x.outputs, x.level).size(48, 64) for x in NETWORKS[network].layers}
    factors = {weight_of(k): np.array(v, np.float32) for k, v in effective_weights(recipe, layers, 48, 64).items()}
    got = run("objective", {IMAGE: planes(image), **targets, **factors})

    torch = peers.torch
    x = torch.tensor(planes(image)[0], dtype=torch.float64, requires_grad=True)
    f, p, s = (
        peers.activations(
            weights, y, recipe.layers, peers.POOLINGS.get(case, "max"), peers.PADDING_MODES.get(case, "constant")
        )
        for y in (x, *(torch.tensor(planes(y)[0], dtype=torch.float64) for y in (content, style)))
    )
    loss = formula(x, f, p, s)
    loss.backward()
    assert x.grad is not None
    assert abs(float(got[LOSS]) - loss.item()) <= 1e-4 * loss.item()
    assert relative(got[GRADIENT][0], x.grad.numpy()) <= MOST[recipe.style.loss]
    terms = [*map(CONTENT.name, recipe.content.layers), *map(STYLE.name, recipe.style.layers), "tv"]
    assert sum(float(got[term]) for term in terms) == pytest.approx(float(got[LOSS]), rel=1e-5)
    assert all(target_of(term) in targets for term in terms[:-1])
