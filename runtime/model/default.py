"""The default model folder, for reading and for writing, and the command that exports it."""

from __future__ import annotations

import shlex
from pathlib import Path

from impasto.defaults import DEFAULT_NETWORK
from impasto.model_folders import candidates, default_model
from impasto.runtime.errors import ModelError

__all__ = ["default_model", "export_again", "export_command", "find_model", "folder_to_write"]


def find_model(model: str | Path | None = None) -> Path:
    """Return the model folder to use.

    Parameters
    ----------
    model
        The folder, if it is known; it need not exist. Else it is the folder that ``IMPASTO_MODEL`` names; else
        ``models/vgg19``, if it exists; else ``models/vgg19`` in the user's data folder, if it exists.

    Raises
    ------
    ModelError
        When there is none; the text says how to make one.
    """
    if model is not None:
        return Path(model)
    folder = default_model()
    if folder is None:
        folders = " or ".join(map(str, candidates(DEFAULT_NETWORK)))
        raise ModelError(f"model: there is none yet, in {folders}; make one with: impasto export")
    return folder


def folder_to_write(network: str = DEFAULT_NETWORK) -> Path:
    """Return the model folder that an export writes by default.

    It is the one that is used, if there is one. Else it lies in ``models``, if there is such a folder, as in a clone;
    else in the user's data folder. A file or another folder of its name is left alone.
    """
    if folder := default_model(network):
        return folder
    here, *users = candidates(network)
    taken = here.is_file() or (here.is_dir() and any(here.iterdir()))
    return here if here.parent.is_dir() and not taken else next(iter(users), here)


def export_command(folder: Path, *options: str) -> str:
    """Return the command that exports into a folder."""
    into = [] if folder == folder_to_write() else ["--output", shlex.quote(str(folder))]
    return " ".join(["impasto export", *into, *options])


def export_again(folder: Path) -> str:
    """Return the advice to export a folder again; only its owner knows the weights and the recipes."""
    return f"export it again as before, with {export_command(folder, '--force').removeprefix('impasto export ')}"
