"""The objective: an exported graph with its targets and weights in place, as a function picture -> loss, gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime.engine.cuda import CUDA_DEFAULTS, CudaOptions
from impasto.runtime.engine.session import (
    DeviceArray,
    Placement,
    Session,
    download_number,
    on_device,
    open_session,
    tell_unrecorded,
)
from impasto.runtime.errors import InputError, PictureError, TransferError
from impasto.runtime.model.default import find_model
from impasto.runtime.model.folder import (
    GUIDED_STATISTICS,
    PRECISIONS,
    STATISTICS,
    WINOGRAD,
    Metadata,
    ModelFolder,
    extents,
    kind_for,
)
from impasto.runtime.optimize.lbfgs import Algebra, Resident
from impasto.runtime.pictures.masks import Mask, Regions
from impasto.runtime.pictures.photographs import Picture
from impasto.runtime.pictures.planes import Planes, as_styles, measured_planes, to_planes
from impasto.runtime.plan.plan import normalized_blend
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import (
    GRADIENT,
    GUIDES,
    IMAGE,
    LOSS,
    effective_weights,
    targets_of,
    weight_of,
)
from impasto.runtime.signatures import explained
from impasto.wording import option

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
        # On the device, all in one place for good: what is fed beside the picture, and what the graph makes of it.
        self._graph = session.bind(feeds)
        self._numbers = {name: session.allocate(()) for name in session.outputs if name != GRADIENT}
        self._image, self._gradient = (session.allocate((1, 3, *shape)) for _ in range(2))
        self._landing = session.landing((1, 3, *shape))
        self.recipe = recipe
        self.shape = shape
        self.terms: dict[str, float] = {}
        self.metadata: Metadata = session.metadata
        self.device: str = session.device

    @classmethod
    @explained
    def open(
        cls,
        model: str | Path | None = None,
        recipe: str = DEFAULT_RECIPE,
        *,
        content: Picture,
        styles: Picture | Sequence[Picture],
        style_blend: Sequence[float] | None = None,
        content_mask: Mask | None = None,
        style_masks: Mask | Sequence[Mask] | None = None,
        device: str = "auto",
        lowering: str = "auto",
        threads: int | None = None,
        low_memory: bool = False,
        cuda: CudaOptions = CUDA_DEFAULTS,
        precision: str = "fp32",
        content_weight: float | None = None,
        style_weight: float | None = None,
        tv_weight: float | None = None,
    ) -> Objective:
        """Open a model folder's recipe and measure the targets.

        Parameters
        ----------
        model
            A model folder; by default that of `impasto.runtime.model.default`.
        recipe
            The name of one of the recipes that it holds.
        content
            The content picture: a path, an address, an image, or an array (H, W, 3), RGB, 0..255; see
            `impasto.runtime.pictures.photographs.Picture`. It fixes H and W. Transparent, it counts as opaque.
        styles
            One style picture or several, of any size; the targets of several are averaged. What is transparent in them
            is white.
        style_blend
            The weight of each style in that average; equal ones by default.
        content_mask
            A label picture, stretched over the content: what has the same colour in it and in a style's mask is the
            same region, and takes its style from there. See `impasto.runtime.pictures.masks`.
        style_masks
            A label picture of each style.
        device
            Where it runs; see `impasto.runtime.engine.session.Placement`, for all up to `precision`.
        lowering
            The form of the graphs.
        threads
            Of the processor.
        low_memory
            Whether memory is given back after every evaluation.
        cuda
            How CUDA is used.
        precision
            ``"fp32"``, or ``"fp16"`` on a GPU.
        content_weight
            Instead of the recipe's own weight, in the recipe's convention.
        style_weight
            Likewise.
        tv_weight
            Likewise, of the total variation.

        Raises
        ------
        InputError
            When the model, the device, a picture or a weight will not do; each has its subclass.
        TransferError
            When measuring the targets fails; or, on CUDA, a first evaluation.
        """
        paintings = as_styles(styles)
        content_planes = measured_planes(content, "content")
        style_planes = [measured_planes(style, f"style {k}", over_white=True) for k, style in enumerate(paintings, 1)]
        blend = normalized_blend(style_blend, len(paintings))
        regions = Regions.match(content_mask, style_masks, len(paintings))
        folder = ModelFolder.open(find_model(model))
        height, width = content_planes.shape[2:]

        def measure_and_open(placement: Placement) -> Objective:
            """Open one graph after the other: the first has given its memory back by then."""
            plain, guided = PRECISIONS[placement.precision]
            kinds = (GUIDED_STATISTICS, guided) if regions else (STATISTICS, plain)
            # A content target is laid out as the objective has its activations: both are for the content's size.
            measured, minimized = (kind_for(kind, placement.layout, height, width) for kind in kinds)
            statistics = open_session(folder, recipe, measured, placement)
            fixed = _measure(statistics, content_planes, style_planes, blend, regions)
            del statistics
            if regions:
                fixed[GUIDES] = regions.content_guides(width, height)
            found = extents(height, width, len(regions.content.colors) if regions else None)

            def open_one(at: Placement) -> Objective:
                session = open_session(folder, recipe, minimized, at, found)
                chosen = session.metadata.recipe.with_weights(content_weight, style_weight, tv_weight)
                return cls(session, chosen, (height, width), {**fixed, **_weights(session, chosen, height, width)})

            return _tried_out(open_one, placement, content_planes)

        where = Placement(device, lowering, threads, low_memory, cuda, precision)
        objective = on_device(where, measure_and_open)
        if precision == "fp16" and objective.device == "cpu":
            told = f"{option('precision', precision)}: on a CPU it only takes longer; leave it out"
            warnings.warn(told, RuntimeWarning, stacklevel=3)
        if lowering == WINOGRAD and objective.device != "cpu":
            told = f"{option('lowering', lowering)}: is made for CPUs, and some of it runs on one; leave it out"
            warnings.warn(told, RuntimeWarning, stacklevel=3)
        if objective.metadata.random_weights:
            warnings.warn(
                f"model {folder.path} has random weights: good for tests, useless for pictures",
                RuntimeWarning,
                stacklevel=3,
            )
        return objective

    def __call__(self, image: NDArray[np.floating] | Picture) -> tuple[float, NDArray[np.float32]]:
        """Return the loss of a picture and its gradient, (H, W, 3), RGB, by levels of 0..255.

        Floating-point arrays (H, W, 3) are taken as they are, whatever their range; others as `open` takes the content.

        Raises
        ------
        PictureError
            When the picture is not of the content's size, or not finite.
        TransferError
            When onnxruntime fails, for want of memory for instance.
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
        if not self.terms and 0 < planes.max() <= 1:  # asked once: an optimiser may come by such a picture
            told = "image: its levels are of 0..1, where 255 is white; multiply it by 255"
            warnings.warn(told, RuntimeWarning, stacklevel=3)
        return planes

    def evaluate(self, planes: Planes) -> tuple[float, Planes]:
        """Return loss and gradient of a picture as the graph takes it, float32 [1, 3, H, W]; nothing is checked."""
        self._image.update_inplace(np.ascontiguousarray(planes))
        return self._evaluate(self._image, self._gradient), self._landing.fetch(self._gradient)

    def _evaluate(self, image: DeviceArray, gradient: DeviceArray) -> float:
        """Return the loss of a picture on the device, and write its gradient where the second array is."""
        self._graph.run({IMAGE: image}, {**self._numbers, GRADIENT: gradient})
        self.terms = {name: download_number(number) for name, number in self._numbers.items()}
        return self.terms.pop(LOSS)

    def resident(self) -> Resident:
        """Return the objective as a function of pictures on its device, whose gradients stay there.

        Raises
        ------
        InputError
            When the model lacks the graphs that an optimiser on the device needs; or when evaluations are recorded,
            see `CudaOptions.graph`, which ties them to one picture's place.
        """
        if self._session.placement.recorded:
            raise InputError("objective: its evaluations are recorded; open it with CudaOptions(graph=False)")
        return _Resident(self._evaluate, Algebra.open(self._session.folder, self._session.placement))


