"""The files of the recipes that come along: their names, and what they say, without importing the runtime."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def recipe_files() -> dict[str, Path]:
    """Return the name of each recipe that comes along, in order, and where it is."""
    spec = importlib.util.find_spec("impasto.runtime")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = (path for folder in folders for path in Path(folder, "recipes").glob("*.toml"))
    return {path.stem: path for path in sorted(found)}


@functools.cache
def recipe_data(name: str) -> Mapping[str, Any]:
    """Return what the file of a recipe that comes along says, unchecked."""
    import tomllib  # only where it is needed: this is imported by every command

    return tomllib.loads(recipe_files()[name].read_text("utf-8"))
