"""The operators of the logical graph, beside the arithmetic in `graph`.

Each is one class: its docstring tells its result, and `infer` the types that it takes and returns. An operator
without attributes has one instance, under the name that formulas use. Activations are written [C, H, W]; M is a map's
number of positions, H * W. A lowering turns an operator into ONNX nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from impasto.export.graph import (
    Binary,
    Elementwise,
    Guides,
    Leaf,
    Map,
    Matrix,
    Op,
    PerRegion,
    Scalar,
    Scaling,
    Ternary,
    Type,
    Unary,
    Var,
    square,
)

Axis = Literal["y", "x", "diagonal", "antidiagonal"]


class Input(Leaf):
    """A named input of the finished graph."""

    name: str
    type: Type

    def infer(self) -> Type:
        return self.type


def graph_input(name: str, type_: Type) -> Var:
    """Return a named input of the graph."""
    return Input(name, type_)()


# --- sums and means -------------------------------------------------------------------------------------------


class _Average(Unary):
    def infer(self, x: Type) -> Type:
        return Scalar()


class Mean(_Average):
    """The mean of all elements."""


class MeanSquare(_Average):
    """The mean of all squared elements."""


class Share(Scaling):
    """s * x / N, N the number of elements of x."""


class Spread(Scaling):
    """s / N at each of N elements, in the shape of x."""


class Inner(Elementwise):
    """The sum of a * b over all elements."""

    def infer(self, a: Type, b: Type) -> Type:
        super().infer(a, b)
        return Scalar()


mean, mean_square, share, spread, inner = Mean(), MeanSquare(), Share(), Spread(), Inner()

# --- pictures -------------------------------------------------------------------------------------------------


class _OfMap(Unary):
    def infer(self, x: Type) -> Type:
        if not isinstance(x, Map):
            raise self.reject("a map", x)
        return self.of(x)

    def of(self, x: Map) -> Type:
        raise NotImplementedError


class Normalize(Unary):
    """(x - mean) * scale, channel by channel: RGB levels 0..255 become the input that a network was trained on."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def infer(self, x: Type) -> Type:
        if not isinstance(x, Map) or not x.channels == len(self.mean) == len(self.scale):
            raise self.reject(f"a map of {len(self.mean)} channels", x)
        return x


class PadEdge(_OfMap):
    """x with its outermost pixels repeated: once after the last row and column, and `before` times before the first."""

    before: Literal[0, 1]

    def of(self, x: Map) -> Type:
        return replace(x, trim=x.trim - 1 - self.before)


class PadEdgeAdjoint(_OfMap):
    """The transpose of `PadEdge`: values outside are added to the outermost pixels."""

    before: Literal[0, 1]

    def of(self, x: Map) -> Type:
        return replace(x, trim=x.trim + 1 + self.before)


class Difference(_OfMap):
    """The difference of two pixels of every 2x2 window, for i < H-1 and j < W-1.

    x[i, j] - x[i+1, j] (axis y), x[i, j] - x[i, j+1] (axis x), x[i, j] - x[i+1, j+1] (diagonal) or
    x[i, j+1] - x[i+1, j] (antidiagonal).
    """

    axis: Axis

    def of(self, x: Map) -> Type:
        return replace(x, trim=x.trim + 1)


class DifferenceAdjoint(_OfMap):
    """The transpose of `Difference`."""

    axis: Axis

    def of(self, x: Map) -> Type:
        return replace(x, trim=x.trim - 1)


# --- the network ----------------------------------------------------------------------------------------------


class Conv(Unary):
    """The 3x3 convolution `layer`, stride 1, plus its bias unless `bias` is False.

    With `padding` 1 the map is surrounded by zeros, and keeps its extent. With 0 it loses a row or column on each side.
    """

    layer: str
    inputs: int
    outputs: int
    bias: bool = True
    padding: Literal[0, 1] = 1

    def infer(self, x: Type) -> Type:
        if not isinstance(x, Map) or x.channels != self.inputs:
            raise self.reject(f"a map of {self.inputs} channels", x)
        return Map(self.outputs, x.level, x.trim + 2 * (1 - self.padding))


class ConvAdjoint(Unary):
    """The transpose of the linear part of `Conv`: `outputs` channels in, `inputs` channels out."""

    layer: str
    inputs: int
    outputs: int
    padding: Literal[0, 1] = 1

    def infer(self, g: Type) -> Type:
        if not isinstance(g, Map) or g.channels != self.outputs:
            raise self.reject(f"a map of {self.outputs} channels", g)
        return Map(self.inputs, g.level, g.trim - 2 * (1 - self.padding))


class Relu(Unary):
    """max(x, 0)."""

    def infer(self, x: Type) -> Type:
        return x


class Gate(Elementwise):
    """g where y > 0, else 0."""


