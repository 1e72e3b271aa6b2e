"""Runs, each with a folder of its own that holds all there is of it: it is found there when the server starts again."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from impasto.cli.serve.files import make_folder, read_json, remove_folder, write_json
from impasto.cli.serve.requests import Request

#: The file in a run's folder that describes it.
_ABOUT = "run.json"


class Phase(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_going_on(self) -> bool:
        """Whether there is a process, or has been one when the server was last there."""
        return self in (Phase.RUNNING, Phase.STOPPING)

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return not (self is Phase.WAITING or self.is_going_on)


@dataclass
class Run:
    """A run.

    Attributes
    ----------
    id, folder
        Its id, and its folder of that name.
    request, command, title
        What is to be painted, the same on a command line, and the names of photograph and paintings.
    estimate, messages
        What was foreseen when it was submitted; what its process has said.
    phase
        Where it stands.
    created, started, ended
        Times, in UTC (ISO 8601).
    pid, born
        Its process, and when that began, by which it is known again.
    starts
        How many processes have ended without an evaluation of their own.
    error
        Why it failed.
    step
        The last evaluation, as the process tells it.
    preview
        The version of the preview; 0: there is none.
    result
        What came of it, as ``impasto stylize --json`` tells it.
    continues
        The run that it goes on from.
    read
        How much of its messages has been read, in bytes.
    """

    id: str
    folder: Path
    request: Request
    command: str
    title: str
    estimate: dict[str, Any]
    messages: list[str] = field(default_factory=list)
    phase: Phase = Phase.WAITING
    created: str = ""
    started: str | None = None
    ended: str | None = None
    pid: int | None = None
    born: float | None = None
    starts: int = 0
    error: str | None = None
    step: dict[str, Any] | None = None
    preview: int = 0
    result: dict[str, Any] | None = None
    continues: str | None = None
    read: int = 0

    def file(self, name: str) -> Path:
        """Return a file of its folder."""
        return self.folder / name

    def save(self) -> None:
        """Write what is known of it."""
        data = asdict(self) | {"request": self.request.to_data()}
        del data["folder"]
        write_json(self.file(_ABOUT), data)

    @property
    def can_resume(self) -> bool:
        """Whether it can go on from its checkpoint."""
        return self.phase.is_over and self.phase is not Phase.CANCELLED and self.file(CHECKPOINT).exists()

    def to_data(self, position: int | None) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "id": self.id,
            "state": str(self.phase),
            "position": position,
            "request": self.request.to_data(),
            "title": self.title,
            "command": self.command,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "estimate": self.estimate,
            "messages": self.messages,
            "error": self.error,
            "step": self.step,
            "preview": self.preview,
            "result": self.result,
            "can_resume": self.can_resume,
            "continues": self.continues,
        }


#: The files in a run's folder.
RESULT, JPEG, PREVIEW, THUMBNAIL = "result.png", "result.jpg", "preview.jpg", "thumbnail.png"
LOG, CHECKPOINT, MESSAGES, OUTCOME = "log.jsonl", "checkpoint.impasto", "messages.txt", "outcome.json"


def now() -> str:
    """Return the present time, in UTC (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run(folder: Path, request: Request, command: str, title: str, estimate: dict[str, Any]) -> Run:
    """Make a run that waits, with its folder in `folder`. Ids are in the order of time."""
    key = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"
    run = Run(key, make_folder(folder / key), request, command, title, estimate, created=now())
    run.save()
    return run


def read_runs(folder: Path) -> list[Run]:
    """Return the runs in a folder, in the order in which they were made. Rests of others are removed."""
    found = []
    for path in sorted(make_folder(folder).iterdir()):
        if path.name.startswith("."):
            remove_folder(path)
        elif run := _read(path):
            found.append(run)
    return found


def _read(path: Path) -> Run | None:
    """Return the run in a folder, if it is one that this version knows."""
    data = read_json(path / _ABOUT)
    try:
        asked = Request(data["request"]["content"], tuple(data["request"]["styles"]), data["request"]["options"])
        known = {name: data[name] for name in (one.name for one in fields(Run)) if name in data}
        return Run(**{**known, "id": path.name, "folder": path, "request": asked, "phase": Phase(data["phase"])})
    except (KeyError, TypeError, ValueError):
        return None


def clear(run: Run, *names: str) -> None:
    """Remove files of a run, and what its process has not finished writing."""
    for name in names:
        for path in (run.file(name), *run.folder.glob(f"{name}.*"), *run.folder.glob(f".{name}*")):
            with contextlib.suppress(OSError):
                path.unlink()
