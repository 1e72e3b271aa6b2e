"""The memory of optimisers, beside that of the function which they minimise.

The figures are those of `python -m benchmarks.optimizer_memory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from impasto.runtime.optimize.history import HISTORY, remembered


@dataclass(frozen=True)
class OptimizerFootprint:
    """The memory that an optimiser takes beyond Adam, in bytes.

    Attributes
    ----------
    fixed
        For its libraries.
    pixel, pair
        For each pixel of the picture; and for each pixel and each step that it remembers.
    bounds
        For each pixel, if levels are held within bounds.
    """

    fixed: float
    pixel: float
    pair: float
    bounds: float


#: Optimiser -> its memory.
OPTIMIZER_FOOTPRINTS: Mapping[str, OptimizerFootprint] = {
    "adam": OptimizerFootprint(0, 0, 0, 24),
    "lbfgs": OptimizerFootprint(100e6, 300, 48, 181),
    "lbfgs-sobolev": OptimizerFootprint(15e6, 20, 24, 45),
}


def held(optimizer: str, pixels: int, *, pairs: int | None, bounded: bool, restarted: bool) -> float:
    """Return the bytes that an optimiser takes for a picture; one without figures takes no more than SciPy's.

    Parameters
    ----------
    pairs
        The number of steps that L-BFGS remembers; None for as many as it remembers by itself.
    bounded
        Whether levels are held within bounds.
    restarted
        Whether SciPy is restarted after some evaluations.
    """
    own = OPTIMIZER_FOOTPRINTS.get(optimizer, OPTIMIZER_FOOTPRINTS["lbfgs"])
    pixel = own.pixel + (own.bounds if bounded else 0)
    return own.fixed + (pixel + own.pair * (pairs or pairs_of(optimizer, pixels, restarted))) * pixels


def pairs_of(optimizer: str, pixels: int, restarted: bool = False) -> int:
    """Return how many steps an optimiser remembers by itself, of pictures of so many pixels."""
    return HISTORY if restarted or optimizer == "lbfgs-sobolev" else remembered(3 * pixels)