class _Pool(Unary):
    def infer(self, x: Type) -> Type:
        if not isinstance(x, Map) or x.trim:
            raise self.reject("an activation", x)
        return Map(x.channels, x.level + 1)


class MaxPool(_Pool):
    """The maximum of each 2x2 window, stride 2; an odd last row or column is left out."""


class AveragePool(_Pool):
    """The mean of each 2x2 window, stride 2; an odd last row or column is left out."""


def _unpooled(op: Op, g: Type, x: Type, y: Type) -> Type:
    if not isinstance(x, Map) or any(small != _Pool().infer(x) for small in (g, y)):
        raise op.reject("pooled values after what was pooled", g, x, y)
    return x


class MaxUnpool(Ternary):
    """(g, x, y = maxpool(x)) -> each window's g at its maximum, or at the first of several."""

    def infer(self, g: Type, x: Type, y: Type) -> Type:
        return _unpooled(self, g, x, y)


class AverageUnpool(Binary):
    """(g, x) -> a quarter of each window's g at each of its elements; x gives the extent only."""

    def infer(self, g: Type, x: Type) -> Type:
        return _unpooled(self, g, x, g)


relu, gate, max_pool, average_pool = Relu(), Gate(), MaxPool(), AveragePool()
max_unpool, average_unpool = MaxUnpool(), AverageUnpool()

# --- statistics of activations --------------------------------------------------------------------------------


class Gram(_OfMap):
    """X X^T / M, for X = x as a matrix [C, M]."""

    def of(self, x: Map) -> Type:
        return square(x.channels)


class ChannelMean(_OfMap):
    """The mean of each channel over the M positions, a column [C, 1]."""

    def of(self, x: Map) -> Type:
        return Matrix(x.channels, 1)


class ChannelSpread(Binary):
    """v / M at each of M positions, in the shape of x, for a column v with a number for each channel."""

    def infer(self, v: Type, x: Type) -> Type:
        if not isinstance(x, Map) or v != Matrix(x.channels, 1):
            raise self.reject("a column and a map of as many channels", v, x)
        return x


class Mix(Binary):
    """A X / M, for A [C, C] and X = x as a matrix [C, M]: each position's channels, mixed."""

    def infer(self, a: Type, x: Type) -> Type:
        if not isinstance(x, Map) or a != square(x.channels):
            raise self.reject("a matrix and a map of as many channels", a, x)
        return x


gram, channel_mean, channel_spread, mix = Gram(), ChannelMean(), ChannelSpread(), Mix()

# --- matrices -------------------------------------------------------------------------------------------------


class Identity(Leaf):
    """The identity matrix of a size."""

    size: int

    def infer(self) -> Type:
        return square(self.size)


class Beside(Binary):
    """[A B]: the columns of A, then those of B."""

    def infer(self, a: Type, b: Type) -> Type:
        match a, b:
            case Matrix(rows, left), Matrix(also_rows, right) if rows == also_rows:
                return Matrix(rows, left + right)
        raise self.reject("two matrices of as many rows", a, b)


class Columns(Unary):
    """The columns start, ..., stop - 1 of a matrix."""

    start: int
    stop: int

    def infer(self, a: Type) -> Type:
        if not isinstance(a, Matrix) or not 0 <= self.start < self.stop <= a.columns:
            raise self.reject(f"a matrix of {self.stop} columns or more", a)
        return Matrix(a.rows, self.stop - self.start)


class Diagonal(Unary):
    """The diagonal of a square matrix, as a column."""

    def infer(self, a: Type) -> Type:
        if not isinstance(a, Matrix) or a.rows != a.columns:
            raise self.reject("a square matrix", a)
        return Matrix(a.rows, 1)


class DiagonalMatrix(Unary):
    """The matrix that has a column on its diagonal, and zeros elsewhere: the transpose of `Diagonal`."""

    def infer(self, v: Type) -> Type:
        if not isinstance(v, Matrix) or v.columns != 1:
            raise self.reject("a column", v)
        return square(v.rows)


class WithDerivative(Ternary):
    """(y, x, d) -> y, a scalar whose derivative with respect to x is known to be d: y itself is not differentiated."""

    def infer(self, y: Type, x: Type, d: Type) -> Type:
        if y != Scalar() or x != d:
            raise self.reject("a scalar, a value and something like it", y, x, d)
        return y


beside, diagonal, diagonal_matrix, with_derivative = Beside(), Diagonal(), DiagonalMatrix(), WithDerivative()

# --- regions --------------------------------------------------------------------------------------------------


class _OfGuides(Unary):
    def infer(self, w: Type) -> Type:
        if not isinstance(w, Guides):
            raise self.reject("guides", w)
        return self.of(w)

    def of(self, w: Guides) -> Type:
        return w


