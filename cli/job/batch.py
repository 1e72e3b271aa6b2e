"""A batch: many pictures, made one after the other in one process. One picture's failure stops no other.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.cli.job.job import Job
from impasto.cli.job.outputs import Wishes
from impasto.cli.job.tasks import Task
from impasto.cli.terminal.messages import warn
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.pictures import photographs, places
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.prepare import draft
from impasto.runtime.run.record import Record, fingerprint
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.storage.own import remove

#: The folder, among the results, for the checkpoints of pictures that are not finished.
UNFINISHED = ".unfinished"

#: Pictures of so many bytes in all are kept, so that they need not be read for each of their results.
_SHELF = 256_000_000


class Status(StrEnum):
    """What has come of a picture."""

    MADE = "made"
    THERE = "there already"
    STOPPED = "ended early"
    FAILED = "failed"


class Standing(StrEnum):
    """What is in the place of a picture: nothing, or a file that may be replaced; the picture itself; another file."""

    FREE = "free"
    THERE = "there"
    TAKEN = "taken"


@dataclass(frozen=True)
class Outcome:
    """What has come of a task.

    Attributes
    ----------
    error
        Why it failed, in a line.
    facts
        Its result, as plain data; nothing is known of one that was there already.
    """

    task: Task
    status: Status
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, result: Result) -> Outcome:
        """Describe a result, without keeping its picture."""
        facts = {
            "width": result.image.width,
            "height": result.image.height,
            "loss": result.loss,
            "loss_precision": result.loss_precision,
            "share": result.share,
            "evaluations": result.evaluations,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
            "device": result.device,
        }
        return cls(task, Status.MADE if result.record.fulfils else Status.STOPPED, facts=facts)

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain data."""
        named = self.task.named
        return {
            "content": places.name(named.content),
            "styles": [places.name(style) for style in named.styles],
            "output": places.name(self.task.output),
            "status": self.status.value,
            **({"error": self.error} if self.error else {}),
            **self.facts,
        }


class Shelf:
    """Photographs and paintings that were read: the last ones are kept, as far as they take little memory."""

    def __init__(self, most: int = _SHELF) -> None:
        self._most = most
        self._kept: OrderedDict[Place, Photograph] = OrderedDict()

    def get(self, place: Place) -> Photograph:
        """Return a picture.

        Raises
        ------
        PictureError
            When it cannot be read.
        """
        picture = self._kept.pop(place, None) or photographs.read_photograph(place)
        self._kept[place] = picture
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._most:
            self._kept.popitem(last=False)
        return picture


def _bytes(photograph: Photograph) -> int:
    return photograph.picture.width * photograph.picture.height * 3


