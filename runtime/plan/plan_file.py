"""A plan as a file: TOML that people write, with what holds for a whole run, and a list of its stages.

It names neither files nor addresses, so that a stranger's plan opens nothing. Which pictures it is carried out on, and
where, is said beside it. docs/plans/README.md explains the format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.defaults import REFERENCE_OPTIMIZER
from impasto.runtime.errors import InputError
from impasto.runtime.plan.plan import (
    PICTURE,
    Plan,
    Stage,
    StageOptions,
    chosen_colors,
    divided,
    normalized_blend,
    planned_colors,
)
from impasto.runtime.plan.recipe import Recipe, Size, parse_size, scaled_size
from impasto.runtime.plan.sizes import MIN_SIDE, check_sides, result_size
from impasto.runtime.storage import codec, toml
from impasto.runtime.storage.codec import expect
from impasto.text import nearest, shown
from impasto.wording import of_data, option

#: The size of a stage that has that of the result.
WHOLE = "100%"

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,17})?)%")

#: Weights that sum to 1, but for so much, are shares already: to divide them by the sum would change last bits.
_ROUNDING = 1e-12

#: The fields of a plan that a file has under the same names; numbers among them are no whole ones.
_OF_PLAN = (
    "noise",
    "seed",
    "style_scale",
    "colors",
    "strength",
    "clip",
    "bleed",
    "boldness",
    "protect_weight",
    "optimizer",
    "restart_every",
)
_LIMITS = ("min_improvement", "time_limit")
_NUMBERS = ("noise", "style_scale", "strength", "boldness", *_LIMITS)

#: The weights of the terms, of a whole run as of a stage.
_WEIGHTS = ("content_weight", "style_weight", "tv_weight")

#: The options of a stage that a file has under the same names.
_OF_STAGE = (*_WEIGHTS, "content_layers", "style_layers", "style_scale", "colors", "optimizer", "start_colors")


@dataclass(frozen=True)
class StageInFile:
    """A stage, as a file has it; None is as in the whole run.

    Attributes
    ----------
    evaluations
        Their number; the last stage may have none, and is enlarged only.
    size
        A share of the result's, such as ``50%``; or as ``--size`` takes it: the long side in pixels, WIDTHxHEIGHT, or
        ``content``.
    styles
        The styles that it takes, by their number, from 1, or the name of their file.
    style_blend
        A weight for each of these.
    """

    evaluations: int
    size: int | str = WHOLE
    styles: tuple[int | str, ...] | None = None
    style_blend: tuple[float, ...] | None = None
    style_scale: float | None = None
    content_weight: float | None = None
    style_weight: float | None = None
    tv_weight: float | None = None
    content_layers: Mapping[str, float] | None = None
    style_layers: Mapping[str, float] | None = None
    colors: str | None = None
    start_colors: str | None = None
    optimizer: str | None = None

    @classmethod
    def of(cls, stage: Stage, full: tuple[int, int]) -> StageInFile:
        """Describe a stage of a plan whose result has the size `full`."""
        size, options = (stage.width, stage.height), stage.options or StageOptions()
        return cls(
            stage.evaluations,
            _share_of(size, full) or "{}x{}".format(*size),
            style_blend=options.blend,
            **{name: getattr(options, name) for name in _OF_STAGE},
        )

    def options(self, styles: Sequence[str | None]) -> StageOptions | None:
        """Return what it has of its own in a run with so many styles, of these names; None if that is nothing.

        Raises
        ------
        InputError
            When there is no style of a name, or not a weight for each.
        """
        values = {name: _as_float(name, getattr(self, name)) for name in _OF_STAGE}
        options = StageOptions(blend=self._blend(styles), **values)
        return None if options == StageOptions() else options

    def _blend(self, styles: Sequence[str | None]) -> tuple[float, ...] | None:
        if self.styles is None:
            return None if self.style_blend is None else _shares(self.style_blend, len(styles))
        expect(bool(self.styles), "styles is empty; name one or more, or leave it out for all")
        numbers = [_number(style, styles) for style in self.styles]
        expect(len(set(numbers)) == len(numbers), f"styles is {shown(self.styles)}; expected each style once")
        shares = dict(zip(numbers, _shares(self.style_blend, len(numbers)), strict=True))
        return tuple(shares.get(number, 0.0) for number in range(len(styles)))

    @property
    def pixels(self) -> Size | None:
        """The size if it is no share of the result's."""
        return None if _SHARE.fullmatch(str(self.size)) else parse_size(str(self.size))


