"""Recipes are found without the runtime, and are the same."""

from __future__ import annotations

import subprocess
import sys

from impasto.defaults import DEFAULT_RECIPE, REFERENCE_RECIPE
from impasto.recipe_files import recipe_data, recipe_files
from impasto.runtime.plan.recipe import load_recipe


def test_the_files_are_all_recipes() -> None:
    assert {DEFAULT_RECIPE, REFERENCE_RECIPE} <= {*recipe_files()}
    assert list(recipe_files()) == sorted(recipe_files())
    for name in recipe_files():
        assert load_recipe(name).evaluations == recipe_data(name).get("evaluations", load_recipe(name).evaluations)
        assert load_recipe(name).style.weight == recipe_data(name)["style"]["weight"]


def test_finding_them_imports_no_runtime() -> None:
    code = "import sys; from impasto.recipe_files import recipe_data; recipe_data('seed'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "impasto.recipe_files" in done.stdout.split()
    assert "impasto.runtime" not in done.stdout.split()
