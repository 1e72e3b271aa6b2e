"""The contact sheet of a batch.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.cli.drawing.contact import Label, contact_sheet
from impasto.cli.job.batch import Outcome
from impasto.cli.job.tasks import Task, check_formats
from impasto.cli.job.writing import write
from impasto.runtime.errors import OutputError, PictureError
from impasto.runtime.pictures.photographs import read_picture, read_text
from impasto.runtime.pictures.places import Place

#: The width of a cell, in pixels; the most cells of a sheet, and the most rows of a JPEG, which has 65,535 lines.
_CELL, _MOST, _MOST_IN_JPEG = 256, 1000, 200

#: The keyword of the text that marks a sheet.
_SHEET = "impasto batch"


def check_sheet(sheet: Path, tasks: Sequence[Task], *, pairs: bool) -> None:
    """Refuse a sheet that would be too large, or of no format that is written.

    Raises
    ------
    OutputError
        One line that names it.
    """
    check_formats([sheet])
    rows = len({_row(task, pairs=pairs) for task in tasks})
    if len(tasks) > _MOST:
        raise OutputError(f"sheet {sheet}: {len(tasks)} pictures do not go on one sheet, {_MOST} do; leave it out")
    if rows > _MOST_IN_JPEG and sheet.suffix.lower() != ".png":
        raise OutputError(f"sheet {sheet}: is too high for a JPEG, with {rows} rows; name a .png")


def is_sheet(path: Path) -> bool:
    """Whether a file is the sheet of a batch, which the next one may replace."""
    try:
        return path.is_file() and _SHEET in read_text(path)
    except (OSError, PictureError):
        return False


def draw_sheet(sheet: Path, outcomes: Sequence[Outcome], *, pairs: bool, replace: bool) -> None:
    """Draw the results, photographs down and paintings across; of pairs and blends, in one column."""
    tasks = [one.task for one in sorted(outcomes, key=lambda one: one.task.named.number)]
    rows: dict[tuple[Place, ...], Label] = {}
    columns: dict[tuple[Place, ...], Label] = {}
    cells: dict[Any, Image.Image | None] = {}
    for task in tasks:
        row, column = _row(task, pairs=pairs), () if pairs else task.named.styles
        for heads, parts in ((rows, row), (columns, column)):
            if parts not in heads:
                pictures = [small for part in parts if (small := _small(part))]
                heads[parts] = Label(tuple(Path(str(part)).stem for part in parts), tuple(pictures))
        cells[row, column] = _small(task.output)
    table = [[cells.get((row, column)) for column in columns] for row in rows]
    image = contact_sheet([*rows.values()], [*columns.values()], table, _CELL)
    write(image, sheet, text={_SHEET: f"{len(tasks)} pictures"}, replace=replace)


def _row(task: Task, *, pairs: bool) -> tuple[Place, ...]:
    """Return the pictures at the head of a task's row."""
    return (task.named.content, *(task.named.styles if pairs else ()))


def _small(place: Place) -> Image.Image | None:
    """Return a picture, no larger than a cell; None if it cannot be read."""
    try:
        picture = read_picture(place)
    except PictureError:
        return None
    picture.thumbnail((_CELL, _CELL))
    return picture
