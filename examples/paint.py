"""Repaint a photograph with a model folder, onnxruntime, SciPy and Pillow, without impasto.

    python paint.py MODEL PHOTO PAINTING RESULT [EVALUATIONS]

The result is as large as the photograph; the painting may have another size.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from PIL import Image
from scipy.optimize import fmin_l_bfgs_b

Planes = NDArray[np.float32]
Feeds = dict[str, Planes]


def read(path: str) -> Planes:
    """Return a picture as the graphs take it: [1, 3, H, W], RGB, 0..255."""
    return np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1)[None]


def measure(statistics: InferenceSession, image: Planes, kind: str) -> Feeds:
    """Return the targets of a picture whose names begin with `kind`."""
    names = [output.name for output in statistics.get_outputs() if output.name.startswith(kind)]
    return dict(zip(names, statistics.run(names, {"image": image}), strict=True))


def weigh(objective: InferenceSession) -> Feeds:
    """Return the weight of every term: the recipe's, in the convention `mean` that recipe `impasto` has."""
    recipe: dict[str, Any] = json.loads(objective.get_modelmeta().custom_metadata_map["impasto"])["recipe"]
    content, style, tv = recipe["content"], recipe["style"], recipe["tv"]
    weights = {f"content/{layer}": content["weight"] * share for layer, share in content["layers"].items()}
    weights |= {f"style/{layer}": style["weight"] * share for layer, share in style["layers"].items()}
    weights["tv"] = tv["weight"]
    return {f"{term}.weight": np.array(weight, np.float32) for term, weight in weights.items()}  # of no dimensions


def main(model: str, photo: str, painting: str, result: str, evaluations: str = "100") -> None:
    """Write the picture, and print the loss at every evaluation."""
    content, style = read(photo), read(painting)
    small = "small-" if content[0, 0].size <= 320 * 320 else ""

    def session(kind: str) -> InferenceSession:
        return InferenceSession(Path(model, f"impasto.winograd.{small}{kind}.onnx"))

    statistics = session("statistics")
    targets = measure(statistics, content, "content/") | measure(statistics, style, "style/")
    del statistics  # with its memory
    objective = session("objective")
    fixed = targets | weigh(objective)

    def evaluate(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        image = x.astype(np.float32).reshape(content.shape)
        loss, gradient = objective.run(["loss", "gradient"], {"image": image, **fixed})
        print(loss, flush=True)
        return float(loss), gradient.astype(np.float64).ravel()

    bounds = [(0, 255)] * content.size
    best, _, _ = fmin_l_bfgs_b(evaluate, content.ravel(), bounds=bounds, factr=0, pgtol=0, maxfun=int(evaluations))
    levels = best.reshape(content.shape)[0].transpose(1, 2, 0).round().astype(np.uint8)
    Image.fromarray(levels).save(result)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit("usage: python paint.py MODEL PHOTO PAINTING RESULT [EVALUATIONS]")
    main(*sys.argv[1:])
