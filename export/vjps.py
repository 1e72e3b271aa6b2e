"""The gradient rules: for each operator its vector-Jacobian product.

A rule takes the operator, the node `y = op(*inputs)` and g, the gradient of some scalar with respect to y. It returns
one entry per input: the gradient of that scalar with respect to it, or None where none flows. Nothing is broadcast in
the logical graph, so no rule has to undo it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from impasto.export import graph, ops
from impasto.export.graph import Op, Var

Gradients = tuple[Var | None, ...]

#: Operator -> its rule, for the node and g.
RULES: dict[type[Op], Callable[[Var, Var], Gradients]] = {}

#: Operators through which nothing is differentiated: the leaves of a graph.
NO_GRADIENT: frozenset[type[Op]] = frozenset({ops.Input, graph.Constant, ops.Identity})

O = TypeVar("O", bound=Op)  # noqa: E741


def vjp(op: type[O], rule: Callable[[O, Var, Var], Gradients]) -> None:
    """Register the rule of an operator; a second rule for the same operator is a mistake."""
    if op in RULES or op in NO_GRADIENT:
        raise ValueError(f"{op.__name__} has a gradient rule already")

    def apply(y: Var, g: Var) -> Gradients:
        assert isinstance(y.op, op)
        return rule(y.op, y, g)

    RULES[op] = apply


# --- arithmetic -----------------------------------------------------------------------------------------------

vjp(graph.Add, lambda op, y, g: (g, g))
vjp(graph.Subtract, lambda op, y, g: (g, -g))
vjp(graph.Multiply, lambda op, y, g: (g * y.inputs[1], g * y.inputs[0]))
vjp(graph.Scale, lambda op, y, g: (ops.inner(g, y.inputs[1]), y.inputs[0] * g))
vjp(graph.Power, lambda op, y, g: (op.exponent * (g * y.inputs[0] ** (op.exponent - 1)),))
vjp(graph.MatMul, lambda op, y, g: (g @ y.inputs[1].T, y.inputs[0].T @ g))
vjp(graph.Transpose, lambda op, y, g: (g.T,))

# --- sums and means -------------------------------------------------------------------------------------------

vjp(ops.Inner, lambda op, y, g: (g * y.inputs[1], g * y.inputs[0]))
vjp(ops.Mean, lambda op, y, g: (ops.spread(g, y.inputs[0]),))
vjp(ops.MeanSquare, lambda op, y, g: (ops.share(2.0 * g, y.inputs[0]),))

# --- pictures -------------------------------------------------------------------------------------------------

vjp(ops.Normalize, lambda op, y, g: (ops.Normalize((0.0,) * len(op.mean), op.scale)(g),))
vjp(ops.PadEdge, lambda op, y, g: (ops.PadEdgeAdjoint(op.before)(g),))
vjp(ops.PadEdgeAdjoint, lambda op, y, g: (ops.PadEdge(op.before)(g),))
vjp(ops.Difference, lambda op, y, g: (ops.DifferenceAdjoint(op.axis)(g),))
vjp(ops.DifferenceAdjoint, lambda op, y, g: (ops.Difference(op.axis)(g),))

# --- the network ----------------------------------------------------------------------------------------------

vjp(ops.Conv, lambda op, y, g: (ops.ConvAdjoint(op.layer, op.inputs, op.outputs, op.padding)(g),))
vjp(ops.ConvAdjoint, lambda op, y, g: (ops.Conv(op.layer, op.inputs, op.outputs, bias=False, padding=op.padding)(g),))
vjp(ops.Relu, lambda op, y, g: (ops.gate(g, y),))  # y > 0 exactly where x > 0: the derivative at zero is zero
vjp(ops.Gate, lambda op, y, g: (ops.gate(g, y.inputs[1]), None))  # constant in the second wherever differentiable
vjp(ops.MaxPool, lambda op, y, g: (ops.max_unpool(g, y.inputs[0], y),))
vjp(ops.AveragePool, lambda op, y, g: (ops.average_unpool(g, y.inputs[0]),))
vjp(ops.AverageUnpool, lambda op, y, g: (ops.average_pool(g), None))  # the second gives an extent only

# --- statistics of activations --------------------------------------------------------------------------------

vjp(ops.Gram, lambda op, y, g: (ops.mix(g + g.T, y.inputs[0]),))  # d(X X^T) = dX X^T + X dX^T
vjp(ops.ChannelMean, lambda op, y, g: (ops.channel_spread(g, y.inputs[0]),))
vjp(ops.ChannelSpread, lambda op, y, g: (ops.channel_mean(g), None))  # the second gives an extent only
vjp(ops.Within, lambda op, y, g: (ops.within(g, y.inputs[1]), None))
vjp(ops.CoreGram, lambda op, y, g: (ops.within(ops.mix(g + g.T, y.inputs[0]), y.inputs[1]), None))
vjp(ops.CoreMean, lambda op, y, g: (ops.within(ops.channel_spread(g, y.inputs[0]), y.inputs[1]), None))
vjp(ops.GuidedGram, lambda op, y, g: (ops.guided_mix(g + g.T, *y.inputs), None))  # guides stay as they are
vjp(ops.GuidedMean, lambda op, y, g: (ops.guided_spread(g, *y.inputs), None))

# --- matrices -------------------------------------------------------------------------------------------------

vjp(ops.Diagonal, lambda op, y, g: (ops.diagonal_matrix(g),))
vjp(ops.DiagonalMatrix, lambda op, y, g: (ops.diagonal(g),))

# --- derivatives that are known -------------------------------------------------------------------------------

vjp(ops.WithDerivative, lambda op, y, g: (None, g * y.inputs[2], None))


def _region_sum(op: ops.RegionSum, y: Var, g: Var) -> Gradients:
    derivatives = [ops.EachRegion(op.function, k)(y.inputs) for k in range(1, len(op.function.outputs))]
    rest = (None,) * (len(y.inputs) - len(derivatives))
    return (*(g * d for d in derivatives), *rest)


vjp(ops.RegionSum, _region_sum)
