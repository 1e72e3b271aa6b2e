"""Lowering a small graph and running it, for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from impasto.export.direct import direct
from impasto.export.graph import Var
from impasto.export.lowering import Lowering

Array = NDArray[np.float32]

_RNG = np.random.default_rng(5)

#: The weights of one convolution, `layer`: 2 channels in, 3 out.
PARAMETERS = {
    "layer.kernel": _RNG.normal(size=(3, 2, 3, 3)).astype(np.float32),
    "layer.bias": _RNG.normal(size=3).astype(np.float32),
}


def run(outputs: Mapping[str, Var], feeds: Mapping[str, Array], lowering: Lowering = direct) -> dict[str, Array]:
    """Lower a graph, check it and run it on what it has inputs for."""
    parameters = {name: numpy_helper.from_array(value, name) for name, value in PARAMETERS.items()}
    model = lowering.lower("test", outputs, parameters)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {x.name: np.asarray(feeds[x.name], np.float32) for x in session.get_inputs()}
    return dict(zip(outputs, session.run(list(outputs), used), strict=True))
