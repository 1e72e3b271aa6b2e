"""The graphs have what the table of terms says."""

from __future__ import annotations

import pytest

from impasto.export.losses import objective, statistics
from impasto.export.networks import CAFFE, NETWORKS
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe
from impasto.runtime.plan.terms import GRADIENT, LOSS, TERMS, targets_of


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("name", builtin_recipes())
def test_the_objective_has_an_output_for_each_term_and_statistics_one_for_each_target(name: str, guided: bool) -> None:
    recipe = load_recipe(name)
    graphs = [make(recipe, NETWORKS["vgg19"], CAFFE, guided=guided) for make in (objective, statistics)]
    names = [term.name(layer) for term in TERMS for layer in term.shares(recipe)]
    assert list(graphs[0]) == [LOSS, GRADIENT, *names]
    assert list(graphs[1]) == [*targets_of(recipe, "content"), *targets_of(recipe, "style")]
