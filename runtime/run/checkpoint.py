"""Checkpoints: one file from which a transfer goes on after an interruption, or after having been killed.

The file is an .npz archive: ``about`` holds JSON, the other arrays the picture and, with Adam, its two means. It is
written beside its place, then renamed into it, so that there is a whole one at any moment.

A checkpoint that is read may be a stranger's: it is refused where it is not as one is written, before memory is taken
for more than its plan needs. What it names is compared with what the user names, and never opened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import InputError
from impasto.runtime.optimize.adam import SCALES, Adam
from impasto.runtime.pictures import places
from impasto.runtime.plan.plan import Plan, Stage
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

#: What may be another when a transfer is resumed: it says when to end, not how to go on.
_FREE = ("min_improvement", "time_limit")

#: The arrays beside ``about``: with L-BFGS the first only.
_ARRAYS = ("point", "next", "mean", "square")

#: So many differences from another run are told.
_TOLD = 5

#: What ``about`` takes at most, in bytes.
_LONGEST = 1 << 24


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
    """What of a `State` is not in arrays; Adam's steps are 0 with L-BFGS, and `scale` is its own."""

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

    def __post_init__(self) -> None:
        for name in ("made", "resumed"):
            if min(getattr(self, name), default=0) < 0:
                raise codec.Misfit(f"standing.{name} is {shown(getattr(self, name))}; expected 0 or more")
        for name in ("seconds", "steps"):
            if getattr(self, name) < 0:
                raise codec.Misfit(f"standing.{name} is {shown(getattr(self, name))}; expected 0 or more")
        if not 0 <= self.share <= 1:
            raise codec.Misfit(f"standing.share is {shown(self.share)}; expected 0 to 1")
        if not SCALES[0] <= self.scale <= SCALES[1]:
            raise codec.Misfit(f"standing.scale is {shown(self.scale)}; expected {SCALES[0]:g} to {SCALES[1]:g}")

    def stage_of(self, plan: Plan) -> Stage:
        """Return the stage of a plan that is under way; refuse a standing that is none in it."""
        if not 1 <= len(self.made) <= len(plan.stages):
            raise codec.Misfit(f"standing.made has {len(self.made)} stages; the plan has {len(plan.stages)}")
        for number, (made, stage) in enumerate(zip(self.made, plan.stages, strict=False), 1):
            if made > stage.evaluations:
                raise codec.Misfit(f"standing.made has {made} evaluations in stage {number} of {stage.evaluations}")
        if bool(self.steps) and plan.optimizer != "adam":
            raise codec.Misfit(f"standing.steps is {self.steps}, with optimizer {plan.optimizer}")
        return plan.stages[len(self.made) - 1]


@dataclass(frozen=True)
class _About:
    """What ``about`` says, beside the format."""

    plan: Plan
    origin: Origin
    standing: _Standing
    log: LogPosition | None
    written: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """Where a transfer stood, and what it was.

    Attributes
    ----------
    plan, origin
        What is to be done, and with what.
    state
        How much of it is.
    log
        The log that was being written, if there was one.
    written
        The absolute path and the SHA-256 of each file that holds the result as it was when the run was interrupted,
        now or before: these may be replaced.
    """

    plan: Plan
    origin: Origin
    state: State
    log: LogPosition | None = None
    written: dict[str, str] | None = None

    def write(self, file: IO[bytes]) -> None:
        """Write the checkpoint into an open file; `from_file` reads it back."""
        p = self.state
        standing = _Standing(
            made=p.made, loss=p.loss, terms=p.terms, seconds=p.seconds, resumed=p.resumed,
            steps=p.adam.steps if p.adam else 0, reason=p.reason, device=p.device, lowering=p.lowering,
            scale=p.adam.scale if p.adam else 1.0, share=p.share,
        )  # fmt: skip
        text = codec.to_json(_About(self.plan, self.origin, standing, self.log, self.written or {}), FORMAT)
        arrays = {"point": p.point}
        if p.adam:
            arrays |= {"next": p.adam.point, "mean": p.adam.mean, "square": p.adam.square}
        npz.write(file, {"about": np.frombuffer(text.encode(), np.uint8), **arrays})

    @classmethod
    def from_file(cls, file: IO[bytes], where: str) -> Checkpoint:
        """Read back what `write` has written.

        Raises
        ------
        InputError
            When it is damaged, another file, or of another version; the text says `where` it stands.
        """
        damaged, anew = f"{where}: is damaged", f"begin anew with {option('force', True)}"
        try:
            archive = npz.Archive(file)
            text = archive.read("about", _LONGEST).tobytes().decode()
            about = codec.from_json(_About, text, FORMAT)
        except codec.OtherFormat as error:
            raise InputError(f"{where}: is of {error}; resume with the impasto that wrote it") from None
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
        arrays = _read_arrays(archive, standing.stage_of(about.plan), with_adam=standing.steps > 0)
        values = asdict(standing) | {"point": arrays["point"], "adam": None}
        steps, scale = values.pop("steps"), values.pop("scale")
        if steps:
            values["adam"] = Adam(steps, arrays["next"], arrays["mean"], arrays["square"], scale)
        return cls(about.plan, about.origin, State(**values), about.log, dict(about.written))

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
                raise InputError(f"{_where(path)}: cannot be read (it is no file); check the path")
            with Path(path).open("rb") as file:
                return cls.from_file(file, _where(path))
        except OSError as error:
            raise InputError(f"{_where(path)}: cannot be read ({error.strerror}); check the path") from None

    def check(self, transfer: Transfer, origin: Origin, path: str | Path) -> None:
        """Refuse to go on with a transfer that is another one than that of this checkpoint, at `path`.

        Raises
        ------
        InputError
            When plan, pictures or weights are others; the text says what differs.
        """
        found = [*self._other_plan(transfer.plan), *self._other_inputs(origin)]
        if self.origin.model.weights_sha256 != origin.model.weights_sha256:
            found.append(f"the weights in {origin.model.place} are others")
        if found:
            more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
            what = "; ".join([*found[:_TOLD], *more])
            raise InputError(
                f"{_where(path)}: is of another run ({what}); name another {option('checkpoint')}, or begin anew with "
                f"{option('force', True)} and without {option('resume', True)}"
            )

    def _other_plan(self, plan: Plan) -> list[str]:
        """Say how a plan differs."""
        then, now = (_flat(codec.to_data(p)) for p in (self.plan, plan))
        return [
            f"{name} is {shown(now.get(name))}, was {shown(then.get(name))}"
            for name in {**then, **now}
            if then.get(name) != now.get(name) and name not in _FREE and name != "recipe.description"
        ]

    def _other_inputs(self, origin: Origin) -> list[str]:
        """Say which inputs differ."""
        then, now = ([(i.role, i.width, i.height, i.sha256) for i in o.inputs] for o in (self.origin, origin))
        if [i[0] for i in then] != [i[0] for i in now]:
            return [f"it is of {len(then)} pictures ({', '.join(i[0] for i in then)})"]
        return [
            f"{picture.role} {picture.place or ''} is another picture".replace("  ", " ")
            for picture, a, b in zip(origin.inputs, then, now, strict=True)
            if a != b
        ]


