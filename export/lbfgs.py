"""The vector arithmetic of L-BFGS as graphs, for an optimiser whose history stays on the device.

All work on arrays of the picture's size is done here. The host only sees inner products, a handful of numbers
(`impasto.runtime.optimize.lbfgs_device` has the method). The history is one array [2m, C, H, W]: m steps, then m
differences of gradients, the oldest first. The host passes gradients as the objective graph returns them, and the
factor that scales them. Points stay between two numbers, `lowest` and `highest`, which may be infinite. Along a
direction, an element that reaches one of them stops there.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

from impasto.export.lowering.base import IR_VERSION, OPSET, Builder
from impasto.export.lowering.direct import END, total
from impasto.runtime.model.graphs import ALGEBRA

_POINT = (1, "C", "H", "W")
_HISTORY = ("K", "C", "H", "W")
_BOX: dict[str, tuple[()]] = {"lowest": (), "highest": ()}

Shape = tuple[int | str, ...]


def _step(b: Builder) -> dict[str, str]:
    """Return point + length direction, within the bounds."""
    return {"moved": _within(b, b.node("Add", "point", b.node("Mul", "length", "direction")), "lowest", "highest")}


def _slope(b: Builder) -> dict[str, str]:
    """Return the inner product of scaled gradient and direction, over elements that do not lead out of the bounds."""
    along = b.node("Mul", "direction", _free(b, "direction", "point"))
    return {"slope": total(b, b.node("Mul", b.node("Mul", "gradient", "scale"), along))}


def _direction(b: Builder) -> dict[str, str]:
    """Return a direction: the sum of the history's rows and the scaled gradient, each times its coefficient.

    Beside it, its inner products with the scaled gradient and with itself. Elements at a bound that descent would
    cross are left out of gradient and direction (Bertsekas 1982, with no tolerance).
    """
    rows = b.node("Flatten", "history", axis=1)
    mixed = b.node("Reshape", b.node("MatMul", "coefficients", rows), b.node("Shape", "gradient"))
    scaled, free = _projected(b, "point")
    direction = b.node("Mul", b.node("Add", mixed, b.node("Mul", "own", scaled)), free)
    direction = b.node("Mul", direction, _free(b, direction, "point"))
    return {
        "direction": direction,
        "slope": total(b, b.node("Mul", direction, scaled)),
        "square": total(b, direction, "ReduceSumSquare"),
    }


def _remember(b: Builder) -> dict[str, str]:
    """Return the history with a pair in place of the oldest one, and its products with the gradient and with y.

    The pair is s = length direction, cut off at the bounds, and y, the difference of the scaled gradients. The gradient
    is the one at the new point, without the elements that would lead out of the bounds. The products are [2m, 2], and
    are sums of sums: a product of matrices this long and this narrow leaves most of a GPU without work.
    """
    ends = (b.node("Div", b.node("Sub", end, "point"), "unit") for end in _BOX)
    s = _within(b, b.node("Mul", "length", "direction"), *ends)
    y = b.node("Mul", "scale", b.node("Sub", "gradient", "previous"))
    steps, differences = b.split("Split", "history", outputs=2, axis=0, num_outputs=2)
    history = b.node("Concat", _younger(b, steps), s, _younger(b, differences), y, axis=0)
    scaled, _ = _projected(b, "moved")
    products = [_with_each(b, history, x) for x in (scaled, y)]
    return {"updated": history, "products": b.node("Concat", *products, axis=1)}


def _within(b: Builder, x: str, lowest: str, highest: str) -> str:
    # Not by Clip, which takes its bounds from the host on CUDA.
    return b.node("Max", b.node("Min", x, highest), lowest)


def _projected(b: Builder, point: str) -> tuple[str, str]:
    """Return the scaled gradient at a point, zero where descent would lead out of the bounds, and the mask of it."""
    scaled = b.node("Mul", "gradient", "scale")
    free = _free(b, b.node("Neg", scaled), point)
    return b.node("Mul", scaled, free), free


def _free(b: Builder, direction: str, point: str) -> str:
    """Return a mask of a point's elements: 0 where one is at the bound that `direction` leads to, else 1.

    It is multiplied by: so a value that is not finite stays so, and is noticed.
    """
    one, zero = b.number(1.0), b.number(0.0)
    up = b.node("Where", b.node("Greater", "highest", point), one, zero)
    down = b.node("Where", b.node("Greater", point, "lowest"), one, zero)
    falling = b.node("Where", b.node("Greater", zero, direction), down, one)
    return b.node("Where", b.node("Greater", direction, zero), up, falling)


def _younger(b: Builder, rows: str) -> str:
    """Return all but the oldest of m steps or differences."""
    return b.node("Slice", rows, b.ints(1), b.ints(END), b.ints(0))


def _with_each(b: Builder, rows: str, x: str) -> str:
    """Return the inner products of rows [2m, C, H, W] with x, [2m, 1]."""
    sums = b.node("ReduceSum", b.node("Mul", rows, x), b.ints(-1), keepdims=0)  # [2m, C, H]
    return b.node("Unsqueeze", b.node("ReduceSum", sums, b.ints(1, 2), keepdims=0), b.ints(1))


#: Name -> the function that writes the nodes, and the shapes of inputs and outputs.
_GRAPHS: dict[str, tuple[Callable[[Builder], dict[str, str]], dict[str, Shape], dict[str, Shape]]] = {
    "step": (_step, {"point": _POINT, "direction": _POINT, "length": (), **_BOX}, {"moved": _POINT}),
    "slope": (_slope, {"gradient": _POINT, "direction": _POINT, "scale": (), "point": _POINT, **_BOX}, {"slope": ()}),
    "direction": (
        _direction,
        {
            "history": _HISTORY,
            "coefficients": (1, "K"),
            "gradient": _POINT,
            "own": (),
            "scale": (),
            "point": _POINT,
            **_BOX,
        },
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
            "point": _POINT,
            "moved": _POINT,
            "unit": (),
            **_BOX,
        },
        {"updated": _HISTORY, "products": ("K", 2)},
    ),
}
assert tuple(_GRAPHS) == ALGEBRA


def algebra(name: str) -> onnx.ModelProto:
    """Return one of the graphs that `impasto.runtime.model.graphs.ALGEBRA` names."""
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
