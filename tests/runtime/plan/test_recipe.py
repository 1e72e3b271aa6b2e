"""Recipes load, say what is wrong with them in one line, and survive the way through JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.defaults import DEFAULT_RECIPE, REFERENCE_OPTIMIZER
from impasto.runtime.errors import InputError, RecipeError
from impasto.runtime.plan.plan import schedule
from impasto.runtime.plan.recipe import (
    FITS,
    INITS,
    LAYER,
    PADDINGS,
    POOLINGS,
    LayersTerm,
    Noise,
    Recipe,
    StyleTerm,
    TotalVariation,
    builtin_recipes,
    guess_recipe,
    load_recipe,
    parse_size,
)
from impasto.runtime.plan.sizes import fitted_size, result_size
from impasto.runtime.plan.terms import (
    CONTENT_CONVENTIONS,
    OF_OTHER_UNIT,
    STYLE_CONVENTIONS,
    STYLE_LOSSES,
    TV_CONVENTIONS,
    LayerSize,
    effective_weights,
)
from impasto.runtime.run.prepare import prepare
from impasto.runtime.storage import codec
from tests.runtime.misfits import misfits

GOOD = """
size = "64"
evaluations = 3

[content]
weight = 2
convention = "sum"
layers.block4_conv2 = 1

[style]
weight = 3.5
convention = "gatys"
layers.block1_conv1 = 0.5
layers.block2_conv1 = 0.5

[tv]
weight = 0.1
convention = "mean"
exponent = 1.5

[noise]
low = [0, 1, 2]
high = [3, 4, 5]
"""


WILD = [
    b"nan",
    b"-inf",
    b"1" * 5000,
    b"1e999",
    b"[" * 3000,
    b"\xff",
    b"\x1b[2J",
    "\u202e".encode(),
    b'"""',
    b"a.b.c = ",
]


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(RecipeError) as refused:
        load_recipe(path)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_the_recipes_of_the_issue_come_with_the_program() -> None:
    assert {"seed", "gatys"} <= set(builtin_recipes())


@pytest.mark.parametrize("name", builtin_recipes())
def test_builtin_recipes_load(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.evaluations >= 1


def test_seed_is_the_reference_algorithm() -> None:
    seed = load_recipe("seed")
    assert (seed.pooling, seed.size, seed.style_fit, seed.init) == ("max", "300x300", "stretch", "random")
    assert dict(seed.content.layers) == {"block2_conv2": 1}
    assert list(seed.style.layers) == [
        "block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3",
    ]  # fmt: skip
    assert (seed.tv.weight, seed.tv.exponent) == (0.995, 1.25)
    means = (123.68, 116.779, 103.939)  # of R, G, B, which the network subtracts
    assert seed.noise.low == pytest.approx([mean - 128 for mean in means])
    assert seed.noise.high == pytest.approx([mean - 128 + 255 for mean in means])


def test_gatys_has_the_layers_of_the_paper() -> None:
    gatys = load_recipe("gatys")
    assert dict(gatys.content.layers) == {"block4_conv2": 1}
    assert dict(gatys.style.layers) == dict.fromkeys([f"block{k}_conv1" for k in range(1, 6)], 0.2)
    assert gatys.tv.weight == 0
    assert gatys.layers == ("block4_conv2", *(f"block{k}_conv1" for k in range(1, 6)))


def test_galerne_has_the_photographs_own_size_and_as_many_steps_as_its_program() -> None:
    galerne, photograph = load_recipe("galerne"), Image.new("RGB", (1500, 1100))
    assert result_size(parse_size(galerne.size), photograph, galerne.size_of) == (1500, 1100)
    assert fitted_size((4000, 3000), galerne, 1500, 1100) == (1467, 1100)  # the short sides alike
    assert not galerne.coarse_to_fine
    assert galerne.evaluations == 600  # in one size, which is what its program has below 1024 pixels
    stages = [(stage.width, stage.evaluations) for stage in schedule(1500, 1100, 900, 2)]
    assert stages == [(750, 600), (1500, 300)]  # as docs/recipes.md has it for larger ones


@pytest.mark.parametrize("loss", STYLE_LOSSES)
def test_losses_of_another_unit_than_gram_matrices_have_the_convention_mean_only(tmp_path: Path, loss: str) -> None:
    path = write(tmp_path, GOOD.replace("[style]", f'[style]\nloss = "{loss}"'))
    if loss in OF_OTHER_UNIT:
        assert f"style.convention is 'gatys'; expected mean, the one that style.loss {loss} has" in refusal(path)
        path = write(tmp_path, path.read_text("utf-8").replace('"gatys"', '"mean"'))
    assert load_recipe(path).style.loss == loss


def test_recipes_of_programs_that_work_at_one_size_do_so_and_ours_keeps_its_balance_at_every_size() -> None:
    several = {name for name in builtin_recipes() if load_recipe(name).coarse_to_fine}
    assert several == {"crowson", "impasto"}
    own = load_recipe(DEFAULT_RECIPE)
    layers = {name: LayerSize(64, 10) for name in own.layers}
    larger = {name: LayerSize(64, 640) for name in own.layers}
    assert effective_weights(own, layers, 64, 64) == effective_weights(own, larger, 512, 512)


def test_levels_are_held_where_the_recipe_says_so_unless_told_otherwise(model: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)

    def clip(recipe: str, **wishes: Any) -> bool:
        return prepare(picture, [picture], model=model, recipe=recipe, size=40, **wishes).plan.clip

    assert clip("impasto")
    assert not clip("impasto", clip=False)
    assert clip("impasto", optimizer="lbfgs-device")
    assert not clip("gatys")
    assert clip("gatys", clip=True)


def test_only_our_recipe_names_another_optimizer_than_the_reference() -> None:
    named = {name: load_recipe(name).optimizer for name in builtin_recipes()}
    assert named.pop(DEFAULT_RECIPE) == "lbfgs-sobolev"
    assert {*named.values()} == {REFERENCE_OPTIMIZER}


def test_a_file_without_an_optimizer_keeps_the_reference(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, GOOD)).optimizer == REFERENCE_OPTIMIZER
    adam = GOOD.replace("evaluations = 3", 'optimizer = "adam"')
    assert load_recipe(write(tmp_path, adam)).optimizer == "adam"


