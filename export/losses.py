"""The losses of Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).

Every term is a mean; `impasto.runtime.terms` names the terms and says what a recipe's conventions make of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Map, Matrix, Scalar, Var
from impasto.export.networks import Network
from impasto.export.weights import Preprocessing
from impasto.runtime.recipe import Recipe
from impasto.runtime.terms import GRADIENT, IMAGE, LOSS, TV, content_term, style_term, target_of, weight_of


def content_loss(f: Var, p: Var) -> Var:
    """Return the mean of (F - P)^2: how far the activations F are from the content picture's P."""
    return ops.mean_square(ops.subtract(f, p))


def style_loss(f: Var, a: Var) -> Var:
    """Return the mean of (G - A)^2: how far the Gram matrix G of F is from the style picture's A."""
    return ops.mean_square(ops.subtract(ops.gram(f), a))


def total_variation(x: Var, exponent: float) -> Var:
    """Return the mean of (a + b)^p, a and b the squared differences of neighbours down and to the right."""
    dy, dx = ops.difference(x, "y"), ops.difference(x, "x")
    return ops.mean(ops.power(ops.add(ops.multiply(dy, dy), ops.multiply(dx, dx)), exponent))


def activations(
    image: Var, network: Network, preprocessing: Preprocessing, pooling: str, wanted: Iterable[str]
) -> dict[str, Var]:
    """Return the network's activations (after the ReLU) of the wanted layers, and compute no more than they need."""
    pool = {"max": ops.max_pool, "average": ops.average_pool}[pooling]
    x = ops.normalize(image, preprocessing.mean, preprocessing.scale)
    found: dict[str, Var] = {}
    level = 0
    wanted = set(wanted)
    for layer in network.up_to(wanted):
        if layer.level > level:
            x, level = pool(x), layer.level
        x = ops.relu(ops.conv(x, layer.name, layer.inputs, layer.outputs))
        if layer.name in wanted:
            found[layer.name] = x
    return found


def statistics(recipe: Recipe, network: Network, preprocessing: Preprocessing) -> dict[str, Var]:
    """Return the graph picture -> targets: content activations and style Gram matrices, by target name."""
    image = ops.graph_input(IMAGE, Map(3))
    f = activations(image, network, preprocessing, recipe.pooling, recipe.layers)
    content = {target_of(content_term(name)): f[name] for name in recipe.content.layers}
    return content | {target_of(style_term(name)): ops.gram(f[name]) for name in recipe.style.layers}


def objective(recipe: Recipe, network: Network, preprocessing: Preprocessing) -> dict[str, Var]:
    """Return the graph picture, targets, weights -> loss, gradient with respect to the picture, weighted terms."""
    image = ops.graph_input(IMAGE, Map(3))
    f = activations(image, network, preprocessing, recipe.pooling, recipe.layers)
    means: dict[str, Var] = {}
    for name in recipe.content.layers:
        term = content_term(name)
        means[term] = content_loss(f[name], ops.graph_input(target_of(term), f[name].type))
    for name in recipe.style.layers:
        term, type_ = style_term(name), f[name].type
        assert isinstance(type_, Map)
        means[term] = style_loss(f[name], ops.graph_input(target_of(term), Matrix(type_.channels)))
    means[TV] = total_variation(image, recipe.tv.exponent)
    terms = {name: ops.scale(ops.graph_input(weight_of(name), Scalar()), m) for name, m in means.items()}
    loss = _sum(terms)
    return {LOSS: loss, GRADIENT: gradient(loss, image), **terms}


def _sum(terms: Mapping[str, Var]) -> Var:
    first, *rest = terms.values()
    for term in rest:
        first = ops.add(first, term)
    return first
