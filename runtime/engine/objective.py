"""The objective: the loss of a picture as users call it, picture -> loss, gradient."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from impasto.defaults import DEFAULT_RECIPE, PROTECT_WEIGHT
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.engine.evaluator import SessionEvaluator
from impasto.runtime.engine.footprints import Load, budget_of, placed_within
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.engine.options import ObjectiveOptions, defaults_of, placement_of, strengths_of, weights_of
from impasto.runtime.engine.placement import Placement, foreseen
from impasto.runtime.engine.references import References
from impasto.runtime.engine.tile_graphs import halos_of
from impasto.runtime.engine.tiled import TiledEvaluator
from impasto.runtime.errors import PictureError
from impasto.runtime.model.default import find_model
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures.masks import Regions
from impasto.runtime.pictures.photographs import Picture
from impasto.runtime.pictures.planes import Planes, as_styles, measured_planes, to_planes
from impasto.runtime.pictures.protection import Protection
from impasto.runtime.plan.plan import normalized_blend
from impasto.runtime.signatures import explained


class Objective:
    """The loss of a picture and its gradient, against one content picture and some styles.

    Attributes
    ----------
    evaluator
        The evaluator that computes them.
    recipe
        The recipe in force, with the weights the caller has set.
    shape
        (H, W) of the pictures it takes: the content picture's.
    terms
        The last call's weighted terms by name; they sum to the loss.
    metadata
        The graph's metadata.
    device
        The device it runs on, such as ``cpu`` or ``cuda:0``.
    """

    def __init__(self, evaluator: SessionEvaluator | TiledEvaluator) -> None:
        self.evaluator = evaluator
        self.recipe, self.shape = evaluator.recipe, evaluator.shape
        self.metadata, self.device = evaluator.metadata, evaluator.device
        self.terms: dict[str, float] = {}

    @classmethod
    @explained(ObjectiveOptions, defaults={**defaults_of(Placement), "protect_weight": PROTECT_WEIGHT})
    def open(
        cls,
        model: str | Path | None = None,
        recipe: str = DEFAULT_RECIPE,
        *,
        content: Picture,
        styles: Picture | Sequence[Picture],
        **options: Unpack[ObjectiveOptions],
    ) -> Objective:
        """Open a model folder's recipe and measure the targets.

        Parameters
        ----------
        model
            A model folder; by default that of `impasto.runtime.model.default`.
        recipe
            The name of one of the recipes that the folder holds.
        content
            The content picture: a path, an address, an image, or an array (H, W, 3), RGB, 0..255; see
            `impasto.runtime.pictures.photographs.Picture`. It fixes H and W. Its transparency is ignored.
        styles
            One style picture or several, of any size; the targets of several are averaged. Transparent parts of them
            are white.

        Raises
        ------
        InputError
            When the model, the device, a picture or a weight cannot be used; each has its subclass.
        TransferError
            When measuring the targets fails; or, on CUDA, a first evaluation.
        """
        placement, paintings, protect = placement_of(options), as_styles(styles), options.get("protect")
        references = References(
            measured_planes(content, "content"),
            tuple(measured_planes(style, f"style {k}", over_white=True) for k, style in enumerate(paintings, 1)),
            normalized_blend(options.get("style_blend"), len(paintings)),
            Regions.match(
                options.get("content_mask"),
                options.get("style_masks"),
                len(paintings),
                strengths_of(options),
            ),
            None if protect is None else Protection.given(protect, options.get("protect_weight", PROTECT_WEIGHT)),
        )
        folder = ModelFolder.open(find_model(model))
        placement = placed_within(placement, _load(folder, recipe, references, placement), budget_of(placement))
        objective = cls(ENGINE.evaluator(folder, recipe, references, placement, weights_of(options)))
        for warning in objective.evaluator.warnings:
            warnings.warn(warning, RuntimeWarning, stacklevel=3)
        return objective

    def __call__(self, image: NDArray[np.floating] | Picture) -> tuple[float, NDArray[np.float32]]:
        """Return the loss of a picture and its gradient, (H, W, 3), RGB, by levels of 0..255.

        Floating-point arrays (H, W, 3) are taken as they are, whatever their range; others as `open` takes the content.

        Raises
        ------
        PictureError
            When the picture is not of the content's size, or not finite.
        TransferError
            When onnxruntime fails, for instance for lack of memory.
        """
        planes = self._planes(image)
        if planes.shape[2:] != self.shape:
            height, width = self.shape
            raise PictureError(
                f"image: {planes.shape[3]}x{planes.shape[2]} pixels; expected {width}x{height}, the content's"
            )
        loss, gradient = self.evaluate(planes)
        return loss, np.ascontiguousarray(gradient[0].transpose(1, 2, 0))

    def _planes(self, image: Picture) -> Planes:
        if not (isinstance(image, np.ndarray) and image.dtype.kind == "f" and image.shape[2:] == (3,)):
            return measured_planes(image, "image")
        planes = to_planes(image, "image")
        if not self.terms and 0 < planes.max() <= 1:  # only the first time: an optimiser may reach such a picture
            warning = "image: its levels are of 0..1, where 255 is white; multiply it by 255"
            warnings.warn(warning, RuntimeWarning, stacklevel=3)
        return planes

    def evaluate(self, planes: Planes) -> tuple[float, Planes]:
        """Return loss and gradient of a picture, float32 [1, 3, H, W], as a graph takes it; nothing is checked."""
        loss, self.terms, gradient = self.evaluator.evaluate(planes)
        return loss, gradient


def _load(folder: ModelFolder, recipe: str, references: References, placement: Placement) -> Load:
    """Return what the evaluations of pictures like these ask of memory."""
    metadata, (height, width) = read_metadata(folder, recipe), references.shape
    return Load(
        metadata.recipe,
        width,
        height,
        tuple((style.shape[3], style.shape[2]) for style in references.styles),
        references.guided or 0,
        halos_of(folder, recipe),
        keeps=ENGINE.keeps(foreseen(placement), height * width),
    )
