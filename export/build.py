"""Weights and recipes -> a model folder: graphs are built, checked, tried out, and only then put in place."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import onnx
from onnx import helper

import impasto
from impasto import unfinished
from impasto.export import losses
from impasto.export.lbfgs import algebra
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.bfloat import bfloat
from impasto.export.lowering.constants import Constants
from impasto.export.lowering.direct import direct
from impasto.export.lowering.half import half
from impasto.export.lowering.tiles import LARGE_TILING
from impasto.export.lowering.winograd import measuring, seldom, small, winograd
from impasto.export.networks import NETWORKS, Network, Preprocessing
from impasto.export.selfcheck import SelfCheck, self_check
from impasto.export.tiled import LogicalGraph, tile_graphs
from impasto.export.weights.weights import Provenance, Weights
from impasto.export.weights_file import WeightsFile, read_graph, write_weights
from impasto.runtime.engine.footprints import FOOTPRINTS, NOTHING
from impasto.runtime.errors import (
    ExportError,
    InputError,
    MemoryShortage,
    NameTaken,
    OutputError,
    RecipeError,
    TransferError,
)
from impasto.runtime.machine.memory import room
from impasto.runtime.model.folder import NOTICE_FILE, WEIGHTS_FILE, ModelFolder
from impasto.runtime.model.graphs import (
    ALGEBRA,
    DIRECT,
    GRAPHS,
    OBJECTIVE,
    SINGLE,
    STATISTICS,
    TILE_GRADIENT,
    TILE_ROLES,
    TILE_STATISTICS,
    WINOGRAD,
    GraphKey,
    algebra_file,
)
from impasto.runtime.model.metadata import METADATA_KEY, Layer, Metadata
from impasto.runtime.pictures import places
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import PROTECTION
from impasto.runtime.storage.names import free_name
from impasto.shortage import advice, limits
from impasto.wording import option

#: The lowerings by layout and precision; the one of `winograd` is for objectives of larger pictures.
_LOWERINGS = {(lowering.layout, lowering.precision): lowering for lowering in (direct, half, bfloat, winograd)}

#: The graphs whose gradients are tried out. In lower precision the difference of two losses would be rounding.
CHECKED = tuple(key for key in GRAPHS if key.role == OBJECTIVE and key.precision == SINGLE)

#: The same for tiles: all graphs for tiles in a layout are tried out by that of their gradient.
CHECKED_IN_TILES = tuple(key for key in GRAPHS if key.role == TILE_GRADIENT and key.precision == SINGLE)

#: The number of graphs that are tried out at once, on one core each. They take a gigabyte together, most of it kernels
#: that they share.
_AT_ONCE = 2

#: After so many seconds without a change, a folder that an export builds in counts as left by a killed one.
_ABANDONED = 3600.0


def export_model(
    folder: str | Path,
    recipes: Sequence[Recipe],
    weights: Weights,
    *,
    force: bool = False,
    notify: Callable[[str], None] | None = None,
    checked: Callable[[SelfCheck], None] | None = None,
) -> list[SelfCheck]:
    """Write a model folder, or add recipes to one that holds the same weights.

    Everything is built and checked in a folder beside, which is renamed at the end. A failure before that leaves the
    old folder untouched. Files in the folder that are not the exporter's are kept.

    Parameters
    ----------
    force
        Replace recipes that the folder has, or its weights and with them all of its recipes; drop recipes whose graphs
        are damaged.
    notify
        Called with a line for every recipe that is done, and with the recipes that are dropped.
    checked
        Called with every check that is passed.

    Returns
    -------
    list of SelfCheck
        Finite difference and gradient, for each recipe, lowering and size of picture, with guides and without.

    Raises
    ------
    RecipeError, OutputError
        Before any work: when a recipe names a layer that the network lacks, or the folder cannot be written to.
    ExportError
        When a graph fails its checks.
    MemoryShortage
        When there is too little memory to check it.
    NameTaken
        When another program has written to the folder meanwhile, and its work would be lost: the model is then in
        another folder beside it.
    """
    folder, notify, checked = Path(folder), notify or (lambda line: None), checked or (lambda check: None)
    network = NETWORKS[weights.network]
    _check_recipes(recipes, network)
    check_folder(folder)
    _check_room(recipes)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        prefix = _prefix(folder)
        with unfinished.removed(lambda: tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix)) as beside:
            staging = Path(beside) / folder.name
            staging.mkdir()
            file = write_weights(weights, staging / WEIGHTS_FILE)
            (staging / NOTICE_FILE).write_text(notice(weights.provenance), "utf-8")
            _kept_recipes(folder, recipes, file, force=force, notify=notify)
            digests = {recipe.name: _write_graphs(staging, recipe, network, weights, file) for recipe in recipes}
            for name in ALGEBRA:
                _save(algebra(name), staging / algebra_file(name))
            checks = _check_all(staging, digests, notify, checked)
            try:  # another export may have ended meanwhile
                kept = _kept_recipes(folder, recipes, file, force=force, notify=lambda line: None)
            except OutputError as error:
                raise _placed_beside(staging, folder, error) from None
            _carry_over(folder, staging, kept)
            with unfinished.unbroken():
                _put_in_place(staging, folder, Path(beside) / "previous")
    except OSError as error:
        raise OutputError(
            f"model {folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    return checks


def _check_recipes(recipes: Sequence[Recipe], network: Network) -> None:
    known = {layer.name for layer in network.layers}
    names = [recipe.name for recipe in recipes]
    for recipe in recipes:
        if names.count(recipe.name) > 1:
            raise RecipeError(f"recipe {recipe.name!r} is given twice; give each its own name")
        for layer in recipe.layers:
            if layer not in known:
                raise RecipeError(f"recipe {recipe.name!r}: {network.name} has no layer {layer}; choose one it has")


def check_folder(folder: Path) -> None:
    """Refuse, with or without force, to write to anything but a model folder or an empty one.

    Raises
    ------
    OutputError
        When it is a file, a folder that holds other things but no graphs, or cannot be read.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"model {folder}: is a file; expected a folder, or a name that is free")
        if folder.is_dir() and any(folder.iterdir()) and not ModelFolder(folder).recipes():
            raise OutputError(f"model {folder}: holds something else; choose a new or empty folder")
    except OSError as error:
        raise OutputError(f"model {folder}: cannot be looked into ({error.strerror}); choose another folder") from None


