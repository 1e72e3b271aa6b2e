"""The lowering `direct` in bfloat16, for processors that multiply it faster than float32.

Bfloat16 has the range of float32 and 8 significant bits. Maps are bfloat16 from convolution to convolution. Pictures,
their gradients, matrices and numbers are float32: bfloat16 would lose the differences of two Gram matrices, and the
roots of covariance matrices.

- **The first convolution takes 16 bits.** Its input is the picture: levels of up to 255, whose steps bfloat16 would
  round away. So picture and kernels are two bfloat16 numbers each, and three of their four products are added up, as
  channels of one convolution. The fourth product is too small to matter. The picture has three channels, so this costs
  next to nothing.
- **Rounded kernels are another network.** Near the end of a transfer, its loss against the targets of the exact network
  has a gradient of its own. So this lowering writes the graph that measures targets, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper

from impasto.export import graph, ops
from impasto.export.graph import Map, Op
from impasto.export.lowering.base import Builder, Emit, RuleTable, reads
from impasto.export.lowering.direct import (
    conv3x3,
    direct,
    flipped,
    from_rows,
    gated,
    positions,
    rows_of,
    unpad,
)
from impasto.export.lowering.parameters import bias, kernel
from impasto.runtime.model.graphs import BFLOAT16, DIRECT

#: The channels of a picture. It is float32, and so is its gradient.
_PICTURE = 3

#: Maps of no more channels have Gram matrices that are small beside them, in float32 too.
_SHALLOW = 128

#: Maps of more channels have Gram matrices that are too large to have one for each row of pixels.
_DEEP = 256

#: The first version of ONNX's operators with convolutions and pooling of bfloat16.
_OPSET = 22


@dataclass
class Rounded(Builder):
    """A graph in the making; `rounded` has the names of its bfloat16 values."""

    rounded: set[str] = field(default_factory=set)

    def scan(
        self, body: Callable[[Sequence[str]], Sequence[str]], sequences: Sequence[str], state: Sequence[str] = ()
    ) -> list[str]:
        """Emit nodes that run once for each slice: see `Builder.scan`. The values of the body are all its own.

        OpenVINO refuses a body that uses values of the graph around it. Constants become the body's, and float values
        a state that no step changes.
        """
        results = super().scan(body, sequences, state)
        node = self.nodes[-1]
        step = next(attribute.g for attribute in node.attribute if attribute.name == "body")
        known = {value.name for value in step.input} | {name for inner in step.node for name in inner.output}
        outside = sorted({name for inner in step.node for name in reads(inner)} - known)
        own = {name: self._fresh() for name in outside}
        for inner in step.node:
            inner.input[:] = [own.get(name, name) for name in inner.input]
        kept = [name for name in outside if name not in self.initializers]
        for name in sorted(set(outside).difference(kept)):
            constant = step.initializer.add()
            constant.CopyFrom(self.initializers[name])
            constant.name = own[name]
        for name in kept:
            step.input.insert(len(state), helper.make_tensor_value_info(own[name], TensorProto.FLOAT, None))
            same = self._fresh()
            step.node.append(helper.make_node("Identity", [own[name]], [same]))
            step.output.insert(len(state), helper.make_tensor_value_info(same, TensorProto.FLOAT, None))
            node.input.insert(len(state), name)
            node.output.insert(len(state), self._fresh())
        return results


# --- between bfloat16 and float32 -----------------------------------------------------------------------------


def _record(b: Rounded, x: str, *factors: str) -> str:
    """Record that a result is bfloat16 if its factors are, and return it."""
    if b.rounded.issuperset(factors):
        b.rounded.add(x)
    return x


def _bfloat(b: Rounded, x: str) -> str:
    """Return x rounded to bfloat16."""
    return x if x in b.rounded else _record(b, _cast(b, x, TensorProto.BFLOAT16))


def _single(b: Rounded, x: str) -> str:
    """Return x in float32."""
    return _cast(b, x, TensorProto.FLOAT) if x in b.rounded else x


def _cast(b: Rounded, x: str, to: int) -> str:
    def cast() -> str:
        y = b.node("Cast", x, to=to)
        if x in b.origin:
            b.origin[y] = b.origin[x]
        return y

    return b.once(("cast", x, to), cast)


def _number(b: Rounded, value: float, like: str) -> str:
    """Return a constant of the type of a value."""
    return _bfloat(b, b.number(value)) if like in b.rounded else b.number(value)


def _in_single(rule: Emit[Builder, Op]) -> Emit[Rounded, Op]:
    """Return a rule of `direct` that takes bfloat16 values, too, each brought to float32 first."""
    return lambda b, op, *values: rule(b, op, *(_single(b, x) for x in values))


bfloat = RuleTable(DIRECT, direct.describe, Rounded, deliver=_single, precision=BFLOAT16, opset=_OPSET)
lowers = bfloat.lowers


# --- the network ----------------------------------------------------------------------------------------------


@lowers(ops.Conv)
def _conv(b: Rounded, op: ops.Conv, x: str) -> str:
    factors = [x, kernel(b, op.layer)]
    if op.inputs == _PICTURE:
        (x, x_rest), (kernels, kernels_rest) = (_in_two(b, factor) for factor in factors)
        factors = [b.node("Concat", x, x_rest, x, axis=1), b.node("Concat", kernels, kernels, kernels_rest, axis=1)]
    else:
        factors = [_bfloat(b, factor) for factor in factors]
    biases = [_bfloat(b, bias(b, op.layer))] if op.bias else []
    return _record(b, conv3x3(b, *factors, *biases, zeros=op.padding))


def _in_two(b: Rounded, x: str) -> tuple[str, str]:
    """Return x rounded to bfloat16, and the rest, rounded too: together they have 16 significant bits."""
    return _bfloat(b, x), _bfloat(b, b.node("Sub", x, _single(b, _bfloat(b, x))))


@lowers(ops.ConvAdjoint)
def _conv_adjoint(b: Rounded, op: ops.ConvAdjoint, g: str) -> str:
    g = _record(b, conv3x3(b, _bfloat(b, g), _bfloat(b, flipped(b, op.layer)), zeros=2 - op.padding))
    return _single(b, g) if op.inputs == _PICTURE else g


def _in_either(op: type[Op]) -> None:
    """Lower `op` as `direct` does, for maps in either precision."""
    rule = direct.rules[op]

    @lowers(op)
    def _emit(b: Rounded, op: Op, x: str) -> str:
        return _record(b, rule(b, op, x), x)


_in_either(ops.Relu)
_in_either(ops.MaxPool)
_in_either(ops.AveragePool)


@lowers(ops.Gate)
def _gate(b: Rounded, op: ops.Gate, g: str, y: str) -> str:
    """Multiply by [y > 0]. What is unpooled next is gated before, at a quarter of the places.

    A window's maximum is above zero exactly where its place in y is.
    """
    above = b.origin.get(g)
    if above and isinstance(above.op, ops.MaxUnpool) and above.inputs[1] == b.origin[y]:
        small, _, pooled = (b.values[var] for var in above.inputs)
        return _max_unpool(b, above.op, _gated(b, small, pooled), y, pooled)
    return _gated(b, g, y)


def _gated(b: Rounded, g: str, y: str) -> str:
    return _record(b, gated(b, g, y, _number(b, 0.0, g)), g)


@lowers(ops.MaxUnpool)
def _max_unpool(b: Rounded, op: ops.MaxUnpool, g: str, x: str, y: str) -> str:
    """Give g to the first place of each window, in reading order, whose x is y.

    The largest of the first place alone, of the first row and of the first column tell which one that is. So no place
    is cut out of x: slices with steps take the providers this is for longer than a convolution.
    """
    rest, zero, extent, shares = g, _number(b, 0.0, g), b.node("Shape", y, start=2), []
    for rows, columns in ((1, 1), (1, 2), (2, 1)):
        largest = b.node("MaxPool", x, kernel_shape=[rows, columns], strides=[2, 2])
        largest = b.node("Slice", largest, b.ints(0, 0), extent, b.ints(2, 3))  # an odd last row or column has none
        shares.append(b.node("Where", b.node("Equal", largest, y), rest, zero))
        rest = b.node("Sub", rest, shares[-1])
    spread = b.node("DepthToSpace", b.node("Concat", *shares, rest, axis=1), blocksize=2)
    return _record(b, unpad(b, spread, x), g)


@lowers(ops.AverageUnpool)
def _average_unpool(b: Rounded, op: ops.AverageUnpool, g: str, x: str) -> str:
    quarter = b.node("Mul", g, _number(b, 0.25, g))
    twice = b.array(np.array([1, 1, 2, 2], np.float32))
    rule = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return _record(b, unpad(b, b.node("Resize", quarter, "", twice, **rule), x), g)


# --- statistics, and their gradients --------------------------------------------------------------------------


@lowers(ops.Gram)
def _gram(b: Rounded, op: ops.Gram, x: str) -> str:
    """Multiply in bfloat16, a product for each row of pixels, and sum the products in float32.

    Each product is rounded to bfloat16. In the sum over all rows these errors nearly cancel out: what is left is small
    beside what the rounding of maps does.

    The deepest maps have few pixels, and such products would be larger than the map: see `_exact_gram`.
    """
    type_ = b.origin[x].type
    assert isinstance(type_, Map)
    if type_.channels > _DEEP:
        return _exact_gram(b, x)
    return _mean_of_rows(b, x, _record(b, rows_of(b, x), x))


def _exact_gram(b: Rounded, x: str) -> str:
    """Return the Gram matrix of x, of products in float32.

    Maps of few channels have a product for each row, which processors divide among threads.
    """
    type_ = b.origin[x].type
    assert isinstance(type_, Map)
    rows = _single(b, _record(b, rows_of(b, x), x))
    if type_.channels > _SHALLOW:
        return b.node("Div", b.node("Gemm", rows, rows, transA=1), positions(b, x))
    return _mean_of_rows(b, x, rows)


def _mean_of_rows(b: Rounded, x: str, rows: str) -> str:
    """Return the Gram matrix of x, given as a matrix [M, C], too: products of single rows of pixels, in its type."""
    extent = b.node("Concat", b.node("Shape", x, start=2), b.ints(-1), axis=0)
    by_row = b.node("Reshape", rows, extent)  # [H, W, C]
    each = _record(b, b.node("MatMul", b.node("Transpose", by_row, perm=[0, 2, 1]), by_row), rows)
    return b.node("Div", b.node("ReduceSum", _single(b, each), b.ints(0), keepdims=0), positions(b, x))


@lowers(ops.CoreGram)
def _core_gram(b: Rounded, op: ops.CoreGram, x: str, w: str) -> str:
    """Multiply in bfloat16 as `_gram` does, unless the matrix has to be exact."""
    type_ = b.origin[x].type
    assert isinstance(type_, Map)
    if op.exact or type_.channels > _DEEP:
        return direct.rules[ops.CoreGram](b, op, _single(b, x), w)
    column = _bfloat(b, b.node("Reshape", w, b.ints(-1, 1)))
    rows = _record(b, rows_of(b, x), x)
    return _mean_of_rows(b, x, _record(b, b.node("Mul", rows, column), rows))


@lowers(ops.Within)
def _within(b: Rounded, op: ops.Within, x: str, w: str) -> str:
    if x not in b.rounded:
        return direct.rules[ops.Within](b, op, x, w)
    return _record(b, b.node("Mul", x, _bfloat(b, w)), x)


@lowers(graph.Subtract)
def _subtract(b: Rounded, op: graph.Subtract, x: str, y: str) -> str:
    """Subtract in float32. A covariance, a Gram matrix less a product of means, is made of the exact Gram matrix.

    With the rounded products its eigenvalues would be below zero at times, and there would be no root.
    """
    minuend, subtrahend = b.origin.get(x), b.origin.get(y)
    if minuend and isinstance(minuend.op, ops.Gram) and not (subtrahend and isinstance(subtrahend.op, ops.Input)):
        x = _exact_gram(b, b.values[minuend.inputs[0]])
    return b.node("Sub", _single(b, x), _single(b, y))


@lowers(ops.Mix)
def _mix(b: Rounded, op: ops.Mix, a: str, x: str) -> str:
    a = _bfloat(b, b.node("Div", a, positions(b, x)))
    return _record(b, from_rows(b, b.node("Gemm", rows_of(b, x), a, transB=1), x), x)


@lowers(ops.ChannelSpread)
def _channel_spread(b: Rounded, op: ops.ChannelSpread, v: str, x: str) -> str:
    """Round the column, not the map that it is spread over."""
    each = b.node("Unsqueeze", _bfloat(b, b.node("Div", v, positions(b, x))), b.ints(0, 3))  # [1, C, 1, 1]
    return _record(b, b.node("Expand", each, b.node("Shape", x)))


@lowers(graph.Add)
def _add(b: Rounded, op: graph.Add, x: str, y: str) -> str:
    if b.rounded.isdisjoint((x, y)):
        return b.node("Add", x, y)
    return _record(b, b.node("Add", _bfloat(b, x), _bfloat(b, y)))


# --- all else -------------------------------------------------------------------------------------------------

for _op, _rule in direct.rules.items():
    bfloat.rules.setdefault(_op, _in_single(_rule))
