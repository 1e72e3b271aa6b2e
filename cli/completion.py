"""Completion in a shell: the names that an option accepts. The shell itself completes the names of files.

It has a tenth of a second, so it imports nothing that a transfer needs. After an error it completes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import typer

from impasto.defaults import MODEL_VARIABLE
from impasto.model_folders import default_model, recipes_in
from impasto.recipe_files import recipe_files

#: Takes the context of the command, and the beginning of a word; returns words. typer drops those that do not fit.
Completer = Callable[[typer.Context, str], list[str]]

#: The variable by which the scripts that typer writes ask for completions.
VARIABLE = "_IMPASTO_COMPLETE"


def files(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete nothing: the shell completes files, as it knows about ``~``, spaces and folders."""
    return []


def names(*choices: str) -> Completer:
    """Return a completer of these names."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(choices)

    return complete


def recipes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete recipes: the built-in ones, those of the model folder, and files in the working folder."""
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
    """Return the recipe files in the working folder whose names need no quotes; the shell completes the others."""
    try:
        return [path.name for path in Path().glob("*.toml") if path.stem.isidentifier()]
    except OSError:
        return []
