"""The logical graph: the mathematics of the loss, with no trace of how a tensor is laid out in memory.

A `Var` is the result of applying an `Op` to other `Var`s. Its `Type` is inferred and checked at once, so a mistake is
reported where it is written. A graph is the set of `Var`s that its outputs depend on. Formulas are written with
Python's operators. The `Op`s that these stand for are here; all others are in `ops`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import dataclass_transform


class GraphError(TypeError):
    """An operator was applied to something it is not defined for."""


@dataclass(frozen=True)
class Scalar:
    """A single number."""

    def __str__(self) -> str:
        return "scalar"


@dataclass(frozen=True)
class Matrix:
    """A matrix whose size the picture does not change: a Gram matrix, a column of means or something like it."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"[{self.rows}, {self.columns}]"


def square(size: int) -> Matrix:
    """Return the type of a square matrix."""
    return Matrix(size, size)


@dataclass(frozen=True)
class Map:
    """A picture or activation, [channels, H >> level, W >> level] for a picture of H x W.

    It has `trim` rows and columns fewer where neighbours have been subtracted, and more where `trim` is below zero.
    """

    channels: int
    level: int = 0
    trim: int = 0

    def __str__(self) -> str:
        less = f" - {self.trim}" if self.trim > 0 else f" + {-self.trim}" if self.trim else ""
        return f"[{self.channels}, (H >> {self.level}){less}, (W >> {self.level}){less}]"


@dataclass(frozen=True)
class Guides:
    """How much each pixel belongs to each of R regions, [R, H >> level, W >> level], for a picture of H x W.

    With `single` there is one region, whatever R is.
    """

    level: int = 0
    single: bool = False

    def __str__(self) -> str:
        return f"[{1 if self.single else 'R'}, H >> {self.level}, W >> {self.level}]"


@dataclass(frozen=True)
class PerRegion:
    """One matrix or number for each of R regions."""

    each: Matrix | Scalar

    def __str__(self) -> str:
        return f"R x {self.each}"


Type = Scalar | Matrix | Map | Guides | PerRegion


@dataclass_transform(frozen_default=True)
class Op:
    """An operator of the logical graph. Called with `Var`s, it returns its result as a `Var`.

    Each subclass becomes a frozen dataclass, whose fields are the operator's attributes. Most derive from `Leaf`,
    `Unary`, `Binary` or `Ternary`, by the number of their inputs.
    """

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def reject(self, expected: str, *types: Type) -> GraphError:
        """Return the error for arguments of the wrong type."""
        given = ", ".join(map(str, types))
        return GraphError(f"{self} takes {expected}, not ({given})")


class Leaf(Op):
    """An operator of no inputs."""

    def infer(self) -> Type:
        """Return the type of the result."""
        raise NotImplementedError

    def __call__(self) -> Var:
        return Var(self, (), self.infer())


class Unary(Op):
    """An operator of one input."""

    def infer(self, x: Type, /) -> Type:
        """Return the type of the result, or raise `GraphError`."""
        raise NotImplementedError

    def __call__(self, x: Var, /) -> Var:
        return Var(self, (x,), self.infer(x.type))


class Binary(Op):
    """An operator of two inputs."""

    def infer(self, a: Type, b: Type, /) -> Type:
        """Return the type of the result, or raise `GraphError`."""
        raise NotImplementedError

    def __call__(self, a: Var, b: Var, /) -> Var:
        return Var(self, (a, b), self.infer(a.type, b.type))


class Ternary(Op):
    """An operator of three inputs."""

    def infer(self, a: Type, b: Type, c: Type, /) -> Type:
        """Return the type of the result, or raise `GraphError`."""
        raise NotImplementedError

    def __call__(self, a: Var, b: Var, c: Var, /) -> Var:
        return Var(self, (a, b, c), self.infer(a.type, b.type, c.type))


