"""The graphs for pictures that are evaluated tile by tile.

A loss is a function of sums over positions: of Gram matrices, for instance. Here it is cut at these sums. What lies
before them is a graph of a tile: the sums over its core, with all that the core's activations depend on in view. What
lies behind them is a graph of matrices and numbers, which is evaluated once: it gives the loss, and its gradient with
respect to each sum. From that, a second graph of a tile gives the gradient with respect to the tile's pixels. Added up
over all tiles, these are the gradient of the whole picture: nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from impasto.export import ops
from impasto.export.gradient import gradients, pull_back
from impasto.export.graph import Guides, Map, Op, Type, Var, substitute, topological
from impasto.export.guidance import ByRegion, Everywhere
from impasto.export.losses import Scene, scene_of, targets_in, terms_in, total
from impasto.export.networks import Network, Preprocessing
from impasto.export.style_losses import Moments
from impasto.runtime.model.graphs import (
    LOSS_OF_SUMS,
    TARGETS_OF_SUMS,
    TILE_GRADIENT,
    TILE_STATISTICS,
    TILE_SUMS,
)
from impasto.runtime.model.sums import CORE, GUIDED, MEAN, SHARE, Sum
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import GRADIENT, LOSS, target_of

#: The last part of the name of a sum, and its kind, by its operator.
_KINDS: Mapping[type[Op], tuple[str, str]] = {
    ops.Mean: ("mean", MEAN),
    ops.MeanSquare: ("mean", MEAN),
    ops.GuideMean: ("share", SHARE),
    ops.CoreGram: ("gram", MEAN),
    ops.CoreMean: ("mean", MEAN),
    ops.GuidedGram: ("gram", GUIDED),
    ops.GuidedMean: ("sum", GUIDED),
}


class Core:
    """The core of a tile: a guide of zeros and ones."""

    def __init__(self) -> None:
        self._by_level = [ops.graph_input(CORE, Guides(single=True))]

    def of(self, x: Map) -> Var:
        """Return the guide for a map."""
        while len(self._by_level) <= x.level:
            self._by_level.append(ops.halve_guides(self._by_level[-1]))
        return self._by_level[x.level]


class EverywhereInCore(Everywhere):
    """All of a tile's core has one style; `exact` as `ops.CoreGram` has it."""

    def __init__(self, core: Core, *, exact: bool) -> None:
        self._core, self._gram = core, ops.CoreGram(exact)

    def _moments(self, f: Var) -> Moments:
        assert isinstance(f.type, Map)
        core = self._core.of(f.type)
        return Moments(self._gram(f, core), ops.core_mean(f, core))


class ByRegionInCore(ByRegion):
    """Regions of a tile's core. Weights are not divided by their sum, for that is of all tiles."""

    @staticmethod
    def _counted(w: Var) -> Var:
        return w


@dataclass(frozen=True)
class Cut:
    """Terms or targets, cut at their sums.

    Attributes
    ----------
    sums
        The sums, and the value of each for a tile.
    behind
        The outputs, with each sum as an input of its name.
    """

    sums: Mapping[Sum, Var]
    behind: Mapping[str, Var]


def cut(outputs: Mapping[str, Var], core: Core) -> Cut:
    """Cut terms, or targets of terms, at all sums over positions that they depend on."""
    sums: dict[Sum, Var] = {}
    inputs: dict[Var, Var] = {}
    for name, output in outputs.items():
        for var in topological([output]):
            if var not in inputs and _is_sum(var):
                sum_ = _sum(var, name.removesuffix(target_of("")), {known.name for known in sums})
                sums[sum_] = _within_core(var, core)
                inputs[var] = ops.graph_input(sum_.name, var.type)
    return Cut(sums, substitute(outputs, inputs))


@dataclass(frozen=True)
class LogicalGraph:
    """A logical graph.

    Attributes
    ----------
    outputs
        The results by name.
    sums
        The sums of a tile among them.
    """

    outputs: Mapping[str, Var]
    sums: tuple[Sum, ...] = ()

    @property
    def inputs(self) -> set[str]:
        """The names of its inputs."""
        return {var.op.name for var in topological(self.outputs.values()) if isinstance(var.op, ops.Input)}


