"""The files of the recipes that come with impasto: their names and contents, without importing the runtime."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def recipe_files() -> dict[str, Path]:
    """Return the file of each recipe that comes with impasto, by name, in order."""
    spec = importlib.util.find_spec("impasto.runtime")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    paths = (path for folder in folders for path in Path(folder, "recipes").glob("*.toml"))
    return {path.stem: path for path in sorted(paths)}


@functools.cache
def recipe_data(name: str) -> Mapping[str, Any]:
    """Return the contents of the file of a recipe that comes with impasto, unchecked."""
    import tomllib  # only where it is needed: this is imported by every command

    return tomllib.loads(recipe_files()[name].read_text("utf-8"))
