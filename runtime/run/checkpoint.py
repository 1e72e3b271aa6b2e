"""Checkpoints: one file from which a transfer goes on after it was interrupted or killed.

The file is an .npz archive: ``about`` holds JSON, the other arrays hold the picture and, with Adam, its two means. It
is written beside its place, then renamed, so that there is a whole file at any moment.

A checkpoint that is read may be a stranger's. It is refused unless it is as `Checkpoint.write` writes it, and before it
takes more memory than its plan needs. The files that it names are compared with the user's, and never opened.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import InputError
from impasto.runtime.model.graphs import SINGLE, WORDS
from impasto.runtime.optimize.adam import LOSS_SCALES, Adam
from impasto.runtime.pictures import places
from impasto.runtime.plan.plan import Plan, Stage, chosen_colors
from impasto.runtime.run.pace import Pace
from impasto.runtime.run.record import Origin
from impasto.runtime.run.state import State, Step
from impasto.runtime.run.transfer import Transfer
from impasto.runtime.run.watch import Log, Watcher
from impasto.runtime.storage import codec, npz
from impasto.runtime.storage.own import Own
from impasto.text import shown
from impasto.wording import option

#: Raised whenever a reader of older checkpoints would be misled.
FORMAT = 1

#: The fields of a plan that may change when a transfer is resumed: they say when to end, not how to go on.
_FREE = ("min_improvement", "time_limit")

#: The fields of a plan that may change because nothing depends on them: the plan names its optimiser itself.
_IDLE = ("recipe.description", "recipe.optimizer")

#: The longest pause between two checkpoints, in seconds: a run of evaluations that take longer has one after each.
_LONGEST_PAUSE = 60.0

#: Those that a transfer chooses for its memory: see `impasto.runtime.run.transfer.Transfer.settle`.
_CHOSEN = re.compile(r"stages\.\d+\.(optimizer|pairs)")

#: The arrays beside ``about``; with L-BFGS only the first.
_ARRAYS = ("point", "next", "mean", "square")

#: A message names no more differences from another run.
_MOST_DIFFERENCES = 5

#: The most bytes that ``about`` may take.
_LONGEST_ABOUT = 1 << 24


@dataclass(frozen=True)
class LogPosition:
    """The path of a transfer's log, and its length in bytes."""

    path: str
    position: int

    def __post_init__(self) -> None:
        if self.position < 0:
            raise codec.Misfit(f"log.position is {self.position}; expected 0 or more")


@dataclass(frozen=True)
class _Standing:
    """The part of a `State` that JSON holds. `steps` and `scale` are Adam's; with L-BFGS, `steps` is 0."""

    made: tuple[int, ...]
    loss: float
    terms: dict[str, float]
    seconds: float
    resumed: tuple[int, ...]
    steps: int
    reason: str
    device: str
    lowering: str
    scale: float = 1.0
    share: float = 1.0
    precision: str = SINGLE
    tile: int | None = None

    @classmethod
    def of(cls, state: State) -> _Standing:
        steps, scale = (state.adam.steps, state.adam.scale) if state.adam else (0, 1.0)
        shared = {field.name: getattr(state, field.name) for field in fields(cls) if hasattr(state, field.name)}
        return cls(**shared, steps=steps, scale=scale)

    def state(self, arrays: Mapping[str, NDArray[np.float32]]) -> State:
        """Return the state with these arrays."""
        shared = {name: value for name, value in vars(self).items() if name not in ("steps", "scale")}
        adam = None
        if self.steps:
            adam = Adam(self.steps, arrays["next"], arrays["mean"], arrays["square"], self.scale)
        return State(point=arrays["point"], adam=adam, **shared)

    def __post_init__(self) -> None:
        for name in ("made", "resumed", "seconds", "steps"):
            value = getattr(self, name)
            least = min(value, default=0) if isinstance(value, tuple) else value
            codec.expect(least >= 0, f"standing.{name} is {shown(value)}; expected 0 or more")
        known = " or ".join(WORDS)
        codec.expect(self.precision in WORDS, f"standing.precision is {shown(self.precision)}; expected {known}")
        codec.expect(0 <= self.share <= 1, f"standing.share is {shown(self.share)}; expected 0 to 1")
        low, high = LOSS_SCALES
        codec.expect(low <= self.scale <= high, f"standing.scale is {shown(self.scale)}; expected {low:g} to {high:g}")

    def stage_of(self, plan: Plan) -> Stage:
        """Return the plan's present stage; refuse numbers that do not fit the plan."""
        begun, planned = len(self.made), len(plan.stages)
        codec.expect(1 <= begun <= planned, f"standing.made has {begun} stages; the plan has {planned}")
        for number, (count, stage) in enumerate(zip(self.made, plan.stages, strict=False), 1):
            refusal = f"standing.made has {count} evaluations in stage {number} of {stage.evaluations}"
            codec.expect(count <= stage.evaluations, refusal)
        stage = plan.stages[begun - 1]
        optimizer = plan.optimizer_of(stage)
        codec.expect(optimizer == "adam" or not self.steps, f"standing.steps is {self.steps}, with {optimizer}")
        return stage


