"""Recipes: the layers, weights and conventions of the loss, and the start of a run. They are data (TOML)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.defaults import INITS, OPTIMIZERS, REFERENCE_OPTIMIZER, STYLE_CROPS
from impasto.recipe_files import recipe_files
from impasto.runtime.errors import RecipeError
from impasto.runtime.plan.terms import (
    CONTENT_CONVENTIONS,
    OF_OTHER_UNIT,
    STYLE_CONVENTIONS,
    STYLE_LOSSES,
    TV_CONVENTIONS,
    TV_FORMS,
)
from impasto.runtime.storage import codec, toml
from impasto.runtime.storage.codec import expect
from impasto.text import nearest, shown
from impasto.wording import option

POOLINGS = ("max", "average")
PADDINGS = ("zeros", "replicate")
FITS = ("stretch", "area", "same")
NOISES = ("uniform", "normal")

#: A number of pixels, (width, height), or the content picture's own size.
Size = int | tuple[int, int] | Literal["content"]

#: The measure that a single number for a size gives -> that measure of a picture of width x height.
SIZES_OF: Mapping[str, Callable[[int, int], float]] = {
    "long": max,
    "short": min,
    "height": lambda width, height: height,
    "area": lambda width, height: math.sqrt(width * height),
}

#: Weights are 0, or within these. A graph computes in float32: with larger weights the loss of a picture is infinite (a
#: mean of fourth powers of activations alone reaches 1e11), and smaller ones vanish.
LEAST_WEIGHT, MOST_WEIGHT = 1e-15, 1e15

#: The largest absolute level of the noise that a run starts from; a picture's own levels are within 0..255.
MOST_LEVEL = 1e6

#: No run has more evaluations: SciPy counts them in 32 bits, and even a thousandth of them is enough for any picture.
MOST_EVALUATIONS = 1_000_000

#: The most pixels of a bleed: no network sees a border from farther away.
MOST_BLEED = 256

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")

#: A regular expression for the names of the layers of VGG-19, which include those of VGG-16.
LAYER = r"block(?:[12]_conv[12]|[345]_conv[1-4])"
_LAYER = re.compile(LAYER)
_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")

#: The most by which `Recipe.with_boldness` multiplies the content's weight, and a layer's share in the style, by its
#: block.
HINT: float = 16
ABANDON: Mapping[str, float] = {"block4": 4, "block5": 16}


def block_of(layer: str) -> str:
    """Return the block of a layer, ``block4`` of ``block4_conv2``: its layers lie between two poolings."""
    return layer.partition("_")[0]


def _check_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    expect(value in choices, f"{key} is {shown(value)}; expected one of {', '.join(choices)}")


def _check_weight(key: str, value: float) -> None:
    ok = value == 0 or LEAST_WEIGHT <= value <= MOST_WEIGHT
    why = "; with more, the start has no finite loss" if value > MOST_WEIGHT else ""
    expect(ok, f"{key} is {shown(value)}; expected 0, or {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}{why}")


def _check_given(name: str, weight: float) -> None:
    """Refuse a weight out of range that the user gives instead of the recipe's."""
    try:
        codec.check_number(weight, name)
        _check_weight(name, weight)
    except codec.Misfit as refused:
        raise RecipeError(str(refused)) from None


def _check_layers(name: str, layers: Mapping[str, float], known: Mapping[str, float]) -> None:
    """Refuse layers that the recipe does not compare: its graphs have no inputs for them."""
    for layer in layers:
        if layer not in known:
            expected = f"expected layers that the recipe has: {', '.join(known)}"
            raise RecipeError(f"{name} has {shown(layer)}; {expected}")


@dataclass(frozen=True)
class LayersTerm:
    """A content or style loss: its weight, the share of each layer in it, and the convention of both."""

    weight: float
    convention: str
    layers: Mapping[str, float]

    def check(self, key: str, conventions: Mapping[str, object]) -> None:
        """Refuse an inconsistent table; `key` is its key in the recipe."""
        codec.check(self, key)
        _check_weight(f"{key}.weight", self.weight)
        _check_choice(f"{key}.convention", self.convention, tuple(conventions))
        expect(bool(self.layers), f"{key}.layers is empty; name a layer")
        for name, share in self.layers.items():
            ok = bool(_LAYER.fullmatch(name))
            expect(ok, f"{key}.layers has {shown(name)}; expected a layer of VGG, such as block4_conv2")
            _check_weight(f"{key}.layers.{name}", share)
            product = self.weight * share
            ok = product <= MOST_WEIGHT
            expect(ok, f"{key}.weight times {key}.layers.{name} is {product:g}; expected {MOST_WEIGHT:g} at most")


