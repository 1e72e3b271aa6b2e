"""How numbers are written for people: durations, losses and their terms."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Return a duration as minutes:seconds, or hours:minutes:seconds from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def roughly(seconds: float) -> str:
    """Return a duration that is not known exactly, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def evaluations(count: int) -> str:
    """Return a number of evaluations, with its noun."""
    return f"{count} evaluation{'' if count == 1 else 's'}"


def all_made(count: int) -> str:
    """Say that all evaluations were made."""
    return f"all {count} evaluations were made" if count != 1 else "the only evaluation was made"


def number(value: float) -> str:
    """Return a loss, or a term of it, with four digits."""
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share of 1 in percent: with three digits, or fewer from 100 on."""
    return f"{100 * share:.3g} %" if share < 10 else f"{100 * share:.0f} %"


def loss(value: float, share: float, precision: str = "") -> str:
    """Return a loss with its noun, and its share of the start's; and its precision, if that should be said."""
    return f"loss {shared(value, share, precision)}"


def shared(value: float, share: float, precision: str = "") -> str:
    """Return a loss, and its share of the start's: see `impasto.runtime.run.share`."""
    return f"{number(value)}{f' in {precision}' if precision else ''} ({percent(share)} of the start's)"


def megabytes(size: int) -> str:
    """Return an amount of bytes in megabytes.

    Examples
    --------
    >>> megabytes(100_000_000)
    '100 MB'
    """
    return f"{size / 1e6:g} MB"
