"""The terms of the loss, and the graphs that compute them.

They are those of Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016), and
total variation. Every term is a mean; `impasto.runtime.plan.terms` names the terms and has the factors of a recipe's
conventions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Map, Scalar, Var
from impasto.export.guidance import ByRegion, Everywhere, Guidance
from impasto.export.networks import ConvLayer, Network, Preprocessing
from impasto.export.style_losses import style_loss_of
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import (
    CONTENT,
    GRADIENT,
    IMAGE,
    LOSS,
    STYLE,
    TERMS,
    TV,
    Term,
    target_of,
    weight_of,
)

# --- total variation ------------------------------------------------------------------------------------------


def power_variation(x: Var, exponent: float) -> Var:
    """Return the mean of (a + b)^p, a and b the squared differences of neighbours down and to the right."""
    dy, dx = ops.Difference("y")(x), ops.Difference("x")(x)
    return ops.mean((dy * dy + dx * dx) ** exponent)


def absolute_variation(x: Var) -> Var:
    """Return the mean of |dy| + |dx|, the differences of neighbours; across the border they are zero."""
    padded = ops.PadEdge(0)(x)
    return ops.mean(_absolute(ops.Difference("y")(padded)) + _absolute(ops.Difference("x")(padded)))


def nine_point_variation(x: Var) -> Var:
    """Return 2 (mean dy^2 / 3 + mean dx^2 / 3 + mean of both diagonals' d^2 / 12), as crowsonkb has it.

    The picture is surrounded by a copy of its border; the means are over H W and, of the diagonals, (H+1) (W+1) places.
    """
    after, around = ops.PadEdge(0)(x), ops.PadEdge(1)(x)
    straight = ops.mean_square(ops.Difference("y")(after)) + ops.mean_square(ops.Difference("x")(after))
    diagonal = ops.Difference("diagonal")(around), ops.Difference("antidiagonal")(around)
    return 2 / 3 * straight + 2 / 12 * (ops.mean_square(diagonal[0]) + ops.mean_square(diagonal[1]))


def _absolute(x: Var) -> Var:
    return ops.relu(x) + ops.relu(-x)


# --- terms ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """The values that terms are computed from: a picture, its activations by layer, and the guidance of its styles."""

    recipe: Recipe
    image: Var
    activations: Mapping[str, Var]
    guidance: Guidance


@dataclass(frozen=True)
class TermLoss:
    """How a kind of term is computed.

    Attributes
    ----------
    loss
        (scene, layer, name of the target) -> the term before it is weighted, a mean.
    target
        (scene of the picture that it is measured on, layer) -> the target; None for a term without one.
    """

    loss: Callable[[Scene, str, str], Var]
    target: Callable[[Scene, str], Var] | None = None


def content_target(scene: Scene, layer: str) -> Var:
    """Return the activations P."""
    return scene.activations[layer]


def content_loss(scene: Scene, layer: str, target: str) -> Var:
    """Return the mean of (F - P)^2: how far the activations F are from the content picture's P.

    With guides, some positions may count more than others: see `impasto.export.guidance.ByRegion`.
    """
    f = scene.activations[layer]
    return ops.mean_square(scene.guidance.counted(f - ops.graph_input(target, f.type)))


def style_target(scene: Scene, layer: str) -> Var:
    """Return the target of the recipe's style loss."""
    return scene.guidance.target(style_loss_of(scene.recipe.style), scene.activations[layer])


def style_loss(scene: Scene, layer: str, target: str) -> Var:
    """Return the recipe's style loss."""
    return scene.guidance.loss(style_loss_of(scene.recipe.style), scene.activations[layer], target)


def total_variation(scene: Scene, layer: str, target: str) -> Var:
    """Return the recipe's form of total variation; it is of the whole picture, and has no target."""
    match scene.recipe.tv.form:
        case "absolute":
            return absolute_variation(scene.image)
        case "nine-point":
            return nine_point_variation(scene.image)
        case _:
            return power_variation(scene.image, scene.recipe.tv.exponent)


#: How each of `TERMS` is computed.
TERM_LOSSES: Mapping[Term, TermLoss] = {
    CONTENT: TermLoss(content_loss, content_target),
    STYLE: TermLoss(style_loss, style_target),
    TV: TermLoss(total_variation),
}
assert tuple(TERM_LOSSES) == TERMS


# --- the graphs -----------------------------------------------------------------------------------------------


def activations(
    image: Var, network: Network, preprocessing: Preprocessing, pooling: str, padding: str, wanted: Iterable[str]
) -> dict[str, Var]:
    """Return the network's activations (after the ReLU) of the wanted layers, and compute no more than they need.

    `pooling` and `padding` are those of a `Recipe`.
    """
    pool = {"max": ops.max_pool, "average": ops.average_pool}[pooling]
    x = ops.Normalize(preprocessing.mean, preprocessing.scale)(image)
    by_layer: dict[str, Var] = {}
    wanted = set(wanted)
    layers = network.up_to(wanted)
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        x = _convolved(layer, x, padding if layer is layers[0] else "zeros")
        pooled = after is not None and after.level > layer.level
        # Max pooling and ReLU commute: where the layer itself is not wanted, the ReLU can have a quarter of the work.
        pool_first = pooled and pooling == "max" and layer.name not in wanted
        x = ops.relu(pool(x) if pool_first else x)
        if layer.name in wanted:
            by_layer[layer.name] = x
        if pooled and not pool_first:
            x = pool(x)
    return by_layer


def _convolved(layer: ConvLayer, x: Var, padding: str) -> Var:
    """Return the convolution of x, which is surrounded by zeros, or by its own outermost positions once more."""
    if padding == "zeros":
        return ops.Conv(layer.name, layer.inputs, layer.outputs)(x)
    return ops.Conv(layer.name, layer.inputs, layer.outputs, padding=0)(ops.PadEdge(1)(x))


def statistics(
    recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool = False
) -> dict[str, Var]:
    """Return the graph picture -> targets: activations of the content, statistics of the style, by target name.

    With `guided` it takes guides, too, and the statistics are of each region by itself.
    """
    return targets_in(scene_of(recipe, network, preprocessing, ByRegion() if guided else Everywhere()))


def objective(
    recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool = False
) -> dict[str, Var]:
    """Return the graph picture, targets, weights -> loss, gradient with respect to the picture, weighted terms.

    With `guided` it takes guides and the factor of the content's weight at each pixel, too, and has a target for each
    region.
    """
    scene = scene_of(recipe, network, preprocessing, ByRegion() if guided else Everywhere())
    terms = terms_in(scene)
    loss = total(terms)
    return {LOSS: loss, GRADIENT: gradient(loss, scene.image), **terms}


def scene_of(recipe: Recipe, network: Network, preprocessing: Preprocessing, guidance: Guidance) -> Scene:
    """Return a picture as a graph's input, with the activations of all layers that the recipe names."""
    image = ops.graph_input(IMAGE, Map(3))
    by_layer = activations(image, network, preprocessing, recipe.pooling, recipe.padding, recipe.layers)
    return Scene(recipe, image, by_layer, guidance)


def targets_in(scene: Scene) -> dict[str, Var]:
    """Return the targets that are measured on a scene, by name."""
    return {
        target_of(term.name(layer)): target(scene, layer)
        for term in TERMS
        if (target := TERM_LOSSES[term].target)
        for layer in term.shares(scene.recipe)
    }


def terms_in(scene: Scene) -> dict[str, Var]:
    """Return the terms of a scene's loss by name, each times its weight, which is an input."""
    terms: dict[str, Var] = {}
    for term in TERMS:
        for layer in term.shares(scene.recipe):
            name = term.name(layer)
            mean = TERM_LOSSES[term].loss(scene, layer, target_of(name))
            terms[name] = ops.graph_input(weight_of(name), Scalar()) * mean
    return terms


def total(terms: Mapping[str, Var]) -> Var:
    """Return the loss, which is the sum of its terms."""
    return reduce(operator.add, terms.values())
