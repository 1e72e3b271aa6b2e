"""What is said to people while a command runs: lines on standard error. Results go to standard output, by `print`.

`impasto.cli.streams` makes standard error a stream that never fails; here is only how things are said.
"""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Say something: nothing that is wrong with standard error is a reason not to go on."""
    if sys.stderr is not None:  # or `print` would choose standard output
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # in one piece: others may write there, too


def warn(text: str) -> None:
    """Say that something is not as it should be."""
    say(f"warning: {text}")


def is_live() -> bool:
    """Whether standard error is a terminal on which lines can be drawn anew."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
