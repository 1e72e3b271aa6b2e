"""The plans that come along, and those of their page, can be carried out."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from clone import ROOT
from PIL import Image

from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime.plan.plan import Plan
from impasto.runtime.plan.plan_file import PlanFile, StageInFile
from impasto.runtime.plan.recipe import load_recipe

FOLDER = ROOT / "docs" / "plans"
PLANS = sorted(FOLDER.glob("*.toml"))
PAGE = (FOLDER / "README.md").read_text("utf-8")
NAMES = ["wave.jpg", "night.jpg"]


def plan(file: PlanFile, width: int = 400, height: int = 300) -> Plan:
    recipe = load_recipe(file.recipe or DEFAULT_RECIPE)
    return file.plan(recipe, Image.new("1", (width, height)), NAMES)


@pytest.mark.parametrize("place", PLANS, ids=lambda place: place.stem)
def test_every_plan_is_told_of_and_serves_pictures_of_any_proportions(place: Path) -> None:
    file = PlanFile.given(place)
    assert file.description
    assert f"[{file.place.name}]({file.place.name})" in PAGE  # type: ignore[union-attr]
    for width, height in ((400, 300), (200, 500)):
        found = plan(file, width, height)
        assert max(found.width, found.height) == file.size
        for w, h in ((stage.width, stage.height) for stage in found.stages):
            assert abs(w / h * height / width - 1) < 0.02


def long_sides(name: str) -> list[int]:
    return [max(s.width, s.height) for s in plan(PlanFile.given(FOLDER / name)).stages]


def test_the_posters_schedule_is_jcjohnsons() -> None:
    """As read from his script: sizes, iterations, and five times the weight from 2048 on."""
    found = plan(PlanFile.given(FOLDER / "poster.toml"))
    assert long_sides("poster.toml") == [256, 512, 1024, 2048, 3620]
    assert [stage.evaluations for stage in found.stages] == [1000, 500, 200, 100, 50]
    assert [found.of(stage).recipe.style.weight for stage in found.stages] == [500, 500, 500, 2500, 2500]
    assert found.recipe.tv.weight == 0


def test_the_multiresolution_schedule_is_progamergovs() -> None:
    found = plan(PlanFile.given(FOLDER / "multiresolution.toml"))
    assert long_sides("multiresolution.toml") == [256, 512, 768, 1024]
    assert [stage.evaluations for stage in found.stages] == [1000, 768, 500, 200]
    assert [found.of(stage).style_scale for stage in found.stages] == [1, 0.75, 0.5, 0.25]
    assert {stage.options and stage.options.start_colors for stage in found.stages} == {"style"}


def test_the_plan_of_the_page_can_be_carried_out_and_no_key_is_missing_there() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    found = plan(PlanFile.from_mapping(tomllib.loads(example), "example"))
    assert [stage.evaluations for stage in found.stages] == [120, 40]
    stages = [field.name for field in fields(StageInFile)]
    whole = [field.name for field in fields(PlanFile) if field.name not in ("stages", "subject", "place")]
    assert [name for name in (*stages, *whole) if f"`{name}`" not in PAGE] == []
