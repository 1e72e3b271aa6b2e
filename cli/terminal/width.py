"""The width of the terminal, in columns."""

from __future__ import annotations

import os
import shutil

#: The least and the most columns of a text; a narrower terminal breaks lines itself.
NARROWEST, WIDEST = 40, 160

#: Columns of a text if there is no terminal.
_ORDINARY = 80


def width() -> int:
    """Return the number of columns to write: those of the terminal, even if a pager shows the text."""
    columns = shutil.get_terminal_size((0, 0)).columns or next(filter(None, map(_columns, (1, 2, 0))), _ORDINARY)
    return min(max(columns, NARROWEST), WIDEST)


def _columns(descriptor: int) -> int:
    """Return the width of the terminal at a descriptor; 0 where there is none."""
    try:
        return os.get_terminal_size(descriptor).columns
    except (OSError, ValueError):
        return 0
