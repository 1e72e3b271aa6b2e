"""The gradient rules: for each operator its vector-Jacobian product.

A rule takes the node `y = op(*inputs)` and g, the gradient of some scalar with respect to y, and returns one entry per
input: the gradient of that scalar with respect to it, or None where none flows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from impasto.export import ops
from impasto.export.graph import Op, Var

Rule = Callable[[Var, Var], tuple[Var | None, ...]]

RULES: dict[type[Op], Rule] = {}

#: Operators through which nothing is differentiated: the leaves of a graph.
NO_GRADIENT: frozenset[type[Op]] = frozenset({ops.Input, ops.Constant, ops.Identity})

R = TypeVar("R", bound=Rule)


def vjp(op: type[Op]) -> Callable[[R], R]:
    """Register the rule of an operator; a second rule for the same operator is a mistake."""

    def register(rule: R) -> R:
        if op in RULES or op in NO_GRADIENT:
            raise ValueError(f"{op.__name__} has a gradient rule already")
        RULES[op] = rule
        return rule

    return register


# --- arithmetic -----------------------------------------------------------------------------------------------


@vjp(ops.Add)
def _add(y: Var, g: Var) -> tuple[Var, Var]:
    return g, g


@vjp(ops.Subtract)
def _subtract(y: Var, g: Var) -> tuple[Var, Var]:
    return g, ops.scale(-1.0, g)


@vjp(ops.Multiply)
def _multiply(y: Var, g: Var) -> tuple[Var, Var]:
    a, b = y.inputs
    return ops.multiply(g, b), ops.multiply(g, a)


@vjp(ops.Scale)
def _scale(y: Var, g: Var) -> tuple[Var, Var]:
    s, x = y.inputs
    return ops.inner(g, x), ops.scale(s, g)


@vjp(ops.Power)
def _power(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.Power)
    (x,) = y.inputs
    p = y.op.exponent
    return (ops.scale(p, ops.multiply(g, ops.power(x, p - 1))),)


# --- sums and means -------------------------------------------------------------------------------------------


@vjp(ops.Inner)
def _inner(y: Var, g: Var) -> tuple[Var, Var]:
    a, b = y.inputs
    return ops.scale(g, b), ops.scale(g, a)


@vjp(ops.Mean)
def _mean(y: Var, g: Var) -> tuple[Var]:
    return (ops.spread(g, y.inputs[0]),)


@vjp(ops.MeanSquare)
def _mean_square(y: Var, g: Var) -> tuple[Var]:
    return (ops.share(ops.scale(2.0, g), y.inputs[0]),)


# --- pictures -------------------------------------------------------------------------------------------------


@vjp(ops.Normalize)
def _normalize(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.Normalize)
    return (ops.normalize(g, (0.0,) * len(y.op.mean), y.op.scale),)


@vjp(ops.PadEdge)
def _pad_edge(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.PadEdge)
    return (ops.pad_edge_adjoint(g, y.op.before),)


@vjp(ops.PadEdgeAdjoint)
def _pad_edge_adjoint(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.PadEdgeAdjoint)
    return (ops.pad_edge(g, y.op.before),)


@vjp(ops.Difference)
def _difference(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.Difference)
    return (ops.difference_adjoint(g, y.op.axis),)


@vjp(ops.DifferenceAdjoint)
def _difference_adjoint(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.DifferenceAdjoint)
    return (ops.difference(g, y.op.axis),)


# --- the network ----------------------------------------------------------------------------------------------


@vjp(ops.Conv)
def _conv(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.Conv)
    return (ops.conv_adjoint(g, y.op.layer, y.op.inputs, y.op.outputs),)


@vjp(ops.ConvAdjoint)
def _conv_adjoint(y: Var, g: Var) -> tuple[Var]:
    assert isinstance(y.op, ops.ConvAdjoint)
    return (ops.conv(g, y.op.layer, y.op.inputs, y.op.outputs, bias=False),)


@vjp(ops.Relu)
def _relu(y: Var, g: Var) -> tuple[Var]:
    return (ops.gate(g, y),)  # y > 0 exactly where x > 0: the derivative at zero is zero


@vjp(ops.Gate)
def _gate(y: Var, g: Var) -> tuple[Var, None]:
    return ops.gate(g, y.inputs[1]), None  # constant in its second argument wherever it is differentiable


@vjp(ops.MaxPool)
def _max_pool(y: Var, g: Var) -> tuple[Var]:
    return (ops.max_unpool(g, y.inputs[0], y),)


@vjp(ops.AveragePool)
def _average_pool(y: Var, g: Var) -> tuple[Var]:
    return (ops.average_unpool(g, y.inputs[0]),)


@vjp(ops.AverageUnpool)
def _average_unpool(y: Var, g: Var) -> tuple[Var, None]:
    return ops.average_pool(g), None  # the second argument gives an extent only


# --- statistics of activations --------------------------------------------------------------------------------


@vjp(ops.Gram)
def _gram(y: Var, g: Var) -> tuple[Var]:
    return (ops.mix(ops.add(g, ops.transpose(g)), y.inputs[0]),)  # d(X X^T) = dX X^T + X dX^T


@vjp(ops.ChannelMean)
def _channel_mean(y: Var, g: Var) -> tuple[Var]:
    return (ops.channel_spread(g, y.inputs[0]),)


@vjp(ops.ChannelSpread)
def _channel_spread(y: Var, g: Var) -> tuple[Var, None]:
    return ops.channel_mean(g), None  # the second argument gives an extent only


@vjp(ops.GuidedGram)
def _guided_gram(y: Var, g: Var) -> tuple[Var, None]:
    x, u = y.inputs
    return ops.guided_mix(ops.add(g, ops.transpose(g)), x, u), None  # guides stay as they are


@vjp(ops.GuidedMean)
def _guided_mean(y: Var, g: Var) -> tuple[Var, None]:
    x, u = y.inputs
    return ops.guided_spread(g, x, u), None


@vjp(ops.RegionSum)
def _region_sum(y: Var, g: Var) -> tuple[Var | None, ...]:
    assert isinstance(y.op, ops.RegionSum)
    derivatives = [ops.each_region(y.op.function, y.inputs, k) for k in range(1, len(y.op.function.outputs))]
    rest = (None,) * (len(y.inputs) - len(derivatives))
    return (*(ops.scale(g, d) for d in derivatives), *rest)


# --- matrices -------------------------------------------------------------------------------------------------


@vjp(ops.Transpose)
def _transpose(y: Var, g: Var) -> tuple[Var]:
    return (ops.transpose(g),)


@vjp(ops.MatMul)
def _matmul(y: Var, g: Var) -> tuple[Var, Var]:
    a, b = y.inputs
    return ops.matmul(g, ops.transpose(b)), ops.matmul(ops.transpose(a), g)


@vjp(ops.WithDerivative)
def _with_derivative(y: Var, g: Var) -> tuple[None, Var, None]:
    return None, ops.scale(g, y.inputs[2]), None
