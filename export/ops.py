"""The operators of the logical graph.

Each is a frozen dataclass (its type rule) and a function that applies it (its name in formulas). Activations are
written [C, H, W]; M is a map's number of positions, H * W. How an operator becomes ONNX nodes is for a lowering to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from impasto.export.graph import Guides, Map, Matrix, Op, PerRegion, Scalar, Type, Var, apply, square

Axis = Literal["y", "x", "diagonal", "antidiagonal"]

# --- leaves ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input(Op):
    """A named input of the finished graph."""

    name: str
    type: Type

    def infer(self, *types: Type) -> Type:
        return self.type


@dataclass(frozen=True)
class Constant(Op):
    """A number known when the graph is written."""

    value: float

    def infer(self, *types: Type) -> Type:
        return Scalar()


def graph_input(name: str, type_: Type) -> Var:
    """Return a named input of the graph."""
    return apply(Input(name, type_))


def constant(value: float) -> Var:
    """Return a constant scalar."""
    return apply(Constant(value))


# --- arithmetic -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Elementwise(Op):
    def infer(self, *types: Type) -> Type:
        if len(types) != 2 or types[0] != types[1]:
            raise self.reject("two values of one type", *types)
        return types[0]


class Add(_Elementwise):
    """a + b."""


class Subtract(_Elementwise):
    """a - b."""


class Multiply(_Elementwise):
    """a * b, element by element."""


@dataclass(frozen=True)
class Scale(Op):
    """s * x, for a scalar s and any x."""

    def infer(self, *types: Type) -> Type:
        if len(types) != 2 or types[0] != Scalar():
            raise self.reject("a scalar and a value", *types)
        return types[1]


@dataclass(frozen=True)
class Power(Op):
    """x ** exponent, element by element, for x >= 0."""

    exponent: float

    def infer(self, *types: Type) -> Type:
        return types[0]


def add(a: Var, b: Var) -> Var:
    """a + b."""
    return apply(Add(), a, b)


def subtract(a: Var, b: Var) -> Var:
    """a - b."""
    return apply(Subtract(), a, b)


def multiply(a: Var, b: Var) -> Var:
    """a * b, element by element."""
    return apply(Multiply(), a, b)


def scale(s: Var | float, x: Var) -> Var:
    """s * x; multiplying by the constant one leaves no trace."""
    s = s if isinstance(s, Var) else constant(s)
    for factor, other in ((s, x), (x, s)):
        if factor.op == Constant(1.0):
            return other
    return apply(Scale(), s, x)


def power(x: Var, exponent: float) -> Var:
    """x ** exponent, element by element, for x >= 0."""
    return x if exponent == 1 else apply(Power(exponent), x)


# --- sums and means -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean(Op):
    """The mean of all elements."""

    def infer(self, *types: Type) -> Type:
        return Scalar()


@dataclass(frozen=True)
class MeanSquare(Op):
    """The mean of all squared elements."""

    def infer(self, *types: Type) -> Type:
        return Scalar()


@dataclass(frozen=True)
class Share(Op):
    """s * x / N, N the number of elements of x."""

    def infer(self, *types: Type) -> Type:
        return Scale().infer(*types)


@dataclass(frozen=True)
class Spread(Op):
    """s / N at each of the N elements of something like x."""

    def infer(self, *types: Type) -> Type:
        return Scale().infer(*types)


@dataclass(frozen=True)
class Inner(Op):
    """The sum of a * b over all elements."""

    def infer(self, *types: Type) -> Type:
        _Elementwise.infer(Multiply(), *types)
        return Scalar()


def inner(a: Var, b: Var) -> Var:
    """Return the sum of a * b over all elements."""
    return apply(Inner(), a, b)


def mean(x: Var) -> Var:
    """Return the mean of all elements of x."""
    return apply(Mean(), x)


def mean_square(x: Var) -> Var:
    """Return the mean of all squared elements of x."""
    return apply(MeanSquare(), x)


def share(s: Var, x: Var) -> Var:
    """s * x / N, N the number of elements of x."""
    return apply(Share(), s, x)


def spread(s: Var, like: Var) -> Var:
    """s / N at each of the N elements of something like `like`."""
    return apply(Spread(), s, like)


# --- pictures -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normalize(Op):
    """(x - mean) * scale, channel by channel: what a network was trained to see, from RGB levels 0..255."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map) or not x.channels == len(self.mean) == len(self.scale):
            raise self.reject(f"a map of {len(self.mean)} channels", *types)
        return x


