"""``impasto batch``: many photographs, each repainted in the manner of paintings."""

from __future__ import annotations

import contextlib
import json as json_
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto import figures
from impasto.cli import options
from impasto.cli.command import MEANWHILE, REGIONS, examples
from impasto.cli.given import warn_of_idle
from impasto.cli.options import FILE, FOLDER, WHOLE_NUMBER, argument, option
from impasto.cli.terminal.errors import FAILED, explain
from impasto.cli.terminal.interrupt import Phase, enter, within
from impasto.cli.terminal.messages import say
from impasto.cli.terminal.progress import BatchProgress
from impasto.cli.transfer_options import takes_transfer_options
from impasto.figures import clock, roughly

if TYPE_CHECKING:
    from PIL import Image

    from impasto.cli.job.batch import Batch, Outcome, Report
    from impasto.cli.job.job import Job
    from impasto.cli.job.tasks import Task
    from impasto.runtime import Result
    from impasto.runtime.pictures.places import Place
    from impasto.runtime.run.transfer import Transfer

_TEMPLATE = "TEMPLATE"

#: The keyword of the text that marks a contact sheet.
_SHEET = "impasto batch"

#: The width of a cell of the contact sheet, in pixels, and the most cells that it may have.
_CELL, _MOST_ON_SHEET = 256, 1000


@takes_transfer_options
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
) -> None:
    """Repaint many PHOTOGRAPHS, each in the manner of every painting.

    A picture that fails stops no other; then the exit code is 1. Pictures that are there already, made from the same
    inputs by the same plan, are not made again, and one that was interrupted is resumed: after Ctrl-C, or a failure,
    the same command goes on.
    """
    from impasto.cli.job.batch import Batch, Report, Shelf
    from impasto.cli.job.listing import folders_of
    from impasto.cli.job.listing import photographs as listed
    from impasto.cli.job.outputs import Wishes
    from impasto.cli.job.tasks import Naming, check, combined
    from impasto.cli.job.writing import folder_for
    from impasto.export.provision import add_missing
    from impasto.runtime.model.default import find_model

    shared = Wishes(
        preview=preview, save_every=save_every, record=record, record_places=record_places, force=force, quiet=True
    )
    naming = Naming(name, triptych, log, content_mask, choices["style_masks"])
    blended = blended or choices["style_blend"] is not None
    pictures = combined(listed(photographs, recursive=recursive), style, pairs=pairs, blended=blended)
    tasks = naming.tasks(output, pictures, style, choices["recipe"], shared)
    _check_folder(output, folders_of(photographs), recursive=recursive)
    own = {path: is_one(path) for path, is_one in ((sheet, _is_sheet), (report, Report.is_one)) if path}
    check(tasks, {path: force or is_own for path, is_own in own.items()})
    if sheet:
        _check_sheet(sheet, len(tasks))
    model = find_model(choices["model"])
    with folder_for(output, "output", "--output"):
        made = Batch(tasks, {**choices, "model": model}, oversize, Shelf())
        for painting in dict.fromkeys(style):
            made.shelf.get(painting)  # many pictures would fail for want of it
        run = _Run(made)
        run.survey(force=force)
        run.announce()
        add_missing(model, [choices["recipe"]], say)
    run.paint(Report(report) if report else None)
    if sheet and not run.interrupted:
        _draw(sheet, run.outcomes, pairs=pairs, replace=force or own[sheet])
    if json:
        print(json_.dumps({"output": str(output), "pictures": [one.to_mapping() for one in run.outcomes]}))
    if not run.succeeded:
        raise typer.Exit(FAILED)


def _check_folder(output: Path, folders: Sequence[Path], *, recursive: bool) -> None:
    """Refuse results among the photographs: the next run would take them for such."""
    from impasto.runtime import OutputError

    for folder in folders:
        inside = output.resolve() == folder.resolve() or (recursive and folder.resolve() in output.resolve().parents)
        if inside:
            raise OutputError(f"output {output}: lies among the photographs in {folder}; choose another folder")


def _check_sheet(sheet: Path, pictures: int) -> None:
    """Refuse a contact sheet that would be too large, or of no format that is written."""
    from impasto.runtime import OutputError
    from impasto.runtime.pictures.encoding import FORMATS

    if sheet.suffix.lower() not in FORMATS:
        raise OutputError(f"sheet {sheet}: unknown format; expected a name ending in {', '.join(FORMATS)}")
    if pictures > _MOST_ON_SHEET:
        raise OutputError(
            f"sheet {sheet}: {pictures} pictures do not go on one sheet, {_MOST_ON_SHEET} do; leave it out"
        )


