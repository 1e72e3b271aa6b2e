"""Guidance: one style for all of a picture, or one for each of its regions; content that counts alike or not.

Styles by region are the guidance of Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in
Neural Style Transfer" (CVPR 2017), section 4. Any style loss may be guided.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import Guides, Map, Matrix, PerRegion, Scalar, Var, square, topological
from impasto.export.style_losses import Moments, StyleLoss
from impasto.runtime.plan.terms import GUIDES, PROTECTION


class Guidance(Protocol):
    """The parts of a picture in which styles are measured and compared."""

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations."""

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`."""

    def counted(self, difference: Var) -> Var:
        """Return a difference from the content's activations, whose mean square is the loss of the content."""


class Everywhere:
    """All of a picture has one style."""

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations."""
        return style.target(self._moments(f))

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`."""
        wanted = ops.graph_input(target, style.target_type(_channels(f)))
        return style.loss(self._moments(f), wanted)

    def counted(self, difference: Var) -> Var:
        """Return the difference as it is."""
        return difference

    def _moments(self, f: Var) -> Moments:
        return Moments(ops.gram(f), ops.channel_mean(f))


class ByRegion:
    """Each region of a picture has a style of its own, and its content counts more at some positions than at others.

    The paper multiplies activations by a guide t, so a position counts by w = t^2. On a border, where t is 1/2 in two
    regions, a position counts less than one that is clearly in one region. A region's moments are means with these
    weights. Its loss counts as much as the mean of w over the map. At a position within a region the gradient is then
    as strong as it would be without guides, however large or small the region is.

    A factor p of the content's weight at each pixel is halved as guides are. The content's loss is the mean of
    p (F - P)^2.
    """

    def __init__(self) -> None:
        self._guides = [ops.graph_input(GUIDES, Guides())]
        self._factors = [ops.graph_input(PROTECTION, Guides(single=True))]
        self._by_level: dict[int, tuple[Var, Var]] = {}

    def target(self, style: StyleLoss, f: Var) -> Var:
        """Return the target for activations, for each region."""
        region, moments = _region(_channels(f)), self._moments(f)
        result = style.target(region)
        arguments = {region.gram: moments.gram, region.mean: moments.mean}
        if result in arguments:
            return arguments[result]
        used = _used(arguments, result)
        return ops.EachRegion(ops.Function(used, (result,)))([arguments[x] for x in used])

    def loss(self, style: StyleLoss, f: Var, target: str) -> Var:
        """Return the loss of activations against the graph's input `target`, a sum over regions."""
        type_ = style.target_type(_channels(f))
        region, moments = _region(_channels(f)), self._moments(f)
        share, wanted = ops.graph_input("share", Scalar()), ops.graph_input("target", type_)
        loss = share * style.loss(region, wanted)
        arguments = {region.gram: moments.gram, region.mean: moments.mean}
        used = _used(arguments, loss)
        function = ops.Function((*used, share, wanted), (loss, *(gradient(loss, x) for x in used)))
        shares, _ = self._weights(f)
        targets = ops.graph_input(target, PerRegion(type_))
        return ops.RegionSum(function)([*(arguments[x] for x in used), shares, targets])

    def counted(self, difference: Var) -> Var:
        """Return the difference times the root of p, so that its square is p (F - P)^2."""
        return ops.within(difference, _halved(self._factors, difference) ** 0.5)

    def _weights(self, f: Var) -> tuple[Var, Var]:
        """Return, for activations, the mean of w for each region, and w divided by its sum."""
        assert isinstance(f.type, Map)
        level, t = f.type.level, _halved(self._guides, f)
        if level not in self._by_level:
            w = t * t
            self._by_level[level] = ops.guide_mean(w), self._counted(w)
        return self._by_level[level]

    @staticmethod
    def _counted(w: Var) -> Var:
        """Return the weights with which a region's moments are sums over positions."""
        return ops.normalize_guides(w)

    def _moments(self, f: Var) -> Moments:
        _, u = self._weights(f)
        return Moments(ops.guided_gram(f, u), ops.guided_mean(f, u))


def _halved(by_level: list[Var], f: Var) -> Var:
    """Return the guides for a map, of those that were halved before or are now: one entry for each level."""
    assert isinstance(f.type, Map)
    while len(by_level) <= f.type.level:
        by_level.append(ops.halve_guides(by_level[-1]))
    return by_level[f.type.level]


def _region(channels: int) -> Moments:
    """Return the moments of one region, as inputs of a function."""
    return Moments(ops.graph_input("gram", square(channels)), ops.graph_input("mean", Matrix(channels, 1)))


def _used(inputs: Iterable[Var], output: Var) -> tuple[Var, ...]:
    reached = set(topological([output]))
    return tuple(x for x in inputs if x in reached)


def _channels(f: Var) -> int:
    assert isinstance(f.type, Map)
    return f.type.channels
