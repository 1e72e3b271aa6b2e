"""``impasto plot``: the losses of runs, drawn from their logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

from impasto import packages
from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.options import FILE, argument, option
from impasto.cli.terminal.messages import warn

if TYPE_CHECKING:
    from PIL import Image

    from impasto.cli.drawing.chart import Line, Mark
    from impasto.runtime.run.watch import LogLine

#: The note on a chart with stages.
_JUMPS = "A dashed line begins a finer stage. Losses of two sizes do not compare: the jump is no step back."

#: The colours of the loss; of logs; of terms by kind. Logs and terms take them in this order. Neighbours differ in
#: lightness, so that colour-blind people can tell them apart. Most are from the palette of Okabe and Ito (2008).
_LOSS = "#22252a"
_LOGS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#aa4499", "#56b4e9", "#661100", "#6b7078")
_KINDS = {
    "content": ("#0072b2", "#56b4e9", "#003f66", "#88b8dd", "#2a5a86"),
    "style": ("#8a2500", "#d55e00", "#e69f00", "#aa4499", "#c46fb2"),
    "tv": ("#009e73",),
}


@examples(
    "impasto plot run.jsonl --output losses.png",
    "impasto plot first.jsonl second.jsonl --output compared.png",
)
def plot(
    logs: Annotated[list[Path], argument("LOGS", help="A log that stylize wrote, or several to compare.")],
    output: Annotated[
        str, option("--output", "-o", value=FILE, help="The chart, .png or .jpg, or - for a PNG.")
    ] = "losses.png",
    force: options.Force = False,
) -> None:
    """Draw the loss and its terms against the evaluations; of several LOGS, the losses only.

    Where a finer stage begins the lines jump: losses of two sizes of a picture do not compare.
    """
    from impasto.cli.job.writing import write
    from impasto.runtime.pictures import encoding

    _check_matplotlib()
    encoding.check_output(output, force=force, inputs=logs)
    runs = [Run.read(path) for path in logs]
    write(chart_of_terms(runs[0]) if len(runs) == 1 else chart_of_losses(runs), output, replace=force)


def _check_matplotlib() -> None:
    """Import matplotlib, and keep it from writing about its cache of fonts and the user's settings.

    Raises
    ------
    InputError
        When matplotlib is not installed.
    """
    from impasto.runtime import InputError

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from impasto.cli.drawing import chart  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; to plot, {packages.PLOT}") from None


@dataclass(frozen=True)
class Run:
    """A run, read from its log; `steps` are the lines with a finite loss above 0, in order."""

    name: str
    steps: list[LogLine]

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read a log; an unfinished last line is left out.

        Raises
        ------
        InputError
            When it cannot be read, or is no log.
        """
        from impasto.runtime import InputError

        try:
            with path.open("rb") as file:
                steps = list(_read_lines(file, path))
        except OSError as error:
            raise InputError(f"log {path}: cannot be read ({error.strerror}); check the path") from None
        steps = [step for step in steps if step.loss is not None and step.loss > 0]
        if not steps:
            raise InputError(f"log {path}: holds no evaluation; wait for the first")
        return cls(path.stem, steps)

    def best(self) -> list[LogLine]:
        """Return the steps that lowered their stage's loss; the others are trials of a line search."""
        return [step for step in self.steps if step.improved] or self.steps[:1]

    def marks(self) -> list[Mark]:
        """Return a mark for the beginning of each stage, if there are several."""
        from impasto.cli.drawing.chart import Mark

        stages: dict[int, LogLine] = {}
        for step in self.steps:
            stages.setdefault(step.stage, step)
        marks = [Mark(step.evaluation, f"{step.width}x{step.height}") for step in stages.values()]
        return marks if len(marks) > 1 else []


def _read_lines(file: IO[bytes], path: Path) -> Iterator[LogLine]:
    """Yield the lines of a log, one by one: another file might have no end."""
    from impasto.runtime import InputError
    from impasto.runtime.run.watch import LONGEST_LINE, LogLine

    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
        if len(line) <= LONGEST_LINE and not line.endswith(b"\n"):
            warn(f"log {path}: its last line is unfinished and left out")
            return
        try:
            yield LogLine.read(line)
        except InputError as error:
            raise InputError(
                f"log {path}: line {number} is none of stylize's --log ({error}); give that file"
            ) from None


def _paths(values: list[tuple[LogLine, float | None]]) -> list[list[tuple[float, float]]]:
    """Return a path for every stage, through the values of its steps: losses of two sizes do not compare."""
    stages: dict[int, list[tuple[float, float]]] = {}
    for step, value in values:
        if value is not None and value > 0:
            stages.setdefault(step.stage, []).append((step.evaluation, value))
    return list(stages.values())


def chart_of_terms(run: Run) -> Image.Image:
    """Draw a run's loss and terms; the trials of a line search are dots."""
    from impasto.cli.drawing.chart import Line, draw

    best = run.best()
    trials = [(step.evaluation, step.loss) for step in run.steps if not step.improved and step.loss]
    counts = dict.fromkeys(_KINDS, 0)
    lines = []
    for name in dict.fromkeys(name for step in best for name in step.terms):
        kind = name.partition("/")[0]
        if paths := _paths([(s, s.terms.get(name)) for s in best]):
            colors = _KINDS.get(kind, _LOGS)
            lines.append(Line(name.replace("/", " "), paths, colors[counts.get(kind, 0) % len(colors)], 1.8))
            counts[kind] = counts.get(kind, 0) + 1
    lines.append(Line("loss", _paths([(s, s.loss) for s in best]), _LOSS, 3, trials))
    title = f"{run.name}: the loss and its terms"
    return draw(lines, title=title, x_name="evaluations", marks=run.marks(), note=_JUMPS if run.marks() else "")


def chart_of_losses(runs: list[Run]) -> Image.Image:
    """Draw the losses of several runs."""
    from impasto.cli.drawing.chart import Line, draw

    lines: list[Line] = []
    for k, run in enumerate(runs):
        lines.append(Line(run.name, _paths([(s, s.loss) for s in run.best()]), _LOGS[k % len(_LOGS)], 2.4))
    marks = [run.marks() for run in runs]
    shared = marks[0] if all(other == marks[0] for other in marks) else []
    return draw(lines, title="losses", x_name="evaluations", marks=shared, note=_JUMPS if any(marks) else "")