def test_the_optimizer_is_the_recipes_unless_told_otherwise_and_restarts_are_those_of_the_reference(
    model: Path,
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)

    def optimizer(recipe: str, **wishes: Any) -> str:
        return prepare(picture, [picture], model=model, recipe=recipe, size=40, **wishes).plan.optimizer

    assert optimizer("impasto") == optimizer("impasto", optimizer=None) == "lbfgs-sobolev"
    assert optimizer("gatys") == optimizer("seed") == REFERENCE_OPTIMIZER
    assert optimizer("impasto", optimizer="lbfgs") == "lbfgs"
    assert optimizer("gatys", optimizer="lbfgs-sobolev") == "lbfgs-sobolev"
    assert optimizer("impasto", restart_every=20) == REFERENCE_OPTIMIZER
    with pytest.raises(InputError, match="restarts are SciPy's; leave it out with optimizer='lbfgs-sobolev'"):
        optimizer("gatys", optimizer="lbfgs-sobolev", restart_every=20)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (builtin_recipes(), "did you mean seed? impasto recipes tells of them"),
        (
            builtin_recipes()[1:],
            f"did you mean seed? {builtin_recipes()[0]} comes along, and impasto recipes tells of them",
        ),
    ],
)
def test_an_unknown_recipe_is_answered_without_naming_any_twice(there: tuple[str, ...], expected: str) -> None:
    assert guess_recipe("seeed", there) == expected


def test_a_recipe_of_ones_own_loads_under_its_files_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.name == "mine"
    assert recipe.content == LayersTerm(2, "sum", {"block4_conv2": 1})
    assert recipe.tv == TotalVariation(0.1, "mean", 1.5)
    assert recipe.noise == Noise((0, 1, 2), (3, 4, 5))
    assert load_recipe(write(tmp_path, 'name = "other"\n' + GOOD)).name == "other"


