"""The engine: open graphs and the targets of styles. They are costly, and kept for the next picture.

A second picture of the same size in one process starts at once: its graphs are open, and its styles are measured.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from impasto.runtime.engine.evaluator import SessionEvaluator, TileStep, ignore
from impasto.runtime.engine.opening import open_session, read_metadata, tell_unrecorded
from impasto.runtime.engine.placement import OFF, Placement, on_device
from impasto.runtime.engine.providers import is_host, provider_of
from impasto.runtime.engine.references import References, Targets, average, measure
from impasto.runtime.engine.session import Session
from impasto.runtime.engine.tile_graphs import TileGraphs, halo_of
from impasto.runtime.engine.tiled import TiledEvaluator, Tiling, measure_content, measure_style
from impasto.runtime.errors import ModelError, TransferError
from impasto.runtime.machine import processors
from impasto.runtime.model.default import export_again
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import (
    BFLOAT16,
    HALF,
    OBJECTIVE,
    TILE_STATISTICS,
    WINOGRAD,
    GraphKey,
    extents,
    is_small,
)
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.model.sums import Halo
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import GUIDES, IMAGE, PROTECTION, effective_weights, weight_of
from impasto.wording import option

#: Graphs of larger pictures are not kept: memory is short then, and opening takes little of the time.
KEPT_PIXELS = 512 * 512


class TermWeights(NamedTuple):
    """The weights of a recipe's terms, in its own conventions, and shares of layers; None is the recipe's own."""

    content: float | None = None
    style: float | None = None
    tv: float | None = None
    content_layers: Mapping[str, float] | None = None
    style_layers: Mapping[str, float] | None = None


@dataclass(frozen=True)
class _Graph:
    """A recipe's graph and its placement; `identity` is that of the graph's file, which may be written anew."""

    folder: ModelFolder
    recipe: str
    key: GraphKey
    placement: Placement
    identity: tuple[int, ...]
    sides: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        folder: ModelFolder,
        recipe: str,
        key: GraphKey,
        placement: Placement,
        sides: Mapping[str, int] = MappingProxyType({}),
    ) -> _Graph:
        """Describe a graph; `sides` are the dimensions that it is opened for, unless it serves all sizes."""
        fixed = sides if placement.device != "cpu" else {}
        placement = replace(placement, tile=OFF, memory=None)  # no graph depends on these
        return cls(folder, recipe, key, placement, folder.identity(folder.graph(recipe, key)), dict(fixed))

    def serves_with(self, other: _Graph) -> bool:
        """Whether both are used for the same pictures: as the graph of the loss, and the one that measures targets."""
        ours, theirs = (
            replace(g, key=g.key.targets, placement=g.placement.of_targets, identity=(), sides={})
            for g in (self, other)
        )
        return ours == theirs and (self.key != other.key or self.identity == other.identity)


class Engine:
    """Makes evaluators; it uses graphs that are open already, if there are any.

    A graph serves one evaluator at a time. Once nothing refers to the evaluator, the graph is kept for the next one: on
    a CPU, if its pictures are small and memory need not be saved. It is closed when graphs of another recipe, another
    kind or another placement are opened. A file that was written again is opened again.

    Parameters
    ----------
    graphs
        The number of unused open graphs that are kept; the least recently used one is closed.
    targets
        The number of bytes of styles' targets that are kept.

    Attributes
    ----------
    is_here
        Whether this machine evaluates all graphs: then the times of a run tell something about it.
    """

    is_here = True

    def __init__(self, graphs: int = 2, targets: int = 64_000_000) -> None:
        self._most_graphs, self._most_bytes = graphs, targets
        self._graphs: OrderedDict[_Graph, list[Session]] = OrderedDict()
        self._targets: OrderedDict[tuple[_Graph, str], Targets] = OrderedDict()
        self._lock = threading.Lock()
        self._returned: deque[tuple[_Graph, Session, int]] = deque()  # finalizers only append: they may run anywhere
        _ENGINES.add(self)

    def evaluator(
        self,
        folder: ModelFolder,
        recipe: str,
        references: References,
        placement: Placement,
        weights: TermWeights = TermWeights(),  # noqa: B008  # immutable
        after_tile: Callable[[TileStep], None] = ignore,
    ) -> SessionEvaluator | TiledEvaluator:
        """Return the loss of pictures of the content's size, with its targets measured.

        Parameters
        ----------
        recipe
            The name of a recipe in the folder.
        weights
            Weights in place of the recipe's own.
        after_tile
            Called after every tile whose targets are measured, and for the evaluator's: see `Evaluator`.

        Raises
        ------
        InputError
            When the model, the device or a weight cannot be used.
        TransferError
            When measuring the targets fails; or, on CUDA, a first evaluation.
        """
        if placement.side:  # on no device an older folder has graphs for tiles
            _halo(folder, recipe, placement.layout)
        height, width = references.shape
        by_region = references.guided is not None
        if references.protection and not references.protection.is_idle:
            check_protects(folder, recipe)
        sides = extents(height, width, references.guided)

        def work(resolved: Placement) -> SessionEvaluator | TiledEvaluator:
            """Use one graph after the other: with a large picture, the first gives its memory back before."""
            if resolved.side:
                self.clear_graphs()
                return self._tiled(folder, recipe, references, resolved, weights, after_tile, warn=placement)
            keeps = self.keeps(resolved, height * width)
            if not keeps:
                self.clear_graphs()
            # A content target has the layout of the objective's activations: both are for the content's size.
            small = is_small(resolved.layout, height, width)
            precision = provider_of(resolved.device).graphs_of(resolved.precision)
            key = GraphKey(OBJECTIVE, resolved.layout, by_region, small, precision)
            of_targets = _Graph.of(folder, recipe, key.targets, resolved.of_targets)
            targets = self._measure(of_targets, references, keeps=keeps)
            if (guides := references.content_guides) is not None:
                targets[GUIDES] = guides

            def open_one(placed: Placement) -> SessionEvaluator:
                graph = _Graph.of(folder, recipe, key, placed, sides)
                session = self._opened(graph)
                chosen = session.metadata.recipe.with_weights(*weights)
                feeds = {**targets, **_effective(session.metadata, chosen, height, width)}
                if session.metadata.protects and (factors := references.factors) is not None:
                    feeds[PROTECTION] = factors
                warned = warnings_about(folder, session.metadata, session.device, placement)
                evaluator = SessionEvaluator(session, chosen, (height, width), feeds, warned)
                if keeps:
                    lent = graph, session, os.getpid()
                    evaluator.give_back = finalizer = weakref.finalize(evaluator, self._returned.append, lent)
                    finalizer.atexit = False
                return evaluator

            return _tried_out(open_one, resolved, references)

        return on_device(placement, work, by_region=by_region)

    def _tiled(
        self,
        folder: ModelFolder,
        recipe: str,
        references: References,
        placement: Placement,
        weights: TermWeights,
        after_tile: Callable[[TileStep], None],
        *,
        warn: Placement,
    ) -> TiledEvaluator:
        """Return the loss of pictures in tiles, with its targets measured in tiles; `warn` is the placement asked for.

        Raises
        ------
        ModelError
            When the model folder has no graphs for tiles.
        """
        assert placement.side is not None
        halo = _halo(folder, recipe, placement.layout)
        metadata = read_metadata(folder, recipe)
        tiling, graphs = Tiling(placement.side, halo), TileGraphs(folder, recipe, placement)
        styles = [measure_style(graphs, feeds, tiling, after_tile) for feeds in references.style_feeds]
        chosen, (height, width) = metadata.recipe.with_weights(*weights), references.shape
        fixed = {**average(references, metadata, styles), **_effective(metadata, chosen, height, width)}
        evaluator = self.tile_by_tile(graphs, chosen, tiling, references, fixed, after_tile)
        evaluator.after_tile = after_tile
        evaluator.warnings = warnings_about(folder, evaluator.metadata, evaluator.device, warn)
        return evaluator

    def tile_by_tile(
        self,
        graphs: TileGraphs,
        recipe: Recipe,
        tiling: Tiling,
        references: References,
        fixed: Targets,
        after_tile: Callable[[TileStep], None],
    ) -> TiledEvaluator:
        """Measure the content's targets in tiles, and return the evaluator; for `fixed` see `TiledEvaluator`."""
        contents = measure_content(graphs, references.content, tiling, after_tile)
        graphs.close(TILE_STATISTICS)
        guides, factors = references.content_guides, references.factors
        return TiledEvaluator(graphs, recipe, tiling, references.content, guides, factors, contents, fixed)

    def keeps(self, placement: Placement, pixels: int) -> bool:
        """Whether graphs with this placement, for pictures of so many pixels, are kept."""
        small = pixels <= KEPT_PIXELS and not placement.low_memory
        return small and is_host(placement.device) and self._most_graphs > 0

    def _measure(self, graph: _Graph, references: References, *, keeps: bool) -> Targets:
        """Return all targets: the content's, and the average of the styles', each measured once.

        The graph is kept afterwards, or closed.
        """
        sessions = _Sessions(self, graph, keeps=keeps)
        styles: list[Targets] = []
        for number, feeds in enumerate(references.style_feeds):
            key = graph, references.key(number)
            with self._lock:
                known = self._targets.get(key)
            styles.append(known or measure(sessions.opened_for(feeds), feeds, "style"))
            self._remember(key, styles[-1])
        feeds = references.content_feeds
        session = sessions.opened_for(feeds)
        targets = {**measure(session, feeds, "content"), **average(references, session.metadata, styles)}
        sessions.give_back()
        return targets

    def _remember(self, key: tuple[_Graph, str], targets: Targets) -> None:
        with self._lock:
            self._targets[key] = targets
            self._targets.move_to_end(key)
            while sum(array.nbytes for kept in self._targets.values() for array in kept.values()) > self._most_bytes:
                self._targets.popitem(last=False)

    def _opened(self, graph: _Graph) -> Session:
        """Return a graph that is open and not in use."""
        return self._take(graph) or open_session(graph.folder, graph.recipe, graph.key, graph.placement, graph.sides)

    def _take(self, graph: _Graph) -> Session | None:
        """Return an open graph that is not in use; if there is none, close what is not used beside it."""
        with self._lock:
            self._collect()
            if sessions := self._graphs.pop(graph, []):
                session = sessions.pop()
                if sessions:
                    self._graphs[graph] = sessions
                return session
            for other in [known for known in self._graphs if not known.serves_with(graph)]:
                del self._graphs[other]
        return None

    def _collect(self) -> None:
        """Keep the graphs that were returned, but for those that have failed."""
        while self._returned:
            graph, session, process = self._returned.popleft()
            if process != os.getpid():
                _leak(session)
            elif not session.has_failed:
                self._graphs.setdefault(graph, []).append(session)
                self._graphs.move_to_end(graph)
        while sum(map(len, self._graphs.values())) > self._most_graphs:
            oldest, sessions = next(iter(self._graphs.items()))
            del sessions[0]
            if not sessions:
                del self._graphs[oldest]

    def clear_graphs(self) -> None:
        """Close all unused graphs."""
        with self._lock:
            self._collect()
            self._graphs.clear()

    def clear(self) -> None:
        """Close all unused graphs, and forget all targets."""
        self.clear_graphs()
        with self._lock:
            self._targets.clear()

    def leave_to_parent(self) -> None:
        """In a forked process, neither use nor close the parent's graphs: their threads were not forked with them."""
        _leak(self._graphs)
        self._graphs, self._lock = OrderedDict(), threading.Lock()


