"""L-BFGS whose history stays on the device: SciPy's method, with everything of the picture's size in graphs.

At the speed of a GPU, SciPy's L-BFGS-B takes longer than the evaluations between which it runs. Here the steps s and
the differences y of gradients lie on the device, in float32; the host sees their inner products, in float64, and solves
the small systems. The direction is that of the compact representation (Byrd, Nocedal and Schnabel, "Representations of
quasi-Newton matrices and their use in limited memory methods", 1994, equation 3.1), the line search that of Moré and
Thuente ("Line search algorithms with guaranteed sufficient decrease", 1994), both with the constants of L-BFGS-B.

Where elements are bounded, they are projected onto the bounds along the search, and those that descent would push
against their bound have no part in it (Bertsekas, "Projected Newton methods for optimization problems with simple
constraints", 1982). L-BFGS-B would look for the bounds to be reached before it searches; here it is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.opening import open_algebra
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.session import Binding, DeviceArray, Runner, download, download_number
from impasto.runtime.engine.staging import Landing
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import ALGEBRA

#: How many steps L-BFGS remembers, here and in SciPy. SciPy's own 10 bring the loss down a few percent further in as
#: many evaluations, but work and memory grow with them: beyond so many elements, a picture of 400 x 400, five must do.
HISTORY, LARGE_HISTORY = 10, 5
LARGE = 3 * 400 * 400

#: A step is taken when the loss has fallen by this share of what the slope promised, and the slope to this share.
SUFFICIENT, CURVATURE = 1e-3, 0.9

#: A bracket is not searched when it is narrower than this, relative to its far end.
NARROW = 0.1

#: A line search looks so often at most, and so far, in units of the direction's length.
LOOKS, FARTHEST = 20, 1e10

#: Of the next look: so many times as far as the last step, while nothing brackets a minimum.
_NEARER, _FARTHER = 1.1, 4.0

#: A bracket that is not narrowed to this share in two looks is halved; towards its far end steps reach no farther.
_SHRINK = 0.66


def remembered(size: int) -> int:
    """Return how many steps to remember of a point with so many elements."""
    return HISTORY if size <= LARGE else LARGE_HISTORY


# --- the line search ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What was found at one length along the direction."""

    length: float
    loss: float
    slope: float

    def tilted(self, slope: float) -> Look:
        """Return the look at the loss minus a linear function."""
        return Look(self.length, self.loss - slope * self.length, self.slope - slope)


class LineSearch:
    """Look after look along a direction, until loss and slope have fallen enough.

    Attributes
    ----------
    length
        Where to look next.
    over
        Whether the search has ended, with a step of the last look's length, or without any.
    found
        Whether the step is to be taken.
    """

    def __init__(self, loss: float, slope: float, length: float) -> None:
        """Begin at length 0 with this loss and slope, the latter below zero; the first look is at `length`."""
        self._start = self._best = self._other = Look(0.0, loss, slope)
        self._promised = SUFFICIENT * slope
        self._looks = 0
        self._bracketed, self._descending = False, True
        self._low, self._high = 0.0, length + _FARTHER * length
        self._width, self._previous_width = FARTHEST, 2 * FARTHEST
        self.length, self.over, self.found = length, False, False

    def tell(self, loss: float, slope: float) -> None:
        """Take what was found at `length`, and choose the next length or end the search."""
        self._looks += 1
        look = Look(self.length, loss, slope)
        enough = loss <= self._start.loss + self._promised * look.length
        if self._descending and enough and slope >= 0:
            self._descending = False
        if self._ends(look, enough):
            self.over = self.found = True
        elif self._looks == LOOKS:
            self.over = True
        else:
            self._advance(look, enough)

    def _ends(self, look: Look, enough: bool) -> bool:
        if enough and abs(look.slope) <= CURVATURE * -self._start.slope:
            return True
        if self._bracketed:  # rounding leaves nothing to be gained
            outside = not self._low < look.length < self._high
            return outside or self._high - self._low <= NARROW * self._high
        return look.length == FARTHEST and enough

    def _advance(self, look: Look, enough: bool) -> None:
        """Narrow the interval and choose the next length."""
        best, other = self._best, self._other
        # Until the promise is kept anywhere, what is searched for is a minimum of the loss less the promise.
        by = self._promised if self._descending and not enough and look.loss <= best.loss else 0.0
        length = self._trial(look.tilted(by), best.tilted(by), other.tilted(by))
        if look.tilted(by).loss > best.tilted(by).loss:
            self._other = look
        else:
            if look.tilted(by).slope * best.tilted(by).slope < 0:
                self._other = best
            self._best = look
        self.length = self._kept_inside(length)

    def _trial(self, look: Look, best: Look, other: Look) -> float:
        """Return where loss and slope, at this look and the best, suggest a minimum; and note what brackets one.

        The four cases of the paper's section 4.
        """
        toward = look.length - best.length
        if look.loss > best.loss:
            self._bracketed = True
            cubic, square = _cubic(best, look), _parabola(best, look)
            near = abs(cubic - best.length) < abs(square - best.length)
            return cubic if near else (cubic + square) / 2
        secant = _secant(best, look)
        if look.slope * best.slope < 0:
            self._bracketed = True
            return max(_cubic(best, look), secant, key=lambda x: abs(x - look.length))
        if abs(look.slope) < abs(best.slope):
            return self._ahead(look, _cubic(best, look), secant, toward, other)
        if self._bracketed:
            return _cubic(other, look)
        return self._high if toward > 0 else self._low

    def _ahead(self, look: Look, cubic: float, secant: float, toward: float, other: Look) -> float:
        """Return where to look when the slope has become gentler, but the loss still falls."""
        if not (cubic - look.length) * toward > 0:  # the cubic has no minimum ahead; nor is NaN
            cubic = self._high if toward > 0 else self._low
        choose = min if self._bracketed else max
        length = choose(cubic, secant, key=lambda x: abs(x - look.length))
        if not self._bracketed:
            return min(max(length, self._low), self._high)
        farthest = look.length + _SHRINK * (other.length - look.length)
        return min(farthest, length) if toward > 0 else max(farthest, length)

    def _kept_inside(self, length: float) -> float:
        """Return the next length, and where the one after it may be."""
        best, other = self._best.length, self._other.length
        if self._bracketed:
            if abs(other - best) >= _SHRINK * self._previous_width:
                length = best + (other - best) / 2
            self._previous_width, self._width = self._width, abs(other - best)
            self._low, self._high = min(best, other), max(best, other)
        else:
            self._low = length + _NEARER * (length - best)
            self._high = length + _FARTHER * (length - best)
        length = min(max(length, 0.0), FARTHEST)
        useless = not self._low < length < self._high or self._high - self._low <= NARROW * self._high
        return best if self._bracketed and useless else length


