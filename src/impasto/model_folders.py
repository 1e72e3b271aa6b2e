"""The places of model folders, and the recipes in them, without importing the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from impasto import user_folders
from impasto.defaults import DEFAULT_NETWORK, MODEL_VARIABLE, MODELS

#: The file that every recipe in a model folder has, after its name: its objective, as plain ONNX. See
#: `impasto.runtime.model.graphs.PLAIN`.
OBJECTIVE_FILE = ".direct.objective.onnx"

#: Any of these files makes a folder a model folder, even if some of it is lost.
_GRAPHS = "*.objective.onnx"


def candidates(network: str = DEFAULT_NETWORK) -> Iterator[Path]:
    """Yield the folders that may hold a model, in order; the user's data folder only if platformdirs is installed."""
    yield MODELS / network
    try:
        lasting = user_folders.data()
    except ModuleNotFoundError:  # a transfer from Python does without
        return
    yield lasting / MODELS / network


def default_model(network: str = DEFAULT_NETWORK) -> Path | None:
    """Return the model folder that is used where none is named, or nothing if there is none."""
    if network == DEFAULT_NETWORK and (named := os.environ.get(MODEL_VARIABLE)):
        return Path(named)
    return next((folder for folder in candidates(network) if any(folder.glob(_GRAPHS))), None)


def recipes_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the recipes that were exported into a folder."""
    return tuple(sorted(path.name.removesuffix(OBJECTIVE_FILE) for path in folder.glob(f"*{OBJECTIVE_FILE}")))
