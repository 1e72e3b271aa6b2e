"""Values that follow from the weights alone, such as transformed kernels: computed once for all graphs of an export.

A session by itself computes them anew whenever it is opened, which is most of the time that opening takes, and holds
a copy of its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from impasto.export.lowering.base import needed, reads
from impasto.runtime.engine.opening import open_model
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.session import Runner

#: A value of up to so many bytes is written into the graph: shapes and scales, which onnxruntime has to see.
_SMALL = 16384

_ONE_CORE = Placement("cpu", threads=1)


@dataclass(frozen=True)
class Opened:
    """A graph whose constants are shared: its session, and the constants that are to be fed to it."""

    runner: Runner
    feeds: Mapping[str, NDArray[np.generic]]


@dataclass
class Constants:
    """The constants of a folder's graphs, each computed when it is first asked for.

    Attributes
    ----------
    folder
        The folder with the graphs' weights.
    """

    folder: Path
    _values: dict[bytes, NDArray[np.generic]] = field(default_factory=dict)
    _computing: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: Path, placement: Placement = _ONE_CORE) -> Opened:
        """Open a graph of the folder on the CPU, with its constants taken from here.

        Raises
        ------
        ModelError
            When onnxruntime cannot open it.
        MemoryShortage
            When there is no room for it.
        """
        model = onnx.load(path, load_external_data=False)
        feeds = self._cut(model, path)
        model.graph.input.extend(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in feeds.items()
        )
        return Opened(open_model(path, model.SerializeToString(), placement), feeds)

    def _cut(self, model: onnx.ModelProto, path: Path) -> dict[str, NDArray[np.generic]]:
        """Remove the nodes that compute constants, write the small ones into the graph, and return the large ones."""
        graph = model.graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        computing, rest = _divided(graph.node, tensors)
        digests = _digests(tensors, computing)
        read = {name for node in rest for name in reads(node)} | {output.name for output in graph.output}
        large: dict[str, NDArray[np.generic]] = {}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(rest)
        for name in sorted(read & digests.keys()):
            if name in tensors and not uses_external_data(tensors[name]):
                graph.initializer.append(tensors[name])
                continue
            with self._computing:
                if digests[name] not in self._values:
                    self._values[digests[name]] = self._compute(name, model, computing, tensors, path)
                value = self._values[digests[name]]
            if value.nbytes > _SMALL:
                large[name] = value
            else:
                graph.initializer.append(numpy_helper.from_array(value, name))
        return large

    def _compute(
        self,
        name: str,
        model: onnx.ModelProto,
        computing: Sequence[onnx.NodeProto],
        tensors: Mapping[str, TensorProto],
        path: Path,
    ) -> NDArray[np.generic]:
        """Run the nodes that compute a constant, as they are written; or read it, where it is a tensor."""
        if name in tensors:
            return numpy_helper.to_array(self._whole(tensors[name]))
        nodes = needed(computing, [name])
        read = sorted({key for node in nodes for key in reads(node)} & tensors.keys())
        graph = helper.make_graph(
            nodes, name, [], [onnx.ValueInfoProto(name=name)], [self._whole(tensors[key]) for key in read]
        )
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        runner = open_model(path, alone.SerializeToString(), _ONE_CORE, optimize=False)
        value: NDArray[np.generic] = runner.run({})[name].copy()  # the session's memory goes with it
        return value

    def _whole(self, tensor: TensorProto) -> TensorProto:
        """Return a tensor that holds its data itself."""
        whole = TensorProto()
        whole.CopyFrom(tensor)
        if uses_external_data(whole):  # onnx itself would refuse a file that has a second name
            entries = {entry.key: entry.value for entry in whole.external_data}
            with (self.folder / entries["location"]).open("rb") as file:
                file.seek(int(entries.get("offset", 0)))
                whole.raw_data = file.read(int(entries.get("length", -1)))
            whole.data_location = TensorProto.DEFAULT
            del whole.external_data[:]
        return whole


def _divided(
    nodes: Iterable[onnx.NodeProto], tensors: Iterable[str]
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return the nodes that compute constants, and the rest.

    The former read nothing but tensors and the results of such nodes.
    """
    known = {"", *tensors}
    computing: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    for node in nodes:
        if (
            node.input
            and known.issuperset(node.input)
            and not any(attribute.HasField("g") for attribute in node.attribute)
        ):
            known.update(node.output)
            computing.append(node)
        else:
            rest.append(node)
    return computing, rest


def _digests(tensors: Mapping[str, TensorProto], computing: Iterable[onnx.NodeProto]) -> dict[str, bytes]:
    """Return a digest of the computation of each constant, without its name."""
    digests = {"": b"", **{name: _digest([b"tensor", _nameless(tensor)]) for name, tensor in tensors.items()}}
    for node in computing:
        attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        parts = [node.domain.encode(), node.op_type.encode(), *attributes, *(digests[name] for name in node.input)]
        digests |= {name: _digest([*parts, b"%d" % k]) for k, name in enumerate(node.output)}
    return digests


def _nameless(tensor: TensorProto) -> bytes:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("name")
    serialized: bytes = copy.SerializeToString(deterministic=True)
    return serialized


def _digest(parts: Iterable[bytes]) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())  # each of a known length, so that none runs into the next
    return whole.digest()
