"""Checkpoints: one file from which a transfer goes on after an interruption, or after having been killed.

The file is an .npz archive: ``about`` holds JSON, the other arrays the picture and, with Adam, its two means. It is
written beside its place, then renamed into it, so that there is a whole one at any moment.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from impasto.runtime import places
from impasto.runtime.errors import ImpastoError, InputError
from impasto.runtime.files import Own
from impasto.runtime.optimize import Adam
from impasto.runtime.plan import Plan
from impasto.runtime.record import Origin, build
from impasto.runtime.transfer import Position, Step, Transfer
from impasto.runtime.watch import Log, Pace, Watcher

#: Raised whenever a reader of older checkpoints would be misled.
FORMAT = 1

#: What may be another when a transfer is resumed: it says when to end, not how to go on.
_FREE = ("min_improvement", "time_limit")

_ARRAYS = ("point", "next", "mean", "square")


@dataclass(frozen=True)
class LogPosition:
    """The path of a transfer's log, and its length in bytes."""

    path: str
    position: int


@dataclass(frozen=True)
class _Standing:
    """What of a `Position` is not in arrays; Adam's steps are 0 with L-BFGS."""

    made: tuple[int, ...]
    loss: float
    terms: dict[str, float]
    seconds: float
    resumed: tuple[int, ...]
    steps: int
    reason: str
    device: str
    lowering: str


@dataclass(frozen=True)
class Checkpoint:
    """Where a transfer stood, and what it was.

    Attributes
    ----------
    plan, origin
        What is to be done, and with what.
    position
        How much of it is.
    log
        The log that was being written, if there was one.
    written
        The absolute path and the SHA-256 of each file that holds the result as it was when the run was interrupted,
        now or before: these may be replaced.
    """

    plan: Plan
    origin: Origin
    position: Position
    log: LogPosition | None = None
    written: dict[str, str] | None = None

    def to_bytes(self) -> bytes:
        """Return what the file holds; `from_bytes` reads it back."""
        p = self.position
        standing = _Standing(
            made=p.made, loss=p.loss, terms=p.terms, seconds=p.seconds, resumed=p.resumed,
            steps=p.adam.steps if p.adam else 0, reason=p.reason, device=p.device, lowering=p.lowering,
        )  # fmt: skip
        about = {
            "format": FORMAT,
            "plan": self.plan.to_mapping(),
            "origin": self.origin.to_mapping(),
            "standing": asdict(standing),
            "log": asdict(self.log) if self.log else None,
            "written": self.written or {},
        }
        arrays = {"point": p.point}
        if p.adam:
            arrays |= {"next": p.adam.point, "mean": p.adam.mean, "square": p.adam.square}
        file = io.BytesIO()
        np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Checkpoint:
        """Read back what `to_bytes` returned.

        Raises
        ------
        InputError
            When it is damaged, another file, or of another version; the text says `where` it stands.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            about = json.loads(arrays.pop("about").tobytes())
            found = about["format"]
        except MemoryError:
            raise
        except Exception:  # a damaged archive makes zipfile and numpy raise almost anything
            raise InputError(f"{where}: is damaged, or no checkpoint of impasto; begin anew with --force") from None
        if found != FORMAT:
            raise InputError(f"{where}: is of format {found!r}, not {FORMAT}; resume with the impasto that wrote it")
        try:
            return cls._of(about, arrays, where)
        except (ValueError, KeyError, TypeError, ImpastoError) as error:
            raise InputError(f"{where}: is damaged ({error}); begin anew with --force") from None

    @classmethod
    def _of(cls, about: dict[str, Any], arrays: dict[str, Any], where: str) -> Checkpoint:
        plan, standing = Plan.from_mapping(about["plan"], where), build(_Standing, about["standing"])
        if not 1 <= len(standing.made) <= len(plan.stages):
            raise ValueError(f"{len(standing.made)} stages of {len(plan.stages)}")
        stage = plan.stages[len(standing.made) - 1]
        for name, array in arrays.items():
            if name not in _ARRAYS or array.dtype != np.float32 or array.shape[:2] != (1, 3) or array.ndim != 4:
                raise ValueError(f"array {name} is {array.dtype}{list(array.shape)}")
        values = asdict(standing) | {"point": arrays["point"], "adam": None}
        if steps := values.pop("steps"):
            values["adam"] = Adam(steps, arrays["next"], arrays["mean"], arrays["square"])
            if {array.shape[2:] for array in arrays.values()} != {(stage.height, stage.width)}:
                raise ValueError("its arrays are not of the stage's size")
        return cls(
            plan=plan,
            origin=Origin.from_mapping(about["origin"]),
            position=Position(**values),
            log=build(LogPosition, about["log"]) if about["log"] else None,
            written={str(path): str(sha256) for path, sha256 in about["written"].items()},
        )

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        InputError
            When it cannot be read, is damaged or no checkpoint.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{_where(path)}: cannot be read ({error.strerror}); check the path") from None
        return cls.from_bytes(data, _where(path))

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
            raise InputError(
                f"{_where(path)}: is of another run ({'; '.join(found)}); name another --checkpoint, or begin anew "
                "with --force and without --resume"
            )

    def _other_plan(self, plan: Plan) -> list[str]:
        """Say how a plan differs."""
        then, now = (_flat(p.to_mapping()) for p in (self.plan, plan))
        return [
            f"{name} is {now.get(name)!r}, was {then.get(name)!r}"
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


def _where(path: str | Path) -> str:
    return f"checkpoint {places.name(Path(path))}"


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
        """Write the checkpoint, if it is time."""
        if self._pace.is_due():
            self._write()

    def _after_stage(self) -> None:
        self.save()

    def save(self) -> bool:
        """Write the checkpoint now, and tell whether it was written."""
        return self.attempt(self._write)

    def _write(self) -> None:
        began = time.monotonic()
        log = LogPosition(str(self._log.path), self._log.position) if self._log else None
        checkpoint = Checkpoint(self._transfer.plan, self._origin, self._transfer.position(), log, self.written)
        try:
            data = checkpoint.to_bytes()
            self._file.write(lambda path, replace: places.write(data, path, replace=replace))
        finally:
            self._pace.done(began)

    def remove(self) -> None:
        """Remove the checkpoint: the result is there."""
        self.attempt(self._file.remove)
