"""Failures of onnxruntime's in our words."""

from __future__ import annotations

import re

from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import MemoryShortage
from impasto.runtime.model.graphs import WINOGRAD
from impasto.shortage import advice, limits
from impasto.wording import option

#: How onnxruntime tells a failure of CUDA or its libraries, between many other words.
_CUDA_FAILURE = re.compile(r"\b(?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUBLASLT) failure \d+: [^;]+")


def shortage(name: str, placement: Placement) -> MemoryShortage:
    """Return the error that a graph has too little memory, and what to do; `name` is the graph's."""
    if placement.device != "cpu":  # what is given back after an evaluation is wanted again in the next
        other = f", or {option('device', 'cpu')}"
    else:  # `winograd` holds little that could be given back
        other = "" if placement.low_memory or placement.layout == WINOGRAD else f", or {option('low_memory', True)}"
    limit = f", or {advice()}" if limits() and placement.device == "cpu" else ""
    return MemoryShortage(
        f"{name}: out of memory on {placement.device}; choose a smaller {option('size')}{other}{limit}"
    )


def one_line(error: Exception) -> str:
    """Return what an error says; of a long one of CUDA's, with places in onnxruntime's code, the heart of it."""
    text = " ".join(str(error).split())
    found = _CUDA_FAILURE.search(text)
    return found[0].rstrip() if found else text