def _cubic(a: Look, b: Look) -> float:
    """Return the minimum of the cubic with both losses and slopes; Nocedal and Wright 2006, equation 3.59."""
    d = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length)
    root = math.copysign(math.sqrt(max(0.0, d * d - a.slope * b.slope)), b.length - a.length)
    below = b.slope - a.slope + 2 * root
    return b.length - (b.length - a.length) * (b.slope + root - d) / below if below else math.nan


def _parabola(a: Look, b: Look) -> float:
    """Return the minimum of the parabola with both losses and the first slope."""
    apart = b.length - a.length
    return a.length - a.slope * apart * apart / (2 * (b.loss - a.loss - a.slope * apart))


def _secant(a: Look, b: Look) -> float:
    """Return the minimum of the parabola with both slopes."""
    below = b.slope - a.slope
    return b.length - (b.length - a.length) * b.slope / below if below else math.nan


# --- the direction --------------------------------------------------------------------------------------------


class History:
    """What the host knows of the steps s and the differences y of gradients: their inner products, in float64.

    Attributes
    ----------
    size
        How many pairs there is room for.
    pairs
        How many there are: the last ones on the device, where the oldest makes room for a new one.
    """

    def __init__(self, size: int) -> None:
        self.size, self.pairs = size, 0
        self._sy, self._yy = np.zeros((size, size)), np.zeros((size, size))
        self._sg, self._yg = np.zeros(size), np.zeros(size)

    def clear(self) -> None:
        """Forget everything."""
        self.pairs = 0

    def record(self, products: NDArray[np.float64]) -> None:
        """Take a new pair: the products [2m, 2] of all s, then all y, with the gradient and with the newest y."""
        self.pairs = min(self.pairs + 1, self.size)
        (self._sg, sy), (self._yg, yy) = products[: self.size].T, products[self.size :].T
        for known in (self._sy, self._yy):
            known[:-1, :-1] = known[1:, 1:].copy()
        self._sy[:, -1] = sy
        self._yy[:, -1] = self._yy[-1, :] = yy

    def coefficients(self) -> tuple[float, NDArray[np.float64]]:
        """Return what the gradient, and each s and each y, contributes to the direction -H g.

        H = c 1 + [S cY] [[R^-T (D + c Y^T Y) R^-1, -R^-T], [-R^-1, 0]] [S cY]^T, where R is the upper triangle of
        S^T Y, D its diagonal, and c = s^T y / y^T y of the newest pair.
        """
        found = np.zeros(2 * self.size)
        if not self.pairs:
            return -1.0, found
        at = np.arange(self.size - self.pairs, self.size)
        r, yy = np.triu(self._sy[np.ix_(at, at)]), self._yy[np.ix_(at, at)]
        c = r[-1, -1] / yy[-1, -1]
        t = np.linalg.solve(r, self._sg[at])
        found[at] = -np.linalg.solve(r.T, np.diag(r) * t + c * (yy @ t - self._yg[at]))
        found[self.size + at] = c * t
        return -c, found


