"""What the page is told about a result, so that it can be made again, or changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.cli.serve.made import describe
from impasto.runtime.plan.recipe import LayersTerm, StyleTerm, load_recipe
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Record

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8))


def record(model: Path, **options: Any) -> Record:
    given = {"recipe": "impasto", "size": 64, "evaluations": 1, "device": "cpu", "threads": 1, **options}
    found = prepare(PICTURE, [PICTURE], model=model, **given).run().record
    plan = replace(found.plan, recipe=load_recipe("impasto"))  # the folder's has fewer layers
    return replace(found, plan=plan)


def options_of(made: Record) -> dict[str, Any]:
    options: dict[str, Any] = describe(made)["options"]
    return options


def test_edges_that_were_left_out_as_usual_are_no_option(model: Path) -> None:
    assert "style_crop" not in options_of(record(model))
    assert options_of(record(model, style_crop="off"))["style_crop"] == "off"
    assert options_of(record(model, style_crop="9,0,4,0"))["style_crop"] == "9,0,4,0"


def test_weights_of_another_loss_are_no_options_of_todays(model: Path) -> None:
    made = record(model, boldness=-0.5)
    heavier = replace(made, plan=replace(made.plan, recipe=made.plan.recipe.with_weights(style=3.0)))
    assert {"style_weight": 3.0, "boldness": -0.5}.items() <= options_of(heavier).items()
    former = StyleTerm(10, "johnson", made.plan.recipe.style.layers)
    recipe = replace(made.plan.recipe, style=former, content=LayersTerm(0.05, "mean", {"block4_conv2": 1}))
    older = options_of(replace(made, plan=replace(made.plan, recipe=recipe)))
    assert not {"style_weight", "content_weight", "tv_weight"} & older.keys()
