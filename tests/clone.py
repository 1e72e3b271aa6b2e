"""A copy of this clone, for tests that build it or change it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return what is no part of a clone as it comes: environments, caches, models, what was built."""
    ignored = {*shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo")(folder, names)}
    return ignored | ({*names} - {"README.md"} if Path(folder) == ROOT / "models" else set())


def copy_clone(folder: Path) -> Path:
    """Copy the clone into a folder, and return the copy."""
    return Path(shutil.copytree(ROOT, folder / "clone", symlinks=True, ignore=left_out))
