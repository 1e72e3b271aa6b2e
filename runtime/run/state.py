"""The state of a transfer: one value, of which steps, results, checkpoints and records are views."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from PIL import Image

from impasto.runtime.errors import InputError
from impasto.runtime.optimize.adam import Adam
from impasto.runtime.optimize.search import Evaluation
from impasto.runtime.pictures.planes import Planes


class RunEnding(Enum):
    """Why a transfer has ended."""

    FINISHED = "finished"
    STOPPED = "stopped by the callback"
    TIME_OVER = "the time limit was reached"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True)
class State:
    """Where a transfer stands: enough to go on from there.

    Adam goes on as if nothing had happened. L-BFGS begins anew from the best picture: SciPy keeps the curvature that it
    has learnt to itself. What `min_improvement` watches begins anew, too.

    Attributes
    ----------
    made
        Evaluations made in each stage begun so far; the last is the present one.
    point
        The best picture of this stage, or of the one before where this has not begun: float32 [1, 3, h, w].
    loss, terms
        Of that picture; infinite before there is one.
    seconds
        Time spent so far.
    resumed
        After how many evaluations, of all stages, the transfer has been resumed.
    adam
        Where Adam stands in this stage.
    reason
        Why the last search ended, in words; of a state to go on from, empty.
    device, lowering
        Where and how it ran.
    share
        What share of the start's loss is left: see `impasto.runtime.run.share.Share`.
    ending
        Why it has ended, if it has.
    """

    made: tuple[int, ...]
    point: Planes
    loss: float = math.inf
    terms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: tuple[int, ...] = ()
    adam: Adam | None = None
    reason: str = ""
    device: str = ""
    lowering: str = ""
    share: float = 1.0
    ending: RunEnding | None = None

    @property
    def evaluations(self) -> int:
        """How many were made in all stages."""
        return sum(self.made)

    @property
    def has_picture(self) -> bool:
        """Whether a picture with a finite loss has been found yet."""
        return math.isfinite(self.loss)

    @property
    def stage(self) -> int:
        """The number, from 1, of the last stage that has evaluated pictures."""
        return max((number for number, made in enumerate(self.made, 1) if made), default=0)

    def after(self, evaluation: Evaluation, terms: dict[str, float], share: float, seconds: float) -> State:
        """Return the state after one evaluation more, `share` being the least so far."""
        *before, present = self.made
        state = replace(self, made=(*before, present + 1), adam=evaluation.adam, share=share, seconds=seconds)
        if not evaluation.improved:
            return state
        return replace(state, point=evaluation.point, loss=evaluation.loss, terms=terms)

    def kept(self) -> State:
        """Return the state to go on from another day: a copy that no later evaluation changes."""
        adam = self.adam
        copied = replace(adam, mean=adam.mean.copy(), square=adam.square.copy()) if adam else None
        if self.ending is RunEnding.FINISHED:
            return replace(self, adam=copied)
        return replace(self, adam=copied, reason="", ending=None)


@dataclass(frozen=True)
class Step:
    """One evaluation of a transfer, as plain data.

    Attributes
    ----------
    evaluation, evaluations
        The number of this one, from 1, and how many there will be, in all stages.
    stage, stages, width, height
        The number of the stage, from 1, how many there will be, and the size of this one in pixels.
    of_stage
        The number of the evaluation among the stage's, from 1.
    loss, terms
        The loss and its weighted terms, which sum to it.
    share
        What share of the start's loss that is: see `impasto.runtime.run.share.Share`.
    improved
        Whether no earlier loss of this stage was as low.
    change
        By how many levels, root mean square, the picture differs from the one evaluated before; 0 for a stage's first.
    seconds
        Time since the transfer began.
    view
        Makes the picture while the callback runs; None where there is none yet, and afterwards.
    """

    evaluation: int
    evaluations: int
    stage: int
    stages: int
    width: int
    height: int
    of_stage: int
    loss: float
    terms: dict[str, float]
    share: float
    improved: bool
    change: float
    seconds: float
    view: Callable[[], Image.Image] | None = field(default=None, repr=False, compare=False)

    def picture(self) -> Image.Image:
        """Return the best picture so far, in the size of the result; to be called while the callback runs.

        Raises
        ------
        InputError
            When there is none: afterwards, or before any loss was finite.
        """
        if self.view is None:
            raise InputError(f"evaluation {self.evaluation}: has no picture; ask for it while its callback runs")
        return self.view()

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: the plain data."""
        return {**self.__dict__, "view": None}


Callback = Callable[[Step], None]
