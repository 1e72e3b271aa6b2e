"""The graphs for tiles of one recipe, opened when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from impasto.runtime.engine.opening import open_session, read_metadata
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.providers import provider_of
from impasto.runtime.engine.session import Session
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import BFLOAT16, SINGLE, TILE_ROLES, TILE_STATISTICS, TILE_SUMS, GraphKey, extents
from impasto.runtime.model.sums import Halo


def halo_of(folder: ModelFolder, recipe: str, layout: str) -> Halo | None:
    """Return what a recipe asks of tiles in a layout; None if the folder is of a version without graphs for tiles.

    Raises
    ------
    ModelError
        When the folder has no such recipe, or the graph is damaged.
    """
    key = GraphKey(TILE_SUMS, layout)
    if recipe in folder.recipes() and not (folder.path / key.file(recipe)).exists():
        return None
    return read_metadata(folder, recipe, key).halo


def halos_of(folder: ModelFolder, recipe: str) -> Callable[[str], Halo | None]:
    """Return `halo_of` of one recipe, which looks into the folder once for each layout: plans ask for it often."""
    return lru_cache(partial(halo_of, folder, recipe))


class TileGraphs:
    """The graphs for tiles of one recipe: see `impasto.runtime.engine.tiled.Opener`.

    On the CPU a graph serves windows of all sizes. Elsewhere it is opened for one size, most often that of all
    windows of a picture. Of graphs that measure targets, only the last one stays open there.

    Parameters
    ----------
    folder, recipe
        The model folder, and the name of the recipe.
    placement
        The device, definite, and how it is used. What is of all tiles together runs on the CPU. Nothing is recorded:
        every tile is another picture, in another place.
    """

    def __init__(self, folder: ModelFolder, recipe: str, placement: Placement) -> None:
        self.folder, self.recipe, self.placement = folder, recipe, placement.unrecorded()
        self._sessions: dict[tuple[GraphKey, tuple[int, int] | None, int | None], Session] = {}

    def __call__(self, role: str, shape: tuple[int, int] | None, regions: int | None) -> Session:
        """Return the graph of a role, open for windows of this shape."""
        key, placement = self.placed(role, by_region=regions is not None)
        on_cpu = placement.device == "cpu"
        place = key, None if on_cpu else shape, None if on_cpu else regions
        if place not in self._sessions:
            if role == TILE_STATISTICS:
                self.close(TILE_STATISTICS)
            sides = extents(*shape, regions) if shape else None
            self._sessions[place] = open_session(self.folder, self.recipe, key, placement, sides)
        return self._sessions[place]

    def close(self, role: str) -> None:
        """Close the graphs of a role; they are opened again when they are used."""
        self._sessions = {place: session for place, session in self._sessions.items() if place[0].role != role}

    def placed(self, role: str, *, by_region: bool) -> tuple[GraphKey, Placement]:
        """Return which graph of the recipe has a role, and where it runs."""
        if role not in TILE_ROLES:
            on_host = Placement("cpu", threads=self.placement.threads, precision=SINGLE)
            return GraphKey(role, by_region=by_region), on_host
        placement = self.placement.of_targets if role == TILE_STATISTICS else self.placement
        precision = provider_of(placement.device).graphs_of(placement.precision)
        if role == TILE_STATISTICS and precision != BFLOAT16:
            precision = SINGLE
        return GraphKey(role, self.placement.layout, by_region, precision=precision), placement