def _read_arrays(archive: npz.Archive, stage: Stage, *, with_adam: bool) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a checkpoint; with L-BFGS the picture may be the smaller one of the stage before.

    Raises
    ------
    ValueError
        When one is missing or unknown, of another shape or type than the stage's, or not finite.
    """
    wanted = _ARRAYS if with_adam else _ARRAYS[:1]
    if set(archive.sizes) != {"about", *wanted}:
        raise ValueError(f"it holds the arrays {shown(sorted(archive.sizes))}")
    most = math.prod((3, stage.height, stage.width, np.dtype(np.float32).itemsize))
    arrays = {name: archive.read(name, most) for name in wanted}
    for name, array in arrays.items():
        ok = array.dtype == np.float32 and array.ndim == 4 and array.shape[:2] == (1, 3) and array.size
        if not ok or (with_adam and array.shape[2:] != (stage.height, stage.width)):
            raise ValueError(f"array {name} is {array.dtype}{list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"array {name} has values that are not finite")
    return arrays


def _where(path: str | Path) -> str:
    return f"checkpoint {places.name(Path(path))}"


def _put(checkpoint: Checkpoint, path: Path, *, replace: bool) -> None:
    with places.replacing(path, replace=replace) as file:
        checkpoint.write(file)


def _flat(data: Any, name: str = "") -> dict[str, Any]:
    """Return plain data as values by their path."""
    items = data.items() if isinstance(data, dict) else enumerate(data, 1) if isinstance(data, (list, tuple)) else None
    if items is None:
        return {name: data}
    return {key: value for k, part in items for key, value in _flat(part, f"{name}.{k}".lstrip(".")).items()}


class Checkpoints(Watcher):
    """Keeps the checkpoint of a transfer up to date: every few seconds, after every stage, and when told to.

    Parameters
    ----------
    path
        The file. What is there when the run begins may be replaced; what another run puts there later is not.
    transfer, origin
        What is to be done, and with what.
    log
        The log that is being written, too.
    written
        See `Checkpoint`; of the checkpoint that the transfer goes on from.
    seconds
        From one time to the next.

    Attributes
    ----------
    path
        The file; another one beside it once another run has taken its name.
    written
        The same, of the next checkpoint: to be added to.
    """

    what = "checkpoint"

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
        self._log, self._pace = log, Pace(seconds)
        transfer.after_stage = self._after_stage

    @property
    def path(self) -> Path:
        """See above."""
        return self._file.path

    def see(self, step: Step) -> None:
        """Write the checkpoint, if it is time, and there is anything to go on from."""
        if self._transfer.state.has_picture and self._pace.is_due():
            self._write()

    def _after_stage(self) -> None:
        self.save()

    def save(self) -> bool:
        """Write the checkpoint now, and tell whether it was written."""
        return self.attempt(self._write)

    def _write(self) -> None:
        began = time.monotonic()
        log = LogPosition(str(self._log.path), self._log.position) if self._log else None
        checkpoint = Checkpoint(self._transfer.plan, self._origin, self._transfer.state.kept(), log, self.written)
        try:
            self._file.write(lambda path, replace: _put(checkpoint, path, replace=replace))
        finally:
            self._pace.done(began)

    def remove(self) -> None:
        """Remove the checkpoint: the result is there."""
        self.attempt(self._file.remove)
