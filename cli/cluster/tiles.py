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
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from impasto.cli.cluster import lanes, tile_worker
from impasto.cli.cluster.connection import Cluster, ClusterError, WorkerLost
from impasto.cli.cluster.lanes import Lanes
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
from impasto.runtime.errors import ImpastoError
from impasto.runtime.model.graphs import TILE_ROLES, TILE_STATISTICS, TILE_SUMS
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.recipe import Recipe

T = TypeVar("T")


class SpreadEngine(Engine):
    """Makes evaluators whose tiles are evaluated by the workers of a cluster; pictures in one piece stay here.

    Parameters
    ----------
    threads
        The threads of each worker; by default those of the placement.
    """

    is_here = False

    def __init__(self, cluster: Cluster, threads: int | None = None) -> None:
        super().__init__(graphs=0)
        self._cluster, self._threads = cluster, threads

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
        graphs.close(TILE_STATISTICS)
        placement = replace(graphs.placement, threads=self._threads or graphs.placement.threads)
        return SpreadEvaluator(self._cluster, graphs, placement, recipe, tiling, references, fixed, after_tile)


@dataclass(frozen=True)
class _GraphElsewhere:
    """A graph that is open elsewhere."""

    metadata: Metadata
    placement: Placement

    def run(self, *_: object, **__: object) -> Targets:
        """Refuse: workers run it."""
        raise NotImplementedError


class SpreadEvaluator(TiledEvaluator):
    """The loss of pictures whose tiles are evaluated by the workers of a cluster.

    Parameters
    ----------
    placement
        That of the workers.

    Attributes
    ----------
    travelled
        The bytes of all arrays that have travelled, to the workers and back.
    """

    def __init__(
        self,
        cluster: Cluster,
        graphs: TileGraphs,
        placement: Placement,
        recipe: Recipe,
        tiling: Tiling,
        references: References,
        fixed: Targets,
        after_tile: Callable[[TileStep], None],
    ) -> None:
        def open_graph(role: str, shape: tuple[int, int] | None, regions: int | None) -> TileGraph:
            if role not in TILE_ROLES:
                return graphs(role, shape, regions)
            key, placed = graphs.placed(role, by_region=regions is not None)
            return _GraphElsewhere(read_metadata(graphs.folder, graphs.recipe, key), placed)

        guides, factors = references.content_guides, references.factors
        super().__init__(open_graph, recipe, tiling, references.content, guides, factors, [], fixed)
        self._cluster, self._content = cluster, references.content
        self._scene = Scene(uuid.uuid4().hex, cluster.manifest, graphs.recipe, placement, self._regions)
        self._owners: dict[int, str] = {}
        self.travelled, self._counting = 0, threading.Lock()
        self.after_tile = after_tile
        for _ in self._spread(self._measure, 0, len(self.tiles)):
            pass

    def evaluate_pass(
        self, role: str, planes: Planes, more: Callable[[Tile], Targets], done: int
    ) -> Iterator[tuple[Tile, Targets]]:
        """Evaluate a graph on each tile, on all workers at once; yield the tiles in their order."""

        def evaluate(address: str, number: int, tile: Tile) -> Targets:
            inputs = more(tile)

            def ask(window: Planes | None) -> Targets | None:
                values = self._cluster.result(address, tile_worker.evaluate, self._scene, role, number, window, inputs)
                self._count(window, *inputs.values(), *(values or {}).values())
                return values

            if self._owners.get(number) != address:  # the worker that has measured it is gone
                self._measure(address, number, tile)
            if role != TILE_SUMS and (values := ask(None)):  # it has kept the window
                return values
            window = np.ascontiguousarray(tile.of(planes))
            values = ask(window)
            if values is None:  # it has started again, or works for another command, too
                self._measure(address, number, tile)
                values = ask(window)
            if values is None:
                raise ClusterError(f"worker {address}: forgets its tiles; does another command use it?")
            return values

        waiting: dict[int, Targets] = {}
        following = 0
        for number, values in self._spread(evaluate, done, 2 * len(self.tiles)):
            waiting[number] = values
            while following in waiting:
                yield self.tiles[following], waiting.pop(following)
                following += 1

    def _measure(self, address: str, number: int, tile: Tile) -> None:
        """Have a worker measure the targets of the content in a tile; it keeps them."""
        guides = None if self._guides is None else tile.of(self._guides)
        cut = Cut(tile, np.ascontiguousarray(tile.of(self._content)), guides, self._protection(tile))
        self._cluster.result(address, tile_worker.measure, self._scene, number, cut)
        self._count(cut.planes, cut.guides, *cut.protection.values())
        self._owners[number] = address

    def _count(self, *arrays: NDArray[np.float32] | None) -> None:
        with self._counting:
            self.travelled += sum(array.nbytes for array in arrays if array is not None)

    def _spread(self, work: Callable[[str, int, Tile], T], done: int, total: int) -> Iterator[tuple[int, T]]:
        """Have every tile worked on by its own worker; yield its number and what came of it, as that comes.

        `done` tiles of a `total` were done before: `after_tile` is told.

        Raises
        ------
        ClusterError
            When the scheduler, or all workers, are gone, or workers die again and again with one tile.
        """
        arrived = SimpleQueue[tuple[int, T] | Exception | None]()
        is_over = threading.Event()

        def do(address: str, number: int, tile: Tile) -> None:
            arrived.put((number, work(address, number, tile)))

        def lost(number: int, tile: Tile, address: str, again: bool) -> None:
            if not again:
                raise ClusterError(f"cluster {self._cluster.name}: {lanes.MOST_DEATHS} workers died with the same tile")
            for of, owner in list(self._owners.items()):
                if owner == address:
                    self._owners.pop(of, None)
            say(f"worker {address} is gone; its tiles are left to others")

        def run() -> None:
            try:
                Lanes(self._cluster, do, lost, is_over.is_set, self._owners.get).run(self.tiles)
                arrived.put(None)
            except Exception as error:
                arrived.put(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            while (one := arrived.get()) is not None:
                if isinstance(one, Exception):
                    raise one
                yield one
                done += 1
                if done < total:  # after the last one, nothing would be gained by an end
                    self.after_tile(TileStep(done, total))
        finally:
            is_over.set()

    def close(self) -> None:
        """Have the workers give back what they keep for this picture."""
        for address in set(self._owners.values()):
            with suppress(WorkerLost, ImpastoError):
                self._cluster.ask(address, tile_worker.release, self._scene.key)
