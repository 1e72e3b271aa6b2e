"""Progress of a transfer: live on a terminal, plain lines in a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from impasto.runtime import Step

#: About so many plain lines are written in all.
_LINES = 40


class Progress:
    """Shows each evaluation as it is done; use it in a `with` block."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Any = None
        self._task: Any = None
        self._best = 0.0
        self._next_line = 1

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            self._live = _live_bar(self._stream)
            self._live.start()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Give the terminal back as it was."""
        if self._live:
            self._live.stop()

    def show(self, step: Step) -> None:
        """Show an evaluation. Only those that lower the loss are reported; a line search may try others."""
        if step.improved:
            self._best = step.loss
        if self._live:
            self._show_live(step)
        elif step.improved and step.evaluation >= self._next_line:
            print(
                f"evaluation {step.evaluation}/{step.evaluations}  {_figures(step, self._best)}",
                file=self._stream,
                flush=True,
            )
            self._next_line = step.evaluation + max(1, step.evaluations // _LINES)

    def _show_live(self, step: Step) -> None:
        if self._task is None:
            self._task = self._live.add_task("", total=step.evaluations, figures="")
        self._live.update(self._task, completed=step.evaluation, figures=_figures(step, self._best))


def _figures(step: Step, best: float) -> str:
    left = step.seconds / step.evaluation * (step.evaluations - step.evaluation)
    minutes, seconds = divmod(round(left), 60)
    return f"loss {best:.4g}  {minutes}:{seconds:02d} left"


def _live_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    return Bar(*columns, console=Console(file=stream))
