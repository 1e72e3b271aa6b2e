"""The plan of a transfer: everything that decides what the result looks like, except the pictures and the machine.

A plan is made before any work; an inconsistent one is refused. It is plain data: it is embedded in the result and can
be carried out again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

from impasto.defaults import COLORS, INITS, OPTIMIZERS, PROTECT_WEIGHT, REFERENCE_OPTIMIZER
from impasto.runtime.errors import InputError
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.recipe import MOST_BLEED, MOST_EVALUATIONS, Recipe
from impasto.runtime.plan.sizes import MAX_SIDE, MIN_SIDE
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.storage import codec
from impasto.runtime.storage.codec import expect
from impasto.text import shown
from impasto.wording import of_data, option

#: The `init` of a run that starts from a picture of the user's.
PICTURE = "picture"

#: What a plan calls the photograph's colours, moved to the result's edges.
KEEP_EDGES = "keep-edges"

#: What a plan calls a choice of colours, if not by its own name. The `keep` of older plans, and so of records and
#: checkpoints, was pixel by pixel. It still is, so that their pictures are made again as they were.
_COLORS_IN_PLANS = {"keep": KEEP_EDGES, "keep-pixels": "keep"}

#: Pictures with a longer side are painted coarse to fine: a VGG network sees strokes of up to some 200 pixels, so that
#: larger shapes are laid out while the picture is small.
COARSEST = 400

#: The least and the largest `style_scale`.
STYLE_SCALES: tuple[float, float] = (0.05, 20)

#: The least and the largest `boldness`.
BOLDNESS: tuple[float, float] = (-1, 1)

#: The most that `protect_weight` and `region_strengths` may be: with more, single precision would lose all else.
MOST_TIMES = 1_000_000

#: The sum of shares may differ from 1 by so much, because of rounding.
_ROUNDING = 1e-6

#: L-BFGS never remembers more pairs of a step and the change of the gradient along it. Each takes two arrays of the
#: picture's size.
MOST_PAIRS = 100

#: Each stage is half as long and half as wide as the next one, and has twice as many evaluations.
FINER, FEWER = 2, 2


#: The choices of `colors` that a stage has: what keeps the photograph's colours is done once, with the result.
OF_STAGES = tuple(choice for choice in COLORS if not choice.startswith("keep"))

#: The pictures whose colours the start of a stage may get.
START_COLORS = ("content", "style")


@dataclass(frozen=True)
class StageOptions:
    """What a stage has of its own; None is as in the whole run.

    Attributes
    ----------
    content_weight, style_weight, tv_weight
        The weights of the terms, in the recipe's conventions.
    content_layers, style_layers
        The shares of some of the recipe's layers in these terms; other layers keep the recipe's.
    blend
        The share of each of the run's styles in the targets: 0 for a style that this stage does without.
    style_scale, colors, optimizer
        As the plan's of the same names. `colors` is never ``keep``: that is done once, with the result.
    start_colors
        The picture that the stage starts from gets the mean and covariance of the colours of the photograph,
        ``content``, or of the stage's styles, ``style``.
    """

    content_weight: float | None = field(default=None, metadata=codec.SPARSE)
    style_weight: float | None = field(default=None, metadata=codec.SPARSE)
    tv_weight: float | None = field(default=None, metadata=codec.SPARSE)
    content_layers: Mapping[str, float] | None = field(default=None, metadata=codec.SPARSE)
    style_layers: Mapping[str, float] | None = field(default=None, metadata=codec.SPARSE)
    blend: tuple[float, ...] | None = field(default=None, metadata=codec.SPARSE)
    style_scale: float | None = field(default=None, metadata=codec.SPARSE)
    colors: str | None = field(default=None, metadata=codec.SPARSE)
    optimizer: str | None = field(default=None, metadata=codec.SPARSE)
    start_colors: str | None = field(default=None, metadata=codec.SPARSE)

    @property
    def of_recipe(self) -> dict[str, Any]:
        """Those that `Recipe.with_weights` takes, by its names."""
        return {
            "content": self.content_weight,
            "style": self.style_weight,
            "tv": self.tv_weight,
            "content_layers": self.content_layers,
            "style_layers": self.style_layers,
        }

    @property
    def of_plan(self) -> dict[str, Any]:
        """Those that are fields of a plan, and are not None."""
        named = {name: getattr(self, name) for name in ("blend", "style_scale", "colors", "optimizer")}
        return {name: value for name, value in named.items() if value is not None}

    def without(self, names: Collection[str]) -> StageOptions | None:
        """Return the options less some of them; None if none are left."""
        left = replace(self, **{name: None for name in names if hasattr(self, name)})
        return None if left == StageOptions() else left


@dataclass(frozen=True)
class Stage:
    """Evaluations at one size, in pixels; without any, the picture of the stage before is only enlarged.

    Attributes
    ----------
    width, height
        Of the picture, without the plan's bleed.
    planned
        The planned number of evaluations, if there were fewer in the end: the fall of Adam's steps depends on it.
    optimizer, pairs
        Where memory is short, another optimiser than the plan's, and the number of pairs that L-BFGS remembers; None
        for the plan's, and for as many as it remembers by itself.
    options
        What it has of its own; None if all is as in the whole run.
    """

    width: int
    height: int
    evaluations: int
    planned: int | None = None
    optimizer: str | None = None
    pairs: int | None = None
    options: StageOptions | None = field(default=None, metadata=codec.SPARSE)

    def check(self, subject: str, least: int = 1) -> None:
        """Refuse a stage with values out of range; errors name it `subject`, and it has `least` evaluations or more.

        Raises
        ------
        InputError
            When a size or a number of evaluations is out of range.
        """
        codec.check(self, subject)
        _in_range(f"{subject}: width", self.width, MIN_SIDE, MAX_SIDE)
        _in_range(f"{subject}: height", self.height, MIN_SIDE, MAX_SIDE)
        _in_range(f"{subject}: evaluations", self.evaluations, least, MOST_EVALUATIONS)
        if self.planned is not None:
            _in_range(f"{subject}: planned", self.planned, self.evaluations, MOST_EVALUATIONS)
        if self.optimizer is not None:
            known = f"{', '.join([*OPTIMIZERS][:-1])} or {[*OPTIMIZERS][-1]}"
            expect(self.optimizer in OPTIMIZERS, f"{subject}: optimizer {shown(self.optimizer)}; expected {known}")
        if self.pairs is not None:
            _in_range(f"{subject}: pairs", self.pairs, 1, MOST_PAIRS)
        if self.options is not None:
            for name, choices in (("colors", OF_STAGES), ("start_colors", START_COLORS)):
                value, expected = getattr(self.options, name), " or ".join(choices)
                expect(value in (None, *choices), f"{subject}: {name} {shown(value)}; expected {expected}")

    @property
    def steps(self) -> int:
        """The number of evaluations in which Adam's steps fall to their last size."""
        return self.planned or self.evaluations