class Within(Binary):
    """x times the one guide: 0 where that is 0. Rows and columns that x has beyond it count as its last one does."""

    def infer(self, x: Type, w: Type) -> Type:
        match x, w:
            case Map(level=level), Guides(also_level, single=True) if level == also_level:
                return x
        raise self.reject("a map and one guide of its level", x, w)


within = Within()


class _WithinCore(Binary):
    def infer(self, x: Type, w: Type) -> Type:
        within.infer(x, w)
        assert isinstance(x, Map)
        return self.of(x)

    def of(self, x: Map) -> Type:
        raise NotImplementedError


class CoreGram(_WithinCore):
    """X diag(w) X^T / M, for a guide w of zeros and ones and X = x as a matrix [C, M].

    `exact` tells a lowering that rounds products that a small difference will be taken from it.
    """

    exact: bool

    def of(self, x: Map) -> Type:
        return square(x.channels)


class CoreMean(_WithinCore):
    """X w / M, a column [C, 1], for a guide w of zeros and ones and X = x as a matrix [C, M]."""

    def of(self, x: Map) -> Type:
        return Matrix(x.channels, 1)


class HalveGuides(_OfGuides):
    """The mean of each 2x2 window of every guide, stride 2; an odd last row or column is left out, as in pooling."""

    def of(self, t: Guides) -> Type:
        return replace(t, level=t.level + 1)


class NormalizeGuides(_OfGuides):
    """Each guide divided by its sum, so that it sums to 1; one that is zero everywhere stays so."""


class GuideMean(_OfGuides):
    """The mean of each guide over the M positions, a number for each region."""

    def of(self, w: Guides) -> Type:
        return PerRegion(Scalar())


def _guided(op: Op, x: Type, u: Type) -> int:
    """Return the channels of a map that goes with guides."""
    match x, u:
        case Map(channels, level, 0), Guides(also_level, single=False) if level == also_level:
            return channels
    raise op.reject("a map and guides of its extent", x, u)


class GuidedGram(Binary):
    """X diag(u_r) X^T for each region r, for guides u and X = x as a matrix [C, M]."""

    def infer(self, x: Type, u: Type) -> Type:
        return PerRegion(square(_guided(self, x, u)))


class GuidedMix(Ternary):
    """The sum over regions of A_r X diag(u_r), for a matrix A_r [C, C] for each region."""

    def infer(self, a: Type, x: Type, u: Type) -> Type:
        if a != PerRegion(square(_guided(self, x, u))):
            raise self.reject("a square matrix for each region, a map and guides of its extent", a, x, u)
        return x


class GuidedMean(Binary):
    """X u_r, a column [C, 1] for each region: the mean of each channel, where the guides u sum to 1."""

    def infer(self, x: Type, u: Type) -> Type:
        return PerRegion(Matrix(_guided(self, x, u), 1))


class GuidedSpread(Ternary):
    """The sum over regions of v_r u_r^T, in the shape of x, for a column v_r for each region."""

    def infer(self, v: Type, x: Type, u: Type) -> Type:
        if v != PerRegion(Matrix(_guided(self, x, u), 1)):
            raise self.reject("a column for each region, a map and guides of its extent", v, x, u)
        return x


halve_guides, normalize_guides, guide_mean = HalveGuides(), NormalizeGuides(), GuideMean()
core_mean = CoreMean()
guided_gram, guided_mix, guided_mean, guided_spread = GuidedGram(), GuidedMix(), GuidedMean(), GuidedSpread()


@dataclass(frozen=True, eq=False)
class Function:
    """A graph from inputs to outputs that is evaluated for each region by itself."""

    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]


class _OverRegions(Op):
    """An operator that evaluates a function for each region; those of one `Function` and inputs share the work."""

    function: Function

    def __call__(self, values: Sequence[Var]) -> Var:
        types = tuple(value.type for value in values)
        if types != tuple(PerRegion(x.type) for x in self.function.inputs):  # type: ignore[arg-type]
            raise self.reject("what its function takes, for each region", *types)
        return Var(self, tuple(values), self._result())

    def _result(self) -> Type:
        raise NotImplementedError


class EachRegion(_OverRegions):
    """One output of a function, for each region."""

    output: int = 0

    def _result(self) -> Type:
        type_ = self.function.outputs[self.output].type
        if not isinstance(type_, Matrix | Scalar):
            raise self.reject("a function whose result is a matrix or a number", type_)
        return PerRegion(type_)


class RegionSum(_OverRegions):
    """The sum over regions of a function's first output, a number; its other outputs are its derivatives.

    The derivatives are with respect to its first inputs, in order. The other inputs are not differentiated.
    """

    def _result(self) -> Type:
        first, *derivatives = self.function.outputs
        if first.type != Scalar() or any(
            d.type != x.type for d, x in zip(derivatives, self.function.inputs, strict=False)
        ):
            raise self.reject("a function whose results are a number and its derivatives", first.type)
        return Scalar()