def notice(provenance: Provenance) -> str:
    """Return the text that goes with the weights: their source, authors and licence."""
    rows = "\n".join(f"{key + ':':15}{value}" for key, value in asdict(provenance).items())
    return f"The network weights in {WEIGHTS_FILE}\n\n{rows}\n"


# --- graphs ---------------------------------------------------------------------------------------------------


def logical_graphs(
    recipe: Recipe, network: Network, preprocessing: Preprocessing
) -> dict[tuple[str, bool], LogicalGraph]:
    """Return a recipe's logical graphs, for each role, by region or not."""
    roles = {OBJECTIVE: losses.objective, STATISTICS: losses.statistics}
    logical: dict[tuple[str, bool], LogicalGraph] = {}
    for by_region in (False, True):
        tiled = tile_graphs(recipe, network, preprocessing, guided=by_region)
        logical |= {(role, by_region): graph for role, graph in tiled.items()}
        for role, make in roles.items():
            logical[role, by_region] = LogicalGraph(make(recipe, network, preprocessing, guided=by_region))
    return logical


def lowering_of(key: GraphKey) -> Lowering:
    """Return the lowering of a graph; those of `winograd` differ in how they cut maps.

    Graphs for tiles cut maps into fewer strips, the more seldom they are evaluated the fewer: so their files are small.
    """
    if key.layout == WINOGRAD:
        if key.small:
            return small
        if key.role == TILE_STATISTICS or (key.role in TILE_ROLES and key.by_region):
            return seldom
        if key.role in (STATISTICS, *TILE_ROLES):
            return measuring
    return _LOWERINGS[key.layout, key.precision]


