"""The lowering `winograd`: activations in tiles, convolutions by minimal filtering. The fastest on a CPU.

A direct convolution already runs at the processor's peak; only fewer multiplications make it faster. `filtering` holds
the mathematics, `tiles` the layout; here each operator is put together from gathers and matrix products. Operators on
scalars, matrices and pictures are lowered as in `direct`.

A map of C channels is [m * m, P + 1, C] (see `tiles`). After pooling it is [(m/2)^2, P + 1, C] on the tiles of the
level above, and the next convolution gathers straight from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from onnx import TensorProto

from impasto.export import graph, ops
from impasto.export.graph import GraphError, Guides, Map, Op, Type, Var
from impasto.export.lowering import tiles
from impasto.export.lowering.base import Emit, RuleTable
from impasto.export.lowering.direct import direct, total
from impasto.export.lowering.filtering import TILES, Filtering, Rationals, as_array
from impasto.export.lowering.parameters import bias, kernel
from impasto.export.lowering.tiles import LARGE_TILING, SMALL_TILING, Tiled, Tiling
from impasto.runtime.model.graphs import WINOGRAD

#: Added to rows of the tile that does not exist, so that the ReLU behind makes them zero.
_NEVER = -1e30

_RGB = 3

#: onnxruntime's own operators; `FusedMatMul` reads a matrix transposed where it lies.
_CONTRIB = "com.microsoft"


def _describe(tiling: Tiling, type_: Type) -> Sequence[int | str]:
    """Return the shape of a value in this lowering."""
    match type_:
        case Map(channels, level, 0) if channels != _RGB:
            return [tiling.sides[level] ** 2, f"tiles{level}", channels]
        case _:
            return direct.describe(type_)


#: Operators that are for pictures and scalars, or treat every element alike.
_AS_DIRECT: tuple[type[Op], ...] = (
    graph.Constant,
    graph.Subtract,
    graph.Multiply,
    graph.Scale,
    graph.Power,
    ops.Normalize,
    ops.PadEdge,
    ops.PadEdgeAdjoint,
    ops.Difference,
    ops.DifferenceAdjoint,
    ops.Identity,
    graph.Transpose,
    graph.MatMul,
    ops.Beside,
    ops.Columns,
    ops.Diagonal,
    ops.DiagonalMatrix,
    ops.WithDerivative,
    ops.HalveGuides,
    ops.NormalizeGuides,
    ops.GuideMean,
    ops.EachRegion,
    ops.RegionSum,
)


#: The rules of this lowering, for every tiling.
_RULES: dict[type[Op], Emit[Tiled, Op]] = {op: direct.rules[op] for op in _AS_DIRECT}


def tiled(tiling: Tiling) -> RuleTable[Tiled]:
    """Return this lowering for one tiling; all tilings share its rules."""
    return RuleTable(WINOGRAD, partial(_describe, tiling), partial(Tiled, tiling=tiling), _RULES)


winograd = tiled(LARGE_TILING)
lowers = winograd.lowers

#: For small pictures.
small = tiled(SMALL_TILING)

#: In smaller files: for graphs that are evaluated once or twice, and those of tiles; and for the ones that are seldom
#: used among these.
measuring, seldom = (tiled(replace(LARGE_TILING, strips=strips)) for strips in (SMALL_TILING.strips, (3, 1, 1, 1, 1)))


def _method(b: Tiled, level: int) -> Filtering:
    return TILES[tiles.side(b, level)]


# --- convolutions ---------------------------------------------------------------------------------------------


@lowers(ops.Conv)
def _conv(b: Tiled, op: ops.Conv, x: str) -> str:
    level = _map(b, x).level
    _check_padding(op)
    if _in_windows(b.origin[x]):
        source = tiles.pooled(b, level)
    elif _is_picture(_map(b, x)):
        x, source = _pixel_rows(b, x), tiles.untiled(b, 0, -_map(b, x).trim)
    else:
        source = tiles.layout_of(b, level)
    method = _method(b, level)
    strips = []
    shift = tiles.strips(b, level, tiles.padding_only(b, level, _NEVER), 0) if op.bias else []
    for k, table in enumerate(tiles.strips(b, level, tiles.windows(b, level, source, op.padding), 1)):
        values = _to_products(b, _rows(b, x, op.inputs), table, method, op.inputs)
        products = b.node("FusedMatMul", values, _transformed(b, op, level), domain=_CONTRIB, transB=1)
        y = _from_products(b, products, method, op.outputs)
        if op.bias:  # in the padding rows, the shift takes it below zero, so that the ReLU makes them zero
            y = b.node("Add", y, b.node("Add", shift[k], bias(b, op.layer)))
        strips.append(y)
    return _join(b, strips)


@lowers(ops.ConvAdjoint)
def _conv_adjoint(b: Tiled, op: ops.ConvAdjoint, g: str) -> str:
    """Filter with the kernel reversed and its channels swapped: the same transformed kernel serves."""
    level = _map(b, g).level
    _check_padding(op)
    if op.inputs == _RGB:
        return _to_picture(b, op, g)
    method = _method(b, level).reversed()
    strips = []
    for table in tiles.strips(b, level, tiles.windows(b, level, tiles.layout_of(b, level)), 1):
        values = _to_products(b, _rows(b, g, op.outputs), table, method, op.outputs)
        products = b.node("MatMul", values, _transformed(b, op, level))
        strips.append(_from_products(b, products, method, op.inputs))
    return _join(b, strips)


def _check_padding(op: ops.Conv | ops.ConvAdjoint) -> None:
    """Refuse a map of any extent but its level's; a picture may have pixels around it."""
    if op.padding == 0 and op.inputs != _RGB:
        raise GraphError(f"{op} is lowered in {WINOGRAD} for pictures only")


