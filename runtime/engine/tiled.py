"""The evaluator of pictures that are too large for one graph: tile by tile, with the loss and gradient of the whole.

Pass 1 adds up, over all tiles, the sums over positions that the loss depends on. From these the loss follows, and its
gradient with respect to each sum. Pass 2 gives, for each tile, the gradient of its sums with respect to its pixels,
those of its halo included, and adds it where these lie. The sum over all tiles is the gradient of the whole picture.
`impasto.export.tiled` writes the graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.evaluator import ResidentEvaluator, TileStep, Value, ignore
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.references import Targets
from impasto.runtime.engine.tiles import Tile, tiles_of
from impasto.runtime.errors import InputError
from impasto.runtime.model.graphs import LOSS_OF_SUMS, TARGETS_OF_SUMS, TILE_GRADIENT, TILE_STATISTICS, TILE_SUMS
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.model.sums import CORE, GUIDED, SHARE, Halo, Sum
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, targets_of
from impasto.wording import option

#: Less than any sum of guides that are not zero.
_TINY = 1e-30


@dataclass(frozen=True)
class Sums:
    """The sums over positions of a whole picture, as its tiles give them.

    Attributes
    ----------
    sums
        What is summed.
    shape
        (H, W) of the picture.
    """

    sums: tuple[Sum, ...]
    shape: tuple[int, int]

    def of_all(self, parts: Iterator[tuple[Tile, Targets]]) -> Targets:
        """Return the values for the whole picture from those of all its tiles, as the graph of the loss takes them.

        A mean counts with the tile's share of positions. Guided sums are divided by the sum of their guide, which is
        the mean share of a region times the number of positions.
        """
        totals: dict[str, NDArray[np.float64]] = {}
        for tile, values in parts:
            for sum_ in self.sums:
                part = self._share(sum_, tile) * values[sum_.name].astype(np.float64)
                totals[sum_.name] = totals[sum_.name] + part if sum_.name in totals else part
        weights = self._weights(totals)
        return {
            sum_.name: _each(totals[sum_.name], 1 / weights[sum_.level] if sum_.kind == GUIDED else None)
            for sum_ in self.sums
        }

    def of_tile(self, tile: Tile, gradients: Targets, sums: Targets) -> Targets:
        """Return the gradients with respect to the sums of one tile, from those with respect to the whole picture's."""
        weights = self._weights(sums)
        return {
            sum_.gradient: _each(
                gradients[sum_.gradient] * np.float64(self._share(sum_, tile)),
                1 / weights[sum_.level] if sum_.kind == GUIDED else None,
            )
            for sum_ in self.sums
            if sum_.kind != SHARE
        }

    def _share(self, sum_: Sum, tile: Tile) -> float:
        """Return what a tile's value counts with."""
        return 1.0 if sum_.kind == GUIDED else sum_.positions(*tile.shape) / sum_.positions(*self.shape)

    def _weights(self, totals: Mapping[str, NDArray[np.floating]]) -> dict[int, NDArray[np.float64]]:
        """Return the sum of each guide, by level, [R]."""
        return {
            sum_.level: np.maximum(totals[sum_.name].astype(np.float64) * sum_.positions(*self.shape), _TINY)
            for sum_ in self.sums
            if sum_.kind == SHARE
        }


