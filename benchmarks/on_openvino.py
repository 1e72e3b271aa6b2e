"""OpenVINO by itself as a contender: impasto's `direct` graph in float32 (`fp32`) or in bfloat16 (`bf16`).

The graph's file is read as it is, and sizes are fixed. Neither onnxruntime nor impasto has a part in it.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino  # type: ignore[import-not-found,import-untyped,unused-ignore]
from numpy.typing import NDArray

from benchmarks.files import model_folder
from benchmarks.problem import PROBLEMS, Rgb, load_pictures
from benchmarks.protocol import Job, Prepared, Unavailable, serve

Arrays = Mapping[str, NDArray[np.float32]]

#: OpenVINO's name of each variant's precision.
HINTS = {"fp32": "f32", "bf16": "bf16"}


def compile_graph(job: Job, role: str, shapes: Mapping[str, tuple[int, ...]], hint: str) -> Any:
    """Return one of the recipe's graphs, ``objective`` or ``statistics``, compiled for inputs of these shapes.

    Raises
    ------
    Unavailable
        When OpenVINO takes another precision than `hint` on this processor.
    """
    core = openvino.Core()
    model = core.read_model(model_folder(job.data) / f"{job.recipe}.direct.{role}.onnx")
    model.reshape({name: list(shape) for name, shape in shapes.items()})
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(job.threads),
        "INFERENCE_PRECISION_HINT": hint,
    }
    compiled = core.compile_model(model, "CPU", options)
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if taken != hint:
        raise Unavailable(f"OpenVINO computes in {taken} here, not in {hint}")
    return compiled


def measure(job: Job) -> dict[str, NDArray[np.float32]]:
    """Return the targets of both pictures, measured in float32; they have one size."""
    pictures = load_pictures(job)
    statistics = compile_graph(job, "statistics", {"image": (1, 3, job.size, job.size)}, "f32")
    targets: dict[str, NDArray[np.float32]] = {}
    for kind, picture in {"content/": pictures.content, "style/": pictures.style}.items():
        outputs = statistics({"image": planes(picture)})
        names = [name for port in statistics.outputs for name in port.names]  # a port may have names of OpenVINO's, too
        targets |= {name: outputs[name].copy() for name in names if name.startswith(kind)}
    return targets


def weights(job: Job, targets: Arrays) -> dict[str, NDArray[np.float32]]:
    """Return the weight of each term; the graph's terms are means, and Gram matrices are divided by the positions."""
    problem, pixels = PROBLEMS[job.recipe], job.size**2
    content = targets[f"content/{problem.content_layer}.target"]
    by_term = {f"content/{problem.content_layer}": problem.content_weight * content.size}
    for name in problem.style_layers:
        channels = len(targets[f"style/{name}.target"])
        positions = (job.size // 2 ** (int(name[5]) - 1)) ** 2  # of `block3_conv1`, say: a pooling before each block
        factor = problem.style_factor(channels, positions, pixels)
        by_term[f"style/{name}"] = factor * channels**2 * positions**2
    by_term["tv"] = problem.tv_weight * 3 * (job.size - 1) ** 2
    return {f"{term}.weight": np.array(weight, np.float32) for term, weight in by_term.items()}


def planes(picture: Rgb) -> NDArray[np.float32]:
    """Return a picture, (H, W, 3), as the graphs take it: [1, 3, H, W]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def prepare(job: Job) -> Prepared:
    """Return the evaluation of a job."""
    hint = HINTS[job.variant]
    targets = measure(job)
    gc.collect()  # the graph that measured them, with its memory
    image = planes(load_pictures(job).start)
    fixed = {**targets, **weights(job, targets)}
    shapes = {name: array.shape for name, array in {"image": image, **fixed}.items()}
    request = compile_graph(job, "objective", shapes, hint).create_infer_request()
    for name, array in fixed.items():
        request.set_tensor(name, openvino.Tensor(array))

    def evaluate() -> tuple[float, Rgb]:
        request.infer({"image": image})
        return float(request.get_tensor("loss").data), request.get_tensor("gradient").data.copy()

    return Prepared(evaluate)


if __name__ == "__main__":
    serve(prepare)
