"""``impasto rerun``."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import options
from impasto.cli.command import MACHINE, MEANWHILE, PICTURE, REGIONS
from impasto.cli.options import option
from impasto.cli.running import describe, transfer_with_progress

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime import Result, Step
    from impasto.runtime.photographs import Photograph
    from impasto.runtime.places import Place
    from impasto.runtime.record import Input, Origin, Record
    from impasto.runtime.session import Placement

_AS_RECORDED = "as recorded"


def rerun(
    picture: Annotated[str, typer.Argument(help="A picture that impasto made.", show_default=False)],
    output: Annotated[
        str, option("--output", "-o", help="The result, .png or .jpg, or - for a PNG.", show_default=False)
    ],
    content: Annotated[
        str | None, option(help="Where the photograph is now.", default=_AS_RECORDED, panel=PICTURE)
    ] = None,
    style: Annotated[
        list[str] | None,
        option(help="Where a painting is now; once for each, in order.", default=_AS_RECORDED, panel=PICTURE),
    ] = None,
    init: Annotated[
        str | None, option(help="Where the picture it started from is now.", default=_AS_RECORDED, panel=PICTURE)
    ] = None,
    content_mask: Annotated[
        str | None, option(help="Where the photograph's mask is now.", default=_AS_RECORDED, panel=REGIONS)
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        option(help="Where a style's mask is now; once for each, in order.", default=_AS_RECORDED, panel=REGIONS),
    ] = None,
    json: options.Json = False,
    force: options.Force = False,
    record: Annotated[
        bool, option("--record/--no-record", help="Write into the result how it was made.", panel=MEANWHILE)
    ] = True,
    model: Annotated[
        Path | None, option("--model", "-m", help="The model folder.", default=_AS_RECORDED, panel=MACHINE)
    ] = None,
    device: Annotated[
        str | None, option(help="auto, cpu, cuda or cuda:N.", default=_AS_RECORDED, panel=MACHINE)
    ] = None,
    threads: Annotated[
        int | None,
        option(help="Threads of the CPU.", default=f"{_AS_RECORDED}, or all there are, if fewer", panel=MACHINE),
    ] = None,
    oversize: options.Oversize = False,
) -> None:
    """Make PICTURE again, from what it says of itself: with the same bits on the same machine."""
    from impasto.cli.estimating import announce, teach
    from impasto.cli.keeping import Keeper, Wishes
    from impasto.runtime.masks import CONTENT_MASK, STYLE_MASK
    from impasto.runtime.record import Origin, Record

    made = Record.read(picture)
    given = {"content": [content] if content else [], "style": style or [], "init": [init] if init else []}
    given |= {CONTENT_MASK: [content_mask] if content_mask else [], STYLE_MASK: style_mask or []}
    where = _where(made, given, picture)
    wishes = Wishes(output, record=record, force=force, json=json)
    wishes.check([picture, *(place for found in where.values() for place in found)], None)
    photographs = _read(made, where, picture)
    transfer = made.transfer(
        {role: [photograph.picture for photograph in found] for role, found in photographs.items()},
        model=model or made.origin.model.place,
        placement=_placement(made, device, threads),
    )
    origin = Origin.of(transfer, where)
    _warn(made.origin, origin)
    keeper = Keeper(wishes, transfer, origin, like=photographs["content"][0])
    announce(transfer, oversize=oversize, options=())

    def work(report: Callable[[Step], None]) -> Result:
        transfer.callback = keeper.watch(report)
        return transfer.run()

    result, interrupted = transfer_with_progress(work, keeper.keep)
    teach(transfer, result)
    identical = not interrupted and _compare(made, result.image, picture)
    if json:
        found: dict[str, Any] = {**keeper.describe(), "interrupted": interrupted, "identical": identical}
        print(json_.dumps(found | describe(result)))
    keeper.check_names()
    if interrupted:
        raise typer.Exit(1)


def _where(made: Record, given: Mapping[str, Sequence[Place]], picture: str) -> dict[str, list[Place]]:
    """Return where the inputs are to be read from, by role."""
    from impasto.runtime import InputError

    where: dict[str, list[Place]] = {}
    for role in dict.fromkeys([*(picture.role for picture in made.origin.inputs), *given]):
        recorded, named = made.inputs(role), given.get(role, ())
        if named and len(named) != len(recorded):
            raise InputError(f"--{role}: given {len(named)} times; {picture} was made with {len(recorded)}")
        where[role] = [*named] if named else [_place(wanted, picture) for wanted in recorded]
    return where


def _place(wanted: Input, picture: str) -> str:
    """Return where an input was, if that can be read again."""
    from impasto.runtime import InputError, places

    place = wanted.place
    if place is None or place == places.STREAM or (places.is_url(place) and place.endswith("?...")):
        origin = {None: "came from a program", places.STREAM: "came from standard input"}
        reason = origin.get(place, "came from an address with a query, which is not kept")
        raise InputError(f"{picture}: its {wanted.role} {reason}; say where it is now with --{wanted.role}")
    return place


def _read(made: Record, where: Mapping[str, Sequence[Place]], picture: str) -> dict[str, list[Photograph]]:
    """Read the inputs, and refuse those that are other pictures than the record says."""
    from impasto.runtime import InputError, masks, places
    from impasto.runtime.photographs import Photograph, read_photograph

    read: dict[str, list[Photograph]] = {}
    for role, found in where.items():
        for wanted, place in zip(made.inputs(role), found, strict=True):
            is_color = masks.is_color(place)
            photograph = Photograph(masks.read_mask(place)) if is_color else read_photograph(place)
            if not wanted.is_same(photograph.picture):
                raise InputError(
                    f"{role} {places.name(place)}: is not the picture that {picture} was made from (its pixels have "
                    f"another SHA-256); say where that is now with --{role}"
                )
            read.setdefault(role, []).append(photograph)
    return read


def _placement(made: Record, device: str | None, threads: int | None) -> Placement:
    """Return where and how to run: as recorded, where nothing else is said."""
    from impasto.runtime import processors
    from impasto.runtime.session import check_threads

    check_threads(threads)
    recorded = made.origin.placement
    if recorded.threads is not None:  # it may be of a larger machine
        recorded = replace(recorded, threads=min(recorded.threads, processors.installed()))
    if device is not None:
        recorded = replace(recorded, device=device, lowering="auto" if device != "cpu" else recorded.lowering)
    return replace(recorded, threads=recorded.threads if threads is None else threads)


def _warn(recorded: Origin, here: Origin) -> None:
    if differences := recorded.differences(here):
        print(f"warning: the bits may differ: {'; '.join(differences)}", file=sys.stderr)


def _compare(made: Record, image: Image.Image, picture: str) -> bool:
    """Say whether the result is what it was; what `impasto mix` has done to that since is not done again."""
    from impasto.runtime.record import digest

    identical = digest(image) == made.outcome.sha256
    what = f"{picture} before impasto mix" if made.mixed else picture
    said = f"the same picture as {what}, bit for bit" if identical else f"another picture than {what}: some bits differ"
    print(said, file=sys.stderr)
    return identical
