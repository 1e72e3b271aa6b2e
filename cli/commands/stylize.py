"""``impasto stylize``: a photograph, repainted in the manner of paintings."""

from __future__ import annotations

import contextlib
import json as json_
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from impasto.cli import options
from impasto.cli.cluster.options import cluster_options
from impasto.cli.command import MEANWHILE, examples, needless
from impasto.cli.options import FILE, SECONDS, WHOLE_NUMBER, argument, option
from impasto.cli.shared_options import takes
from impasto.cli.terminal.messages import say
from impasto.cli.transfer_options import further_inputs, transfer_options
from impasto.defaults import PREVIEW_SECONDS

if TYPE_CHECKING:
    from impasto.cli.cluster.wanted import Wanted
    from impasto.cli.job.outputs import Wishes
    from impasto.runtime import Result
    from impasto.runtime.engine.engine import Engine
    from impasto.runtime.plan.plan import Plan
    from impasto.runtime.run.checkpoint import Checkpoint
    from impasto.runtime.run.transfer import Transfer

#: The options that decide the optimiser.
_OF_OPTIMIZER = ("optimizer", "restart_every")

#: The optimisers that have one like them on the device.
_LBFGS_ON_HOST = ("lbfgs", "lbfgs-sobolev")


@takes(choices=transfer_options, wanted=cluster_options)
@needless(output="--dry-run")
@examples(
    "impasto stylize photo.jpg painting.jpg --output result.png",
    "impasto stylize photo.jpg painting.jpg --output large.png --size 1024 --colors keep --time-limit 600",
)
def stylize(
    content: Annotated[str, argument("CONTENT", help="The photograph: a file, - or an http(s) URL.")],
    styles: Annotated[list[str], argument("STYLES", help="One painting, or several to blend.")],
    output: Annotated[
        str | None, option("--output", "-o", value=FILE, help="The result, .png or .jpg, or - for a PNG.")
    ],
    triptych: Annotated[
        Path | None, option(value=FILE, help="Also write content, style and result side by side.", panel=MEANWHILE)
    ] = None,
    preview: Annotated[
        Path | None,
        option(
            value=FILE,
            help="Keep the best picture so far here, .png or .jpg, with 2048 pixels a side at most.",
            panel=MEANWHILE,
        ),
    ] = None,
    preview_every: Annotated[
        float,
        option(
            value=SECONDS,
            min=0,
            help="How often the preview is written, at most; less often where that takes long.",
            panel=MEANWHILE,
        ),
    ] = PREVIEW_SECONDS,
    save_every: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=1,
            help="Keep the best picture after every so many evaluations, too: out.0050.png and so on.",
            default="never",
            panel=MEANWHILE,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        option(value=FILE, help="A line of JSON for every evaluation, for impasto plot: .jsonl.", panel=MEANWHILE),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        option(
            value=FILE,
            help="Keep here, every few seconds, what --resume needs; removed with the result written.",
            panel=MEANWHILE,
        ),
    ] = None,
    resume: Annotated[
        bool, option("--resume", help="Go on from the checkpoint, if there is one.", panel=MEANWHILE)
    ] = False,
    record: Annotated[
        bool,
        option(
            "--record/--no-record",
            help="Write into the result how it was made, with the names of files: for impasto info and rerun.",
            panel=MEANWHILE,
        ),
    ] = True,
    record_places: options.RecordPlaces = False,
    dry_run: Annotated[
        bool,
        option(
            "--dry-run",
            help="Print what would be done, and about how much memory and time it takes; do nothing. It needs no "
            "--output.",
            panel=MEANWHILE,
        ),
    ] = False,
    write_plan: Annotated[
        Path | None,
        option(value=FILE, help="Write the plan into a .toml file, as --plan takes it.", panel=MEANWHILE),
    ] = None,
    json: options.Json = False,
    json_progress: Annotated[
        bool,
        option(
            "--json-progress",
            help="Tell every evaluation on standard error as a line of JSON, for programs.",
            panel=MEANWHILE,
        ),
    ] = False,
    force: options.Force = False,
    oversize: options.Oversize = False,
    *,
    choices: dict[str, Any],
    wanted: Wanted,
) -> None:
    """Repaint the photograph CONTENT in the manner of STYLES."""
    from impasto.cli.job.drafting import drafted
    from impasto.cli.job.job import Job
    from impasto.cli.job.outputs import Wishes
    from impasto.cli.terminal.progress import JsonProgress, Progress
    from impasto.runtime.model.default import find_model

    wishes = Wishes(
        output,
        triptych,
        preview,
        save_every,
        log,
        checkpoint,
        resume,
        record,
        record_places,
        force,
        json,
        plan=write_plan,
        preview_seconds=preview_every,
    )
    earlier = wishes.read_checkpoint()
    if earlier is not None:
        choices = as_before(choices, earlier.plan)
    wishes.check([content, *styles, *further_inputs(choices)], earlier)
    transfer = drafted(
        content, styles, wanted.for_tiles({**choices, "model": find_model(choices["model"])}), dry=dry_run
    )
    planned, crop = transfer.plan, choices["style_crop"] or getattr(choices["plan"], "style_crop", None)
    if dry_run:
        tell(transfer, wishes, earlier, oversize=oversize, stages=choices["stages"])
        wishes.write_plan(planned, transfer.material.content, crop)
        return
    for masks in (transfer.material.regions, transfer.material.protection):
        if masks:
            say(str(masks))
    with spreading(wanted, transfer, choices["threads"]) as engine:
        job = Job(transfer, wishes, earlier=earlier, engine=engine)
        job.announce(oversize=oversize, stages=choices["stages"])
        wishes.write_plan(planned, transfer.material.content, crop)
        if engine:
            say("the workers share the tiles: that time is of one process")
        result = job.carry_out(JsonProgress if json_progress else Progress)
    if advice := speed_advice(result):
        say(advice)
    if json:
        print(json_.dumps(job.describe(result)))
    job.end()


