"""The terms of the loss: their names in the graphs, and their weights.

Inside a graph every term is a mean, so that its value depends neither on the picture's size nor on a layer's width:

- content, layer l: the mean of (F - P)^2 over the C x M activations;
- style, layer l: the mean of (G - A)^2 over the C x C entries of the Gram matrices G = F F^T / M; a recipe may name
  another loss, see `impasto.export.style_losses`: `covariance`, over C x C entries, too, `wasserstein`, over C, or
  `moments`, of both;
- total variation: the mean of (a + b)^p over the 3 x (H-1) x (W-1) differences; or of another form.

Recipes are written in the conventions of their sources (sums, the paper's 1 / (4 N^2 M^2), ...). The functions here
turn a convention into the number that multiplies the mean: the term's *effective weight*.

`TERMS` lists the kinds of terms. A new one is an entry there, a table of the recipe, and an entry in
`impasto.export.losses.TERM_LOSSES` with the function that computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from impasto.runtime.plan.recipe import Recipe

#: The input of every graph: the picture, float32 [1, 3, H, W], RGB, 0..255.
IMAGE = "image"

#: An input of the guided graphs: how much each pixel belongs to each of R regions, float32 [1, R, H, W], 0..1.
GUIDES = "guides"

#: A further input of the guided objectives: the factor of the content's weight at each pixel, float32 [1, 1, H, W].
PROTECTION = "protection"

#: The objective graph's main outputs; the gradient is with respect to the picture and shaped like it.
LOSS, GRADIENT = "loss", "gradient"


def target_of(term: str) -> str:
    """Name the target of a term: an output of the statistics graph, an input of the objective graph."""
    return f"{term}.target"


def weight_of(term: str) -> str:
    """Name the input of the objective graph that takes the effective weight of a term."""
    return f"{term}.weight"


@dataclass(frozen=True)
class LayerSize:
    """The extent of a layer's activations for one picture: C channels (N in the paper), M positions."""

    channels: int
    positions: int


#: Convention -> factor from the mean of (F - P)^2 to the convention's own content loss.
CONTENT_CONVENTIONS: Mapping[str, Callable[[LayerSize], float]] = {
    "mean": lambda layer: 1.0,
    "sum": lambda layer: layer.channels * layer.positions,
    "half-sum": lambda layer: layer.channels * layer.positions / 2,  # Gatys et al. 2016, equation 1
}

#: The kinds of style loss. The conventions for Gram matrices fit covariance matrices, too: these have the same size and
#: unit.
STYLE_LOSSES = ("gram", "moments", "covariance", "wasserstein")

#: Those that have another unit than Gram matrices, and so the convention ``mean`` only.
OF_OTHER_UNIT = ("moments", "wasserstein")

#: Convention -> factor from the mean of (G - A)^2 to the convention's own style loss; S is the picture's H * W.
#: With un-normalised Gram matrices M G, a sum over their N^2 entries is N^2 M^2 times our mean.
STYLE_CONVENTIONS: Mapping[str, Callable[[LayerSize, int], float]] = {
    "mean": lambda layer, s: 1.0,
    # sum / (4 N^2 M^2): Gatys et al. 2016, equation 4
    "gatys": lambda layer, s: 1 / 4,
    # mean over N^2 of (dG / (N M))^2: Johnson's neural-style; and pastiche, which divides by N^2 in its weights
    "johnson": lambda layer, s: 1 / layer.channels**2,
    # sum / (4 * 3^2 * S^2): the Keras example, with the picture's channels and size at every layer
    "keras": lambda layer, s: (layer.channels * layer.positions / s) ** 2 / (4 * 3**2),
}

#: Form of total variation -> the number of differences in its mean, for a picture of H x W.
TV_FORMS: Mapping[str, Callable[[int, int], int]] = {
    "power": lambda h, w: 3 * (h - 1) * (w - 1),  # (a + b)^p, of neighbours below and to the right
    "absolute": lambda h, w: 3 * h * w,  # |dy| + |dx|
    "nine-point": lambda h, w: 3 * h * w,  # d^2 of all eight neighbours: crowsonkb/style-transfer-pytorch
}

