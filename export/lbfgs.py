"""The vector arithmetic of L-BFGS as graphs, for an optimiser whose history stays on the device.

Everything of the picture's size happens here; what is left for the host are the inner products, a handful of numbers
(`impasto.runtime.lbfgs` has the method). The history is one array [2m, C, H, W]: m steps, then m differences of
gradients, the oldest first. The host hands gradients over as the objective graph leaves them, with the factor that
scales them.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

from impasto.export.direct import END, total
from impasto.export.lowering import IR_VERSION, OPSET, Builder
from impasto.runtime.model import ALGEBRA

_POINT = (1, "C", "H", "W")
_HISTORY = ("K", "C", "H", "W")

Shape = tuple[int | str, ...]


def _step(b: Builder) -> dict[str, str]:
    """Return point + length direction."""
    return {"moved": b.node("Add", "point", b.node("Mul", "length", "direction"))}


def _slope(b: Builder) -> dict[str, str]:
    """Return the inner product of a direction and the scaled gradient."""
    return {"slope": total(b, b.node("Mul", b.node("Mul", "gradient", "scale"), "direction"))}


def _direction(b: Builder) -> dict[str, str]:
    """Return the sum of the history's rows and the scaled gradient, each with its coefficient.

    And how steep it is: its inner products with the scaled gradient and with itself.
    """
    rows = b.node("Flatten", "history", axis=1)
    mixed = b.node("Reshape", b.node("MatMul", "coefficients", rows), b.node("Shape", "gradient"))
    scaled = b.node("Mul", "gradient", "scale")
    direction = b.node("Add", mixed, b.node("Mul", "own", scaled))
    return {
        "direction": direction,
        "slope": total(b, b.node("Mul", direction, scaled)),
        "square": total(b, direction, "ReduceSumSquare"),
    }


def _remember(b: Builder) -> dict[str, str]:
    """Return the history with a pair in place of the oldest one, and its products with the gradient and with y.

    The pair is s = length direction and y, the difference of the scaled gradients. The products are [2m, 2], sums of
    sums: a product of matrices this long and this narrow leaves most of a GPU without work.
    """
    s = b.node("Mul", "length", "direction")
    y = b.node("Mul", "scale", b.node("Sub", "gradient", "previous"))
    steps, differences = b.split("Split", "history", outputs=2, axis=0, num_outputs=2)
    history = b.node("Concat", _younger(b, steps), s, _younger(b, differences), y, axis=0)
    products = [_with_each(b, history, x) for x in (b.node("Mul", "gradient", "scale"), y)]
    return {"updated": history, "products": b.node("Concat", *products, axis=1)}


def _younger(b: Builder, rows: str) -> str:
    """Return all but the oldest of m steps or differences."""
    return b.node("Slice", rows, b.ints(1), b.ints(END), b.ints(0))


def _with_each(b: Builder, rows: str, x: str) -> str:
    """Return the inner products of rows [2m, C, H, W] with x, [2m, 1]."""
    sums = b.node("ReduceSum", b.node("Mul", rows, x), b.ints(-1), keepdims=0)  # [2m, C, H]
    return b.node("Unsqueeze", b.node("ReduceSum", sums, b.ints(1, 2), keepdims=0), b.ints(1))


#: Name -> what writes the nodes, and the shapes of its inputs and outputs.
_GRAPHS: dict[str, tuple[Callable[[Builder], dict[str, str]], dict[str, Shape], dict[str, Shape]]] = {
    "step": (_step, {"point": _POINT, "direction": _POINT, "length": ()}, {"moved": _POINT}),
    "slope": (_slope, {"gradient": _POINT, "direction": _POINT, "scale": ()}, {"slope": ()}),
    "direction": (
        _direction,
        {"history": _HISTORY, "coefficients": (1, "K"), "gradient": _POINT, "own": (), "scale": ()},
        {"direction": _POINT, "slope": (), "square": ()},
    ),
    "remember": (
        _remember,
        {
            "history": _HISTORY,
            "direction": _POINT,
            "length": (),
            "gradient": _POINT,
            "previous": _POINT,
            "scale": (),
        },
        {"updated": _HISTORY, "products": ("K", 2)},
    ),
}
assert tuple(_GRAPHS) == ALGEBRA


def algebra(name: str) -> onnx.ModelProto:
    """Return one of the graphs that `impasto.runtime.model.ALGEBRA` names."""
    write, inputs, outputs = _GRAPHS[name]
    builder = Builder({})
    results = write(builder)
    builder.nodes += [helper.make_node("Identity", [results[key]], [key], name=key) for key in outputs]
    graph = helper.make_graph(
        builder.nodes,
        f"lbfgs {name}",
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
        list(builder.initializers.values()),
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="impasto")
