"""The command ``impasto``, and ``python -m impasto``.

Signals are answered as early as possible: this imports nothing but the code that answers them, which takes two
milliseconds, and all else is imported after that. Before, while Python itself starts (some 20 ms of processor time),
none of our code runs: Python may answer Ctrl-C with a traceback; other signals end it in silence.
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
    except MemoryError:  # while the program itself is imported: it answers later ones by itself
        from impasto.shortage import advice

        sys.exit(f"error: too little memory to begin; {advice()}")
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
