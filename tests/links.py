"""Link the sub-packages into src/impasto, where type checkers look for them: ``python tests/links.py``.

Python itself needs no links, as an editable install knows every folder. They are made anew in each checkout and are not
kept in the repository: git on Windows would write them as text files.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def link(root: Path) -> None:
    """Make the links that a checkout lacks.

    Raises
    ------
    OSError
        When something else is in the place of one, or the system makes no links.
    """
    folders = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    for package, folder in folders.items():
        parent, _, name = package.rpartition(".")
        if parent:
            _link(root / folders[parent] / name, root / folder)


def _link(place: Path, folder: Path) -> None:
    if place.resolve() == folder.resolve():
        return
    try:
        place.symlink_to(os.path.relpath(folder, place.parent), target_is_directory=True)
    except FileExistsError:
        raise
    except OSError:
        if os.name != "nt":
            raise
        import _winapi  # junctions need no privilege

        _winapi.CreateJunction(str(folder), str(place))


def main() -> None:
    """Make those of this checkout."""
    try:
        link(ROOT)
    except OSError as error:
        sys.exit(f"error: {error.filename2 or error.filename}: no link could be made there ({error.strerror})")


if __name__ == "__main__":
    main()
