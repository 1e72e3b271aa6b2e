"""How a result was made, as a request: so that it can be made again, or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from impasto.defaults import COLORS, PROTECT_WEIGHT, STYLE_CROPS
from impasto.runtime.model.graphs import SINGLE
from impasto.runtime.pictures.margins import edges_of
from impasto.runtime.pictures.masks import CONTENT_MASK, STYLE_MASK
from impasto.runtime.pictures.protection import PROTECT
from impasto.runtime.plan.plan import PICTURE, chosen_colors
from impasto.runtime.plan.recipe import Recipe, builtin_recipes, load_recipe
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.run.record import Record

AUTO, OFF = STYLE_CROPS

#: Parts of a plan that are options of the same names, and their defaults.
_SAME = {
    "noise": 0.0, "seed": 0, "style_scale": 1.0, "boldness": 0.0, "strength": 1.0, "restart_every": None,
    "min_improvement": None, "time_limit": None, "protect_weight": PROTECT_WEIGHT,
}  # fmt: skip


def describe(record: Record) -> dict[str, Any]:
    """Return the options of the request that made a result, its inputs, and what came of it, as plain data.

    The options have none of the inputs: `request_of` puts these in.
    """
    inputs = record.origin.inputs
    return {
        "options": dict(_options(record)),
        "inputs": [
            {"role": one.role, "name": one.name, "sha256": one.sha256, "color": one.color} for one in inputs
        ],
        "loss": record.outcome.loss,
        "evaluations": record.outcome.evaluations,
        "seconds": record.outcome.seconds,
        "reason": record.outcome.reason,
        "date": record.outcome.date,
    }  # fmt: skip


def _options(record: Record) -> Iterator[tuple[str, Any]]:
    plan, placement = record.plan, record.origin.placement
    yield "recipe", plan.recipe.name
    yield "size", f"{plan.width}x{plan.height}"
    yield "evaluations", plan.evaluations
    yield "stages", len(plan.stages)
    yield from _of_recipe(record)
    for name, default in _SAME.items():
        if (value := getattr(plan, name)) != default:
            yield name, value
    if len(set(plan.blend)) > 1:
        yield "style_blend", ",".join(f"{share:.6g}" for share in plan.blend)
    if (colors := chosen_colors(plan.colors)) != COLORS[0]:
        yield "colors", colors
    if plan.region_strengths:
        yield "region_strength", [f"{color}={strength:g}" for color, strength in plan.region_strengths.items()]
    if placement.precision != SINGLE:
        yield "precision", placement.precision


def _of_recipe(record: Record) -> Iterator[tuple[str, Any]]:
    """Yield the options that differ from the recipe's own, if that is one that comes along."""
    plan, recipe = record.plan, record.plan.recipe
    own = load_recipe(recipe.name) if recipe.name in builtin_recipes() else None
    if plan.init != PICTURE and (own is None or plan.init != own.init):
        yield "init", plan.init
    if own is None or plan.clip != own.clip:
        yield "clip", plan.clip
    if own is None or plan.optimizer != own.optimizer:
        yield "optimizer", plan.optimizer
    if own is None or plan.bleed != own.bleed:
        yield "bleed", plan.bleed
    found = tuple(edges_of(style.width, style.height) for style in record.inputs("style"))
    usual = found if own is not None and own.style_crop == AUTO and any(found) else ()
    as_usual = own is not None and plan.crops == usual
    if not as_usual:  # margins that were found differ from painting to painting
        crops = {str(crop) for crop in plan.crops}
        yield "style_crop", crops.pop() if len(crops) == 1 else AUTO if crops else OFF
    if own is not None and not _is_same_loss(recipe, own):  # of an earlier version: its weights are of another unit
        return
    for term in TERMS:
        weight = term.table(recipe).weight
        if own is None or weight != term.table(own).weight:
            yield f"{term.key}_weight", weight


def _is_same_loss(one: Recipe, other: Recipe) -> bool:
    """Whether the weights of two recipes mean the same."""
    units = [(r.style.loss, r.style.moments, r.style.convention, r.content.convention) for r in (one, other)]
    return units[0] == units[1]


def request_of(made: Mapping[str, Any], find: Any) -> dict[str, Any]:
    """Return what `describe` tells as the API does: inputs by the ids of pictures that are here.

    Parameters
    ----------
    find
        (hash of an input's pixels, its name or None) -> a picture's id, or None.
    """
    placed: dict[str, list[Any]] = {}
    missing = []
    for one in made["inputs"]:
        value = one["color"] or find(one["sha256"], one["name"])
        if value is None:
            missing.append(one["name"] or one["role"])
        placed.setdefault(one["role"], []).append(value)
    options = dict(made["options"])
    for role in ("init", CONTENT_MASK, PROTECT):
        if role in placed:
            options[_option(role)] = _as_value(placed[role][0])
    if STYLE_MASK in placed:
        options[_option(STYLE_MASK)] = [_as_value(value) for value in placed[STYLE_MASK]]
    request = {"content": placed["content"][0], "styles": placed["style"], "options": options}
    outcome = {name: made[name] for name in ("loss", "evaluations", "seconds", "reason", "date")}
    return {"request": request, "missing": missing, **outcome}


def _option(role: str) -> str:
    """Return the option that has the picture of a role."""
    return role.replace("-", "_")


def _as_value(value: str | None) -> Any:
    return value if value is None or value.startswith("#") else {"picture": value}