def tile_graphs(
    recipe: Recipe, network: Network, preprocessing: Preprocessing, *, guided: bool
) -> dict[str, LogicalGraph]:
    """Return a recipe's graphs for tiles, by role; those for guides if it is `guided`.

    ``tile-sums``: tile, core, guides, content's targets -> sums. ``loss-of-sums``: sums of all tiles, targets, weights
    -> loss, terms, gradient of the loss with respect to each sum. ``tile-gradient``: tile, core, guides, content's
    targets, these gradients -> gradient with respect to the tile. ``tile-statistics``: tile, core, guides ->
    activations of the content, sums of the style. ``targets-of-sums``: sums of all tiles -> targets of the style.
    """
    core = Core()
    guidance = ByRegionInCore() if guided else EverywhereInCore(core, exact=recipe.style.loss != "gram")
    scene = scene_of(recipe, network, preprocessing, guidance)
    terms = cut(terms_in(scene), core)
    measured = targets_in(scene)
    maps = {name: var for name, var in measured.items() if isinstance(var.type, Map)}
    targets = cut({name: var for name, var in measured.items() if name not in maps}, core)
    # Targets do not depend on the size of a region, but its sums are divided by it.
    measured_sums = {**targets.sums, **{sum_: var for sum_, var in terms.sums.items() if sum_.kind == SHARE}}
    measured_outputs = {**maps, **{sum_.name: var for sum_, var in measured_sums.items()}}
    return {
        TILE_SUMS: LogicalGraph({sum_.name: var for sum_, var in terms.sums.items()}, tuple(terms.sums)),
        LOSS_OF_SUMS: LogicalGraph(_loss(terms)),
        TILE_GRADIENT: LogicalGraph({GRADIENT: _gradient(terms, scene)}),
        TILE_STATISTICS: LogicalGraph(measured_outputs, tuple(measured_sums)),
        TARGETS_OF_SUMS: LogicalGraph(targets.behind),
    }


def _loss(terms: Cut) -> dict[str, Var]:
    loss = total(terms.behind)
    inputs = {var.op.name: var for var in topological([loss]) if isinstance(var.op, ops.Input)}
    moving = [sum_ for sum_ in terms.sums if sum_.kind != SHARE]
    slopes = gradients(loss, [inputs[sum_.name] for sum_ in moving])
    return {LOSS: loss, **terms.behind, **{sum_.gradient: x for sum_, x in zip(moving, slopes, strict=True)}}


def _gradient(terms: Cut, scene: Scene) -> Var:
    cotangents = {
        var: ops.graph_input(sum_.gradient, var.type) for sum_, var in terms.sums.items() if sum_.kind != SHARE
    }
    return pull_back(cotangents, [scene.image])[0]


def _is_sum(var: Var) -> bool:
    """Whether a value is of all positions, and what it is computed from is of each."""
    return not _is_local(var.type) and any(_is_local(x.type) for x in var.inputs)


def _is_local(type_: Type) -> bool:
    return isinstance(type_, Map | Guides)


def _sum(var: Var, term: str, names: set[str]) -> Sum:
    ending, kind = _KINDS[type(var.op)]
    operand = var.inputs[0].type
    assert isinstance(operand, Map | Guides)
    trim = operand.trim if isinstance(operand, Map) else 0
    name = f"{term}.{ending}"
    numbered = (f"{name}{number}" for number in range(2, 10))
    return Sum(name if name not in names else next(x for x in numbered if x not in names), kind, operand.level, trim)


def _within_core(var: Var, core: Core) -> Var:
    """Return a sum over the core's positions: only those that have no guide yet are of all positions."""
    (x, *guides) = var.inputs
    if guides or not isinstance(x.type, Map):
        return var
    return Var(var.op, (ops.within(x, core.of(x.type)),), var.type)