def _to_picture(b: Tiled, op: ops.ConvAdjoint, g: str) -> str:
    """Compute the share of each tap first, three channels each, and add the shares of each pixel.

    The picture is [1, 3, H, W], or with the pixels around it [1, 3, H + 2, W + 2].
    """
    taps = b.node("Reshape", b.node("Transpose", kernel(b, op.layer), perm=[0, 2, 3, 1]), b.ints(op.outputs, -1))
    shares = _join(b, (b.node("MatMul", strip, taps) for strip in _strips(b, g)))
    gathered = b.node("Gather", _rows(b, shares, _RGB), tiles.taps(b, 0, op.padding))
    pixels = b.node("ReduceSum", gathered, b.ints(0, 1), keepdims=0)
    return b.node("Transpose", b.node("Unsqueeze", pixels, b.ints(0)), perm=[0, 3, 1, 2])


def _to_products(b: Tiled, rows: str, table: str, method: Filtering, channels: int) -> str:
    """Gather tiles with the pixels around them and transform them: [rows, C] -> [n * n, tiles, C]."""
    n = method.inputs
    gathered = b.node("Gather", rows, table)
    transformed = _both_ways(b, gathered, method.input)
    return b.node("Reshape", transformed, b.ints(n * n, -1, channels))


def _from_products(b: Tiled, products: str, method: Filtering, channels: int) -> str:
    """Transform products back to tiles: [n * n, tiles, K] -> [m * m, tiles, K]."""
    m = method.outputs
    return b.node("Reshape", _both_ways(b, products, method.output), b.ints(m * m, -1, channels))


def _both_ways(b: Tiled, x: str, matrix: Rationals) -> str:
    """Apply A [p, q] to both of x's first axes, flattened into one [q q, ...]: sum of A[k, i] A[l, j] x[i, j]."""
    factor = b.array(as_array(matrix).astype(np.float32))
    p, q = len(matrix), len(matrix[0])
    rows = b.node("MatMul", factor, b.node("Reshape", x, b.ints(q, -1)))
    return b.node("MatMul", factor, b.node("Reshape", rows, b.ints(p, q, -1)))


