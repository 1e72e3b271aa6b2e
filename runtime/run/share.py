"""What share of the start's loss is left: a loss says little by itself, being of any size."""

from __future__ import annotations

import math


class Share:
    """Says of losses, one after the other, what share of the start's they are.

    Losses of two sizes of a picture are different things. So a stage's first loss, of the picture that the stage before
    has made, counts as the share that was left then; each later one of the stage in proportion to it.

    Parameters
    ----------
    best
        What is left already, of a transfer that goes on; 1 at the start.

    Attributes
    ----------
    best
        The smallest share so far.
    """

    def __init__(self, best: float = 1.0) -> None:
        self.best = best
        self._unit: float | None = None

    def begin(self, loss: float | None = None) -> None:
        """Take in that a stage begins; or, with the lowest `loss` of it so far, that it goes on."""
        self._unit = None
        if loss is not None:
            self.of(loss)

    def of(self, loss: float) -> float:
        """Return the share that a loss is of the start's; infinite where the loss is not finite."""
        if not math.isfinite(loss):
            return math.inf
        if self._unit is None:
            self._unit = self.best / loss if loss > 0 else 0.0
        share = loss * self._unit
        self.best = min(self.best, share)
        return share
