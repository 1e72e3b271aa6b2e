"""The options of a transfer, as the command line declares them: for a page that offers them, and for requests.

There is no second list: what `impasto.cli.transfer_options` declares is what a request may have, but for files that are
no pictures: the model, which is the server's affair, and plans.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from impasto import __version__
from impasto.cli import options
from impasto.cli.command import GROUPS, GroupedCommand
from impasto.cli.help import default_text
from impasto.cli.options import FILE, NAME, NAME_OR_FILE
from impasto.cli.shared_options import takes
from impasto.cli.transfer_options import transfer_options
from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.plan.recipe import Recipe, builtin_recipes, load_recipe

#: Options whose names are not all: ``cuda:1`` is a device, too.
_MORE_THAN_NAMES = ("device",)

#: The options for masks, in which a colour may stand for a picture of it.
_MASKS = ("content_mask", "style_mask")

_given: dict[str, Any] = {}


@takes(choices=transfer_options)
def _transfer(oversize: options.Oversize = False, *, choices: dict[str, Any]) -> None:
    """Note the options of a transfer."""
    _given.update(choices=choices, oversize=oversize)


def transfer_command(arguments: Sequence[str]) -> dict[str, Any]:
    """Read the options of a transfer as they are typed.

    Returns
    -------
    dict
        ``choices``, as `impasto.cli.transfer_options.transfer_options` returns them, and ``oversize``.

    Raises
    ------
    Exception
        What the command line raises for a wrong option: see `impasto.cli.terminal.errors.explain`.
    """
    app = typer.Typer(add_completion=False)
    app.command(cls=GroupedCommand)(_transfer)
    typer.main.get_command(app).main([*arguments], prog_name="impasto", standalone_mode=False)
    return dict(_given)


def offered(model: Path) -> dict[str, Any]:
    """Return the options and the recipes that a request may have, as plain data."""
    recipes = [_described(recipe) for recipe in _recipes(model)]
    declared = [
        _option(parameter, info, [recipe["name"] for recipe in recipes])
        for parameter, info in _declarations()
        if not _names_file(parameter)
    ]
    return {"version": __version__, "recipes": recipes, "groups": [*GROUPS], "options": declared}


def _recipes(model: Path) -> list[Recipe]:
    """Return the recipes of a model, and those that come along: the default one first."""
    folder = ModelFolder.open(model)
    own = {name: read_metadata(folder, name).recipe for name in folder.recipes()}
    known = {name: load_recipe(name) for name in builtin_recipes()} | own
    return sorted(known.values(), key=lambda recipe: (recipe.name != DEFAULT_RECIPE, recipe.name))


def _described(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name, "description": recipe.description, "default": recipe.name == DEFAULT_RECIPE,
        "evaluations": recipe.evaluations, "size": recipe.size, "init": recipe.init, "optimizer": recipe.optimizer,
    }  # fmt: skip


def _declarations() -> list[tuple[inspect.Parameter, Any]]:
    """Return the parameters of a transfer, each with what it declares of its option."""
    parameters = inspect.signature(_transfer).parameters.values()
    return [(one, get_args(one.annotation)[1]) for one in parameters if get_origin(one.annotation) is Annotated]


def _option(parameter: inspect.Parameter, info: Any, recipes: list[str]) -> dict[str, Any]:
    """Return an option as plain data: see the schema Option in openapi.json."""
    name, kind = parameter.name, _type(parameter)
    names = recipes if name == "recipe" else [*info.autocompletion(None, "")]
    written = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
    flag, _, negative = max(written or [f"--{name.replace('_', '-')}"], key=len).partition("/")
    default = parameter.default
    return {
        "name": name,
        "flag": flag,
        "negative": negative or None,
        "help": info.help,
        "word": info.metavar,
        "kind": _kind(name, kind, info.metavar, names),
        "choices": names or None,
        "colors": name in _MASKS,
        "many": kind is list,
        "min": info.min,
        "max": info.max,
        "default": default if isinstance(default, str | int | float) else None,
        "default_text": default_text(info.show_default, default),
        "group": info.rich_help_panel,
    }


def _type(parameter: inspect.Parameter) -> type:
    """Return the type of a parameter's value: bool, int, float, str, or list."""
    (declared, *_), known = get_args(parameter.annotation), (bool, int, float, str, list)
    parts = [get_origin(part) or part for part in (get_args(declared) or (declared,))]
    if get_origin(declared) is list:
        return list
    return next(one for one in known if one in parts)


def _names_file(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is the path of a file or a folder; pictures may have addresses, too, and are no paths."""
    declared = get_args(parameter.annotation)[0]
    return Path in (declared, *get_args(declared))


def _kind(name: str, kind: type, word: str | None, names: list[str]) -> str:
    """Return the kind of an option: see the schema Option in openapi.json."""
    if kind is bool:
        return "flag"
    if word in (FILE, NAME_OR_FILE):
        return "picture"
    if kind in (int, float):
        return "integer" if kind is int else "number"
    return "choice" if word == NAME and names and name not in _MORE_THAN_NAMES else "text"
