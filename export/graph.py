"""The logical graph: the mathematics of the loss, with no trace of how a tensor is laid out in memory.

A `Var` is the result of applying an `Op` to other `Var`s; its `Type` is inferred and checked the moment it is made, so
a mistake is reported where it is written. A graph is nothing but the `Var`s one can reach from its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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

    `trim` rows and columns fewer, where neighbours have been subtracted; or more, where it is below zero.
    """

    channels: int
    level: int = 0
    trim: int = 0

    def __str__(self) -> str:
        less = f" - {self.trim}" if self.trim > 0 else f" + {-self.trim}" if self.trim else ""
        return f"[{self.channels}, (H >> {self.level}){less}, (W >> {self.level}){less}]"


@dataclass(frozen=True)
class Guides:
    """How much each pixel belongs to each of R regions, [R, H >> level, W >> level], for a picture of H x W."""

    level: int = 0

    def __str__(self) -> str:
        return f"[R, H >> {self.level}, W >> {self.level}]"


@dataclass(frozen=True)
class PerRegion:
    """One matrix or number for each of R regions."""

    each: Matrix | Scalar

    def __str__(self) -> str:
        return f"R x {self.each}"


Type = Scalar | Matrix | Map | Guides | PerRegion


class Op:
    """An operator of the logical graph. Subclasses are frozen dataclasses; their fields are the attributes."""

    def infer(self, *types: Type) -> Type:
        """Return the type of the result, or raise `GraphError`."""
        raise NotImplementedError

    def reject(self, expected: str, *types: Type) -> GraphError:
        """Make the error for arguments of the wrong type."""
        given = ", ".join(map(str, types))
        return GraphError(f"{self} takes {expected}, not ({given})")


@dataclass(frozen=True, eq=False)
class Var:
    """One value of the graph: `op` applied to `inputs`."""

    op: Op
    inputs: tuple[Var, ...]
    type: Type

    def __str__(self) -> str:
        return f"{self.op}: {self.type}"


def apply(op: Op, *inputs: Var) -> Var:
    """Apply an operator; its result's type is inferred here.

    Raises
    ------
    GraphError
        When the operator is not defined for inputs of these types.
    """
    return Var(op, inputs, op.infer(*(x.type for x in inputs)))


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