@dataclass(frozen=True)
class PadEdge(Op):
    """x with its outermost pixels repeated: once after the last row and column, and `before` times before the first."""

    before: Literal[0, 1]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map", *types)
        return Map(x.channels, x.level, x.trim - 1 - self.before)


@dataclass(frozen=True)
class PadEdgeAdjoint(Op):
    """The transpose of `PadEdge`: what lies outside is added to the outermost pixels."""

    before: Literal[0, 1]

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map", *types)
        return Map(x.channels, x.level, x.trim + 1 + self.before)


@dataclass(frozen=True)
class Difference(Op):
    """The difference of two pixels of every 2x2 window, for i < H-1 and j < W-1.

    x[i, j] - x[i+1, j] (axis y), x[i, j] - x[i, j+1] (axis x), x[i, j] - x[i+1, j+1] (diagonal) or
    x[i, j+1] - x[i+1, j] (antidiagonal).
    """

    axis: Axis

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map", *types)
        return Map(x.channels, x.level, x.trim + 1)


@dataclass(frozen=True)
class DifferenceAdjoint(Op):
    """The transpose of `Difference`."""

    axis: Axis

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map of differences", *types)
        return Map(x.channels, x.level, x.trim - 1)


def normalize(x: Var, mean: tuple[float, ...], scale: tuple[float, ...]) -> Var:
    """(x - mean) * scale, channel by channel."""
    return apply(Normalize(mean, scale), x)


def pad_edge(x: Var, before: Literal[0, 1]) -> Var:
    """Repeat the outermost pixels: see `PadEdge`."""
    return apply(PadEdge(before), x)


def pad_edge_adjoint(x: Var, before: Literal[0, 1]) -> Var:
    """Apply the transpose of `pad_edge`."""
    return apply(PadEdgeAdjoint(before), x)


def difference(x: Var, axis: Axis) -> Var:
    """Subtract from each pixel a neighbour: see `Difference`."""
    return apply(Difference(axis), x)


def difference_adjoint(x: Var, axis: Axis) -> Var:
    """Apply the transpose of `difference`."""
    return apply(DifferenceAdjoint(axis), x)


# --- the network ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv(Op):
    """The 3x3 convolution `layer`, stride 1, zero padding 1, plus its bias unless `bias` is False."""

    layer: str
    inputs: int
    outputs: int
    bias: bool = True

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map) or x.channels != self.inputs:
            raise self.reject(f"a map of {self.inputs} channels", *types)
        return Map(self.outputs, x.level)


