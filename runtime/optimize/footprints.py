"""The memory of optimisers, beside that of the function which they minimise.

The figures are those of `python -m benchmarks.optimizer_memory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from impasto.runtime.engine.footprints import Held
from impasto.runtime.optimize.history import HISTORY, remembered


@dataclass(frozen=True)
class OptimizerFootprint:
    """The memory that an optimiser takes, with the gradient that it is given, in bytes.

    Attributes
    ----------
    fixed
        For its libraries.
    pixel, pair
        For each pixel of the picture; and for each pixel and each pair that it remembers.
    bounds
        For each pixel, if levels are held within bounds.
    passing
        The part, for each pixel, that it takes between evaluations only, of pictures of more than `_KEPT` bytes.
    """

    fixed: float
    pixel: float
    pair: float
    bounds: float
    passing: float


#: The C library keeps the memory of freed arrays of up to so many bytes, and gives back that of larger ones.
_KEPT = 2**25

#: Optimiser -> its memory.
OPTIMIZER_FOOTPRINTS: Mapping[str, OptimizerFootprint] = {
    "adam": OptimizerFootprint(1e6, 73, 0, 24, 12),
    "lbfgs": OptimizerFootprint(100e6, 396, 48, 181, 1),
    "lbfgs-sobolev": OptimizerFootprint(15e6, 87, 24, 8, 24),
}


def held(optimizer: str, pixels: int, *, pairs: int | None, bounded: bool, restarted: bool) -> Held:
    """Return what an optimiser takes for a picture; one without figures takes no more than SciPy's.

    Parameters
    ----------
    pairs
        The number of pairs that L-BFGS remembers; None for as many as it remembers by itself.
    bounded
        Whether levels are held within bounds.
    restarted
        Whether SciPy is restarted after some evaluations.
    """
    own = OPTIMIZER_FOOTPRINTS.get(optimizer, OPTIMIZER_FOOTPRINTS["lbfgs"])
    pixel = own.pixel + (own.bounds if bounded else 0)
    between = own.fixed + (pixel + own.pair * (pairs or pairs_of(optimizer, pixels, restarted))) * pixels
    passing = own.passing * pixels if 12 * pixels > _KEPT else 0
    return Held(between - passing, between)


def pairs_of(optimizer: str, pixels: int, restarted: bool = False) -> int:
    """Return how many pairs an optimiser remembers by itself, of pictures of so many pixels."""
    return HISTORY if restarted or optimizer == "lbfgs-sobolev" else remembered(3 * pixels)
