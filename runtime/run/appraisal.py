"""The final loss of a transfer whose evaluations were less precise than float32: evaluated once, in float32."""

from __future__ import annotations

import contextlib
import gc
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.footprints import budget_of
from impasto.runtime.engine.placement import foreseen
from impasto.runtime.engine.providers import AUTO, provider_of
from impasto.runtime.errors import ImpastoError, MemoryShortage
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import SINGLE, WORDS
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.run.material import weights_in
from impasto.runtime.run.state import Appraisal

if TYPE_CHECKING:
    from impasto.runtime.run.transfer import Transfer


def appraise(transfer: Transfer) -> Appraisal | None:
    """Return the loss of a transfer's picture in float32, as CUDA evaluates it for a run there, else the CPU provider.

    The graphs of the evaluations before should be closed: this opens others. Where the loss cannot be evaluated, one
    warning says why, and there is none.
    """
    try:
        return _appraise(transfer)
    except (KeyboardInterrupt, StopOptimization):
        reason = "interrupted"
    except (ImpastoError, MemoryError) as error:
        reason = str(error) or "out of memory"
    precision = WORDS[transfer.state.precision]
    warnings.warn(
        f"the final loss is that of {precision}: it could not be evaluated in float32 ({reason})",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _appraise(transfer: Transfer) -> Appraisal:
    from impasto.runtime.run.estimate import estimate_memory  # here, because it imports transfers

    state, plan, material = transfer.state, transfer.plan, transfer.material
    stage = plan.stages[state.stage - 1]
    device = "cpu" if provider_of(state.device).on_host else state.device
    placement = replace(foreseen(replace(transfer.placement, device=device, precision=SINGLE)), lowering=AUTO)
    # No optimiser runs any more: Adam's share of memory is the least.
    least = replace(stage, optimizer="adam", pairs=None)
    alone = replace(plan, stages=(least,), optimizer="adam", restarts=(), restart_every=None)
    need, budget = replace(transfer.need, plan=alone, placement=placement, engine=None), budget_of(placement)
    if not estimate_memory(need, budget).fits:
        raise MemoryShortage("it takes more memory than there is")
    placement = need.placed(stage, budget)
    gc.collect()  # a circle of references may still hold the graphs of the evaluations, and their memory
    engine, folder = Engine(graphs=0), ModelFolder.open(transfer.model)
    references, weights = material.references(plan, stage), weights_in(plan.of(stage).recipe)
    evaluator = engine.evaluator(folder, plan.recipe.name, references, placement, weights, transfer.after_tile)
    with contextlib.closing(evaluator):
        loss, terms, _ = evaluator.evaluate(state.point)
    return Appraisal(loss, terms, SINGLE)
