"""The losses of Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).

Beside their style loss, on Gram matrices, two on the mean and the covariance of activations; `STYLE_LOSSES` has all.
Every term is a mean; `impasto.runtime.plan.terms` names the terms and says what a recipe's conventions make of them.

Any of them may be guided: each region of the picture then has a style of its own. That is the guidance of Gatys, Ecker,
Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style Transfer" (CVPR 2017), section 4.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Guides, Map, Matrix, PerRegion, Scalar, Var, square, topological
from impasto.export.networks import Network
from impasto.export.roots import polar_factor, square_root
from impasto.export.weights.weights import Preprocessing
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import (
    CONTENT,
    GRADIENT,
    GUIDES,
    IMAGE,
    LOSS,
    STYLE,
    TERMS,
    TV,
    Term,
    target_of,
    weight_of,
)

# --- style ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """The moments of activations over positions: all that a style loss knows of them.

    Attributes
    ----------
    gram
        The mean of f f^T over positions, f the C activations at one of them.
    mean
        The mean of f, a column.
    """

    gram: Var
    mean: Var

    @property
    def channels(self) -> int:
        """C."""
        assert isinstance(self.mean.type, Matrix)
        return self.mean.type.rows

    @property
    def covariance(self) -> Var:
        """The Gram matrix without what the mean contributes to it."""
        return self.gram - self.mean @ self.mean.T


@dataclass(frozen=True)
class StyleLoss:
    """A style loss: what is measured of the style picture's activations, and how far others are from that.

    Attributes
    ----------
    target
        The style's moments -> the target.
    loss
        The picture's moments, target -> the loss, a mean.
    target_type
        A layer's number of channels -> the type of the target.
    """

    target: Callable[[Moments], Var]
    loss: Callable[[Moments, Var], Var]
    target_type: Callable[[int], Matrix]


def gram_target(f: Moments) -> Var:
    """Return the Gram matrix G."""
    return f.gram


def gram_loss(f: Moments, a: Var) -> Var:
    """Return the mean of (G - A)^2: how far the Gram matrix G is from the style picture's A."""
    return ops.mean_square(f.gram - a)


def covariance_target(f: Moments) -> Var:
    """Return [S m], the covariance and the mean."""
    return ops.beside(f.covariance, f.mean)


def covariance_loss(f: Moments, target: Var) -> Var:
    """Return the mean of (S - T)^2 + (m m^T - n n^T)^2: S and m of the picture, T and n of the style picture.

    A Gram matrix is S + m m^T: here its two parts are compared each by itself: one cannot make up for the other.
    """
    t, n = _split(target)
    return ops.mean_square(f.covariance - t) + ops.mean_square(f.mean @ f.mean.T - n @ n.T)


#: Added to the diagonal of covariance matrices before their roots are drawn, in mean variances of the style's channels.
EPSILON = 1e-4


def wasserstein_target(f: Moments) -> Var:
    """Return [A n]: the square root A of the covariance, epsilon added to its diagonal, and the mean n."""
    t = f.covariance
    one = ops.Identity(f.channels)()
    variance = ops.inner(t, one)
    a, _ = square_root(t + EPSILON / f.channels * variance * one)
    return ops.beside(a, f.mean)


def wasserstein_loss(f: Moments, target: Var) -> Var:
    """Return the squared Wasserstein-2 distance of two normal distributions, divided by the number of channels C.

    Of the picture's N(m, S) and N(n, T), T = A A, it is |m - n|^2 + tr(S + T - 2 (A S A)^1/2) (Olkin and Pukelsheim
    1982).

    The trace is a small difference of large numbers, and the eigenvalues of A S A are spread twice as far as those of
    S: float32 would lose both. With R = S^1/2 and the polar factor Q of A R, (A S A)^1/2 is A R Q^T. So the trace is
    |R - A Q|^2, and the derivative with respect to S, 1 - A (A S A)^-1/2 A, is 1 - A Q R^-1: nothing cancels.
    """
    channels, m, s = f.channels, f.mean, f.covariance
    a, n = _split(target)
    one = ops.Identity(channels)()
    trace = ops.inner(a, a)  # of T with its epsilon
    epsilon = EPSILON / (1 + EPSILON) / channels * trace
    r, r_inverse = square_root(s + epsilon * one)
    moved = a @ polar_factor(a @ r)
    distance, slope = r - moved, one - moved @ r_inverse
    per_channel = 1 / channels * ops.inner(distance, distance)
    return ops.mean_square(m - n) + ops.with_derivative(per_channel, s, 1 / channels * slope)