#: Convention -> factor from the mean to the convention's own total variation, for n differences.
TV_CONVENTIONS: Mapping[str, Callable[[int], float]] = {
    "mean": lambda n: 1.0,
    "sum": lambda n: float(n),
    "half-sum": lambda n: n / 2,  # the loss whose gradient is that of Johnson's neural-style
    "unit-mean": lambda n: 1 / 255**2,  # of squared differences, for a picture of levels 0..1
}


# --- kinds of terms -------------------------------------------------------------------------------------------

#: Stands for a layer in a term of the whole picture itself.
WHOLE = ""


class Weighted(Protocol):
    """The table of a kind of terms in a recipe."""

    @property
    def weight(self) -> float:
        """The factor of all its terms."""


@dataclass(frozen=True)
class Term:
    """A kind of term.

    Attributes
    ----------
    key
        The name of its table in a recipe, and the beginning of the names of its terms.
    table
        Recipe -> that table.
    layers
        Recipe -> the share of each layer in it; None if it is one term, of the picture itself.
    measured
        The picture whose activations make its targets; None if it has no targets.
    factor
        (recipe, size of the layer, height and width of the picture) -> the factor of the mean in its convention.
    """

    key: str
    table: Callable[[Recipe], Weighted]
    layers: Callable[[Recipe], Mapping[str, float]] | None
    measured: Literal["content", "style"] | None
    factor: Callable[[Recipe, LayerSize, int, int], float]

    def name(self, layer: str = WHOLE) -> str:
        """Name the term of a layer; also the graph output that holds its value."""
        return f"{self.key}/{layer}" if self.layers else self.key

    def shares(self, recipe: Recipe) -> Mapping[str, float]:
        """Return the share of each of its terms, by layer."""
        return self.layers(recipe) if self.layers else {WHOLE: 1.0}

    def total(self, weights: Mapping[str, float]) -> float:
        """Return the sum of the weights of its terms; `weights` are those of all terms."""
        return sum(weight for name, weight in weights.items() if name.partition("/")[0] == self.key)


CONTENT = Term(
    "content",
    table=lambda recipe: recipe.content,
    layers=lambda recipe: recipe.content.layers,
    measured="content",
    factor=lambda recipe, layer, h, w: CONTENT_CONVENTIONS[recipe.content.convention](layer),
)
STYLE = Term(
    "style",
    table=lambda recipe: recipe.style,
    layers=lambda recipe: recipe.style.layers,
    measured="style",
    factor=lambda recipe, layer, h, w: STYLE_CONVENTIONS[recipe.style.convention](layer, h * w),
)
TV = Term(
    "tv",
    table=lambda recipe: recipe.tv,
    layers=None,
    measured=None,
    factor=lambda recipe, layer, h, w: TV_CONVENTIONS[recipe.tv.convention](TV_FORMS[recipe.tv.form](h, w)),
)

#: All kinds, in the order of the graphs' outputs.
TERMS = (CONTENT, STYLE, TV)


def targets_of(recipe: Recipe, picture: Literal["content", "style"]) -> list[str]:
    """Name the targets that are measured from a picture."""
    return [target_of(term.name(layer)) for term in TERMS if term.measured == picture for layer in term.shares(recipe)]


def effective_weights(recipe: Recipe, layers: Mapping[str, LayerSize], height: int, width: int) -> dict[str, float]:
    """Return the number that multiplies each term's mean, for a picture of height x width pixels.

    Parameters
    ----------
    layers
        The size, for this picture, of every layer that the recipe names.
    """
    sizes = {**layers, WHOLE: LayerSize(3, height * width)}
    return {
        term.name(layer): term.table(recipe).weight * share * term.factor(recipe, sizes[layer], height, width)
        for term in TERMS
        for layer, share in term.shares(recipe).items()
    }


def style_to_content(weights: Mapping[str, float]) -> float:
    """Return the ratio of the effective weights of all style terms to those of all content terms; 0 or more."""
    content = CONTENT.total(weights)
    return STYLE.total(weights) / content if content else float("inf")
