"""``impasto sheet``: a table of pictures, contents by styles and recipes."""

from __future__ import annotations

import hashlib
import json as json_
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import impasto
from impasto import figures
from impasto.cli import completion, options
from impasto.cli.command import MEANWHILE, OPTIMISATION, PICTURE, STYLE, examples
from impasto.cli.given import warn_of_idle
from impasto.cli.job.writing import folder_for, write
from impasto.cli.options import FILE, FOLDER, NAME, SIZE, WHOLE_NUMBER, argument, option
from impasto.cli.terminal.interrupt import Phase, enter, within
from impasto.cli.terminal.messages import is_live, say
from impasto.cli.terminal.progress import live_bar
from impasto.defaults import DEFAULT_RECIPE, DEVICES, LOWERINGS, TILES
from impasto.figures import clock

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime import Step
    from impasto.runtime.pictures.places import Place
    from impasto.runtime.plan.plan import Plan
    from impasto.runtime.run.state import Callback
    from impasto.runtime.run.transfer import Transfer

_ALL = "all"

#: The least width of a cell on the sheet, in pixels.
_NARROWEST = 64


@examples(
    "impasto sheet photo.jpg --style monet.jpg --style hokusai.jpg --output sheet.png",
    "impasto sheet photos/*.jpg --style monet.jpg --recipe all --output recipes.png",
)
def sheet(
    contents: Annotated[list[str], argument("CONTENTS", help="Photographs: files, or URLs.")],
    output: Annotated[str, option("--output", "-o", value=FILE, help="The sheet to write, .png or .jpg.")],
    style: Annotated[list[str], option("--style", value=FILE, help="A painting; may be repeated.", panel=STYLE)],
    recipe: Annotated[
        list[str] | None,
        option(
            "--recipe",
            "-r",
            value=NAME,
            help="One of the model's recipes, or all; may be repeated.",
            default=DEFAULT_RECIPE,
            complete=completion.recipes_or_all,
            panel=STYLE,
        ),
    ] = None,
    size: Annotated[
        str,
        option(
            "--size", "-s", value=SIZE, help="Of each transfer: long side in pixels, or WIDTHxHEIGHT.", panel=PICTURE
        ),
    ] = "384",
    cell: Annotated[
        int,
        option(value=WHOLE_NUMBER, min=_NARROWEST, help="Width of a cell on the sheet, in pixels.", panel=PICTURE),
    ] = 320,
    seed: options.Seed = 0,
    evaluations: Annotated[
        int,
        option(
            "--evaluations",
            "-e",
            value=WHOLE_NUMBER,
            min=1,
            help="Of each transfer, whatever its recipe says.",
            panel=OPTIMISATION,
        ),
    ] = 100,
    cells: Annotated[
        Path | None,
        option(
            value=FOLDER,
            help="A folder for the single pictures; those it holds already are not made again.",
            default="beside the sheet, named after it",
            panel=MEANWHILE,
        ),
    ] = None,
    record_places: options.RecordPlaces = False,
    json: options.Json = False,
    force: options.Force = False,
    model: options.Model = None,
    device: options.Device = DEVICES[0],
    lowering: options.Lowering = LOWERINGS[0],
    threads: options.Threads = None,
    low_memory: options.LowMemory = False,
    tile: options.Tile = TILES[0],
    memory: options.Memory = None,
    oversize: options.Oversize = False,
) -> None:
    """Make a contact sheet: every one of CONTENTS in every style with every recipe, labelled.

    With one recipe, contents go down and styles across; with more, recipes and pairs of a content and a style, the
    more numerous of the two down. After Ctrl-C the same command goes on with the pictures that are missing.
    """
    from impasto.cli.job.estimating import announce, foresee
    from impasto.runtime.model.default import find_model
    from impasto.runtime.pictures import places
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.run import prepare
    from impasto.runtime.run.estimate import most_memory
    from impasto.runtime.run.idle import idle_options

    _check_output(output, [*contents, *style], force)
    folder = cells or Path(output).with_suffix(".cells")
    progress = _Progress()
    with folder_for(folder, "cells", "--cells"):
        photographs, paintings = _read(contents), _read(style)
        model_folder = find_model(model)
        names = _recipes(recipe or [DEFAULT_RECIPE], model_folder)

        def draft(photograph: _Picture, painting: _Picture, name: str) -> Transfer:
            return prepare.draft(
                Photograph(photograph.picture),
                [Photograph(painting.picture)],
                model=model_folder,
                recipe=name,
                size=size,
                evaluations=evaluations,
                seed=seed,
                device=device,
                lowering=lowering,
                threads=threads,
                low_memory=low_memory,
                tile=tile,
                memory=memory,
            )

        drafts = [
            (photograph, painting, name, draft(photograph, painting, name))
            for photograph in photographs
            for painting in paintings
            for name in names
        ]
        weights = _weights(names, model_folder)  # last, when everything else is checked
        table = [_Cell(*drafted, weights, folder, record_places) for drafted in drafts]
        idle = [idle_options(one.transfer) for one in table]
        warn_of_idle({name: reason for name, reason in idle[0].items() if all(name in others for others in idle)})
        missing = sorted(_missing(table, folder), key=lambda one: names.index(one.recipe))  # their graphs are kept
        if missing:
            announce(foresee(most_memory(one.transfer for one in missing), oversize=oversize))
    _paint(table, missing, folder, progress)
    image = _draw(photographs, paintings, names, table, cell)
    write(image, output, replace=force)
    if json:
        print(json_.dumps({"output": places.name(output), "cells": [one.describe() for one in table]}))


