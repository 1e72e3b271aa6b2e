"""What an optimiser needs of an objective."""

from __future__ import annotations

from typing import Protocol

from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.session import DeviceArray


class Resident(Protocol):
    """A function of points that lie on a device.

    Attributes
    ----------
    algebra
        Arithmetic on the same device.
    """

    algebra: Algebra

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        """Return the loss at a point [1, C, H, W], and write the gradient into the second array."""
        ...
