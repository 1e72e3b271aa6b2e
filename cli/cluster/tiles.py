"""One picture over many workers: they evaluate its tiles; the driver keeps the picture, its loss and its optimiser.

For each evaluation a tile's window travels to a worker, and its sums travel back; then the gradient of the loss with
respect to the sums of the whole picture, and the gradient of the tile's window. The content's targets of a tile stay on
the worker that has measured them, which gets the same tile again each time. All is added up in the order of the tiles,
so that the loss and the gradient are those of one process, bit for bit.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.cli.cluster import tile_worker
from impasto.cli.cluster.connection import Cluster, ClusterError
from impasto.cli.cluster.lanes import MOST_DEATHS, Lanes
from impasto.cli.cluster.tile_worker import Cut, Scene
from impasto.cli.terminal.messages import say
from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.evaluator import TileStep
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.references import References, Targets
from impasto.runtime.engine.tile_graphs import TileGraphs
from impasto.runtime.engine.tiled import TiledEvaluator, TileGraph, Tiling
from impasto.runtime.engine.tiles import Tile
from impasto.runtime.model.graphs import TILE_ROLES, TILE_SUMS
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.recipe import Recipe


class SpreadEngine(Engine):
    """Makes evaluators whose tiles are evaluated by the workers of a cluster; pictures in one piece stay here."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(graphs=0)
        self._cluster = cluster

    def tile_by_tile(
        self,
        graphs: TileGraphs,
        recipe: Recipe,
        tiling: Tiling,
        references: References,
        fixed: Targets,
        after_tile: Callable[[TileStep], None],
    ) -> TiledEvaluator:
        """Have the workers measure the content's targets, each of some tiles, and return the evaluator."""
        return SpreadEvaluator(self._cluster, graphs, recipe, tiling, references, fixed, after_tile)


@dataclass(frozen=True)
class _Described:
    """A graph that is open elsewhere."""

    metadata: Metadata
    placement: Placement

    def run(self, *_: object, **__: object) -> Targets:
        """Refuse: workers run it."""
        raise NotImplementedError


class SpreadEvaluator(TiledEvaluator):
    """The loss of pictures whose tiles are evaluated by the workers of a cluster.

    Attributes
    ----------
    travelled
        The bytes of all arrays that have travelled, to the workers and back.
    """

    def __init__(
        self,
        cluster: Cluster,
        graphs: TileGraphs,
        recipe: Recipe,
        tiling: Tiling,
        references: References,
        fixed: Targets,
        after_tile: Callable[[TileStep], None],
    ) -> None:
        def open_graph(role: str, shape: tuple[int, int] | None, regions: int | None) -> TileGraph:
            if role not in TILE_ROLES:
                return graphs(role, shape, regions)
            key, placement = graphs.placed(role, by_region=regions is not None)
            return _Described(read_metadata(graphs.folder, graphs.recipe, key), placement)

        guides = references.content_guides
        super().__init__(open_graph, recipe, tiling, references.content, guides, [], fixed)
        regions = None if guides is None else guides.shape[1]
        self._cluster, self._content, self._content_guides = cluster, references.content, guides
        self._scene = Scene(uuid.uuid4().hex, cluster.manifest, graphs.recipe, graphs.placement, regions)
        self._owners: dict[int, str] = {}
        self.travelled, self._counting = 0, threading.Lock()
        self.after_tile = after_tile
        self._spread(lambda address, number, tile: self._measure(address, number, tile), 0)

    def evaluate_pass(
        self, role: str, planes: Planes, more: Callable[[Tile], Targets], done: int
    ) -> Iterator[tuple[Tile, Targets]]:
        """Evaluate a graph on each tile, on all workers at once; yield the tiles in their order."""

        def evaluate(address: str, number: int, tile: Tile) -> Targets:
            def ask(window: Planes | None) -> Targets | None:
                inputs = more(tile)
                values = self._cluster.result(address, tile_worker.evaluate, self._scene, role, number, window, inputs)
                self._count(window, *inputs.values(), *(values or {}).values())
                return values

            if self._owners.get(number) != address:  # the worker that has measured it is gone
                self._measure(address, number, tile)
            values = ask(None) if role != TILE_SUMS else None  # it has kept the window
            values = values or ask(np.ascontiguousarray(tile.of(planes)))
            assert values is not None
            return values

        results = self._spread(evaluate, done)
        for number, tile in enumerate(self.tiles):
            yield tile, results.pop(number)

    def _measure(self, address: str, number: int, tile: Tile) -> None:
        """Have a worker measure the targets of the content in a tile; it keeps them."""
        guides = self._content_guides
        cut = Cut(tile, np.ascontiguousarray(tile.of(self._content)), None if guides is None else tile.of(guides))
        self._cluster.result(address, tile_worker.measure, self._scene, number, cut)
        self._count(cut.planes, cut.guides)
        self._owners[number] = address

    def _count(self, *arrays: NDArray[np.float32] | None) -> None:
        with self._counting:
            self.travelled += sum(array.nbytes for array in arrays if array is not None)

    def _spread(self, work: Callable[[str, int, Tile], Targets | None], done: int) -> dict[int, Targets]:
        """Have every tile worked on by its own worker; return what came of each, by number.

        Raises
        ------
        ClusterError
            When the scheduler, or all workers, are gone, or workers die again and again with one tile.
        """
        results: dict[int, Targets] = {}
        counting, total = threading.Lock(), 2 * len(self.tiles)
        count = done

        def do(address: str, number: int, tile: Tile) -> None:
            nonlocal count
            values = work(address, number, tile)
            with counting:
                if values is not None:
                    results[number] = values
                count += 1
                if count < total:
                    self.after_tile(TileStep(count, total))

        def lost(number: int, tile: Tile, address: str, again: bool) -> None:
            if not again:
                raise ClusterError(f"cluster {self._cluster.name}: {MOST_DEATHS} workers died with the same tile")
            self._owners = {of: owner for of, owner in self._owners.items() if owner != address}
            say(f"worker {address} is gone; its tiles are left to others")

        Lanes(self._cluster, do, lost, owner_of=lambda number: self._owners.get(number)).run(self.tiles)
        return results
