"""The end of a search: its reason as a value, and as a sentence for people."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from impasto import figures


class Ending(enum.Enum):
    """The kinds of reasons for which a search ends."""

    #: All evaluations were made.
    EVALUATIONS = enum.auto()
    #: There is no lower loss, or the precision does not show it.
    CONVERGED = enum.auto()
    #: The last evaluations have lowered the loss by too little.
    LITTLE_IMPROVEMENT = enum.auto()
    #: Loss or gradient was not finite.
    NOT_FINITE = enum.auto()
    #: The function failed.
    FAILED = enum.auto()
    #: The callback raised `StopOptimization`: the whole optimisation ends.
    STOPPED = enum.auto()
    #: The callback raised `SearchOver`: this search ends, and the optimisation goes on.
    SEARCH_STOPPED = enum.auto()

    @property
    def from_outside(self) -> bool:
        """Whether the reason comes from the callback or the function: then the whole optimisation ends, too."""
        return self in (Ending.STOPPED, Ending.FAILED)


class StopOptimization(Exception):
    """Raised by a callback to end the optimisation early; the best point so far is the result."""

    ending: ClassVar[Ending] = Ending.STOPPED


class SearchOver(StopOptimization):
    """Raised by a callback to end a search, but not the optimisation that it is part of."""

    ending: ClassVar[Ending] = Ending.SEARCH_STOPPED


@dataclass(frozen=True)
class End:
    """The end of a search: its kind, and the sentence that says it."""

    kind: Ending
    sentence: str


FLAT = End(Ending.CONVERGED, "converged: the gradient is zero")
HELD = End(Ending.CONVERGED, "converged: the gradient is zero, or leads out of the bounds")
STUCK = End(Ending.CONVERGED, "converged: float32 shows no lower loss in the direction of the gradient")

#: The same where the precision is lower, after several new starts.
LOST = End(Ending.CONVERGED, "converged: the loss is too coarse, in its precision, to show a lower one")


def all_made(evaluations: int) -> End:
    """Return the end after so many evaluations."""
    return End(Ending.EVALUATIONS, figures.all_made(evaluations))


def little_improvement(patience: int, share: float) -> End:
    """Return the end after so many evaluations that have lowered the loss by less than a share of it."""
    return End(Ending.LITTLE_IMPROVEMENT, f"{patience} evaluations lowered the loss by less than {share:g} of it")


def not_finite(number: int) -> End:
    """Return the end at an evaluation whose loss or gradient is not finite."""
    return End(Ending.NOT_FINITE, f"loss or gradient was not finite at evaluation {number}")


def failed(number: int, error: Exception, *, during: bool = True) -> End:
    """Return the end by a failure during an evaluation, or after it and before the next one."""
    part = f"evaluation {number}" if during else f"the step after evaluation {number}"
    return End(Ending.FAILED, f"{part} failed: {error}")


def stopped(error: StopOptimization) -> End:
    """Return the end that a callback asks for."""
    return End(error.ending, str(error) or "stopped by the callback")