def _tried_out(open_one: Callable[[Placement], Objective], placement: Placement, planes: Planes) -> Objective:
    """Return an objective that has been evaluated, where opening alone does not tell whether that can be done.

    On CUDA it is the first evaluation that takes the memory, loads the kernels and is recorded. What cannot be recorded
    is opened again without.

    Raises
    ------
    TransferError
        When it cannot be evaluated either way.
    """
    objective = open_one(placement)
    if placement.device == "cpu":
        return objective
    try:
        return _evaluated(objective, planes)
    except TransferError:
        if not objective._session.placement.recorded:
            raise
    del objective  # its memory is wanted again
    objective = _evaluated(open_one(placement.unrecorded()), planes)
    if placement.cuda.graph:
        tell_unrecorded(objective._session.name)
    return objective


def _evaluated(objective: Objective, planes: Planes) -> Objective:
    objective.evaluate(planes)
    objective.terms = {}  # as it is before anybody's first call
    return objective


def _weights(session: Session, recipe: Recipe, height: int, width: int) -> Targets:
    """Return the weights of a recipe's terms as a graph takes them, for a picture of height x width pixels."""
    effective = effective_weights(recipe, session.metadata.sizes(height, width), height, width)
    with np.errstate(over="ignore"):  # an infinite weight makes the loss infinite, and that is an error
        return {weight_of(term): np.array(value, np.float32) for term, value in effective.items()}


