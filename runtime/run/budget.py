"""How the time of a transfer is divided among its stages, where there is a limit to it; and how much is left.

Each stage takes as much less as the others do, in evaluations. A stage that would get too few of them to pay off is not
begun: the stages before it have its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.run.timings import FORWARD

if TYPE_CHECKING:
    from impasto.runtime.run.state import Step

#: A stage starts from the picture of the one before, enlarged. With fewer evaluations than these it hardly changes it,
#: and opening its graphs takes as long.
PAYS = 5

#: After so many evaluations of a transfer it is known how fast the machine is.
SURE = 5

#: How many evaluations tell how long the next ones will take.
_RECENT = 30


class Rate:
    """The seconds of an evaluation for each pixel, as the last evaluations have shown it.

    An evaluation takes time in proportion to its pixels. The rate is that of the present stage's last evaluations, for
    a machine may get other work to do; before there are two, that of the stage before.

    Attributes
    ----------
    value
        None where nothing is known yet.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._stage = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)

    def note(self, stage: int, evaluation: int, pixels: int, seconds: float) -> None:
        """Take in that an evaluation has ended, so many seconds after the transfer began."""
        if stage != self._stage:
            self._recent.clear()
        self._stage = stage
        self._recent.append((evaluation, seconds))
        first, began = self._recent[0]
        if evaluation > first:
            self.value = (seconds - began) / ((evaluation - first) * pixels)


class Budget:
    """Says when a stage has had its share of the time, and whether the next one pays off.

    Parameters
    ----------
    stages
        As planned.
    limit
        Seconds, of the whole transfer; None where there is no limit.
    pictures
        How many pictures' targets are measured when a stage is opened.
    """

    def __init__(self, stages: Sequence[Stage], limit: float | None, pictures: int) -> None:
        self._stages, self._limit, self._pictures = stages, limit, pictures
        self._rate = Rate()
        self._began = self._fixed = 0.0

    def begin(self, seconds: float) -> None:
        """Take in that a stage begins, before its graphs are opened, so many seconds after the transfer began."""
        self._began = seconds

    def note(self, number: int, made: int, evaluation: int, seconds: float) -> None:
        """Take in that an evaluation has ended: the stage's index, how many it has made, and all have."""
        stage = self._stages[number]
        self._rate.note(number, evaluation, stage.width * stage.height, seconds)
        if made == 1:
            self._fixed = seconds - self._began
        elif made == 2 and (rate := self._rate.value):  # now it can be told what of that was work for pixels
            self._fixed = max(0.0, self._fixed - rate * self._work(stage))

    def spent(self, number: int, seconds: float) -> bool:
        """Whether the time is over; within half an evaluation, when their time is known."""
        if self._limit is None:
            return False
        return seconds + self._evaluation(number) / 2 >= self._limit

    def is_enough(self, number: int, made: int, seconds: float) -> bool:
        """Whether a stage has had its share, and is to leave the rest of the time to the later ones."""
        if self._limit is None or self._rate.value is None:
            return False
        later = list(range(number + 1, len(self._stages)))
        while later:
            share = self._share(number, made, later, seconds)
            if all(share * self._stages[k].evaluations >= self._least(k) for k in later):
                return made >= share * self._stages[number].evaluations
            later.pop()
        return False

    def pays(self, number: int, seconds: float) -> bool:
        """Whether a stage that has not begun pays off in the time that is left."""
        if self._limit is None or self._rate.value is None:
            return True
        left = self._limit - seconds - self._opening(number)
        return left >= self._least(number) * self._evaluation(number)

    def _share(self, number: int, made: int, later: Sequence[int], seconds: float) -> float:
        """Return what share of its evaluations each stage can make, so that all end with the limit."""
        assert self._limit is not None
        left = self._limit - seconds - sum(map(self._opening, later))
        planned = sum(self._stages[k].evaluations * self._evaluation(k) for k in (number, *later))
        return min(1.0, (left + made * self._evaluation(number)) / planned)

    def _least(self, number: int) -> int:
        return min(PAYS, self._stages[number].evaluations)

    def _evaluation(self, number: int) -> float:
        """Return the seconds of one evaluation, as far as they are known."""
        stage = self._stages[number]
        return (self._rate.value or 0.0) * stage.width * stage.height

    def _opening(self, number: int) -> float:
        """Return the seconds until a stage's first evaluation begins."""
        return self._fixed + FORWARD * self._pictures * self._evaluation(number)

    def _work(self, stage: Stage) -> float:
        """Return the pixels' part of what comes before the end of a stage's first evaluation, in pixels."""
        return (1 + FORWARD * self._pictures) * stage.width * stage.height


class Clock:
    """Says how long a transfer will still take, if every evaluation does what it plans.

    Later stages are slower: see `Rate`. A time limit is never exceeded.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._rate = plan, Rate()

    @staticmethod
    def is_sure(step: Step) -> bool:
        """Whether an evaluation is late enough to tell how fast the machine is."""
        return step.evaluation >= SURE

    def left(self, step: Step) -> float | None:
        """Return the seconds that are left after an evaluation; None where there is nothing to tell by."""
        plan, pixels = self._plan, step.width * step.height
        self._rate.note(step.stage, step.evaluation, pixels, step.seconds)
        if self._rate.value is None:
            return None
        work = (plan.stages[step.stage - 1].evaluations - step.of_stage) * pixels
        work += sum(stage.evaluations * stage.width * stage.height for stage in plan.stages[step.stage :])
        seconds = self._rate.value * work
        return seconds if plan.time_limit is None else max(0.0, min(seconds, plan.time_limit - step.seconds))
