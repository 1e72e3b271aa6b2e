"""The share of the start's loss that is left. A loss can be of any size, so that it says little by itself."""

from __future__ import annotations

import math


class Share:
    """Computes, for one loss after the other, its share of the start's loss.

    Losses of pictures of two sizes cannot be compared. So the first loss of a stage, that of the enlarged picture of
    the stage before, counts as the share that was left then. Later losses of the stage count in proportion to it.

    Parameters
    ----------
    best
        The share that is left already when a transfer goes on; 1 at the start.

    Attributes
    ----------
    best
        The smallest share so far.
    """

    def __init__(self, best: float = 1.0) -> None:
        self.best = best
        self._unit: float | None = None

    def begin(self, loss: float | None = None) -> None:
        """Note that a stage begins; or that it goes on, when its lowest `loss` so far is given."""
        self._unit = None
        if loss is not None:
            self.of(loss)

    def of(self, loss: float) -> float:
        """Return the share of the start's loss that a loss is; infinite when the loss is not finite."""
        if not math.isfinite(loss):
            return math.inf
        if self._unit is None:
            self._unit = self.best / loss if loss > 0 else 0.0
        share = loss * self._unit
        self.best = min(self.best, share)
        return share