class _Resident:
    """An objective for an optimiser on the same device."""

    def __init__(self, evaluate: Callable[[DeviceArray, DeviceArray], float], algebra: Algebra) -> None:
        self._evaluate, self.algebra = evaluate, algebra

    def __call__(self, point: DeviceArray, gradient: DeviceArray) -> float:
        return self._evaluate(point, gradient)


def _measure(
    session: Session, content: Planes, styles: Sequence[Planes], blend: Sequence[float], regions: Regions | None
) -> Targets:
    """Return the targets of the content picture and the average targets of the styles, by a statistics graph.

    With regions, there is a target for each: the average over the styles that have it.
    """
    recipe = session.metadata.recipe
    content_targets, style_targets = targets_of(recipe, "content"), targets_of(recipe, "style")
    shares, guides = np.array(blend, np.float64), [dict[str, Planes]() for _ in styles]
    if regions:
        made = [regions.style_guides(k, style.shape[3], style.shape[2]) for k, style in enumerate(styles)]
        deepest = max(layer.level for layer in session.metadata.layers if layer.name in recipe.style.layers)
        shares, guides = regions.blend(blend, made, deepest), [{GUIDES: guide} for guide in made]
    # What the graph measures of the content's style, if anything, is not wanted: one region is the least work.
    anywhere = {GUIDES: np.ones((1, 1, *content.shape[2:]), np.float32)} if regions else {}
    measured = session.run({IMAGE: content, **anywhere}, content_targets)
    targets = {name: value.copy() for name, value in measured.items()}  # the session's memory is not to be kept
    measurements = [
        session.run({IMAGE: style, **guide}, style_targets) for style, guide in zip(styles, guides, strict=True)
    ]
    for name in style_targets:
        targets[name] = _average([m[name] for m in measurements], shares)
    return targets


def _average(values: Sequence[NDArray[np.float32]], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the sum of values, one for each style, times shares, [styles] or, by region, [styles, R]."""
    stacked = np.stack(values)
    weights = shares.reshape(shares.shape + (1,) * (stacked.ndim - shares.ndim))
    average: NDArray[np.float32] = (weights * stacked).sum(0).astype(np.float32)
    return average