def _split(target: Var) -> tuple[Var, Var]:
    """Return the square matrix and the column that a target holds side by side."""
    assert isinstance(target.type, Matrix)
    size = target.type.rows
    return ops.Columns(0, size)(target), ops.Columns(size, size + 1)(target)


def _channels(f: Var) -> int:
    assert isinstance(f.type, Map)
    return f.type.channels


def _matrix_and_column(channels: int) -> Matrix:
    return Matrix(channels, channels + 1)


#: What a recipe's `style.loss` names.
STYLE_LOSSES: Mapping[str, StyleLoss] = {
    "gram": StyleLoss(gram_target, gram_loss, square),
    "covariance": StyleLoss(covariance_target, covariance_loss, _matrix_and_column),
    "wasserstein": StyleLoss(wasserstein_target, wasserstein_loss, _matrix_and_column),
}

# --- guidance -------------------------------------------------------------------------------------------------


class Guidance(Protocol):
    """Where a style is measured and compared."""

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations."""

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`."""


class Everywhere:
    """All of a picture has one style."""

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations."""
        return style.target(Moments(ops.gram(f), ops.channel_mean(f)))

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`."""
        wanted = ops.graph_input(target, style.target_type(_channels(f)))
        return style.loss(Moments(ops.gram(f), ops.channel_mean(f)), wanted)


class ByRegion:
    """Each region of a picture has a style of its own.

    The paper multiplies activations by a guide t, so a position counts by w = t^2; a border, where t is 1/2 in two
    regions, counts less than what is clearly in one. A region's moments are means with these weights. Its loss counts
    as much as the mean of w over the map: at a position within a region the gradient is then as strong as it would be
    without guides, however large or small the region is.
    """

    def __init__(self) -> None:
        self._guides = [ops.graph_input(GUIDES, Guides())]
        self._by_level: dict[int, tuple[Var, Var]] = {}

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations, for each region."""
        own, moments = _region(_channels(f)), self._moments(f)
        result = style.target(own)
        known = {own.gram: moments.gram, own.mean: moments.mean}
        if result in known:
            return known[result]
        used = _used(known, result)
        return ops.EachRegion(ops.Function(used, (result,)))([known[x] for x in used])

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`, a sum over regions."""
        type_ = style.target_type(_channels(f))
        own, moments = _region(_channels(f)), self._moments(f)
        share, wanted = ops.graph_input("share", Scalar()), ops.graph_input("target", type_)
        loss = share * style.loss(own, wanted)
        known = {own.gram: moments.gram, own.mean: moments.mean}
        used = _used(known, loss)
        function = ops.Function((*used, share, wanted), (loss, *(gradient(loss, x) for x in used)))
        shares, _ = self._weights(f)
        return ops.RegionSum(function)([*(known[x] for x in used), shares, ops.graph_input(target, PerRegion(type_))])

    def _weights(self, f: Var) -> tuple[Var, Var]:
        """Return, for activations, the mean of w for each region, and w divided by its sum."""
        assert isinstance(f.type, Map)
        level = f.type.level
        while len(self._guides) <= level:
            self._guides.append(ops.halve_guides(self._guides[-1]))
        if level not in self._by_level:
            w = self._guides[level] * self._guides[level]
            self._by_level[level] = ops.guide_mean(w), ops.normalize_guides(w)
        return self._by_level[level]

    def _moments(self, f: Var) -> Moments:
        _, u = self._weights(f)
        return Moments(ops.guided_gram(f, u), ops.guided_mean(f, u))


def _region(channels: int) -> Moments:
    """Return the moments of one region, as inputs of a function."""
    return Moments(ops.graph_input("gram", square(channels)), ops.graph_input("mean", Matrix(channels, 1)))


