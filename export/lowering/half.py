"""The lowering `direct` in half precision: maps take half the memory, and tensor cores multiply them.

Float16 ends at 65504 and loses digits below 6e-5, while activations and gradients of pictures span twenty orders of
magnitude. So a map is kept as a float16 tensor and one float32 number, its unit: the map is the product of the two.
ReLU, pooling and their adjoints do not depend on the unit. A convolution changes it, for its kernels have a unit of
their own. It also changes the bound of the tensor, which no magnitude passes, whatever the picture. Where a further
convolution could pass the range of float16, or has biases, its input is measured first, and divided by its largest
magnitude.

A picture's gradient, matrices and numbers stay float32. So the Gram matrices are sums in float32 of products in
float32, and the losses their differences, which float16 would lose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from onnx import TensorProto

from impasto.export import graph, ops
from impasto.export.graph import Op
from impasto.export.lowering.base import Builder, Emit, RuleTable
from impasto.export.lowering.direct import (
    channels_last,
    conv3x3,
    direct,
    flipped,
    from_rows,
    gated,
    place,
    positions,
    rows_of,
    spread_over_windows,
    unpooled,
)
from impasto.export.lowering.parameters import bias, kernel
from impasto.runtime.model.graphs import DIRECT, HALF

#: The bound that products are kept within. A sum of two, and rounding, stay below float16's end.
_TOP = 2.0**14

#: The largest sum of a kernel's magnitudes. A convolution then leaves a map about as large as it was, and two of them
#: take a bound of 1 to no more than `_TOP`.
_KERNEL = 2.0**6

#: The bound of a map that was mixed by a matrix. It leaves room for the sum with another map, and is otherwise high: if
#: the rows of a matrix differ much, the small ones keep their digits.
_MIXED = 2.0**13

#: Less than any magnitude that matters: the divisor of a map that is zero everywhere.
_TINY = 1e-25

#: The same of units, which are products.
_TINY_UNIT = 1e-32

#: The channels of a picture. It is in single precision, and so is its gradient.
_PICTURE = 3

#: A measured map counts as no smaller than this: the digits that it has lost by then do not come back.
_LEAST = 2.0**-12

#: Half of the least float16 that is not zero.
_SLIGHTEST = 2.0**-25


@dataclass(frozen=True)
class Scaled:
    """How a float16 map is scaled.

    Attributes
    ----------
    unit
        The float32 number that the map is to be multiplied by.
    bound
        No element's magnitude is larger.
    positive
        Whether no element is negative.
    """

    unit: str
    bound: float
    positive: bool = False


@dataclass
class Halved(Builder):
    """A graph in the making, with float16 maps; `scaled` tells how these are scaled, by name."""

    scaled: dict[str, Scaled] = field(default_factory=dict)


# --- between half and single precision ------------------------------------------------------------------------


def _scaled(b: Halved, x: str) -> Scaled | None:
    """Return how x is scaled if it is a float16 map, else nothing."""
    return b.scaled.get(x)


def _record(b: Halved, x: str, scaled: Scaled | None) -> str:
    """Record how a result is scaled, unless it is float32, and return the result."""
    if scaled:
        b.scaled[x] = scaled
    return x


def _single(b: Halved, x: str) -> str:
    """Return x in float32, multiplied by its unit if it is a float16 map."""
    scaled = _scaled(b, x)
    if scaled is None:
        return x

    def single() -> str:
        value = b.node("Mul", b.node("Cast", x, to=TensorProto.FLOAT), scaled.unit)
        if x in b.origin:
            b.origin[value] = b.origin[x]
        return value

    return b.once(("single", x), single)


def _half(b: Halved, x: str, floor: str | None = None) -> str:
    """Return a float32 map as a float16 one, measured; its magnitude counts as no less than `floor`."""
    if _scaled(b, x):
        return x

    def half_() -> str:
        unit = _divisor(b, _magnitude(b, x), floor)
        return _record(b, _float16(b, b.node("Div", x, unit)), Scaled(unit, 1.0))

    return b.once(("half", x, floor), half_)


def _magnitude(b: Halved, x: str, *, positive: bool = False) -> str:
    """Return the largest magnitude in x, a number of its type."""
    largest = b.node("ReduceMax", x, keepdims=0)
    return largest if positive else b.node("Max", largest, b.node("Neg", b.node("ReduceMin", x, keepdims=0)))


def _divisor(b: Halved, magnitude: str, floor: str | None = None) -> str:
    """Return a float32 magnitude that may be divided by: no less than `floor`, or than a tiny number."""
    return b.node("Max", magnitude, floor or b.number(_TINY))


def _largest_sum(b: Halved, x: str, *axes: int) -> str:
    """Return the largest sum of magnitudes along some axes of x: how many times larger a product with x may be."""
    return _divisor(b, _magnitude(b, b.node("ReduceSum", b.node("Abs", x), b.ints(*axes)), positive=True))


def _measured(b: Halved, x: str, floor: str | None = None) -> str:
    """Return a float16 map divided by its largest magnitude; `floor` as for `_half`."""
    scaled = b.scaled[x]

    def measured() -> str:
        floors = [b.number(_LEAST), *([b.node("Div", floor, scaled.unit)] if floor else [])]
        largest = b.node("Cast", _magnitude(b, x, positive=scaled.positive), to=TensorProto.FLOAT)
        factor = _float16(b, b.node("Div", b.number(1.0), b.node("Max", largest, *floors)))
        # The unit goes with the rounded factor. Where a high floor makes that zero, the map is zero, too.
        rounded = b.node("Max", b.node("Cast", factor, to=TensorProto.FLOAT), b.number(_SLIGHTEST))
        unit = b.node("Max", b.node("Div", scaled.unit, rounded), floor or b.number(_TINY_UNIT))
        return _record(b, b.node("Mul", x, factor), replace(scaled, unit=unit, bound=1.0))

    return b.once(("measured", x, floor), measured)


def _ready(b: Halved, x: str, growth: float) -> str:
    """Return x as a float16 map that may become `growth` times as large."""
    x = _half(b, x)
    return x if b.scaled[x].bound * growth <= _TOP else _measured(b, x)


def _float16(b: Halved, x: str) -> str:
    return b.node("Cast", x, to=TensorProto.FLOAT16)


def _zero(b: Halved, scaled: Scaled | None) -> str:
    return b.array(np.zeros((), np.float16 if scaled else np.float32))


def _in_single(rule: Emit[Builder, Op]) -> Emit[Halved, Op]:
    """Return a rule of `direct` that takes float16 maps, too, each brought to float32 first."""
    return lambda b, op, *values: rule(b, op, *(_single(b, x) for x in values))


half = RuleTable(DIRECT, direct.describe, Halved, deliver=_single, precision=HALF)
lowers = half.lowers


# --- the network ----------------------------------------------------------------------------------------------


@lowers(ops.Conv)
def _conv(b: Halved, op: ops.Conv, x: str) -> str:
    return _convolve(b, x, kernel(b, op.layer), bias(b, op.layer) if op.bias else None, zeros=op.padding)


@lowers(ops.ConvAdjoint)
def _conv_adjoint(b: Halved, op: ops.ConvAdjoint, g: str) -> str:
    g = _convolve(b, g, flipped(b, op.layer), zeros=2 - op.padding)
    return _single(b, g) if op.inputs == _PICTURE else g


def _convolve(b: Halved, x: str, weights: str, biases: str | None = None, *, zeros: int) -> str:
    """Convolve x with float32 kernels [out, C, 3, 3]; products in float16, their sums in float32.

    Like `conv3x3`, it surrounds x with so many rows and columns of zeros.

    The kernels are scaled so that no sum of a kernel's magnitudes is over `_KERNEL`. That does not depend on the
    picture, so onnxruntime does it when it creates a session. The biases become float16 in the unit of the result. With
    biases x is always measured, and counts as no smaller than a map whose products could equal them: so no bias is
    larger than the products may be.
    """
    largest = _largest_sum(b, weights, 1, 2, 3)
    unit_of_kernels = b.node("Mul", largest, b.number(1 / _KERNEL))
    kernels = _float16(b, b.node("Div", weights, unit_of_kernels))
    if biases is None:
        x = _ready(b, x, _KERNEL)
        unit = b.node("Mul", b.scaled[x].unit, unit_of_kernels)
        return _record(b, conv3x3(b, x, kernels, zeros=zeros), Scaled(unit, b.scaled[x].bound * _KERNEL))
    floor = b.node("Div", _divisor(b, _magnitude(b, biases)), largest)
    x = _measured(b, x, floor) if _scaled(b, x) else _half(b, x, floor)
    unit = b.node("Mul", b.scaled[x].unit, unit_of_kernels)
    y = conv3x3(b, x, kernels, _float16(b, b.node("Div", biases, unit)), zeros=zeros)
    return _record(b, y, Scaled(unit, 2 * _KERNEL))


def _in_either(op: type[Op], *, positive: bool = False) -> None:
    """Lower `op` as `direct` does, for maps in half or single precision: it needs no unit and makes no map larger."""
    rule = direct.rules[op]

    @lowers(op)
    def _emit(b: Halved, op: Op, x: str) -> str:
        scaled = _scaled(b, x)
        return _record(b, rule(b, op, x), scaled and replace(scaled, positive=scaled.positive or positive))


_in_either(ops.Relu, positive=True)
_in_either(ops.MaxPool)
_in_either(ops.AveragePool)


@lowers(ops.Gate)
def _gate(b: Halved, op: ops.Gate, g: str, y: str) -> str:
    scaled = _scaled(b, g)
    return _record(b, gated(b, g, y, _zero(b, scaled)), scaled)


@lowers(ops.MaxUnpool)
def _max_unpool(b: Halved, op: ops.MaxUnpool, g: str, x: str, y: str) -> str:
    """Give g to the first place of each window, in reading order, whose x is the largest.

    The places are compared with each other, not with y: where a provider has no kernels for half precision, onnxruntime
    leaves out some of the rounding, and y may equal the x of no place.
    """

    def share(g: str, first: str, second: str) -> list[str]:
        of_second = b.node("Where", b.node("Greater", second, first), g, _zero(b, scaled))
        return [b.node("Sub", g, of_second), of_second]

    scaled = _scaled(b, g)
    (p, q), (r, s) = ([place(b, x, y, row, column) for column in (0, 1)] for row in (0, 1))
    upper, lower = share(channels_last(b, g), b.node("Max", p, q), b.node("Max", r, s))
    return _record(b, unpooled(b, [*share(upper, p, q), *share(lower, r, s)], x, y), scaled)


@lowers(ops.AverageUnpool)
def _average_unpool(b: Halved, op: ops.AverageUnpool, g: str, x: str) -> str:
    """Give g to each place of its window; its unit takes the factor of a quarter."""
    scaled = _scaled(b, g)
    if not scaled:
        return direct.rules[ops.AverageUnpool](b, op, g, x)
    quarter = b.node("Mul", scaled.unit, b.number(0.25))
    return _record(b, spread_over_windows(b, g, x), replace(scaled, unit=quarter))


# --- statistics, and their gradients --------------------------------------------------------------------------


@lowers(ops.Gram)
def _gram(b: Halved, op: ops.Gram, x: str) -> str:
    """Multiply in float32; apply the unit to the matrix."""
    rows = b.node("Cast", rows_of(b, x), to=TensorProto.FLOAT)
    unit = b.scaled[x].unit
    return b.node("Mul", b.node("Gemm", rows, rows, transA=1), _per_position(b, b.node("Mul", unit, unit), x))


@lowers(ops.Mix)
def _mix(b: Halved, op: ops.Mix, a: str, x: str) -> str:
    """Scale the matrix so that no product of a row with x can pass `_MIXED`."""
    scaled, largest = b.scaled[x], _largest_sum(b, a, 1)
    rise = b.number(scaled.bound / _MIXED)
    rows = b.node("Gemm", rows_of(b, x), _float16(b, b.node("Div", a, b.node("Mul", largest, rise))), transB=1)
    unit = b.node("Mul", b.node("Mul", scaled.unit, rise), _per_position(b, largest, x))
    return _record(b, from_rows(b, rows, x), Scaled(unit, _MIXED))


@lowers(ops.ChannelSpread)
def _channel_spread(b: Halved, op: ops.ChannelSpread, v: str, x: str) -> str:
    unit = _divisor(b, _magnitude(b, v))
    each = b.node("Unsqueeze", _float16(b, b.node("Div", v, unit)), b.ints(0, 3))  # [1, C, 1, 1]
    y = b.node("Expand", each, b.node("Shape", x))
    return _record(b, y, Scaled(_per_position(b, unit, x), 1.0))


@lowers(ops.Within)
def _within(b: Halved, op: ops.Within, x: str, w: str) -> str:
    """Multiply by zeros and ones, for which float16 is exact."""
    scaled = _scaled(b, x)
    if not scaled:
        return direct.rules[ops.Within](b, op, x, w)
    return _record(b, b.node("Mul", x, _float16(b, w)), scaled)


def _per_position(b: Halved, value: str, x: str) -> str:
    return b.node("Div", value, positions(b, x))


@lowers(graph.Add)
def _add(b: Halved, op: graph.Add, x: str, y: str) -> str:
    """Add. If a map is float16, both are brought to a unit in which neither can pass the larger of their bounds."""
    if not _scaled(b, x) and not _scaled(b, y):
        return b.node("Add", x, y)
    x, y = (_ready(b, v, 1) for v in (x, y))
    of_x, of_y = b.scaled[x], b.scaled[y]
    bound = max(of_x.bound, of_y.bound)
    most = [b.node("Mul", scaled.unit, b.number(scaled.bound / bound)) for scaled in (of_x, of_y)]
    unit = b.node("Max", *most, b.number(_TINY_UNIT))
    terms = [b.node("Mul", v, _float16(b, b.node("Div", scaled.unit, unit))) for v, scaled in ((x, of_x), (y, of_y))]
    return _record(b, b.node("Add", *terms), Scaled(unit, 2 * bound))


# --- all else -------------------------------------------------------------------------------------------------

for _op, _rule in direct.rules.items():
    half.rules.setdefault(_op, _in_single(_rule))