def as_before(choices: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return options with the optimiser of the recipe as it was when a run began, unless another one is asked for."""
    file = choices["plan"]
    if any(choices[name] is not None or getattr(file, name, None) is not None for name in _OF_OPTIMIZER):
        return choices
    if file is not None:
        return {**choices, "plan": replace(file, optimizer=plan.recipe.optimizer)}
    return {**choices, "optimizer": plan.recipe.optimizer}


def tell(transfer: Transfer, wishes: Wishes, earlier: Checkpoint | None, *, oversize: bool, stages: int | None) -> None:
    """Print what would be done; say what it takes, if the model has the recipe."""
    from impasto.cli.job.job import Job
    from impasto.cli.job.plan_rows import in_lines, rows
    from impasto.runtime.model.folder import ModelFolder
    from impasto.runtime.storage import codec

    plan, estimate, name = transfer.plan, None, transfer.plan.recipe.name
    if name in ModelFolder.open(transfer.model).recipes():
        job = Job(transfer, wishes, earlier=earlier)
        job.announce(oversize=oversize, stages=stages)
        estimate = job.foreseen
    else:
        say(f"no estimate: the model has no recipe {name} yet; a run exports it, and so does impasto export -r {name}")
    if wishes.json:
        print(json_.dumps({"plan": codec.to_data(plan), "estimate": estimate}))
    else:
        told = rows(plan, protects=transfer.material.protection is not None)
        print("\n".join([f"{plan.width}x{plan.height}, as it would be made", *in_lines(told)]))


@contextlib.contextmanager
def spreading(wanted: Wanted, transfer: Transfer, threads: int | None) -> Iterator[Engine | None]:
    """Connect to a cluster, if there is to be one; return what has its workers evaluate the transfer's tiles.

    Raises
    ------
    InputError
        When there is no cluster, or a worker is not fit.
    """
    if not wanted:
        yield None
        return
    from impasto.cli.cluster.connection import connected
    from impasto.cli.cluster.models import Manifest
    from impasto.cli.cluster.tiles import SpreadEngine
    from impasto.runtime.model.folder import ModelFolder

    with connected(wanted, Manifest.of(ModelFolder.open(transfer.model), transfer.plan.recipe.name)) as cluster:
        yield SpreadEngine(cluster, threads or wanted.threads)


def speed_advice(result: Result) -> str | None:
    """Return advice for a faster run, if a GPU waited for L-BFGS more than half of the time."""
    from impasto.runtime.engine.providers import provider_of

    plan, seconds = result.plan, result.optimizer_seconds
    resumed = bool(plan.restarts)  # then some of the seconds are of an earlier run
    on_host = all(plan.optimizer_of(stage) in _LBFGS_ON_HOST for stage in plan.stages)
    does_not_apply = not on_host or plan.restart_every or resumed
    if provider_of(result.device).on_host or does_not_apply or seconds < result.seconds / 2:
        return None
    return (
        f"{100 * seconds / result.seconds:.0f} % of the time was L-BFGS, on the CPU; "
        f"--optimizer lbfgs-device does its work on {result.device}"
    )