#: How many times means and standard deviations count beside Gram matrices, in the loss that is published.
MOMENTS = 10.0


@dataclass(frozen=True)
class StyleTerm(LayersTerm):
    """A style loss; `loss` names the statistics of the activations that it compares.

    ``gram``: Gram matrices; ``moments``: these, and the mean and standard deviation of each channel; ``covariance``:
    covariance matrices and means; ``wasserstein``: the distance, by optimal transport, between normal distributions
    with these means and covariances. ``moments`` and ``wasserstein`` have only the convention ``mean``.

    With ``moments``, the number `moments` says how many times the mean squares of means and standard deviations count
    beside those of Gram matrices.
    """

    loss: str = "gram"
    moments: float = field(default=MOMENTS, metadata=codec.SPARSE)

    def check(self, key: str, conventions: Mapping[str, object]) -> None:
        """Refuse an inconsistent table; `key` is its key in the recipe."""
        super().check(key, conventions)
        _check_choice(f"{key}.loss", self.loss, STYLE_LOSSES)
        _check_weight(f"{key}.moments", self.moments)
        ok = self.loss == "moments" or self.moments == MOMENTS
        expect(ok, f"{key}.moments is {shown(self.moments)}, and {key}.loss {self.loss} has none; leave it out")
        ok = self.loss not in OF_OTHER_UNIT or self.convention == "mean"
        expect(ok, f"{key}.convention is {self.convention!r}; expected mean, the one that {key}.loss {self.loss} has")


@dataclass(frozen=True)
class TotalVariation:
    """The total variation: its weight, the convention of the weight, and its form.

    The form ``power`` is the sum of (a + b)^exponent, a and b the squared differences of a pixel and its neighbours;
    ``absolute`` sums their absolute values, and ``nine-point`` squared differences to all eight neighbours.
    """

    weight: float = 0.0
    convention: str = "sum"
    exponent: float = 1.25
    form: str = "power"

    def check(self) -> None:
        """Refuse values out of range."""
        codec.check(self, "tv")
        _check_weight("tv.weight", self.weight)
        _check_choice("tv.convention", self.convention, tuple(TV_CONVENTIONS))
        _check_choice("tv.form", self.form, tuple(TV_FORMS))
        expect(
            1 <= self.exponent <= 2,  # below 1, flat areas have no gradient
            f"tv.exponent is {shown(self.exponent)}; expected a number from 1 to 2",
        )