@dataclass(frozen=True)
class ConvAdjoint(Op):
    """The transpose of the linear part of `Conv`: `outputs` channels in, `inputs` channels out."""

    layer: str
    inputs: int
    outputs: int

    def infer(self, *types: Type) -> Type:
        (g,) = types
        if not isinstance(g, Map) or g.channels != self.outputs:
            raise self.reject(f"a map of {self.outputs} channels", *types)
        return Map(self.inputs, g.level)


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0)."""

    def infer(self, *types: Type) -> Type:
        return types[0]


class Gate(_Elementwise):
    """g where y > 0, else 0."""


@dataclass(frozen=True)
class _Pool(Op):
    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map) or x.trim:
            raise self.reject("an activation", *types)
        return Map(x.channels, x.level + 1)


class MaxPool(_Pool):
    """The maximum of each 2x2 window, stride 2; an odd last row or column is left out."""


class AveragePool(_Pool):
    """The mean of each 2x2 window, stride 2; an odd last row or column is left out."""


@dataclass(frozen=True)
class _Unpool(Op):
    def infer(self, *types: Type) -> Type:
        g, x = types[0], types[1]
        if not isinstance(x, Map) or any(small != _Pool().infer(x) for small in (g, *types[2:])):
            raise self.reject("pooled values after what was pooled", *types)
        return x


class MaxUnpool(_Unpool):
    """(g, x, y = maxpool(x)) -> g of each window at its maximum, to the first where several elements are."""


class AverageUnpool(_Unpool):
    """(g, x) -> a quarter of each window's g at each of its elements; x gives the extent only."""


def conv(x: Var, layer: str, inputs: int, outputs: int, *, bias: bool = True) -> Var:
    """Convolve x with the kernels of `layer`."""
    return apply(Conv(layer, inputs, outputs, bias), x)


def conv_adjoint(g: Var, layer: str, inputs: int, outputs: int) -> Var:
    """Apply the transpose of the convolution `layer`."""
    return apply(ConvAdjoint(layer, inputs, outputs), g)


def relu(x: Var) -> Var:
    """max(x, 0)."""
    return apply(Relu(), x)


def gate(g: Var, y: Var) -> Var:
    """G where y > 0, else 0."""
    return apply(Gate(), g, y)


def max_pool(x: Var) -> Var:
    """Take the maximum of each 2x2 window."""
    return apply(MaxPool(), x)


def average_pool(x: Var) -> Var:
    """Take the mean of each 2x2 window."""
    return apply(AveragePool(), x)


def max_unpool(g: Var, x: Var, y: Var) -> Var:
    """Send each window's g back to where its maximum was."""
    return apply(MaxUnpool(), g, x, y)


def average_unpool(g: Var, x: Var) -> Var:
    """Send a quarter of each window's g back to each of its elements."""
    return apply(AverageUnpool(), g, x)


# --- statistics of activations --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gram(Op):
    """X X^T / M, for X = x as a matrix [C, M]."""

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map", *types)
        return square(x.channels)


@dataclass(frozen=True)
class ChannelMean(Op):
    """The mean of each channel over the M positions, a column [C, 1]."""

    def infer(self, *types: Type) -> Type:
        (x,) = types
        if not isinstance(x, Map):
            raise self.reject("a map", *types)
        return Matrix(x.channels, 1)


@dataclass(frozen=True)
class ChannelSpread(Op):
    """v / M at each of the M positions of something like x, for a column v of x's channels."""

    def infer(self, *types: Type) -> Type:
        if len(types) != 2 or not isinstance(types[1], Map) or types[0] != Matrix(types[1].channels, 1):
            raise self.reject("a column and a map of as many channels", *types)
        return types[1]


@dataclass(frozen=True)
class Mix(Op):
    """A X / M, for A [C, C] and X = x as a matrix [C, M]: each position's channels, mixed."""

    def infer(self, *types: Type) -> Type:
        if len(types) != 2 or not isinstance(types[1], Map) or types[0] != square(types[1].channels):
            raise self.reject("a matrix and a map of as many channels", *types)
        return types[1]


def gram(x: Var) -> Var:
    """X X^T / M."""
    return apply(Gram(), x)


def channel_mean(x: Var) -> Var:
    """Return the mean of each channel, a column."""
    return apply(ChannelMean(), x)


def channel_spread(v: Var, like: Var) -> Var:
    """v / M at each of the M positions of something like `like`."""
    return apply(ChannelSpread(), v, like)


def mix(a: Var, x: Var) -> Var:
    """A X / M."""
    return apply(Mix(), a, x)


