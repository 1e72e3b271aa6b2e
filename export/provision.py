"""The export on first use: recipes that are wanted, and that a model folder lacks, are added to it."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from impasto import packages
from impasto.defaults import DEFAULT_RECIPE, DEFAULT_WEIGHTS
from impasto.runtime.errors import InputError, ModelError, NameTaken, OutputError
from impasto.runtime.model.default import folder_to_write
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import GRAPHS
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe
from impasto.runtime.run import notebook
from impasto.runtime.signatures import explained

Notify = Callable[[str], None]


@explained()
def ensure(
    model: str | Path | None = None,
    recipe: str = DEFAULT_RECIPE,
    *,
    weights: str = DEFAULT_WEIGHTS,
    notify: Notify | None = None,
) -> Path:
    """Return a model folder that has a recipe. Export what is missing, which takes some seconds, once.

    Parameters
    ----------
    model
        The folder; by default the one that `stylize` finds, or will find. See `impasto.runtime.model.default`.
    recipe
        The name of a recipe: one that comes with impasto, or that the folder has already.
    weights
        The source of a new folder's weights; see `impasto.export.weights.sources.load_weights`. A folder that exists
        keeps its own.
    notify
        Called with a line now and then. By default lines are printed in a notebook, and nowhere else.

    Raises
    ------
    InputError
        When a package for exports is missing, there is no such recipe, or the folder cannot be read or written; an
        `OptionError` when there is no argument of that name.
    ExportError, TransferError
        When the export fails.
    """
    tell = notify or (print if notebook.is_running() else lambda line: None)
    folder = folder_to_write() if model is None else Path(model)
    if folder.is_dir() and ModelFolder(folder).recipes():
        add_missing(folder, [recipe], tell)
        ModelFolder.open(folder).graph(recipe)  # if it is still missing, the error names the command
        return folder
    chosen = load_recipe(recipe)
    with importing_exporter():
        from impasto.export import build
        from impasto.export.weights import sources
    build.check_folder(folder)  # before weights are fetched
    tell(f"exporting a model to {folder}, once")
    try:
        build.export_model(folder, [chosen], sources.load_weights(weights, notify=tell), notify=tell)
    except NameTaken as taken:  # another program was quicker
        tell(str(taken))
        return taken.place
    return folder


def add_missing(folder: Path, recipes: Iterable[str], notify: Notify) -> None:
    """Export recipes that a model folder lacks, over the weights it holds.

    These are only recipes that come with impasto, and only where onnx is installed. For others, and for damaged ones,
    the error says what to do when the folder is opened.

    Raises
    ------
    ModelError
        When there is no such folder, its weights are damaged, or nothing can be written there.
    ExportError, TransferError
        When the export fails.
    """
    model = ModelFolder.open(folder)
    lacking = sorted(name for name in {*recipes} & {*builtin_recipes()} if not _has_any_graph(model, name))
    if not lacking or importlib.util.find_spec("onnx") is None:
        return
    with importing_exporter():
        from impasto.export import build
    from impasto.export.weights_file import read_weights

    names, began = ", ".join(lacking), time.perf_counter()
    notify(f"model {folder} has no {names} yet: adding what is missing, once")
    try:
        build.export_model(folder, [load_recipe(name) for name in lacking], read_weights(model))
    except NameTaken as taken:
        if not {*lacking} <= {*model.recipes()}:
            raise
        shutil.rmtree(taken.place)  # another program has added the same meanwhile
    except OutputError as error:
        wanted = " ".join(f"--recipe {name}" for name in lacking)
        raise ModelError(
            f"model {folder} has no {names}, and nothing can be added there ({str(error).partition(';')[0]}); make "
            f"another with: impasto export {wanted} --output FOLDER"
        ) from None
    notify(f"added {names} to {folder} in {time.perf_counter() - began:.1f} s")


def _has_any_graph(model: ModelFolder, recipe: str) -> bool:
    """Whether a folder has any graph of a recipe."""
    return any((model.path / key.file(recipe)).exists() for key in GRAPHS)


@contextlib.contextmanager
def importing_exporter() -> Iterator[None]:
    """Import the exporter, or the sources of weights, in a `with` block.

    Raises
    ------
    InputError
        When a package that they need is not installed: the text has the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; to export, {packages.EXPORT}") from None
