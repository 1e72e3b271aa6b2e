"""What TF32 costs, told without a GPU: the graphs with every factor of a product rounded as tensor cores round it.

TF32 keeps 11 significant bits of each factor and adds up in float32. On hardware the same is measured in
`tests/runtime/engine/test_on_gpu.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from reference import Reference
from running import decisions

from docs.samples import draw_content, draw_style
from impasto.export.lowering.base import IR_VERSION, OPSET
from impasto.export.lowering.direct import direct
from impasto.export.weights.weights import Weights
from impasto.runtime.engine.objective import Objective
from impasto.runtime.model.graphs import DIRECT, PLAIN

#: What onnxruntime computes in TF32 on CUDA.
PRODUCTS = ("Conv", "Gemm", "MatMul")

RECIPES = ["gatys", "impasto", "seed", "crowson"]

#: Veltkamp's splitting (1968): with c = (2^13 + 1) x, c - (c - x) is x rounded to nearest, 24 - 13 bits of it.
SPLITTER = 2.0**13 + 1


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Round both factors of every product, in place."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            for k in (0, 1):
                x, made = node.input[k], f"{node.output[0]}/factor{k}"
                c, rest = f"{made}/c", f"{made}/rest"
                nodes.append(helper.make_node("Mul", [x, "splitter"], [c]))
                nodes.append(helper.make_node("Sub", [c, x], [rest]))
                nodes.append(helper.make_node("Sub", [c, rest], [made]))
                node.input[k] = made
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(SPLITTER, np.float32), "splitter"))
    return model


def eleven_bits(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to nearest: the lower 13 of float32's 23 bits of fraction go; half of what they can be is added first."""
    return ((x.view(np.int32) + 0x1000) & ~0x1FFF).view(np.float32)


def test_eleven_bits_of_each_factor_are_left() -> None:
    shape = (8, 8)
    x = np.random.default_rng(1).normal(0, 1e3, shape).astype(np.float32)
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
    identity = numpy_helper.from_array(np.eye(8, dtype=np.float32), "identity")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "identity"], ["y"])], "g", [value], [result], [identity]
    )
    model = rounded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], eleven_bits(x))


def changes(
    folder: Path,
    recipe: str,
    change: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    times: int = 1,
    size: tuple[int, int] = (160, 128),
) -> tuple[list[float], list[float]]:
    """Return how far losses and gradients on the CPU are from a picture's own where that is changed, relative to it."""
    content, style = (np.asarray(draw(*size), np.float32) for draw in (draw_content, draw_style))
    picture = (content + np.random.default_rng(0).uniform(0, 255, content.shape).astype(np.float32)) / 2
    objective = Objective.open(folder, recipe, content=content, styles=[style], device="cpu", lowering=DIRECT)
    loss, gradient = objective(picture)
    changed = [objective(change(picture, k)) for k in range(times)]
    far = [float(np.linalg.norm(other - gradient) / np.linalg.norm(gradient)) for _, other in changed]
    return [abs(other / loss - 1) for other, _ in changed], far


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_picture_rounded_to_eleven_bits_has_a_gradient_that_is_another_by_more_than_a_thousandth(
    recipe: str, real_model: Path, real_weights: Weights
) -> None:
    """A factor of TF32's first product is the picture less the mean: no other rounding is needed to miss 1e-3."""
    mean = np.array(real_weights.preprocessing.mean, np.float32)
    (loss,), (far,) = changes(real_model, recipe, lambda picture, _: eleven_bits(picture - mean) + mean)
    assert loss < 1e-5
    assert 3e-3 < far < 5e-2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_picture_changed_in_its_last_bits_may_have_a_gradient_that_is_another_by_more_than_1e_4(
    recipe: str, real_model: Path
) -> None:
    """A ReLU near zero opens, or does not."""

    def neighbour(picture: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        ends = np.random.default_rng(seed).choice(np.float32([-np.inf, np.inf]), picture.shape)
        return np.nextafter(picture, ends)

    losses, far = changes(real_model, recipe, neighbour, 16, (320, 256))
    print(recipe, f"loss {max(losses):.0e}", *(f"{x:.0e}" for x in sorted(far)))
    assert max(losses) < 1e-6
    assert max(far) > 1e-4
    assert np.median(far) < 5e-3


@pytest.mark.parametrize("recipe", ["gatys", pytest.param("seed", marks=pytest.mark.slow)])
def test_the_gradient_is_within_a_thousandth_for_the_decisions_that_were_made(
    recipe: str, real_model: Path, real_weights: Weights, tmp_path: Path
) -> None:
    """Activations that TF32 moves across zero open other ReLUs: the reference, in float64, decides likewise."""
    content, style = (np.asarray(draw(160, 128), np.float32) for draw in (draw_content, draw_style))
    picture = (content + np.random.default_rng(0).uniform(0, 255, content.shape).astype(np.float32)) / 2
    folder = Path(shutil.copytree(real_model, tmp_path / "model", copy_function=os.link))
    for key in (PLAIN.targets, PLAIN):
        path = folder / key.file(recipe)
        model = rounded(onnx.load(path, load_external_data=False))
        path.unlink()  # it is another name of the file that all tests share
        onnx.save(model, path)
    objective = Objective.open(folder, recipe, content=content, styles=[style], device="cpu", lowering=DIRECT)
    made = decisions(real_weights, direct, objective.recipe, picture, tmp_path, change=rounded)
    loss, gradient = objective(picture)
    expected_loss, expected = Reference(real_weights, objective.recipe, content, style).loss_and_gradient(
        picture, None, made
    )
    far = float(np.linalg.norm(gradient - expected) / np.linalg.norm(expected))
    assert 1e-5 < abs(loss / expected_loss - 1) < 1e-3  # and it does round
    assert 1e-5 < far < 1e-3