def _transformed(b: Tiled, op: ops.Conv | ops.ConvAdjoint, level: int) -> str:
    """Return G K G^T for all kernels K of a layer, [n * n, out, in]; folded when a session is created.

    The other order of the kernels' axes would take half as long again to fold.
    """

    def make() -> str:
        g = as_array(_method(b, level).kernel)
        both = np.einsum("ky,lx->klyx", g, g).reshape(-1, 3, 3).astype(np.float32)
        return b.node("Einsum", b.array(both), kernel(b, op.layer), equation="pyx,oiyx->poi")

    return b.once(("transformed", op.layer), make)


# --- between pictures, rows and planes ------------------------------------------------------------------------


def _map(b: Tiled, x: str) -> Map:
    type_ = b.origin[x].type
    assert isinstance(type_, Map)
    return type_


def _is_picture(type_: Map) -> bool:
    return type_.channels == _RGB


def _in_windows(var: Var) -> bool:
    """Tell whether a map lies as pooling leaves it, in the tiles of the level above."""
    match var.op:
        case ops.MaxPool() | ops.AveragePool():
            return True
        case ops.Relu():
            return _in_windows(var.inputs[0])
        case ops.Gate():
            return _in_windows(var.inputs[1])
    return False


def _is_activation(type_: Type) -> bool:
    return isinstance(type_, Map) and not _is_picture(type_)


def _rows(b: Tiled, x: str, channels: int) -> str:
    return b.once(("rows", x), lambda: b.node("Reshape", x, b.ints(-1, channels)))


def _pixel_rows(b: Tiled, picture: str) -> str:
    """Return a picture [1, 3, H, W] as rows of pixels, [H W + 1, 3], the last one zero."""
    pixels = b.node("Transpose", b.node("Reshape", picture, b.ints(_RGB, -1)), perm=[1, 0])
    return b.node("Concat", pixels, b.array(np.zeros((1, _RGB), np.float32)), axis=0)


# --- strips ---------------------------------------------------------------------------------------------------
#
# From the result of a convolution, which is still in the cache, to the map that the next one gathers from, all is done
# strip by strip: activations are pooled, gradients are summed, mixed and gated. Strips are joined only for that map,
# and for values that are kept.


def _tiled_by(b: Tiled, x: str) -> int:
    """Return the level whose tiles a map lies in."""
    return _map(b, x).level - _in_windows(b.origin[x])


def _cut(b: Tiled, x: str) -> list[str]:
    """Return a map in its level's strips, as slices: the pieces that it was joined from need not be kept."""
    return tiles.strips_of_map(b, _tiled_by(b, x), x)


def _strips(b: Tiled, x: str) -> list[str]:
    """Return a map in its level's strips: the pieces that it was joined from, or else slices."""
    pieces = b.pieces(x)
    return pieces if len(pieces) > 1 else _cut(b, x)


def _join(b: Tiled, strips: Iterable[str]) -> str:
    return b.join(list(strips), axis=1)


def _each(b: Tiled, emit: Callable[[str, str], str], left: Iterable[str], right: Iterable[str]) -> str:
    """Join the results of `emit` for each pair of strips of two maps."""
    return _join(b, (emit(*strips) for strips in zip(left, right, strict=True)))


def _kept(b: Tiled, decide: Callable[[], Iterable[str]], shapes: Sequence[str], axes: int) -> list[str]:
    """Return decisions, 1.0 where true, else 0.0, in strips of these shapes: those of the gradients to multiply.

    Until the backward pass a byte for each element is kept. onnxruntime computes the last node first. So the
    decisions, which are written after the shapes, are made in the forward pass. All of them are, for each strip depends
    on the shapes of all. Their conversion to floats depends on the gradients' shapes, and so has to wait for these.

    Parameters
    ----------
    axes
        The number of axes that the gradients have.
    """
    decisions = list(decide())
    made = [b.node("Shape", strip) for strip in decisions]

    def kept(strip: str, shape: str) -> str:
        after = b.node("Slice", b.node("Concat", shape, *made, axis=0), b.ints(0), b.ints(axes))
        return b.node("Cast", b.node("Reshape", strip, after, allowzero=1), to=TensorProto.FLOAT)

    return [kept(*pair) for pair in zip(decisions, shapes, strict=True)]


