"""The seam between the mathematics and ONNX: the interface of a lowering, and the builder that it writes nodes with.

A lowering is a table from operators of the logical graph to functions that emit ONNX nodes, for one layout of
activations in memory. All code that knows about layouts is behind this seam.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from impasto.export import ops
from impasto.export.graph import GraphError, Op, Type, Var, topological
from impasto.runtime.model.graphs import SINGLE
from impasto.runtime.plan.terms import GRADIENT

T = TypeVar("T")
B = TypeVar("B", bound="Builder")
O = TypeVar("O", bound=Op)  # noqa: E741
P = ParamSpec("P")

OPSET = 18

#: Written into the files: the oldest IR version with everything that is used, for the widest choice of runtimes.
IR_VERSION = 8

Tensors = Mapping[str, TensorProto]

#: The types that an attribute of a node may have.
Attribute = int | float | str | Sequence[int] | onnx.GraphProto


@dataclass
class Builder:
    """An ONNX graph in the making. Values are known by their names.

    A lowering that has to keep more than this derives a class of its own.

    Attributes
    ----------
    parameters
        The tensors of the network's weights by name.
    values, origin
        The name of the value that each logical one was lowered to, and the other way round.
    """

    parameters: Tensors
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)
    values: dict[Var, str] = field(default_factory=dict)
    origin: dict[str, Var] = field(default_factory=dict)
    _pieces: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _memo: dict[Hashable, object] = field(default_factory=dict)

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Attribute) -> str:
        """Emit a node with one output and return the output's name."""
        return self.split(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def split(self, op_type: str, *inputs: str, outputs: int, domain: str = "", **attributes: Attribute) -> list[str]:
        """Emit a node with several outputs and return their names."""
        name = self._fresh()
        names = [name] if outputs == 1 else [f"{name}.{k}" for k in range(outputs)]
        node = helper.make_node(op_type, inputs, names, domain=domain or None)
        node.attribute.extend(helper.make_attribute(*attribute) for attribute in sorted(attributes.items()))
        self.nodes.append(node)
        return names

    def join(self, pieces: Sequence[str], axis: int) -> str:
        """Concatenate values; `pieces` returns them again."""
        if len(pieces) == 1:
            return pieces[0]
        name = self.node("Concat", *pieces, axis=axis)
        self._pieces[name] = list(pieces)
        return name

    def pieces(self, name: str) -> list[str]:
        """Return the values that a value was joined from, or the value alone."""
        return self._pieces.get(name, [name])

    def array(self, values: NDArray[np.generic]) -> str:
        """Return the name of a constant tensor; equal constants are written once."""
        key = ("array", values.dtype.str, values.shape, values.tobytes())
        return self.once(key, lambda: self._initializer(values))

    def ints(self, *values: int) -> str:
        """Return a constant int64 vector."""
        return self.array(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Return a constant float32 scalar."""
        return self.array(np.array(value, np.float32))

    def parameter(self, name: str) -> str:
        """Return a tensor of the network's weights by its name."""
        self.initializers[name] = self.parameters[name]
        return name

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result of `make`, which is called once for each `key`."""
        if key not in self._memo:
            self._memo[key] = make()
        return cast(T, self._memo[key])

    def bind(self, var: Var, name: str) -> None:
        """Record that a logical value has this name."""
        self.values[var] = name
        self.origin[name] = var

    def scan(
        self, body: Callable[[Sequence[str]], Sequence[str]], sequences: Sequence[str], state: Sequence[str] = ()
    ) -> list[str]:
        """Emit nodes that run once for each slice of float sequences along their first axis, one slice after another.

        Parameters
        ----------
        body
            Emits the nodes of one step. Takes the names of the state and of the slices; returns those of the new state
            and of results. It may use any value of the graph around it.

        Returns
        -------
        list of str
            The names of the last state and of the results, stacked along a new first axis.
        """
        nodes, memo, values = self.nodes, self._memo, self.values
        # Values of a step are unknown outside of it.
        self.nodes, self._memo, self.values = [], dict(memo), dict(values)
        inputs = [self._fresh() for _ in (*state, *sequences)]
        outputs = list(body(inputs))
        emitted = {name for node in self.nodes for name in node.output}
        outputs = [name if name in emitted else self.node("Identity", name) for name in outputs]
        step = needed(self.nodes, outputs)
        self.nodes, self._memo, self.values = nodes, memo, values
        graph = helper.make_graph(step, self._fresh(), _floats(inputs), _floats(outputs))
        return self.split("Scan", *state, *sequences, outputs=len(outputs), body=graph, num_scan_inputs=len(sequences))

    def _initializer(self, values: NDArray[np.generic]) -> str:
        name = self._fresh()
        self.initializers[name] = numpy_helper.from_array(values, name)
        return name

    def _fresh(self) -> str:
        """Return a new name, a number. Names are most of a file, so it is a short one.

        Its letters are capitals, which no input or output has.
        """
        return np.base_repr(next(self._numbers), 36)


#: How an operator is emitted: (builder, operator, name of each input) -> name of the result.
Emit = Callable[Concatenate[B, O, ...], str]


class Lowering(Protocol):
    """A writer of logical graphs as ONNX models, in one layout and precision."""

    @property
    def layout(self) -> str:
        """How activations lie in memory: one of `impasto.runtime.model.graphs.LAYOUTS`."""

    @property
    def precision(self) -> str:
        """The precision of activations: one of `impasto.runtime.model.graphs.PRECISIONS`."""

    def lower(self, name: str, outputs: Mapping[str, Var], parameters: Tensors) -> onnx.ModelProto:
        """Write a logical graph as an ONNX model.

        Parameters
        ----------
        outputs
            The graph's results by their names in the model.
        parameters
            The tensors of the network's weights by name; only those used end up in the model.
        """


@dataclass(frozen=True)
class RuleTable(Generic[B]):
    """A lowering: how each operator becomes ONNX nodes.

    Attributes
    ----------
    layout, precision
        See `Lowering`.
    describe
        Type of a graph input or output -> its ONNX shape; dimensions that depend on the picture are strings.
    begin
        The network's weights -> the builder that its rules write nodes with.
    deliver
        (builder, name of a value) -> name of the value that an output holds. It is another one in a lowering that keeps
        values in a form of its own.
    opset
        The version of ONNX's operators; a later one where the types of an operator ask for it.
    """

    layout: str
    describe: Callable[[Type], Sequence[int | str]]
    begin: Callable[[Tensors], B]
    rules: dict[type[Op], Emit[B, Op]] = field(default_factory=dict)
    deliver: Callable[[B, str], str] = lambda builder, name: name
    precision: str = SINGLE
    opset: int = OPSET

    def lowers(
        self, *operators: type[O]
    ) -> Callable[[Callable[Concatenate[B, O, P], str]], Callable[Concatenate[B, O, P], str]]:
        """Register how operators are emitted."""

        def register(emit: Callable[Concatenate[B, O, P], str]) -> Callable[Concatenate[B, O, P], str]:
            for op in operators:
                if op in self.rules:
                    raise ValueError(f"{op.__name__} is lowered already in {self.layout}")
                self.rules[op] = cast(Emit[B, Op], emit)  # it is only called with that operator
            return emit

        return register

    def lower(self, name: str, outputs: Mapping[str, Var], parameters: Tensors) -> onnx.ModelProto:
        """Write a logical graph: see `Lowering`."""
        builder = self.begin(parameters)
        inputs: list[onnx.ValueInfoProto] = []
        for var in topological(outputs.values()):
            if isinstance(var.op, ops.Input):
                inputs.append(self._value_info(var.op.name, var.type))
                builder.bind(var, var.op.name)
        for output, var in _writing_order(outputs):
            self.emit(builder, [var])
            value = self.deliver(builder, builder.values[var])
            builder.nodes.append(helper.make_node("Identity", [value], [output]))
        nodes = needed(builder.nodes, outputs)
        used = {name for node in nodes for name in reads(node)}
        graph = helper.make_graph(
            nodes,
            name,
            inputs,
            [self._value_info(key, var.type) for key, var in outputs.items()],
            [tensor for key, tensor in builder.initializers.items() if key in used],
        )
        opsets = [helper.make_opsetid(domain, 1 if domain else self.opset) for domain in _domains(nodes)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="impasto")

    def emit(self, builder: B, outputs: Iterable[Var]) -> None:
        """Emit all values that the outputs depend on and that have no name yet."""
        for var in topological(outputs):
            if var in builder.values:
                continue
            rule = self.rules.get(type(var.op))
            if rule is None:
                raise GraphError(f"{var} is not lowered in {self.layout}")
            builder.bind(var, rule(builder, var.op, *(builder.values[x] for x in var.inputs)))

    def _value_info(self, name: str, type_: Type) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.describe(type_))


def _writing_order(outputs: Mapping[str, Var]) -> list[tuple[str, Var]]:
    """Return outputs in the order to write them in: on a CPU onnxruntime computes the last one first.

    The gradient has to be computed first: the values that it keeps are then made in the forward pass, not after all
    else. Of the other outputs, the one that needs least is computed first, so that no map is kept for it meanwhile.

    On CUDA, onnxruntime is told to compute in the order of writing: terms first, each as soon as its map is made.
    """
    return sorted(outputs.items(), key=lambda item: (item[0] == GRADIENT, -len(topological([item[1]]))))


def needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs depend on; a rule need not use all values that it was given."""
    wanted = set(outputs)
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(reads(node))
            kept.append(node)
    return kept[::-1]


def _floats(names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the values that a node and the graphs inside it read."""
    inside = (inner for attribute in node.attribute for inner in attribute.g.node)
    return set(node.input).union(*map(reads, inside))


def _domains(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    return sorted({"", *(node.domain for node in nodes)})
