"""Observers of a running transfer: a preview, pictures in between, a log.

Each is a callback for `impasto.runtime.stylize` and `prepare`; `together` joins several into one. A failure of theirs,
such as a full disk, is a warning, once, and never ends the transfer.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from impasto import unfinished
from impasto.defaults import PREVIEW_SECONDS
from impasto.runtime.errors import ImpastoError, InputError, OutputError
from impasto.runtime.model.graphs import SINGLE, WORDS
from impasto.runtime.pictures import places
from impasto.runtime.pictures.encoding import check_output, write_picture
from impasto.runtime.pictures.photographs import Photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.recipe import LAYER, MOST_EVALUATIONS
from impasto.runtime.plan.sizes import MAX_SIDE
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.run.pace import Pace
from impasto.runtime.run.state import Callback, Step
from impasto.runtime.storage import codec
from impasto.runtime.storage.names import followed, free_name, identity, is_stream
from impasto.runtime.storage.own import Own, remove
from impasto.runtime.storage.replacing import taken
from impasto.runtime.storage.streams import lock, open_stream
from impasto.text import shown
from impasto.waiting import WaitingFile

#: No line of a log has more bytes.
LONGEST_LINE = 1 << 16

#: Losses are single-precision numbers, whatever the precision of the activations.
_MOST_LOSS = float(np.finfo(np.float32).max)

#: The names of terms; see `impasto.runtime.plan.terms`.
_TERM = re.compile("|".join(term.name(LAYER) for term in TERMS))

#: The longest side of a preview, in pixels.
PREVIEW_SIDE = 2048

#: The keywords of the texts that mark previews and pictures in between: such files may be replaced.
PREVIEW = "impasto-preview"
SAVED = "impasto-save"


def together(*callbacks: Callback) -> Callback:
    """Return a callback that calls several callbacks, in this order."""

    def call(step: Step) -> None:
        for callback in callbacks:
            callback(step)

    return call


class Watcher:
    """A callback that warns of its first failure and lets the run go on. Sub-classes do their work in `see`."""

    #: The subject of the warning.
    subject = ""

    def __init__(self) -> None:
        self._warned = False

    def __call__(self, step: Step) -> None:
        """Look at an evaluation."""
        self.attempt(lambda: self.see(step))

    def see(self, step: Step) -> None:
        """Do the work for an evaluation."""
        raise NotImplementedError

    def attempt(self, work: Callable[[], None]) -> bool:
        """Do some work, and return whether it succeeded; the first failure is a warning."""
        try:
            work()
        except (OSError, ImpastoError) as error:
            if not self._warned:
                reason = str(error) or type(error).__name__
                warnings.warn(f"{self.subject}: {reason}; the run goes on", RuntimeWarning, stacklevel=3)
            self._warned = True
            return False
        return True


class Preview(Watcher):
    """Keeps the best picture so far in a file, which is replaced as a whole every few seconds.

    A larger picture is made smaller, so that its long side has `PREVIEW_SIDE` pixels. A file that is there when the run
    begins is replaced; one that another program writes later is not.

    Parameters
    ----------
    place
        A .png or .jpg file.
    seconds
        The pause between two pictures.
    like
        The photograph that gives it colour profile, EXIF and transparency.
    """

    subject = "preview"

    def __init__(self, place: str | Path, seconds: float = PREVIEW_SECONDS, *, like: Photograph | None = None) -> None:
        super().__init__()
        self._file, self._like, self._pace = Own(Path(place), replace=True), like, Pace(seconds)
        self._better = False

    def see(self, step: Step) -> None:
        """Write the picture, if it is better than the last one written, and due."""
        self._better |= step.improved
        if self._better and self._pace.is_due():
            began = time.monotonic()
            try:
                self._file.write(lambda path, replace: self._write(step, path, replace=replace))
                self._better = False
            finally:
                self._pace.done(began)

    def _write(self, step: Step, path: Path, *, replace: bool) -> None:
        text = {PREVIEW: f"evaluation {step.evaluation} of {step.evaluations}"}
        write_picture(step.picture(PREVIEW_SIDE), path, like=self._like, text=text, replace=replace)


class Saves(Watcher):
    """Keeps the best picture so far after every so many evaluations: out.0050.png, out.0100.png and so on.

    Parameters
    ----------
    place
        A .png or .jpg file; the number of evaluations is inserted into its name.
    every
        The number of evaluations from one picture to the next.
    like
        The photograph that gives them colour profile, EXIF and transparency.
    text
        More text to write into each; see `impasto.runtime.pictures.encoding.write_picture`.
    may_replace
        Returns whether an existing file may be replaced.
    """

    subject = "picture in between"

    def __init__(
        self,
        place: str | Path,
        every: int,
        *,
        like: Photograph | None = None,
        text: Callable[[Step], Mapping[str, str]] | None = None,
        may_replace: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"save_every is {every}; expected 1 or more")
        self._place, self._every, self._like, self._text = Path(place), every, like, text
        self._may_replace = may_replace

    def name(self, evaluation: int) -> Path:
        """Return the file of an evaluation."""
        return self._place.with_name(f"{self._place.stem}.{evaluation:04}{self._place.suffix}")

    def due(self, evaluations: int, *, after: int = 0) -> list[Path]:
        """Return the files that are written until so many evaluations, when `after` of these are done already."""
        return [self.name(n) for n in range(self._every, evaluations + 1, self._every) if n > after]

    def check(self, due: Sequence[Path], *, inputs: Sequence[Place] = ()) -> None:
        """Make sure, before any work, that all files that are due can be written.

        Parameters
        ----------
        inputs
            The pictures that are read: files among these are never replaced.

        Raises
        ------
        OutputError
            When a file exists already, or cannot be written.
        """
        for path in due:
            if path in (due[0], due[-1]) or identity(path):  # the last one's name may be too long
                check_output(path, force=self._may_replace(path), inputs=inputs)

    def see(self, step: Step) -> None:
        """Write the picture, if it is due."""
        if step.evaluation % self._every == 0 and step.view:
            text = {SAVED: f"evaluation {step.evaluation} of {step.evaluations}"}
            text |= self._text(step) if self._text else {}
            path = self.name(step.evaluation)
            write_picture(step.picture(), path, like=self._like, text=text, replace=self._may_replace(path))


class Log(Watcher):
    """Writes a line of JSON for every evaluation, at once; see `line`.

    Parameters
    ----------
    path
        A file that does not exist, or may be replaced.
    start
        The number of bytes to keep of an existing file: its length at the checkpoint of the transfer that goes on.
    replace
        Whether an existing file may be replaced when `start` is 0.

    Attributes
    ----------
    path
        The file, absolute; another one beside it if an existing file may not be replaced.
    position
        Its length in bytes, of whole lines.

    Raises
    ------
    OutputError
        When the file cannot be written, or is shorter than `start`.
    """

    subject = "log"

    def __init__(self, path: str | Path, start: int = 0, *, replace: bool = True) -> None:
        super().__init__()
        self.path, self.position = Path(path).absolute(), start
        self.check(path, start)
        self._replace = replace
        self._file: WaitingFile | None = None
        try:
            self._is_stream = is_stream(self.path)
            if start or self._is_stream:
                self._opened()
            else:
                self._try()
        except OSError as error:
            raise OutputError(
                f"log {places.name(self.path)}: cannot be written ({error.strerror or error}); choose another place"
            ) from None

    def _try(self) -> None:
        """Check that the file can be written, and change nothing until there is a first line."""
        is_new = not self.path.exists()
        with unfinished.unbroken():
            self._locked("a").close()
            if is_new:
                remove(self.path)

    def _opened(self) -> WaitingFile:
        """Return the open file, cut to the part that is kept."""
        if self._file is None:
            self._file = self._open()
        return self._file

    def _open(self) -> WaitingFile:
        if self._is_stream:
            return open_stream(self.path)
        if not (self.position or self._replace or self._make(self.path)):
            wanted, self.path = self.path, free_name(followed(self.path), self._make)
            warnings.warn(str(taken(wanted, self.path)), RuntimeWarning, stacklevel=4)
        file = self._locked("r+" if self.path.exists() else "w")
        file.truncate(self.position)
        file.seek(self.position)
        return file

    def _locked(self, mode: str) -> WaitingFile:
        """Open the file, and lock it for this run."""
        file = WaitingFile(self.path, mode)
        if not lock(file):
            file.close()
            raise OutputError(f"log {places.name(self.path)}: another run is writing it; choose another place")
        return file

    @staticmethod
    def _make(path: Path) -> bool:
        """Make an empty file unless there is a file, and return whether it was made."""
        try:
            followed(path).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    @staticmethod
    def check(path: str | Path, start: int) -> None:
        """Make sure that a file is a log, and that its first `start` bytes end a line; nothing is changed.

        Raises
        ------
        OutputError
            When it is not the log of the transfer that goes on.
        """
        if not start:
            return
        subject = f"log {places.name(Path(path))}"
        try:
            with Path(path).open("rb") as file:
                first = LogLine.read(file.readline(LONGEST_LINE)).evaluation == 1
                file.seek(start - 1)
                ends = file.read(1) == b"\n"
        except OSError as error:
            raise OutputError(f"{subject}: cannot be read ({error.strerror}); name another to begin one") from None
        except codec.Misfit:
            first = ends = False
        if not (first and ends):
            raise OutputError(f"{subject}: is not the one of the run to be resumed; name that, or another to begin")

    @staticmethod
    def is_begun(path: str | Path) -> bool:
        """Whether a log has one evaluation at most, as of a transfer that was killed before its first checkpoint."""
        try:
            with Path(path).open("rb") as file:
                first, *more = file.read(LONGEST_LINE).splitlines() or [b""]
            return not more and (not first or LogLine.read(first).evaluation == 1)
        except (OSError, codec.Misfit):
            return False

    def see(self, step: Step) -> None:
        """Write the line of an evaluation, whole or not at all."""
        data = (json.dumps(line(step), allow_nan=False) + "\n").encode()
        file = self._opened()
        try:
            file.write(data)
        except OSError as error:
            if not self._is_stream:
                os.ftruncate(file.fileno(), self.position)
                file.seek(self.position)
            raise OutputError(f"{places.name(self.path)}: {error.strerror or error}") from None
        self.position += len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class LogLine:
    """An evaluation as a log has it.

    Attributes
    ----------
    evaluation, stage
        Their numbers, from 1.
    width, height
        The size of the stage, in pixels.
    loss, terms
        The loss and its weighted terms; None if not finite.
    improved
        Whether no earlier loss of the stage was as low.
    change
        The difference from the picture of the evaluation before, in levels, root mean square.
    seconds
        The time since the run began.
    precision
        The precision of loss and terms: ``fp32``, ``bf16`` or ``fp16``.
    """

    evaluation: int
    stage: int
    width: int
    height: int
    loss: float | None
    terms: Mapping[str, float | None]
    improved: bool
    change: float | None = None
    seconds: float = 0.0
    precision: str = SINGLE

    def __post_init__(self) -> None:
        for name, most in (
            ("evaluation", MOST_EVALUATIONS), ("stage", MOST_EVALUATIONS), ("width", MAX_SIDE), ("height", MAX_SIDE)
        ):  # fmt: skip
            if not 1 <= getattr(self, name) <= most:
                raise codec.Misfit(f"{name} is {shown(getattr(self, name))}; expected 1 to {most}")
        if self.precision not in WORDS:
            raise codec.Misfit(f"precision is {shown(self.precision)}; expected {' or '.join(WORDS)}")
        for name, value in {"loss": self.loss, **self.terms}.items():
            if value is not None and abs(value) > _MOST_LOSS:
                raise codec.Misfit(f"{shown(name)} is {shown(value)}; expected what float32 holds")
        if odd := next((name for name in self.terms if not _TERM.fullmatch(name)), None):
            raise codec.Misfit(f"terms has {shown(odd)}; expected names such as style/block1_conv1")

    @classmethod
    def read(cls, data: bytes) -> LogLine:
        """Read a line of a log, which may be a stranger's.

        Raises
        ------
        Misfit
            When it is no such line.
        """
        if len(data) > LONGEST_LINE:
            raise codec.Misfit(f"it has more than {LONGEST_LINE} bytes")
        return codec.from_data(cls, codec.parse_json(data.decode("utf-8", "replace")), "line")


def line(step: Step) -> dict[str, Any]:
    """Return the line of an evaluation as plain data; see `LogLine`."""
    entry = LogLine(
        evaluation=step.evaluation,
        stage=step.stage,
        width=step.width,
        height=step.height,
        loss=finite(step.loss),
        terms={name: finite(value) for name, value in step.terms.items()},
        improved=step.improved,
        change=finite(step.change),
        seconds=round(step.seconds, 3),
        precision=step.precision,
    )
    return codec.to_data(entry)


def finite(value: float) -> float | None:
    """Return a number as JSON can have it: None in place of infinity, and of what is no number."""
    return value if math.isfinite(value) else None
