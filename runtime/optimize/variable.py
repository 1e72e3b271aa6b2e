"""The map between the array that an optimiser changes, its variable, and the picture that is evaluated.

Bounds belong to the variable. A border, a preconditioner, or a mask of the pixels that may change would be another map
with the same methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

#: The numbers that a variable consists of.
X = TypeVar("X", np.float32, np.float64)

#: The lowest and the highest value of every element; None if there are no bounds.
Bounds = tuple[float, float] | None


class Variable(Protocol[X]):
    """A linear map from the variable x to the picture; a constant may be added."""

    @property
    def bounds(self) -> Bounds:
        """Return the bounds of x."""
        ...

    def picture(self, x: NDArray[X]) -> NDArray[np.float32]:
        """Return the picture of x."""
        ...

    def inverse(self, picture: NDArray[np.float32]) -> NDArray[X]:
        """Return the x of a picture; if bounds exclude it, the nearest x within them."""
        ...

    def adjoint(self, gradient: NDArray[np.float32], scale: float = 1.0) -> NDArray[X]:
        """Return the gradient, by x, of `scale` times the loss, from the loss's gradient by the picture."""
        ...


@dataclass(frozen=True)
class Within(Variable[np.float32]):
    """The picture itself, within bounds."""

    bounds: Bounds = None

    def picture(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return x."""
        return x

    def inverse(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the picture, brought within the bounds."""
        return clipped(picture, self.bounds)

    def adjoint(self, gradient: NDArray[np.float32], scale: float = 1.0) -> NDArray[np.float32]:
        """Return the gradient times `scale`."""
        return gradient if scale == 1 else gradient * np.float32(scale)


@dataclass(frozen=True)
class Scaled(Variable[np.float64]):
    """Another variable, measured in a unit of length, in double precision.

    Attributes
    ----------
    unit
        A power of two: then no digit changes.
    variable
        The other one.
    """

    unit: float
    variable: Variable[np.float32]

    @property
    def bounds(self) -> Bounds:
        """Return the other's bounds in this unit."""
        bounds = self.variable.bounds
        return bounds and (bounds[0] / self.unit, bounds[1] / self.unit)

    def picture(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the picture of x, computed in float32, like the other variable."""
        return self.variable.picture(np.multiply(x, self.unit, dtype=np.float32, casting="same_kind"))

    def inverse(self, picture: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the other variable's inverse in this unit."""
        return self.variable.inverse(picture).astype(np.float64) / self.unit

    def adjoint(self, gradient: NDArray[np.float32], scale: float = 1.0) -> NDArray[np.float64]:
        """Return the other's adjoint times `scale` and the unit, both in one pass."""
        return np.multiply(self.variable.adjoint(gradient), scale * self.unit, dtype=np.float64)


def clipped(x: NDArray[X], bounds: Bounds) -> NDArray[X]:
    """Return x, each element brought within the bounds."""
    return x.clip(*bounds) if bounds else x


def power_of_two(value: float) -> float:
    """Return the power of two nearest to a positive value: multiplying by it changes no digit."""
    return 2.0 ** round(math.log2(value))
