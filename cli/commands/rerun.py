"""``impasto rerun``: a picture, made again from the record in it."""

from __future__ import annotations

import json as json_
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto import figures
from impasto.cli import options
from impasto.cli.command import MACHINE, MEANWHILE, PICTURE, REGIONS, examples
from impasto.cli.completion import names
from impasto.cli.options import FILE, FOLDER, NAME, WHOLE_NUMBER, argument, option
from impasto.cli.terminal.messages import say, warn
from impasto.defaults import DEVICES, MODEL_VARIABLE, TILES

if TYPE_CHECKING:
    from impasto.runtime.engine.placement import Placement
    from impasto.runtime.run.record import Origin, Record
    from impasto.runtime.run.result import Result

_AS_RECORDED = "as recorded"
_NEAR = "found by name and pixels beside PICTURE"


@examples(
    "impasto rerun result.png --output again.png",
    "impasto rerun result.png --output again.png --content holidays/photo.jpg --style paintings/monet.jpg",
)
def rerun(
    picture: Annotated[str, argument("PICTURE", help="A picture that impasto made.")],
    output: Annotated[str, option("--output", "-o", value=FILE, help="The result, .png or .jpg, or - for a PNG.")],
    content: Annotated[
        str | None, option(value=FILE, help="Where the photograph is now.", default=_NEAR, panel=PICTURE)
    ] = None,
    style: Annotated[
        list[str] | None,
        option(value=FILE, help="Where a painting is now; once for each, in order.", default=_NEAR, panel=PICTURE),
    ] = None,
    init: Annotated[
        str | None,
        option(value=FILE, help="Where the picture it started from is now.", default=_NEAR, panel=PICTURE),
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
        str | None, option(value=FILE, help="Where the photograph's mask is now.", default=_NEAR, panel=REGIONS)
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        option(value=FILE, help="Where a style's mask is now; once for each, in order.", default=_NEAR, panel=REGIONS),
    ] = None,
    protect: Annotated[
        str | None,
        option(value=FILE, help="Where the mask of what is protected is now.", default=_NEAR, panel=REGIONS),
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
            help=options.DEVICE_HELP,
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
    tile: Annotated[
        str | None,
        option(
            value=options.TILE,
            help=options.TILE_HELP,
            default=_AS_RECORDED,
            complete=names(*TILES),
            panel=MACHINE,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        option(
            value=options.MEMORY,
            help=options.MEMORY_HELP,
            default=_AS_RECORDED,
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
    from impasto.runtime.pictures.protection import PROTECT
    from impasto.runtime.run.record import Origin, Record

    original = Record.read(picture)
    given = {"content": [content] if content else [], "style": style or [], "init": [init] if init else []}
    given |= {CONTENT_MASK: [content_mask] if content_mask else [], STYLE_MASK: style_mask or []}
    given |= {PROTECT: [protect] if protect else []}
    search = Search(picture, given, inputs or [], trust_record)
    located = search.inputs(original)
    places = {role: [one.place for one in ones] for role, ones in located.items()}
    wishes = Wishes(output, record=record, record_places=record_places, force=force, json=json)
    wishes.check([picture, *(place for ones in places.values() for place in ones)], None)
    folder, placement = (
        search.model(original, model, default_model()),
        _placement(original, device, threads, tile, memory, by_region=CONTENT_MASK in located or PROTECT in located),
    )
    add_missing(folder, [original.plan.recipe.name], say)
    transfer = original.transfer(
        {role: [one.image for one in ones] for role, ones in located.items()},
        model=folder,
        placement=placement,
    )
    photograph = located["content"][0].photograph  # with the profile, EXIF and transparency that the result gets back
    transfer.material = replace(transfer.material, photograph=photograph)
    origin = Origin.of(transfer, places)
    _warn_of_differences(original.origin, origin)
    job = Job(transfer, wishes, origin)
    job.announce(oversize=oversize, choices=("tile", "memory"), idle=search.idle_options(original))
    result = job.carry_out()
    identical = not job.interrupted and _compare(original, result, picture)
    if json:
        print(json_.dumps({**job.describe(result), "identical": identical}))
    job.end()


def _placement(
    original: Record,
    device: str | None,
    threads: int | None,
    tile: str | None,
    memory: str | None,
    *,
    by_region: bool,
) -> Placement:
    """Return where and how to run: as recorded, except for the options given."""
    from impasto.runtime.engine.options import bytes_in, tile_in
    from impasto.runtime.engine.placement import check_placement, check_threads
    from impasto.runtime.machine import processors

    check_threads(threads)
    recorded = original.origin.placement
    if recorded.threads is not None:  # it may be of a larger machine
        recorded = replace(recorded, threads=min(recorded.threads, processors.installed()))
    if device is not None:
        recorded = _moved(recorded, device)
    placement = replace(
        recorded,
        threads=recorded.threads if threads is None else threads,
        tile=recorded.tile if tile is None else tile_in(tile),
        memory=recorded.memory if memory is None else bytes_in(memory),
    )
    check_placement(placement, by_region=by_region)
    return placement


def _moved(placement: Placement, device: str) -> Placement:
    """Return a placement on another device, in the same precision if the device has it."""
    from impasto.runtime.engine.providers import AUTO, check_name, definite, part_of, provider_of

    check_name(device)
    if device == AUTO:
        return replace(placement, device=AUTO, precision=AUTO, lowering=AUTO)
    has_precision = placement.precision in provider_of(device).precisions(part_of(definite(device)))
    moved = replace(
        placement,
        device=device,
        precision=placement.precision if has_precision else AUTO,
        lowering=placement.lowering if placement.device == device == "cpu" else AUTO,
    ).on(device)
    return replace(moved, lowering=moved.layout)


def _warn_of_differences(recorded: Origin, here: Origin) -> None:
    if differences := recorded.differences(here):
        warn(f"the bits may differ: {'; '.join(differences)}")


def _compare(original: Record, result: Result, picture: str) -> bool:
    """Say whether the result is the recorded one, and if not, both losses, if these are of the same precision.

    Later changes by `impasto mix` are not made again.
    """
    from impasto.runtime.model.graphs import WORDS
    from impasto.runtime.run.record import digest

    identical = digest(result.image) == original.outcome.sha256
    subject = f"{picture} before impasto mix" if original.mixed else picture
    same, other = f"the same picture as {subject}, bit for bit", f"another picture than {subject}: some bits differ"
    if result.loss_precision == original.loss_precision:
        losses = f"{figures.number(result.loss)} instead of {figures.number(original.outcome.loss)}"
        other = f"{other}; loss {losses}, both in {WORDS[result.loss_precision]}"
    say(same if identical else other)
    return identical
