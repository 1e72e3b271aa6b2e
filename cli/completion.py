"""What a shell completes: the names of what can be chosen. Where a file is expected, the shell completes that itself.

It has a tenth of a second: nothing is imported that a transfer needs. Whatever goes wrong, nothing is completed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import typer

from impasto.defaults import MODEL_VARIABLE
from impasto.model_folders import default_model, recipes_in
from impasto.recipe_files import recipe_files

#: Takes the context of the command, and the beginning of a word; returns words, of which typer takes those that fit.
Completer = Callable[[typer.Context, str], list[str]]

#: The variable by which the scripts that typer writes ask for completions.
VARIABLE = "_IMPASTO_COMPLETE"


def files(ctx: typer.Context, incomplete: str) -> list[str]:
    """Leave it to the shell, which knows about ``~``, spaces and folders."""
    return []


def names(*choices: str) -> Completer:
    """Return what completes names."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(choices)

    return complete


def recipes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete recipes: those that come along, those of the model folder, and files here."""
    return sorted({*recipe_files(), *_in_model(ctx), *_in_folder()})


def recipes_or_all(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete recipes, and the word for all of them."""
    return [*recipes(ctx, incomplete), *names("all")(ctx, incomplete)]


def _in_model(ctx: typer.Context) -> tuple[str, ...]:
    try:
        named = ctx.params.get("model") or os.environ.get(MODEL_VARIABLE)
        folder = Path(named).expanduser() if named else default_model()
        return recipes_in(folder) if folder else ()
    except (OSError, ValueError):
        return ()


def _in_folder() -> list[str]:
    """Return the recipes' files here whose names need no quotes: the shell completes all others."""
    try:
        return [path.name for path in Path().glob("*.toml") if path.stem.isidentifier()]
    except OSError:
        return []
