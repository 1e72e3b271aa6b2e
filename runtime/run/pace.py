"""The pace of work that is repeated every few seconds."""

from __future__ import annotations

import math
import time

#: Repeated work takes no more than this share of the time, unless it has a longest pause.
SHARE = 0.05

#: For a longest pause, work still pauses for so many times as long as it takes: it has a quarter of the time at most.
LEAST_PAUSE = 3.0


class Pace:
    """Says when repeated work is due again: every so many seconds, and less often if it is slow.

    Parameters
    ----------
    seconds
        The pause after the work; longer if the work takes more than `SHARE` of it.
    longest
        The pause is no longer than this, in seconds, for work that takes more than `SHARE` of the time; but no shorter
        than the work takes, times `LEAST_PAUSE`.
    """

    def __init__(self, seconds: float, longest: float = math.inf) -> None:
        self._seconds, self._longest, self._next = seconds, longest, -math.inf

    def is_due(self) -> bool:
        """Whether the work is due; at first it is."""
        return time.monotonic() >= self._next

    def done(self, began: float) -> None:
        """Note that the work has just ended; `began` is the `time.monotonic` of its beginning."""
        now = time.monotonic()
        taken = now - began
        slow = min(taken / SHARE, max(self._longest, LEAST_PAUSE * taken))
        self._next = now + (max(self._seconds, slow) if self._seconds else 0.0)
