"""Arithmetic for an optimiser on the device: the graphs of `impasto.export.lbfgs`, and arrays there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.opening import open_algebra
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.session import Binding, DeviceArray, Runner, download, download_number
from impasto.runtime.engine.staging import Landing
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import ALGEBRA

#: The bounds of the elements of points, as inputs of the graphs: see `Algebra.box`.
Box = Mapping[str, DeviceArray]


class Algebra:
    """The graphs, opened on one device. It keeps no state between operations."""

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        self._runner = runners[ALGEBRA[0]]
        self._graphs: dict[str, Binding] = {name: runner.bind() for name, runner in runners.items()}
        self._scalars = [self._runner.allocate(()) for _ in range(2)]

    @classmethod
    def open(cls, folder: ModelFolder, placement: Placement) -> Algebra:
        """Open the graphs of a model folder on the one device that the placement names.

        Raises
        ------
        InputError
            When a graph is missing, or the device is not available.
        """
        return cls({name: open_algebra(folder, name, placement) for name in ALGEBRA})

    def box(self, bounds: tuple[float, float] | None) -> Box:
        """Return the bounds of every element of a point, for the operations; without bounds, infinite ones."""
        lowest, highest = bounds or (-math.inf, math.inf)
        return {"lowest": self._number(lowest), "highest": self._number(highest)}

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """Return a copy of an array, on the device."""
        return self._runner.upload(array.copy())

    def allocate(self, shape: tuple[int, ...]) -> DeviceArray:
        """Return a float32 array on the device, with undefined contents."""
        return self._runner.allocate(shape)

    def landing(self, shape: tuple[int, ...]) -> Landing:
        """Return memory on the host for copies of float32 arrays on the device."""
        return self._runner.landing(shape)

    def step(self, point: DeviceArray, direction: DeviceArray, length: float, box: Box, moved: DeviceArray) -> None:
        """Compute point + length direction, within the box."""
        inputs = {"point": point, "direction": direction, "length": self._number(length), **box}
        self._graphs["step"].run(inputs, {"moved": moved})

    def slope(self, gradient: DeviceArray, direction: DeviceArray, scale: float, point: DeviceArray, box: Box) -> float:
        """Return the inner product of scale gradient and direction, without elements that lead out of the box."""
        inputs = {"gradient": gradient, "direction": direction, "scale": self._number(scale), "point": point, **box}
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
        box: Box,
        direction: DeviceArray,
    ) -> tuple[float, float]:
        """Compute own scale gradient + coefficients history; return its products with scale gradient and itself.

        Elements of the gradient, and of the sum, that would lead the point out of the box are zero.
        """
        inputs = {
            "history": history,
            "coefficients": self._runner.upload(coefficients.astype(np.float32)[None]),
            "gradient": gradient,
            "own": self._number(own),
            "scale": self._number(scale),
            "point": point,
            **box,
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
        box: Box,
        updated: DeviceArray,
        products: DeviceArray,
    ) -> NDArray[np.float64]:
        """Compute the history with s and y in place of the oldest ones.

        Parameters
        ----------
        step
            A length and a direction: s is their product, within the box.
        gradients
            The new one and the previous one: y is their difference times `scale`.
        points
            The points of these gradients, the new one first.
        unit
            The unit of length of s.

        Returns
        -------
        float64 [2m, 2]
            The products of the updated history with the new gradient times `scale`, without elements that lead out of
            the box, and with y.
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
            **box,
        }
        self._graphs["remember"].run(inputs, {"updated": updated, "products": products})
        return download(products).astype(np.float64)

    def _number(self, value: float) -> DeviceArray:
        return self._runner.upload(np.array(value, np.float32))