@dataclass(frozen=True)
class Noise:
    """Noise for the start, for each of R, G and B, in levels (0..255 is a picture's own range).

    It is uniform from `low` to `high`; or, if `kind` is ``normal``, it has `mean` and the standard deviation `std`.
    """

    low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    high: tuple[float, float, float] = (255.0, 255.0, 255.0)
    kind: str = "uniform"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: float = 64.0

    def check(self) -> None:
        """Refuse values out of range."""
        codec.check(self, "noise")
        for key in ("low", "high", "mean"):
            value = getattr(self, key)
            ok = all(abs(level) <= MOST_LEVEL for level in value)
            expect(ok, f"noise.{key} is {shown(value)}; expected levels, {MOST_LEVEL:g} at most")
        ok = all(low <= high for low, high in zip(self.low, self.high, strict=True))
        expect(ok, f"noise.low is {shown(self.low)}; expected no more than noise.high, {shown(self.high)}")
        _check_choice("noise.kind", self.kind, NOISES)
        ok = 0 <= self.std <= MOST_LEVEL
        expect(ok, f"noise.std is {shown(self.std)}; expected levels, 0 to {MOST_LEVEL:g}")

    def draw(self, generator: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
        """Return a picture of noise, (height, width, 3)."""
        shape = (height, width, 3)
        if self.kind == "normal":
            return generator.normal(self.mean, self.std, shape)
        return generator.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Recipe:
    """A named way to transfer style.

    Attributes
    ----------
    pooling
        ``max`` or ``average``.
    padding
        What surrounds the picture where the first convolution reads beyond its border: ``zeros``, or copies of the
        outermost pixels, ``replicate``. Zeros surround the maps of all further convolutions.
    size
        The result's size: ``"512"``, in pixels, or ``"300x300"``, width x height to the letter.
    size_of
        The measure that a single number for the size gives: the picture's ``long`` or ``short`` side, its ``height``,
        or the side of a square of the same ``area``. See `scaled_size`.
    style_fit
        How the style picture is resized: ``stretch`` to exactly the result's width and height; with its own
        proportions, to the same ``area``; or by the ``same`` rule as the result, such as to the same long side.
    style_crop
        ``auto``: a plain margin or frame around a style is left out, and its edges; ``off``: nothing is.
    init
        The start of the optimisation: ``random`` noise, the ``content`` picture, the ``style`` picture.
    evaluations
        The number of evaluations of loss and gradient.
    coarse_to_fine
        Whether a large picture is painted small first; see `impasto.runtime.plan.plan.schedule`.
    clip
        Whether levels are held within 0..255 while optimising, rather than only at the end.
    bleed
        The pixels that are painted beyond each border and cut off; see `impasto.runtime.plan.plan.Plan`.
    optimizer
        The optimiser's name, one of `impasto.defaults.OPTIMIZERS`.
    """

    name: str
    content: LayersTerm
    style: StyleTerm
    tv: TotalVariation = field(default_factory=TotalVariation)
    description: str = ""
    pooling: str = "max"
    padding: str = "zeros"
    size: str = "512"
    size_of: str = "long"
    style_fit: str = "area"
    style_crop: str = "off"
    init: str = "content"
    noise: Noise = field(default_factory=Noise)
    evaluations: int = 300
    coarse_to_fine: bool = True
    clip: bool = False
    bleed: int = 0
    optimizer: str = REFERENCE_OPTIMIZER

    def __post_init__(self) -> None:
        """Refuse an inconsistent recipe.

        Raises
        ------
        RecipeError
            One line that names the recipe and the key.
        """
        try:
            self._check()
        except (codec.Misfit, RecipeError) as refused:  # `parse_size` raises the latter
            raise RecipeError(f"recipe {shown(self.name)}: {refused}") from None

    def _check(self) -> None:
        codec.check(self)
        expect(
            bool(_NAME.fullmatch(self.name)),
            f"name is {shown(self.name)}; expected lower-case letters, digits, - and _",
        )
        self.content.check("content", CONTENT_CONVENTIONS)
        self.style.check("style", STYLE_CONVENTIONS)
        self.tv.check()
        self.noise.check()
        _check_choice("pooling", self.pooling, POOLINGS)
        _check_choice("padding", self.padding, PADDINGS)
        _check_choice("size_of", self.size_of, tuple(SIZES_OF))
        _check_choice("style_fit", self.style_fit, FITS)
        _check_choice("style_crop", self.style_crop, STYLE_CROPS)
        _check_choice("init", self.init, INITS)
        _check_choice("optimizer", self.optimizer, tuple(OPTIMIZERS))
        parse_size(self.size)
        count = self.evaluations
        expect(0 <= self.bleed <= MOST_BLEED, f"bleed is {shown(self.bleed)}; expected 0 to {MOST_BLEED}")
        expect(1 <= count <= MOST_EVALUATIONS, f"evaluations is {shown(count)}; expected 1 to {MOST_EVALUATIONS}")

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that the recipe names, once."""
        return tuple(dict.fromkeys((*self.content.layers, *self.style.layers)))

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of content, style and total variation, as `with_weights` takes them."""
        return self.content.weight, self.style.weight, self.tv.weight

    def with_weights(
        self,
        content: float | None = None,
        style: float | None = None,
        tv: float | None = None,
        content_layers: Mapping[str, float] | None = None,
        style_layers: Mapping[str, float] | None = None,
    ) -> Recipe:
        """Return the recipe with the given weights for its terms, and the given shares for some of its layers.

        Raises
        ------
        RecipeError
            When a weight is neither 0 nor one from `LEAST_WEIGHT` to `MOST_WEIGHT`, or the recipe lacks a layer.
        """
        given = {"content": (content, content_layers), "style": (style, style_layers), "tv": (tv, None)}
        tables = dict[str, Any]()
        for key, (weight, layers) in given.items():
            table = getattr(self, key)
            if weight is not None:
                _check_given(option(f"{key}_weight"), weight)
                table = replace(table, weight=weight)
            if layers:
                _check_layers(option(f"{key}_layers"), layers, table.layers)
                table = replace(table, layers={**table.layers, **layers})
            tables[key] = table
        return replace(self, **tables)

    def with_boldness(self, boldness: float) -> Recipe:
        """Return the recipe with its style shifted against its content.

        Below 0, the content counts up to `HINT` times as much. Above 0, the style's deep layers count up to so many
        times as much as `ABANDON` says: a painting's large forms are theirs. Between, the factors are the powers of
        these that `boldness` says, so that equal steps are equal changes.

        Parameters
        ----------
        boldness
            From -1, a hint of the style, over 0, the recipe as it is, to 1, with abandon.

        Raises
        ------
        RecipeError
            When a weight gets larger than `MOST_WEIGHT`.
        """
        if boldness <= 0:
            return self.with_weights(content=self.content.weight * HINT**-boldness) if boldness else self
        deep = {
            name: share * ABANDON[block] ** boldness
            for name, share in self.style.layers.items()
            if (block := block_of(name)) in ABANDON
        }
        return self.with_weights(style_layers=deep)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], subject: str) -> Recipe:
        """Make a recipe of a TOML table or JSON object.

        Raises
        ------
        RecipeError
            For an unknown or missing key or a value that does not fit; the text begins with `subject` and names it.
        """
        try:
            return codec.from_data(cls, data)
        except (codec.Misfit, RecipeError) as refused:
            raise RecipeError(f"{subject}: {refused}") from None