def _write_graphs(
    staging: Path, recipe: Recipe, network: Network, weights: Weights, file: WeightsFile
) -> dict[GraphKey, bytes]:
    """Write a recipe's graphs; return a hash of each one's computation, without its name."""
    digests: dict[GraphKey, bytes] = {}
    logical = logical_graphs(recipe, network, weights.preprocessing)
    for key in GRAPHS:
        graph = logical[key.role, key.by_region]
        model = lowering_of(key).lower("", graph.outputs, file.tensors)
        digests[key] = hashlib.sha256(model.SerializeToString(deterministic=True)).digest()
        model.graph.name = f"{network.name} {recipe.name} {key.kind}"
        metadata = _metadata(recipe, network, weights.provenance, file, key, graph)
        helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
        _save(model, staging / key.file(recipe.name))
    return digests


def _save(model: onnx.ModelProto, path: Path) -> None:
    onnx.save(model, path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} fails onnx.checker ({error}); this is a bug, please report it") from error


def _check_all(
    staging: Path,
    recipes: Mapping[str, Mapping[GraphKey, bytes]],
    notify: Callable[[str], None],
    checked: Callable[[SelfCheck], None],
) -> list[SelfCheck]:
    """Try every recipe's gradient out, in all lowerings, with guides and without; report each check in turn.

    Recipes are given with a hash of each of their graphs. Some recipes differ in weights only, which are inputs: equal
    graphs are tried out once.
    """
    folder = ModelFolder(staging)
    begun: dict[tuple[bytes, bytes], Future[SelfCheck]] = {}
    checks: list[SelfCheck] = []

    # A limit on addresses may leave no room for the constants of several lowerings at once.
    constants = None if limits() else Constants(staging)

    def begin(recipe: str, key: GraphKey) -> Future[SelfCheck]:
        digests = recipes[recipe][key.targets], recipes[recipe][key]
        if digests not in begun:
            # It only waits for a check that was begun before it, which is done or under way.
            plain = replace(key, role=OBJECTIVE, layout=DIRECT, small=False)
            first = None if key == plain else begin(recipe, plain)
            check = partial(self_check, folder, recipe, key, constants=constants)
            begun[digests] = executor.submit(lambda: check(line=first.result().line if first else None))
        return begun[digests]

    with ThreadPoolExecutor(1 if limits() else _AT_ONCE) as executor:
        pending = {recipe: [begin(recipe, key) for key in (*CHECKED, *CHECKED_IN_TILES)] for recipe in recipes}
        try:
            for recipe, own in pending.items():
                began = time.perf_counter()
                for check in own:
                    checks.append(replace(check.result(), recipe=recipe))
                    checked(checks[-1])
                notify(f"{recipe}: {len(GRAPHS)} graphs, tried out in {time.perf_counter() - began:.1f} s")
        except (MemoryShortage, MemoryError) as error:
            raise MemoryShortage(f"self-check: too little memory to try the graphs out; {advice()}") from error
        except TransferError as error:
            raise ExportError(f"self-check failed: {error}") from error
        finally:  # after a failure, or Ctrl-C, no more are begun
            executor.shutdown(cancel_futures=True)
    return checks


def _check_room(recipes: Sequence[Recipe]) -> None:
    """Refuse to try graphs out where a limit on addresses leaves no room for them: onnxruntime could abort."""
    left = room() if limits() else None
    needed = max(FOOTPRINTS[WINOGRAD, False, False].peak(recipe, 0, 0, NOTHING).at_most for recipe in recipes)
    if left and left.size < needed:
        sizes = f"that takes {needed / 1e6:.0f} MB, and {left.size / 1e6:.0f} are left"
        raise MemoryShortage(f"self-check: too little memory to try the graphs out ({sizes}); {advice()}")


def _metadata(
    recipe: Recipe,
    network: Network,
    provenance: Provenance,
    file: WeightsFile,
    key: GraphKey,
    graph: LogicalGraph,
) -> Metadata:
    return Metadata(
        network=network.name,
        lowering=key.layout,
        kind=key.kind,
        recipe=recipe,
        layers=tuple(Layer(x.name, x.outputs, x.level) for x in network.layers if x.name in recipe.layers),
        weights=asdict(provenance),
        weights_size=file.size,
        weights_sha256=file.sha256,
        sums=graph.sums,
        halo=network.halo(set(recipe.layers), LARGE_TILING.sides if key.layout == WINOGRAD else ()),
        exporter=f"impasto {impasto.__version__}",
        protects=PROTECTION in graph.inputs,
    )


# --- putting it in place --------------------------------------------------------------------------------------