# --- the work -------------------------------------------------------------------------------------------------


class _Run:
    """The run of a batch.

    Attributes
    ----------
    outcomes
        What has come of each picture, in the order in which that was known.
    interrupted
        Whether a signal has ended it early.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._left = list(batch.tasks)
        self._work = [1.0] * len(batch.tasks)
        self._expected: float | None = None
        self.outcomes: list[Outcome] = []
        self.interrupted = False

    @property
    def succeeded(self) -> bool:
        """Whether every picture is there."""
        from impasto.cli.job.batch import Status

        there = sum(one.status in (Status.MADE, Status.THERE) for one in self.outcomes)
        return there == len(self._batch.tasks)

    def survey(self, *, force: bool) -> None:
        """Look for results that are there already, and refuse to begin where other files are in their places.

        Raises
        ------
        OutputError
            When there are such files.
        """
        from impasto.cli.job.batch import Outcome, Standing, Status
        from impasto.runtime import InputError, OutputError

        taken = []
        for task in self._batch.tasks:
            with contextlib.suppress(InputError):  # it is told when it is the picture's turn
                standing = self._batch.standing(task)
                if standing is Standing.THERE:
                    self.outcomes.append(Outcome(task, Status.THERE))
                    self._left.remove(task)
                elif standing is Standing.TAKEN and not force:
                    taken.append(task.output)
        if taken:
            more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
            raise OutputError(
                f"output {taken[0]}{more}: exists already, and was made otherwise; choose another folder, or replace "
                "what is there with --force"
            )
        if self.outcomes:
            say(f"{len(self.outcomes)} of {len(self._batch.tasks)} pictures are there already")

    def announce(self) -> None:
        """Estimate what the pictures take, the largest and all of them; refuse what does not fit, or cannot be done.

        Raises
        ------
        InputError
            When an option cannot be used, or the largest picture is too large for the memory.
        """
        from impasto.cli.job.estimating import announce
        from impasto.runtime.run.estimate import most_memory
        from impasto.runtime.run.idle import idle_options

        sketches: dict[tuple[Any, ...], Transfer] = {}
        keys = [self._sketched(task, sketches) for task in self._left]
        if not sketches:
            return
        largest = most_memory(sketches.values())
        estimated = announce(largest, oversize=self._batch.oversize)
        works = {key: _work(transfer) for key, transfer in sketches.items()}
        usual = sum(works.values()) / len(works)
        self._work = [0.0 if key is None else works.get(key, usual) for key in keys]
        warn_of_idle(idle_options(largest, self._batch.choices["stages"]))
        if estimated.seconds is not None and len(self._left) > 1:
            self._expected = estimated.seconds * sum(self._work) / _work(largest)
            say(f"{len(self._left)} pictures: about {roughly(self._expected)} in all")

    def _sketched(self, task: Task, sketches: dict[tuple[Any, ...], Transfer]) -> tuple[Any, ...] | None:
        """Return the sizes of a task's pictures, and keep a sketch for them; None for a picture that cannot be read."""
        from impasto.runtime import PictureError

        try:
            key = self._batch.sizes(task)
            if key and key not in sketches:
                sketches[key] = self._batch.sketch(task, key)
        except PictureError:  # as above
            return None
        return key

    def paint(self, report: Report | None) -> None:
        """Make the pictures that are left, and say what has come of each."""
        from impasto.cli.job.batch import Status

        tell = report.add if report else _say_nothing
        for outcome in self.outcomes:
            tell(outcome)
        began, count = time.perf_counter(), len(self._batch.tasks)
        with BatchProgress(self._work, self._expected) as progress, within(self._phase(progress)):
            for number, task in enumerate(self._left, count - len(self._left) + 1):
                progress.begin(f"{number}/{count} {task.named.title}")
                outcome = self._outcome(task, progress)
                enter(self._phase(progress))
                progress.end(outcome.facts.get("seconds"))
                self.outcomes.append(outcome)
                say(f"{number}/{count} {_told(outcome)}{'' if self.interrupted else _left(progress)}")
                tell(outcome)
                if self.interrupted:
                    break
        counts = Counter(one.status for one in self.outcomes)
        told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        more = "; the same command goes on" if counts[Status.MADE] + counts[Status.THERE] < count else ""
        pictures = f"{count} picture{'' if count == 1 else 's'}"
        say(f"{pictures}: {told}, in {clock(time.perf_counter() - began)}{more}")

    def _outcome(self, task: Task, progress: BatchProgress) -> Outcome:
        """Make one picture; whatever fails, the batch goes on."""
        from impasto.cli.job.batch import Outcome, Standing, Status

        def carry_out(job: Job) -> Result:
            result = job.carry_out(progress.picture, self._farewell)
            self.interrupted = job.interrupted
            return result

        try:
            if self._batch.standing(task) is Standing.THERE:  # another run has made it meanwhile
                return Outcome(task, Status.THERE)
            return Outcome.of(task, self._batch.paint(task, carry_out))
        except Exception as error:
            return Outcome(task, Status.FAILED, explain(error)[0])

    @property
    def _farewell(self) -> str:
        there = sum(one.task.output.exists() for one in self.outcomes)
        kept = f"{there} of {len(self._batch.tasks)} pictures are kept"
        return f"interrupted; {kept}, and the same command makes the others"

    def _phase(self, progress: BatchProgress) -> Phase:
        return Phase(self._farewell, before_leaving=progress.leave)


