"""Reverse-mode differentiation, from graph to graph."""

from __future__ import annotations

from impasto.export.graph import GraphError, Scalar, Var, constant, topological
from impasto.export.vjps import NO_GRADIENT, RULES, Gradients


def gradient(loss: Var, wrt: Var) -> Var:
    """Return d loss / d wrt, as new nodes on the same graph.

    Raises
    ------
    GraphError
        When the loss is no scalar, does not depend on `wrt`, or depends on it through an operator with no rule.
    """
    if loss.type != Scalar():
        raise GraphError(f"only a scalar has a gradient, not {loss}")
    return pull_back(loss, constant(1.0), wrt)


def pull_back(output: Var, cotangent: Var, wrt: Var) -> Var:
    """Return the vector-Jacobian product of `output` with `cotangent`: the sweep behind `gradient`."""
    order = topological([output])
    path = {wrt}  # only values between `wrt` and the output are visited
    for var in order:
        if not path.isdisjoint(var.inputs):
            path.add(var)
    if output not in path:
        raise GraphError(f"{output} does not depend on {wrt}")
    gradients = {output: cotangent}
    for var in reversed(order):
        if var is wrt or var not in path or var not in gradients:
            continue
        for x, gx in zip(var.inputs, _apply_rule(var, gradients.pop(var)), strict=True):
            if gx is not None and x in path:
                gradients[x] = gradients[x] + gx if x in gradients else gx
    if wrt not in gradients:
        raise GraphError(f"no gradient flows from {output} to {wrt}")
    return gradients[wrt]


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
