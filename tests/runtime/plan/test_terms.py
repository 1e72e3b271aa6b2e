"""The number that multiplies each mean, against the formulas of the sources, computed the long way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.runtime.plan.recipe import Recipe, load_recipe
from impasto.runtime.plan.terms import LayerSize, effective_weights, style_to_content, targets_of

HEIGHT, WIDTH = 75, 101
#: VGG-19's channels, and the size of its activations for such a picture, block by block: halved, rounded down.
CHANNELS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
EXTENT = {1: (75, 101), 2: (37, 50), 3: (18, 25), 4: (9, 12), 5: (4, 6)}

Activations = NDArray[np.float64]


def block(layer: str) -> int:
    return int(layer[len("block")])


def sizes(recipe: Recipe) -> dict[str, LayerSize]:
    return {layer: LayerSize(CHANNELS[block(layer)], int(np.prod(EXTENT[block(layer)]))) for layer in recipe.layers}


def activations(layer: str, seed: int) -> Activations:
    shape = (CHANNELS[block(layer)], int(np.prod(EXTENT[block(layer)])))
    return np.random.default_rng([seed, block(layer)]).uniform(0, 3, shape)


def gram(f: Activations) -> Activations:
    """Return the Gram matrix as both sources have it: a sum over positions."""
    return f @ f.T


def weighted_means(recipe: Recipe, image: NDArray[np.float64]) -> dict[str, float]:
    """Return the terms as the graphs have them: means, times their effective weights."""
    weights = effective_weights(recipe, sizes(recipe), HEIGHT, WIDTH)
    terms = {}
    for layer in recipe.content.layers:
        f, p = activations(layer, 1), activations(layer, 2)
        terms[f"content/{layer}"] = np.mean((f - p) ** 2)
    for layer in recipe.style.layers:
        f, s = activations(layer, 1), activations(layer, 3)
        terms[f"style/{layer}"] = np.mean((gram(f) / f.shape[1] - gram(s) / s.shape[1]) ** 2)
    terms["tv"] = np.mean(variation(image, recipe.tv.exponent))
    assert terms.keys() == weights.keys()
    return {name: float(weights[name] * value) for name, value in terms.items()}


def variation(image: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    a = (image[:-1, :-1] - image[1:, :-1]) ** 2
    b = (image[:-1, :-1] - image[:-1, 1:]) ** 2
    return (a + b) ** exponent


@pytest.fixture
def image() -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0, 255, (HEIGHT, WIDTH, 3))


def test_seed_is_worth_what_the_reference_says(image: NDArray[np.float64]) -> None:
    found = weighted_means(load_recipe("seed"), image)
    f, p = activations("block2_conv2", 1), activations("block2_conv2", 2)
    expected = {"content/block2_conv2": 0.02 * ((f - p) ** 2).sum()}
    for layer in ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"):
        g, s = gram(activations(layer, 1)), gram(activations(layer, 3))
        expected[f"style/{layer}"] = 4.5 / 5 * ((g - s) ** 2).sum() / (4 * 3**2 * (HEIGHT * WIDTH) ** 2)
    expected["tv"] = 0.995 * variation(image, 1.25).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def test_gatys_is_worth_what_the_paper_says(image: NDArray[np.float64]) -> None:
    recipe = load_recipe("gatys")
    found = weighted_means(recipe, image)
    alpha, beta = recipe.content.weight, recipe.style.weight
    f, p = activations("block4_conv2", 1), activations("block4_conv2", 2)
    expected = {"content/block4_conv2": alpha / 2 * ((f - p) ** 2).sum()}  # equation 1
    for layer in [f"block{k}_conv1" for k in range(1, 6)]:
        g, a = gram(activations(layer, 1)), gram(activations(layer, 3))
        n, m = activations(layer, 1).shape
        expected[f"style/{layer}"] = beta / 5 * ((g - a) ** 2).sum() / (4 * n**2 * m**2)  # equations 4 and 5
    expected["tv"] = 0
    assert found == pytest.approx(expected, rel=1e-12)


def test_means_are_worth_their_weight_whatever_the_size() -> None:
    seed = load_recipe("seed")
    recipe = replace(
        seed,
        content=replace(seed.content, convention="mean"),
        style=replace(seed.style, convention="mean"),
        tv=replace(seed.tv, convention="mean"),
    )
    weights = effective_weights(recipe, sizes(recipe), HEIGHT, WIDTH)
    assert weights["content/block2_conv2"] == 0.02
    assert weights["style/block5_conv3"] == pytest.approx(0.9)
    assert weights["tv"] == 0.995


def test_total_variation_is_summed_over_differences_in_both_directions() -> None:
    recipe = load_recipe("seed").with_weights(tv=2.0)
    assert effective_weights(recipe, sizes(recipe), HEIGHT, WIDTH)["tv"] == 2 * 3 * 74 * 100


def test_shares_and_weights_multiply() -> None:
    recipe = load_recipe("gatys")
    once = effective_weights(recipe, sizes(recipe), HEIGHT, WIDTH)
    thrice = effective_weights(recipe.with_weights(style=3 * recipe.style.weight), sizes(recipe), HEIGHT, WIDTH)
    for name, weight in once.items():
        assert thrice[name] == pytest.approx(weight * (3 if name.startswith("style/") else 1))


def test_targets_are_measured_from_the_content_and_the_style_and_variation_has_none() -> None:
    seed = load_recipe("seed")
    assert targets_of(seed, "content") == ["content/block2_conv2.target"]
    assert targets_of(seed, "style") == [f"style/{layer}.target" for layer in seed.style.layers]


def test_style_to_content_counts_all_layers_and_no_variation() -> None:
    weights = {"content/block1_conv1": 2.0, "style/block1_conv1": 3.0, "style/block2_conv1": 5.0, "tv": 100.0}
    assert style_to_content(weights) == 4
    assert style_to_content({**weights, "content/block1_conv1": 0.0}) == float("inf")