class _Sessions:
    """The graph that measures targets, open for one picture after the other."""

    def __init__(self, engine: Engine, graph: _Graph, *, keeps: bool) -> None:
        self._engine, self._graph, self._keeps = engine, graph, keeps
        self._open: tuple[_Graph, Session] | None = None

    def opened_for(self, feeds: Targets) -> Session:
        """Return the graph, open for the size of these pictures if it is opened for one size."""
        graph, (height, width) = self._graph, feeds[IMAGE].shape[2:]
        if provider_of(graph.placement.device).plugin:
            graph = replace(graph, sides=extents(height, width, feeds[GUIDES].shape[1] if GUIDES in feeds else None))
        if self._open is None or self._open[0] != graph:
            self.give_back()
            self._open = graph, self._engine._opened(graph)
        return self._open[1]

    def give_back(self) -> None:
        """Give the open graph back to the engine, which keeps it or not."""
        if self._open and self._keeps:
            self._engine._returned.append((*self._open, os.getpid()))
        self._open = None


def _leak(value: object) -> None:
    """Keep a value for ever: Python does not destroy it when the process ends, either."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _leave_all() -> None:
    for engine in list(_ENGINES):
        engine.leave_to_parent()


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)

#: The engine of the process: the default one.
ENGINE = Engine()


def release_memory() -> None:
    """Close the graphs, and forget the targets, that `stylize` and `Objective.open` keep for the next picture."""
    ENGINE.clear()


def warnings_about(folder: ModelFolder, metadata: Metadata, device: str, placement: Placement) -> tuple[str, ...]:
    """Return warnings of choices that are possible, but only do harm; `placement` is the one asked for."""
    warnings_: list[str] = []
    if placement.precision == HALF and is_host(device):
        warnings_.append(f"{option('precision', placement.precision)}: on a CPU it only takes longer; leave it out")
    slow = placement.precision == BFLOAT16 and is_host(device) and not processors.multiplies_bfloat16()
    if slow:
        warnings_.append(
            f"{option('precision', placement.precision)}: on this processor it only takes longer; leave it out"
        )
    if placement.lowering == WINOGRAD and device != "cpu":
        lowering = option("lowering", placement.lowering)
        warnings_.append(f"{lowering}: is made for CPUs, and some of it runs on one; leave it out")
    if metadata.random_weights:
        warnings_.append(f"model {folder.path} has random weights: good for tests, useless for pictures")
    return tuple(warnings_)


def _effective(metadata: Metadata, recipe: Recipe, height: int, width: int) -> Targets:
    """Return the weights of a recipe's terms as inputs of a graph, for a picture of height x width pixels."""
    effective = effective_weights(recipe, metadata.sizes(height, width), height, width)
    with np.errstate(over="ignore"):  # an infinite weight makes the loss infinite, and that is an error
        return {weight_of(term): np.array(value, np.float32) for term, value in effective.items()}


