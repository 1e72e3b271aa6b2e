"""The lowering `direct`: activations are [1, C, H, W], every operator nearly one ONNX node.

It runs wherever ONNX runs, and suits a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from impasto.export import graph, ops
from impasto.export.graph import Guides, Map, Matrix, Op, PerRegion, Type
from impasto.export.lowering.base import Builder, RuleTable
from impasto.export.lowering.parameters import bias, kernel
from impasto.runtime.model.graphs import DIRECT, REGIONS, dimension


def describe(type_: Type) -> Sequence[int | str]:
    """Return the shape of a value as this lowering lays it out; H and W are the picture's."""
    match type_:
        case Map(channels, level, trim):
            less = f"{-trim:+}" if trim else ""
            return [1, channels, dimension("H", level) + less, dimension("W", level) + less]
        case Matrix(rows, columns):
            return [rows, columns]
        case Guides(level, single):
            return [1, 1 if single else REGIONS, dimension("H", level), dimension("W", level)]
        case PerRegion(each):
            return [REGIONS, *describe(each)]
        case _:
            return []


direct = RuleTable(DIRECT, describe, Builder)
lowers = direct.lowers

# --- arithmetic -----------------------------------------------------------------------------------------------


@lowers(graph.Constant)
def _constant(b: Builder, op: graph.Constant) -> str:
    return b.number(op.value)


@lowers(graph.Add)
def _add(b: Builder, op: graph.Add, x: str, y: str) -> str:
    return b.node("Add", x, y)


@lowers(graph.Subtract)
def _subtract(b: Builder, op: graph.Subtract, x: str, y: str) -> str:
    return b.node("Sub", x, y)


@lowers(graph.Multiply, graph.Scale)
def _multiply(b: Builder, op: Op, x: str, y: str) -> str:
    return b.node("Mul", x, y)


@lowers(graph.Power)
def _power(b: Builder, op: graph.Power, x: str) -> str:
    if op.exponent == 0.5:
        return b.node("Sqrt", x)
    if op.exponent == 0.25:  # the seed's total variation; two square roots cost a fraction of Pow
        return b.node("Sqrt", b.node("Sqrt", x))
    if op.exponent == 1.25:
        return b.node("Mul", x, _power(b, graph.Power(0.25), x))
    return b.node("Pow", x, b.number(op.exponent))


# --- sums and means -------------------------------------------------------------------------------------------


def _count(b: Builder, x: str) -> str:
    """Return the number of elements of x, as a float; not by `Size`, which onnxruntime does not fold."""

    def count() -> str:
        return b.node("Cast", b.node("ReduceProd", b.node("Shape", x), keepdims=0), to=TensorProto.FLOAT)

    return b.once(("count", x), count)


def total(b: Builder, x: str, reduce: str = "ReduceSum") -> str:
    """Sum x, row by row first: a float32 sum of millions of terms loses digits, a sum of sums does not."""
    return b.node("ReduceSum", b.node(reduce, x, b.ints(-1), keepdims=0), keepdims=0)


@lowers(ops.Inner)
def _inner(b: Builder, op: ops.Inner, x: str, y: str) -> str:
    return total(b, b.node("Mul", x, y))


@lowers(ops.Mean)
def _mean(b: Builder, op: ops.Mean, x: str) -> str:
    return b.node("Div", total(b, x), _count(b, x))


@lowers(ops.MeanSquare)
def _mean_square(b: Builder, op: ops.MeanSquare, x: str) -> str:
    return b.node("Div", total(b, x, "ReduceSumSquare"), _count(b, x))


@lowers(ops.Share)
def _share(b: Builder, op: ops.Share, s: str, x: str) -> str:
    return b.node("Mul", b.node("Div", s, _count(b, x)), x)


@lowers(ops.Spread)
def _spread(b: Builder, op: ops.Spread, s: str, x: str) -> str:
    return b.node("Expand", b.node("Div", s, _count(b, x)), b.node("Shape", x))


# --- pictures -------------------------------------------------------------------------------------------------


@lowers(ops.Normalize)
def _normalize(b: Builder, op: ops.Normalize, x: str) -> str:
    mean, scale = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (op.mean, op.scale))
    if mean.any():
        x = b.node("Sub", x, b.array(mean))
    if (scale != 1).any():
        x = b.node("Mul", x, b.array(scale))
    return x


BEGIN, END = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def _crop(b: Builder, x: str, starts: tuple[int, int], ends: tuple[int, int]) -> str:
    return b.node("Slice", x, b.ints(*starts), b.ints(*ends), b.ints(2, 3))


