"""The activations that measures read, by a graph of a model folder and onnxruntime alone.

They are those of a picture's interior. Near its border zero padding makes others, by which a network sees where the
picture ends. To have a border like a painting's is no effect of its manner; it is a frame, which has its own measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.look.measures import Array
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.plan.terms import CONTENT, IMAGE, target_of

#: The pixels at each side that make no activations, as far as a small picture has them.
BORDER = 16

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
        levels = {layer.name: layer.level for layer in read_metadata(ModelFolder(model), RECIPE.stem).layers}
        self._layers = {layer: levels[layer] for layer in CONTENT.shares(load_recipe(RECIPE))}

    def __call__(self, picture: Array) -> Mapping[str, Array]:
        """Return the activations in the interior of a picture, (H, W, 3), RGB, 0..255."""
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        names = [target_of(CONTENT.name(layer)) for layer in self._layers]
        values = self._session.run(names, {IMAGE: planes})
        return {
            layer: interior(np.asarray(value, np.float64)[0], level)
            for (layer, level), value in zip(self._layers.items(), values, strict=True)
        }


def interior(activations: Array, level: int) -> Array:
    """Return activations [C, H, W] after so many poolings as [C, M], less those at the border.

    Half of each side is left, or more.
    """
    height, width = activations.shape[1:]
    down, across = (min(max(1, BORDER >> level), side // 4) for side in (height, width))
    return activations[:, down : height - down, across : width - across].reshape(len(activations), -1)
