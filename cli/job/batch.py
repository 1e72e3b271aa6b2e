"""The pictures of a batch: how each is prepared, looked for, made, and told of.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.cli.job.job import Job, Runner
from impasto.cli.job.outputs import Wishes
from impasto.cli.job.tasks import NO_MASKS, Task
from impasto.cli.job.writing import write
from impasto.cli.terminal.messages import warn
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.pictures import photographs, places, planes
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.plan_file import PlanFile
from impasto.runtime.run.checkpoint import Checkpoint
from impasto.runtime.run.prepare import draft
from impasto.runtime.run.record import Record, digest, fingerprint
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.storage.names import is_stream
from impasto.runtime.storage.own import remove
from impasto.runtime.storage.streams import lock, open_stream

#: The folder, among the results, for the checkpoints of pictures that are not finished.
UNFINISHED = ".unfinished"

#: Pictures of so many bytes in all are kept, so that they need not be read for each of their results.
_SHELF = 256_000_000


class Status(StrEnum):
    """What has come of a picture."""

    MADE = "made"
    THERE = "there already"
    STOPPED = "ended early"
    ELSEWHERE = "left to another run"
    FAILED = "failed"


class Busy(Exception):
    """Another run is making the picture."""


@dataclass(frozen=True)
class Outcome:
    """What has come of a task.

    Attributes
    ----------
    error
        Why it failed, in a line.
    facts
        Its result, as plain data.
    """

    task: Task
    status: Status
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, status: Status, record: Record) -> Outcome:
        """Describe a picture by its record."""
        made, plan = record.outcome, record.plan
        facts = {
            "width": plan.width,
            "height": plan.height,
            "loss": made.loss,
            "loss_precision": record.loss_precision,
            "share": made.share,
            "evaluations": made.evaluations,
            "reason": made.reason,
            "seconds": made.seconds,
            "device": record.origin.placement.device,
        }
        return cls(task, status, facts=facts)

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
        self._lock = threading.Lock()

    def get(self, place: Place) -> Photograph:
        """Return a picture.

        Raises
        ------
        PictureError
            When it cannot be read.
        """
        with self._lock:
            picture = self._kept.pop(place, None) or photographs.read_photograph(place)
            self._kept[place] = picture
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._most:
                self._kept.popitem(last=False)
            return picture

    def size(self, place: Place) -> tuple[int, int] | None:
        """Return the size of a picture, without reading its levels; None if that would fetch it, or use it up.

        Raises
        ------
        PictureError
            When it cannot be read.
        """
        if place in self._kept:
            return self._kept[place].picture.size
        return None if places.is_url(place) or places.is_stream(place) else photographs.read_size(place)


def _bytes(photograph: Photograph) -> int:
    """Return the bytes that a photograph takes."""
    return photograph.picture.width * photograph.picture.height * (4 if photograph.alpha else 3)


@dataclass(frozen=True)
class Batch:
    """Tasks that have the options of their transfers in common.

    Attributes
    ----------
    tasks
        The tasks, in their order.
    folder
        The folder for all results.
    choices
        The options, as `impasto.runtime.run.prepare.draft` takes them.
    oversize
        Whether pictures are tried that do not fit into memory.
    shelf
        Reads the pictures.
    """

    tasks: Sequence[Task]
    folder: Path
    choices: Mapping[str, Any]
    oversize: bool
    shelf: Shelf

    def prepared(self, task: Task) -> Prepared:
        """Read the pictures of a task, and plan its transfer.

        Raises
        ------
        InputError
            When a picture cannot be read, or an option cannot be used with it.
        """
        transfer = self._draft(task.masks, *map(self.shelf.get, task.pictures))
        request = fingerprint(transfer, transfer.origin)
        checkpoint = self.folder / UNFINISHED / f"{task.output.stem[:40]}.{request[:12]}"
        return Prepared(task, transfer, request, checkpoint)

    def sketch(self, masks: Mapping[str, Any], pictures: Sequence[Place], sizes: Sequence[tuple[int, int]]) -> Transfer:
        """Return the transfer over blank pictures of some sizes: what it takes depends on no more.

        The pictures have the places of those that they stand for, for a plan may name a style.

        Raises
        ------
        InputError
            When an option cannot be used.
        """
        blank = (replace(_blank(size), place=place) for place, size in zip(pictures, sizes, strict=True))
        if self.choices["content_mask"] is not None and "content_mask" not in masks:  # the strengths are of its regions
            masks = {**masks, "region_strengths": None, "plan": _without_strengths(self.choices["plan"])}
        return self._draft(masks, *blank)

    def _draft(self, masks: Mapping[str, Any], content: Photograph, *paintings: Photograph) -> Transfer:
        return draft(content, paintings, **{**self.choices, **NO_MASKS, **masks})


def _without_strengths(plan: PlanFile | None) -> PlanFile | None:
    return plan and replace(plan, region_strengths=None)


def _blank(size: tuple[int, int]) -> Photograph:
    """Return a picture of a size that takes no memory as long as nobody looks at its levels."""
    width, height = size
    return Photograph(Image.frombuffer("L", size, np.zeros((height, width), np.uint8), "raw", "L", 0, 1))


@dataclass(frozen=True)
class Prepared:
    """A task whose pictures were read.

    Attributes
    ----------
    transfer
        Its transfer.
    request
        What the transfer is asked to do: see `impasto.runtime.run.record.fingerprint`.
    checkpoint
        The checkpoint; its name says of which request it is, so that no other one is replaced.
    """

    task: Task
    transfer: Transfer
    request: str
    checkpoint: Path

    @cached_property
    def record(self) -> Record | None:
        """The record of the file that has the result's name; None if there is none, or it cannot be read."""
        try:
            return Record.read(self.task.output)
        except InputError:
            return None

    def found(self) -> Outcome | None:
        """Return the outcome if the result is there, whole; None if not.

        It was made from the same pictures, over the same weights, by the same plan.
        """
        record = self.record
        if record is None or record.request != self.request or not record.is_fulfilled or record.mixed is not None:
            return None
        try:
            result = photographs.read_photograph(self.task.output)
        except InputError:
            return None
        changed = result.alpha or result.profile or self.task.output.suffix.lower() != ".png"  # they change levels
        whole = changed or digest(result.picture) == record.outcome.sha256
        return Outcome.of(self.task, Status.THERE, record) if whole else None

    def check(self) -> None:
        """Refuse outputs that could not be written, or would replace other files; the checkpoint is not looked at.

        Raises
        ------
        InputError
            One line that names the file.
        """
        replace(self._wishes(), checkpoint=None).check(self.task.inputs, self._earlier())

    def complete(self) -> None:
        """Write the triptych of a result that is there, if it is wished for and missing; remove a checkpoint of it."""
        triptych, material = self.task.wishes.triptych, self.transfer.material
        if triptych and not triptych.exists():
            painted = photographs.read_picture(self.task.output)
            picture = planes.triptych(material.photograph.over_white(), material.paintings, painted)
            write(picture, triptych, replace=False, quiet=True)
        remove(self.checkpoint)

    def paint(self, run: Callable[[Job], Result], runner: Runner | None = None) -> Result:
        """Make the picture, or go on with it. `run` carries its job out; with a `runner`, it is another process's.

        Raises
        ------
        ImpastoError
            When it cannot be made.
        Busy
            When another run is making it, or has just made it.
        """
        _make(self.task.output.parent)
        _make(self.checkpoint.parent)
        with _alone(self.checkpoint):
            if replace(self).found():  # since a moment ago
                raise Busy
            earlier = self._earlier()
            wishes = self._wishes()
            wishes.check(self.task.inputs, earlier)
            job = Job(self.transfer, wishes, earlier=earlier, engine=ENGINE, runner=runner)
            result = run(job)
            if result.record.is_fulfilled:  # the next command will not have a longer time limit
                remove(self.checkpoint)
            job.ledger.check_names()
        return result

    def _wishes(self) -> Wishes:
        """Return the outputs, with a checkpoint. A result that a run of this request has left early is replaced."""
        own = self.record is not None and self.record.request == self.request and self.record.mixed is None
        replaceable = (self.task.output,) if own else ()
        return replace(self.task.wishes, checkpoint=self.checkpoint, resume=True, replaceable=replaceable)

    def _earlier(self) -> Checkpoint | None:
        """Return the checkpoint to go on from; one that is damaged is removed, with a warning."""
        if not self.checkpoint.exists():
            return None
        try:
            return Checkpoint.read(self.checkpoint)
        except InputError:
            warn(f"checkpoint {self.checkpoint}: is damaged; the picture is begun anew")
            remove(self.checkpoint)
            return None


