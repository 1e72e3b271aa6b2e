"""The objective: an exported graph with its targets and weights in place, as a function picture -> loss, gradient."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.defaults import REFERENCE_RECIPE
from impasto.runtime.errors import InputError, PictureError
from impasto.runtime.model import OBJECTIVE, STATISTICS, Metadata, ModelFolder
from impasto.runtime.pictures import Picture, Planes, to_planes
from impasto.runtime.plan import normalized_blend
from impasto.runtime.recipe import Recipe
from impasto.runtime.session import Placement, Session, on_device, open_session
from impasto.runtime.terms import (
    GRADIENT,
    IMAGE,
    LOSS,
    content_term,
    effective_weights,
    style_term,
    target_of,
    weight_of,
)

Targets = dict[str, NDArray[np.float32]]


class Objective:
    """The loss of a picture and its gradient, against one content picture and some styles.

    Attributes
    ----------
    recipe
        The recipe in force, with the weights the caller has set.
    shape
        (H, W) of the pictures it takes: the content picture's.
    terms
        The last call's weighted terms by name; they sum to the loss.
    metadata
        What the graph says of itself.
    device
        Where it runs: ``cpu`` or ``cuda:N``.
    """

    def __init__(
        self,
        session: Session,
        recipe: Recipe,
        shape: tuple[int, int],
        feeds: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self._session = session
        self._feeds = dict(feeds)
        self._term_names = tuple(name for name in session.outputs if name not in (LOSS, GRADIENT))
        self.recipe = recipe
        self.shape = shape
        self.terms: dict[str, float] = {}
        self.metadata: Metadata = session.metadata
        self.device: str = session.device

    @classmethod
    def open(
        cls,
        model: str | Path,
        recipe: str = REFERENCE_RECIPE,
        *,
        content: Picture,
        styles: Sequence[Picture],
        style_blend: Sequence[float] | None = None,
        device: str = "auto",
        lowering: str = "auto",
        threads: int | None = None,
        low_memory: bool = False,
        content_weight: float | None = None,
        style_weight: float | None = None,
        tv_weight: float | None = None,
    ) -> Objective:
        """Open a model folder's recipe and measure the targets.

        Parameters
        ----------
        content
            The content picture, an image or an (H, W, 3) array, RGB, 0..255; it fixes H and W.
        styles
            One style picture or more, of any size; the targets of several are averaged.
        style_blend
            The weight of each style in that average; equal ones by default.
        device, lowering, threads, low_memory
            Where and how it runs; see `impasto.runtime.session.Placement`.
        content_weight, style_weight, tv_weight
            Instead of the recipe's own weight, in the recipe's convention.

        Raises
        ------
        InputError
            When the model, the device, a picture or a weight will not do; each has its subclass.
        TransferError
            When measuring the targets fails.
        """
        if not styles:
            raise InputError("styles: none given; expected one style picture or more")
        content_planes = to_planes(content, "content")
        style_planes = [to_planes(style, f"style {k}") for k, style in enumerate(styles, 1)]
        blend = normalized_blend(style_blend, len(styles))
        folder = ModelFolder.open(model)

        def measure_and_open(placement: Placement) -> tuple[Targets, Session]:
            """Open one graph after the other: the first has given its memory back by then."""
            statistics = open_session(folder, recipe, STATISTICS, placement)
            targets = _measure(statistics, content_planes, style_planes, blend)
            del statistics
            return targets, open_session(folder, recipe, OBJECTIVE, placement)

        targets, session = on_device(Placement(device, lowering, threads, low_memory), measure_and_open)
        chosen = session.metadata.recipe.with_weights(content_weight, style_weight, tv_weight)
        if session.metadata.random_weights:
            warnings.warn(
                f"model {folder.path} has random weights: good for tests, useless for pictures",
                RuntimeWarning,
                stacklevel=2,
            )
        height, width = content_planes.shape[2:]
        effective = effective_weights(chosen, session.metadata.sizes(height, width), height, width)
        with np.errstate(over="ignore"):  # an infinite weight makes the loss infinite, and that is an error
            weights = {weight_of(term): np.array(value, np.float32) for term, value in effective.items()}
        return cls(session, chosen, (height, width), {**targets, **weights})

    def __call__(self, image: NDArray[np.floating] | Picture) -> tuple[float, NDArray[np.float32]]:
        """Return the loss of a picture (H, W, 3), RGB, 0..255, and its gradient, shaped like the picture.

        Raises
        ------
        PictureError
            When the picture is not of the content's size, or not finite.
        TransferError
            When onnxruntime fails, for want of memory for instance.
        """
        planes = to_planes(image, "image")
        if planes.shape[2:] != self.shape:
            height, width = self.shape
            raise PictureError(
                f"image: {planes.shape[3]}x{planes.shape[2]} pixels; expected {width}x{height}, the content's"
            )
        loss, gradient = self.evaluate(planes)
        return loss, np.ascontiguousarray(gradient[0].transpose(1, 2, 0))

    def evaluate(self, planes: Planes) -> tuple[float, Planes]:
        """Return loss and gradient of a picture as the graph takes it, float32 [1, 3, H, W]; nothing is checked."""
        results = self._session.run({IMAGE: planes, **self._feeds})
        self.terms = {name: float(results[name]) for name in self._term_names}
        return float(results[LOSS]), results[GRADIENT]


def _measure(session: Session, content: Planes, styles: Sequence[Planes], blend: Sequence[float]) -> Targets:
    """Return the targets of the content picture and the average targets of the styles, by a statistics graph."""
    recipe = session.metadata.recipe
    content_targets = [target_of(content_term(name)) for name in recipe.content.layers]
    style_targets = [target_of(style_term(name)) for name in recipe.style.layers]
    measured = session.run({IMAGE: content}, content_targets)
    targets = {name: value.copy() for name, value in measured.items()}  # the session's memory is not to be kept
    measurements = [session.run({IMAGE: style}, style_targets) for style in styles]
    for name in style_targets:
        targets[name] = np.average([m[name] for m in measurements], axis=0, weights=blend).astype(np.float32)
    return targets
