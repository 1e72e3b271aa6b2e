"""What runs on a worker for the tiles of one picture: their graphs, and what is kept of each tile."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from impasto.cli.cluster.models import Manifest, find
from impasto.cli.cluster.worker import ALONE
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.references import Targets
from impasto.runtime.engine.tile_graphs import TileGraphs
from impasto.runtime.engine.tiles import Tile
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import TILE_STATISTICS, TILE_SUMS
from impasto.runtime.model.sums import CORE
from impasto.runtime.plan.terms import GUIDES, IMAGE, targets_of


@dataclass(frozen=True)
class Scene:
    """A picture in tiles, of one size.

    Attributes
    ----------
    key
        A name for it.
    manifest
        The files of the driver's model.
    recipe
        The name of the recipe.
    placement
        The device, definite, and how it is used.
    regions
        The number of regions, if there are masks.
    """

    key: str
    manifest: Manifest
    recipe: str
    placement: Placement
    regions: int | None


@dataclass(frozen=True)
class Cut:
    """A tile of the content: its window's planes, float32 [1, 3, h, w], and guides, [1, R, h, w].

    `protection` is the factor of the content's weight in the window, by the name of the graphs' input, if they take it.
    """

    tile: Tile
    planes: NDArray[np.float32]
    guides: NDArray[np.float32] | None
    protection: Targets


@dataclass
class _Kept:
    """What is kept of a tile: its fixed inputs, and the window that was evaluated last."""

    shape: tuple[int, int]
    inputs: Targets
    window: NDArray[np.float32] | None = None


@dataclass
class _OpenScene:
    """The graphs for a scene, and the tiles that this worker has measured."""

    scene: Scene
    graphs: TileGraphs
    kept: dict[int, _Kept] = field(default_factory=dict)


_open: _OpenScene | None = None


def _opened(scene: Scene) -> _OpenScene:
    """Return what is open for a scene; what was open for another one is closed."""
    global _open
    if _open is None or _open.scene.key != scene.key:
        _open = None
        folder = ModelFolder.open(find(scene.manifest))
        _open = _OpenScene(scene, TileGraphs(folder, scene.recipe, scene.placement))
    return _open


def measure(scene: Scene, number: int, cut: Cut) -> None:
    """Measure the content's targets in a tile, and keep them, with its core, guides and protection.

    Raises
    ------
    ImpastoError
        When the model cannot be used, or onnxruntime fails.
    """
    with ALONE:
        opened, core = _opened(scene), cut.tile.core()
        graph = opened.graphs(TILE_STATISTICS, cut.tile.shape, None)
        values = graph.run({IMAGE: cut.planes, CORE: core}, targets_of(graph.metadata.recipe, "content"))
        inputs = {CORE: core, **cut.protection, **{name: value.copy() for name, value in values.items()}}
        if cut.guides is not None:
            inputs[GUIDES] = cut.guides * core
        opened.kept[number] = _Kept(cut.tile.shape, inputs)


def evaluate(scene: Scene, role: str, number: int, window: NDArray[np.float32] | None, more: Targets) -> Targets | None:
    """Evaluate a graph on a tile, and return its outputs; None if the tile was not measured here.

    Parameters
    ----------
    window
        The picture's planes in the tile's window, float32 [1, 3, h, w]; by default those of the last call.
    more
        Further inputs of the graph.

    Raises
    ------
    ImpastoError
        When the model cannot be used, or onnxruntime fails.
    """
    with ALONE:
        opened = _opened(scene)
        opened.graphs.close(TILE_STATISTICS)
        kept = opened.kept.get(number)
        if kept is None or (window is None and kept.window is None):
            return None
        if window is not None:
            kept.window = window
        assert kept.window is not None
        values = opened.graphs(role, kept.shape, scene.regions).run({IMAGE: kept.window, **kept.inputs, **more})
        if role != TILE_SUMS:
            kept.window = None
        return {name: value.copy() for name, value in values.items()}


def release(key: str) -> None:
    """Give back what is open and kept for a scene; an evaluation that has not ended keeps it for itself."""
    global _open
    if _open is not None and _open.scene.key == key:
        _open = None
