"""``impasto recipes``: what is listed is what the graphs are fed with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import assert_refused, impasto_

from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime import Objective
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe

OWN = """
[content]
weight = 3
convention = "mean"
layers.block1_conv2 = 1
[style]
weight = 8
convention = "mean"
layers.block1_conv1 = 0.25
layers.block2_conv1 = 0.5
"""


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed(*arguments: object) -> dict[str, Any]:
    done = impasto_("recipes", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_recipe_that_comes_with_the_program_is_listed_with_its_layers() -> None:
    found = listed()
    assert (found["width"], found["height"]) == (512, 512)
    assert set(found["recipes"]) == set(builtin_recipes())
    for name, entry in found["recipes"].items():
        recipe = load_recipe(name)
        assert entry["description"] == recipe.description
        assert entry["default"] == (name == DEFAULT_RECIPE)
        assert entry["optimizer"] == recipe.optimizer
        terms = {f"content/{x}" for x in recipe.content.layers} | {f"style/{x}" for x in recipe.style.layers} | {"tv"}
        assert set(entry["effective_weights"]) == terms


def test_effective_weights_are_what_the_graph_multiplies_its_means_by(model: Path) -> None:
    weights = listed("seed", "--size", "64x48")["recipes"]["seed"]["effective_weights"]
    image, content, style = (np.random.default_rng(k).uniform(0, 255, (48, 64, 3)).astype(np.float32) for k in range(3))
    objective = Objective.open(model, "seed", content=content, styles=[style], device="cpu", lowering="direct")
    objective(image)
    levels = image.astype(float)
    a, b = levels[:-1, :-1] - levels[1:, :-1], levels[:-1, :-1] - levels[:-1, 1:]
    assert objective.terms["tv"] == pytest.approx(weights["tv"] * np.mean((a**2 + b**2) ** 1.25), rel=1e-4)


def test_weights_of_means_are_the_recipes_own_at_every_size_and_sums_grow_with_it() -> None:
    Path("own.toml").write_text(OWN)
    small, large = (listed("own.toml", "seed", "--size", size)["recipes"] for size in ("100", "400x200"))
    expected = {"content/block1_conv2": 3, "style/block1_conv1": 2, "style/block2_conv1": 4, "tv": 0}
    assert small["own"]["effective_weights"] == large["own"]["effective_weights"] == expected
    assert small["own"]["style_to_content"] == 2
    content = "content/block2_conv2"
    assert large["seed"]["effective_weights"][content] == 8 * small["seed"]["effective_weights"][content]


def test_a_models_recipes_are_listed(model: Path) -> None:
    assert tuple(listed("--model", model)["recipes"]) == ModelFolder(model).recipes()
    assert list(listed("seed", "--model", model)["recipes"]) == ["seed"]


def test_text_fits_a_terminal_and_names_every_layer() -> None:
    done = impasto_("recipes")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert f"\n{DEFAULT_RECIPE} (the default)\n" in done.stdout
    for name in builtin_recipes():
        block = done.stdout.partition(f"\n\n{name}")[2].partition("\n\n")[0]
        assert all(layer in block for layer in load_recipe(name).layers), name


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("monet",), "recipe 'monet'"),
        (("--size", "content"), "there is no picture here"),
        (("--size", "16"), "--size: 16x16 pixels; expected 32 or more"),
        (("--size", "big"), "--size 'big'"),
        (("--model", "missing"), "no such folder"),
    ],
)
def test_what_cannot_be_listed_is_refused(arguments: tuple[str, ...], reason: str) -> None:
    assert_refused(impasto_("recipes", *arguments), reason)


def test_layers_that_no_network_has_are_refused() -> None:
    Path("own.toml").write_text(OWN.replace("block2_conv1", "block2_conv3"))
    assert_refused(impasto_("recipes", "own.toml"), "own.toml: recipe 'own': style.layers has 'block2_conv3'")
