"""The steps of transfers that nobody has run, for tests of what looks at them."""

from __future__ import annotations

from typing import Any

from impasto.runtime import Step
from impasto.runtime.plan.plan import Plan, Stage
from impasto.runtime.plan.recipe import load_recipe

TERMS = {"content/block4_conv2": 100.0, "style/block1_conv1": 20.0, "style/block2_conv1": 30.0, "tv": 5.0}


def plan_of(stages: list[Stage], **options: Any) -> Plan:
    """Return the plan of such a transfer."""
    return Plan(load_recipe("gatys"), tuple(stages), "content", **options)


def steps(stages: list[Stage], rate: float, setup: float = 0.0, first: int = 1) -> list[Step]:
    """Return the steps of a transfer whose evaluations take `rate` seconds a pixel; each stage takes `setup` to open.

    The first of them is that number: those before were made by another process.
    """
    plan = plan_of(stages)
    found: list[Step] = []
    seconds = evaluation = 0.0
    for number, stage in enumerate(stages, 1):
        seconds += setup
        for k in range(1, stage.evaluations + 1):
            seconds, evaluation = seconds + rate * stage.width * stage.height, evaluation + 1
            found.append(
                Step(
                    int(evaluation), plan.evaluations, number, len(stages), stage.width, stage.height, k,
                    loss=1000.0 - evaluation, terms=TERMS, share=1 - evaluation / 1000, improved=True,
                    change=1.0, seconds=seconds,
                )
            )  # fmt: skip
    return found[first - 1 :]
