"""The run of a batch: what is there already, what the rest takes, and one picture after the other.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from impasto import figures
from impasto.cli.given import warn_of_idle
from impasto.cli.job.batch import UNFINISHED, Batch, Busy, Outcome, Prepared, Report, Status
from impasto.cli.job.estimating import announce, foresee
from impasto.cli.job.job import Job
from impasto.cli.job.tasks import Task
from impasto.cli.terminal.errors import explain
from impasto.cli.terminal.interrupt import Phase, answered, enter, within
from impasto.cli.terminal.messages import say
from impasto.cli.terminal.progress import BatchProgress
from impasto.figures import clock, roughly
from impasto.runtime.errors import InputError, OutputError
from impasto.runtime.pictures import places
from impasto.runtime.run.estimate import Estimate, most_memory
from impasto.runtime.run.idle import idle_options
from impasto.runtime.run.result import Result
from impasto.runtime.run.transfer import Transfer

#: The size of a photograph with which the options are tried out that all pictures have in common: a long one may be too
#: narrow for some of them.
_SQUARE = (1200, 1200)

#: What a picture's work and memory depend on: the masks, and the sizes of its pictures.
_Kind = tuple[tuple[Any, ...], tuple[tuple[int, int], ...]]


#: Writes what has come of a picture into a report.
Tell = Callable[[Outcome], None]


class BatchRun:
    """The run of a batch.

    Attributes
    ----------
    outcomes
        What has come of each picture, in the order in which that was known.
    interrupted
        Whether a signal has ended it early.
    of_all_pictures
        Errors that are no picture's.
    """

    of_all_pictures: tuple[type[Exception], ...] = ()

    def __init__(self, batch: Batch) -> None:
        self._batch, self._count = batch, len(batch.tasks)
        self._left = list(batch.tasks)
        self._work = [1.0] * self._count
        self._expected: float | None = None
        self._lanes = 1
        self.outcomes: list[Outcome] = []
        self.interrupted = False

    @property
    def there(self) -> int:
        """How many pictures are there."""
        return sum(one.status in (Status.MADE, Status.THERE) for one in self.outcomes)

    @property
    def succeeded(self) -> bool:
        """Whether every picture is there."""
        return self.there == self._count

    # --- before the work --------------------------------------------------------------------------------------

    def survey(self) -> None:
        """Look for results that are there already, and refuse to begin where other files are in their places.

        Raises
        ------
        OutputError
            When there are such files, or one cannot be written.
        """
        if (folder := self._batch.folder / UNFINISHED).exists() and not folder.is_dir():
            raise OutputError(
                f"output {folder}: is a file, and checkpoints go into a folder of that name; move it away"
            )
        left, refused = list[Task](), list[OutputError]()
        for task in self._batch.tasks:
            try:
                if not any(path.exists() for path in task.files):
                    left.append(task)
                    continue
                prepared = self._batch.prepared(task)
                if outcome := prepared.found():
                    prepared.complete()
                    self.outcomes.append(outcome)
                else:
                    prepared.check()
                    left.append(task)
            except OutputError as error:
                refused.append(error)
            except InputError:  # it is told when it is the picture's turn
                left.append(task)
        if refused:
            more = f" (and so it is with {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise OutputError(f"{refused[0]}{more}")
        self._left = left
        if self.outcomes:
            say(f"{len(self.outcomes)} of {self._count} pictures are there already")

    def try_out(self) -> None:
        """Refuse options that cannot be used with any photograph.

        Raises
        ------
        InputError
            When there is one.
        """
        task = self._batch.tasks[0]
        styles = [self._batch.shelf.size(style) or _SQUARE for style in task.named.styles]
        self._batch.sketch({}, task.pictures, [_SQUARE, *styles])

    def workplace(self) -> AbstractContextManager[None]:
        """Return where the pictures are made, for a `with` block: by this process."""
        return contextlib.nullcontext()

    def announce(self) -> None:
        """Estimate what the pictures take, the largest and all of them; refuse what does not fit.

        Raises
        ------
        InputError
            When the largest picture is too large for the memory; the text names it.
        """
        sketched: dict[_Kind, float] = {}
        largest: tuple[Transfer, Task] | None = None
        works: list[float | None] = []
        for task in self._left:
            try:
                kind = self._kind(task)
                if kind is not None and kind not in sketched:
                    sketch = self._batch.sketch(task.masks, task.pictures, kind[1])
                    sketched[kind] = _work(sketch)
                    if largest is None or most_memory([largest[0], sketch]) is sketch:
                        largest = sketch, task
                works.append(None if kind is None else sketched[kind])
            except InputError:  # as above; it takes no time
                works.append(0.0)
        if largest is None:
            return
        usual = sum(sketched.values()) / len(sketched)
        self._work = [usual if work is None else work for work in works]
        self._tell(*largest)

    def _kind(self, task: Task) -> _Kind | None:
        """Return what the work of a task depends on; None if it is not known before the pictures are read."""
        sizes = [self._batch.shelf.size(place) for place in task.pictures]
        masks = tuple(str(value) for value in task.masks.values())
        return None if None in sizes else (masks, tuple(size for size in sizes if size))

    def _tell(self, largest: Transfer, task: Task) -> None:
        """Say what the largest picture takes, and how long all will."""
        try:
            estimated = self._foresee(largest)
        except InputError as error:
            raise InputError(f"{places.name(task.named.content)}: {error}") from None
        own = task.wishes.idle_options(largest.plan.evaluations)
        warn_of_idle(idle_options(largest, self._batch.choices["stages"]) | own)
        if estimated.seconds is not None and self._count > 1:
            self._expected = estimated.seconds * sum(self._work) / _work(largest)
            say(f"{_pictures(len(self._left))}: about {roughly(self._expected / self._lanes)} in all")

    def _foresee(self, largest: Transfer) -> Estimate:
        """Say what the largest picture takes.

        Raises
        ------
        InputError
            When it is too large for the memory.
        """
        return announce(foresee(largest, oversize=self._batch.oversize))

    # --- the work ---------------------------------------------------------------------------------------------

    def paint(self, report: Path | None) -> None:
        """Make the pictures that are left, and say what has come of each."""
        tell = Report(report).add if report else _say_nothing
        for outcome in self.outcomes:
            tell(outcome)
        began = time.perf_counter()
        with BatchProgress(self._work, self._expected) as progress, within(self._phase(progress)):
            self._paint_left(progress, tell)
        self._look_again()
        self._end(time.perf_counter() - began)

    def _paint_left(self, progress: BatchProgress, tell: Tell) -> None:
        for number, task in enumerate(self._left):
            signals = answered()
            outcome = self._make(task, progress)
            self.interrupted = answered() > signals
            enter(self._phase(progress))
            self._note(number, outcome, progress, tell)
            if self.interrupted:
                break

    def _note(self, number: int, outcome: Outcome, progress: BatchProgress, tell: Tell) -> None:
        """Say what has come of a picture, by its number among those that were left."""
        self.outcomes.append(outcome)
        progress.end(number, outcome.facts["seconds"] if outcome.status is Status.MADE else None)
        left = f"; {roughly(progress.left)} left" if progress.left and not self.interrupted else ""
        say(f"{len(self.outcomes)}/{self._count} {_told(outcome)}{left}")
        tell(outcome)

    def _make(self, task: Task, progress: BatchProgress) -> Outcome:
        """Make one picture; whatever fails, the batch goes on."""
        progress_of = progress.begin(f"{len(self.outcomes) + 1}/{self._count} {task.named.title}")

        def carry_out(job: Job) -> Result:
            job.estimate(oversize=self._batch.oversize, quiet=True)
            return job.carry_out(progress_of, self._farewell)

        return self._outcome(task, lambda prepared: prepared.paint(carry_out))

    def _outcome(self, task: Task, paint: Callable[[Prepared], Result]) -> Outcome:
        """Return what comes of a picture that `paint` makes, unless it is there."""
        try:
            prepared = self._batch.prepared(task)
            if outcome := prepared.found():  # another run has made it meanwhile
                return outcome
            record = paint(prepared).record
            return Outcome.of(task, Status.MADE if record.is_fulfilled else Status.STOPPED, record)
        except Busy:
            return Outcome(task, Status.ELSEWHERE)
        except self.of_all_pictures:
            raise
        except Exception as error:
            return Outcome(task, Status.FAILED, explain(error)[0])

    def _look_again(self) -> None:
        """See whether pictures that were left to another run are there by now."""
        for number, outcome in enumerate(self.outcomes):
            if outcome.status is Status.ELSEWHERE:
                with contextlib.suppress(InputError):  # its pictures may be gone by now
                    self.outcomes[number] = self._batch.prepared(outcome.task).found() or outcome

    def _end(self, seconds: float) -> None:
        """Say what has come of all, and what is left behind."""
        counts = Counter(one.status for one in self.outcomes)
        told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        more = "" if self.succeeded else self._advice
        say(f"{_pictures(self._count)}: {told}, in {clock(seconds)}{more}")
        folder = self._batch.folder / UNFINISHED
        try:
            folder.rmdir()
        except OSError:
            if self.succeeded and folder.is_dir():
                say(f"{folder} has checkpoints of other requests: their commands would go on from there")

    @property
    def _farewell(self) -> str:
        return f"interrupted; {self.there} of {self._count} pictures are there{self._advice}"

    @property
    def _advice(self) -> str:
        """How to go on; without records, results are not known again."""
        return "; the same command makes the others" if self._batch.tasks[0].wishes.record else ""

    def _phase(self, progress: BatchProgress) -> Phase:
        return Phase(self._farewell, before_leaving=progress.leave)


def _say_nothing(_: Outcome) -> None:
    """Stand in for a report that is not wished for."""


def _work(transfer: Transfer) -> float:
    """Return the work of a transfer: its evaluations, each as many times as the picture has pixels."""
    return float(sum(stage.width * stage.height * stage.evaluations for stage in transfer.plan.stages))


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _told(outcome: Outcome) -> str:
    """Return what has come of a picture, in a line."""
    path, facts = places.name(outcome.task.output), outcome.facts
    match outcome.status:
        case Status.FAILED:
            return f"{outcome.task.named.title}: failed: {outcome.error}"
        case Status.MADE | Status.STOPPED:
            share = facts["share"] if facts["share"] is not None else 1.0
            ended = "" if outcome.status is Status.MADE else f"; {facts['reason']}"
            return f"{path}: {figures.loss(facts['loss'], share)} in {clock(facts['seconds'])}{ended}"
        case status:
            return f"{path}: {status}"
