"""Every gradient rule, one by one, against finite differences; and the check itself, against a wrong rule."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from running import run

from impasto.export import graph, ops
from impasto.export.gradient import gradient, pull_back
from impasto.export.graph import GraphError, Guides, Map, Matrix, Op, PerRegion, Scalar, Type, Unary, Var
from impasto.export.lowering.direct import direct
from impasto.export.vjps import NO_GRADIENT, RULES, Gradients, vjp

Array = NDArray[np.float32]
Make = Callable[..., Var]

HEIGHT, WIDTH = 7, 9
REGIONS = 3
MAP = Map(2)


def share_of_squares(a: Var, s: Var) -> Var:
    """s |A|^2, summed over regions."""
    a_, s_ = ops.graph_input("a", Matrix(3, 4)), ops.graph_input("s", Scalar())
    function = ops.Function((a_, s_), (s_ * ops.inner(a_, a_), s_ * (2.0 * a_)))
    return ops.RegionSum(function)([a, s])


#: Operator -> function of its inputs, their types, and which of them it is differentiated by.
CASES: dict[type[Op], tuple[Make, tuple[Type, ...], tuple[int, ...]]] = {
    graph.Add: (operator.add, (MAP, MAP), (0, 1)),
    graph.Subtract: (operator.sub, (MAP, MAP), (0, 1)),
    graph.Multiply: (operator.mul, (MAP, MAP), (0, 1)),
    graph.Scale: (operator.mul, (Scalar(), MAP), (0, 1)),
    graph.Power: (lambda x: x**1.25, (MAP,), (0,)),
    ops.Inner: (ops.inner, (MAP, MAP), (0, 1)),
    ops.Mean: (ops.mean, (MAP,), (0,)),
    ops.MeanSquare: (ops.mean_square, (MAP,), (0,)),
    ops.Normalize: (ops.Normalize((1.0, 2.0), (0.5, 3.0)), (MAP,), (0,)),
    ops.PadEdge: (ops.PadEdge(1), (MAP,), (0,)),
    ops.PadEdgeAdjoint: (ops.PadEdgeAdjoint(0), (Map(2, 0, -1),), (0,)),
    ops.Difference: (ops.Difference("x"), (MAP,), (0,)),
    ops.DifferenceAdjoint: (ops.DifferenceAdjoint("y"), (Map(2, 0, 1),), (0,)),
    ops.Conv: (ops.Conv("layer", 2, 3), (MAP,), (0,)),
    ops.ConvAdjoint: (ops.ConvAdjoint("layer", 2, 3), (Map(3),), (0,)),
    ops.Relu: (ops.relu, (MAP,), (0,)),
    ops.Gate: (ops.gate, (MAP, MAP), (0, 1)),
    ops.MaxPool: (ops.max_pool, (MAP,), (0,)),
    ops.AveragePool: (ops.average_pool, (MAP,), (0,)),
    ops.AverageUnpool: (ops.average_unpool, (Map(2, 1), MAP), (0, 1)),
    ops.Gram: (ops.gram, (MAP,), (0,)),
    ops.ChannelMean: (ops.channel_mean, (MAP,), (0,)),
    ops.ChannelSpread: (ops.channel_spread, (Matrix(2, 1), MAP), (0, 1)),
    ops.Within: (ops.within, (MAP, Guides(single=True)), (0,)),
    ops.CoreGram: (ops.CoreGram(exact=True), (MAP, Guides(single=True)), (0,)),
    ops.CoreMean: (ops.core_mean, (MAP, Guides(single=True)), (0,)),
    ops.GuidedGram: (ops.guided_gram, (MAP, Guides()), (0,)),
    ops.GuidedMean: (ops.guided_mean, (MAP, Guides()), (0,)),
    ops.RegionSum: (share_of_squares, (PerRegion(Matrix(3, 4)), PerRegion(Scalar())), (0,)),
    graph.Transpose: (lambda a: a.T, (Matrix(3, 4),), (0,)),
    graph.MatMul: (operator.matmul, (Matrix(3, 4), Matrix(4, 2)), (0, 1)),
    ops.Diagonal: (ops.diagonal, (Matrix(3, 3),), (0,)),
    ops.DiagonalMatrix: (ops.diagonal_matrix, (Matrix(3, 1),), (0,)),
    ops.WithDerivative: (
        lambda x: ops.with_derivative(ops.inner(x, x), x, 2.0 * x),
        (Matrix(3, 4),),
        (0,),
    ),
}


def shape(type_: Type) -> tuple[int, ...]:
    """Return the ONNX shape of a value for a picture of HEIGHT x WIDTH."""
    match type_:
        case Map(channels, level, trim):
            return (1, channels, (HEIGHT >> level) - trim, (WIDTH >> level) - trim)
        case Matrix(rows, columns):
            return (rows, columns)
        case Guides(level, single):
            return (1, 1 if single else REGIONS, HEIGHT >> level, WIDTH >> level)
        case PerRegion(each):
            return (REGIONS, *shape(each))
        case _:
            return ()


def values(type_: Type, seed: int) -> Array:
    """Return distinct values, away from zero and from each other, where no operator has a kink."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape(type_)))
    levels = 0.5 + rng.permutation(count) / 10  # at least 0.1 apart: farther than the step of the check
    return levels.reshape(shape(type_)).astype(np.float32)


def signs(type_: Type, seed: int) -> Array:
    return np.random.default_rng(seed).choice([-1.0, 1.0], shape(type_)).astype(np.float32)


