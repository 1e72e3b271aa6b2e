"""The activations that measures read, by a graph of a model folder and onnxruntime alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.look.measures import Array
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.plan.terms import CONTENT, IMAGE, target_of

#: The recipe that names the layers.
RECIPE = Path(__file__).with_name("look.toml")


class Activations:
    """A picture -> the activations of the layers that `RECIPE` names, each [C, M].

    Parameters
    ----------
    model
        A model folder with the recipe.
    """

    def __init__(self, model: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        graph = model / "look.direct.statistics.onnx"
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._layers = [*CONTENT.shares(load_recipe(RECIPE))]

    def __call__(self, picture: Array) -> Mapping[str, Array]:
        """Return the activations of a picture, (H, W, 3), RGB, 0..255."""
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        names = [target_of(CONTENT.name(layer)) for layer in self._layers]
        values = self._session.run(names, {IMAGE: planes})
        return {
            layer: np.reshape(value, (np.shape(value)[-3], -1)).astype(np.float64)
            for layer, value in zip(self._layers, values, strict=True)
        }