@contextmanager
def _alone(checkpoint: Path) -> Iterator[None]:
    """Hold the lock on a picture, which another process may have; the system lets go of it when a process ends."""
    path = checkpoint.with_name(f"{checkpoint.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"output {path}: cannot be written ({error.strerror}); choose another place") from None
    with FileIO(descriptor, "r+") as file:
        if not lock(file):
            raise Busy
        try:
            yield
        finally:
            remove(path)


def _make(folder: Path) -> None:
    """Make a folder, and those that it lies in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output {folder}: no folder to write to ({error.strerror}); choose another place") from None


class Report:
    """A file with a line of JSON for each picture, written at once; a failure to write it is one warning.

    Raises
    ------
    OutputError
        When it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._failed = path, False
        try:
            self._file: FileIO = open_stream(path) if is_stream(path) else path.open("wb", buffering=0)
        except OSError as error:
            raise OutputError(f"report {places.name(path)}: cannot be opened ({error.strerror})") from None

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a file is the report of a batch, or empty: the next batch may replace it."""
        try:
            if not path.is_file():
                return False
            with path.open(encoding="utf-8") as file:
                first = file.readline(1 << 20)
            return not first or {"content", "styles", "output", "status"} <= set(json.loads(first))
        except (OSError, ValueError, TypeError):
            return False

    def add(self, outcome: Outcome) -> None:
        """Write a line."""
        try:
            if not self._failed:
                self._file.write((json.dumps(outcome.to_mapping()) + "\n").encode())
        except OSError as error:
            self._failed = True
            warn(f"report {places.name(self._path)}: {error.strerror or error}; the batch goes on without it")