def _halo(folder: ModelFolder, recipe: str, layout: str) -> Halo:
    """Return what a recipe asks of tiles; refuse a model folder that has no graphs for them."""
    if (halo := halo_of(folder, recipe, layout)) is None:
        older = "has no graphs for tiles, it is of an older version"
        raise ModelError(f"model {folder.path}: {older}; {export_again(folder.path)}")
    return halo


def check_protects(folder: ModelFolder, recipe: str) -> None:
    """Refuse a recipe whose graphs do not take the factor of the content's weight at each pixel.

    Raises
    ------
    ModelError
        Names the command that exports it again.
    """
    if not read_metadata(folder, recipe, GraphKey(by_region=True)).protects:
        older = f"its recipe {recipe!r} cannot protect a part of the picture, it is of an older version"
        raise ModelError(f"model {folder.path}: {older}; {export_again(folder.path)}")


def _tried_out(
    open_one: Callable[[Placement], SessionEvaluator], placement: Placement, references: References
) -> SessionEvaluator:
    """Return an evaluator; on a GPU, one that has been used once.

    There the first evaluation takes the memory, loads the kernels and is recorded, so that only it shows whether the
    evaluator works. A graph that cannot be recorded is opened again without recording.

    Raises
    ------
    TransferError
        When it cannot be evaluated either way.
    """
    evaluator = open_one(placement)
    if is_host(placement.device):
        return evaluator
    try:
        evaluator.evaluate(references.content)
        return evaluator
    except TransferError:
        if not evaluator.session.placement.recorded:
            raise
    del evaluator  # its memory is needed again
    evaluator = open_one(placement.unrecorded())
    evaluator.evaluate(references.content)
    if placement.cuda.graph:
        tell_unrecorded(evaluator.session.name)
    return evaluator