def _kept_recipes(
    folder: Path, recipes: Sequence[Recipe], file: WeightsFile, *, force: bool, notify: Callable[[str], None]
) -> tuple[str, ...]:
    """Return the recipes of an existing folder that stay; without `force`, refuse to replace or drop any."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ()
    existing = ModelFolder(folder)
    new = {recipe.name for recipe in recipes}
    faults = {name: _fault(existing, name, file) for name in existing.recipes()}
    if not force:
        _refuse_loss(folder, new, faults)
    dropped = [f"{name} ({fault})" for name, fault in faults.items() if fault and name not in new]
    if dropped:
        notify(f"model {folder}: dropping {', '.join(dropped)}; to have any of it back, export it again")
    return tuple(name for name, fault in faults.items() if not fault and name not in new)


def _refuse_loss(folder: Path, new: set[str], faults: Mapping[str, str]) -> None:
    """Refuse an export that would lose one of a folder's recipes: to a new one, to other weights, or to damage."""
    forced = option("force", True)
    if _OTHER_WEIGHTS in faults.values():
        raise OutputError(
            f"model {folder}: exists, over other weights; choose another folder, or replace it with {forced}"
        )
    if replaced := sorted(new.intersection(faults)):
        raise OutputError(
            f"model {folder}: has {', '.join(replaced)} already; name other recipes, or replace them with {forced}"
        )
    if damaged := [f"{name} ({fault})" for name, fault in faults.items() if fault]:
        raise OutputError(f"model {folder}: holds {', '.join(damaged)}; export that again, or drop it, with {forced}")


_OTHER_WEIGHTS = "over other weights"


def _fault(existing: ModelFolder, recipe: str, file: WeightsFile) -> str:
    """Return why a recipe cannot stay beside the weights in `file`, such as a damaged graph, or nothing."""
    for key in GRAPHS:
        try:
            metadata, _ = read_graph(existing.graph(recipe, key))
        except InputError:
            return f"{key.file(recipe)} cannot be read"
        if metadata.weights_sha256 != file.sha256:
            return _OTHER_WEIGHTS
    return ""


def _carry_over(folder: Path, staging: Path, kept: tuple[str, ...]) -> None:
    """Copy the graphs that stay, and files that are not the exporter's, into the new folder."""
    if not folder.is_dir():
        return
    dropped = {key.file(recipe) for recipe in ModelFolder(folder).recipes() if recipe not in kept for key in GRAPHS}
    dropped |= {f"lbfgs.{name}.onnx" for name in ALGEBRA}  # their names in versions without bounds
    for path in folder.iterdir():
        if (staging / path.name).exists() or path.name in dropped:
            continue
        if path.is_dir():
            shutil.copytree(path, staging / path.name)
        else:
            shutil.copy2(path, staging / path.name)


def _put_in_place(staging: Path, folder: Path, previous: Path) -> None:
    """Swap the new folder for the old one by renaming; if that fails half-way the old one is put back."""
    if not folder.is_dir():
        staging.rename(folder)
        return
    try:
        folder.rename(previous)
        staging.rename(folder)
    finally:
        if previous.exists() and not folder.exists():
            previous.rename(folder)


def _placed_beside(staging: Path, folder: Path, reason: OutputError) -> NameTaken:
    """Put a finished model beside its folder, under a name that is free, and return the error that says so."""

    def take(path: Path) -> bool:
        if path.exists():
            return False
        staging.rename(path)
        return True

    other = free_name(folder, take)
    refusal = str(reason).partition(";")[0]
    return NameTaken(f"{refusal}, by another export meanwhile; the new model is in {places.name(other)}", other)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.export-"


def _remove_abandoned(folder: Path) -> None:
    """Remove the folders that killed exports left beside this one.

    The folder of an export that was killed between the two renames holds the only copy of the previous model: it stays.
    """
    for beside in folder.parent.glob(f"{glob.escape(_prefix(folder))}*"):
        with contextlib.suppress(OSError):  # it is another user's, or another process has just removed it
            paths = [beside, *beside.rglob("*")]
            building = all(path.name == folder.name for path in beside.iterdir())
            if building and time.time() - max(path.stat().st_mtime for path in paths) > _ABANDONED:
                shutil.rmtree(beside)