def _number(style: int | str, styles: Sequence[str | None]) -> int:
    """Return the number of a style, from 0, by its number, from 1, or by its name, with or without its ending."""
    if isinstance(style, int):
        known = f"a number from 1 to {len(styles)}, one for each style that is given"
        expect(1 <= style <= len(styles), f"styles has {shown(style)}; expected {known}")
        return style - 1
    found = [number for number, name in enumerate(styles) if name == style]
    found = found or [number for number, name in enumerate(styles) if name and Path(name).stem == style]
    expect(len(found) < 2, f"styles has {shown(style)}, and two styles have this name; expected their numbers")
    if not found:
        names = [name for name in styles if name]
        near = nearest(style, [*names, *(Path(name).stem for name in names)])
        given = f"the name of a style that is given, of {', '.join(names)}" if names else "a number: none has a name"
        raise codec.Misfit(f"styles has {shown(style)}; expected {given}{f'; did you mean {near}?' if near else ''}")
    return found[0]


def _shares(weights: Sequence[float] | None, styles: int) -> tuple[float, ...]:
    if weights is not None and len(weights) == styles and abs(sum(weights) - 1) <= _ROUNDING and min(weights) >= 0:
        return tuple(map(float, weights))
    return normalized_blend(weights, styles)


def _as_float(name: str, value: Any) -> Any:
    """Return a value as a plan has it: TOML may have a whole number where any number will do."""
    return float(value) if name in _NUMBERS and value is not None else value


