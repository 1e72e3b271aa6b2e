"""Reverse-mode differentiation, from graph to graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from impasto.export.graph import GraphError, Scalar, Var, constant, topological
from impasto.export.vjps import NO_GRADIENT, RULES, Gradients


def gradient(loss: Var, wrt: Var) -> Var:
    """Return d loss / d wrt, as new nodes on the same graph.

    Raises
    ------
    GraphError
        When the loss is no scalar, does not depend on `wrt`, or depends on it through an operator with no rule.
    """
    return gradients(loss, [wrt])[0]


def gradients(loss: Var, wrt: Sequence[Var]) -> list[Var]:
    """Return d loss / d x for each x of `wrt`: see `gradient`. None of these may depend on another."""
    if loss.type != Scalar():
        raise GraphError(f"only a scalar has a gradient, not {loss}")
    return pull_back({loss: constant(1.0)}, wrt)


def pull_back(cotangents: Mapping[Var, Var], wrt: Sequence[Var]) -> list[Var]:
    """Return the vector-Jacobian product of some values with their cotangents, with respect to each of `wrt`.

    This is the sweep behind `gradient`: the gradient of the sum of the inner products of each value with its cotangent.
    """
    order = topological(cotangents)
    path = set(wrt)  # only what lies between `wrt` and the values is visited
    for var in order:
        if not path.isdisjoint(var.inputs):
            path.add(var)
    for output in cotangents:
        if output not in path:
            raise GraphError(f"{output} does not depend on {' or '.join(map(str, wrt))}")
    sums = dict(cotangents)
    for var in reversed(order):
        if var in wrt or var not in path or var not in sums:
            continue
        for x, gx in zip(var.inputs, _apply_rule(var, sums.pop(var)), strict=True):
            if gx is not None and x in path:
                sums[x] = sums[x] + gx if x in sums else gx
    for x in wrt:
        if x not in sums:
            raise GraphError(f"no gradient flows from {' or '.join(map(str, cotangents))} to {x}")
    return [sums[x] for x in wrt]


def _apply_rule(var: Var, g: Var) -> Gradients:
    """Apply the operator's rule, and check its result against the types of the inputs."""
    rule = RULES.get(type(var.op))
    if rule is None:
        why = "is a leaf" if type(var.op) in NO_GRADIENT else "has no gradient rule: add one to vjps.py"
        raise GraphError(f"{var} {why}")
    result = rule(var, g)
    types = [x.type for x in var.inputs]
    if len(result) != len(types) or any(gx and gx.type != t for gx, t in zip(result, types, strict=True)):
        raise GraphError(f"the gradient rule of {var} does not answer for inputs of types {types}")
    return result
