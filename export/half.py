"""The lowering `direct`, convolutions in half precision: for graphics cards, whose tensor cores want it.

Float16 ends at 65504 and loses digits below 6e-5, where activations and gradients of pictures run over twenty orders of
magnitude. So whatever goes into a convolution is divided by its own largest magnitude first, and what comes out is
multiplied by it again. Between convolutions everything stays float32: the Gram matrices are of products that float16
could not hold, and the losses are their differences.
"""

from __future__ import annotations

from onnx import TensorProto

from impasto.export import ops
from impasto.export.direct import direct, flipped
from impasto.export.lowering import Builder, Lowering
from impasto.export.parameters import bias, kernel
from impasto.runtime.model import DIRECT

half = Lowering(
    DIRECT,
    direct.describe,
    {op: rule for op, rule in direct.rules.items() if op not in (ops.Conv, ops.ConvAdjoint)},
)
lowers = half.lowers

#: What the largest magnitude of a convolution's input becomes, and the largest sum of a kernel's magnitudes. No result
#: is larger than their product, half of what float16 holds; both are as large as that lets them be, for the small ones.
_INPUT, _KERNEL = 2.0**4, 2.0**11

#: Less than any magnitude that matters: the divisor of what is zero throughout.
_NOTHING = 1e-35


def _convolve(b: Builder, x: str, weights: str) -> str:
    """Convolve x [1, C, H, W] with float32 kernels [out, C, 3, 3]; products in float16, their sums in float32."""
    magnitude = b.node("Max", b.node("ReduceMax", b.node("Abs", x), keepdims=0), b.number(_NOTHING))
    sums = b.node("ReduceSum", b.node("Abs", weights), b.ints(1, 2, 3))
    largest = b.node("Max", b.node("ReduceMax", sums, keepdims=0), b.number(_NOTHING))
    factors = [
        b.node("Cast", b.node("Div", value, b.node("Div", scale, b.number(level))), to=TensorProto.FLOAT16)
        for value, scale, level in ((x, magnitude, _INPUT), (weights, largest, _KERNEL))
    ]
    product = b.node("Conv", *factors, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    unit = b.node("Mul", magnitude, b.node("Mul", largest, b.number(1 / (_INPUT * _KERNEL))))
    return b.node("Mul", b.node("Cast", product, to=TensorProto.FLOAT), unit)


@lowers(ops.Conv)
def _conv(b: Builder, op: ops.Conv, x: str) -> str:
    y = _convolve(b, x, kernel(b, op.layer))
    if not op.bias:
        return y
    return b.node("Add", y, b.node("Unsqueeze", bias(b, op.layer), b.ints(0, 2, 3)))


@lowers(ops.ConvAdjoint)
def _conv_adjoint(b: Builder, op: ops.ConvAdjoint, g: str) -> str:
    return _convolve(b, g, flipped(b, op.layer))