# --- matrices -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity(Op):
    """The identity matrix of a size."""

    size: int

    def infer(self, *types: Type) -> Type:
        return square(self.size)


@dataclass(frozen=True)
class Transpose(Op):
    """A^T; of each matrix, where there is one for each region."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (Matrix(rows, columns),):
                return Matrix(columns, rows)
            case (PerRegion(Matrix(rows, columns)),):
                return PerRegion(Matrix(columns, rows))
        raise self.reject("a matrix, or one for each region", *types)


@dataclass(frozen=True)
class MatMul(Op):
    """A B."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (Matrix(rows, inner), Matrix(also_inner, columns)) if inner == also_inner:
                return Matrix(rows, columns)
        raise self.reject("two matrices that fit", *types)


@dataclass(frozen=True)
class Beside(Op):
    """[A B]: the columns of A, then those of B."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (Matrix(rows, left), Matrix(also_rows, right)) if rows == also_rows:
                return Matrix(rows, left + right)
        raise self.reject("two matrices of as many rows", *types)


@dataclass(frozen=True)
class Columns(Op):
    """The columns start, ..., stop - 1 of a matrix."""

    start: int
    stop: int

    def infer(self, *types: Type) -> Type:
        (a,) = types
        if not isinstance(a, Matrix) or not 0 <= self.start < self.stop <= a.columns:
            raise self.reject(f"a matrix of {self.stop} columns or more", *types)
        return Matrix(a.rows, self.stop - self.start)


@dataclass(frozen=True)
class WithDerivative(Op):
    """(y, x, d) -> y, a scalar whose derivative with respect to x is known to be d: y itself is not differentiated."""

    def infer(self, *types: Type) -> Type:
        if len(types) != 3 or types[0] != Scalar() or types[1] != types[2]:
            raise self.reject("a scalar, a value and something like it", *types)
        return Scalar()


def identity(size: int) -> Var:
    """Return the identity matrix."""
    return apply(Identity(size))


def transpose(a: Var) -> Var:
    """A^T."""
    return apply(Transpose(), a)


def matmul(a: Var, b: Var) -> Var:
    """A B."""
    return apply(MatMul(), a, b)


def beside(a: Var, b: Var) -> Var:
    """[A B]."""
    return apply(Beside(), a, b)


def columns(a: Var, start: int, stop: int) -> Var:
    """Return the columns start, ..., stop - 1."""
    return apply(Columns(start, stop), a)


def with_derivative(y: Var, x: Var, d: Var) -> Var:
    """Return the scalar y, whose derivative with respect to x is known to be d."""
    return apply(WithDerivative(), y, x, d)


# --- regions --------------------------------------------------------------------------------------------------


class HalveGuides(Op):
    """The mean of each 2x2 window of every guide, stride 2; an odd last row or column is left out, as in pooling."""

    def infer(self, *types: Type) -> Type:
        (t,) = types
        if not isinstance(t, Guides):
            raise self.reject("guides", *types)
        return Guides(t.level + 1)


class NormalizeGuides(Op):
    """Each guide divided by its sum, so that it sums to 1; one that is zero everywhere stays so."""

    def infer(self, *types: Type) -> Type:
        (w,) = types
        if not isinstance(w, Guides):
            raise self.reject("guides", *types)
        return w


class GuideMean(Op):
    """The mean of each guide over the M positions, a number for each region."""

    def infer(self, *types: Type) -> Type:
        (w,) = types
        if not isinstance(w, Guides):
            raise self.reject("guides", *types)
        return PerRegion(Scalar())


class GuidedGram(Op):
    """X diag(u_r) X^T for each region r, for guides u and X = x as a matrix [C, M]."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (Map(channels, level, 0), Guides(also_level)) if level == also_level:
                return PerRegion(square(channels))
        raise self.reject("a map and guides of its extent", *types)


