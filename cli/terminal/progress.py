"""Progress of a transfer: live on a terminal, plain lines in a pipe."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from impasto import figures
from impasto.cli.terminal.messages import is_live, is_terminal, say
from impasto.cli.terminal.width import width
from impasto.figures import clock, roughly
from impasto.text import printable

if TYPE_CHECKING:
    from impasto.runtime import Step
    from impasto.runtime.plan.plan import Plan

#: About so many plain lines are written in all.
_LINES = 40

#: Below so many columns the live line leaves out the terms; the raw loss; the stage; the bar; any loss.
_WIDE, _MIDDLE, _SMALL, _NARROW, _TINY = 130, 100, 70, 50, 32

#: After so many seconds without a plain line, one says which tile is done.
_SILENCE = 30.0

#: A run is called slower than estimated when it takes so many times as long, and so many seconds more.
_SLOWER, _SECONDS = 1.3, 10.0


class Progress:
    """Shows the evaluations of a transfer, one by one; use it in a `with` block.

    Parameters
    ----------
    plan
        The plan of the transfer.
    expected
        The estimated seconds of the whole transfer; None without an estimate.
    done
        The number of evaluations that a resumed transfer has made before.
    work
        For each stage, the work of an evaluation: see `impasto.runtime.run.budget.Budget`.
    batch
        The batch that the transfer is one of: it is shown in the lines of that, and plain lines are few.
    name
        The name of the picture in the batch.
    """

    def __init__(
        self,
        plan: Plan,
        expected: float | None = None,
        done: int = 0,
        work: Sequence[float] | None = None,
        *,
        batch: BatchProgress | None = None,
        name: str = "",
    ) -> None:
        from impasto.runtime.run.budget import Countdown

        self._batch, self._name = batch, name
        self._live: Any = None
        self._task: Any = None
        self._best: Step | None = None
        self._evaluations, self._text, self._spoke = plan.evaluations, "", time.monotonic()
        self._evaluation = done
        self._next_line, self._expected = 1, expected
        self._clock = Countdown(plan, work)

    def __enter__(self) -> Progress:
        if self._batch:
            self._live = self._batch.live
        elif is_live():
            self._live = _bar()
            self._live.start()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._batch and self._live and self._task is not None:
            self._live.remove_task(self._task)
        elif not self._batch:
            self.leave()

    def leave(self) -> None:
        """Reset the terminal."""
        if self._live:
            self._live.stop()

    def finish(self, summary: str) -> None:
        """Say what has come of the transfer; of one in a batch, the batch says it."""
        if not self._batch:
            say(summary)

    def show(self, step: Step) -> None:
        """Show an evaluation. Only those that lower the loss are reported; a line search may try others."""
        if step.improved or self._best is None:
            self._best = step
        left = self._clock.left(step)
        self._evaluation = step.evaluation
        self._correct(step, left)
        if self._live:
            self._show_live(step, self._best, left)
        elif self._batch:
            if step.improved and time.monotonic() - self._spoke > _SILENCE:
                self._say(f"{self._name}: {_plain(step, left)}")
        elif step.improved and step.evaluation >= self._next_line:
            self._say(_plain(step, left))
            self._next_line = step.evaluation + max(1, step.evaluations // _LINES)

    def show_tile(self, number: int, tiles: int) -> None:
        """Show that a tile of the present evaluation is done; as a plain line, only where nothing was said for long."""
        if self._live:
            tile = f"tile {number}/{tiles}"
            self._update(self._evaluation, _line(self._text, tile) if self._live.console.width >= _MIDDLE else tile)
        elif number < tiles and time.monotonic() - self._spoke > _SILENCE:
            self._say(f"evaluation {self._evaluation + 1}/{self._evaluations}: tile {number} of {tiles}")

    def _say(self, text: str) -> None:
        say(text)
        self._spoke = time.monotonic()

    def _correct(self, step: Step, left: float | None) -> None:
        """Say so if the estimate turns out to be too short."""
        if self._expected is None or left is None or not self._clock.is_sure(step):
            return
        whole = step.seconds + left
        if whole > max(_SLOWER * self._expected, self._expected + _SECONDS):
            say(f"slower than estimated: about {roughly(whole)} in all")
            self._expected = whole

    def _show_live(self, step: Step, best: Step, left: float | None) -> None:
        width = self._live.console.width
        parts: list[str] = []
        if width >= _MIDDLE:
            parts += _figures(best) if width >= _WIDE else _figures(best)[:1]
        elif width >= _TINY:
            parts.append(f"loss {figures.percent(best.share)}")
        if width >= _SMALL:
            parts += _stage(step)
        self._text = _line(*parts, _time(left))
        self._update(step.evaluation, self._text)

    def _update(self, evaluation: int, text: str) -> None:
        if self._task is None:
            self._task = self._live.add_task("", total=self._evaluations, text="")
        named = self._batch is not None and self._batch.lanes > 1
        self._live.update(self._task, completed=evaluation, text=_line(self._name, text) if named else text)


class JsonProgress(Progress):
    """Tells every evaluation, and every tile of one, to a program: a line of JSON each, among the other messages.

    ``{"step": {...}}`` has what a log has of an evaluation, and the numbers of all evaluations and stages that are
    planned, the share of the start's loss, and the seconds that are left, or null. ``{"tile": {...}}`` has the
    `evaluation`, the number of the `tile` that is done, and that of all `tiles`.
    """

    def __enter__(self) -> JsonProgress:
        return self

    def show(self, step: Step) -> None:
        """Tell an evaluation."""
        from impasto.runtime.run.watch import finite, line

        left = self._clock.left(step)
        self._evaluation = step.evaluation
        self._correct(step, left)
        more = {
            "evaluations": step.evaluations,
            "stages": step.stages,
            "share": finite(step.share),
            "left": None if left is None else round(left, 1),
        }
        say(json.dumps({"step": {**line(step), **more}}))

    def show_tile(self, number: int, tiles: int) -> None:
        """Tell that a tile of the present evaluation is done."""
        say(json.dumps({"tile": {"evaluation": self._evaluation + 1, "tile": number, "tiles": tiles}}))


class BatchProgress:
    """Shows the pictures of a batch, and how long all will take; use it in a `with` block.

    Parameters
    ----------
    work
        The work of each picture, in any unit.
    expected
        The estimated seconds of all of them, one after the other; None without an estimate.

    Attributes
    ----------
    live
        The live bar of rich, on a terminal.
    lanes
        How many pictures are made at a time.
    """

    def __init__(self, work: Sequence[float], expected: float | None = None) -> None:
        self.live: Any = None
        self.lanes = 1
        self._task: Any = None
        self._work, self._rate = list(work), expected and expected / (sum(work) or 1)
        self._open = set(range(len(self._work)))
        self._seconds, self._painted = 0.0, 0.0

    def __enter__(self) -> BatchProgress:
        if is_live():
            self.live = _bar()
            self.live.start()
            self._task = self.live.add_task("", total=len(self._work), text=_time(self.left))
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Reset the terminal."""
        if self.live:
            self.live.stop()

    @property
    def left(self) -> float | None:
        """The seconds that the pictures that are left will take; None while nothing is known."""
        if self._rate is None:
            return None
        return self._rate * sum(self._work[number] for number in self._open) / self.lanes

    def begin(self, name: str) -> Callable[..., Progress]:
        """Show which picture comes next; return what makes the progress of its transfer, as `Progress` does."""
        if self.live:
            self._show(printable(name) if self.lanes == 1 else "")
        return functools.partial(Progress, batch=self, name=printable(name))

    def end(self, number: int, seconds: float | None) -> None:
        """Note that a picture, by its number from 0, took so many seconds; None for one that was not painted."""
        if seconds is not None:
            self._seconds += seconds
            self._painted += self._work[number]
            self._rate = self._seconds / (self._painted or 1)
        self._open.discard(number)
        if self.live:
            self._show()

    def _show(self, name: str = "") -> None:
        done = len(self._work) - len(self._open)
        self.live.update(self._task, completed=done, text=_line(name, _time(self.left)))


