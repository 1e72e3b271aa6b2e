"""Files without a buffer that wait where somebody has made their descriptor non-blocking."""

from __future__ import annotations

import time
from io import FileIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Seconds between attempts to write to a descriptor that somebody has made non-blocking.
_PAUSE = 0.02


class WaitingFile(FileIO):
    """A file, a device or a pipe that takes all that it is given, and waits where it has to."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            written = super().write(left)
            if written is None:
                time.sleep(_PAUSE)
            else:
                left = left[written:]
        return size
