"""The network's weights as tensors of a graph: their names, and the nodes that look 8-bit ones up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from impasto.export.lowering.base import Builder
from impasto.export.networks import Network
from impasto.export.weights.weights import LayerWeights, Palette, Weights

Array = NDArray[np.float32] | NDArray[np.uint8]

#: Tensors' types and shapes by name.
TensorTypes = Mapping[str, tuple[np.dtype, tuple[int, ...]]]


def tensors(weights: Weights) -> dict[str, Array]:
    """Return every tensor of the weights by the name it has in the graphs; 8-bit weights stay 8-bit."""
    arrays: dict[str, Array] = {}
    for name, layer in weights.layers.items():
        if isinstance(layer.kernel, Palette):
            arrays[f"{name}.codes"] = layer.kernel.codes
            arrays[f"{name}.table"] = layer.kernel.table
        else:
            arrays[f"{name}.kernel"] = layer.kernel
        arrays[f"{name}.bias"] = layer.bias
    return arrays


def tensor_types(network: Network, palettes: Collection[str]) -> TensorTypes:
    """Return type and shape of the `tensors` of a network's weights, by name; `palettes` are its 8-bit layers."""
    single, byte = np.dtype(np.float32), np.dtype(np.uint8)
    entries: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
    for layer in network.layers:
        shape = (layer.outputs, layer.inputs, 3, 3)
        if layer.name in palettes:
            entries[f"{layer.name}.codes"] = byte, shape
            entries[f"{layer.name}.table"] = single, (256,)
        else:
            entries[f"{layer.name}.kernel"] = single, shape
        entries[f"{layer.name}.bias"] = single, (layer.outputs,)
    return entries


def layers(network: Network, arrays: Mapping[str, NDArray[Any]]) -> dict[str, LayerWeights]:
    """Return the layers from their `tensors`."""

    def kernels(name: str) -> NDArray[np.float32] | Palette:
        if f"{name}.codes" in arrays:
            return Palette(arrays[f"{name}.codes"], arrays[f"{name}.table"])
        return arrays[f"{name}.kernel"]

    return {layer.name: LayerWeights(kernels(layer.name), arrays[f"{layer.name}.bias"]) for layer in network.layers}


def kernel(b: Builder, layer: str) -> str:
    """Return a layer's kernels, float32 [out, in, 3, 3].

    8-bit kernels are looked up in their table by nodes that onnxruntime folds when it creates a session.
    """
    if f"{layer}.kernel" in b.parameters:
        return b.parameter(f"{layer}.kernel")

    def look_up() -> str:
        codes = b.parameter(f"{layer}.codes")
        # Reshaped while they are small, before the cast: until a session is made it keeps every value that it folds.
        indices = b.node("Cast", b.node("Reshape", codes, b.ints(-1)), to=TensorProto.INT32)  # 8 bits are not allowed
        # GatherElements copies numbers. Gather copies blocks, here of one number, and is several times as slow.
        kernels = b.node("GatherElements", b.parameter(f"{layer}.table"), indices)
        return b.node("Reshape", kernels, b.node("Shape", codes))

    return b.once(("kernel", layer), look_up)


def bias(b: Builder, layer: str) -> str:
    """Return a layer's biases, float32 [out]."""
    return b.parameter(f"{layer}.bias")
