"""The time of a transfer: its division among the stages when there is a limit, and the time that is left.

All stages give up the same share of their evaluations. A stage that would get too few of them is not begun: its time
goes to the stages before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from impasto.runtime.engine.footprints import TILED_WORK
from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.run.timings import FORWARD

if TYPE_CHECKING:
    from impasto.runtime.run.state import Step

#: A stage with fewer evaluations hardly changes the enlarged picture that it starts from, and opening its graphs takes
#: as long as these evaluations.
LEAST_EVALUATIONS = 5

#: After so many evaluations of a transfer, the speed of the machine is known.
SETTLED = 5

#: The last evaluations, this many, predict how long the next ones will take.
_RECENT = 30


class Rate:
    """The seconds of an evaluation for each pixel of its work, measured on the last evaluations.

    The time of an evaluation is proportional to its work: the pixels, and in tiles a multiple of them. Only the last
    evaluations of the present stage count, since a machine may get other work to do. Until the stage has two, the rate
    is that of the stage before.

    Attributes
    ----------
    value
        The rate; None while nothing is known yet.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._stage = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)

    def note(self, stage: int, evaluation: int, work: float, seconds: float) -> None:
        """Note that an evaluation of so much work has ended, so many seconds after the transfer began."""
        if stage != self._stage:
            self._recent.clear()
        self._stage = stage
        self._recent.append((evaluation, seconds))
        first, began = self._recent[0]
        if evaluation > first:
            self.value = (seconds - began) / ((evaluation - first) * work)


class Budget:
    """Says when a stage has used its share of the time, and whether the next one is worth beginning.

    Parameters
    ----------
    stages
        The planned stages.
    limit
        The time limit of the whole transfer, in seconds; None when there is no limit.
    pictures
        The number of pictures whose targets are measured when a stage is opened.
    work
        For each stage, the work of an evaluation as a multiple of that of whole pictures, which it is by default: see
        `impasto.runtime.run.fitting.Need.work`.
    """

    def __init__(
        self, stages: Sequence[Stage], limit: float | None, pictures: int, work: Sequence[float] | None = None
    ) -> None:
        self._stages, self._limit, self._pictures = stages, limit, pictures
        self._work = work or [1.0] * len(stages)
        self._rate = Rate()
        self._began = self._fixed = 0.0

    def begin(self, seconds: float) -> None:
        """Note that a stage begins, before its graphs are opened, so many seconds after the transfer began."""
        self._began = seconds

    def note(self, number: int, of_stage: int, evaluation: int, seconds: float) -> None:
        """Note that an evaluation has ended.

        Parameters
        ----------
        number
            The index of the stage.
        of_stage, evaluation
            The number of the evaluation in this stage, and in the whole transfer, from 1.
        seconds
            The time since the transfer began.
        """
        work = self._pixels(number) * self._work[number]
        self._rate.note(number, evaluation, work, seconds)
        if of_stage == 1:
            self._fixed = seconds - self._began
        elif of_stage == 2 and (rate := self._rate.value):  # now the work for pixels can be separated from the rest
            self._fixed = max(0.0, self._fixed - rate * (work + self._targets(number)))

    def spent(self, number: int, seconds: float) -> bool:
        """Whether the time is over, to the nearest evaluation once their time is known."""
        if self._limit is None:
            return False
        return seconds + self._evaluation(number) / 2 >= self._limit

    def is_enough(self, number: int, of_stage: int, seconds: float) -> bool:
        """Whether a stage has used its share, and must leave the rest of the time to the later ones."""
        if self._limit is None or self._rate.value is None:
            return False
        later = list(range(number + 1, len(self._stages)))
        while later:
            share = self._share(number, of_stage, later, seconds)
            if all(share * self._stages[k].evaluations >= self._least(k) for k in later):
                return of_stage >= share * self._stages[number].evaluations
            later.pop()
        return False

    def pays(self, number: int, seconds: float) -> bool:
        """Whether a stage that has not begun is worth beginning in the time that is left."""
        if self._limit is None or self._rate.value is None:
            return True
        left = self._limit - seconds - self._opening(number)
        return left >= self._least(number) * self._evaluation(number)

    def _share(self, number: int, of_stage: int, later: Sequence[int], seconds: float) -> float:
        """Return the share of its evaluations that each stage can make, so that the last one ends at the limit."""
        assert self._limit is not None
        left = self._limit - seconds - sum(map(self._opening, later))
        planned = sum(self._stages[k].evaluations * self._evaluation(k) for k in (number, *later))
        return min(1.0, (left + of_stage * self._evaluation(number)) / planned)

    def _least(self, number: int) -> int:
        return min(LEAST_EVALUATIONS, self._stages[number].evaluations)

    def _evaluation(self, number: int) -> float:
        """Return the seconds of one evaluation, as far as they are known."""
        return (self._rate.value or 0.0) * self._pixels(number) * self._work[number]

    def _opening(self, number: int) -> float:
        """Return the seconds until a stage's first evaluation begins."""
        return self._fixed + (self._rate.value or 0.0) * self._targets(number)

    def _pixels(self, number: int) -> int:
        stage = self._stages[number]
        return stage.width * stage.height

    def _targets(self, number: int) -> float:
        """Return the work of measuring a stage's targets, in pixels; those of tiles have halos, too."""
        return FORWARD * self._pictures * self._pixels(number) * max(1.0, self._work[number] / TILED_WORK)


class Countdown:
    """Predicts how long a transfer will still take, if it makes all of its planned evaluations.

    Later stages are slower: see `Rate`. The prediction never exceeds the time limit.

    Attributes
    ----------
    work
        As in `Budget`. It can be set until the first evaluation.
    """

    def __init__(self, plan: Plan, work: Sequence[float] | None = None) -> None:
        self._plan, self._rate = plan, Rate()
        self.work = work or [1.0] * len(plan.stages)

    @staticmethod
    def is_sure(step: Step) -> bool:
        """Whether the speed of the machine is known after an evaluation."""
        return step.evaluation >= SETTLED

    def left(self, step: Step) -> float | None:
        """Return the seconds that are left after an evaluation; None while the speed is unknown."""
        plan, each = self._plan, step.width * step.height * self.work[step.stage - 1]
        self._rate.note(step.stage, step.evaluation, each, step.seconds)
        if self._rate.value is None:
            return None
        left = (plan.stages[step.stage - 1].evaluations - step.of_stage) * each
        later = zip(plan.stages[step.stage :], self.work[step.stage :], strict=True)
        left += sum(stage.evaluations * stage.width * stage.height * work for stage, work in later)
        seconds = self._rate.value * left
        return seconds if plan.time_limit is None else max(0.0, min(seconds, plan.time_limit - step.seconds))
