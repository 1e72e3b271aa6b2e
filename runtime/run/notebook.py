"""A transfer in a notebook: a bar and the growing picture in the cell that runs it.

IPython is used if it runs already; it is not required.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from impasto import figures
from impasto.figures import clock
from impasto.runtime.run.budget import Countdown
from impasto.runtime.run.pace import Pace

if TYPE_CHECKING:
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.plan.plan import Plan
    from impasto.runtime.run.result import Result
    from impasto.runtime.run.state import Step

#: The longest side of the pictures that are shown, while they grow and of a result: a notebook keeps all of them.
GROWING_SIDE, RESULT_SIDE = 512, 1024

#: The pause between two drawings of the bar, and of the picture, in seconds; longer if drawing takes long.
_BAR_SECONDS, _PICTURE_SECONDS = 0.2, 2.0

#: The class of the shell in a notebook's kernel, Jupyter's or one that derives from it.
_SHELL = "ZMQInteractiveShell"


def is_running() -> bool:
    """Whether this process is the kernel of a notebook."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and any(kind.__name__ == _SHELL for kind in type(get_shell()).__mro__)


@contextlib.contextmanager
def live(plan: Plan, photograph: Photograph, *, wanted: bool) -> Iterator[Live | None]:
    """Show the transfer of a photograph while it runs, if that is wanted, and the error that ends it."""
    if not wanted:
        yield None
        return
    display = Live(plan, photograph)
    display.begin()
    try:
        yield display
    except BaseException as error:
        display.fail(error)
        raise


class Live:
    """A callback that shows a bar, and below it the best picture so far; use it in a cell of a notebook.

    `impasto.runtime.stylize` uses one by itself.

    Parameters
    ----------
    plan, photograph
        The plan of the transfer, and its content.
    """

    def __init__(self, plan: Plan, photograph: Photograph) -> None:
        self._bar, self._picture = _Output(), _Output()
        self._bar_pace, self._picture_pace = Pace(_BAR_SECONDS), Pace(_PICTURE_SECONDS)
        self._countdown, self._photograph, self._better = Countdown(plan), photograph, False
        self._size = plan.width, plan.height
        self._last: Step | None = None
        self._best: Step | None = None

    def __call__(self, step: Step) -> None:
        """Show an evaluation."""
        self._last = step
        if step.improved or self._best is None:
            self._best, self._better = step, True
        left = self._countdown.left(step)
        if self._bar_pace.is_due():
            began = time.monotonic()
            self._show(_under_way(step, self._best, left))
            self._bar_pace.done(began)
        if self._better and step.view and self._picture_pace.is_due():
            began = time.monotonic()
            small = self._photograph.over_white(step.picture(GROWING_SIDE))
            self._picture.show(_as_jpeg(small, self._size))
            self._picture_pace.done(began)
            self._better = False

    def weigh(self, work: Sequence[float]) -> None:
        """Take the work of each stage's evaluations: see `impasto.runtime.run.budget.Budget`."""
        self._countdown.work = work

    def begin(self) -> None:
        """Show that a transfer begins: its first evaluation may take seconds."""
        self._show("opening the model")

    def finish(self, result: Result) -> None:
        """Show the end of a transfer, and its picture."""
        summary = f"{figures.evaluations(result.evaluations)} in {clock(result.seconds)}, {result.loss_text}"
        if result.finished:
            self._show(f"done: {summary}")
        else:
            width, height = result.evaluated
            enlarged = f", {width}x{height}, enlarged" if result.evaluated != result.image.size else ""
            self._show(f"{result.reason}: {summary}; this is the best picture so far{enlarged}")
        self._picture.show(_as_jpeg(result.photograph.over_white(), self._size))

    def fail(self, error: BaseException) -> None:
        """Show that a transfer has ended without a result."""
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error or type(error).__name__}"
        self._show(f"{why}; there is no picture")

    def _show(self, text: str) -> None:
        done, planned = (self._last.evaluation, self._last.evaluations) if self._last else (0, 1)
        bar = f'<progress value="{done}" max="{planned}" style="width: 16em"></progress>'
        self._bar.show({"text/html": f"<div>{bar} {html.escape(text)}</div>", "text/plain": text})


class _Output:
    """A part of a cell's output that changes. Its first failure is a warning; later ones are ignored."""

    def __init__(self) -> None:
        from IPython import display

        self._display: Any = display.display
        self._handle: Any = None
        self._failed = False

    def show(self, forms: dict[str, str]) -> None:
        """Show forms of the same content, by MIME type, in place of those before."""
        try:
            if self._handle is None:
                self._handle = self._display(forms, raw=True, display_id=True)
            else:
                self._handle.update(forms, raw=True)
        except Exception as error:  # a front end may have gone
            if not self._failed:
                warnings.warn(f"live display: {error}; the run goes on", RuntimeWarning, stacklevel=2)
            self._failed = True


def _under_way(step: Step, best: Step, left: float | None) -> str:
    parts = [f"{step.evaluation} of {step.evaluations}", figures.loss(best.loss, best.share, best.precision_text)]
    if step.stages > 1:
        parts.append(f"stage {step.stage} of {step.stages}, {step.width}x{step.height}")
    if left is not None:
        parts.append(f"{clock(left)} left")
    return " · ".join(parts)


def _as_jpeg(picture: Image.Image, size: tuple[int, int]) -> dict[str, str]:
    """Return a picture, which may be smaller than the result, for a cell; the text tells the result's size."""
    data = encoded(picture, GROWING_SIDE, "JPEG", quality=85)
    return {"image/jpeg": base64.b64encode(data).decode(), "text/plain": "{}x{} pixels".format(*size)}


def encoded(picture: Image.Image, side: int, format_: str, **options: Any) -> bytes:
    """Return the file of a picture; it is made smaller if its long side has more pixels than `side`."""
    file = io.BytesIO()
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(file, format_, **options)
    return file.getvalue()