@lowers(ops.PadEdge)
def _pad_edge(b: Builder, op: ops.PadEdge, x: str) -> str:
    return b.node("Pad", x, b.ints(0, 0, op.before, op.before, 0, 0, 1, 1), mode="edge")


@lowers(ops.PadEdgeAdjoint)
def _pad_edge_adjoint(b: Builder, op: ops.PadEdgeAdjoint, g: str) -> str:
    """Add the values outside to the outermost row, then column."""
    for axis in (2, 3):

        def part(x: str, start: int, stop: int, axis: int = axis) -> str:
            return b.node("Slice", x, b.ints(start), b.ints(stop), b.ints(axis))

        inside = part(g, op.before, -1)
        first, last = part(inside, 0, 1), b.node("Add", part(inside, -1, END), part(g, -1, END))
        if op.before:
            first = b.node("Add", first, part(g, 0, 1))
        g = b.node("Concat", first, part(inside, 1, -1), last, axis=axis)
    return g


#: The two places of a 2x2 window, (row, column), that are subtracted.
_WINDOW = {
    "y": ((0, 0), (1, 0)),
    "x": ((0, 0), (0, 1)),
    "diagonal": ((0, 0), (1, 1)),
    "antidiagonal": ((0, 1), (1, 0)),
}


@lowers(ops.Difference)
def _difference(b: Builder, op: ops.Difference, x: str) -> str:
    def at(y: int, x_: int) -> str:
        ends = (END if y else -1, END if x_ else -1)
        return b.once(("window", x, y, x_), lambda: _crop(b, x, (y, x_), ends))

    one, other = _WINDOW[op.axis]
    return b.node("Sub", at(*one), at(*other))


@lowers(ops.DifferenceAdjoint)
def _difference_adjoint(b: Builder, op: ops.DifferenceAdjoint, g: str) -> str:
    one, other = (b.node("Pad", g, b.ints(0, 0, y, x, 0, 0, 1 - y, 1 - x)) for y, x in _WINDOW[op.axis])
    return b.node("Sub", one, other)


# --- channels first and last ----------------------------------------------------------------------------------
#
# ONNX's convolutions have channels first. On CUDA onnxruntime computes with channels last, wherever it may. Operators
# that depend on the layout of activations are written for that, and the two transpositions around them cancel out.


def channels_last(b: Builder, x: str) -> str:
    """Return x [1, C, H, W] as [1, H, W, C]."""
    return b.once(("channels last", x), lambda: b.node("Transpose", x, perm=[0, 2, 3, 1]))


def _channels_first(b: Builder, x: str) -> str:
    """Return x [1, H, W, C] as [1, C, H, W]."""
    return b.node("Transpose", x, perm=[0, 3, 1, 2])


def rows_of(b: Builder, x: str) -> str:
    """Return x [1, C, H, W] as a matrix [M, C]."""

    def rows() -> str:
        type_ = b.origin[x].type
        assert isinstance(type_, Map)
        return b.node("Reshape", channels_last(b, x), b.ints(-1, type_.channels))

    return b.once(("rows", x), rows)


def from_rows(b: Builder, rows: str, like: str) -> str:
    """Return a matrix [M, C] as the map `like`, [1, C, H, W]."""
    return _channels_first(b, b.node("Reshape", rows, b.node("Shape", channels_last(b, like))))


# --- the network ----------------------------------------------------------------------------------------------


@lowers(ops.Conv)
def _conv(b: Builder, op: ops.Conv, x: str) -> str:
    biases = [bias(b, op.layer)] if op.bias else []
    return conv3x3(b, x, kernel(b, op.layer), *biases, zeros=op.padding)


def conv3x3(b: Builder, *factors: str, zeros: int) -> str:
    """Convolve a map with kernels [out, C, 3, 3]; a third factor, if given, are the biases.

    The map is surrounded by so many rows and columns of zeros.
    """
    return b.node("Conv", *factors, kernel_shape=[3, 3], pads=[zeros] * 4)


def flipped(b: Builder, layer: str) -> str:
    """Return the kernels of a convolution's adjoint: flipped, channels swapped; folded when a session is created."""
    swapped = b.node("Transpose", kernel(b, layer), perm=[1, 0, 2, 3])
    return b.node("Slice", swapped, b.ints(-1, -1), b.ints(BEGIN, BEGIN), b.ints(2, 3), b.ints(-1, -1))


