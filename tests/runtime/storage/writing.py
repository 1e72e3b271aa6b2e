"""What tests of files share: writing one, and what is in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from impasto.runtime.storage.replacing import replacing

OLD, NEW = b"old", bytes(range(256)) * 100

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, pipes and unprivileged links are POSIX's")


def write(data: bytes, path: Path, *, replace: bool) -> None:
    with replacing(path, replace=replace) as file:
        file.write(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
