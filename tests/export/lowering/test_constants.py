"""What follows from the weights alone is computed once for all graphs, which then give what their files give."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from impasto.export.build import CHECKED, export_model
from impasto.export.lowering import constants as constants_module
from impasto.export.lowering.constants import Constants
from impasto.export.weights.weights import LayerWeights, Palette, Weights
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import PLAIN, WINOGRAD, GraphKey
from impasto.runtime.plan.terms import GRADIENT, GUIDES, IMAGE, LOSS, PROTECTION, TV, weight_of
from tests.conftest import SMALL

Array = NDArray[np.float32]
Feeds = dict[str, Array]


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory: pytest.TempPathFactory, random_weights: Weights) -> Path:
    """A model folder over weights of 8 bits, whose kernels are looked up in tables; exported with its checks."""
    rng = np.random.default_rng(0)

    def rounded(layer: LayerWeights) -> LayerWeights:
        assert not isinstance(layer.kernel, Palette)
        table = np.sort(rng.normal(0, layer.kernel.std(), 256)).astype(np.float32)
        codes = rng.integers(0, 256, layer.kernel.shape).astype(np.uint8)
        return LayerWeights(Palette(codes, table), layer.bias)

    layers = {name: rounded(layer) for name, layer in random_weights.layers.items()}
    folder = tmp_path_factory.mktemp("models") / "bytes"
    export_model(folder, SMALL, Weights(**{**vars(random_weights), "layers": layers}))
    return folder


def pictures(guided: bool) -> tuple[Feeds, Feeds]:
    """Return what statistics and objective are fed beside targets and weights."""
    rng = np.random.default_rng(1)
    image, target = rng.uniform(0, 255, (2, 1, 3, 45, 38)).astype(np.float32)
    guides: Feeds = {GUIDES: rng.uniform(0, 1, (1, 2, 45, 38)).astype(np.float32)} if guided else {}
    protection: Feeds = {PROTECTION: rng.uniform(0, 3, (1, 1, 45, 38)).astype(np.float32)} if guided else {}
    return {IMAGE: target, **guides}, {IMAGE: image, **guides, **protection}


def from_file(path: Path, feeds: Feeds) -> Feeds:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_alike(constants: Constants, path: Path, feeds: Feeds) -> Feeds:
    """Run a graph with shared constants, compare that with its file, and return it."""
    opened = constants.open(path)
    assert opened.feeds  # kernels, at least
    found, expected = opened.runner.run({**feeds, **opened.feeds}), from_file(path, feeds)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # `direct` convolves in another order of sums where kernels are fed: a ReLU may decide otherwise for a pixel.
        most = 2e-2 if name == GRADIENT and ".direct." in path.name else 1e-6
        assert np.linalg.norm(found[name] - value) <= most * np.linalg.norm(value), name
    return found


@pytest.mark.parametrize("key", CHECKED, ids=lambda key: f"{key.layout} {key.kind}")
@pytest.mark.parametrize("which", ["small_model", "byte_model"])
def test_a_graph_with_shared_constants_gives_what_its_file_gives(
    request: pytest.FixtureRequest, which: str, key: GraphKey
) -> None:
    folder = ModelFolder.open(request.getfixturevalue(which))
    constants = Constants(folder.path)
    for recipe in SMALL:
        target, image = pictures(key.by_region)
        targets = assert_alike(constants, folder.graph(recipe.name, key.targets), target)
        terms = [name.removesuffix(".target") for name in targets]
        weights = {weight_of(term): np.array(k + 1, np.float32) for k, term in enumerate([*terms, TV.name()])}
        assert {LOSS, GRADIENT} < assert_alike(
            constants, folder.graph(recipe.name, key), {**image, **targets, **weights}
        ).keys()


def test_graphs_of_several_recipes_and_roles_share_their_constants(byte_model: Path) -> None:
    folder = ModelFolder.open(byte_model)
    constants = Constants(byte_model)
    every = [
        constants.open(folder.graph(recipe.name, key)).feeds
        for recipe in SMALL
        for key in (GraphKey(layout=WINOGRAD).targets, GraphKey(layout=WINOGRAD))
    ]
    kernels = [{id(value) for value in feeds.values()} for feeds in every]
    assert kernels[0]
    assert all(kernels[0] <= others for others in kernels)


def tensor(name: str, values: list[float]) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def write(path: Path, nodes: list[onnx.NodeProto], tensors: list[TensorProto]) -> Path:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [2])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "test", [image], [result], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def run(constants: Constants, path: Path) -> list[float]:
    opened = constants.open(path)
    found: list[float] = opened.runner.run({"image": np.ones(2, np.float32), **opened.feeds})["result"].tolist()
    return found


def added(inner: str, *operands: str) -> list[onnx.NodeProto]:
    """Return the nodes of result = image + inner(operands)."""
    return [helper.make_node(inner, operands, ["c"]), helper.make_node("Add", ["image", "c"], ["result"])]


@pytest.mark.parametrize("small", [0, 16384])
def test_constants_of_one_name_are_told_apart_by_how_they_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(constants_module, "_SMALL", small)
    a, b = tensor("a", [6.0, 8.0]), tensor("b", [2.0, 4.0])
    constants = Constants(tmp_path)
    assert run(constants, write(tmp_path / "1.onnx", added("Sub", "a", "b"), [a, b])) == [5.0, 5.0]
    assert run(constants, write(tmp_path / "2.onnx", added("Sub", "b", "a"), [a, b])) == [-3.0, -3.0]
    assert run(constants, write(tmp_path / "3.onnx", added("Div", "a", "b"), [a, b])) == [4.0, 3.0]
    other = tensor("a", [2.0, 8.0])
    assert run(constants, write(tmp_path / "4.onnx", added("Sub", "a", "b"), [other, b])) == [1.0, 5.0]


def test_a_constant_of_another_name_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants_module, "_SMALL", 0)
    constants = Constants(tmp_path)
    first, second = (
        constants.open(write(tmp_path / f"{x}.onnx", added("Neg", x), [tensor(x, [0.0, 1.0])])).feeds["c"]
        for x in ("a", "b")
    )
    assert first is second
    assert first.tolist() == [0.0, -1.0]


def test_a_constant_that_only_a_graph_within_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants_module, "_SMALL", 0)
    value, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("x", "y"))
    body = helper.make_graph(
        [helper.make_node("ReduceSum", ["c"], ["sum"], keepdims=0), helper.make_node("Mul", ["x", "sum"], ["y"])],
        "step", [value], [result],
    )  # fmt: skip
    nodes = [
        helper.make_node("Neg", ["a"], ["c"]),
        helper.make_node("Scan", ["image"], ["result"], body=body, num_scan_inputs=1),
    ]
    path = write(tmp_path / "scan.onnx", nodes, [tensor("a", [3.0, 4.0])])
    assert run(Constants(tmp_path), path) == [-7.0, -7.0]


def test_weights_are_read_whatever_other_names_their_file_has(tmp_path: Path, small_model: Path) -> None:
    shutil.copytree(small_model, tmp_path / "copy", copy_function=os.link)
    path = ModelFolder(tmp_path / "copy").graph(SMALL[0].name, PLAIN.targets)
    assert Constants(path.parent).open(path).feeds
