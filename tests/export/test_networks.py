"""The networks as data, against the ONNX model zoo's own graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from impasto.export import ops
from impasto.export.graph import Map, topological
from impasto.export.losses import activations
from impasto.export.lowering.direct import direct
from impasto.export.networks import CAFFE, NETWORKS

ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_vgg19.onnx"


def zoo_chain() -> list[tuple[object, ...]]:
    """Return the zoo's VGG-19 up to its last pooling: convolutions with their shapes, ReLUs, poolings."""
    graph = onnx.load(ZOO).graph
    shapes = {x.name: tuple(x.dims) for x in graph.initializer}
    for x in graph.input:
        shapes[x.name] = tuple(d.dim_value for d in x.type.tensor_type.shape.dim)
    for node in graph.node:  # the light models draw their weights with ConstantOfShape from a Constant's shape
        if node.op_type == "ConstantOfShape" and node.input[0] in {x.name for x in graph.initializer}:
            values = next(x for x in graph.initializer if x.name == node.input[0])
            shapes[node.output[0]] = tuple(int(v) for v in onnx.numpy_helper.to_array(values))
    chain: list[tuple[object, ...]] = []
    for node in graph.node:
        attributes = {a.name: tuple(a.ints) for a in node.attribute if a.ints}
        if node.op_type == "Conv":
            chain.append(("conv", shapes[node.input[1]], attributes["strides"], attributes["pads"]))
        elif node.op_type == "Relu":
            chain.append(("relu",))
        elif node.op_type == "MaxPool":
            chain.append(("pool", attributes["kernel_shape"], attributes["strides"]))
        elif node.op_type in ("Reshape", "Flatten", "Gemm", "Dropout"):
            return chain
    return chain


ALL = [layer.name for layer in NETWORKS["vgg19"].layers]


def our_chain(wanted: list[str], pooling: str = "max") -> list[tuple[object, ...]]:
    """Return our VGG-19 in the same words, from the logical graph; its last pooling is followed by nothing."""
    image = ops.graph_input("image", Map(3))
    last = ops.max_pool(activations(image, NETWORKS["vgg19"], CAFFE, pooling, "zeros", wanted)["block5_conv4"])
    chain: list[tuple[object, ...]] = []
    for var in topological([last]):
        match var.op:
            case ops.Conv(_, inputs, outputs, _, padding):
                chain.append(("conv", (outputs, inputs, 3, 3), (1, 1), (padding,) * 4))
            case ops.Relu():
                chain.append(("relu",))
            case ops.MaxPool() | ops.AveragePool():
                chain.append(("pool", (2, 2), (2, 2)))
    return chain


def test_vgg19_is_the_model_zoos() -> None:
    assert our_chain(ALL) == zoo_chain()
    assert sum(link[0] == "conv" for link in our_chain(ALL)) == 16


def test_max_pooling_comes_before_the_relu_of_a_layer_that_nobody_asks_for() -> None:
    """The two commute. An average of what a ReLU lets through is another thing: there, the order stays."""
    relu, pool = ("relu",), ("pool", (2, 2), (2, 2))
    kinds = [link if link[0] != "conv" else "conv" for link in our_chain(["block2_conv2", "block5_conv4"])]
    around = [kinds[k - 1 : k + 2] for k, kind in enumerate(kinds) if kind == pool]
    assert around == [
        ["conv", pool, relu],
        [relu, pool, "conv"],  # of block2_conv2
        ["conv", pool, relu],
        ["conv", pool, relu],
        [relu, pool],
    ]
    assert our_chain(["block5_conv4"], "average") == zoo_chain()


def test_the_chain_is_what_is_lowered() -> None:
    """The attributes that our chain claims are those of the ONNX nodes."""
    graph = activations(ops.graph_input("image", Map(3)), NETWORKS["vgg19"], CAFFE, "max", "zeros", ["block2_conv1"])
    parameters = {
        f"{layer.name}.{part}": onnx.TensorProto() for layer in NETWORKS["vgg19"].layers for part in ("kernel", "bias")
    }
    nodes = direct.lower("test", graph, parameters).graph.node
    convs = [n for n in nodes if n.op_type == "Conv"]
    assert [tuple(a.ints) for n in convs for a in n.attribute if a.name == "pads"] == [(1, 1, 1, 1)] * 3
    assert not [a for n in convs for a in n.attribute if a.name == "strides"]  # 1, by default
    assert [n.op_type for n in nodes].count("MaxPool") == 1


@pytest.mark.parametrize(("name", "count"), [("vgg16", 13), ("vgg19", 16)])
def test_networks_have_as_many_convolutions_as_their_names_say_less_three(name: str, count: int) -> None:
    assert len(NETWORKS[name].layers) == count


def test_only_what_is_needed_is_kept() -> None:
    names = [layer.name for layer in NETWORKS["vgg19"].up_to({"block2_conv1", "block1_conv1"})]
    assert names == ["block1_conv1", "block1_conv2", "block2_conv1"]
