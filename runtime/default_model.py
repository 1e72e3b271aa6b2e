"""The model folder that is used, and written, where none is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from impasto.defaults import DEFAULT_NETWORK, MODEL_VARIABLE, MODELS
from impasto.runtime.errors import ModelError

#: What a folder holds that is a model's, even if some of it is lost.
_GRAPHS = "*.objective.onnx"


def find_model(model: str | Path | None = None) -> Path:
    """Return the model folder to use.

    Parameters
    ----------
    model
        The folder, if it is known, which need not exist. Else it is the one that ``IMPASTO_MODEL`` names; else
        ``models/vgg19``, if that is there; else ``models/vgg19`` in the user's data folder, if that is.

    Raises
    ------
    ModelError
        When there is none; the text says how to make one.
    """
    if model is not None:
        return Path(model)
    found = default_model()
    if found is None:
        folders = " or ".join(map(str, _candidates(DEFAULT_NETWORK)))
        raise ModelError(f"model: there is none yet, in {folders}; make one with: impasto export")
    return found


def default_model(network: str = DEFAULT_NETWORK) -> Path | None:
    """Return the model folder that is used where none is named, or nothing if there is none."""
    if network == DEFAULT_NETWORK and (named := os.environ.get(MODEL_VARIABLE)):
        return Path(named)
    return next((folder for folder in _candidates(network) if any(folder.glob(_GRAPHS))), None)


def folder_to_write(network: str = DEFAULT_NETWORK) -> Path:
    """Return the model folder that an export writes where none is named.

    It is the one that is used, if there is one. Else it lies in ``models``, if there is such a folder, as in a clone;
    else in the user's data folder. Something else of its name is left alone.
    """
    if found := default_model(network):
        return found
    here, *users = _candidates(network)
    taken = here.is_file() or (here.is_dir() and any(here.iterdir()))
    return here if here.parent.is_dir() and not taken else next(iter(users), here)


def _candidates(network: str) -> Iterator[Path]:
    """Yield where a model is looked for, in order; the user's data folder only with platformdirs, which knows it."""
    yield MODELS / network
    try:
        from platformdirs import user_data_path  # only where it is needed
    except ModuleNotFoundError:  # a transfer from Python does without
        return
    yield user_data_path("impasto", appauthor=False) / MODELS / network
