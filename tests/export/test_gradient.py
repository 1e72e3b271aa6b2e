"""The sweep: sums over paths, and only what lies between."""

from __future__ import annotations

import numpy as np
import pytest
from running import run

from impasto.export import ops
from impasto.export.gradient import gradient
from impasto.export.graph import GraphError, Map, Scalar, Scale, constant, topological

MAP = Map(2)


def test_contributions_of_all_paths_are_summed() -> None:
    x = ops.graph_input("x", MAP)
    loss = ops.mean_square(x) + ops.mean(x + x * x)
    value = np.arange(2 * 7 * 9, dtype=np.float32).reshape(1, 2, 7, 9)
    got = run({"g": gradient(loss, x)}, {"x": value})["g"]
    np.testing.assert_allclose(got, (2 * value + 1 + 2 * value) / value.size, rtol=1e-6)


def test_a_long_chain_does_not_overflow_the_stack() -> None:
    y = x = ops.graph_input("x", MAP)
    for _ in range(5000):
        y = ops.relu(y)
    assert len(topological([gradient(ops.mean(y), x)])) > 5000


def test_branches_off_the_path_are_not_differentiated() -> None:
    x, t = ops.graph_input("x", MAP), ops.graph_input("t", MAP)
    pooled = ops.max_unpool(ops.max_pool(t), t, ops.max_pool(t))  # has no rule, and needs none
    assert gradient(ops.mean_square(x - pooled), x).type == MAP


def test_multiplying_by_the_constant_one_and_the_first_power_leave_no_trace() -> None:
    x = ops.graph_input("x", MAP)
    assert all(y is x for y in (1.0 * x, constant(1.0) * x, x * constant(1.0), x**1))


def test_only_a_scalar_has_a_gradient() -> None:
    x = ops.graph_input("x", MAP)
    with pytest.raises(GraphError, match="scalar"):
        gradient(ops.relu(x), x)


def test_a_loss_that_does_not_depend_on_the_variable_is_refused() -> None:
    x, t = ops.graph_input("x", MAP), ops.graph_input("t", MAP)
    with pytest.raises(GraphError, match="does not depend"):
        gradient(ops.mean(t), x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ops.graph_input("a", MAP) + ops.graph_input("b", Map(3)),
        lambda: Scale()(ops.graph_input("a", MAP), ops.graph_input("b", MAP)),
        lambda: ops.Conv("layer", 3, 8)(ops.graph_input("a", MAP)),
        lambda: ops.ConvAdjoint("layer", 3, 8)(ops.graph_input("a", MAP)),
        lambda: ops.gram(ops.graph_input("a", Scalar())),
        lambda: ops.max_unpool(*(ops.graph_input(n, MAP) for n in "gxy")),
        lambda: ops.mix(ops.graph_input("a", MAP), ops.graph_input("b", MAP)),
    ],
)
def test_operators_applied_to_the_wrong_types_are_refused_at_once(make: object) -> None:
    with pytest.raises(GraphError, match="takes"):
        make()  # type: ignore[operator]