BAD: dict[str, tuple[str, str, str]] = {
    "unknown key": ('size = "64"', 'sise = "64"', "unknown key sise"),
    "unknown key of a table": ("exponent = 1.5", "exponant = 1.5", "unknown key tv.exponant"),
    "unknown table": ("[noise]", "[nose]", "unknown key nose"),
    "missing table": ("[content]", "[tv.content]", "content is missing"),
    "missing weight": ("weight = 2\n", "", "content.weight is missing"),
    "missing convention": ('convention = "gatys"\n', "", "style.convention is missing"),
    "missing layers": ("layers.block4_conv2 = 1\n", "", "content.layers is missing"),
    "table that is a number": ("[content]", "content = 3\n[tv.content]", "content is 3; expected a table"),
    "weight that is text": ("weight = 2\n", 'weight = "2"\n', "content.weight is '2'"),
    "weight that is true": ("weight = 2\n", "weight = true\n", "content.weight is True"),
    "negative weight": ("weight = 2\n", "weight = -2\n", "content.weight is -2"),
    "weight that is no number": ("weight = 3.5\n", "weight = nan\n", "style.weight is nan"),
    "infinite weight": ("weight = 0.1\n", "weight = inf\n", "tv.weight is inf"),
    "weight beyond all numbers": ("weight = 2\n", f"weight = 1{'0' * 400}\n", "content.weight is 1"),
    "negative share": ("block4_conv2 = 1", "block4_conv2 = -1", "content.layers.block4_conv2 is -1"),
    "share that is text": ("block4_conv2 = 1", 'block4_conv2 = "all"', "content.layers.block4_conv2 is 'all'"),
    "share that is a table": ("block4_conv2 = 1", "block4_conv2.x = 1", "content.layers.block4_conv2 is {"),
    "bad layer": ("block4_conv2", "conv4_2", "content.layers has 'conv4_2'"),
    "layer of no block": ("block4_conv2", "block6_conv1", "content.layers has 'block6_conv1'"),
    "no layers": ("layers.block4_conv2 = 1", "layers = {}", "content.layers is empty"),
    "layers that are a list": ("layers.block4_conv2 = 1", 'layers = ["block4_conv2"]', "content.layers"),
    "bad content convention": ('"sum"', '"gatys"', "content.convention is 'gatys'; expected one of mean, sum, half"),
    "bad style convention": ('"gatys"', '"half-sum"', "style.convention is 'half-sum'; expected one of mean, gatys"),
    "bad tv convention": ('"mean"', '"gatys"', "tv.convention is 'gatys'; expected one of mean, sum"),
    "convention that is a list": ('"sum"', '["sum"]', "content.convention is ['sum']; expected text"),
    "bad exponent": ("exponent = 1.5", "exponent = 0.5", "tv.exponent is 0.5; expected a number from 1 to 2"),
    "bad size": ('"64"', '"64 by 64"', "size '64 by 64'"),
    "size that is a part of a number": ('"64"', "6.4", "size is 6.4; expected text"),
    "size that is a number": ('"64"', "64", "size is 64; expected text"),
    "size of nothing": ('"64"', '"0"', "size '0': expected the long side in pixels"),
    "size without a height": ('"64"', '"64x0"', "size '64x0'"),
    "more digits than Python reads": ("weight = 2\n", f"weight = 1{'0' * 5000}\n", "not valid TOML"),
    "weight beyond single precision": (
        "weight = 2\n",
        "weight = 1e38\n",
        "content.weight is 1e+38; expected 0, or 1e-15 to 1e+15; with more, the start has no finite loss",
    ),
    "weight that is nothing": ("weight = 2\n", "weight = 1e-38\n", "content.weight is 1e-38; expected 0, or 1e-15"),
    "weight too large with its share": (
        "weight = 3.5\n",
        "weight = 1e15\nlayers.block3_conv1 = 1e10\n",
        "style.weight times style.layers.block3_conv1 is 1e+25",
    ),
    "moments of another loss": (
        "weight = 3.5\n",
        "weight = 3.5\nmoments = 2\n",
        "style.moments is 2, and style.loss gram has none; leave it out",
    ),
    "layer that VGG has not": ("block4_conv2", "block1_conv4", "content.layers has 'block1_conv4'"),
    "key that is there twice": ("weight = 2\n", "weight = 2\nweight = 3\n", "not valid TOML"),
    "too many evaluations": ("evaluations = 3", f"evaluations = {10**18}", "evaluations is 1000000000000000000"),
    "name of nothing": ("evaluations = 3", 'name = ""', "name is ''"),
    "description without end": ("evaluations = 3", f'description = "{"x" * 200_000}"', "has 200000 characters"),
    "date": ("evaluations = 3", "evaluations = 1979-05-27", "evaluations is datetime.date(1979, 5, 27)"),
    "nesting without end": ("evaluations = 3", f"evaluations = {'[' * 10_000}", "nested too deep"),
    "noise without bounds": ("high = [3, 4, 5]", "high = [3, 4, 1e30]", "noise.high is (3, 4, 1e+30); expected levels"),
    "endless size": ('"64"', f'"{"9" * 5000}"', "size '999"),
    "no evaluations": ("evaluations = 3", "evaluations = 0", "evaluations is 0"),
    "part of an evaluation": ("evaluations = 3", "evaluations = 3.5", "evaluations is 3.5"),
    "evaluations that are true": ("evaluations = 3", "evaluations = true", "evaluations is True"),
    "bad pooling": ("evaluations = 3", 'pooling = "min"', "pooling is 'min'; expected one of max, average"),
    "bad padding": ("evaluations = 3", 'padding = "edge"', "padding is 'edge'; expected one of zeros, replicate"),
    "bad fit": ("evaluations = 3", 'style_fit = "crop"', "style_fit is 'crop'; expected one of stretch, area"),
    "bad init": ("evaluations = 3", 'init = "noise"', "init is 'noise'; expected one of random, content, style"),
    "stages that are a number": (
        "evaluations = 3",
        "coarse_to_fine = 3",
        "coarse_to_fine is 3; expected true or false",
    ),
    "negative bleed": ("evaluations = 3", "bleed = -7", "bleed is -7; expected 0 to 256"),
    "wide bleed": ("evaluations = 3", "bleed = 1000", "bleed is 1000; expected 0 to 256"),
    "clip that is text": ("evaluations = 3", 'clip = "yes"', "clip is 'yes'; expected true or false"),
    "bad optimizer": (
        "evaluations = 3",
        'optimizer = "sgd"',
        "optimizer is 'sgd'; expected one of lbfgs, lbfgs-sobolev",
    ),
    "bad name": ("evaluations = 3", 'name = "My recipe"', "name is 'My recipe'"),
    "name that is a number": ("evaluations = 3", "name = 3", "name is 3"),
    "name that leaves the folder": ("evaluations = 3", 'name = "../x"', "name is '../x'"),
    "description that is a number": ("evaluations = 3", "description = 3", "description"),
    "noise of two numbers": ("low = [0, 1, 2]", "low = [0, 1]", "noise.low is (0, 1)"),
    "noise of text": ("low = [0, 1, 2]", 'low = ["a", "b", "c"]', "noise.low is"),
    "noise upside down": ("low = [0, 1, 2]", "low = [9, 1, 2]", "noise.low is (9, 1, 2)"),
    "noise that is infinite": ("high = [3, 4, 5]", "high = [3, 4, inf]", "noise.high is"),
    "bad TOML": ("[content]", "[content", "not valid TOML"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_recipes_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    old, new, reason = BAD[kind]
    assert old in GOOD
    text = refusal(write(tmp_path, GOOD.replace(old, new, 1)))
    assert reason in text
    assert text.startswith(f"{tmp_path / 'mine.toml'}: ")
    assert len(text) < len(str(tmp_path)) + 300


def test_a_mark_at_the_beginning_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe(tmp_path / "mine.toml") == load_recipe(write(tmp_path, GOOD))


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path, "#" * 2_000_000)
    assert "has more than 1048576 bytes" in refusal(tmp_path / "mine.toml")


def test_recipes_that_are_no_text_files_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(bytes(range(256)))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    for path, reason in (
        (binary, "not a text file"),
        (folder, "Is a directory"),
        (tmp_path / "missing.toml", "No such file"),
        (binary / "below.toml", "Not a directory"),
        (tmp_path / f"{'a' * 300}.toml", "File name too long"),
    ):
        text = refusal(path)
        assert str(path) in text
        assert reason in text


def test_unknown_names_are_refused_with_those_there_are() -> None:
    text = refusal("monet")
    assert "'monet'" in text
    assert all(name in text for name in builtin_recipes())


# --- round trip -----------------------------------------------------------------------------------------------

numbers = st.one_of(st.just(0), st.integers(1, 10**7), st.floats(1e-7, 1e7))
shares = st.dictionaries(st.from_regex(LAYER, fullmatch=True), numbers, min_size=1, max_size=5)
levels = st.tuples(*[st.floats(-1e3, 1e3)] * 3)


def layers_terms(conventions: Any) -> st.SearchStrategy[LayersTerm]:
    return st.builds(LayersTerm, weight=numbers, convention=st.sampled_from(list(conventions)), layers=shares)


recipes = st.builds(
    Recipe,
    name=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    content=layers_terms(CONTENT_CONVENTIONS),
    style=st.builds(
        StyleTerm,
        weight=numbers,
        convention=st.sampled_from(list(STYLE_CONVENTIONS)),
        layers=shares,
        loss=st.sampled_from(["gram", "covariance"]),
    )
    | st.builds(
        StyleTerm,
        weight=numbers,
        convention=st.just("mean"),
        layers=shares,
        loss=st.just("moments"),
        moments=numbers,
    ),
    tv=st.builds(
        TotalVariation,
        weight=numbers,
        convention=st.sampled_from(list(TV_CONVENTIONS)),
        exponent=st.floats(1, 2),
    ),
    description=st.text(),
    pooling=st.sampled_from(POOLINGS),
    padding=st.sampled_from(PADDINGS),
    size=st.one_of(st.integers(1, 9999).map(str), st.tuples(*[st.integers(1, 9999)] * 2).map("{0[0]}x{0[1]}".format)),
    style_fit=st.sampled_from(FITS),
    init=st.sampled_from(INITS),
    noise=levels.map(lambda low: Noise(low, (low[0], low[1] + 1, low[2] + 2))),
    evaluations=st.integers(1, 10**6),
)


@given(recipe=recipes)
def test_recipes_survive_the_way_through_json(recipe: Recipe) -> None:
    text = json.dumps(codec.to_data(recipe))
    assert Recipe.from_mapping(json.loads(text), "here") == recipe


@given(recipe=recipes, data=st.data())
def test_any_value_in_any_place_is_taken_or_refused_as_a_recipe_error(recipe: Recipe, data: st.DataObject) -> None:
    mapping = data.draw(misfits(codec.to_data(recipe)))
    try:
        Recipe.from_mapping(mapping, "here")
    except RecipeError as refused:
        assert str(refused).startswith("here: ")
        assert str(refused).isprintable()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 20), put=st.binary(max_size=12) | st.sampled_from(WILD))
