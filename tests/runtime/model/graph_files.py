"""The files of a model folder's graphs, for tests that damage them."""

from __future__ import annotations

from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Write a file anew; what else has the same data under another name keeps it."""
    path.unlink()
    path.write_bytes(data)


def graphs(folder: Path, role: str = "") -> list[Path]:
    """Return the graphs of the seed recipe, or those whose role it is."""
    return sorted(folder.glob(f"seed.*{role}.onnx"))
