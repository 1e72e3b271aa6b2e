"""How wide the terminal is that text is written for."""

from __future__ import annotations

import os
import shutil

#: Columns that text is written for; a narrower terminal breaks lines itself.
NARROWEST, WIDEST = 40, 160

#: Columns where there is no terminal.
_ORDINARY = 80


def width() -> int:
    """Return how many columns there are to write on: those of the terminal, even where a pager stands before it."""
    columns = shutil.get_terminal_size((0, 0)).columns or next(filter(None, map(_columns, (1, 2, 0))), _ORDINARY)
    return min(max(columns, NARROWEST), WIDEST)


def _columns(descriptor: int) -> int:
    """Return how wide the terminal behind a descriptor is; 0 where there is none."""
    try:
        return os.get_terminal_size(descriptor).columns
    except (OSError, ValueError):
        return 0
