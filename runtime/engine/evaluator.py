"""Evaluators: the loss of a picture as an optimiser needs it. A graph on one device is an evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.session import DeviceArray, Session, download_number
from impasto.runtime.errors import InputError
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures.planes import Planes
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import GRADIENT, IMAGE, LOSS


class Value(NamedTuple):
    """The loss of a picture, its weighted terms, which sum to it, and its gradient, float32 [1, 3, H, W]."""

    loss: float
    terms: dict[str, float]
    gradient: Planes


class TileStep(NamedTuple):
    """A tile that is done: its number, from 1, among those of both passes of an evaluation."""

    number: int
    tiles: int


def ignore(step: TileStep) -> None:
    """Do nothing after a tile."""


class Evaluator(Protocol):
    """A loss of pictures of one size.

    Attributes
    ----------
    shape
        (H, W) of the pictures.
    device, lowering, precision
        Where, in which form and in which precision it runs.
    warnings
        What the user should know before it is used.
    after_tile
        Called after every tile, if pictures are evaluated in tiles; an exception that it raises ends the evaluation.
    """

    shape: tuple[int, int]
    device: str
    lowering: str
    precision: str
    warnings: tuple[str, ...]
    after_tile: Callable[[TileStep], None]

    def evaluate(self, planes: Planes) -> Value:
        """Return the loss of a picture, float32 [1, 3, H, W], its terms and its gradient; nothing is checked."""
        ...

    def resident(self) -> ResidentEvaluator:
        """Return the loss as a function of pictures on the device, whose gradients stay there.

        Raises
        ------
        InputError
            When it has none.
        """
        ...

    def close(self) -> None:
        """Give back at once what others may use; it is not called any more. Python does so some time later."""
        ...


class Resident(Protocol):
    """A loss of pictures that lie on a device.

    Attributes
    ----------
    algebra
        Arithmetic on the same device.
    """

    algebra: Algebra

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        """Return the loss at a point [1, C, H, W], and write the gradient into the second array."""
        ...


class ResidentEvaluator(Resident, Protocol):
    """The same, with the terms of the loss.

    Attributes
    ----------
    terms
        The last picture's weighted terms.
    """

    terms: dict[str, float]


class SessionEvaluator:
    """The evaluator that is one graph on one device.

    All of its arrays, inputs and outputs, lie on the device and keep their addresses.

    Attributes
    ----------
    shape
        (H, W) of the pictures.
    recipe
        The recipe in force, with the weights that were asked for.
    metadata
        The graph's metadata.
    device, lowering, precision, warnings, after_tile
        See `Evaluator`. It has no tiles.
    """

    def __init__(
        self,
        session: Session,
        recipe: Recipe,
        shape: tuple[int, int],
        feeds: Mapping[str, NDArray[np.float32]],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.session, self.recipe, self.shape, self.warnings = session, recipe, shape, warnings
        self.after_tile: Callable[[TileStep], None] = ignore
        self.give_back: Callable[[], object] = lambda: None  # the engine says how
        self.metadata: Metadata = session.metadata
        self.device, self.lowering = session.device, session.metadata.lowering
        self.precision = session.placement.precision
        self._graph = session.bind(feeds)
        self._numbers = {name: session.allocate(()) for name in session.outputs if name != GRADIENT}
        self._image, self._gradient = (session.allocate((1, 3, *shape)) for _ in range(2))
        self._landing = session.landing((1, 3, *shape))

    def evaluate(self, planes: Planes) -> Value:
        """Return the loss of a picture, float32 [1, 3, H, W], its terms and its gradient; nothing is checked.

        Raises
        ------
        TransferError
            When onnxruntime fails, for instance for lack of memory.
        """
        self._image.update_inplace(np.ascontiguousarray(planes))
        loss, terms = self.evaluate_resident(self._image, self._gradient)
        return Value(loss, terms, self._landing.fetch(self._gradient))

    def close(self) -> None:
        """Give the graph back to the engine: see `Evaluator.close`."""
        self.give_back()

    def evaluate_resident(self, image: DeviceArray, gradient: DeviceArray) -> tuple[float, dict[str, float]]:
        """Return loss and terms of a picture on the device, and write its gradient into the second array."""
        self._graph.run({IMAGE: image}, {**self._numbers, GRADIENT: gradient})
        terms = {name: download_number(number) for name, number in self._numbers.items()}
        return terms.pop(LOSS), terms

    def resident(self) -> SessionResident:
        """Return the loss as a function of pictures on the device, whose gradients stay there.

        Raises
        ------
        InputError
            When the model lacks the graphs that an optimiser on the device needs; or when evaluations are recorded (see
            `CudaOptions.graph`), since a recording is for one picture's address.
        """
        if self.session.placement.recorded:
            raise InputError("objective: its evaluations are recorded; open it with CudaOptions(graph=False)")
        return SessionResident(self, Algebra.open(self.session.folder, self.session.placement))


class SessionResident(ResidentEvaluator):
    """A `SessionEvaluator` for an optimiser on the same device."""

    def __init__(self, evaluator: SessionEvaluator, algebra: Algebra) -> None:
        self._evaluator, self.algebra = evaluator, algebra
        self.terms: dict[str, float] = {}

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        """Return the loss at a point, and write its gradient into the second array."""
        loss, self.terms = self._evaluator.evaluate_resident(point, gradient)
        return loss
