"""The check after every export: the gradient says how the loss changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.export.constants import Constants
from impasto.runtime.errors import ExportError
from impasto.runtime.model import GUIDED_OBJECTIVE, GUIDED_STATISTICS, OBJECTIVE, STATISTICS, ModelFolder, small_kind
from impasto.runtime.terms import GRADIENT, GUIDES, IMAGE, LOSS, weight_of

#: Float32 losses have seven digits; their difference over a step that is still straight has three.
TOLERANCE = 1e-2

#: How much of the loss the step is to change, by the gradient.
_CHANGE = 4e-3

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
        (loss(x + e d) - loss(x)) / e, for a direction d of unit length.
    gradient
        The mean of the gradient's components along d at x and at x + e d.
    means
        What the terms were divided by, to weigh alike.
    """

    recipe: str
    lowering: str
    small: bool
    guided: bool
    loss: float
    finite_difference: float
    gradient: float
    means: Mapping[str, float] = field(repr=False)

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
    folder: ModelFolder,
    recipe: str,
    lowering: str,
    *,
    small: bool = False,
    guided: bool = False,
    constants: Constants | None = None,
    means: Mapping[str, float] | None = None,
) -> SelfCheck:
    """Compare a recipe's gradient with a finite difference of its loss, through onnxruntime.

    The graphs are opened as the runtime opens them, with the same optimisations, but for values that follow from the
    weights alone. `Constants` computes them, by the same nodes; and `winograd`'s transformed kernels are inputs.

    Parameters
    ----------
    small
        Whether to check the graphs for small pictures.
    guided
        Whether to check those that take guides.
    constants
        Where to find what follows from the weights alone, and to leave it for other checks.
    means
        What each term is about at the picture, so that all weigh alike: from a check of the recipe's other graphs. By
        default they are measured.

    Raises
    ------
    ExportError
        When they differ by more than a float32 loss explains.
    """
    rng = np.random.default_rng(0)
    image, target, noise = rng.uniform(0, 255, (3, 1, 3, _HEIGHT, _WIDTH)).astype(np.float32)
    guides = rng.uniform(0, 1, (1, 2, _HEIGHT, _WIDTH)).astype(np.float32) if guided else None
    paths = [folder.graph(recipe, kind, lowering) for kind in check_kinds(small=small, guided=guided)]
    means, loss_and_gradient = _objective(paths, constants or Constants(folder.path), image, target, guides, means)
    loss, gradient = loss_and_gradient(image)
    # Weighting the gradient itself by noise gives a direction of strong change that is yet not the gradient's own.
    direction = (noise * gradient).astype(np.float64)
    direction /= np.linalg.norm(direction)
    slope = float(np.vdot(gradient, direction))
    step = _CHANGE * loss / slope
    ahead, gradient_ahead = loss_and_gradient((image + step * direction).astype(np.float32))
    # The mean slope of a parabola is that of its two ends: what is left is of the third order, and no third run needed.
    mean_slope = (slope + float(np.vdot(gradient_ahead, direction))) / 2
    check = SelfCheck(recipe, lowering, small, guided, loss, (ahead - loss) / step, mean_slope, means)
    if not check.error <= TOLERANCE:
        raise ExportError(f"self-check failed: {check}; this is a bug, please report it")
    return check


Objective = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]


def _objective(
    paths: Sequence[Path],
    constants: Constants,
    image: NDArray[np.float32],
    target: NDArray[np.float32],
    guides: NDArray[np.float32] | None,
    means: Mapping[str, float] | None,
) -> tuple[Mapping[str, float], Objective]:
    """Open the graphs of statistics and objective, with `target` for content and style, and every term worth about 1.

    A recipe's own weights would let its strongest term hide a mistake in the others. What they are divided by is
    returned, too.
    """
    given = {} if guides is None else {GUIDES: guides}
    targets = _measured(constants, paths[0], {IMAGE: target, **given})
    evaluate = constants.open(paths[1])
    terms = [name for name in evaluate.runner.outputs if name not in (LOSS, GRADIENT)]
    feeds = {**given, **targets, **evaluate.feeds}
    if means is None:
        ones = {weight_of(term): np.ones((), np.float32) for term in terms}
        means = {
            term: float(value) for term, value in evaluate.runner.run({IMAGE: image, **feeds, **ones}, terms).items()
        }
    feeds |= {weight_of(term): np.array(1 / means[term], np.float32) for term in terms}

    def loss_and_gradient(image: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        results = evaluate.runner.run({IMAGE: image, **feeds}, (LOSS, GRADIENT))
        return float(results[LOSS]), results[GRADIENT]

    return means, loss_and_gradient


def _measured(constants: Constants, path: Path, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """Return the targets that a graph measures; its session is closed before another is opened."""
    measure = constants.open(path)
    return {name: value.copy() for name, value in measure.runner.run({**feeds, **measure.feeds}).items()}
