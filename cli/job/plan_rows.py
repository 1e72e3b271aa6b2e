"""A plan as rows of text: what is done, or would be.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping

from impasto.runtime.plan.plan import Plan, Stage, chosen_colors
from impasto.runtime.plan.terms import TERMS
from impasto.runtime.storage import codec


def rows(plan: Plan, *, protects: bool) -> Mapping[str, str]:
    """Return a plan's recipe, stages and start, and those of its options that differ from their defaults.

    `protects` tells whether there is a mask of what is protected.
    """
    recipe = plan.recipe
    stages = ", ".join(
        f"{stage.evaluations} at {stage.width}x{stage.height}"
        if stage.evaluations
        else f"then enlarged to {stage.width}x{stage.height}"
        for stage in plan.stages
    )
    start = [plan.init, *([f"{plan.noise:g} of it noise"] if plan.noise else [])]
    start += [f"seed {plan.seed}"] if plan.noise or plan.init in ("random", "statistics") else []
    return {
        "recipe": recipe.name,
        "weights": ", ".join(f"{term.key} {term.table(recipe).weight:g}" for term in TERMS),
        "evaluations": stages,
        "start": ", ".join(start),
        "optimizer": _optimizers(plan) + (", levels held in 0..255" if plan.clip else ""),
        "restarts": ", ".join(map(str, plan.restarts)) or (f"every {plan.restart_every}" if plan.restart_every else ""),
        "style blend": ", ".join(f"{share:g}" for share in plan.blend) if len(plan.blend) > 1 else "",
        "style scale": f"{plan.style_scale:g}" if plan.style_scale != 1 else "",
        "boldness": f"{plan.boldness:g}" if plan.boldness else "",
        "style crop": "; ".join(map(str, plan.crops)),
        "bleed": f"{plan.bleed} pixels" if plan.bleed else "",
        "colors": chosen_colors(plan.colors) if plan.colors != "style" else "",
        "strength": f"{plan.strength:g}" if plan.strength != 1 else "",
        "region strength": ", ".join(f"{color} {times:g}" for color, times in plan.region_strengths.items()),
        "protect weight": f"{plan.protect_weight:g}" if protects else "",
        **{f"stage {number}": _own(stage) for number, stage in enumerate(plan.stages, 1)},
    }


def _own(stage: Stage) -> str:
    """Return what a stage has of its own, as text."""
    own = codec.to_data(stage.options) if stage.options else {}
    named = {"style blend" if name == "blend" else name.replace("_", " "): value for name, value in own.items()}
    return ", ".join(f"{name} {_told(value)}" for name, value in named.items())


def _told(value: object) -> str:
    match value:
        case dict():
            return " ".join(f"{name} {_told(item)}" for name, item in value.items())
        case list():
            return ":".join(map(_told, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def in_lines(entries: Mapping[str, str]) -> list[str]:
    """Return rows as lines of text; those without a value are left out."""
    return [f"  {name:22} {value}" for name, value in entries.items() if value]


def _optimizers(plan: Plan) -> str:
    """Return a plan's optimiser, and those of stages that had another, or fewer pairs, for want of memory."""
    others = []
    for stage in plan.stages:
        if stage.optimizer or stage.pairs:
            pairs = f" with {stage.pairs} pairs" if stage.pairs else ""
            others.append(f"{plan.optimizer_of(stage)}{pairs} at {stage.width}x{stage.height}")
    return ", ".join([plan.optimizer, *others])
