"""Lowering a small graph and running it, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from impasto.export import ops
from impasto.export.graph import Map, Var
from impasto.export.losses import activations
from impasto.export.lowering.base import Lowering
from impasto.export.lowering.direct import direct
from impasto.export.lowering.winograd import winograd
from impasto.export.networks import NETWORKS
from impasto.export.weights.weights import Weights
from impasto.export.weights_file import write_weights
from impasto.runtime.plan.recipe import Recipe

Array = NDArray[np.float32]

_RNG = np.random.default_rng(5)

#: The weights of one convolution, `layer`: 2 channels in, 3 out.
PARAMETERS = {
    "layer.kernel": _RNG.normal(size=(3, 2, 3, 3)).astype(np.float32),
    "layer.bias": _RNG.normal(size=3).astype(np.float32),
}


def run(outputs: Mapping[str, Var], feeds: Mapping[str, Array], lowering: Lowering = direct) -> dict[str, Array]:
    """Lower a graph, check it and run it on what it has inputs for."""
    parameters = {name: numpy_helper.from_array(value, name) for name, value in PARAMETERS.items()}
    model = lowering.lower("test", outputs, parameters)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {x.name: np.asarray(feeds[x.name], np.float32) for x in session.get_inputs()}
    return dict(zip(outputs, session.run(list(outputs), used), strict=True))


class Conv(OpRun):
    """A convolution whose sums are float32 and whose result is rounded to the type of its factors, as on a GPU."""

    op_domain = ""

    def _run(self, x: Array, w: Array, b: Array | None = None, pads: Any = None, **attributes: Any) -> tuple[Array]:
        torch = pytest.importorskip("torch")
        tensors = [None if v is None else torch.tensor(v.astype(np.float32)) for v in (x, w, b)]
        return (torch.nn.functional.conv2d(*tensors, padding=pads[0]).numpy().astype(x.dtype),)  # type: ignore[arg-type]


class Gemm(OpRun):
    """A product of matrices, likewise."""

    op_domain = ""

    def _run(self, a: Array, b: Array, c: Array | None = None, **attributes: int) -> tuple[Array]:
        left, right = (v.T if attributes.get(key) else v for v, key in ((a, "transA"), (b, "transB")))
        product = left.astype(np.float32) @ right.astype(np.float32) + (0 if c is None else c)
        return (product.astype(a.dtype),)


class MaxPool(OpRun):
    """That of onnx goes through the pixels one by one."""

    op_domain = ""

    def _run(self, x: Array, kernel_shape: Any = (2, 2), **attributes: Any) -> tuple[Array]:
        torch = pytest.importorskip("torch")
        single = torch.tensor(x.astype(np.float32))
        return (torch.nn.functional.max_pool2d(single, tuple(kernel_shape), 2).numpy().astype(x.dtype),)


class MatMul(OpRun):
    """A product of matrices, or of each pair of them, likewise."""

    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        return ((a.astype(np.float32) @ b.astype(np.float32)).astype(a.dtype),)


class GatherElements(OpRun):
    """That of onnx takes no more than 64 elements."""

    op_domain = ""

    def _run(self, data: Array, indices: NDArray[np.int32], axis: int = 0) -> tuple[Array]:
        return (np.take_along_axis(data, indices, axis),)


def run_exactly(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a graph as it is written: every value is rounded to its type.

    onnxruntime's CPU provider has no kernels for half precision; it computes in single, and leaves out rounding where
    it would be undone at once.
    """
    evaluator = ReferenceEvaluator(model, new_ops=[Conv, Gemm, MatMul, MaxPool, GatherElements])
    with np.errstate(over="ignore"):  # that is what the results tell
        results = evaluator.run(None, {name: feeds[name] for name in evaluator.input_names})
    return dict(zip(evaluator.output_names, results, strict=True))


def tile_rows(height: int, width: int, m: int) -> NDArray[np.int64]:
    """Return the row of every pixel in the layout of `winograd`, [H, W], by the formula at the head of `tiles`."""
    across = -(-width // m)
    stride = -(-height // m) * across + 1
    y, x = np.mgrid[:height, :width]
    rows: NDArray[np.int64] = ((y % m) * m + x % m) * stride + (y // m) * across + x // m
    return rows


def to_tiles(planes: Array, m: int) -> Array:
    """Lay planes [1, C, H, W] out in tiles of m x m, [m * m, P + 1, C]."""
    _, channels, height, width = planes.shape
    tiles = np.zeros((m * m, -(-height // m) * -(-width // m) + 1, channels), np.float32)
    tiles.reshape(-1, channels)[tile_rows(height, width, m)] = planes[0].transpose(1, 2, 0)
    return tiles


def from_tiles(tiles: Array, height: int, width: int) -> Array:
    """Return planes [1, C, H, W] of what lies in tiles."""
    m = round(tiles.shape[0] ** 0.5)
    return tiles.reshape(-1, tiles.shape[2])[tile_rows(height, width, m)].transpose(2, 0, 1)[None]


def decisions(
    weights: Weights,
    lowering: Lowering,
    recipe: Recipe,
    picture: Array,
    folder: Path,
    provider: Any = "CPUExecutionProvider",
    change: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda model: model,
    options: onnxruntime.SessionOptions | None = None,
) -> dict[str, Any]:
    """Return the activations, [1, C, H, W], by which a lowering decides; `change` may alter its graph.

    A plug-in's provider is in `options`, and `provider` is None.
    """
    torch = pytest.importorskip("torch")
    network = NETWORKS["vgg19"]
    names = [layer.name for layer in network.up_to(set(recipe.layers))]
    image = ops.graph_input("image", Map(3))
    graph = activations(image, network, weights.preprocessing, recipe.pooling, recipe.padding, names)
    file = write_weights(weights, folder / "weights.data")
    onnx.save(change(lowering.lower("activations", graph, file.tensors)), folder / "activations.onnx")
    providers = None if provider is None else [provider]
    session = onnxruntime.InferenceSession(folder / "activations.onnx", options, providers=providers)
    found = dict(zip(names, session.run(names, {"image": picture.transpose(2, 0, 1)[None]}), strict=True))
    if lowering.layout == winograd.layout:
        height, width = picture.shape[:2]
        levels = {layer.name: layer.level for layer in network.layers}
        found = {name: from_tiles(y, height >> levels[name], width >> levels[name]) for name, y in found.items()}
    return {name: torch.tensor(y) for name, y in found.items()}
