"""A transfer in a notebook: a bar and the growing picture in the cell that runs it.

IPython is used where it runs already, and needed nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import sys
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from impasto import figures
from impasto.figures import clock
from impasto.runtime.run.budget import Clock
from impasto.runtime.run.pace import Pace

if TYPE_CHECKING:
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.plan.plan import Plan
    from impasto.runtime.run.result import Result
    from impasto.runtime.run.state import Step

#: No picture is shown with a longer side while it grows, nor of a result: a notebook keeps what it shows.
GROWING_SIDE, RESULT_SIDE = 512, 1024

#: Seconds from one time that the bar, and the picture, is drawn to the next; more if showing it takes long.
_BAR_SECONDS, _PICTURE_SECONDS = 0.2, 2.0

#: What a notebook's kernel calls its shell: Jupyter's, and those that derive from it.
_SHELL = "ZMQInteractiveShell"


def is_running() -> bool:
    """Whether this process is the kernel of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and any(kind.__name__ == _SHELL for kind in type(get_shell()).__mro__)


@contextlib.contextmanager
def live(plan: Plan, photograph: Photograph, *, wanted: bool) -> Iterator[Live | None]:
    """Show the transfer of a photograph while it runs, if that is wanted; and what ends it with an error."""
    if not wanted:
        yield None
        return
    shown = Live(plan, photograph)
    shown.begin()
    try:
        yield shown
    except BaseException as error:
        shown.fail(error)
        raise


class Live:
    """A callback that shows a bar, and below it the best picture so far; use it in a cell of a notebook.

    `impasto.runtime.stylize` uses one by itself.

    Parameters
    ----------
    plan, photograph
        What is done, and with which content.
    """

    def __init__(self, plan: Plan, photograph: Photograph) -> None:
        self._bar, self._picture = _Output(), _Output()
        self._bar_pace, self._picture_pace = Pace(_BAR_SECONDS), Pace(_PICTURE_SECONDS)
        self._clock, self._photograph, self._better = Clock(plan), photograph, False
        self._last: Step | None = None
        self._best: Step | None = None

    def __call__(self, step: Step) -> None:
        """Show an evaluation."""
        self._last = step
        if step.improved or self._best is None:
            self._best, self._better = step, True
        left = self._clock.left(step)
        if self._bar_pace.is_due():
            began = time.monotonic()
            self._show(_under_way(step, self._best, left))
            self._bar_pace.done(began)
        if self._better and step.view and self._picture_pace.is_due():
            began = time.monotonic()
            self._picture.show(_as_jpeg(self._photograph.over_white(step.picture())))
            self._picture_pace.done(began)
            self._better = False

    def begin(self) -> None:
        """Show that a transfer is about to begin: the first evaluation may take seconds."""
        self._show("opening the model")

    def finish(self, result: Result) -> None:
        """Show how a transfer has ended, and its picture."""
        count, loss = figures.evaluations(result.evaluations), figures.loss(result.loss, result.share)
        made = f"{count} in {clock(result.seconds)}, {loss}"
        if result.finished:
            self._show(f"done: {made}")
        else:
            width, height = result.evaluated
            enlarged = f", {width}x{height}, enlarged" if result.evaluated != result.image.size else ""
            self._show(f"{result.reason}: {made}; this is the best picture so far{enlarged}")
        self._picture.show(_as_jpeg(result.photograph.over_white()))

    def fail(self, error: BaseException) -> None:
        """Show that a transfer has ended without a result."""
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error or type(error).__name__}"
        self._show(f"{why}; there is no picture")

    def _show(self, said: str) -> None:
        made, of = (self._last.evaluation, self._last.evaluations) if self._last else (0, 1)
        bar = f'<progress value="{made}" max="{of}" style="width: 16em"></progress>'
        self._bar.show({"text/html": f"<div>{bar} {html.escape(said)}</div>", "text/plain": said})


class _Output:
    """One thing that a cell shows, and that changes. What goes wrong with it is a warning, once."""

    def __init__(self) -> None:
        from IPython import display

        self._display: Any = display.display
        self._handle: Any = None
        self._failed = False

    def show(self, forms: dict[str, str]) -> None:
        """Show something, by the types of its forms, in place of what was shown before."""
        try:
            if self._handle is None:
                self._handle = self._display(forms, raw=True, display_id=True)
            else:
                self._handle.update(forms, raw=True)
        except Exception as error:  # a front end has gone, perhaps
            if not self._failed:
                warnings.warn(f"live display: {error}; the run goes on", RuntimeWarning, stacklevel=2)
            self._failed = True


def _under_way(step: Step, best: Step, left: float | None) -> str:
    parts = [f"{step.evaluation} of {step.evaluations}", figures.loss(best.loss, best.share)]
    if step.stages > 1:
        parts.append(f"stage {step.stage} of {step.stages}, {step.width}x{step.height}")
    if left is not None:
        parts.append(f"{clock(left)} left")
    return " · ".join(parts)


def _as_jpeg(picture: Image.Image) -> dict[str, str]:
    data = encoded(picture, GROWING_SIDE, "JPEG", quality=85)
    return {"image/jpeg": base64.b64encode(data).decode(), "text/plain": f"{picture.width}x{picture.height} pixels"}


def encoded(picture: Image.Image, side: int, format_: str, **options: Any) -> bytes:
    """Return the file of a picture, made smaller where its long side has more pixels."""
    file = io.BytesIO()
    shown = picture.copy()
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    shown.save(file, format_, **options)
    return file.getvalue()