@lowers(ops.ConvAdjoint)
def _conv_adjoint(b: Builder, op: ops.ConvAdjoint, g: str) -> str:
    return conv3x3(b, g, flipped(b, op.layer), zeros=2 - op.padding)


@lowers(ops.Relu)
def _relu(b: Builder, op: ops.Relu, x: str) -> str:
    y = b.node("Relu", x)
    _step(b, y)  # written here, for `gated`: until the backward pass it takes less memory than y
    return y


def _step(b: Builder, y: str) -> str:
    """Return [y > 0], for y >= 0, as booleans."""
    return b.once(("step", y), lambda: b.node("Cast", y, to=TensorProto.BOOL))


@lowers(ops.Gate)
def _gate(b: Builder, op: ops.Gate, g: str, y: str) -> str:
    return gated(b, g, y, b.number(0.0))


def gated(b: Builder, g: str, y: str, zero: str) -> str:
    """Multiply by [y > 0], for y >= 0."""
    return b.node("Where", _step(b, y), g, zero)


@lowers(ops.MaxPool)
def _max_pool(b: Builder, op: ops.MaxPool, x: str) -> str:
    return b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


@lowers(ops.AveragePool)
def _average_pool(b: Builder, op: ops.AveragePool, x: str) -> str:
    return b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def _windows(b: Builder, y: str) -> str:
    """Return the extent [2h, 2w] that the windows of pooled y [1, C, h, w] cover."""
    return b.node("Mul", b.node("Shape", y, start=2), b.ints(2, 2))


def unpad(b: Builder, x: str, like: str) -> str:
    """Give x [1, C, 2h, 2w] the extent of `like`: an odd last row or column was in no window and gets zeros."""
    missing = b.node("Sub", b.node("Shape", like, start=2), b.node("Shape", x, start=2))
    return b.node("Pad", x, b.node("Concat", b.ints(0, 0, 0, 0, 0, 0), missing, axis=0))


@lowers(ops.MaxUnpool)
def _max_unpool(b: Builder, op: ops.MaxUnpool, g: str, x: str, y: str) -> str:
    """Give g to the first place of each window, in reading order, whose x is y.

    ONNX's MaxUnpool would do, but has no CUDA kernel in onnxruntime. Decisions about one quarter of x after the other
    take a GPU half the time of one about all of it.
    """
    last_y, rest = channels_last(b, y), channels_last(b, g)
    shares = []
    for row, column in ((0, 0), (0, 1), (1, 0)):
        is_largest = b.node("Equal", place(b, x, y, row, column), last_y)
        shares.append(b.node("Where", is_largest, rest, b.number(0.0)))
        rest = b.node("Sub", rest, shares[-1])
    return unpooled(b, [*shares, rest], x, y)


def place(b: Builder, x: str, y: str, row: int, column: int) -> str:
    """Return x of one place of each window of pooled y, [1, h, w, C]."""
    return b.node("Slice", channels_last(b, x), b.ints(row, column), _windows(b, y), b.ints(1, 2), b.ints(2, 2))


def unpooled(b: Builder, places: Sequence[str], x: str, y: str) -> str:
    """Return the values at the four places of each window of y, [1, h, w, C] each, as a map of the extent of x."""
    windows = [b.node("Unsqueeze", each, b.ints(2, 4)) for each in places]  # [1, h, 1, w, 1, C]
    rows = [b.node("Concat", *windows[k : k + 2], axis=4) for k in (0, 2)]
    return unpad(b, _unpooled(b, b.node("Concat", *rows, axis=2), y), x)


def _unpooled(b: Builder, windows: str, y: str) -> str:
    """Return the windows of y, [1, h, 2, w, 2, C], as a map [1, C, 2h, 2w]."""
    extent = b.node("Concat", b.ints(1), _windows(b, y), b.ints(-1), axis=0)
    return _channels_first(b, b.node("Reshape", windows, extent))


@lowers(ops.AverageUnpool)
def _average_unpool(b: Builder, op: ops.AverageUnpool, g: str, x: str) -> str:
    return spread_over_windows(b, b.node("Mul", g, b.number(0.25)), x)


def spread_over_windows(b: Builder, g: str, x: str) -> str:
    """Give g [1, C, h, w] to each place of its window, in a map of the extent of x."""
    each = b.node("Unsqueeze", channels_last(b, g), b.ints(2, 4))
    return unpad(b, _unpooled(b, b.node("Expand", each, b.ints(1, 1, 2, 1, 2, 1)), g), x)


# --- statistics of activations --------------------------------------------------------------------------------