@dataclass(frozen=True)
class _About:
    """The JSON of ``about``, without the format."""

    plan: Plan
    origin: Origin
    standing: _Standing
    log: LogPosition | None
    written: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """A transfer and its state.

    Attributes
    ----------
    plan, origin
        The plan, and the inputs, model and machine it is carried out with.
    state
        The state of the transfer.
    log
        The log that was being written, if there was one.
    written
        The absolute path -> the SHA-256 of each file that holds the result of an interrupted run, this one or an
        earlier one: these may be replaced.
    """

    plan: Plan
    origin: Origin
    state: State
    log: LogPosition | None = None
    written: dict[str, str] | None = None

    def write(self, file: IO[bytes]) -> None:
        """Write the checkpoint into an open file; `from_file` reads it back."""
        about = _About(self.plan, self.origin, _Standing.of(self.state), self.log, self.written or {})
        adam, text = self.state.adam, codec.to_json(about, FORMAT)
        values = (self.state.point, *((adam.point, adam.mean, adam.square) if adam else ()))
        arrays = dict(zip(_ARRAYS, values, strict=False))
        npz.write(file, {"about": np.frombuffer(text.encode(), np.uint8), **arrays})

    @classmethod
    def from_file(cls, file: IO[bytes], subject: str) -> Checkpoint:
        """Read back what `write` has written.

        Raises
        ------
        InputError
            When it is damaged, no checkpoint, or of another version; the text begins with `subject`.
        """
        damaged, anew = f"{subject}: is damaged", f"begin anew with {option('force', True)}"
        try:
            archive = npz.Archive(file)
            text = archive.read("about", _LONGEST_ABOUT).tobytes().decode()
            about = codec.from_json(_About, text, FORMAT)
        except codec.OtherFormat as error:
            raise InputError(f"{subject}: is of {error}; resume with the impasto that wrote it") from None
        except (ValueError, KeyError, codec.Unreadable):
            raise InputError(f"{damaged}, or no checkpoint of impasto; {anew}") from None
        except InputError as error:
            raise InputError(f"{damaged} ({error}); {anew}") from None
        try:
            return cls._of(about, archive)
        except (ValueError, KeyError, InputError) as error:
            raise InputError(f"{damaged} ({error}); {anew}") from None

    @classmethod
    def _of(cls, about: _About, archive: npz.Archive) -> Checkpoint:
        standing = about.standing
        arrays = _read_arrays(archive, about.plan.canvas(standing.stage_of(about.plan)), with_adam=standing.steps > 0)
        return cls(about.plan, about.origin, standing.state(arrays), about.log, dict(about.written))

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        InputError
            When it cannot be read, is damaged or no checkpoint.
        """
        try:
            if not Path(path).is_file():  # a pipe would be waited for, and a device has no end
                raise InputError(f"{_subject(path)}: cannot be read (it is no file); check the path")
            with Path(path).open("rb") as file:
                return cls.from_file(file, _subject(path))
        except OSError as error:
            raise InputError(f"{_subject(path)}: cannot be read ({error.strerror}); check the path") from None

    def check(self, transfer: Transfer, origin: Origin, path: str | Path) -> None:
        """Refuse a transfer that is not the one of this checkpoint, which is at `path`.

        Raises
        ------
        InputError
            When the plan, the pictures or the weights are others; the text names the differences.
        """
        differences = [*self._plan_differences(transfer.plan), *self._input_differences(origin)]
        if self.origin.model.weights_sha256 != origin.model.weights_sha256:
            differences.append(f"the weights in {origin.model.place} are others")
        if (more := len(differences) - _MOST_DIFFERENCES) > 0:
            differences[_MOST_DIFFERENCES:] = [f"and {more} more"]
        if differences:
            raise InputError(
                f"{_subject(path)}: is of another run ({'; '.join(differences)}); name another {option('checkpoint')}, "
                f"or begin anew with {option('force', True)} and without {option('resume', True)}"
            )

    def _plan_differences(self, plan: Plan) -> list[str]:
        """Return how another plan differs."""
        then, now = (
            _flat(codec.to_data(p) | {"colors": chosen_colors(p.colors)}) for p in (self.plan, plan)
        )  # in the user's words
        return [
            f"{name} is {shown(now.get(name))}, was {shown(then.get(name))}"
            for name in {**then, **now}
            if then.get(name) != now.get(name) and name not in (*_FREE, *_IDLE) and not _CHOSEN.fullmatch(name)
        ]

    def _input_differences(self, origin: Origin) -> list[str]:
        """Return which inputs differ."""
        then, now = ([(i.role, i.width, i.height, i.sha256) for i in o.inputs] for o in (self.origin, origin))
        if [i[0] for i in then] != [i[0] for i in now]:
            return [f"it is of {len(then)} pictures ({', '.join(i[0] for i in then)})"]
        return [
            f"{picture.role} {picture.place or ''} is another picture".replace("  ", " ")
            for picture, a, b in zip(origin.inputs, then, now, strict=True)
            if a != b
        ]


def _read_arrays(archive: npz.Archive, size: tuple[int, int], *, with_adam: bool) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a checkpoint; with L-BFGS the picture may be the smaller one of the stage before.

    Raises
    ------
    ValueError
        When an array is missing, unknown or not finite, or its type or shape is not the stage's.
    """
    width, height = size
    wanted = _ARRAYS if with_adam else _ARRAYS[:1]
    if set(archive.sizes) != {"about", *wanted}:
        raise ValueError(f"it holds the arrays {shown(sorted(archive.sizes))}")
    most = math.prod((3, height, width, np.dtype(np.float32).itemsize))
    arrays = {name: archive.read(name, most) for name in wanted}
    for name, array in arrays.items():
        ok = array.dtype == np.float32 and array.ndim == 4 and array.shape[:2] == (1, 3) and array.size
        if not ok or (with_adam and array.shape[2:] != (height, width)):
            raise ValueError(f"array {name} is {array.dtype}{list(array.shape)}")
        if not all(np.isfinite(plane).all() for plane in array[0]):
            raise ValueError(f"array {name} has values that are not finite")
    return arrays


