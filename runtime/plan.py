"""The plan of a transfer: everything that decides what the result looks like, but the pictures and the machine.

A plan is made, and refused where it does not hold together, before any work. It is plain data: it is embedded in the
result and can be carried out again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from impasto.runtime.errors import InputError
from impasto.runtime.recipe import INITS, Recipe
from impasto.runtime.sizes import MIN_SIDE

COLORS = ("style", "keep", "match")
OPTIMIZERS = ("lbfgs", "lbfgs-device", "adam")

#: The `init` of a run that starts from a picture of the user's.
PICTURE = "picture"

#: Pictures with a longer side are painted coarse to fine: a VGG network sees strokes of up to some 200 pixels, and what
#: is larger has to be laid out while the picture is small.
COARSEST = 400

#: Each stage is half as long and half as wide as the next one, and has twice as many evaluations.
FINER, FEWER = 2, 2


@dataclass(frozen=True)
class Stage:
    """So many evaluations at one size, in pixels; with none, the picture of the stage before is only enlarged.

    Attributes
    ----------
    planned
        How many they were to be, where something ended them early: Adam's steps fall in proportion to that.
    """

    width: int
    height: int
    evaluations: int
    planned: int | None = None

    def check(self, what: str, least: int = 1) -> None:
        """Refuse what is out of range; `what` names the stage, which makes `least` evaluations or more.

        Raises
        ------
        InputError
            When a size or a number of evaluations will not do.
        """
        _whole(f"{what}: width", self.width, MIN_SIDE)
        _whole(f"{what}: height", self.height, MIN_SIDE)
        _whole(f"{what}: evaluations", self.evaluations, least)
        if self.planned is not None:
            _whole(f"{what}: planned", self.planned, self.evaluations)

    @property
    def steps(self) -> int:
        """In how many evaluations Adam's steps fall to their last size."""
        return self.planned or self.evaluations


