"""Options that have no effect in a transfer, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from impasto.runtime.engine.library import CUDA
from impasto.runtime.engine.placement import foreseen
from impasto.runtime.engine.providers import is_host, provider_of
from impasto.runtime.optimize.search import PATIENCE
from impasto.runtime.pictures.colors import MATCHES
from impasto.runtime.plan.plan import Plan
from impasto.runtime.run.transfer import Transfer
from impasto.wording import option

#: Starts that are noise themselves.
_NOISE = ("random", "statistics")

#: Starts that show a style, even if its weight is 0.
_OF_STYLE = ("style", "statistics")

_OF_CUDA = ("cuda.memory", "cuda.tf32", "cuda.search", "cuda.workspace", "cuda.graph")


def idle_options(transfer: Transfer, stages: int | None = None) -> dict[str, str]:
    """Return the options that have no effect, given or not; each with the circumstance, in a few words.

    Parameters
    ----------
    transfer
        As `impasto.runtime.run.prepare.prepare` returns it.
    stages
        The number of stages that was asked for.

    Returns
    -------
    dict
        The name of an option, as `impasto.wording.option` takes it -> the circumstance.
    """
    plan = transfer.plan
    plans = [plan.of(stage) for stage in plan.stages]  # what a stage has of its own may make use of an option
    first, *others = [dict(_of_plan(own)) for own in plans]
    idle = {name: reason for name, reason in first.items() if all(name in other for other in others)}
    parts = (
        dict(_of_machine(transfer)),
        dict(_of_protection(transfer)),
        dict(_of_boldness(plan)),
        idle,
        dict(_of_stages(plan, stages)),
    )
    return {name: why for part in parts for name, why in part.items()}


def _of_machine(transfer: Transfer) -> Iterator[tuple[str, str]]:
    device = foreseen(transfer.placement).device
    if provider_of(device).name != CUDA:
        yield from ((name, "on a CPU" if is_host(device) else f"on {device}") for name in _OF_CUDA)
    if not is_host(device):  # which has memory of its own
        yield "memory", f"on {device}"
    if provider_of(device).plugin:
        yield "low_memory", f"on {device}"
    if not is_host(device) and not transfer.material.guided:  # with regions, the loops of the graphs run on the CPU
        yield "threads", "on a GPU"


def _of_protection(transfer: Transfer) -> Iterator[tuple[str, str]]:
    if not (protection := transfer.material.protection):
        yield "protect_weight", f"without {option('protect')}"
    elif all(transfer.plan.of(stage).recipe.content.weight == 0 for stage in transfer.plan.stages):
        yield from ((name, f"with {option('content_weight', 0)}") for name in ("protect", "protect_weight"))
    elif protection.times == 1:
        yield "protect", f"with {option('protect_weight', 1)}"
    elif protection.is_idle:
        yield from ((name, "with a mask that is black") for name in ("protect", "protect_weight"))


def _of_plan(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.init in _NOISE:
        yield "noise", f"with {option('init', plan.init)}, which is noise"
    elif not plan.noise:
        yield "seed", "where nothing is random"
    yield from _of_styles(plan)
    if plan.strength == 0:
        yield "colors", f"with {option('strength', 0)}"
    if plan.min_improvement == 0:
        yield "min_improvement", "at 0"
    elif max(stage.evaluations for stage in plan.stages) <= PATIENCE:
        yield "min_improvement", f"in stages of {PATIENCE} evaluations or fewer"


def _of_boldness(plan: Plan) -> Iterator[tuple[str, str]]:
    without = replace(plan, boldness=0.0)
    counted = [(plan.of(stage).recipe, without.of(stage).recipe) for stage in plan.stages]
    if plan.boldness < 0 and all(bold.content == plain.content for bold, plain in counted):
        yield "boldness", f"with {option('content_weight', 0)}"
    if plan.boldness > 0 and all(bold.style.weight == 0 for bold, _ in counted):
        yield "boldness", f"with {option('style_weight', 0)}"
    elif plan.boldness > 0 and all(bold.style == plain.style for bold, plain in counted):
        yield "boldness", "above 0 with a recipe whose style has no deep layer"


def _of_styles(plan: Plan) -> Iterator[tuple[str, str]]:
    if len(plan.blend) == 1:
        yield "style_blend", "with one style"
    if plan.recipe.style.weight == 0:
        without = f"with {option('style_weight', 0)}"
        yield from ((name, without) for name in ("style_blend", "style_scale"))
        if plan.colors in MATCHES and plan.init not in _OF_STYLE:
            yield "colors", without


def _of_stages(plan: Plan, wished: int | None) -> Iterator[tuple[str, str]]:
    if plan.restart_every is not None:
        yield "stages", f"with {option('restart_every')}, which has one"
    elif wished is not None and wished > (there := len(plan.stages)):
        yield "stages", f"beyond {there}, for want of pixels or evaluations"