@dataclass(frozen=True)
class Batch:
    """Tasks that have the options of their transfers in common.

    Attributes
    ----------
    tasks
        The tasks, in their order.
    choices
        The options, as `impasto.runtime.run.prepare.draft` takes them.
    oversize
        Whether pictures are tried that do not fit into memory.
    shelf
        Reads the pictures.
    """

    tasks: Sequence[Task]
    choices: Mapping[str, Any]
    oversize: bool
    shelf: Shelf

    def transfer(self, task: Task) -> Transfer:
        """Return the transfer of a task.

        Raises
        ------
        InputError
            When a picture cannot be read, or an option cannot be used with it.
        """
        return self._draft(task, *map(self.shelf.get, task.inputs))

    def sizes(self, task: Task) -> tuple[tuple[int, int], ...]:
        """Return the sizes of a task's pictures, without reading them; none if one has to be fetched for that.

        Raises
        ------
        PictureError
            When one cannot be read.
        """
        if any(places.is_url(place) for place in task.inputs):
            return ()
        return tuple(map(photographs.read_size, task.inputs))

    def sketch(self, task: Task, sizes: Sequence[tuple[int, int]]) -> Transfer:
        """Return the transfer of a task over blank pictures of its sizes: what it takes depends on no more.

        Raises
        ------
        InputError
            When an option cannot be used.
        """
        return self._draft(task, *(Photograph(Image.new("L", size)) for size in sizes))

    def _draft(self, task: Task, content: Photograph, *paintings: Photograph) -> Transfer:
        return draft(content, paintings, **{**self.choices, **task.masks})

    def standing(self, task: Task) -> Standing:
        """Return whether the result of a task is there, or another file that may not be replaced.

        Raises
        ------
        InputError
            When a picture cannot be read, or an option cannot be used with it.
        """
        if not task.output.exists():
            return Standing.FREE
        transfer = self.transfer(task)
        if _is_whole(task.output, fingerprint(transfer, transfer.origin)):
            return Standing.THERE
        wishes = self._with_checkpoint(task, transfer)
        return Standing.FREE if wishes.may_replace(task.output, _earlier(wishes)) else Standing.TAKEN

    def paint(self, task: Task, run: Callable[[Job], Result]) -> Result:
        """Make the picture of a task, or go on with it. `run` carries its job out.

        Raises
        ------
        ImpastoError
            When it cannot be made.
        """
        transfer = self.transfer(task)
        wishes = self._with_checkpoint(task, transfer)
        checkpoint = Path(wishes.checkpoint or "")
        _make(checkpoint.parent)
        try:
            earlier = _earlier(wishes)
            wishes.check(task.inputs, earlier)
            job = Job(transfer, wishes, earlier=earlier, engine=ENGINE)
            job.estimate(oversize=self.oversize, quiet=True)
            result = run(job)
            if result.record.fulfils:  # a time limit is not to be longer with the next command
                remove(checkpoint)
            job.ledger.check_names()
        finally:
            with contextlib.suppress(OSError):  # it has others
                checkpoint.parent.rmdir()
        return result

    def _with_checkpoint(self, task: Task, transfer: Transfer) -> Wishes:
        """Return the wishes of a task with a checkpoint, whose name says of what it is: no other one is replaced."""
        name = f"{task.output.stem[:40]}.{fingerprint(transfer, transfer.origin)[:12]}"
        return replace(task.wishes, checkpoint=task.output.parent / UNFINISHED / name, resume=True)


def _make(folder: Path) -> None:
    """Make a folder, and those that it lies in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output {folder}: no folder to write to ({error.strerror}); choose another place") from None


def _is_whole(path: Path, asked: str) -> bool:
    """Whether a file is the whole result of what was asked, and nothing was done with it since."""
    try:
        record = Record.read(path)
        photographs.read_picture(path)
    except InputError:
        return False
    return record.fulfils == asked and record.mixed is None


def _earlier(wishes: Wishes) -> Checkpoint | None:
    """Return the checkpoint to go on from; one that is damaged is left behind, with a warning."""
    if wishes.checkpoint is None or not wishes.checkpoint.exists():
        return None
    try:
        return Checkpoint.read(wishes.checkpoint)
    except InputError as error:
        warn(f"{error}; the picture is begun anew")
        return None


class Report:
    """A file with a line of JSON for each picture, written at once; a failure to write it is one warning."""

    def __init__(self, path: Path) -> None:
        self._path, self._failed = path, False
        self._file = path.open("w", encoding="utf-8")

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a file is the report of a batch."""
        try:
            with path.open(encoding="utf-8") as file:
                return {"content", "styles", "output", "status"} <= set(json.loads(file.readline(1 << 20)))
        except (OSError, ValueError, TypeError):
            return False

    def add(self, outcome: Outcome) -> None:
        """Write a line."""
        try:
            if not self._failed:
                self._file.write(json.dumps(outcome.to_mapping()) + "\n")
                self._file.flush()
        except OSError as error:
            self._failed = True
            warn(f"report {places.name(self._path)}: {error.strerror or error}; the batch goes on without it")
