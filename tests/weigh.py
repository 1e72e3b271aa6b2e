"""Print what distributions take of a disk, each in MB as ``du -m`` counts: ``python tests/weigh.py FOLDER``.

The folder is one that pip has installed into: a ``site-packages``, or what ``pip install --target`` names.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

#: What `du -m` calls a megabyte, and what `st_blocks` calls a block.
MB, _BLOCK = 2**20, 512


def disk_usage(folder: Path) -> int:
    """Return the bytes that a folder takes of a disk, with all that is in it."""
    return _taken(folder) + sum(map(_taken, folder.rglob("*")))


def by_distribution(folder: Path) -> dict[str, int]:
    """Return the bytes that each distribution in a folder takes, the heaviest first.

    A folder that several have files in is counted once.
    """
    found: dict[str, int] = {}
    seen = {folder}
    for distribution in metadata.distributions(path=[str(folder)]):
        paths = set[Path]()
        for file in distribution.files or ():
            path = Path(os.path.normpath(folder / file))
            if path.is_relative_to(folder) and path.exists():  # a command lies beside the folder
                paths |= {path, *(parent for parent in path.parents if parent.is_relative_to(folder))}
        found[f"{distribution.metadata['Name']} {distribution.version}"] = sum(map(_taken, paths - seen))
        seen |= paths
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _taken(path: Path) -> int:
    return path.lstat().st_blocks * _BLOCK


def main() -> None:
    """Print a line for each, and the sum."""
    found = by_distribution(Path(sys.argv[1]).resolve())
    for name, size in {**found, "all": sum(found.values())}.items():
        print(f"{size / MB:6.1f}  {name}")


if __name__ == "__main__":
    main()
