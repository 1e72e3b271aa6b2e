"""The process of a run: ``impasto stylize`` with files of the run's folder. It goes on when the server ends.

Everything that it tells goes to files, so that another server finds it again: messages and evaluations to one, the
outcome to another, which is there, whole, once the result is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from impasto.cli.serve import limits
from impasto.cli.serve.files import without_folders
from impasto.cli.serve.runs import CHECKPOINT, LOG, MESSAGES, OUTCOME, PREVIEW, RESULT, Run

#: Seconds between two previews.
_PREVIEW = 1.0

#: The bytes of messages that are read at a time.
_MOST = 1 << 20

# The signal that asks for the picture so far and the end, and the flags of a process that does not hear the server's
# own Ctrl-C.
if sys.platform == "win32":
    _STOP, _FLAGS = signal.CTRL_BREAK_EVENT, subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _STOP, _FLAGS = signal.SIGTERM, 0

_ERROR = "error: "


@dataclass(frozen=True)
class News:
    """What a process has told since it was last asked.

    Attributes
    ----------
    step, tile
        The last evaluation, and the last tile of one, if there were any.
    messages
        Other lines.
    """

    step: dict[str, Any] | None
    tile: dict[str, Any] | None
    messages: list[str]


class Process:
    """The process of a run, started by this server or by one before it."""

    def __init__(self, run: Run, popen: subprocess.Popen[bytes] | None = None) -> None:
        self._run, self._popen = run, popen

    @classmethod
    def start(cls, run: Run, content: Path, styles: Sequence[Path], options: Sequence[str], model: Path) -> Process:
        """Start the process of a run; from its checkpoint, if it has one.

        Raises
        ------
        OSError
            When it cannot be started.
        """
        files = {"output": RESULT, "preview": PREVIEW, "log": LOG, "checkpoint": CHECKPOINT}
        command = [sys.executable, "-m", "impasto", "stylize", str(content), *map(str, styles)]
        command += [f"--{name}={run.file(file)}" for name, file in files.items()]
        command += [*options, f"--model={model}", "--json", "--json-progress", f"--preview-every={_PREVIEW}", "--force"]
        command += ["--resume"] if run.file(CHECKPOINT).exists() else []
        with run.file(OUTCOME).open("wb") as outcome, run.file(MESSAGES).open("ab") as messages:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=outcome,
                stderr=messages,
                cwd=run.folder,
                start_new_session=True,
                creationflags=_FLAGS,
            )
        run.pid, run.born = popen.pid, _born(popen.pid)
        return cls(run, popen)

    @property
    def is_there(self) -> bool:
        """Whether the process goes on."""
        if self._popen is not None:
            return self._popen.poll() is None
        return self._run.pid is not None and _born(self._run.pid) == self._run.born

    @property
    def memory(self) -> int:
        """The size of the process now, in bytes; 0 if it has ended."""
        try:
            return int(psutil.Process(self._run.pid).memory_info().rss) if self.is_there else 0
        except psutil.Error:
            return 0

    def stop(self) -> None:
        """Ask the process to write the best picture so far and its checkpoint, and to end."""
        if self.is_there and self._run.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(self._run.pid, _STOP)

    def kill(self) -> None:
        """End the process at once, and wait for its end."""
        if self.is_there:
            with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
                psutil.Process(self._run.pid).kill()
                self._popen.wait(10) if self._popen is not None else psutil.Process(self._run.pid).wait(10)

    def news(self) -> News:
        """Return what the process has told since it was last asked."""
        step = tile = None
        messages = []
        for line in self._lines():
            told = _told(line)
            step, tile = told.get("step", step), told.get("tile", tile)
            if not told and line.strip():
                messages.append(without_folders(line, self._run.folder.parent.parent)[: limits.MESSAGE])
        return News(step, tile, messages)

    def _lines(self) -> list[str]:
        """Return the whole lines that are new in the file of messages."""
        try:
            with self._run.file(MESSAGES).open("rb") as file:
                file.seek(self._run.read)
                data = file.read(_MOST)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) == _MOST else 0)
        self._run.read += end
        return data[:end].decode("utf-8", "replace").splitlines()

    @property
    def preview(self) -> int:
        """The version of the preview, which grows; 0 if there is none."""
        try:
            return self._run.file(PREVIEW).stat().st_mtime_ns // 1_000_000
        except OSError:
            return 0

    @property
    def outcome(self) -> dict[str, Any] | None:
        """What the process has told of its result; None if it wrote none."""
        return read_outcome(self._run)

    @property
    def why_failed(self) -> str:
        """Why there is no result: the command's own words, or how the process has ended."""
        said = next((line for line in reversed(self._run.messages) if line.startswith(_ERROR)), None)
        if said:
            return said.removeprefix(_ERROR)
        code = self._popen.poll() if self._popen else None
        how = f"by signal {-code}" if code is not None and code < 0 else "by itself" if code is None else f"with {code}"
        advice = "go on from its checkpoint" if self._run.file(CHECKPOINT).exists() else "begin anew"
        return f"its process has ended {how}, perhaps for want of memory; {advice}, or choose a smaller size"


def read_outcome(run: Run) -> dict[str, Any] | None:
    """Return what the process of a run has told of its result; None if it wrote none."""
    try:
        outcome = json.loads(run.file(OUTCOME).read_bytes())
    except (OSError, ValueError):
        return None
    return outcome if isinstance(outcome, dict) and run.file(RESULT).exists() else None


def _told(line: str) -> dict[str, Any]:
    """Return a line that is an evaluation or a tile as plain data; nothing for other lines."""
    if not line.startswith(('{"step": ', '{"tile": ')):
        return {}
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:  # the process was killed while it wrote
        return {}
    return told


def _born(pid: int) -> float | None:
    """Return when a process began; None if there is none of that number, or it is only waited for."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
