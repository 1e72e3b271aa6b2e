"""The pace of work that is repeated every few seconds."""

from __future__ import annotations

import math
import time

#: Repeated work takes no more than this share of the time.
SHARE = 0.05


class Pace:
    """Says when repeated work is due again: every so many seconds, and less often if it is slow.

    Parameters
    ----------
    seconds
        The pause after the work; longer if the work takes more than `SHARE` of it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, -math.inf

    def is_due(self) -> bool:
        """Whether the work is due; at first it is."""
        return time.monotonic() >= self._next

    def done(self, began: float) -> None:
        """Note that the work has just ended; `began` is the `time.monotonic` of its beginning."""
        now = time.monotonic()
        wait = max(self._seconds, (now - began) / SHARE) if self._seconds else 0.0
        self._next = now + wait
