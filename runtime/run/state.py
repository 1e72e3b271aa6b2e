"""The state of a transfer: one value. Steps, results, checkpoints and records are views of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from PIL import Image

from impasto.runtime.errors import InputError
from impasto.runtime.model.graphs import SINGLE, WORDS
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
class Appraisal:
    """The loss of a picture.

    Attributes
    ----------
    loss, terms
        The loss and its weighted terms.
    precision
        The precision that they were evaluated in: ``fp32``, ``bf16`` or ``fp16``.
    """

    loss: float
    terms: dict[str, float]
    precision: str


@dataclass(frozen=True)
class State:
    """The state of a transfer: enough to go on from there.

    Adam goes on as if it had not been interrupted. L-BFGS starts again from the best picture, since SciPy does not give
    away the curvature that it has learnt. The count of evaluations for `min_improvement` starts again, too.

    Attributes
    ----------
    made
        The number of evaluations in each stage that has begun; the last is the present stage.
    point
        The best picture of this stage, or of the one before if this has not begun: float32 [1, 3, h, w].
    loss, terms
        The loss of that picture and its terms, as the search has evaluated them; the loss is infinite before there is
        one.
    seconds
        The time so far.
    resumed
        The numbers of evaluations, of all stages, after which the transfer was resumed.
    adam
        The state of Adam in this stage.
    reason
        Why the last search ended, in words; empty in a state from which the transfer goes on.
    device, lowering, precision
        The device, the form of the graphs, and the precision of the evaluations.
    tile
        The side of the tiles of the last stage that was evaluated in tiles, in pixels, as the network's grid rounds it;
        None if all stages were evaluated whole.
    share
        The share of the start's loss that is left: see `impasto.runtime.run.share.Share`.
    ending
        Why the transfer has ended; None if it has not.
    final
        The loss in float32 of the picture of a transfer that has ended, if the search's is less precise.
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
    precision: str = SINGLE
    tile: int | None = None
    share: float = 1.0
    ending: RunEnding | None = None
    final: Appraisal | None = None

    @property
    def evaluations(self) -> int:
        """The number of evaluations in all stages."""
        return sum(self.made)

    @property
    def has_picture(self) -> bool:
        """Whether there is a picture with a finite loss yet."""
        return math.isfinite(self.loss)

    @property
    def appraisal(self) -> Appraisal:
        """The loss of the picture, as precisely as it is known."""
        return self.final or Appraisal(self.loss, self.terms, self.precision)

    @property
    def stage(self) -> int:
        """The number, from 1, of the last stage that has evaluated pictures."""
        return max((number for number, count in enumerate(self.made, 1) if count), default=0)

    def after(self, evaluation: Evaluation, terms: dict[str, float], share: float, seconds: float) -> State:
        """Return the state after one more evaluation; `share` is the smallest so far."""
        *before, present = self.made
        state = replace(self, made=(*before, present + 1), adam=evaluation.adam, share=share, seconds=seconds)
        if not evaluation.improved:
            return state
        return replace(state, point=evaluation.point, loss=evaluation.loss, terms=terms)

    def snapshot(self) -> State:
        """Return a copy that no later evaluation changes, from which the transfer can go on."""
        state, adam = self.to_go_on_from(), self.adam
        copied = replace(adam, mean=adam.mean.copy(), square=adam.square.copy()) if adam else None
        return replace(state, adam=copied)

    def to_go_on_from(self) -> State:
        """Return the state from which the transfer can go on; the next evaluation changes its arrays."""
        return self if self.ending is RunEnding.FINISHED else replace(self, reason="", ending=None, final=None)


class View:
    """Makes a picture, until it is closed; then it refers to nothing.

    Parameters
    ----------
    make
        Returns the picture; its long side has at most so many pixels, if a number is given.
    """

    def __init__(self, make: Callable[[int | None], Image.Image]) -> None:
        self._make: Callable[[int | None], Image.Image] | None = make

    def picture(self, side: int | None = None) -> Image.Image | None:
        """Return the picture; None once the view is closed."""
        return self._make(side) if self._make else None

    def close(self) -> None:
        """Refer to nothing from now on."""
        self._make = None


@dataclass(frozen=True)
class Step:
    """One evaluation of a transfer, as plain data.

    Attributes
    ----------
    evaluation, evaluations
        The number of this one, from 1, and the number of all evaluations planned, in all stages.
    stage, stages, width, height
        The number of the stage, from 1, the number of all stages, and the size of this one in pixels.
    of_stage
        The number of the evaluation among the stage's, from 1.
    loss, terms
        The loss and its weighted terms, which sum to it, in the precision of the evaluation.
    share
        The share of the start's loss that this loss is: see `impasto.runtime.run.share.Share`.
    improved
        Whether no earlier loss of this stage was as low.
    change
        The difference from the picture that was evaluated before, in levels, root mean square; 0 for a stage's first.
    seconds
        The time since the transfer began.
    precision
        The precision of the evaluation: ``fp32``, ``bf16`` or ``fp16``.
    view
        Makes the picture while the callback runs; None if there is no picture yet.
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
    precision: str = SINGLE
    view: View | None = field(default=None, repr=False, compare=False)

    @property
    def precision_text(self) -> str:
        """The precision in words, if it is less than float32; else empty."""
        return "" if self.precision == SINGLE else WORDS[self.precision]

    def picture(self, side: int | None = None) -> Image.Image:
        """Return the best picture so far, in the size of the result. Call it while the callback runs.

        Parameters
        ----------
        side
            Make it smaller if its long side would have more pixels: that takes less time and memory.

        Raises
        ------
        InputError
            When there is no picture: after the callback, or before any loss was finite.
        """
        picture = self.view.picture(side) if self.view else None
        if picture is None:
            raise InputError(f"evaluation {self.evaluation}: has no picture; ask for it while its callback runs")
        return picture

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: the plain data."""
        return {**self.__dict__, "view": None}


Callback = Callable[[Step], None]