def schedule(width: int, height: int, evaluations: int, stages: int | None = None) -> tuple[Stage, ...]:
    """Divide the evaluations among stages from coarse to fine, the last one of the full size.

    Parameters
    ----------
    evaluations
        The number of evaluations in all stages. There are no more stages than evaluations.
    stages
        The number of stages; by default the first has a long side of at most 400 pixels. No stage has a side below 32
        pixels, so there may be fewer.

    Examples
    --------
    >>> schedule(1024, 768, 210)
    (Stage(width=256, height=192, evaluations=120), Stage(width=512, height=384, evaluations=60), \
Stage(width=1024, height=768, evaluations=30))
    """
    if stages is None:
        stages = 1 + max(0, math.ceil(math.log(max(width, height) / COARSEST, FINER)))
    possible = 1 + max(0, math.floor(math.log(min(width, height) / MIN_SIDE, FINER)))
    stages = min(stages, possible, evaluations)
    counts = divided(evaluations, [FEWER**k for k in reversed(range(stages))])
    sizes = [FINER**k for k in reversed(range(stages))]
    return tuple(
        Stage(max(MIN_SIDE, round(width / by)), max(MIN_SIDE, round(height / by)), count)
        for by, count in zip(sizes, counts, strict=True)
    )


def divided(evaluations: int, shares: Sequence[int]) -> list[int]:
    """Divide evaluations in the proportion of shares of 1 or more; each gets one, so there must be as many."""
    counts = [max(1, evaluations * share // sum(shares)) for share in shares]
    counts[0] += max(0, evaluations - sum(counts))  # the remainder of rounding
    while sum(counts) > evaluations:  # too many, as each has one: the largest count, of equal ones the last, is reduced
        counts[max(range(len(counts)), key=lambda k: (counts[k], k))] -= 1
    return counts


@dataclass(frozen=True)
class Plan:
    """The plan of a transfer.

    Attributes
    ----------
    recipe
        The recipe, with the weights the user has set.
    stages
        From coarse to fine; the last one's size is the result's, and it alone may be without evaluations.
    init
        ``random``, ``content``, ``style``, ``statistics`` (noise with the colour statistics of the style) or
        ``picture`` (one that the user gives).
    noise
        The share of the start that is replaced by noise, 0..1.
    seed
        The seed of all noise.
    blend
        The share of each style in the targets; they sum to 1.
    crops
        What is left out of each style; empty if nothing is, of any.
    style_scale
        The style's size as a multiple of the recipe's.
    colors
        As `planned_colors` returns it. ``style``: as the optimisation leaves them. ``keep-edges``: the content's
        colours, moved to the result's edges, with its lightness; ``keep``: the same pixel by pixel. ``match``: the
        style's colours are matched to the content's before the run; ``match-lab``: the same in CIELAB.
    strength
        The share of the result when it is mixed with the content afterwards: 1 is the result itself.
    protect_weight
        How many times the content counts where it is protected, if there is a mask that says where.
    region_strengths
        A region's colour, as ``#rrggbb`` -> how many times its style counts; 1 for those left out.
    clip
        Whether levels are held within 0..255 while optimising, rather than only at the end.
    bleed
        The pixels that are painted beyond each border, at every stage, and cut off in the end, as printers do. There
        the photograph is mirrored. Zero padding tells the network where a picture ends, and a margin or a frame that
        the painting has is painted there.
    boldness
        How far the style is shifted against the content, from -1 to 1; see
        `impasto.runtime.plan.recipe.Recipe.with_boldness`. `recipe` is as it is without, and `of` has the shift.
    optimizer
        ``lbfgs`` (SciPy's L-BFGS-B), ``lbfgs-sobolev`` (L-BFGS in a metric that takes fewer evaluations),
        ``lbfgs-device`` (SciPy's method, on the device of the loss) or ``adam``, which needs less memory.
    restart_every
        See `impasto.runtime.optimize.minimize.minimize`.
    min_improvement
        A stage ends when its last `impasto.runtime.optimize.search.PATIENCE` evaluations have lowered its loss by less
        than this fraction.
    time_limit
        Seconds after which the run ends with the best picture so far.
    restarts
        The numbers of evaluations, of all stages, after which L-BFGS starts again from the best picture, without the
        curvature it has learnt: there a run was interrupted and resumed.
    """

    recipe: Recipe
    stages: tuple[Stage, ...]
    init: str
    noise: float = 0.0
    seed: int = 0
    blend: tuple[float, ...] = (1.0,)
    crops: tuple[Crop, ...] = ()
    style_scale: float = 1.0
    colors: str = "style"
    strength: float = 1.0
    protect_weight: float = PROTECT_WEIGHT
    region_strengths: Mapping[str, float] = field(default_factory=dict)
    clip: bool = False
    bleed: int = 0
    boldness: float = field(default=0.0, metadata=codec.SPARSE)
    optimizer: str = REFERENCE_OPTIMIZER
    restart_every: int | None = None
    min_improvement: float | None = None
    time_limit: float | None = None
    restarts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that are out of range.

        Raises
        ------
        InputError
            One line that names the value and says what was expected.
        """
        codec.check(self, called=option)
        for number, stage in enumerate(self.stages, 1):
            stage.check(f"stage {number}", least=0 if 1 < number == len(self.stages) else 1)
        expect(bool(self.stages), "stages: none; expected one or more")
        _in_range(option("bleed"), self.bleed, 0, MOST_BLEED)
        _in_range(option("evaluations"), self.evaluations, 1, MOST_EVALUATIONS)
        for restart in self.restarts:
            _in_range("restarts", restart, 1, MOST_EVALUATIONS)
        _in_range(option("seed"), self.seed, 0)
        for name in ("noise", "strength"):
            _in_range(option(name), getattr(self, name), 0, 1)
        _in_range(option("boldness"), self.boldness, *BOLDNESS)
        _in_range(option("style_scale"), self.style_scale, *STYLE_SCALES)
        check_times(option("protect_weight"), self.protect_weight)
        for color, strength in self.region_strengths.items():
            check_times(f"{option('region_strengths')} {shown(color)}", strength)
        for name, low, high in (
            ("restart_every", 1, MOST_EVALUATIONS), ("min_improvement", 0, 1), ("time_limit", 0, math.inf)
        ):  # fmt: skip
            if (value := getattr(self, name)) is not None:
                _in_range(option(name), value, low, high)
        for name, choices in (("init", (*INITS, PICTURE)), ("colors", COLORS), ("optimizer", [*OPTIMIZERS])):
            value = getattr(self, name)
            known = map(planned_colors, choices) if name == "colors" else choices
            expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
            expect(value in known, f"{option(name)} {shown(value)}: expected {expected}")
        for share in self.blend:
            _in_range("blend", share, 0, 1)
        expect(abs(sum(self.blend) - 1) < _ROUNDING, f"blend is {shown(self.blend)}; expected shares that sum to 1")
        count, styles = len(self.crops), len(self.blend)
        expect(count in (0, styles), f"crops: {count} for {styles} styles; expected one for each, or none")
        restarted = self.optimizer != REFERENCE_OPTIMIZER and self.restart_every is not None
        expect(
            not restarted,
            f"{option('restart_every')}: restarts are SciPy's; leave it out with {option('optimizer', self.optimizer)}",
        )
        weights = [term.table(self.recipe).weight for term in TERMS]
        expect(any(weights), "weights: all are 0, and so is any picture's loss; raise one")
        for number, stage in enumerate(self.stages, 1):
            self._check_options(number, stage)

    def _check_options(self, number: int, stage: Stage) -> None:
        """Refuse what a stage has of its own where it would be refused in a plan of the whole run."""
        if stage.options is None and not self.boldness:
            return
        try:
            with of_data():
                if stage.options:
                    codec.check(stage.options)
                    shares = stage.options.blend
                    ok = shares is None or len(shares) == len(self.blend)
                    expect(ok, f"blend has {len(shares or ())} shares for {len(self.blend)} styles")
                self.of(stage)
        except InputError as refused:
            raise InputError(f"stage {number}: {refused}") from None

    def of(self, stage: Stage) -> Plan:
        """Return the plan with what a stage has of its own in place of what holds for the whole run.

        The recipe's weights are those that count: the boldness is in them.
        """
        if stage.options is None and not self.boldness:
            return self
        options = stage.options or StageOptions()
        stages = tuple(replace(one, options=None) for one in self.stages)
        recipe = self.recipe.with_weights(**options.of_recipe).with_boldness(self.boldness)
        return replace(self, **{**options.of_plan, "recipe": recipe, "stages": stages, "boldness": 0.0})

    @property
    def width(self) -> int:
        """The width of the result, in pixels."""
        return self.stages[-1].width

    @property
    def height(self) -> int:
        """The height of the result, in pixels."""
        return self.stages[-1].height

    def canvas(self, stage: Stage) -> tuple[int, int]:
        """Return (width, height) of what is evaluated in a stage: its picture with the bleed around it."""
        return stage.width + 2 * self.bleed, stage.height + 2 * self.bleed

    def pixels(self, stage: Stage) -> int:
        """Return the number of pixels that are evaluated in a stage."""
        return math.prod(self.canvas(stage))

    @property
    def finest(self) -> Stage:
        """The last stage that has evaluations; if it is not the last of all, its picture is enlarged."""
        return next(stage for stage in reversed(self.stages) if stage.evaluations)

    def optimizer_of(self, stage: Stage) -> str:
        """Return the optimiser of a stage."""
        return stage.optimizer or self.optimizer_planned(stage)

    def optimizer_planned(self, stage: Stage) -> str:
        """Return the optimiser that a stage has if there is memory for it."""
        return (stage.options and stage.options.optimizer) or self.optimizer

    @property
    def evaluations(self) -> int:
        """The number of evaluations in all stages."""
        return sum(stage.evaluations for stage in self.stages)

    def executed(self, evaluations: Sequence[int], restarts: Sequence[int] = ()) -> Plan:
        """Return the plan that makes exactly so many evaluations in each stage, and these restarts.

        Its result is as large as this one's, even if the last stages were not begun.
        """
        stages = tuple(
            replace(stage, evaluations=n, planned=stage.steps if n < stage.steps else None)
            for stage, n in zip(self.stages, evaluations, strict=False)
            if n
        )
        if stages and (stages[-1].width, stages[-1].height) != (self.width, self.height):
            stages += (Stage(self.width, self.height, 0),)
        return replace(self, stages=stages, min_improvement=None, time_limit=None, restarts=tuple(restarts))


def planned_colors(choice: str) -> str:
    """Return what a plan calls a choice of colours, one of `impasto.defaults.COLORS`; anything else as it is."""
    return _COLORS_IN_PLANS.get(choice, choice) if isinstance(choice, str) else choice


def chosen_colors(planned: str) -> str:
    """Return the choice that a plan's `colors` stands for; any other text as it is."""
    return {name: choice for choice, name in _COLORS_IN_PLANS.items()}.get(planned, planned)


def _in_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    expected = f"{low} or more" if high == math.inf else f"{low} to {high}"
    expect(low <= value <= high, f"{name} is {shown(value)}; expected {expected}")


def used_styles(blend: Sequence[float], *, by_region: bool) -> list[int]:
    """Return the numbers, from 0, of the styles that have to be measured: those that have a share.

    Where there are masks it is all, for each style has one.
    """
    return [number for number, share in enumerate(blend) if share or by_region]


def check_times(name: str, times: float) -> None:
    """Refuse a `protect_weight`, or a strength of a region, that is out of range; the message calls it `name`.

    Raises
    ------
    Misfit
        When it is no number from 0 to `MOST_TIMES`.
    """
    codec.check_number(times, name)
    _in_range(name, times, 0, MOST_TIMES)


def normalized_blend(blend: Sequence[float] | None, styles: int) -> tuple[float, ...]:
    """Return the shares of so many styles, summing to 1; equal ones by default.

    Raises
    ------
    InputError
        When there is not one weight for each style, or one is negative, or all are zero.
    """
    if blend is None:
        return (1 / styles,) * styles
    if not isinstance(blend, Sized):
        raise InputError(f"{option('style_blend')} is {shown(blend)}; expected a list of weights, one for each style")
    if len(blend) != styles:
        raise InputError(f"{option('style_blend')} has {len(blend)} weights for {styles} styles; give one for each")
    try:
        weights = [float(weight) for weight in blend]
    except (TypeError, ValueError, OverflowError):
        weights = [math.nan]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        given = ", ".join(map(shown, blend))
        raise InputError(f"{option('style_blend')} {given}: expected weights of 0 or more, and one above")
    if math.isinf(sum(weights)):
        weights = [weight / max(weights) for weight in weights]
    return tuple(weight / sum(weights) for weight in weights)