def _used(inputs: Iterable[Var], output: Var) -> tuple[Var, ...]:
    reached = set(topological([output]))
    return tuple(x for x in inputs if x in reached)


# --- total variation ------------------------------------------------------------------------------------------


def power_variation(x: Var, exponent: float) -> Var:
    """Return the mean of (a + b)^p, a and b the squared differences of neighbours down and to the right."""
    dy, dx = ops.Difference("y")(x), ops.Difference("x")(x)
    return ops.mean((dy * dy + dx * dx) ** exponent)


def absolute_variation(x: Var) -> Var:
    """Return the mean of |dy| + |dx|, d the differences of neighbours; a pixel of the border has none beyond."""
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
    """What terms are computed of: a picture, its activations by layer, and what is guided in it."""

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
        (scene of the picture that it is measured from, layer) -> the target; None: it has none.
    """

    loss: Callable[[Scene, str, str], Var]
    target: Callable[[Scene, str], Var] | None = None


def content_target(scene: Scene, layer: str) -> Var:
    """Return the activations P."""
    return scene.activations[layer]


def content_loss(scene: Scene, layer: str, target: str) -> Var:
    """Return the mean of (F - P)^2: how far the activations F are from the content picture's P."""
    f = scene.activations[layer]
    return ops.mean_square(f - ops.graph_input(target, f.type))


def style_target(scene: Scene, layer: str) -> Var:
    """Return what the recipe's style loss measures."""
    return scene.guidance.target(STYLE_LOSSES[scene.recipe.style.loss], scene.activations[layer])


def style_loss(scene: Scene, layer: str, target: str) -> Var:
    """Return the recipe's style loss."""
    return scene.guidance.loss(STYLE_LOSSES[scene.recipe.style.loss], scene.activations[layer], target)


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
    image: Var, network: Network, preprocessing: Preprocessing, pooling: str, wanted: Iterable[str]
) -> dict[str, Var]:
    """Return the network's activations (after the ReLU) of the wanted layers, and compute no more than they need."""
    pool = {"max": ops.max_pool, "average": ops.average_pool}[pooling]
    x = ops.Normalize(preprocessing.mean, preprocessing.scale)(image)
    by_layer: dict[str, Var] = {}
    wanted = set(wanted)
    layers = network.up_to(wanted)
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        x = ops.Conv(layer.name, layer.inputs, layer.outputs)(x)
        pooled = after is not None and after.level > layer.level
        # Max pooling and ReLU commute: where nobody asks for what is between, the ReLU can have a quarter of the work.
        first = pooled and pooling == "max" and layer.name not in wanted
        x = ops.relu(pool(x) if first else x)
        if layer.name in wanted:
            by_layer[layer.name] = x
        if pooled and not first:
            x = pool(x)
    return by_layer


def statistics(
    recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool = False
) -> dict[str, Var]:
    """Return the graph picture -> targets: activations of the content, statistics of the style, by target name.

    With `guided` it takes guides, too, and the statistics are of each region by itself.
    """
    scene = _scene(recipe, network, preprocessing, guided=guided)
    return {
        target_of(term.name(layer)): target(scene, layer)
        for term in TERMS
        if (target := TERM_LOSSES[term].target)
        for layer in term.shares(recipe)
    }


def objective(
    recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool = False
) -> dict[str, Var]:
    """Return the graph picture, targets, weights -> loss, gradient with respect to the picture, weighted terms.

    With `guided` it takes guides, too, and has a target for each region.
    """
    scene = _scene(recipe, network, preprocessing, guided=guided)
    terms: dict[str, Var] = {}
    for term in TERMS:
        for layer in term.shares(recipe):
            name = term.name(layer)
            mean = TERM_LOSSES[term].loss(scene, layer, target_of(name))
            terms[name] = ops.graph_input(weight_of(name), Scalar()) * mean
    loss = reduce(operator.add, terms.values())
    return {LOSS: loss, GRADIENT: gradient(loss, scene.image), **terms}


def _scene(recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool) -> Scene:
    image = ops.graph_input(IMAGE, Map(3))
    by_layer = activations(image, network, preprocessing, recipe.pooling, recipe.layers)
    return Scene(recipe, image, by_layer, ByRegion() if guided else Everywhere())