@lowers(graph.Add)
def _add(b: Tiled, op: graph.Add, x: str, y: str) -> str:
    add = partial(direct.rules[graph.Add], b, op)
    return _each(b, add, _strips(b, x), _strips(b, y)) if _is_activation(b.origin[x].type) else add(x, y)


# --- activations and poolings ---------------------------------------------------------------------------------


@lowers(ops.Relu)
def _relu(b: Tiled, op: ops.Relu, x: str) -> str:
    return _join(b, (b.node("Relu", strip) for strip in b.pieces(x)))


@lowers(ops.Gate)
def _gate(b: Tiled, op: ops.Gate, g: str, y: str) -> str:
    gate = partial(_gated, b)
    if not _is_activation(b.origin[y].type):
        return gate(g, y)
    level = _tiled_by(b, y)
    gradients = _in_windows_of(b, level, g) if _in_windows(b.origin[y]) else _strips(b, g)
    shapes = [b.node("Shape", g) for g in gradients]
    if _is_mixed_into(b.origin[g], b.origin[y]):
        # A step that depends on y alone would be computed as soon as y is, and kept until g is.
        later = (b.node("Reshape", *pair, allowzero=1) for pair in zip(_cut(b, y), shapes, strict=True))
        return _each(b, gate, gradients, later)
    # A `Cast` would tell the same, in one thread.
    positive = _kept(b, lambda: (b.node("Greater", strip, b.number(0.0)) for strip in _strips(b, y)), shapes, 3)
    return _each(b, partial(b.node, "Mul"), gradients, positive)


def _gated(b: Tiled, g: str, y: str) -> str:
    """Multiply by [y > 0], for y >= 0; a HardSigmoid this steep is that step, and the fastest one on a CPU."""
    return b.node("Mul", g, b.once(("step", y), lambda: b.node("HardSigmoid", y, alpha=3e38, beta=0.0)))


def _is_mixed_into(g: Var, y: Var) -> bool:
    """Tell whether y is kept for its gradient g anyway: whether g, or a term of the sum g, mixes y."""
    match g.op:
        case graph.Add():
            return any(_is_mixed_into(term, y) for term in g.inputs)
        case ops.Mix() | ops.GuidedMix():
            return y in g.inputs
        case ops.Within():
            return _is_mixed_into(g.inputs[0], y)
    return False


def _places(b: Tiled, x: str, half: int) -> str:
    """Return a map as [m/2, 2, m/2, 2, tiles * C]: the places of a tile, by the window that they are pooled in."""
    return b.once(("places", x), lambda: b.node("Reshape", x, b.ints(half, 2, half, 2, -1)))


def _windows(b: Tiled, y: str, half: int) -> str:
    """Return pooled values, one a window, as [m/2, 1, m/2, 1, tiles * C]."""
    return b.node("Reshape", y, b.ints(half, 1, half, 1, -1))


@lowers(ops.MaxPool)
def _max_pool(b: Tiled, op: ops.MaxPool, x: str) -> str:
    return _pool(b, x, "ReduceMax")


@lowers(ops.AveragePool)
def _average_pool(b: Tiled, op: ops.AveragePool, x: str) -> str:
    return _pool(b, x, "ReduceMean")


def _pool(b: Tiled, x: str, reduce: str) -> str:
    """Pool a row of each window, then its two rows: one axis at a time is twice as fast."""
    half, shape = tiles.side(b, _map(b, x).level) // 2, _shape_of_windows(b, x)
    rows = (_of_rows(b, strip, reduce, half) for strip in b.pieces(x))
    return _join(b, (b.node("Reshape", b.node(reduce, row, b.ints(1)), shape) for row in rows))


def _of_rows(b: Tiled, strip: str, reduce: str, half: int) -> str:
    """Reduce the rows of a strip's windows to one value each, [m/2, 2, m/2, 1, tiles * C]."""
    return b.once((reduce, strip), lambda: b.node(reduce, _places(b, strip, half), b.ints(3)))


