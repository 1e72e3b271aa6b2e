"""How often something is done that repeats with time."""

from __future__ import annotations

import math
import time

#: What repeats with time takes no more than this share of it.
SHARE = 0.05


class Pace:
    """Says when it is time again for something that repeats every so many seconds, and seldom if it is slow.

    Parameters
    ----------
    seconds
        From the end of one time to the next; more if one takes longer than `SHARE` of that.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, -math.inf

    def is_due(self) -> bool:
        """Whether it is time; it is, at first."""
        return time.monotonic() >= self._next

    def done(self, began: float) -> None:
        """Note that it has been done just now, having begun at that `time.monotonic`."""
        now = time.monotonic()
        wait = max(self._seconds, (now - began) / SHARE) if self._seconds else 0.0
        self._next = now + wait