def positions(b: Builder, x: str) -> str:
    """Return M = H * W of x [1, C, H, W], as a float."""
    size = b.node("ReduceProd", b.node("Shape", x, start=2), keepdims=0)
    return b.node("Cast", size, to=TensorProto.FLOAT)


@lowers(ops.Gram)
def _gram(b: Builder, op: ops.Gram, x: str) -> str:
    rows = rows_of(b, x)
    return b.node("Div", b.node("Gemm", rows, rows, transA=1), positions(b, x))


@lowers(ops.Mix)
def _mix(b: Builder, op: ops.Mix, a: str, x: str) -> str:
    return from_rows(b, b.node("Gemm", rows_of(b, x), b.node("Div", a, positions(b, x)), transB=1), x)


@lowers(ops.ChannelMean)
def _channel_mean(b: Builder, op: ops.ChannelMean, x: str) -> str:
    sums = b.node("ReduceSum", b.node("ReduceSum", x, b.ints(3), keepdims=0), b.ints(2))  # [1, C, 1]
    return b.node("Div", b.node("Squeeze", sums, b.ints(0)), positions(b, x))


@lowers(ops.ChannelSpread)
def _channel_spread(b: Builder, op: ops.ChannelSpread, v: str, x: str) -> str:
    each = b.node("Unsqueeze", b.node("Div", v, positions(b, x)), b.ints(0, 3))  # [1, C, 1, 1]
    return b.node("Expand", each, b.node("Shape", x))


# --- matrices -------------------------------------------------------------------------------------------------


@lowers(ops.Identity)
def _identity(b: Builder, op: ops.Identity) -> str:
    """Compare indices, which onnxruntime does once: written out, a large identity would swell every file."""
    index = b.array(np.arange(op.size, dtype=np.int64))
    return b.node("Cast", b.node("Equal", index, b.node("Unsqueeze", index, b.ints(1))), to=TensorProto.FLOAT)


@lowers(graph.MatMul)
def _matmul(b: Builder, op: graph.MatMul, x: str, y: str) -> str:
    return b.node("MatMul", x, y)


@lowers(ops.Beside)
def _beside(b: Builder, op: ops.Beside, x: str, y: str) -> str:
    return b.node("Concat", x, y, axis=1)


@lowers(ops.Columns)
def _columns(b: Builder, op: ops.Columns, x: str) -> str:
    return b.node("Slice", x, b.ints(op.start), b.ints(op.stop), b.ints(1))


@lowers(ops.Diagonal)
def _diagonal(b: Builder, op: ops.Diagonal, a: str) -> str:
    type_ = b.origin[a].type
    assert isinstance(type_, Matrix)
    return b.node("ReduceSum", b.node("Mul", a, _identity(b, ops.Identity(type_.rows))), b.ints(1))


@lowers(ops.DiagonalMatrix)
def _diagonal_matrix(b: Builder, op: ops.DiagonalMatrix, v: str) -> str:
    type_ = b.origin[v].type
    assert isinstance(type_, Matrix)
    return b.node("Mul", v, _identity(b, ops.Identity(type_.rows)))


@lowers(ops.WithDerivative)
def _with_derivative(b: Builder, op: ops.WithDerivative, y: str, x: str, d: str) -> str:
    return b.node("Identity", y)


@lowers(graph.Transpose)
def _transpose(b: Builder, op: graph.Transpose, a: str) -> str:
    return b.node("Transpose", a, perm=[0, 2, 1] if isinstance(b.origin[a].type, PerRegion) else [1, 0])


# --- regions --------------------------------------------------------------------------------------------------

#: Less than any sum of guides that are not zero.
_TINY = 1e-30


@lowers(ops.Within)
def _within(b: Builder, op: ops.Within, x: str, w: str) -> str:
    type_ = b.origin[x].type
    assert isinstance(type_, Map)

    def extent() -> str:
        if type_.trim > 0:
            return _crop(b, w, (0, 0), (-type_.trim, -type_.trim))
        return b.node("Pad", w, b.ints(0, 0, 0, 0, 0, 0, -type_.trim, -type_.trim), mode="edge") if type_.trim else w

    return b.node("Mul", x, b.once(("guide", w, type_.trim), extent))


@lowers(ops.CoreGram)
def _core_gram(b: Builder, op: ops.CoreGram, x: str, w: str) -> str:
    rows = rows_of(b, x)
    return b.node("Div", b.node("Gemm", _of_core(b, x, w), rows, transA=1), positions(b, x))


