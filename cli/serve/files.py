"""The server's own files: written whole, for the user's eyes only; and names that are safe on any system."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

from impasto.runtime.storage.replacing import replacing

#: The longest name of a picture, in bytes.
_LONGEST = 120

#: Names that Windows keeps for devices.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def make_folder(path: Path) -> Path:
    """Make a folder that nobody else may look into, and those above it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_json(path: Path, data: Any) -> None:
    """Write plain data into a file, whole."""
    with replacing(path) as file:
        file.write(json.dumps(data).encode())


def read_json(path: Path) -> Any:
    """Return the data in a file; None where there is none that can be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it: first its name, so that nobody finds half of it."""
    aside = path.with_name(f".{path.name}.removed")
    try:
        path.replace(aside)
    except OSError:  # Windows renames no folder whose files are open
        aside = path
    shutil.rmtree(aside, ignore_errors=True)


def safe_name(name: str, ending: str = "") -> str:
    """Return a name for a file, made of what a client calls it: letters, digits, and a few signs between them.

    Parameters
    ----------
    ending
        The ending that the name gets unless it has one of the same meaning, such as ``.png``.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(c if c.isalnum() or c in " -_.,+()" else "-" for c in last).strip(" .-")
    stem, own = PurePosixPath(kept).stem, PurePosixPath(kept).suffix
    if ending and own.lower() not in _SAME.get(ending, (ending,)):
        stem, own = kept, ending
    while len(f"{stem}{own}".encode()) > _LONGEST:
        stem, own = (stem[:-1], own) if stem else (stem, own[:-1])
    stem = stem.strip(" .-") or "picture"
    return f"_{stem}{own}" if _DEVICES.fullmatch(f"{stem}{own}") else f"{stem}{own}"


def without_folders(text: str, data: Path) -> str:
    """Return a message that names files of pictures and runs by their own names, without the server's folders."""
    return re.sub(rf"{re.escape(str(data))}[/\\\\](pictures|runs)[/\\\\][^/\\\\]+[/\\\\]", "", text)


#: Ending -> those that mean the same.
_SAME = {".jpg": (".jpg", ".jpeg", ".jpe", ".jfif"), ".tif": (".tif", ".tiff"), ".heic": (".heic", ".heif")}
