"""The queue: which run goes on, which waits, and what has become of the others.

It lives in the server's event loop. All that it knows is in files, so that a server that is started again, also after
it was killed, goes on where the last one was: processes that still run are watched again, others go on from their
checkpoints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from impasto.cli.serve import events, limits
from impasto.cli.serve.errors import StateError
from impasto.cli.serve.events import Hub
from impasto.cli.serve.files import make_folder, read_json, remove_folder, write_json
from impasto.cli.serve.pictures import Shelf
from impasto.cli.serve.process import News, Process, read_outcome
from impasto.cli.serve.requests import Options, Request
from impasto.cli.serve.runs import (
    CHECKPOINT,
    JPEG,
    LOG,
    MESSAGES,
    OUTCOME,
    PREVIEW,
    RESULT,
    THUMBNAIL,
    Phase,
    Run,
    clear,
    new_run,
    now,
    read_runs,
)
from impasto.cli.serve.settings import Settings
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room_left

#: Seconds between two looks at the processes, and between two looks whether one more fits into memory.
_TICK, _LOOK = 0.2, 1.0

#: A run that has been started so many times without an evaluation is not started again by itself.
_TRIES = 3

#: What of an outcome the API tells.
_TOLD = ("width", "height", "loss", "terms", "share", "evaluations", "seconds", "reason", "device")


class Queue:
    """All runs."""

    def __init__(self, settings: Settings, hub: Hub, shelf: Shelf) -> None:
        self._settings, self._hub, self._shelf = settings, hub, shelf
        self._folder = make_folder(settings.data / "runs")
        self._order_file = settings.data / "queue.json"
        self.options: Options = {}
        self._runs: dict[str, Run] = {}
        self._processes: dict[str, Process] = {}
        self._order: list[str] = []
        self._leaving, self._looked = False, 0.0
        self._load()

    # --- what there is ----------------------------------------------------------------------------------------

    def __getitem__(self, run: str) -> Run:
        """Return a run by its id.

        Raises
        ------
        KeyError
            When there is none.
        """
        return self._runs[run]

    def __iter__(self) -> Iterator[Run]:
        """Yield all: those that go on, those that wait in their order, and those that are over, the latest first."""
        yield from (run for run in self._runs.values() if run.phase.is_going_on)
        yield from (self._runs[run] for run in self._order)
        over = [run for run in self._runs.values() if run.phase.is_over]
        yield from sorted(over, key=lambda run: (run.ended or "", run.id), reverse=True)

    def describe(self, run: Run) -> dict[str, Any]:
        """Return a run as the API tells it."""
        return run.to_data(self._order.index(run.id) + 1 if run.id in self._order else None)

    def used(self) -> set[str]:
        """Return the ids of all pictures that runs have."""
        return {picture for run in self._runs.values() for picture in run.request.pictures()}

    @property
    def is_busy(self) -> bool:
        """Whether a run goes on."""
        return bool(self._processes)

    # --- what is asked of it ----------------------------------------------------------------------------------

    def add(
        self,
        request: Request,
        command: str,
        title: str,
        estimate: dict[str, Any],
        *,
        continues: str | None = None,
    ) -> Run:
        """Put a run at the end of the queue.

        Raises
        ------
        StateError
            When the queue is full.
        """
        if len(self._order) >= limits.WAITING:
            raise StateError(f"queue: {limits.WAITING} runs wait already; remove one, or wait")
        run = new_run(self._folder, request, command, title, estimate)
        run.continues = continues
        self._runs[run.id] = run
        self._order.append(run.id)
        self._settle(run)
        return run

    def move(self, run: Run, position: int) -> None:
        """Give a run that waits another place, from 1.

        Raises
        ------
        StateError
            When it does not wait.
        """
        self._expect(run, run.phase is Phase.WAITING, "wait")
        self._order.remove(run.id)
        self._order.insert(min(position, limits.WAITING) - 1, run.id)
        self._settle(run)

    def stop(self, run: Run) -> None:
        """Stop a run, and keep its picture.

        Raises
        ------
        StateError
            When it does not run.
        """
        self._expect(run, run.phase.is_going_on, "run")
        if run.phase is Phase.RUNNING:  # a second signal would lose the picture
            run.phase = Phase.STOPPING
            self._settle(run)
            self._processes[run.id].stop()

    def cancel(self, run: Run) -> None:
        """End a run, and remove what it has made.

        Raises
        ------
        StateError
            When it is over.
        """
        self._expect(run, not run.phase.is_over, "wait or run")
        self._abandon(run)
        run.phase, run.ended, run.preview = Phase.CANCELLED, now(), 0
        clear(run, CHECKPOINT, RESULT, PREVIEW, OUTCOME)
        self._settle(run)

    def remove(self, run: Run) -> None:
        """Remove a run with all that there is of it."""
        self._abandon(run)
        del self._runs[run.id]
        remove_folder(run.folder)
        self._hub.tell(events.REMOVED, run.id, {"run": run.id})
        self._settle()

    def resume(self, run: Run) -> None:
        """Have a run go on from its checkpoint, next.

        Raises
        ------
        StateError
            When it cannot.
        """
        if not run.can_resume:
            self._expect(run, run.phase.is_over, "have ended")
            raise StateError(f"run {run.id}: has no checkpoint; say with how many evaluations a new run is to go on")
        if run.phase is Phase.DONE:  # its checkpoint is there as its time was over, and the same limit would end it
            options = {name: value for name, value in run.request.options.items() if name != "time_limit"}
            run.request = Request(run.request.content, run.request.styles, options)
        run.phase, run.ended, run.error, run.starts = Phase.WAITING, None, None, 0
        self._order.insert(0, run.id)
        self._settle(run)

    def _expect(self, run: Run, fits: bool, verb: str) -> None:
        if not fits:
            raise StateError(f"run {run.id}: is {run.phase}; it has to {verb} for that")

    def _abandon(self, run: Run) -> None:
        """End the process of a run at once, or take it from the queue."""
        if process := self._processes.pop(run.id, None):
            process.kill()
        if run.id in self._order:
            self._order.remove(run.id)

    def _settle(self, *changed: Run) -> None:
        """Write and tell that runs have changed, and with them the places of those that wait."""
        for run in changed:
            run.save()
        write_json(self._order_file, self._order)
        for run in {run.id: run for run in (*changed, *map(self._runs.__getitem__, self._order))}.values():
            self._hub.tell(events.RUN, run.id, self.describe(run))

    # --- processes --------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Take over what the last server has left."""
        self._runs = {run.id: run for run in read_runs(self._folder)}
        order = [run for run in read_json(self._order_file) or [] if isinstance(run, str)]
        waiting = [run.id for run in self._runs.values() if run.phase is Phase.WAITING]
        self._order = sorted(waiting, key=lambda run: order.index(run) if run in order else len(order))
        for run in reversed([run for run in self._runs.values() if run.phase.is_going_on]):
            process = Process(run)
            if process.is_there:
                self._processes[run.id] = process
            else:
                self._end(run, process, found=True)

    async def work(self) -> None:
        """Watch processes, and start those that are next, until the server leaves."""
        while not self._leaving:
            for run in [self._runs[key] for key in self._processes]:
                self._look(run)
            self._start_next()
            await asyncio.sleep(_TICK)

    async def leave(self, patience: float) -> None:
        """Have all processes keep their checkpoints, and end; those that take more than so many seconds are killed."""
        self._leaving = True
        for process in self._processes.values():
            process.stop()
        until = time.monotonic() + patience
        while self._processes:
            for key, process in [*self._processes.items()]:
                if time.monotonic() > until:
                    process.kill()
                self._look(self._runs[key])
            await asyncio.sleep(_TICK / 4)

    def _look(self, run: Run) -> None:
        """Tell what the process of a run has told, and see whether it has ended."""
        process = self._processes[run.id]
        is_there = process.is_there  # asked first: what it tells at its end is read after it
        self._hear(run, process)
        if not is_there:
            del self._processes[run.id]
            self._end(run, process)

    def _hear(self, run: Run, process: Process) -> None:
        """Tell what a process has told since."""
        told, offset = process.news(), None
        while offset != run.read:  # there may be more than is read at a time
            offset = run.read
            more = process.news()
            told = News(more.step or told.step, more.tile or told.tile, [*told.messages, *more.messages])
        if told.messages:
            run.messages = [*run.messages, *told.messages][-limits.MESSAGES :]
            self._hub.tell(events.RUN, run.id, self.describe(run))
        if told.step:
            run.step, run.starts = told.step, 0
            self._hub.tell(events.STEP, run.id, {"run": run.id, "step": told.step})
        if told.tile:
            self._hub.tell(events.TILE, run.id, {"run": run.id, **told.tile})
        if process.preview > run.preview:
            run.preview = process.preview
            self._hub.tell(events.PREVIEW, run.id, {"run": run.id, "version": run.preview})

    def _end(self, run: Run, process: Process, *, found: bool = False) -> None:
        """Note what has become of a run whose process has ended; `found` if that was while there was no server."""
        self._hear(run, process)
        outcome = read_outcome(run)
        asked = run.phase is Phase.STOPPING
        run.pid = run.born = None
        clear(run, JPEG, THUMBNAIL)  # of an earlier result
        if outcome is not None:
            run.result = {name: outcome[name] for name in _TOLD} | {"bytes": run.file(RESULT).stat().st_size}
        interrupted = outcome is None or outcome["interrupted"]
        if interrupted and not asked and (self._leaving or found) and run.starts < _TRIES:
            run.phase, run.result = Phase.WAITING, None
            self._order.insert(0, run.id)
        elif outcome is None:
            run.phase, run.ended, run.error = Phase.FAILED, now(), process.why_failed
        else:
            run.phase, run.ended = Phase.STOPPED if interrupted else Phase.DONE, now()
        self._settle(run)

    def _start_next(self) -> None:
        """Start the first run that waits, if there is room for it."""
        if not self._order or len(self._processes) >= self._settings.jobs:
            return
        run = self._runs[self._order[0]]
        if self._processes and not self._fits_beside(run):
            return
        self._order.remove(run.id)
        run.phase, run.started, run.ended, run.result, run.error = Phase.RUNNING, run.started or now(), None, None, None
        run.messages, run.starts = [], run.starts + 1
        clear(
            run, OUTCOME, JPEG, THUMBNAIL, *(() if run.file(CHECKPOINT).exists() else (RESULT, LOG, PREVIEW, MESSAGES))
        )
        run.read = run.file(MESSAGES).stat().st_size if run.file(MESSAGES).exists() else 0
        run.preview = run.preview if run.file(PREVIEW).exists() else 0
        try:
            self._processes[run.id] = self._started(run)
        except (OSError, InputError) as error:
            run.phase, run.ended, run.error = Phase.FAILED, now(), str(error)
        self._settle(run)

    def _started(self, run: Run) -> Process:
        content, *styles = (self._shelf.path(picture) for picture in (run.request.content, *run.request.styles))
        arguments = run.request.arguments(self.options, lambda picture: str(self._shelf.path(picture)))
        if self._settings.jobs > 1 and "threads" not in run.request.options:
            arguments.append(f"--threads={max(1, processors.usable() // self._settings.jobs)}")
        return Process.start(run, content, styles, arguments, self._settings.model)

    def _fits_beside(self, run: Run) -> bool:
        """Whether there is memory for a run beside those that go on, which may not have reached their peaks yet."""
        if time.monotonic() < self._looked + _LOOK:
            return False
        self._looked = time.monotonic()
        left, most = room_left(), run.estimate["at_most"]
        if left is None or most is None:
            return True
        return bool(most <= left.size - self.memory_to_come())

    def memory_to_come(self) -> int:
        """Return how many bytes more the runs that go on may take at their peaks."""
        return sum(
            max(0, (self._runs[key].estimate["at_most"] or 0) - process.memory)
            for key, process in self._processes.items()
        )
