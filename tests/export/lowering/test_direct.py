"""The order in which the lowering `direct` writes its nodes: on CUDA they run in it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from impasto.runtime.model.graphs import PRECISIONS, GraphKey
from impasto.runtime.plan.terms import LOSS


@pytest.fixture(params=PRECISIONS)
def nodes(request: pytest.FixtureRequest, model: Path) -> list[onnx.NodeProto]:
    path = model / GraphKey(precision=request.param).file("gatys")
    return list(onnx.load(path, load_external_data=False).graph.node)


def test_whether_a_relu_was_open_is_told_right_after_it(nodes: list[onnx.NodeProto]) -> None:
    """A map that nothing else wants can then go, and a byte for each of its elements stays."""
    told = [k for k, node in enumerate(nodes) if node.op_type == "Cast" and node.attribute[0].i == TensorProto.BOOL]
    assert len(told) == sum(node.op_type == "Relu" for node in nodes)
    for k in told:
        assert nodes[k - 1].op_type == "Relu"
        assert list(nodes[k].input) == list(nodes[k - 1].output)


def test_all_terms_are_known_before_the_way_back_begins(nodes: list[onnx.NodeProto]) -> None:
    """A difference or a Gram matrix does not wait, with its map, for the gradient to be done."""
    loss = next(k for k, node in enumerate(nodes) if LOSS in node.output)
    first_gate = next(k for k, node in enumerate(nodes) if node.op_type == "Where")
    assert loss < first_gate
