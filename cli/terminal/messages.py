"""What is said to people while a command runs: lines on standard error. Results go to standard output, by `print`.

`impasto.cli.terminal.streams` makes standard error a stream that never fails; here is only how things are said.
"""

from __future__ import annotations

import os
import sys

from impasto.text import printable

#: Terminals, by the variable TERM, on which lines cannot be drawn anew. Windows names none; elsewhere one without a
#: name is not known to be able to.
_PLAIN = ("dumb", "unknown", "")
_UNNAMED = "windows" if sys.platform == "win32" else ""


def say(text: str, *, start: str = "") -> None:
    """Say something in one line: nothing that is wrong with standard error is a reason not to go on.

    What it names may be a stranger's, so it only shows: see `printable`. `start` goes before it as it is.
    """
    if sys.stderr is not None:  # or `print` would choose standard output
        line = f"{start}{printable(text)}\n"
        print(line, end="", file=sys.stderr, flush=True)  # in one piece: others may write there, too


def warn(text: str) -> None:
    """Say that something is not as it should be."""
    say(f"warning: {text}")


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def is_live() -> bool:
    """Whether standard error is a terminal on which lines can be drawn anew."""
    return is_terminal() and os.environ.get("TERM", _UNNAMED) not in _PLAIN
