"""Failures of onnxruntime, as impasto words them."""

from __future__ import annotations

import re

from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import MemoryShortage
from impasto.runtime.model.graphs import WINOGRAD
from impasto.shortage import advice, limits
from impasto.wording import option

#: A failure of CUDA or its libraries in the text of an onnxruntime error, which has many other words.
_CUDA_FAILURE = re.compile(r"\b(?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUBLASLT) failure \d+: [^;]+")


def shortage(name: str, placement: Placement) -> MemoryShortage:
    """Return the error that the graph of this name has too little memory, with advice."""
    if placement.device != "cpu":  # memory given back after an evaluation is needed again in the next
        other = f", or {option('device', 'cpu')}"
    else:  # `winograd` holds little that could be given back
        other = "" if placement.low_memory or placement.layout == WINOGRAD else f", or {option('low_memory', True)}"
    limit = f", or {advice()}" if limits() and placement.device == "cpu" else ""
    return MemoryShortage(
        f"{name}: out of memory on {placement.device}; choose a smaller {option('size')}{other}{limit}"
    )


def one_line(error: Exception) -> str:
    """Return the text of an error; of a long one of CUDA's, the failure without onnxruntime's source lines."""
    text = " ".join(str(error).split())
    match = _CUDA_FAILURE.search(text)
    return match[0].rstrip() if match else text