@lowers(ops.CoreMean)
def _core_mean(b: Builder, op: ops.CoreMean, x: str, w: str) -> str:
    sums = b.node("ReduceSum", _of_core(b, x, w), b.ints(0), keepdims=0)
    return b.node("Div", b.node("Unsqueeze", sums, b.ints(1)), positions(b, x))


def _of_core(b: Builder, x: str, w: str) -> str:
    """Return the rows of x, [M, C], with zeros where the guide is zero."""
    column = b.node("Reshape", w, b.ints(-1, 1))
    return b.once(("rows of core", x, w), lambda: b.node("Mul", rows_of(b, x), column))


@lowers(ops.HalveGuides)
def _halve_guides(b: Builder, op: ops.HalveGuides, t: str) -> str:
    return b.node("AveragePool", t, kernel_shape=[2, 2], strides=[2, 2])


def _guide_sums(b: Builder, w: str) -> str:
    """Return the sum of each guide of w [1, R, H, W], [1, R, 1, 1]; row by row first, see `total`."""
    return b.once(("guide sums", w), lambda: b.node("ReduceSum", b.node("ReduceSum", w, b.ints(3)), b.ints(2)))


@lowers(ops.NormalizeGuides)
def _normalize_guides(b: Builder, op: ops.NormalizeGuides, w: str) -> str:
    return b.node("Div", w, b.node("Max", _guide_sums(b, w), b.number(_TINY)))


@lowers(ops.GuideMean)
def _guide_mean(b: Builder, op: ops.GuideMean, w: str) -> str:
    return b.node("Div", b.node("Reshape", _guide_sums(b, w), b.ints(-1)), positions(b, w))


def _guides(b: Builder, u: str) -> str:
    """Return u [1, R, H, W] as a matrix [R, M]."""
    return b.once(("guides", u), lambda: b.node("Flatten", u, axis=2))


def _guided(b: Builder, rows: str, u: str) -> str:
    """Return each of M rows times its number in a guide."""
    return b.node("Mul", rows, b.node("Unsqueeze", u, b.ints(1)))


@lowers(ops.GuidedGram)
def _guided_gram(b: Builder, op: ops.GuidedGram, x: str, u: str) -> str:
    """Take one region after the other: all at once would need the memory of a map for each."""
    rows = rows_of(b, x)

    def region(slices: Sequence[str]) -> list[str]:
        (u,) = slices
        return [b.node("Gemm", _guided(b, rows, u), rows, transA=1)]

    return b.scan(region, [_guides(b, u)])[0]


@lowers(ops.GuidedMix)
def _guided_mix(b: Builder, op: ops.GuidedMix, a: str, x: str, u: str) -> str:
    rows = rows_of(b, x)

    def region(slices: Sequence[str]) -> list[str]:
        sum_, a, u = slices
        return [b.node("Gemm", _guided(b, rows, u), a, sum_, transB=1)]

    zeros = b.node("Expand", b.number(0.0), b.node("Shape", rows))
    return from_rows(b, b.scan(region, [a, _guides(b, u)], [zeros])[0], x)


@lowers(ops.GuidedMean)
def _guided_mean(b: Builder, op: ops.GuidedMean, x: str, u: str) -> str:
    return b.node("Unsqueeze", b.node("Gemm", _guides(b, u), rows_of(b, x)), b.ints(2))


@lowers(ops.GuidedSpread)
def _guided_spread(b: Builder, op: ops.GuidedSpread, v: str, x: str, u: str) -> str:
    return from_rows(b, b.node("Gemm", _guides(b, u), b.node("Squeeze", v, b.ints(2)), transA=1), x)


@lowers(ops.EachRegion)
def _each_region(b: Builder, op: ops.EachRegion, *values: str) -> str:
    return _evaluate(b, op.function, values)[op.output]


@lowers(ops.RegionSum)
def _region_sum(b: Builder, op: ops.RegionSum, *values: str) -> str:
    return b.node("ReduceSum", _evaluate(b, op.function, values)[0], keepdims=0)


def _evaluate(b: Builder, function: ops.Function, values: tuple[str, ...]) -> list[str]:
    """Return all outputs of a function, for each region; operators that name the same function share them."""

    def region(slices: Sequence[str]) -> list[str]:
        for var, name in zip(function.inputs, slices, strict=True):
            b.bind(var, name)
        direct.emit(b, function.outputs)  # matrices and numbers are laid out alike in all lowerings
        return [b.values[var] for var in function.outputs]

    return b.once(("function", function, values), lambda: b.scan(region, values))