def schedule(width: int, height: int, evaluations: int, stages: int | None = None) -> tuple[Stage, ...]:
    """Divide the evaluations among stages from coarse to fine, the last one of the full size.

    Parameters
    ----------
    evaluations
        Of all stages together. There are no more stages than evaluations.
    stages
        How many; by default as many as it takes for the first to have a long side of at most 400 pixels. No stage has
        a side below 32 pixels, so there may be fewer.

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
    shares = [FEWER**k for k in reversed(range(stages))]
    counts = [max(1, evaluations * share // sum(shares)) for share in shares]
    counts[0] += max(0, evaluations - sum(counts))  # what rounding left over
    while sum(counts) > evaluations:  # so few that each has one: the largest share, of equal ones the last, gives
        counts[max(range(stages), key=lambda k: (counts[k], k))] -= 1
    sizes = [FINER**k for k in reversed(range(stages))]
    return tuple(
        Stage(max(MIN_SIDE, round(width / by)), max(MIN_SIDE, round(height / by)), count)
        for by, count in zip(sizes, counts, strict=True)
    )


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    recipe
        With the weights the user has set.
    stages
        From coarse to fine; the last one's size is the result's, and it alone may be without evaluations.
    init
        ``random``, ``content``, ``style``, ``statistics`` (noise with the colour statistics of the style) or
        ``picture`` (one that the user gives).
    noise
        How much of the start is replaced by noise, 0..1.
    seed
        Of all noise.
    blend
        What each style's share in the targets is; they sum to 1.
    style_scale
        The style's size as a multiple of what the recipe makes of it.
    colors
        ``style``: as they come. ``keep``: the content's colours, with the result's lightness. ``match``: the style's
        colours are matched to the content's before the run.
    strength
        How much of the result is mixed with the content afterwards: 1 is the result itself.
    clip
        Whether levels are held within 0..255 while optimising, rather than only at the end.
    optimizer
        ``lbfgs`` (SciPy's L-BFGS-B), ``lbfgs-device`` (the same method, computed where the loss is) or
        ``adam``, which needs less memory.
    restart_every
        See `impasto.runtime.optimize.minimize`.
    min_improvement
        A stage ends when this many evaluations have lowered its loss by less than this fraction: see
        `impasto.runtime.optimize.PATIENCE`.
    time_limit
        Seconds after which the run ends with what it has.
    restarts
        After how many evaluations, of all stages, L-BFGS begins anew from the best picture, without the curvature it
        has learnt: where a run was interrupted and resumed.
    """

    recipe: Recipe
    stages: tuple[Stage, ...]
    init: str
    noise: float = 0.0
    seed: int = 0
    blend: tuple[float, ...] = (1.0,)
    style_scale: float = 1.0
    colors: str = "style"
    strength: float = 1.0
    clip: bool = False
    optimizer: str = "lbfgs"
    restart_every: int | None = None
    min_improvement: float | None = None
    time_limit: float | None = None
    restarts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises
        ------
        InputError
            One line that names the value and says what was expected.
        """
        for number, stage in enumerate(self.stages, 1):
            stage.check(f"stage {number}", least=0 if 1 < number == len(self.stages) else 1)
        for restart in self.restarts:
            _whole("restarts", restart, 1)
        if not self.stages:
            raise InputError("stages: none; expected one or more")
        _whole("seed", self.seed, 0)
        _in_range("noise", self.noise, 0, 1)
        _in_range("strength", self.strength, 0, 1)
        _in_range("style_scale", self.style_scale, 0.05, 20)
        for name in ("restart_every", "min_improvement", "time_limit"):
            if (value := getattr(self, name)) is not None:
                _in_range(name, value, 1 if name == "restart_every" else 0)
        for name, choices in (("init", (*INITS, PICTURE)), ("colors", COLORS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} {getattr(self, name)!r}: expected {', '.join(choices[:-1])} or {choices[-1]}")
        if self.optimizer != "lbfgs" and self.restart_every is not None:
            raise InputError(f"restart_every: restarts are SciPy's; leave it out with optimizer {self.optimizer}")

    @property
    def width(self) -> int:
        """Of the result, in pixels."""
        return self.stages[-1].width

    @property
    def height(self) -> int:
        """Of the result, in pixels."""
        return self.stages[-1].height

    @property
    def finest(self) -> Stage:
        """The last stage that makes evaluations: where it is not the last of all, its picture is enlarged."""
        return next(stage for stage in reversed(self.stages) if stage.evaluations)

    @property
    def evaluations(self) -> int:
        """Of all stages together."""
        return sum(stage.evaluations for stage in self.stages)

    def made(self, evaluations: Sequence[int], restarts: Sequence[int] = ()) -> Plan:
        """Return the plan that makes so many evaluations in each stage, and restarts, whatever brought them about.

        Its result is as large as this one's, even where the last stages were not begun.
        """
        stages = tuple(
            replace(stage, evaluations=n, planned=stage.steps if n < stage.steps else None)
            for stage, n in zip(self.stages, evaluations, strict=False)
            if n
        )
        if stages and (stages[-1].width, stages[-1].height) != (self.width, self.height):
            stages += (Stage(self.width, self.height, 0),)
        return replace(self, stages=stages, min_improvement=None, time_limit=None, restarts=tuple(restarts))

    def to_mapping(self) -> dict[str, Any]:
        """Return the plan as plain data; `from_mapping` reads it back."""
        return {**asdict(self), "recipe": self.recipe.to_mapping()}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str) -> Plan:
        """Read back what `to_mapping` returned, perhaps through JSON.

        Raises
        ------
        InputError
            When it is no plan; the text says `where` it stands.
        """
        try:
            values = dict(data)
            values["recipe"] = Recipe.from_mapping(values["recipe"], where)
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            for name in ("blend", "restarts"):
                values[name] = tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: not a plan that this version of impasto knows ({error})") from None


def _in_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        expected = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
        raise InputError(f"{name} is {value:g}; expected {expected}")


def _whole(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; expected a whole number, {low} or more")
    if value < low:
        raise InputError(f"{name} is {value}; expected {low} or more")


def normalized_blend(blend: Sequence[float] | None, styles: int) -> tuple[float, ...]:
    """Return the shares of so many styles, summing to 1; equal ones by default.

    Raises
    ------
    InputError
        When there is not one for each style, or one is negative, or all are zero.
    """
    if blend is None:
        return (1 / styles,) * styles
    if len(blend) != styles:
        raise InputError(f"style_blend has {len(blend)} weights for {styles} styles; give one for each")
    if not all(math.isfinite(share) and share >= 0 for share in blend) or sum(blend) == 0:
        raise InputError(f"style_blend {', '.join(f'{share:g}' for share in blend)}: expected weights of 0 or more")
    return tuple(share / sum(blend) for share in blend)
