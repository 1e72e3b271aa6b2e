"""The paths of the files that all processes of a benchmark read."""

from __future__ import annotations

from pathlib import Path

#: The repository: where `python -m benchmarks.NAME` finds its module.
ROOT = Path(__file__).resolve().parent.parent


def model_folder(data: str | Path) -> Path:
    """Return the model folder that impasto takes."""
    return Path(data) / "model"


def weights_file(data: str | Path) -> Path:
    """Return the file with the same weights for its peers."""
    return Path(data) / "weights.npz"


def picture_file(data: str | Path, name: str, size: int) -> Path:
    """Return the PNG of the `content` or the `style`, `size` pixels wide and high."""
    return Path(data) / f"{name}-{size}.png"


def pictures_file(data: str | Path, size: int) -> Path:
    """Return the file that holds all pictures of that size as arrays."""
    return Path(data) / f"pictures-{size}.npz"