class GuidedMix(Op):
    """The sum over regions of A_r X diag(u_r), for a matrix A_r [C, C] for each region."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (PerRegion(a), Map(channels, level, 0) as x, Guides(also_level)):
                if a == square(channels) and level == also_level:
                    return x
        raise self.reject("a square matrix for each region, a map and guides of its extent", *types)


class GuidedMean(Op):
    """X u_r, a column [C, 1] for each region: the mean of each channel, where the guides u sum to 1."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (Map(channels, level, 0), Guides(also_level)) if level == also_level:
                return PerRegion(Matrix(channels, 1))
        raise self.reject("a map and guides of its extent", *types)


class GuidedSpread(Op):
    """The sum over regions of v_r u_r^T, for a column v_r for each region, at each position of something like x."""

    def infer(self, *types: Type) -> Type:
        match types:
            case (PerRegion(v), Map(channels, level, 0) as x, Guides(also_level)):
                if v == Matrix(channels, 1) and level == also_level:
                    return x
        raise self.reject("a column for each region, a map and guides of its extent", *types)


@dataclass(frozen=True, eq=False)
class Function:
    """Graphs from the same inputs to some outputs, to be evaluated for each region by itself."""

    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]


@dataclass(frozen=True)
class _OverRegions(Op):
    """What is computed of a function; all that name the same `Function` of the same inputs are computed together."""

    function: Function

    def infer(self, *types: Type) -> Type:
        if types != tuple(PerRegion(x.type) for x in self.function.inputs):  # type: ignore[arg-type]
            raise self.reject("what its function takes, for each region", *types)
        return self._result()

    def _result(self) -> Type:
        raise NotImplementedError


@dataclass(frozen=True)
class EachRegion(_OverRegions):
    """One output of a function, for each region."""

    output: int

    def _result(self) -> Type:
        type_ = self.function.outputs[self.output].type
        if not isinstance(type_, Matrix | Scalar):
            raise self.reject("a function whose result is a matrix or a number", type_)
        return PerRegion(type_)


class RegionSum(_OverRegions):
    """The sum over regions of a function's first output, a number; its other outputs are its derivatives.

    These are with respect to its first inputs, in their order; with respect to the rest it is not differentiated.
    """

    def _result(self) -> Type:
        first, *derivatives = self.function.outputs
        if first.type != Scalar() or any(
            d.type != x.type for d, x in zip(derivatives, self.function.inputs, strict=False)
        ):
            raise self.reject("a function whose results are a number and its derivatives", first.type)
        return Scalar()


def halve_guides(t: Var) -> Var:
    """Take the mean of each 2x2 window of every guide."""
    return apply(HalveGuides(), t)


def normalize_guides(w: Var) -> Var:
    """Divide each guide by its sum."""
    return apply(NormalizeGuides(), w)


def guide_mean(w: Var) -> Var:
    """Return the mean of each guide, a number for each region."""
    return apply(GuideMean(), w)


def guided_gram(x: Var, u: Var) -> Var:
    """X diag(u_r) X^T for each region r."""
    return apply(GuidedGram(), x, u)


def guided_mix(a: Var, x: Var, u: Var) -> Var:
    """Sum A_r X diag(u_r) over the regions r."""
    return apply(GuidedMix(), a, x, u)


def guided_mean(x: Var, u: Var) -> Var:
    """X u_r for each region r, a column."""
    return apply(GuidedMean(), x, u)


def guided_spread(v: Var, like: Var, u: Var) -> Var:
    """Sum v_r u_r^T over the regions r, at each position of something like `like`."""
    return apply(GuidedSpread(), v, like, u)


def each_region(function: Function, values: Sequence[Var], output: int = 0) -> Var:
    """Return one output of a function for each region."""
    return apply(EachRegion(function, output), *values)


def region_sum(function: Function, values: Sequence[Var]) -> Var:
    """Sum a function's first output over the regions; its other outputs are its derivatives: see `RegionSum`."""
    return apply(RegionSum(function), *values)
