"""``impasto batch``: many photographs, each repainted in the manner of paintings."""

from __future__ import annotations

import contextlib
import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import options
from impasto.cli.cluster.options import cluster_options
from impasto.cli.command import MEANWHILE, REGIONS, examples
from impasto.cli.options import FILE, FOLDER, WHOLE_NUMBER, argument, option
from impasto.cli.shared_options import takes
from impasto.cli.terminal.errors import FAILED
from impasto.cli.terminal.messages import say
from impasto.cli.transfer_options import transfer_options

if TYPE_CHECKING:
    from impasto.cli.cluster.batch import ClusterRun
    from impasto.cli.cluster.wanted import Wanted
    from impasto.cli.job.batch import Batch

_TEMPLATE = "TEMPLATE"


@takes(choices=transfer_options, wanted=cluster_options)
@examples(
    "impasto batch photos/*.jpg --style monet.jpg --output results",
    "impasto batch photos --recursive --style monet.jpg --style hokusai.jpg -o results --size 1024 --sheet sheet.png",
)
def batch(
    photographs: Annotated[
        list[str],
        argument(
            "PHOTOGRAPHS", help="Files, folders, patterns, addresses, or - for a list of these on standard input."
        ),
    ],
    output: Annotated[Path, option("--output", "-o", value=FOLDER, help="The folder for the results.")],
    style: Annotated[list[str], option("--style", value=FILE, help="A painting; may be repeated.")],
    pairs: Annotated[bool, option("--pairs", help="The first photograph with the first painting, and so on.")] = False,
    blended: Annotated[
        bool,
        option("--blended", help="Each photograph with all paintings at once, as --style-blend says."),
    ] = False,
    recursive: Annotated[bool, option("--recursive", help="Search folders of folders, too.")] = False,
    name: Annotated[
        str,
        option(
            value=_TEMPLATE,
            help="The results' names, .png or .jpg, with {content}, {style}, {recipe}, {folder} or {number}.",
        ),
    ] = "{content}-{style}.png",
    content_mask: Annotated[
        str | None,
        option(
            value=_TEMPLATE,
            help="The photographs' label pictures, such as masks/{content}.png, or a colour for all: see impasto "
            "stylize.",
            panel=REGIONS,
        ),
    ] = None,
    protect: Annotated[
        str | None,
        option(
            value=_TEMPLATE,
            help="The photographs' masks of what keeps its content, such as faces/{content}.png: see impasto stylize.",
            panel=REGIONS,
        ),
    ] = None,
    sheet: Annotated[
        Path | None, option(value=FILE, help="Also write all results side by side: .png or .jpg.", panel=MEANWHILE)
    ] = None,
    report: Annotated[
        Path | None,
        option(value=FILE, help="A line of JSON for each picture, at once: .jsonl.", panel=MEANWHILE),
    ] = None,
    triptych: Annotated[
        str | None,
        option(value=_TEMPLATE, help="Names of pictures with content, style and result side by side.", panel=MEANWHILE),
    ] = None,
    preview: Annotated[
        Path | None,
        option(value=FILE, help="Keep the best picture so far of the present one here, .png or .jpg.", panel=MEANWHILE),
    ] = None,
    save_every: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=1,
            help="Keep the best picture after every so many evaluations, too, beside the result.",
            default="never",
            panel=MEANWHILE,
        ),
    ] = None,
    log: Annotated[
        str | None,
        option(
            value=_TEMPLATE,
            help="Names of logs, a line of JSON for every evaluation: {content}.jsonl.",
            panel=MEANWHILE,
        ),
    ] = None,
    record: Annotated[
        bool,
        option(
            "--record/--no-record",
            help="Write into each result how it was made; without, it is not known again.",
            panel=MEANWHILE,
        ),
    ] = True,
    record_places: options.RecordPlaces = False,
    json: options.Json = False,
    force: options.Force = False,
    oversize: options.Oversize = False,
    *,
    choices: dict[str, Any],
    wanted: Wanted,
) -> None:
    """Repaint many PHOTOGRAPHS, each in the manner of every painting.

    A picture that fails stops no other; then the exit code is 1. Pictures that are there already, made from the same
    inputs by the same plan, are not made again, and one that was interrupted is resumed: after Ctrl-C, or a failure,
    the same command goes on.
    """
    from impasto.cli.job.batch import Batch, Report, Shelf
    from impasto.cli.job.batch_run import BatchRun
    from impasto.cli.job.batch_sheet import check_sheet, draw_sheet, is_sheet
    from impasto.cli.job.listing import photographs as listed
    from impasto.cli.job.outputs import Wishes
    from impasto.cli.job.tasks import Naming, check, combined
    from impasto.cli.job.writing import folder_for
    from impasto.export.provision import add_missing
    from impasto.runtime import InputError
    from impasto.runtime.model.default import find_model

    if pairs and choices["style_blend"] is not None:
        raise InputError("--pairs: leaves nothing to blend; leave --style-blend out")
    if wanted and preview:
        raise InputError("--preview: shows one picture, and workers make several at a time; leave it out")
    shared = Wishes(
        preview=preview, save_every=save_every, record=record, record_places=record_places, force=force, quiet=True
    )
    naming = Naming(name, triptych, log, content_mask, choices["style_masks"], protect)
    blended = blended or choices["style_blend"] is not None
    places = listed(photographs, recursive=recursive, repeated=pairs)
    pictures = combined(places, style, pairs=pairs, blended=blended)
    tasks = naming.tasks(output, pictures, style, shared, recipe=choices["recipe"], init=choices["init"])
    own = {path: is_own(path) for path, is_own in ((sheet, is_sheet), (report, Report.is_one)) if path}
    model = find_model(choices["model"])
    with folder_for(output, "output", "--output"):
        check(tasks, {path: force or is_own for path, is_own in own.items()}, recursive=recursive)
        if sheet:
            check_sheet(sheet, tasks, pairs=pairs)
        whole = Batch(tasks, output, wanted.for_pictures({**choices, "model": model}), oversize, Shelf())
        for painting in dict.fromkeys(style):
            whole.shelf.get(painting)  # many pictures would fail for want of it
        run = _run_over(wanted, whole) if wanted else BatchRun(whole)
        run.try_out()
        run.survey()
        add_missing(model, [choices["recipe"]], say)
        with contextlib.ExitStack() as ending:
            ending.enter_context(run.workplace())
            run.announce()
            left = ending.pop_all()
    with left:
        run.paint(report)
    if json:
        print(json_.dumps({"output": str(output), "pictures": [one.to_mapping() for one in run.outcomes]}))
    if sheet and not run.interrupted:
        draw_sheet(sheet, run.outcomes, pairs=pairs, replace=force or own[sheet])
    if not run.succeeded:
        raise typer.Exit(FAILED)


def _run_over(wanted: Wanted, whole: Batch) -> ClusterRun:
    """Return the run of a batch over a cluster; only there is needed what it imports."""
    from impasto.cli.cluster.batch import ClusterRun

    return ClusterRun(whole, wanted)