def _scaled(share: str, full: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a share of the result's, in its proportions; no side is below the least, if that can be."""
    match = _SHARE.fullmatch(share)
    assert match is not None
    part = float(match[1])
    expect(0 < part <= 100, f"size is {shown(share)}; expected more than 0% and 100% at most")
    width, height = (max(MIN_SIDE, round(side * part / 100)) for side in full)
    if min(full) * part / 100 >= MIN_SIDE:
        return width, height
    return scaled_size(min(MIN_SIDE, *full), "short", *full)


def _share_of(size: tuple[int, int], full: tuple[int, int]) -> str | None:
    """Return the share of the result's that a size is; None if it is no share in few digits."""
    share = f"{100 * size[0] / full[0]:g}%"
    is_one = size[0] <= full[0] and _SHARE.fullmatch(share) and _scaled(share, full) == size
    return share if is_one else None


@dataclass(frozen=True)
class PlanFile:
    """A plan, as a file has it; None is as the recipe says, or as without a file.

    Attributes
    ----------
    stages
        The stages, from the first.
    description
        For people.
    recipe
        The name of a recipe.
    size
        The size of the result, as ``--size`` takes it; by default that of the last stage, or else the recipe's.
    subject
        The file's name, for messages.
    place
        The place of the file; None for a plan that was made in memory.

    style_crop
        As ``--style-crop``, or a list of such texts, one for each style.

    The others are as the options of `impasto.runtime.stylize` of the same names.
    """

    stages: tuple[StageInFile, ...]
    description: str = ""
    recipe: str | None = None
    size: int | str | None = None
    init: str | None = None
    noise: float | None = None
    seed: int | None = None
    colors: str | None = None
    strength: float | None = None
    clip: bool | None = None
    bleed: int | None = None
    boldness: float | None = None
    protect_weight: float | None = None
    region_strengths: Mapping[str, float] | None = None
    style_crop: tuple[str, ...] | str | None = None
    style_blend: tuple[float, ...] | None = None
    style_scale: float | None = None
    content_weight: float | None = None
    style_weight: float | None = None
    tv_weight: float | None = None
    optimizer: str | None = None
    restart_every: int | None = None
    min_improvement: float | None = None
    time_limit: float | None = None
    subject: str = field(default="plan", metadata=codec.BESIDE, compare=False)
    place: Path | None = field(default=None, metadata=codec.BESIDE, compare=False)

    # --- reading and writing ----------------------------------------------------------------------------------

    @classmethod
    def given(cls, plan: str | Path | Mapping[str, Any] | PlanFile) -> PlanFile:
        """Take a plan as users give it: a path, the data that such a file holds, or a plan that was read.

        Raises
        ------
        InputError
            When the file cannot be read, or is no plan.
        """
        if isinstance(plan, PlanFile):
            return plan
        if isinstance(plan, Mapping):
            return cls.from_mapping(plan, "plan")
        if not isinstance(plan, (str, Path)):
            raise InputError(f"{option('plan')} is {shown(plan)}; expected the path of a .toml file")
        subject = f"plan {plan}"
        try:
            data = toml.parsed(toml.text_in(Path(plan)))
        except codec.Misfit as refused:
            raise InputError(f"{subject}: {refused}") from None
        return replace(cls.from_mapping(data, subject), place=Path(plan))

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], subject: str) -> PlanFile:
        """Make a plan of plain data.

        Raises
        ------
        InputError
            For an unknown or missing key, or a value of another type; the text begins with `subject` and names it.
        """
        try:
            return replace(codec.from_data(cls, data), subject=subject)
        except InputError as refused:
            raise InputError(f"{subject}: {refused}") from None

    @classmethod
    def is_one(cls, path: Path) -> bool:
        """Whether a file is a plan."""
        try:
            return bool(cls.given(path))
        except InputError:
            return False

    def to_toml(self) -> str:
        """Return the plan as the text of a file; `given` reads it back."""
        data = codec.to_data(self)
        stages = [{name: value for name, value in stage.items() if value is not None} for stage in data.pop("stages")]
        return toml.written({**data, "description": self.description or None, "stages": stages})

    @classmethod
    def of(cls, plan: Plan, content: Image.Image, style_crop: str | tuple[str, ...] | None = None) -> PlanFile:
        """Describe a plan for a photograph: the same plan is made of it again, and one like it for another photograph.

        What was chosen for want of memory, and where a run was resumed, is left out. `style_crop` is what was asked
        for, None for the recipe's own, and not what was found in these styles: others have other margins.
        """
        full, long = (plan.width, plan.height), max(plan.width, plan.height)
        same: dict[str, Any] = {name: getattr(plan, name) for name in (*_OF_PLAN, *_LIMITS)}
        same["colors"] = chosen_colors(plan.colors)
        same |= zip(_WEIGHTS, plan.recipe.weights, strict=True)
        return cls(
            tuple(StageInFile.of(stage, full) for stage in plan.stages),
            recipe=plan.recipe.name,
            size=long if scaled_size(long, "long", *content.size) == full else f"{plan.width}x{plan.height}",
            init=plan.init,
            region_strengths=plan.region_strengths or None,
            style_crop=style_crop,
            style_blend=plan.blend if len(plan.blend) > 1 else None,
            **same,
        )

    # --- the plan that it makes -------------------------------------------------------------------------------

    def plan(
        self, recipe: Recipe, content: Image.Image, styles: Sequence[str | None], *, has_start: bool = False
    ) -> Plan:
        """Return the plan for pictures.

        Parameters
        ----------
        recipe
            The recipe, with its own weights.
        content
            The photograph.
        styles
            The names of the styles' files, where they have any.
        has_start
            Whether there is a picture to start from.

        Raises
        ------
        InputError
            When a value cannot be used; the text begins with the file's name.
        """
        start = option("init")
        try:
            with of_data():
                lacks_start = self.init == PICTURE and not has_start
                expect(not lacks_start, f"init is {PICTURE}; name the picture to start from with {start}")
                return self._plan(recipe, content, styles, has_start=has_start)
        except InputError as refused:
            raise InputError(f"{self.subject}: {refused}") from None

    def _plan(self, recipe: Recipe, content: Image.Image, styles: Sequence[str | None], *, has_start: bool) -> Plan:
        values = {name: _as_float(name, getattr(self, name)) for name in (*_OF_PLAN, *_LIMITS)}
        usual = {
            "clip": recipe.clip,
            "bleed": recipe.bleed,
            "optimizer": recipe.optimizer if self.restart_every is None else REFERENCE_OPTIMIZER,
        }
        values["colors"] = planned_colors(self.colors) if self.colors else None
        given = {name: value for name, value in values.items() if value is not None}
        plan = Plan(
            recipe=recipe.with_weights(*(getattr(self, name) for name in _WEIGHTS)),
            stages=self._stages(recipe, content, styles),
            init=PICTURE if has_start else self.init or recipe.init,
            blend=_shares(self.style_blend, len(styles)),
            region_strengths=dict(self.region_strengths or {}),
            **{**usual, **given},
        )
        check_restarts(plan)
        return plan

    def _stages(self, recipe: Recipe, content: Image.Image, styles: Sequence[str | None]) -> tuple[Stage, ...]:
        expect(bool(self.stages), "stages is empty; expected one or more")
        size = None if self.size is None else parse_size(str(self.size))
        stages = []
        for number, (stage, sides) in enumerate(zip(self.stages, self.sizes(recipe, content, size), strict=True), 1):
            try:
                stages.append(Stage(*sides, stage.evaluations, options=stage.options(styles)))
            except InputError as refused:
                raise codec.Misfit(f"stage {number}: {refused}") from None
        return tuple(stages)

    def sizes(self, recipe: Recipe, content: Image.Image, size: Size | None) -> list[tuple[int, int]]:
        """Return the width and height of every stage, for a result of a size; by default that of the last stage.

        Raises
        ------
        InputError
            When a size cannot be used, or the last stage has another than the result.
        """
        last = self.stages[-1].pixels
        if size is None and last is None:
            full = result_size(parse_size(recipe.size), content, recipe.size_of)
        else:
            size = last if size is None else size
            assert size is not None
            full = result_size(size, content)
        shape = full if isinstance(size, tuple) else content.size
        found = []
        for number, stage in enumerate(self.stages, 1):
            if (own := stage.pixels) is None:
                found.append(_scaled(str(stage.size), full))
                continue
            found.append(content.size if own == "content" else scaled_size(own, "long", *shape))
            check_sides(f"stage {number}", *found[-1])
        if found[-1] != full:
            (width, height), (w, h), shares = full, found[-1], "write sizes as shares of the result's, such as '50%'"
            raise codec.Misfit(f"{option('size')} is {width}x{height}, and the last stage has {w}x{h}; {shares}")
        return found


