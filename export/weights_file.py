"""The file of weights in a model folder: every tensor once, as ONNX external data; written, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from impasto.export.lowering.base import Tensors
from impasto.export.lowering.parameters import Array, TensorTypes, layers, tensor_types, tensors
from impasto.export.networks import NETWORKS, PREPROCESSINGS, Network
from impasto.export.weights.weights import Provenance, Weights
from impasto.runtime.errors import MemoryShortage, ModelError
from impasto.runtime.model.default import export_again
from impasto.runtime.model.folder import WEIGHTS_FILE, ModelFolder
from impasto.runtime.model.metadata import METADATA_KEY, Metadata
from impasto.runtime.storage import codec
from impasto.shortage import advice, is_shortage
from impasto.wording import option

#: External data starts on page boundaries, so that a runtime can map the file into memory.
_PAGE = 4096


@dataclass(frozen=True)
class WeightsFile:
    """The weights as written: their tensors as references into the file, its length and its hash."""

    tensors: Tensors
    size: int
    sha256: str


def write_weights(weights: Weights, path: Path) -> WeightsFile:
    """Write every tensor once, each from a page boundary on, as ONNX external data."""
    references: dict[str, TensorProto] = {}
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for name, values in tensors(weights).items():
            data = np.ascontiguousarray(values).tobytes()
            references[name] = _reference(name, values.dtype, values.shape, size, len(data))
            padded = data + bytes(_padded(len(data)) - len(data))
            digest.update(padded)
            size += file.write(padded)
    return WeightsFile(references, size, digest.hexdigest())


def _reference(name: str, dtype: np.dtype, shape: tuple[int, ...], offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(dtype), dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _padded(length: int) -> int:
    return length + -length % _PAGE


# --- reading it back ------------------------------------------------------------------------------------------


def read_weights(folder: ModelFolder) -> Weights:
    """Return the weights that a model folder was exported over, from its own file: `write_weights` writes them again.

    Raises
    ------
    ModelError
        When a graph or the file is damaged, or the file is laid out in another way.
    """
    graphs = [read_graph(folder.graph(recipe)) for recipe in folder.recipes()]
    path, metadata = folder.path / WEIGHTS_FILE, graphs[0][0]
    folder.check_weights(metadata)  # before the whole file is read
    network, provenance = NETWORKS.get(metadata.network), _provenance(metadata)
    known = {name for _, names in graphs for name in names}
    layout = _layout(network, known, metadata.weights_size) if network else None
    if network is None or provenance is None or layout is None:
        raise ModelError(f"{path}: is not laid out as this version of impasto does it; {export_again(folder.path)}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != metadata.weights_sha256:
        raise ModelError(f"{path}: damaged (its sha256 is another one); {export_again(folder.path)}")
    preprocessing = PREPROCESSINGS[provenance.preprocessing]
    return Weights(network.name, layers(network, _cut(data, layout)), preprocessing, provenance)


def read_graph(path: Path) -> tuple[Metadata, set[str]]:
    """Return a graph's metadata, and the names of its tensors in the file of weights.

    It is read without onnxruntime, which would need the weights: those may be damaged.

    Raises
    ------
    ModelError
        When it is damaged.
    MemoryShortage
        When there is no room for it.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf has several, and they differ between its implementations
        if is_shortage(error):
            raise MemoryShortage(f"{path}: cannot be read for want of memory; {advice()}") from None
        raise ModelError(f"{path}: damaged; export it again with {option('force', True)}") from None
    text = next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), "")
    outside = {x.name for x in model.graph.initializer if x.data_location == TensorProto.EXTERNAL}
    return Metadata.from_json(text, path), outside


def _provenance(metadata: Metadata) -> Provenance | None:
    try:
        provenance = codec.from_data(Provenance, dict(metadata.weights))
    except codec.Misfit:
        return None
    return provenance if provenance.preprocessing in PREPROCESSINGS else None


def _layout(network: Network, known: Collection[str], size: int) -> TensorTypes | None:
    """Return the tensors of a file of `size` bytes, in their order, or nothing if no layout has that size.

    The names of tensors in graphs, the `known` ones, tell whether a layer's weights have 8 bits. No name tells it of
    layers that no graph reads: two layouts are tried, with 8 bits for all of these layers and for none.
    """
    eight_bit = {layer.name for layer in network.layers if f"{layer.name}.codes" in known}
    unread = {layer.name for layer in network.layers if f"{layer.name}.bias" not in known}
    for palettes in (eight_bit | unread, eight_bit):
        entries = tensor_types(network, palettes)
        if sum(_padded(_length(*entry)) for entry in entries.values()) == size:
            return entries
    return None


def _length(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * int(np.prod(shape))


def _cut(data: bytes, layout: TensorTypes) -> Mapping[str, Array]:
    arrays: dict[str, Array] = {}
    offset = 0
    for name, (dtype, shape) in layout.items():
        arrays[name] = np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape)
        offset += _padded(_length(dtype, shape))
    return arrays
