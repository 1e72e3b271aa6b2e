"""Running a transfer from the command line: with progress, open to signals, and its result written whatever happens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from impasto import figures
from impasto.cli.terminal.messages import say
from impasto.figures import clock

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime import Result, Step
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.pictures.places import Place
    from impasto.runtime.plan.plan import Plan
    from impasto.runtime.run.estimate import Estimate


def transfer_with_progress(
    work: Callable[[Callable[[Step], None]], Result],
    keep: Callable[[Result], None],
    estimate: Estimate,
    plan: Plan,
    before: float = 0.0,
) -> tuple[Result, bool]:
    """Run a transfer with progress on standard error, and keep its result, which a first signal does not prevent.

    Parameters
    ----------
    work
        Runs the transfer; takes what is to be called after every evaluation.
    keep
        Writes the result.
    estimate
        What was said that it will take.
    plan
        What is done.
    before
        Seconds that it took before, where it goes on.

    Returns
    -------
    tuple of Result and bool
        The result, and whether Ctrl-C or another signal ended the transfer early.
    """
    from impasto.cli.terminal.interrupt import Check, run_interruptibly
    from impasto.cli.terminal.progress import Progress

    progress = Progress(plan, None if estimate.seconds is None else before + estimate.seconds)

    def watched(check: Check) -> Result:
        def report(step: Step) -> None:
            check(over=step.evaluation == step.evaluations)
            progress.show(step)

        with contextlib.redirect_stdout(sys.stderr), progress:  # libraries may print; our own is for results
            return work(report)

    def finish(result: Result) -> None:
        say(_summary(result))
        keep(result)

    result, told = run_interruptibly(watched, finish, progress.stop)
    return result, told and not result.finished


def _summary(result: Result) -> str:
    told = (
        f"{figures.loss(result.loss, result.share)} after {figures.evaluations(result.evaluations)} in "
        f"{clock(result.seconds)} on {result.device}; {result.reason}"
    )
    if result.evaluated == result.image.size:
        return told
    width, height = result.evaluated
    return f"{told}; the picture is that of stage {result.stage}, {width}x{height}, enlarged"


def check_json(output: Place, json: bool) -> None:
    """Refuse to have a picture and JSON printed one after the other.

    Raises
    ------
    InputError
        When both would go to standard output.
    """
    from impasto.runtime import InputError
    from impasto.runtime.pictures import places

    if json and places.is_standard_output(output):
        what = f"output {places.name(output)}"
        raise InputError(f"{what}: --json prints to standard output, too; name a file for the picture")


def write(
    picture: Image.Image,
    place: Place,
    like: Photograph | None = None,
    text: dict[str, str] | None = None,
    *,
    replace: bool,
) -> None:
    """Write a picture and say where it is; see `impasto.runtime.pictures.encoding.write_picture`."""
    from impasto.runtime.pictures import encoding, places

    encoding.write_picture(picture, place, like=like, text=text, replace=replace)
    where = places.name(place) if places.is_file(place) else "standard output"
    say(f"wrote {where} ({picture.width}x{picture.height})")


def describe(result: Result) -> dict[str, Any]:
    """Return what ``--json`` says of a result."""
    return {
        "recipe": result.plan.recipe.name,
        "width": result.image.width,
        "height": result.image.height,
        "evaluated": list(result.evaluated),
        "loss": result.loss,
        "share": result.share,
        "terms": result.terms,
        "evaluations": result.evaluations,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "optimizer_seconds": round(result.optimizer_seconds, 3),
        "device": result.device,
    }
