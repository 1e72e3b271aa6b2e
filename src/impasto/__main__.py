"""The command ``impasto``, and ``python -m impasto``.

What a user can interrupt comes as late as possible: this imports nothing but what answers a signal, which takes two
milliseconds, and all else is imported where signals are answered. Before that, while Python itself starts (some 20 ms
of processor time), signals find nothing of ours: Python may answer Ctrl-C with a traceback; others end it in silence.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` would take longer than all the rest
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    try:
        from impasto.cli.terminal import interrupt, streams

        streams.prepare()
        code = interrupt.run_answering_signals(_run)
    except KeyboardInterrupt:  # before signals are answered otherwise
        sys.exit("error: interrupted; nothing was left half-written")
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        from impasto import packages  # where only Python is wanted, the command line's packages may be left out

        sys.exit(f"error: typer is not installed; for the command line, {packages.COMMAND_LINE}")
    sys.exit(code)


def _run() -> int:
    from impasto.cli.app import run

    return run()


if __name__ == "__main__":
    main()
