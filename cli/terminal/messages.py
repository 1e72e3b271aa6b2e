"""Messages to people while a command runs: lines on standard error. Results go to standard output, by `print`.

`impasto.cli.terminal.streams` makes standard error a stream that never fails; this module only writes to it.
"""

from __future__ import annotations

import os
import sys

from impasto.text import printable

#: Values of the variable TERM for terminals that may be unable to redraw a line. Windows does not set it; on other
#: systems, nothing is known about a terminal without a name.
_PLAIN = ("dumb", "unknown", "")
_UNNAMED = "windows" if sys.platform == "win32" else ""


def say(text: str, *, start: str = "") -> None:
    """Write a message in one line. A failure of standard error is no reason to stop.

    The message may contain text of a stranger, so `printable` escapes it. `start` comes before it, unchanged.
    """
    if sys.stderr is not None:  # with None, `print` would choose standard output
        line = f"{start}{printable(text)}\n"
        print(line, end="", file=sys.stderr, flush=True)  # in one piece: others may write there, too


def warn(text: str) -> None:
    """Write a warning."""
    say(f"warning: {text}")


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def is_live() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return is_terminal() and os.environ.get("TERM", _UNNAMED) not in _PLAIN
