"""What runs on CUDA, told without CUDA: onnxruntime's published table of kernels against the graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, defs, numpy_helper, shape_inference

from impasto.export import build
from impasto.export.lbfgs import algebra
from impasto.export.lowering.base import OPSET
from impasto.export.networks import CAFFE, NETWORKS, Network
from impasto.runtime.engine.opening import fix_extents
from impasto.runtime.model.graphs import ALGEBRA, BFLOAT16, DIRECT, GRAPHS, PLAIN, algebra_file, extents
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe

#: Operator -> the opsets that its kernel serves and, by type constraint, the types that it takes.
KERNELS: dict[str, tuple[int, int | None, dict[str, list[str]]]] = json.loads(
    (Path(__file__).parent / "cuda_kernels.json").read_text()
)["kernels"]

HEIGHT, WIDTH = 77, 101
FIXED = extents(HEIGHT, WIDTH, 3)

#: The graphs of a recipe that CUDA is given.
ON_CUDA = [key for key in GRAPHS if key.layout == DIRECT and key.precision != BFLOAT16]

#: A VGG-19 in all but the number of its channels, which no kernel asks for.
NARROW = Network("vgg19", NETWORKS["vgg19"].depths, (4, 4, 8, 8, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `direct` graphs of every recipe, and the optimiser's."""
    path = tmp_path_factory.mktemp("graphs")
    rng = np.random.default_rng(0)
    parameters: dict[str, TensorProto] = {}
    for layer in NARROW.layers:
        arrays = {
            "codes": rng.integers(0, 256, (layer.outputs, layer.inputs, 3, 3), np.uint8),
            "table": rng.normal(0, 0.1, 256).astype(np.float32),
            "bias": np.zeros(layer.outputs, np.float32),
        }
        names = {f"{layer.name}.{key}": array for key, array in arrays.items()}
        parameters |= {key: numpy_helper.from_array(array, key) for key, array in names.items()}
    for recipe in builtin_recipes():
        logical = build.logical_graphs(load_recipe(recipe), NARROW, CAFFE)
        for key in ON_CUDA:
            model = build.lowering_of(key).lower(recipe, logical[key.role, key.by_region].outputs, parameters)
            onnx.save(model, path / key.file(recipe))
    for name in ALGEBRA:
        onnx.save(algebra(name), path / algebra_file(name))
    return path


def as_the_provider_gets_it(path: Path, folder: Path, fixed: Mapping[str, int]) -> onnx.GraphProto:
    """Return a graph after the optimisations that come before nodes are given to providers, with all types inferred."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.intra_op_num_threads = 1
    fix_extents(options, fixed)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return shape_inference.infer_shapes(onnx.load(folder / "optimized.onnx"), strict_mode=True).graph


def types(graph: onnx.GraphProto, outer: dict[str, str]) -> dict[str, str]:
    """Return the element type of every value that can be seen in a graph."""
    found = dict(outer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        found[value.name] = name(value.type.tensor_type.elem_type)
    found |= {tensor.name: name(tensor.data_type) for tensor in graph.initializer}
    return found


def name(type_: int) -> str:
    return TensorProto.DataType.Name(type_).lower()


def nodes(graph: onnx.GraphProto, outer: dict[str, str]) -> Iterator[tuple[onnx.NodeProto, dict[str, str]]]:
    """Go through a graph's nodes and those of the graphs in it, each with the types it sees."""
    known = types(graph, outer)
    for node in graph.node:
        yield node, known
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g, known)


def missing(node: onnx.NodeProto, known: dict[str, str]) -> str:
    """Tell why CUDA cannot run a node, if that is so."""
    if node.domain or node.op_type not in KERNELS:
        return f"{node.domain}:{node.op_type} has no kernel"
    first, last, allowed = KERNELS[node.op_type]
    schema = defs.get_schema(node.op_type, OPSET)
    if not first <= schema.since_version or (last is not None and last < schema.since_version):
        return f"{node.op_type} of opset {schema.since_version} has no kernel"
    formal = [*schema.inputs, *[schema.inputs[-1]] * len(node.input)]
    values = [*zip(node.input, formal, strict=False), *zip(node.output, schema.outputs, strict=False)]
    for value, parameter in values:
        constraint = parameter.type_str
        if value and constraint in allowed and known[value] not in allowed[constraint]:
            return f"{node.op_type} has no kernel for {constraint} = {known[value]}"
    return ""


@pytest.fixture(scope="module")
def prepared(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.GraphProto]:
    """Every graph, by its file, as it is opened for pictures of one size."""
    beside = tmp_path_factory.mktemp("optimized")
    return {path.name: as_the_provider_gets_it(path, beside, FIXED) for path in sorted(folder.glob("*.onnx"))}


def test_every_operator_of_every_direct_graph_has_a_cuda_kernel_for_its_types(
    prepared: dict[str, onnx.GraphProto],
) -> None:
    assert len(prepared) == len(ON_CUDA) * len(builtin_recipes()) + len(ALGEBRA)
    for name, graph in prepared.items():
        assert graph.node
        assert not {why for node, known in nodes(graph, {}) if (why := missing(node, known))}, name


def test_a_node_without_a_kernel_is_noticed() -> None:
    known = {"x": "int64", "f": "float", "y": "float"}
    make = onnx.helper.make_node
    assert not missing(make("ReduceProd", ["f"], ["y"]), known)
    assert "int64" in missing(make("ReduceProd", ["x"], ["x"]), known)
    assert "MaxUnpool" in missing(make("MaxUnpool", ["f", "x"], ["y"]), known)
    assert "com.microsoft" in missing(make("FusedMatMul", ["f", "f"], ["y"], domain="com.microsoft"), known)


def test_for_pictures_of_one_size_no_arithmetic_on_shapes_is_left(prepared: dict[str, onnx.GraphProto]) -> None:
    """onnxruntime computes with shapes on the CPU, so a session that forbids the CPU would refuse the graph."""
    for name, graph in prepared.items():
        if name.startswith("lbfgs"):  # opened for any size; a shape there goes into a Reshape as it is
            continue
        known = types(graph, {})
        assert not [node.op_type for node in graph.node if node.op_type in ("Shape", "Size")], name
        assert {known[output] for node in graph.node for output in node.output} <= {"float", "float16", "bool"}, name


def test_for_pictures_of_any_size_there_is_arithmetic_on_shapes(folder: Path, tmp_path: Path) -> None:
    graph = as_the_provider_gets_it(folder / PLAIN.file("gatys"), tmp_path, {})
    assert "Shape" in {node.op_type for node in graph.node}


@pytest.mark.parametrize("recipe", ["crowson", "seed"])
def test_a_graph_for_one_size_computes_the_same(folder: Path, recipe: str) -> None:
    path = folder / PLAIN.file(recipe)
    fixed = onnxruntime.SessionOptions()
    fix_extents(fixed, FIXED)
    one, any_ = (
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for options in (fixed, onnxruntime.SessionOptions())
    )
    rng = np.random.default_rng(0)
    feeds = {
        x.name: rng.uniform(0, 255 if x.name == "image" else 1, [int(extent) for extent in x.shape]).astype(np.float32)
        for x in one.get_inputs()
    }
    for a, b in zip(one.run(None, feeds), any_.run(None, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
