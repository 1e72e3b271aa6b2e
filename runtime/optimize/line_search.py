"""The line search of Moré and Thuente, as a loop that its user drives.

The paper is "Line search algorithms with guaranteed sufficient decrease" (1994). The names are those of its code in
MINPACK, dcsrch and dcstep, which SciPy's L-BFGS-B has, too; so are the constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A step ends the search when the loss has fallen by the share FTOL of the fall that the slope at the start predicts,
#: and the slope has fallen to the share GTOL.
FTOL, GTOL = 1e-3, 0.9

#: An interval that brackets a minimum is not searched any further when its width is this share of its far end.
XTOL = 0.1

#: The longest step, and the largest number of steps that a search tries.
STPMAX, MOST_TRIALS = 1e10, 20

#: While no interval brackets a minimum, the next step is longer by so many times the last increase: the least and most.
_XTRAPL, _XTRAPU = 1.1, 4.0

#: An interval that has not shrunk to this share in two trials is halved. A step goes no farther towards its far end.
_P66 = 0.66


@dataclass(frozen=True)
class Trial:
    """Loss and slope at one step along the direction."""

    step: float
    loss: float
    slope: float

    def tilted(self, slope: float) -> Trial:
        """Return the trial of the loss minus a linear function."""
        return Trial(self.step, self.loss - slope * self.step, self.slope - slope)


class LineSearch:
    """Trial after trial along a direction, until loss and slope have fallen enough.

    In MINPACK's names, `_x` is (stx, fx, gx), the best trial so far, and `_y` is (sty, fy, gy), the other end of the
    interval that is searched.

    Attributes
    ----------
    step
        The step (stp) to be tried next.
    over
        Whether the search has ended: with the step of the last trial, or without any.
    accepted
        Whether that step is accepted.
    """

    def __init__(self, loss: float, slope: float, step: float) -> None:
        """Begin at step 0 with this loss and slope, which is below zero; `step` is the first to be tried."""
        self._start = self._x = self._y = Trial(0.0, loss, slope)
        self._gtest = FTOL * slope
        self._trials = 0
        self._bracketed, self._stage = False, 1
        self._stmin, self._stmax = 0.0, step + _XTRAPU * step
        self._width, self._width1 = STPMAX, 2 * STPMAX
        self.step, self.over, self.accepted = step, False, False

    def tell(self, loss: float, slope: float) -> None:
        """Take the loss and the slope at `step`, and choose the next step or end the search."""
        self._trials += 1
        trial = Trial(self.step, loss, slope)
        decreased = loss <= self._start.loss + self._gtest * trial.step
        if self._stage == 1 and decreased and slope >= 0:
            self._stage = 2
        if self._ends(trial, decreased):
            self.over = self.accepted = True
        elif self._trials == MOST_TRIALS:
            self.over = True
        else:
            self._advance(trial, decreased)

    def _ends(self, trial: Trial, decreased: bool) -> bool:
        if decreased and abs(trial.slope) <= GTOL * -self._start.slope:
            return True
        if self._bracketed:  # rounding errors allow no better step
            outside = not self._stmin < trial.step < self._stmax
            return outside or self._stmax - self._stmin <= XTOL * self._stmax
        return trial.step == STPMAX and decreased

    def _advance(self, trial: Trial, decreased: bool) -> None:
        """Narrow the interval and choose the next step."""
        # In stage 1, before any trial has decreased the loss enough, the search minimises another function: the loss
        # minus the wanted decrease.
        tilt = self._gtest if self._stage == 1 and not decreased and trial.loss <= self._x.loss else 0.0
        tilted, x, y = (t.tilted(tilt) for t in (trial, self._x, self._y))
        step = self._dcstep(tilted, x, y)
        if tilted.loss > x.loss:
            self._y = trial
        else:
            if tilted.slope * x.slope < 0:
                self._y = self._x
            self._x = trial
        self.step = self._safeguarded(step)

    def _dcstep(self, trial: Trial, x: Trial, y: Trial) -> float:
        """Return the step of a probable minimum, and note whether the interval brackets one.

        These are the four cases of the paper's section 4.
        """
        ahead = trial.step - x.step
        if trial.loss > x.loss:
            self._bracketed = True
            cubic, quadratic = _cubic(x, trial), _quadratic(x, trial)
            near = abs(cubic - x.step) < abs(quadratic - x.step)
            return cubic if near else (cubic + quadratic) / 2
        secant = _secant(x, trial)
        if trial.slope * x.slope < 0:
            self._bracketed = True
            return max(_cubic(x, trial), secant, key=lambda step: abs(step - trial.step))
        if abs(trial.slope) < abs(x.slope):
            return self._extrapolated(trial, _cubic(x, trial), secant, ahead, y)
        if self._bracketed:
            return _cubic(y, trial)
        return self._stmax if ahead > 0 else self._stmin

    def _extrapolated(self, trial: Trial, cubic: float, secant: float, ahead: float, y: Trial) -> float:
        """Return the step for the case that the slope has become less steep, but the loss still falls."""
        if not (cubic - trial.step) * ahead > 0:  # the cubic has no minimum ahead, or is NaN
            cubic = self._stmax if ahead > 0 else self._stmin
        choose = min if self._bracketed else max
        step = choose(cubic, secant, key=lambda step: abs(step - trial.step))
        if not self._bracketed:
            return min(max(step, self._stmin), self._stmax)
        farthest = trial.step + _P66 * (y.step - trial.step)
        return min(farthest, step) if ahead > 0 else max(farthest, step)

    def _safeguarded(self, step: float) -> float:
        """Return the next step inside the interval, and set the limits of the one after it."""
        stx, sty = self._x.step, self._y.step
        if self._bracketed:
            if abs(sty - stx) >= _P66 * self._width1:
                step = stx + (sty - stx) / 2
            self._width1, self._width = self._width, abs(sty - stx)
            self._stmin, self._stmax = min(stx, sty), max(stx, sty)
        else:
            self._stmin = step + _XTRAPL * (step - stx)
            self._stmax = step + _XTRAPU * (step - stx)
        step = min(max(step, 0.0), STPMAX)
        useless = not self._stmin < step < self._stmax or self._stmax - self._stmin <= XTOL * self._stmax
        return stx if self._bracketed and useless else step


def _cubic(a: Trial, b: Trial) -> float:
    """Return the minimum of the cubic with both losses and slopes; Nocedal and Wright 2006, equation 3.59."""
    theta = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    gamma = math.copysign(math.sqrt(max(0.0, theta * theta - a.slope * b.slope)), b.step - a.step)
    below = b.slope - a.slope + 2 * gamma
    return b.step - (b.step - a.step) * (b.slope + gamma - theta) / below if below else math.nan


def _quadratic(a: Trial, b: Trial) -> float:
    """Return the minimum of the parabola with both losses and the first slope."""
    apart = b.step - a.step
    return a.step - a.slope * apart * apart / (2 * (b.loss - a.loss - a.slope * apart))


def _secant(a: Trial, b: Trial) -> float:
    """Return the minimum of the parabola with both slopes."""
    below = b.slope - a.slope
    return b.step - (b.step - a.step) * b.slope / below if below else math.nan