def _say_nothing(_: Outcome) -> None:
    """Stand in for a report that is not wished for."""


def _work(transfer: Transfer) -> float:
    """Return the work of a transfer: its evaluations, each as many times as the picture has pixels."""
    return float(sum(stage.width * stage.height * stage.evaluations for stage in transfer.plan.stages))


def _told(outcome: Outcome) -> str:
    """Return what has come of a picture, in a line."""
    from impasto.cli.job.batch import Status
    from impasto.runtime.pictures import places

    facts = outcome.facts
    if outcome.status is Status.FAILED:
        return f"{outcome.task.named.title}: failed: {outcome.error}"
    path = places.name(outcome.task.output)
    if not facts:
        return f"{path}: {outcome.status}"
    ended = "" if outcome.status is Status.MADE else f"; {facts['reason']}"
    return f"{path}: {figures.loss(facts['loss'], facts['share'])} in {clock(facts['seconds'])}{ended}"


def _left(progress: BatchProgress) -> str:
    return f"; {roughly(progress.left)} left" if progress.left else ""


# --- the sheet ------------------------------------------------------------------------------------------------


def _draw(sheet: Path, outcomes: Sequence[Outcome], *, pairs: bool, replace: bool) -> None:
    """Draw the results, photographs down and paintings across; of pairs and blends, in one column."""
    from impasto.cli.drawing.contact import Label, contact_sheet
    from impasto.cli.job.writing import write

    in_order = sorted(outcomes, key=lambda one: one.task.named.number)
    rows: dict[tuple[Any, ...], Label] = {}
    columns: dict[tuple[Any, ...], Label] = {}
    cells: dict[tuple[Any, ...], Image.Image | None] = {}
    for named, output in ((one.task.named, one.task.output) for one in in_order):
        row, column = (named.content, *(named.styles if pairs else ())), () if pairs else named.styles
        for key, heads, parts in ((row, rows, row), (column, columns, column)):
            if key not in heads:
                pictures = [small for part in parts if (small := _small(part))]
                heads[key] = Label(tuple(Path(str(part)).stem for part in parts[:1]), tuple(pictures))
        cells[row, column] = _small(output)
    table = [[cells.get((row, column)) for column in columns] for row in rows]
    image = contact_sheet([*rows.values()], [*columns.values()], table, _CELL)
    write(image, sheet, text={_SHEET: f"{len(outcomes)} pictures"}, replace=replace)


def _is_sheet(path: Path) -> bool:
    """Whether a file is the contact sheet of a batch, which the next run may replace."""
    from impasto.runtime import PictureError
    from impasto.runtime.pictures.photographs import read_text

    try:
        return path.is_file() and _SHEET in read_text(path)
    except PictureError:
        return False


def _small(place: Place) -> Image.Image | None:
    """Return a picture, no larger than a cell; None if it cannot be read."""
    from impasto.runtime import PictureError
    from impasto.runtime.pictures.photographs import read_picture

    try:
        picture = read_picture(place)
    except PictureError:
        return None
    picture.thumbnail((_CELL, _CELL))
    return picture