def test_any_bytes_in_a_file_are_taken_or_refused_as_a_recipe_error(
    tmp_path: Path, at: int, cut: int, put: bytes
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(GOOD.encode()[:at] + put + GOOD.encode()[at + cut :])
    try:
        load_recipe(path)
    except RecipeError as refused:
        assert str(refused).startswith((f"{path}: ", f"recipe {path}: "))
        assert str(refused).isprintable()


# --- weights and sizes ----------------------------------------------------------------------------------------


def test_weights_are_replaced_where_given() -> None:
    seed = load_recipe("seed")
    changed = seed.with_weights(content=5, tv=0)
    assert (changed.content.weight, changed.style.weight, changed.tv.weight) == (5, seed.style.weight, 0)
    assert changed.content.layers == seed.content.layers
    assert seed.with_weights() == seed


def test_a_hint_has_more_content_and_abandon_more_of_the_deep_layers() -> None:
    seed = load_recipe("seed")
    hint, abandon = seed.with_boldness(-1), seed.with_boldness(1)
    assert (hint.content.weight, hint.style, hint.tv) == (16 * seed.content.weight, seed.style, seed.tv)
    own, deeper = seed.style.layers, {"block4_conv3": 4, "block5_conv3": 16}
    assert abandon.style.layers == {layer: share * deeper.get(layer, 1) for layer, share in own.items()}
    assert (abandon.content, abandon.style.weight) == (seed.content, seed.style.weight)
    assert seed.with_boldness(0) == seed


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_more_boldness_never_means_more_content_or_less_of_a_layer(one: float, other: float) -> None:
    less, more = (load_recipe("seed").with_boldness(boldness) for boldness in sorted((one, other)))
    assert less.content.weight >= more.content.weight
    assert all(share <= more.style.layers[layer] for layer, share in less.style.layers.items())


def test_half_of_a_boldness_twice_is_all_of_it() -> None:
    for boldness in (-1, 1):
        twice = load_recipe("seed").with_boldness(boldness / 2).with_boldness(boldness / 2)
        assert twice == load_recipe("seed").with_boldness(boldness)


@pytest.mark.parametrize("term", ["content", "style", "tv"])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 1e38, 1e-38, 5e-324, 10**400])
def test_weights_that_are_none_are_refused(term: str, weight: float) -> None:
    with pytest.raises(RecipeError, match=f"^{term}_weight is "):
        load_recipe("seed").with_weights(**{term: weight})


def test_sizes_are_a_long_side_or_width_by_height() -> None:
    assert parse_size("512") == 512
    assert parse_size("300x200") == (300, 200)


@pytest.mark.parametrize(
    "text", ["", "x", "512x", "x512", "-5", "5.5", "1e3", " 512", "512px", "1x2x3", "300X200", "9" * 5000]
)
def test_sizes_that_are_neither_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="expected the long side in pixels"):
        parse_size(text)