def _each(values: NDArray[np.floating], factors: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Return values times a factor for each region, if there are any, in float32."""
    if factors is not None:
        values = values * factors.reshape(-1, *(1,) * (values.ndim - 1))
    return np.asarray(values, np.float32)


class TileGraph(Protocol):
    """An open graph for tiles; a `Session` is one."""

    @property
    def metadata(self) -> Metadata:
        """Its metadata."""

    @property
    def placement(self) -> Placement:
        """The device, and how it is used."""

    def run(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        outputs: Iterable[str] | None = None,
        *,
        give_back: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """Evaluate it, see `impasto.runtime.engine.session.Runner.run`."""


class Opener(Protocol):
    """Opens the graphs for tiles of one recipe."""

    def __call__(self, role: str, shape: tuple[int, int] | None, regions: int | None) -> TileGraph:
        """Return the graph of a role, by region or not; for windows of a shape, unless it is of all tiles together."""
        ...


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut.

    Attributes
    ----------
    side
        See `impasto.runtime.engine.tiles.tiles_of`.
    halo
        What the recipe's layers ask of tiles.
    """

    side: int
    halo: Halo

    def cut(self, planes: Planes) -> tuple[Tile, ...]:
        """Divide a picture [1, 3, H, W] into tiles."""
        height, width = planes.shape[2:]
        return tiles_of(height, width, self.side, self.halo)


def measure_style(
    open_graph: Opener, feeds: Targets, tiling: Tiling, after_tile: Callable[[TileStep], None] = ignore
) -> Targets:
    """Return the targets of a style's picture, by its inputs as `References.style_feeds` has them."""
    planes, guides = feeds[IMAGE], feeds.get(GUIDES)
    tiles, regions = tiling.cut(planes), None if guides is None else guides.shape[1]
    sums = open_graph(TILE_STATISTICS, tiles[0].shape, regions).metadata.sums

    def parts() -> Iterator[tuple[Tile, Targets]]:
        for number, tile in enumerate(tiles, 1):
            graph = open_graph(TILE_STATISTICS, tile.shape, regions)
            feeds = _inputs(tile, planes, guides)
            if guides is not None:  # these are 0 outside the core already
                del feeds[CORE]
            yield tile, graph.run(feeds, [sum_.name for sum_ in sums])
            after_tile(TileStep(number, len(tiles)))

    height, width = planes.shape[2:]
    values = Sums(sums, (height, width)).of_all(parts())
    moments = {sum_.name: values[sum_.name] for sum_ in sums if sum_.kind != SHARE}
    return _copied(open_graph(TARGETS_OF_SUMS, None, regions).run(moments))


def measure_content(
    open_graph: Opener, content: Planes, tiling: Tiling, after_tile: Callable[[TileStep], None] = ignore
) -> list[Targets]:
    """Return the targets of the content's picture, for each of its tiles."""
    targets, tiles = [], tiling.cut(content)
    for number, tile in enumerate(tiles, 1):
        graph = open_graph(TILE_STATISTICS, tile.shape, None)
        names = targets_of(graph.metadata.recipe, "content")
        targets.append(_copied(graph.run(_inputs(tile, content, None), names)))
        after_tile(TileStep(number, len(tiles)))
    return targets


def _inputs(tile: Tile, planes: Planes, guides: NDArray[np.float32] | None) -> Targets:
    """Return a tile's window, its core, and any guides, [1, R, H, W], which count in the core alone."""
    core = tile.core()
    inputs = {IMAGE: np.ascontiguousarray(tile.of(planes)), CORE: core}
    return inputs if guides is None else {**inputs, GUIDES: tile.of(guides) * core}


def _copied(values: Targets) -> Targets:
    """Return copies of results, whose memory is a session's."""
    return {name: value.copy() for name, value in values.items()}


class TiledEvaluator:
    """The loss of pictures that are evaluated in tiles; see `Evaluator` for what is not told here.

    Parameters
    ----------
    open_graph
        Opens the graphs, or returns those that are open.
    tiling
        How the pictures are cut.
    content
        The content's picture, float32 [1, 3, H, W].
    guides
        Its guides, float32 [1, R, H, W], if the graphs take them.
    factors
        The factor of its weight at each pixel, float32 [1, 1, H, W], if the graphs take it.
    contents
        The targets of the content, for each tile.
    fixed
        The targets of the style, and the effective weights of the terms, by the graph's names.

    Attributes
    ----------
    recipe
        The recipe in force, with the weights that were asked for.
    metadata
        The metadata of the graph of sums.
    tiles
        The tiles of a picture.
    after_tile
        Called after every tile of both passes but the last; it may raise an exception, which ends the evaluation.
    """

    def __init__(
        self,
        open_graph: Opener,
        recipe: Recipe,
        tiling: Tiling,
        content: Planes,
        guides: NDArray[np.float32] | None,
        factors: NDArray[np.float32] | None,
        contents: Sequence[Targets],
        fixed: Targets,
    ) -> None:
        self._open, self.recipe, self.shape = open_graph, recipe, (content.shape[2], content.shape[3])
        self.warnings: tuple[str, ...] = ()
        self.tiles = tiling.cut(content)
        self.after_tile: Callable[[TileStep], None] = ignore
        self._contents, self._fixed = contents, fixed
        self._guides, self._factors = guides, factors
        self._regions = None if guides is None else guides.shape[1]
        graph = self._graph(TILE_SUMS, self.tiles[0])
        self.metadata, self.lowering = graph.metadata, graph.metadata.lowering
        self.device, self.precision = graph.placement.device, graph.placement.precision
        self._sums = Sums(graph.metadata.sums, self.shape)
        self._loss = open_graph(LOSS_OF_SUMS, None, self._regions)

    def evaluate(self, planes: Planes) -> Value:
        """Return the loss of a picture, float32 [1, 3, H, W], its terms and its gradient; nothing is checked.

        Raises
        ------
        TransferError
            When onnxruntime fails, for instance for lack of memory.
        """
        sums = self._sums.of_all(self.evaluate_pass(TILE_SUMS, planes, lambda tile: {}, 0))
        results = self._loss.run({**sums, **self._fixed})
        gradients = _copied({sum_.gradient: results[sum_.gradient] for sum_ in self._sums.sums if sum_.kind != SHARE})
        terms = {name: float(value) for name, value in results.items() if name not in gradients}
        total = np.zeros_like(planes)
        pulled = self.evaluate_pass(
            TILE_GRADIENT, planes, lambda tile: self._sums.of_tile(tile, gradients, sums), len(self.tiles)
        )
        for tile, values in pulled:
            window = tile.of(total)
            window += values[GRADIENT]
        return Value(terms.pop(LOSS), terms, total)

    def evaluate_pass(
        self, role: str, planes: Planes, more: Callable[[Tile], Targets], done: int
    ) -> Iterator[tuple[Tile, Targets]]:
        """Evaluate a graph on each tile, and yield its outputs, in the order of the tiles.

        Parameters
        ----------
        role
            That of the graph: of the sums, or of the gradient.
        more
            Returns further inputs for a tile.
        done
            The number of tiles that were done before, in the other pass.
        """
        for number, (tile, content) in enumerate(zip(self.tiles, self._contents, strict=True), 1):
            feeds = {**_inputs(tile, planes, self._guides), **self._protection(tile), **content, **more(tile)}
            # After the last tile its memory is free for the other pass.
            yield tile, self._graph(role, tile).run(feeds, give_back=number == len(self.tiles))
            if done + number < 2 * len(self.tiles):  # after the last one, nothing would be gained by an end
                self.after_tile(TileStep(done + number, 2 * len(self.tiles)))

    def _protection(self, tile: Tile) -> Targets:
        """Return the factor of the content's weight in a tile's window, for graphs that take it."""
        if self._factors is None or not self.metadata.protects:
            return {}
        return {PROTECTION: np.ascontiguousarray(tile.of(self._factors))}

    def _graph(self, role: str, tile: Tile) -> TileGraph:
        return self._open(role, tile.shape, self._regions)

    def resident(self) -> ResidentEvaluator:
        """Refuse an optimiser on the device.

        Raises
        ------
        InputError
            Always: a picture in tiles is on the host.
        """
        optimizer, tile = option("optimizer", "lbfgs-device"), option("tile", "off")
        raise InputError(f"{optimizer}: not with tiles, whose gradients are added up on the host; try {tile}")

    def close(self) -> None:
        """Give nothing back: see `Evaluator.close`."""
