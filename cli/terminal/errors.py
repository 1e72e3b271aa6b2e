"""Errors as the command line tells them: one line, and an exit code."""

from __future__ import annotations

from impasto.shortage import in_one_line, is_shortage

#: Exit codes: something failed while it ran; the arguments or the input are wrong.
FAILED, REFUSED = 1, 2


def explain(error: Exception) -> tuple[str, int]:
    """Return an error's message, and the exit code."""
    if isinstance(error, (MemoryError, ImportError, OSError, RuntimeError)) and is_shortage(error):
        return in_one_line(error), FAILED  # first: there may be no memory for the imports below
    from impasto.runtime.errors import ImpastoError, InputError

    if isinstance(error, ImpastoError):
        return str(error), REFUSED if isinstance(error, InputError) else FAILED
    if hasattr(error, "format_message"):  # typer's own errors: wrong usage
        return error.format_message(), getattr(error, "exit_code", REFUSED)
    return f"unexpected {type(error).__name__}: {error}; please report it with what --debug prints", FAILED