def _shape_of_windows(b: Tiled, x: str, each: int = 1) -> str:
    """Return the shape of a strip with so many values for each window of x."""
    type_ = _map(b, x)
    return b.ints(each * (tiles.side(b, type_.level) // 2) ** 2, -1, type_.channels)


def _in_windows_of(b: Tiled, level: int, g: str) -> list[str]:
    """Return g, the gradient of a level's pooled map, in strips of the level's windows; it may lie so already."""
    if _in_windows(b.origin[g]):
        return _strips(b, g)
    rows = _rows(b, g, _map(b, g).channels)
    return [b.node("Gather", rows, table) for table in tiles.strips(b, level, tiles.unpooled(b, level), 1)]


@lowers(ops.MaxUnpool)
def _max_unpool(b: Tiled, op: ops.MaxUnpool, g: str, x: str, y: str) -> str:
    """Give g to the first maximum of each window: the upper row if one is there, and in a row the left."""
    level = _map(b, x).level
    half = tiles.side(b, level) // 2
    shares = [_windows(b, share, half) for share in _in_windows_of(b, level, g)]
    shapes = [b.node("Mul", b.node("Shape", share), b.ints(1, 2, 1, 2, 1)) for share in shares]
    tiled = _shape_of_windows(b, x, 4)

    def decide() -> Iterable[str]:
        for strip, maximum in zip(_strips(b, x), _strips(b, y), strict=True):
            rows = _of_rows(b, strip, "ReduceMax", half)
            column = _or_else(b, b.node("Equal", _first(b, _places(b, strip, half), axis=3), rows), 3)
            row = _or_else(b, b.node("Equal", _first(b, rows, axis=1), _windows(b, maximum, half)), 1)
            yield b.node("Reshape", b.node("And", column, row), tiled)

    chosen = _kept(b, decide, shapes, 5)
    return _join(b, (b.node("Reshape", b.node("Mul", *pair), tiled) for pair in zip(shares, chosen, strict=True)))


def _first(b: Tiled, x: str, axis: int) -> str:
    """Return the first of two along an axis; a `Slice` would copy in one thread."""
    return b.node("Gather", x, b.ints(0), axis=axis)


def _or_else(b: Tiled, first: str, axis: int) -> str:
    """Tell which of two along an axis is chosen, [.., 2, ..]: the first where `first` [.., 1, ..], else the second."""
    return b.node("Concat", first, b.node("Not", first), axis=axis)


@lowers(ops.AverageUnpool)
def _average_unpool(b: Tiled, op: ops.AverageUnpool, g: str, x: str) -> str:
    level = _map(b, x).level
    quarters = b.array(np.full((1, 2, 1, 2, 1), 0.25, np.float32))
    windows = (_windows(b, share, tiles.side(b, level) // 2) for share in _in_windows_of(b, level, g))
    shape = _shape_of_windows(b, x, 4)
    return _join(b, (b.node("Reshape", b.node("Mul", share, quarters), shape) for share in windows))


# --- means and statistics -------------------------------------------------------------------------------------


@lowers(ops.Inner, ops.Mean, ops.Spread)
def _of_pictures(b: Tiled, op: Op, *inputs: str) -> str:
    """Lower as `direct` does, but never for an activation, whose overhanging rows would count."""
    for x in inputs:
        if _is_activation(b.origin[x].type):
            raise GraphError(f"{op} of an activation is not lowered in {WINOGRAD}")
    return direct.rules[type(op)](b, op, *inputs)


def _own_rows(b: Tiled, x: str) -> str:
    """Return the rows of x, [m * m (P + 1), C], in its own level's tiles."""
    if _in_windows(b.origin[x]):
        raise GraphError(f"{b.origin[x]} lies in the tiles of the level above: only a convolution takes it")
    return _rows(b, x, _map(b, x).channels)


def _overhanging(b: Tiled, x: str) -> str:
    """Return the rows of x that are no pixels, [any, C]: a sum over all rows has to subtract them."""
    return b.node("Gather", _own_rows(b, x), tiles.overhang(b, _map(b, x).level))


def _count(b: Tiled, x: str) -> str:
    """Return the number of elements of x, as a float."""
    type_ = _map(b, x)
    return b.node("Mul", tiles.positions(b, type_.level), b.number(type_.channels))


@lowers(ops.MeanSquare)
def _mean_square(b: Tiled, op: ops.MeanSquare, x: str) -> str:
    if not _is_activation(b.origin[x].type):
        return direct.rules[ops.MeanSquare](b, op, x)
    surplus = total(b, _overhanging(b, x), "ReduceSumSquare")
    return b.node("Div", b.node("Sub", total(b, x, "ReduceSumSquare"), surplus), _count(b, x))


@lowers(ops.Share)
def _share(b: Tiled, op: ops.Share, s: str, x: str) -> str:
    if not _is_activation(b.origin[x].type):
        return direct.rules[ops.Share](b, op, s, x)
    share = b.node("Div", s, _count(b, x))
    return _join(b, (b.node("Mul", share, strip) for strip in _cut(b, x)))


@lowers(ops.Gram)
def _gram(b: Tiled, op: ops.Gram, x: str) -> str:
    type_ = _map(b, x)
    everything, surplus = _rows(b, x, type_.channels), _overhanging(b, x)
    products = (b.node("Gemm", rows, rows, transA=1) for rows in (everything, surplus))
    return b.node("Div", b.node("Sub", *products), tiles.positions(b, type_.level))


@lowers(ops.Mix)
def _mix(b: Tiled, op: ops.Mix, a: str, x: str) -> str:
    type_ = _map(b, x)
    factor = b.node("Div", b.node("Transpose", a, perm=[1, 0]), tiles.positions(b, type_.level))
    return _join(b, (b.node("MatMul", strip, factor) for strip in _cut(b, x)))


@lowers(ops.ChannelMean)
def _channel_mean(b: Tiled, op: ops.ChannelMean, x: str) -> str:
    """Sum plane by plane first: see `total`."""
    type_ = _map(b, x)
    everything = b.node("ReduceSum", b.node("ReduceSum", x, b.ints(1), keepdims=0), b.ints(0), keepdims=0)
    surplus = b.node("ReduceSum", _overhanging(b, x), b.ints(0), keepdims=0)
    sums = b.node("Unsqueeze", b.node("Sub", everything, surplus), b.ints(1))
    return b.node("Div", sums, tiles.positions(b, type_.level))


@lowers(ops.ChannelSpread)
def _channel_spread(b: Tiled, op: ops.ChannelSpread, v: str, x: str) -> str:
    """Spread over all tiles but the one that does not exist, whose rows are zero."""
    type_ = _map(b, x)
    row = b.node("Reshape", b.node("Div", v, tiles.positions(b, type_.level)), b.ints(1, type_.channels))
    exists = b.node("Sub", b.number(1.0), tiles.padding_only(b, type_.level, 1.0))
    rows = (b.node("Mul", strip, row) for strip in tiles.strips(b, type_.level, exists, 0))
    places = b.ints(tiles.side(b, type_.level) ** 2, 1, 1)  # an axis of 1 stays as it is
    return _join(b, (b.node("Expand", strip, places) for strip in rows))


@lowers(ops.Within)
def _within(b: Tiled, op: ops.Within, x: str, w: str) -> str:
    if not _is_activation(b.origin[x].type):
        return direct.rules[ops.Within](b, op, x, w)
    strips = tiles.strips(b, _map(b, x).level, _guide_column(b, x, w), 1)
    return _each(b, partial(b.node, "Mul"), _strips(b, x), strips)


def _guide_column(b: Tiled, x: str, w: str) -> str:
    """Return a guide by the places and tiles of its level, [m * m, P + 1, 1]; 0 where there is no pixel."""
    return b.once(("guide column", w), lambda: _as_tiles(b, _guide_rows(b, w), x, 1))


@lowers(ops.CoreGram)
def _core_gram(b: Tiled, op: ops.CoreGram, x: str, w: str) -> str:
    type_ = _map(b, x)
    product = b.node("Gemm", _of_core(b, x, w), _own_rows(b, x), transA=1)
    return b.node("Div", product, tiles.positions(b, type_.level))


@lowers(ops.CoreMean)
def _core_mean(b: Tiled, op: ops.CoreMean, x: str, w: str) -> str:
    sums = b.node("ReduceSum", _of_core(b, x, w), b.ints(0), keepdims=0)
    return b.node("Div", b.node("Unsqueeze", sums, b.ints(1)), tiles.positions(b, _map(b, x).level))


def _of_core(b: Tiled, x: str, w: str) -> str:
    """Return the rows of x, [m * m (P + 1), C], with zeros where the guide is zero."""

    def make() -> str:
        return _rows(b, b.node("Mul", x, _guide_column(b, x, w)), _map(b, x).channels)

    return b.once(("rows of core", x, w), make)


def _as_tiles(b: Tiled, rows: str, like: str, channels: int | None = None) -> str:
    type_ = _map(b, like)
    return b.node("Reshape", rows, b.ints(tiles.side(b, type_.level) ** 2, -1, channels or type_.channels))


# --- regions --------------------------------------------------------------------------------------------------


def _guide_rows(b: Tiled, u: str) -> str:
    """Return guides [1, R, H, W] by the rows of their level's tiles, [R, m * m (P + 1)]; 0 where there is no pixel."""
    type_ = b.origin[u].type
    assert isinstance(type_, Guides)

    def make() -> str:
        padded = b.node("Pad", b.node("Flatten", u, axis=2), b.ints(0, 0, 0, 1))
        return b.node("Gather", padded, b.node("Reshape", tiles.places(b, type_.level), b.ints(-1)), axis=1)

    return b.once(("guide rows", u), make)


def _guided(b: Tiled, rows: str, u: str) -> tuple[str, str, str]:
    """Return, of the rows [N, C] that a guide [N] counts, their numbers [n], the rows, and the rows times the guide.

    So the work for a row grows with the regions that it belongs to, most often one, and not with all regions.
    """
    last = b.node("Sub", b.node("Shape", u), b.ints(1))  # it is zero, and no product is then one of no rows at all
    numbers = b.node("Concat", b.node("Reshape", b.node("NonZero", u), b.ints(-1)), last, axis=0)
    counted = b.node("Gather", rows, numbers)
    return numbers, counted, b.node("Mul", counted, b.node("Unsqueeze", b.node("Gather", u, numbers), b.ints(1)))


@lowers(ops.GuidedGram)
def _guided_gram(b: Tiled, op: ops.GuidedGram, x: str, u: str) -> str:
    rows = _own_rows(b, x)

    def region(slices: Sequence[str]) -> list[str]:
        (u,) = slices
        _, counted, weighted = _guided(b, rows, u)
        return [b.node("Gemm", counted, weighted, transA=1)]

    return b.scan(region, [_guide_rows(b, u)])[0]


@lowers(ops.GuidedMix)
def _guided_mix(b: Tiled, op: ops.GuidedMix, a: str, x: str, u: str) -> str:
    rows = _own_rows(b, x)

    def region(slices: Sequence[str]) -> list[str]:
        sum_, a, u = slices
        numbers, _, weighted = _guided(b, rows, u)
        mixed = b.node("Gemm", weighted, a, transB=1)
        return [b.node("ScatterND", sum_, b.node("Unsqueeze", numbers, b.ints(1)), mixed, reduction="add")]

    zeros = b.node("Expand", b.number(0.0), b.node("Shape", rows))
    return _as_tiles(b, b.scan(region, [a, _guide_rows(b, u)], [zeros])[0], x)


@lowers(ops.GuidedMean)
def _guided_mean(b: Tiled, op: ops.GuidedMean, x: str, u: str) -> str:
    return b.node("Unsqueeze", b.node("MatMul", _guide_rows(b, u), _own_rows(b, x)), b.ints(2))


@lowers(ops.GuidedSpread)
def _guided_spread(b: Tiled, op: ops.GuidedSpread, v: str, x: str, u: str) -> str:
    return _as_tiles(b, b.node("Gemm", _guide_rows(b, u), b.node("Squeeze", v, b.ints(2)), transA=1), x)