# --- the arrays -----------------------------------------------------------------------------------------------


class Algebra:
    """The graphs of `impasto.export.lbfgs`, and room for arrays where they run."""

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        self._runner = runners[ALGEBRA[0]]
        self._graphs: dict[str, Binding] = {name: runner.bind() for name, runner in runners.items()}
        self._scalars = [self._runner.allocate(()) for _ in range(2)]
        self.bound(None)

    @classmethod
    def open(cls, folder: ModelFolder, placement: Placement) -> Algebra:
        """Open the graphs of a model folder on the one device that the placement names.

        Raises
        ------
        InputError
            When a graph is missing, or the device cannot be had.
        """
        return cls({name: open_algebra(folder, name, placement) for name in ALGEBRA})

    def bound(self, bounds: tuple[float, float] | None) -> None:
        """From now on keep the elements of points between two numbers; or anywhere."""
        ends = bounds or (-math.inf, math.inf)
        self._box = {name: self._number(end) for name, end in zip(("lowest", "highest"), ends, strict=True)}

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Return a copy of an array, on the device."""
        return self._runner.upload(array.copy())

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a float32 array on the device, with anything in it."""
        return self._runner.allocate(shape)

    def landing(self, shape: tuple[int, ...]) -> Landing:
        """Return a place on the host for copies of float32 arrays on the device."""
        return self._runner.landing(shape)

    def step(self, point: DeviceArray, direction: DeviceArray, length: float, moved: DeviceArray) -> None:
        """Compute point + length direction, within the bounds."""
        inputs = {"point": point, "direction": direction, "length": self._number(length), **self._box}
        self._graphs["step"].run(inputs, {"moved": moved})

    def slope(self, gradient: DeviceArray, direction: DeviceArray, scale: float, point: DeviceArray) -> float:
        """Return the inner product of scale gradient and direction, as far as this leads a point inside the bounds."""
        inputs = {"gradient": gradient, "direction": direction, "scale": self._number(scale), "point": point}
        inputs |= self._box
        self._graphs["slope"].run(inputs, {"slope": self._scalars[0]})
        return download_number(self._scalars[0])

    def direction(
        self,
        history: DeviceArray,
        coefficients: NDArray[np.float64],
        gradient: DeviceArray,
        own: float,
        scale: float,
        point: DeviceArray,
        direction: DeviceArray,
    ) -> tuple[float, float]:
        """Compute own scale gradient + coefficients history; return its products with scale gradient and itself.

        What of the gradient, or of the sum, would lead the point out of the bounds is zero.
        """
        inputs = {
            "history": history,
            "coefficients": self._runner.upload(coefficients.astype(np.float32)[None]),
            "gradient": gradient,
            "own": self._number(own),
            "scale": self._number(scale),
            "point": point,
            **self._box,
        }
        slope, square = self._scalars
        self._graphs["direction"].run(inputs, {"direction": direction, "slope": slope, "square": square})
        return download_number(slope), download_number(square)

    def remember(
        self,
        history: DeviceArray,
        step: tuple[float, DeviceArray],
        gradients: tuple[DeviceArray, DeviceArray],
        scale: float,
        points: tuple[DeviceArray, DeviceArray],
        unit: float,
        updated: DeviceArray,
        products: DeviceArray,
    ) -> NDArray[np.float64]:
        """Compute the history with s and y in place of the oldest ones.

        Parameters
        ----------
        step
            A length and a direction: s is their product, as far as the bounds let it.
        gradients
            The new one and the previous one: y is their difference times `scale`.
        points
            Where they were found, the new one first.
        unit
            What s is measured in.

        Returns
        -------
        float64 [2m, 2]
            The products of the updated history with the new gradient times `scale`, as far as that does not lead out
            of the bounds, and with y.
        """
        length, direction = step
        gradient, previous = gradients
        moved, point = points
        inputs = {
            "history": history,
            "direction": direction,
            "length": self._number(length),
            "gradient": gradient,
            "previous": previous,
            "scale": self._number(scale),
            "point": point,
            "moved": moved,
            "unit": self._number(unit),
            **self._box,
        }
        self._graphs["remember"].run(inputs, {"updated": updated, "products": products})
        return download(products).astype(np.float64)

    def _number(self, value: float) -> DeviceArray:
        return self._runner.upload(np.array(value, np.float32))