def _subject(path: str | Path) -> str:
    return f"checkpoint {places.name(Path(path))}"


def _put(checkpoint: Checkpoint, path: Path, *, replace: bool) -> None:
    with places.replacing(path, replace=replace) as file:
        checkpoint.write(file)


def _flat(data: Any, name: str = "") -> dict[str, Any]:
    """Return the values in plain data by their path, such as ``stages.1.width``."""
    items = data.items() if isinstance(data, dict) else enumerate(data, 1) if isinstance(data, (list, tuple)) else None
    if items is None:
        return {name: data}
    return {key: value for k, part in items for key, value in _flat(part, f"{name}.{k}".lstrip(".")).items()}


class Checkpoints(Watcher):
    """Keeps the checkpoint of a transfer up to date: every few seconds, after every stage, and on request.

    Parameters
    ----------
    path
        The file. A file that is there when the run begins is replaced; one that another run writes later is not.
    transfer, origin
        The transfer, and its inputs, model and machine.
    log
        The log that is being written, too.
    written
        The `Checkpoint.written` of the checkpoint that the transfer goes on from.
    seconds
        The pause between two checkpoints; longer where they are slow to write. See `impasto.runtime.run.pace.Pace`.

    Attributes
    ----------
    path
        The file; another one beside it once another run has taken its name.
    written
        The `Checkpoint.written` of the next checkpoint; callers may add entries.
    """

    subject = "checkpoint"

    def __init__(
        self,
        path: str | Path,
        transfer: Transfer,
        origin: Origin,
        *,
        log: Log | None = None,
        written: Mapping[str, str] | None = None,
        seconds: float = 2.0,
    ) -> None:
        super().__init__()
        self._file, self._transfer, self._origin = Own(Path(path), replace=True), transfer, origin
        self.written = dict(written or {})
        self._log, self._pace = log, Pace(seconds, _LONGEST_PAUSE)
        transfer.after_stage = self._after_stage

    @property
    def path(self) -> Path:
        """The file of the checkpoint, now."""
        return self._file.path

    def see(self, step: Step) -> None:
        """Write the checkpoint, if it is due and there is a picture to go on from."""
        state = self._transfer.state
        is_present = state.evaluations == step.evaluation  # one that runs elsewhere does not tell every state
        if is_present and state.has_picture and self._pace.is_due():
            self._write()

    def _after_stage(self) -> None:
        self.save()

    def save(self) -> bool:
        """Write the checkpoint now; return whether it was written."""
        return self.attempt(self._write)

    def _write(self) -> None:
        began = time.monotonic()
        log = LogPosition(str(self._log.path), self._log.position) if self._log else None
        state = self._transfer.state.to_go_on_from()  # written before the next evaluation changes it
        checkpoint = Checkpoint(self._transfer.plan, self._origin, state, log, self.written)
        try:
            self._file.write(lambda path, replace: _put(checkpoint, path, replace=replace))
        finally:
            self._pace.done(began)

    def remove(self) -> None:
        """Remove the checkpoint, once there is the result."""
        self.attempt(self._file.remove)