def _plain(step: Step, left: float | None) -> str:
    """Return a plain line for an evaluation; on a terminal, with as many figures of the loss as it has room for."""
    count, short = f"evaluation {step.evaluation}/{step.evaluations}", f"loss {figures.percent(step.share)}"
    forms = [_line(count, *loss, *_stage(step), _time(left)) for loss in (_figures(step), _figures(step)[:1], [short])]
    if not is_terminal():
        return forms[0]
    columns = width()
    return next((line for line in forms if len(line) <= columns), forms[-1])


def _line(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _figures(step: Step) -> list[str]:
    """Return the loss, and the sums of its terms of content, style and smoothness."""
    sums: dict[str, float] = {}
    for name, value in step.terms.items():
        kind = name.partition("/")[0]
        sums[kind] = sums.get(kind, 0.0) + value
    terms = ", ".join(f"{kind} {figures.number(value)}" for kind, value in sums.items())
    return [figures.loss(step.loss, step.share, step.precision_text), terms]


def _stage(step: Step) -> list[str]:
    if step.stages == 1:
        return []
    return [f"stage {step.stage}/{step.stages}, {step.width}x{step.height}"]


def _time(left: float | None) -> str:
    return "" if left is None else f"{clock(left)} left"


def _bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    bar = live_bar(BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.fields[text]}", markup=False))
    if bar.console.width < _NARROW:
        bar.columns = bar.columns[1:]
    return bar


def live_bar(*columns: Any) -> Any:
    """Return a progress bar of rich with these columns, for the terminal. Messages appear above it."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    return Bar(*columns, console=Console(file=sys.stderr))