def discrepancy(make: Make, types: tuple[Type, ...], by: int, *, signed: bool) -> float:
    """Return how far <g, op(x + e d) - op(x - e d)> / 2e is from <vjp(g), d>, relative to the lengths."""
    names = [f"x{k}" for k in range(len(types))]
    inputs = [ops.graph_input(name, type_) for name, type_ in zip(names, types, strict=True)]
    output = make(*inputs)
    cotangent = ops.graph_input("g", output.type)
    feeds = {name: values(type_, k) for k, (name, type_) in enumerate(zip(names, types, strict=True))}
    if signed:
        feeds |= {name: feeds[name] * signs(type_, k) for k, (name, type_) in enumerate(zip(names, types, strict=True))}
    g = np.random.default_rng(11).normal(size=shape(output.type)).astype(np.float32)
    direction = np.random.default_rng(12).uniform(-1, 1, shape(types[by])).astype(np.float32)
    try:
        pulled = pull_back({output: cotangent}, [inputs[by]])[0]
        ours = run({"vjp": pulled}, {**feeds, "g": g})["vjp"]
    except GraphError as error:
        if "no gradient flows" not in str(error):
            raise
        ours = np.zeros(shape(types[by]), np.float32)
    step = np.float32(1 / 64)
    ahead, behind = (
        run({"y": output}, {**feeds, names[by]: feeds[names[by]] + sign * step * direction})["y"] for sign in (1, -1)
    )
    measured = float(np.vdot(g, ahead.astype(np.float64) - behind)) / (2 * float(step))
    predicted = float(np.vdot(ours.astype(np.float64), direction))
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(direction)) + float(np.linalg.norm(g))
    return abs(measured - predicted) / lengths


def test_every_rule_has_a_case_and_every_case_a_rule() -> None:
    assert CASES.keys() == RULES.keys()


def test_every_operator_is_lowered() -> None:
    operators = {value for module in (graph, ops) for value in vars(module).values() if isinstance(value, type)}
    kinds = {Op, graph.Leaf, Unary, graph.Binary, graph.Ternary, graph.Elementwise, graph.Scaling}
    concrete = {op for op in operators - kinds if issubclass(op, Op) and not op.__name__.startswith("_")}
    assert concrete - {ops.Input} == direct.rules.keys()


@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize(
    ("op", "by"),
    [(op, k) for op, (_, _, by) in CASES.items() for k in by],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_rule_agrees_with_finite_differences(op: type[Op], by: int, signed: bool) -> None:
    if op is graph.Power and signed:
        pytest.skip("powers are defined for values of 0 and more")
    make, types, _ = CASES[op]
    assert discrepancy(make, types, by, signed=signed) < 2e-4


@pytest.mark.parametrize(
    ("op", "type_"), [(ops.Conv("layer", 2, 3, padding=0), MAP), (ops.ConvAdjoint("layer", 2, 3, padding=0), Map(3))]
)
def test_without_padding_the_rules_of_a_convolution_hold_too(op: Unary, type_: Type) -> None:
    assert discrepancy(op, (type_,), 0, signed=True) < 2e-4


class Cube(Unary):
    """An operator that only this test knows."""

    def infer(self, x: Type) -> Type:
        return x


@contextmanager
def rule_of_cube(rule: Callable[[Cube, Var, Var], Gradients]) -> Iterator[None]:
    vjp(Cube, rule)
    direct.lowers(Cube)(lambda b, op, x: b.node("Mul", x, b.node("Mul", x, x)))
    try:
        yield
    finally:
        del RULES[Cube], direct.rules[Cube]


def test_the_check_finds_a_wrong_rule() -> None:
    def wrong(op: Cube, y: Var, g: Var) -> tuple[Var]:
        x = y.inputs[0]
        return (2.0 * (g * (x * x)),)  # 2 x^2 for 3 x^2

    with rule_of_cube(wrong):
        assert discrepancy(Cube(), (MAP,), 0, signed=False) > 1e-2


def test_the_check_passes_the_right_rule() -> None:
    def right(op: Cube, y: Var, g: Var) -> tuple[Var]:
        x = y.inputs[0]
        return (3.0 * (g * (x * x)),)

    with rule_of_cube(right):
        assert discrepancy(Cube(), (MAP,), 0, signed=False) < 2e-4


def test_a_rule_with_too_few_answers_is_refused() -> None:
    x = ops.graph_input("x", MAP)
    with rule_of_cube(lambda op, y, g: ()), pytest.raises(GraphError, match="does not answer"):
        gradient(ops.mean(Cube()(x)), x)


def test_a_rule_with_an_answer_of_the_wrong_type_is_refused() -> None:
    x = ops.graph_input("x", MAP)
    with rule_of_cube(lambda op, y, g: (ops.mean(g),)), pytest.raises(GraphError, match="does not answer"):
        gradient(ops.mean(Cube()(x)), x)


def test_a_missing_rule_is_named() -> None:
    x = ops.graph_input("x", MAP)
    with pytest.raises(GraphError, match=r"Cube.*no gradient rule"):
        gradient(ops.mean(Cube()(x)), x)


def test_a_second_rule_for_an_operator_is_refused() -> None:
    for op in (ops.Relu, *NO_GRADIENT):
        with pytest.raises(ValueError, match="already"):
            vjp(op, lambda op, y, g: (g,))
