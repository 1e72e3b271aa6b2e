"""The check after every export: the gradient tells how the loss changes, and all lowerings have the same loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.export.lowering.constants import Constants, Opened
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.tiled import TiledEvaluator, Tiling, measure_content, measure_style
from impasto.runtime.engine.tiles import Span, Tile
from impasto.runtime.errors import ExportError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import DIRECT, TILE_GRADIENT, TILE_ROLES, TILE_SUMS, GraphKey
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.terms import GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, weight_of

#: Float32 losses have seven digits; their difference over a step that is still straight has three.
TOLERANCE = 1e-2

#: The share of the loss that is to change along a line, as the gradient tells it.
_CHANGE = 4e-3

#: The largest difference between the losses of two lowerings, relative to them. Matrix roots differ in the fifth digit.
_SAME = 1e-3

#: An odd size, so that every pooling has a row or column to leave out.
_HEIGHT, _WIDTH = 67, 53

#: The row where one tile's core ends and the other's begins: windows of all poolings begin there.
_BORDER = 32


@dataclass(frozen=True)
class Line:
    """A line through a picture of noise, with a recipe's loss at both ends.

    Attributes
    ----------
    direction, length
        A unit vector, and the distance between the ends.
    start, end
        The loss at the ends, the sum of the terms divided by `means`.
    means
        The terms at the start. Divided by these, all terms weigh alike.
    """

    direction: NDArray[np.float64]
    length: float
    start: float
    end: float
    means: Mapping[str, float]

    @property
    def slope(self) -> float:
        """The change of the loss along it, for a unit of length."""
        return (self.end - self.start) / self.length

    @property
    def middle(self) -> float:
        """The loss in its middle, to the second order."""
        return (self.start + self.end) / 2

    def at(self, share: float, start: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the picture at a share of the way."""
        return (start + share * self.length * self.direction).astype(np.float32)


@dataclass(frozen=True)
class SelfCheck:
    """A recipe's loss along a line through a picture of noise: its slope measured, and by the gradient.

    Attributes
    ----------
    key
        The key of the objective.
    loss
        The loss in the middle of the line.
    finite_difference
        The slope of the line, as `direct` measures it.
    gradient
        The gradient's component along the line, in its middle.
    """

    recipe: str
    key: GraphKey
    loss: float
    finite_difference: float
    gradient: float
    line: Line = field(repr=False, compare=False)

    @property
    def error(self) -> float:
        """The difference of the two, relative to the larger."""
        return abs(self.finite_difference - self.gradient) / max(abs(self.finite_difference), abs(self.gradient))

    def __str__(self) -> str:
        in_tiles = self.key.role == TILE_GRADIENT
        forms = {"small pictures": self.key.small, "by region": self.key.by_region, "in tiles": in_tiles}
        kind = (self.key.layout, *(form for form, given in forms.items() if given))
        return (
            f"{self.recipe} ({', '.join(kind)}): slope by finite difference {self.finite_difference:.6g}, "
            f"by gradient {self.gradient:.6g}, relative difference {self.error:.1e}"
        )


@np.errstate(divide="ignore", invalid="ignore")  # where a term or the gradient is 0, NaNs are compared
def self_check(
    folder: ModelFolder,
    recipe: str,
    key: GraphKey,
    *,
    constants: Constants | None = None,
    line: Line | None = None,
) -> SelfCheck:
    """Compare a recipe's gradient with a finite difference of its loss, through onnxruntime.

    The graphs run as they are written and are optimised as in a transfer. Only values that follow from the weights
    alone are computed beforehand, by the same nodes, and fed to them: so onnxruntime cannot lay the kernels of `direct`
    out for convolutions of its own.

    Parameters
    ----------
    key
        The key of the objective; the graph that goes with it measures its targets. Or that of the gradient of a tile,
        for all graphs for tiles in its layout.
    constants
        The values that follow from the weights alone, which checks share.
    line
        The line of a check of the same loss in another lowering. It spares two evaluations of three, and the losses of
        both are compared. By default one is measured.

    Raises
    ------
    ExportError
        When they differ by more than a float32 loss explains.
    """
    rng = np.random.default_rng(0)
    image, target, noise = rng.uniform(0, 255, (3, 1, 3, _HEIGHT, _WIDTH)).astype(np.float32)
    guides = {GUIDES: rng.uniform(0, 1, (1, 2, _HEIGHT, _WIDTH)).astype(np.float32)} if key.by_region else {}
    factors = rng.uniform(0, 3, (1, 1, _HEIGHT, _WIDTH)).astype(np.float32)
    constants = constants or Constants(folder.path)
    evaluate: Evaluate
    if key.role == TILE_GRADIENT:
        evaluate = _TiledGraphs(folder, recipe, key, constants).targeted(target, guides.get(GUIDES), factors)
    else:
        targets = _measured(constants, folder.graph(recipe, key.targets), {IMAGE: target, **guides})
        protection = {PROTECTION: factors} if key.by_region else {}
        evaluate = TargetedGraph(constants.open(folder.graph(recipe, key)), {**guides, **protection, **targets})
    if line is None:
        assert isinstance(evaluate, TargetedGraph)
        line, gradient = _line(evaluate, image, noise)
        loss = line.middle
    else:
        loss, slopes = evaluate(line.at(0.5, image), line.means)
        gradient = float(np.vdot(slopes, line.direction))
    check = SelfCheck(recipe, key, loss, line.slope, gradient, line)
    if not check.error <= TOLERANCE:
        raise ExportError(f"self-check failed: {check}; this is a bug, please report it")
    if not abs(loss - line.middle) <= _SAME * line.middle:
        raise ExportError(
            f"self-check failed: {check}; but the loss is {loss:.6g}, expected {line.middle:.6g} as in another "
            "lowering; this is a bug, please report it"
        )
    return check


