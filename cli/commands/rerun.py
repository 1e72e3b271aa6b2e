"""``impasto rerun``."""

from __future__ import annotations

import json as json_
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto.cli import options
from impasto.cli.command import MACHINE, MEANWHILE, PICTURE, REGIONS, examples
from impasto.cli.completion import names
from impasto.cli.options import FILE, FOLDER, NAME, WHOLE_NUMBER, argument, option
from impasto.cli.terminal.messages import say, warn
from impasto.defaults import DEVICES, MODEL_VARIABLE

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime.engine.placement import Placement
    from impasto.runtime.run.record import Origin, Record

_AS_RECORDED = "as recorded"
_FOUND = "found by name and pixels beside PICTURE"


@examples(
    "impasto rerun result.png --output again.png",
    "impasto rerun result.png --output again.png --content holidays/photo.jpg --style paintings/monet.jpg",
)
def rerun(
    picture: Annotated[str, argument("PICTURE", help="A picture that impasto made.")],
    output: Annotated[str, option("--output", "-o", value=FILE, help="The result, .png or .jpg, or - for a PNG.")],
    content: Annotated[
        str | None, option(value=FILE, help="Where the photograph is now.", default=_FOUND, panel=PICTURE)
    ] = None,
    style: Annotated[
        list[str] | None,
        option(value=FILE, help="Where a painting is now; once for each, in order.", default=_FOUND, panel=PICTURE),
    ] = None,
    init: Annotated[
        str | None,
        option(value=FILE, help="Where the picture it started from is now.", default=_FOUND, panel=PICTURE),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        option(
            "--inputs",
            value=FOLDER,
            help="Another folder to find these in, by name and pixels; may be repeated.",
            panel=PICTURE,
        ),
    ] = None,
    trust_record: Annotated[
        bool,
        option(
            "--trust-record",
            help="Open the files, folders and addresses that PICTURE names, if it names any.",
            panel=PICTURE,
        ),
    ] = False,
    content_mask: Annotated[
        str | None, option(value=FILE, help="Where the photograph's mask is now.", default=_FOUND, panel=REGIONS)
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        option(value=FILE, help="Where a style's mask is now; once for each, in order.", default=_FOUND, panel=REGIONS),
    ] = None,
    json: options.Json = False,
    force: options.Force = False,
    record: Annotated[
        bool, option("--record/--no-record", help="Write into the result how it was made.", panel=MEANWHILE)
    ] = True,
    record_places: options.RecordPlaces = False,
    model: Annotated[
        Path | None,
        option(
            "--model",
            "-m",
            value=FOLDER,
            envvar=MODEL_VARIABLE,
            help="The model folder.",
            default=f"{options.DEFAULT_MODEL}, if it has the recorded weights",
            panel=MACHINE,
        ),
    ] = None,
    device: Annotated[
        str | None,
        option(
            value=NAME,
            help="auto, cpu, cuda or cuda:N.",
            default=_AS_RECORDED,
            complete=names(*DEVICES),
            panel=MACHINE,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            help="Threads of the CPU.",
            default=f"{_AS_RECORDED}, or all there are, if fewer",
            panel=MACHINE,
        ),
    ] = None,
    oversize: options.Oversize = False,
) -> None:
    """Make PICTURE again, from what it says of itself: with the same bits on the same machine.

    PICTURE may be a stranger's: nothing is opened or fetched because it says so, unless with --trust-record.
    """
    from impasto.cli.job.inputs import Search
    from impasto.cli.job.job import Job
    from impasto.cli.job.outputs import Wishes
    from impasto.export.provision import add_missing
    from impasto.runtime.model.default import default_model
    from impasto.runtime.pictures.masks import CONTENT_MASK, STYLE_MASK
    from impasto.runtime.run.record import Origin, Record

    made = Record.read(picture)
    given = {"content": [content] if content else [], "style": style or [], "init": [init] if init else []}
    given |= {CONTENT_MASK: [content_mask] if content_mask else [], STYLE_MASK: style_mask or []}
    search = Search(picture, given, inputs or [], trust_record)
    found = search.inputs(made)
    where = {role: [one.place for one in ones] for role, ones in found.items()}
    wishes = Wishes(output, record=record, record_places=record_places, force=force, json=json)
    wishes.check([picture, *(place for given_places in where.values() for place in given_places)], None)
    folder, placement = search.model(made, model, default_model()), _placement(made, device, threads)
    add_missing(folder, [made.plan.recipe.name], say)
    transfer = made.transfer(
        {role: [one.image for one in ones] for role, ones in found.items()},
        model=folder,
        placement=placement,
    )
    origin = Origin.of(transfer, where)
    _warn(made.origin, origin)
    job = Job(transfer, wishes, origin)
    job.announce(oversize=oversize, choices=(), idle=search.idle_options(made))
    result = job.carry_out()
    identical = not job.interrupted and _compare(made, result.image, picture)
    if json:
        print(json_.dumps({**job.describe(result), "identical": identical}))
    job.end()


def _placement(made: Record, device: str | None, threads: int | None) -> Placement:
    """Return where and how to run: as recorded, where nothing else is said."""
    from impasto.runtime.engine.placement import check_threads
    from impasto.runtime.machine import processors

    check_threads(threads)
    recorded = made.origin.placement
    if recorded.threads is not None:  # it may be of a larger machine
        recorded = replace(recorded, threads=min(recorded.threads, processors.installed()))
    if device is not None:
        recorded = replace(recorded, device=device, lowering="auto" if device != "cpu" else recorded.lowering)
    return replace(recorded, threads=recorded.threads if threads is None else threads)


def _warn(recorded: Origin, here: Origin) -> None:
    if differences := recorded.differences(here):
        warn(f"the bits may differ: {'; '.join(differences)}")


def _compare(made: Record, image: Image.Image, picture: str) -> bool:
    """Say whether the result is what it was; what `impasto mix` has done to that since is not done again."""
    from impasto.runtime.run.record import digest

    identical = digest(image) == made.outcome.sha256
    what = f"{picture} before impasto mix" if made.mixed else picture
    said = f"the same picture as {what}, bit for bit" if identical else f"another picture than {what}: some bits differ"
    say(said)
    return identical
