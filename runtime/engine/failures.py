"""Failures of onnxruntime, as impasto words them."""

from __future__ import annotations

from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.providers import is_host
from impasto.runtime.errors import MemoryShortage
from impasto.runtime.model.graphs import WINOGRAD
from impasto.shortage import advice, limits
from impasto.wording import option


def shortage(name: str, placement: Placement) -> MemoryShortage:
    """Return the error that the graph of this name has too little memory, with advice."""
    if placement.device != "cpu":  # memory given back after an evaluation is needed again in the next
        other = f", or {option('device', 'cpu')}"
    else:  # `winograd` holds little that could be given back
        other = "" if placement.low_memory or placement.layout == WINOGRAD else f", or {option('low_memory', True)}"
    limit = f", or {advice()}" if limits() and is_host(placement.device) else ""
    return MemoryShortage(
        f"{name}: out of memory on {placement.device}; choose a smaller {option('size')}{other}{limit}"
    )