@dataclass(frozen=True, eq=False)
class Var:
    """One value of the graph: `op` applied to `inputs`. Arithmetic with it makes new ones."""

    op: Op
    inputs: tuple[Var, ...]
    type: Type

    def __str__(self) -> str:
        return f"{self.op}: {self.type}"

    def __add__(self, other: Var) -> Var:
        return Add()(self, other)

    def __sub__(self, other: Var) -> Var:
        return Subtract()(self, other)

    def __neg__(self) -> Var:
        return -1.0 * self

    def __mul__(self, other: Var) -> Var:
        """Multiply by a scalar, or element by element; multiplying by the constant one leaves no trace."""
        s, x = (self, other) if self.type == Scalar() else (other, self)
        if s.type != Scalar():
            return Multiply()(self, other)
        if s.op == Constant(1.0):
            return x
        return s if x.op == Constant(1.0) else Scale()(s, x)

    def __rmul__(self, factor: float) -> Var:
        return constant(factor) * self

    def __pow__(self, exponent: float) -> Var:
        return self if exponent == 1 else Power(exponent)(self)

    def __matmul__(self, other: Var) -> Var:
        return MatMul()(self, other)

    @property
    def T(self) -> Var:  # noqa: N802 - as numpy has it
        """The transpose of a matrix, or of each one where there is one for each region."""
        return Transpose()(self)


# --- arithmetic -----------------------------------------------------------------------------------------------


class Constant(Leaf):
    """A number known when the graph is written."""

    value: float

    def infer(self) -> Type:
        return Scalar()


def constant(value: float) -> Var:
    """Return a constant scalar."""
    return Constant(value)()


class Elementwise(Binary):
    """An operator of two values of one type."""

    def infer(self, a: Type, b: Type) -> Type:
        if a != b:
            raise self.reject("two values of one type", a, b)
        return a


class Add(Elementwise):
    """a + b."""


class Subtract(Elementwise):
    """a - b."""


class Multiply(Elementwise):
    """a * b, element by element."""


class Scaling(Binary):
    """An operator of a scalar and a value."""

    def infer(self, s: Type, x: Type) -> Type:
        if s != Scalar():
            raise self.reject("a scalar and a value", s, x)
        return x


class Scale(Scaling):
    """s * x, for a scalar s and any x."""


class Power(Unary):
    """x ** exponent, element by element, for x >= 0."""

    exponent: float

    def infer(self, x: Type) -> Type:
        return x


class MatMul(Binary):
    """A B."""

    def infer(self, a: Type, b: Type) -> Type:
        match a, b:
            case Matrix(rows, inner), Matrix(also_inner, columns) if inner == also_inner:
                return Matrix(rows, columns)
        raise self.reject("two matrices that fit", a, b)


class Transpose(Unary):
    """A^T; of each matrix, where there is one for each region."""

    def infer(self, a: Type) -> Type:
        match a:
            case Matrix(rows, columns):
                return Matrix(columns, rows)
            case PerRegion(Matrix(rows, columns)):
                return PerRegion(Matrix(columns, rows))
        raise self.reject("a matrix, or one for each region", a)


# --- order and substitution -----------------------------------------------------------------------------------


def topological(outputs: Iterable[Var]) -> list[Var]:
    """List everything the outputs depend on, each `Var` after all of its inputs."""
    order: list[Var] = []
    seen: set[Var] = set()
    stack = [(var, False) for var in reversed(list(outputs))]
    while stack:
        var, inputs_done = stack.pop()
        if inputs_done:
            order.append(var)
        elif var not in seen:
            seen.add(var)
            stack.append((var, True))
            stack.extend((x, False) for x in reversed(var.inputs))
    return order


def substitute(outputs: Mapping[str, Var], by: Mapping[Var, Var]) -> dict[str, Var]:
    """Return outputs by name, with some of the values that they depend on replaced by others of the same types."""
    new = dict(by)
    for var in topological(outputs.values()):
        if var not in new:
            inputs = tuple(new[x] for x in var.inputs)
            new[var] = var if inputs == var.inputs else Var(var.op, inputs, var.type)
    return {name: new[var] for name, var in outputs.items()}