def parse_size(text: str) -> Size:
    """Read a size: ``"512"`` is a number of pixels, ``"300x200"`` (width, height); ``"content"`` the picture's own.

    Raises
    ------
    RecipeError
        When the text is none of these.
    """
    if text == "content":
        return "content"
    match = _SIZE.fullmatch(text)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not all(sides) or not sides:
        expected = "the long side in pixels (512), WIDTHxHEIGHT (300x200) or content"
        raise RecipeError(f"{option('size')} {shown(text)}: expected {expected}")
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def scaled_size(size: float | tuple[int, int], size_of: str, width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a picture of width x height, resized.

    Parameters
    ----------
    size
        (width, height), whatever the picture's proportions, or a number of pixels; then the proportions are kept.
    size_of
        The measure that the number of pixels gives; one of `SIZES_OF`.
    """
    if isinstance(size, tuple):
        return size
    factor = size / SIZES_OF[size_of](width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def builtin_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with the program."""
    return tuple(recipe_files())


def guess_recipe(name: str, others: Iterable[str] = ()) -> str:
    """Return advice on an unknown name of a recipe: the nearest name, and the built-in recipes.

    `others` are recipes that the message names already.
    """
    known = set(others)
    near = nearest(name, {*builtin_recipes(), *known})
    meant = f"did you mean {near}? " if near else ""
    missing = [recipe for recipe in builtin_recipes() if recipe not in known]
    along = f"{', '.join(missing)} {'come' if missing[1:] else 'comes'} along, and " if missing else ""
    return f"{meant}{along}impasto recipes tells of them"


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe by its name, or from a TOML file.

    Raises
    ------
    RecipeError
        When there is no such recipe, the file cannot be read, or the recipe in it is inconsistent.
    """
    text = str(name_or_path)
    if text in builtin_recipes():
        return _parse(recipe_files()[text].read_text("utf-8"), text, f"recipe {text!r}")
    path = Path(text)
    if path.suffix != ".toml":
        raise RecipeError(f"recipe {shown(text)}: there is none; {guess_recipe(text)}; or give a path to a .toml file")
    try:
        data = toml.text_in(path)
    except codec.Misfit as refused:
        raise RecipeError(f"recipe {text}: {refused}") from None
    return _parse(data, path.stem, text)


def _parse(text: str, name: str, subject: str) -> Recipe:
    try:
        data = toml.parsed(text)
    except codec.Misfit as refused:
        raise RecipeError(f"{subject}: {refused}") from None
    return Recipe.from_mapping({"name": name, **data}, subject)