#: (picture, weight of each term as one over a number) -> loss, gradient.
Evaluate = Callable[[NDArray[np.float32], Mapping[str, float]], tuple[float, NDArray[np.float32]]]


@dataclass(frozen=True)
class TargetedGraph:
    """An objective graph with its targets; a term's weight is one over its entry in `means`."""

    graph: Opened
    targets: Mapping[str, NDArray[np.float32]]

    def __call__(self, image: NDArray[np.float32], means: Mapping[str, float]) -> tuple[float, NDArray[np.float32]]:
        """Return loss and gradient."""
        results = self._run(image, means, (LOSS, GRADIENT))
        return float(results[LOSS]), results[GRADIENT]

    def terms(self, image: NDArray[np.float32]) -> dict[str, float]:
        """Return the value of each term."""
        names = [name for name in self.graph.runner.outputs if name not in (LOSS, GRADIENT)]
        return {name: float(x) for name, x in self._run(image, dict.fromkeys(names, 1.0), names).items()}

    def _run(
        self, image: NDArray[np.float32], means: Mapping[str, float], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        return self.graph.runner.run({IMAGE: image, **self.targets, **self.graph.feeds, **_weights(means)}, outputs)


def _weights(means: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    return {weight_of(term): np.asarray(np.float32(1) / np.float32(mean)) for term, mean in means.items()}


@dataclass(frozen=True)
class _FedGraph:
    """A graph for tiles whose constants are fed to it: see `impasto.runtime.engine.tiled.TileGraph`."""

    graph: Opened
    metadata: Metadata
    placement: Placement

    def run(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        outputs: Iterable[str] | None = None,
        *,
        give_back: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        return self.graph.runner.run({**feeds, **self.graph.feeds}, outputs, give_back=give_back)


@dataclass(frozen=True)
class _Halves(Tiling):
    """Two tiles, which see all of a picture; the core of one is its upper part, and of the other its lower one.

    So the graphs are tried out, and not how far a halo has to reach.
    """

    def cut(self, planes: Planes) -> tuple[Tile, ...]:
        height, width = planes.shape[2:]
        all_, border = Span(0, width, 0, width), self.side
        return Tile(Span(0, height, 0, border), all_), Tile(Span(0, height, border, height), all_)


@dataclass(frozen=True)
class _TiledGraphs:
    """A recipe's graphs for tiles in one layout, by region or not, by the key of one of them."""

    folder: ModelFolder
    recipe: str
    of_gradient: GraphKey
    constants: Constants
    _open: dict[GraphKey, _FedGraph] = field(default_factory=dict)

    def __call__(self, role: str, shape: tuple[int, int] | None, regions: int | None) -> _FedGraph:
        """Return the graph of a role: see `impasto.runtime.engine.tiled.Opener`."""
        layout = self.of_gradient.layout
        key = GraphKey(role, layout if role in TILE_ROLES else DIRECT, by_region=regions is not None)
        if key not in self._open:
            opened = self.constants.open(self.folder.graph(self.recipe, key))
            metadata = read_metadata(self.folder, self.recipe, key)
            self._open[key] = _FedGraph(opened, metadata, Placement("cpu", layout, threads=1))
        return self._open[key]

    def targeted(
        self, target: NDArray[np.float32], guides: NDArray[np.float32] | None, factors: NDArray[np.float32]
    ) -> Evaluate:
        """Return the loss, with targets that are measured on a picture; with its guides, if there are any.

        `factors` are those of the content's weight, which graphs without guides do not take.
        """
        regions = None if guides is None else guides.shape[1]
        metadata = self(TILE_SUMS, None, regions).metadata
        assert metadata.halo is not None
        tiling, feeds = _Halves(_BORDER, metadata.halo), {IMAGE: target}
        contents = measure_content(self, target, tiling)
        styles = measure_style(self, feeds if guides is None else {**feeds, GUIDES: guides}, tiling)

        def evaluate(image: NDArray[np.float32], means: Mapping[str, float]) -> tuple[float, NDArray[np.float32]]:
            fixed = {**styles, **_weights(means)}
            tiled = TiledEvaluator(self, metadata.recipe, tiling, target, guides, factors, contents, fixed)
            loss, _, gradient = tiled.evaluate(image)
            return loss, gradient

        return evaluate


def _line(evaluate: TargetedGraph, image: NDArray[np.float32], noise: NDArray[np.float32]) -> tuple[Line, float]:
    """Measure a line on which the loss changes fast; return it, and the gradient's component along it.

    All terms weigh alike: by a recipe's own weights its strongest term would hide a mistake in the others.
    """
    means = evaluate.terms(image)
    start, gradient = evaluate(image, means)
    # Weighting the gradient itself by noise gives a direction of strong change that is yet not the gradient's own.
    direction = (noise * gradient).astype(np.float64)
    direction /= np.linalg.norm(direction)
    slope = float(np.vdot(gradient, direction))
    line = Line(direction, _CHANGE * start / slope, start, np.nan, means)
    end, gradient = evaluate(line.at(1, image), means)
    # A parabola's slope in the middle is the mean of those at its ends; a third evaluation would tell no more.
    return replace(line, end=end), (slope + float(np.vdot(gradient, direction))) / 2


def _measured(
    constants: Constants, path: Path, feeds: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Return the targets that a graph measures; its session is closed before another is opened."""
    measure = constants.open(path)
    return {name: value.copy() for name, value in measure.runner.run({**feeds, **measure.feeds}).items()}
