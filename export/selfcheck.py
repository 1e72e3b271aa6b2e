"""The check after every export: the gradient says how the loss changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import ExportError
from impasto.runtime.model import GUIDED_OBJECTIVE, GUIDED_STATISTICS, OBJECTIVE, STATISTICS, ModelFolder, small_kind
from impasto.runtime.session import Placement, open_session
from impasto.runtime.terms import GRADIENT, GUIDES, IMAGE, LOSS, weight_of

#: Float32 losses have seven digits; their difference over a step that is still straight has three.
TOLERANCE = 1e-2

#: An odd size, so that every pooling has a row or column to leave out.
_HEIGHT, _WIDTH = 67, 53


@dataclass(frozen=True)
class SelfCheck:
    """A recipe's loss along a line through a picture of noise: its slope measured, and by the gradient.

    Attributes
    ----------
    small
        Whether it is of the graphs for small pictures.
    guided
        Whether it is the loss by region.
    finite_difference
        (loss(x + e d) - loss(x - e d)) / 2e, for a direction d of unit length.
    gradient
        The gradient's component along d.
    """

    recipe: str
    lowering: str
    small: bool
    guided: bool
    loss: float
    finite_difference: float
    gradient: float

    @property
    def error(self) -> float:
        """The difference of the two, relative to the larger."""
        return abs(self.finite_difference - self.gradient) / max(abs(self.finite_difference), abs(self.gradient))

    def __str__(self) -> str:
        which = (self.lowering, *("small pictures",) * self.small, *("by region",) * self.guided)
        return (
            f"{self.recipe} ({', '.join(which)}): slope by finite difference {self.finite_difference:.6g}, "
            f"by gradient {self.gradient:.6g}, relative difference {self.error:.1e}"
        )


def check_kinds(*, small: bool, guided: bool) -> tuple[str, str]:
    """Return the kinds of the two graphs that a check runs: the one that measures targets, and the objective."""
    statistics, objective = (GUIDED_STATISTICS, GUIDED_OBJECTIVE) if guided else (STATISTICS, OBJECTIVE)
    return (small_kind(statistics), small_kind(objective)) if small else (statistics, objective)


def self_check(
    folder: ModelFolder, recipe: str, lowering: str, *, small: bool = False, guided: bool = False
) -> SelfCheck:
    """Compare a recipe's gradient with a directional finite difference of its loss, through onnxruntime.

    With `small`, of the graphs for small pictures; with `guided`, of those that take guides.

    Raises
    ------
    ExportError
        When they differ by more than a float32 loss explains.
    """
    rng = np.random.default_rng(0)
    image, target, noise = rng.uniform(0, 255, (3, 1, 3, _HEIGHT, _WIDTH)).astype(np.float32)
    guides = rng.uniform(0, 1, (1, 2, _HEIGHT, _WIDTH)).astype(np.float32) if guided else None
    loss_and_gradient = _objective(folder, recipe, lowering, small, image, target, guides)
    loss, gradient = loss_and_gradient(image)
    # Weighting the gradient itself by noise gives a direction of strong change that is yet not the gradient's own.
    direction = (noise * gradient).astype(np.float64)
    direction /= np.linalg.norm(direction)
    slope = float(np.vdot(gradient, direction))
    step = 2e-3 * loss / slope
    ahead, behind = (loss_and_gradient((image + s * direction).astype(np.float32))[0] for s in (step, -step))
    check = SelfCheck(recipe, lowering, small, guided, loss, (ahead - behind) / (2 * step), slope)
    if not check.error <= TOLERANCE:
        raise ExportError(f"self-check failed: {check}; this is a bug, please report it")
    return check


Objective = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]


def _objective(
    folder: ModelFolder,
    recipe: str,
    lowering: str,
    small: bool,
    image: NDArray[np.float32],
    target: NDArray[np.float32],
    guides: NDArray[np.float32] | None,
) -> Objective:
    """Open a recipe's graphs, with `target` for content and style, and every term worth 1 at `image`.

    A recipe's own weights would let its strongest term hide a mistake in the others.
    """
    kinds = check_kinds(small=small, guided=guides is not None)
    placement = Placement("cpu", lowering, threads=1)
    measure, evaluate = (open_session(folder, recipe, kind, placement) for kind in kinds)
    given = {} if guides is None else {GUIDES: guides}
    terms = [name for name in evaluate.outputs if name not in (LOSS, GRADIENT)]
    feeds = {
        **given,
        **measure.run({IMAGE: target, **given}),
        **{weight_of(term): np.ones((), np.float32) for term in terms},
    }
    means = evaluate.run({IMAGE: image, **feeds}, terms)
    feeds |= {weight_of(term): np.array(1 / means[term], np.float32) for term in terms}

    def loss_and_gradient(image: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        results = evaluate.run({IMAGE: image, **feeds}, (LOSS, GRADIENT))
        return float(results[LOSS]), results[GRADIENT]

    return loss_and_gradient
