"""The memory of optimisers, beside that of the function which they minimise.

The figures are those of `python -m benchmarks.memory --optimizers`.
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
    """

    fixed: float
    pixel: float
    pair: float


#: Optimiser -> its memory. ``bounds`` is what bounds take on top, of SciPy's.
OPTIMIZER_FOOTPRINTS: Mapping[str, OptimizerFootprint] = {
    "adam": OptimizerFootprint(0, 0, 0),
    "lbfgs": OptimizerFootprint(60e6, 170, 48),
    "lbfgs-sobolev": OptimizerFootprint(10e6, 80, 24),
    "bounds": OptimizerFootprint(0, 20, 0),
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
    bounds = OPTIMIZER_FOOTPRINTS["bounds"].pixel if bounded and optimizer == "lbfgs" else 0
    return own.fixed + (own.pixel + bounds + own.pair * (pairs or pairs_of(optimizer, pixels, restarted))) * pixels


def pairs_of(optimizer: str, pixels: int, restarted: bool = False) -> int:
    """Return how many steps an optimiser remembers by itself, of pictures of so many pixels."""
    return HISTORY if restarted or optimizer == "lbfgs-sobolev" else remembered(3 * pixels)