class Resident(Protocol):
    """A function of points that lie on a device.

    Attributes
    ----------
    algebra
        Arithmetic on the same device.
    """

    algebra: Algebra

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        """Return the loss at a point [1, C, H, W], and write the gradient where the second array is."""
        ...


# --- the method -----------------------------------------------------------------------------------------------

#: Evaluates at a point, on the host's side: counts, remembers, tells the callback; returns what `Descent.evaluate` does
Watch = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]

STUCK = "converged: float32 shows no lower loss in the direction of the gradient"
FLAT = "converged: the gradient is zero"
HELD = "converged: the gradient is zero, or leads out of the bounds"


class Descent:
    """A search for a minimum, with everything of the point's size on the device.

    The loss is scaled to order 1, and points are measured in `unit`, as for SciPy.

    Parameters
    ----------
    function, algebra
        A `Resident`, and its algebra.
    """

    def __init__(
        self,
        function: Callable[[DeviceArray, DeviceArray], float],
        algebra: Algebra,
        start: NDArray[np.float32],
        unit: float,
        bounds: tuple[float, float] | None,
    ) -> None:
        self._function, self._algebra = function, algebra
        self._unit, self._scale, shape = unit, 0.0, start.shape
        self._flat = HELD if bounds else FLAT
        algebra.bound(bounds)
        self._trial, self._landing = algebra.upload(start), algebra.landing(shape)
        self._point, self._gradient, self._trial_gradient, self._direction = (algebra.allocate(shape) for _ in range(4))
        history = remembered(start.size)
        self._history = History(history)
        rows = (2 * history, *shape[1:])
        self._rows, self._spare = algebra.upload(np.zeros(rows, np.float32)), algebra.allocate(rows)
        self._products = algebra.allocate((2 * history, 2))

    @property
    def _factor(self) -> float:
        """What the function's gradient is multiplied by."""
        return self._scale * self._unit

    def evaluate(self, _: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Return the loss at the point that is looked at, and the slope there, which is finite if the gradient is."""
        loss = self._function(self._trial, self._trial_gradient)
        along = self._direction
        if not self._scale:
            self._scale = 2.0 ** -round(math.log2(abs(loss))) if loss and math.isfinite(loss) else 1.0
            along = self._trial_gradient
        slope = self._algebra.slope(self._trial_gradient, along, self._factor, self._trial)
        return loss, np.array([slope], np.float32)

    def run(self, watch: Watch) -> str:
        """Search until `watch` ends it by an exception, or nothing more can be done; return why."""
        loss, _ = self._look(watch)
        self._accept()
        while True:
            own, coefficients = self._history.coefficients()
            slope, square = self._algebra.direction(
                self._rows, coefficients, self._gradient, own, self._factor, self._point, self._direction
            )
            if slope == 0:
                return self._flat
            fresh = not self._history.pairs
            line = LineSearch(loss, slope, 1 / math.sqrt(square) if fresh else 1.0) if slope < 0 else None
            found = self._follow(line, loss, watch) if line else None
            if found is not None:
                self._remember(found, slope)
                loss = found.loss
            elif fresh:
                return STUCK
            else:
                self._history.clear()

    def _follow(self, line: LineSearch, before: float, watch: Watch) -> Look | None:
        """Return the look that ends a line search, if the step is to be taken: if it is lower than where it began."""
        while True:
            length = line.length
            self._algebra.step(self._point, self._direction, length * self._unit, self._trial)
            loss, slope = self._look(watch)
            line.tell(loss, slope)
            if line.over:
                return Look(length, loss, slope) if line.found and loss < before else None

    def _look(self, watch: Watch) -> tuple[float, float]:
        """Return loss, scaled, and slope where the trial point is."""
        loss, slope = watch(self._landing.fetch(self._trial))
        return loss * self._scale, float(slope[0])

    def _remember(self, found: Look, slope: float) -> None:
        """Make the step, and the change of the gradient, part of the history."""
        products = self._algebra.remember(
            self._rows,
            (found.length, self._direction),
            (self._trial_gradient, self._gradient),
            self._factor,
            (self._trial, self._point),
            self._unit,
            self._spare,
            self._products,
        )
        curvature = products[self._history.size - 1, 1]  # the newest s times the newest y
        if curvature > np.finfo(np.float64).eps * -slope * found.length:
            self._rows, self._spare = self._spare, self._rows
            self._history.record(products)
        else:
            self._history.clear()
        self._accept()

    def _accept(self) -> None:
        self._point, self._trial = self._trial, self._point
        self._gradient, self._trial_gradient = self._trial_gradient, self._gradient
