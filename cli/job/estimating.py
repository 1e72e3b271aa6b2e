"""The estimate before a run, and what a run teaches for the next one's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.terminal.messages import say

if TYPE_CHECKING:
    from impasto.runtime.run.estimate import Estimate
    from impasto.runtime.run.result import Result
    from impasto.runtime.run.transfer import Transfer

#: The environment variable that names another file for this machine's timings than the one in the user's cache.
TIMINGS = "IMPASTO_TIMINGS"


def announce(
    transfer: Transfer,
    *,
    oversize: bool,
    made: Sequence[int] = (),
    spent: float = 0.0,
    options: Collection[str] = ("size", "low_memory"),
) -> Estimate:
    """Say on standard error what a transfer, or what is left of it, will take.

    One that does not fit is refused, unless told otherwise; `made` and `spent` as in
    `impasto.runtime.run.estimate.estimate`, `options` as in `impasto.runtime.run.estimate.Estimate.check`.

    Raises
    ------
    InputError
        When the picture is too large for the memory there is, and `oversize` is false.
    """
    from impasto.runtime.run.estimate import estimate

    found = estimate(transfer, timings_file(), made, spent)
    if not oversize:
        found.check(options)
    say(str(found))
    return found


def teach(transfer: Transfer, result: Result) -> None:
    """Remember how long a transfer's evaluations have taken, for the next estimate."""
    from impasto.runtime.errors import ImpastoError
    from impasto.runtime.run.estimate import learn

    with contextlib.suppress(ImpastoError):  # a model folder that is gone by now, for instance
        learn(transfer, result, timings_file())


def timings_file() -> Path:
    """Return where the timings of this machine are kept."""
    from platformdirs import user_cache_path

    named = os.environ.get(TIMINGS)
    return Path(named) if named else user_cache_path("impasto", appauthor=False) / "timings.json"
