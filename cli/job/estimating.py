"""The estimate before a run, and the timings of a run for later estimates.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import astuple
from pathlib import Path

from impasto import user_folders
from impasto.cli.terminal.messages import say
from impasto.runtime.errors import ImpastoError
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run.estimate import CHOICES, Estimate, estimate, fastest, learn
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer

#: The environment variable that names another file for this machine's timings than the one in the user's cache.
TIMINGS = "IMPASTO_TIMINGS"


def foresee(
    transfer: Transfer,
    *,
    oversize: bool,
    done: Sequence[int] = (),
    spent: float = 0.0,
    options: Collection[str] = CHOICES,
    earlier: Plan | None = None,
    measure: bool = True,
) -> tuple[list[str], Estimate]:
    """Settle a transfer, and return what is to be said of it, and how much memory and time the rest of it will take.

    With `oversize` a picture is accepted that is too large for the free memory. `earlier` is the plan of an interrupted
    run that goes on. With `measure`, a time that is not known is measured, if it is long. `done` and `spent` are the
    evaluations of each stage so far, and their seconds; for `options` see
    `impasto.runtime.run.estimate.Estimate.check`.

    Raises
    ------
    InputError
        When the picture is too large for the free memory, and `oversize` is false.
    """
    transfer.placement = fastest(transfer, timings_file())
    choices = transfer.settle(earlier, done)
    estimated = estimate(transfer, timings_file(), done, spent, measure=measure)
    if not oversize:
        estimated.check(options)
    return [*_told_of_crops(transfer), *choices, str(estimated)], estimated


def _told_of_crops(transfer: Transfer) -> list[str]:
    """Return a sentence for each style of which more, or less, is left out than the usual edges."""
    from impasto.runtime.pictures import places
    from impasto.runtime.pictures.margins import edges_of

    paintings = transfer.material.paintings
    named = zip(transfer.material.places["style"], transfer.plan.crops, paintings, strict=False)
    sides = "{} pixels at the left, {} at the top, {} at the right and {} at the bottom are left out"
    return [
        f"style {places.name(place) if place else number}: " + sides.format(*astuple(crop))
        for number, (place, crop, painting) in enumerate(named, 1)
        if crop and crop != edges_of(*painting.size)
    ]


def announce(foreseen: tuple[list[str], Estimate]) -> Estimate:
    """Say on standard error what `foresee` has returned, here or elsewhere; return the estimate."""
    lines, estimated = foreseen
    for line in lines:
        say(line)
    return estimated


def remember_timings(transfer: Transfer, result: Result) -> None:
    """Remember how long the evaluations of a transfer have taken, for later estimates."""
    with contextlib.suppress(ImpastoError):  # the model folder may be gone by now, for instance
        learn(transfer, result, timings_file())


def timings_file() -> Path:
    """Return the file that keeps the timings of this machine."""
    named = os.environ.get(TIMINGS)
    return Path(named) if named else user_folders.cache() / "timings.json"