def check_restarts(plan: Plan) -> None:
    """Refuse restarts in a plan of several stages: the reference, whose they are, has one.

    Raises
    ------
    InputError
        When there are.
    """
    several = plan.restart_every is not None and len(plan.stages) > 1
    expect(not several, f"{option('restart_every')}: needs a single stage; the plan has {len(plan.stages)}")


def overruled(plan: Plan, options: Mapping[str, Any]) -> Plan:
    """Return a plan in which options that are given beside it hold for the whole run, in every stage.

    Parameters
    ----------
    options
        As `impasto.runtime.run.options.TransferOptions`, without the size; None stands for one that is not given.

    Raises
    ------
    InputError
        When a value cannot be used, or does not go together with the plan.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "stages" in given:
        raise InputError(f"{option('stages')}: the plan has its own; leave one of the two out")
    changed: dict[str, Any] = {f.name: given[f.name] for f in fields(Plan) if f.name in given and f.name != "recipe"}
    changed |= {"init": PICTURE if plan.init == PICTURE else given.get("init", plan.init)}
    if "colors" in given:
        changed["colors"] = planned_colors(given["colors"])
    if "restart_every" in given and "optimizer" not in given:
        changed["optimizer"] = REFERENCE_OPTIMIZER
    if (blend := given.get("style_blend")) is not None:
        changed["blend"] = normalized_blend(blend, len(plan.blend))
    counts = [stage.evaluations for stage in plan.stages]
    if (total := given.get("evaluations")) is not None:
        counts = _counts(counts, total)
    names = {"blend" if name == "style_blend" else name for name in given} | (changed.keys() & {"optimizer"})
    stages = (
        replace(stage, evaluations=count, options=stage.options and stage.options.without(names))
        for stage, count in zip(plan.stages, counts, strict=True)
    )
    recipe = plan.recipe.with_weights(*(given.get(name) for name in _WEIGHTS))
    new = replace(plan, **{**changed, "recipe": recipe, "stages": tuple(stages)})
    check_restarts(new)
    return new


def _counts(planned: Sequence[int], total: int) -> list[int]:
    """Return so many evaluations in all, divided as planned; a stage that has any keeps one."""
    stages = sum(map(bool, planned))
    if total < stages:
        raise InputError(f"{option('evaluations')} is {shown(total)}; expected {stages} or more, one for each stage")
    counts = iter(divided(total, [count for count in planned if count]))
    return [next(counts) if count else 0 for count in planned]