@dataclass(frozen=True)
class _Picture:
    """An input: its name on the sheet, its place, and the picture itself."""

    name: str
    place: Place
    picture: Image.Image


@dataclass(frozen=True)
class _Cell:
    """One cell of the sheet: a transfer, and the file that its result is kept in."""

    content: _Picture
    style: _Picture
    recipe: str
    transfer: Transfer
    weights: str
    folder: Path
    record_places: bool

    @cached_property
    def path(self) -> Path:
        """The file for the result: its name has a hash of everything that the result depends on."""
        from impasto.runtime.run.record import digest, plan_data

        pictures = [(picture.size, digest(picture)) for picture in (self.content.picture, self.style.picture)]
        inputs = [plan_data(self.transfer.plan), pictures, self.weights, impasto.__version__]
        key = hashlib.sha256(json_.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{_slug(self.content.name)}.{_slug(self.style.name)}.{self.recipe}.{key}.png"

    def paint(self, report: Callback) -> None:
        """Run the transfer, and keep its result with a record."""
        from impasto.cli.job.job import Job
        from impasto.cli.job.outputs import Wishes
        from impasto.runtime.engine.engine import ENGINE
        from impasto.runtime.run.record import Origin

        origin = Origin.of(self.transfer, {"content": [self.content.place], "style": [self.style.place]})
        wishes = Wishes(self.path, record_places=self.record_places, force=True, quiet=True)
        job = Job(self.transfer, wishes, origin, engine=ENGINE)
        self.transfer.appraises = False  # it would close the graphs that the next picture uses
        result = job.run(report)
        if not self.is_done:  # else another run has painted the same picture meanwhile
            job.ledger.keep(result)
            job.ledger.check_names()

    def picture(self) -> Image.Image | None:
        """Return the result that is kept, if it exists and is whole."""
        from impasto.runtime import PictureError
        from impasto.runtime.pictures import photographs

        try:
            picture = photographs.read_picture(self.path)
        except PictureError:
            return None
        return picture if picture.size == (self.transfer.plan.width, self.transfer.plan.height) else None

    @property
    def is_done(self) -> bool:
        """Whether the result is kept, with the optimisers that are planned, or those for which there is memory."""
        from impasto.runtime import InputError
        from impasto.runtime.engine.footprints import budget_of
        from impasto.runtime.run.record import Record

        if self.picture() is None:
            return False
        try:
            made = Record.read(self.path).plan
        except InputError:
            return False
        if not _is_changed(made):
            return True
        return _is_changed(self.transfer.need.fitted(budget_of(self.transfer.placement)))

    def describe(self) -> dict[str, str]:
        """Return the cell as ``--json`` prints it."""
        from impasto.runtime.pictures import places

        path = places.name(self.path)
        return {"content": self.content.name, "style": self.style.name, "recipe": self.recipe, "path": path}


def _is_changed(plan: Plan) -> bool:
    """Whether a stage of a plan has another optimiser, or fewer pairs, for want of memory."""
    return any(stage.optimizer or stage.pairs for stage in plan.stages)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "picture"


# --- preparation ----------------------------------------------------------------------------------------------


def _check_output(output: str, inputs: list[Place], force: bool) -> None:
    from impasto.runtime import InputError
    from impasto.runtime.pictures import encoding, places

    if not places.is_file(output):
        raise InputError(f"output {places.name(output)}: expected a file name for the sheet, such as sheet.png")
    encoding.check_output(output, force=force, inputs=inputs)


def _read(given: list[str]) -> list[_Picture]:
    from impasto.runtime.pictures import photographs, places

    return [_Picture(Path(places.name(place)).stem, place, photographs.read_picture(place)) for place in given]


def _recipes(chosen: list[str], model: Path) -> list[str]:
    """Return the names of the recipes, each once."""
    from impasto.runtime.model.folder import ModelFolder

    return list(dict.fromkeys(ModelFolder.open(model).recipes() if _ALL in chosen else chosen))


def _weights(recipes: list[str], model: Path) -> str:
    """Return the hash of a model's weights, which all its recipes share. Missing recipes are added, if possible."""
    from impasto.export.provision import add_missing
    from impasto.runtime.engine.opening import read_metadata
    from impasto.runtime.model.folder import ModelFolder

    add_missing(model, recipes, say)
    folder = ModelFolder.open(model)
    metadata = [read_metadata(folder, name) for name in recipes]
    return metadata[0].weights_sha256


# --- the work -------------------------------------------------------------------------------------------------


def _missing(table: list[_Cell], folder: Path) -> list[_Cell]:
    """Return a cell for each picture that is missing, and say how many exist already."""
    missing = list({one.path: one for one in table if not one.is_done}.values())
    if len(missing) < len(table):
        say(f"{len(table) - len(missing)} of {len(table)} pictures are in {folder} already")
    return missing


def _paint(table: list[_Cell], missing: list[_Cell], folder: Path, progress: _Progress) -> None:
    """Paint the pictures that are missing. After a signal those that are done are kept, each of them whole."""

    def phase(done: int) -> Phase:
        open_ = {one.path for one in missing[done:]}
        kept = f"{sum(one.path not in open_ for one in table)} of {len(table)} pictures are kept in {folder}"
        return Phase(f"interrupted; {kept}, and the same command makes the others", before_leaving=progress.stop)

    with within(phase(0)), progress:
        for number, one in enumerate(missing, 1):
            progress.begin(one, number, len(missing))
            one.paint(progress.show)
            enter(phase(number))
            progress.end()


class _Progress:
    """Shows which picture is being painted: live on a terminal, a plain line for each in a pipe."""

    def __init__(self) -> None:
        self._live: Any = None
        self._task: Any = None
        self._title, self._began = "", 0.0
        self._best: Step | None = None

    def __enter__(self) -> _Progress:
        if is_live():
            self._live = _bar()
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Reset the terminal."""
        if self._live:
            self._live.stop()

    def begin(self, one: _Cell, number: int, count: int) -> None:
        """Say which picture comes next."""
        self._title = f"{number}/{count} {one.content.name} x {one.style.name}, {one.recipe}"
        self._began, self._best = time.perf_counter(), None
        if self._live:
            evaluations = one.transfer.plan.evaluations
            if self._task is None:
                self._task = self._live.add_task("", total=count * evaluations)
            self._live.update(self._task, description=self._title, completed=(number - 1) * evaluations)

    def show(self, step: Step) -> None:
        """Show an evaluation."""
        if step.improved:
            self._best = step
        if self._live:
            self._live.advance(self._task)

    def end(self) -> None:
        """Say that a picture is done."""
        if not self._live and self._best:
            took = clock(time.perf_counter() - self._began)
            say(
                f"{self._title}: {figures.loss(self._best.loss, self._best.share, self._best.precision_text)} in {took}"
            )


def _bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)
    return live_bar(text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


# --- the sheet ------------------------------------------------------------------------------------------------


def _draw(
    photographs: list[_Picture], paintings: list[_Picture], recipes: list[str], table: list[_Cell], cell: int
) -> Image.Image:
    from impasto.cli.drawing.contact import Label, contact_sheet

    pictures = [one.picture() for one in table]
    pairs = [Label((f"{p.name} x {q.name}",), (p.picture, q.picture)) for p in photographs for q in paintings]
    names = [Label((name,)) for name in recipes]
    if len(recipes) == 1:
        rows = [Label((photograph.name,), (photograph.picture,)) for photograph in photographs]
        columns = [Label((painting.name,), (painting.picture,)) for painting in paintings]
    else:
        rows, columns = pairs, names
    lines = [pictures[k : k + len(columns)] for k in range(0, len(pictures), len(columns))]
    if len(recipes) > max(1, len(pairs)):
        rows, columns, lines = columns, rows, [list(column) for column in zip(*lines, strict=True)]
    return contact_sheet(rows, columns, lines, cell)
