"""The Python API: what it is called, what it takes, what comes out; and that it stays light."""

from __future__ import annotations

import inspect
import io
import json
import pickle
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import impasto.runtime
from impasto import figures
from impasto.runtime import (
    DeviceError,
    ImpastoError,
    InputError,
    ModelError,
    Objective,
    OptionError,
    OutputError,
    PictureError,
    RecipeError,
    Result,
    Step,
    StopOptimization,
    TransferError,
    errors,
    stylize,
)
from impasto.runtime.pictures.photographs import read_text
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import KEYWORD, Record

Rgb = NDArray[np.float32]
Noise = Callable[..., Rgb]

HEIGHT, WIDTH = 40, 48


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Rgb:
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


# --- the contract ---------------------------------------------------------------------------------------------


def test_the_public_names_are_these() -> None:
    assert set(impasto.runtime.__all__) == {
        "DeviceError", "ExportError", "ImpastoError", "InputError", "ModelError", "Objective", "OutputError",
        "OptionError", "PictureError", "RecipeError", "Result", "Step", "StopOptimization", "TransferError",
        "WeightsError", "release_memory", "stylize",
    }  # fmt: skip
    assert all(hasattr(impasto.runtime, name) for name in impasto.runtime.__all__)


def test_all_errors_share_one_base() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) == 14
    assert all(issubclass(kind, ImpastoError) for kind in kinds)
    assert {kind for kind in kinds if not issubclass(kind, InputError)} == {
        ImpastoError, TransferError, errors.MemoryShortage, errors.SaveError, errors.NameTaken, errors.ExportError,
    }  # fmt: skip
    assert all(issubclass(kind, TransferError) for kind in (errors.MemoryShortage, errors.SaveError))


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def test_objective_open_takes_what_the_design_says() -> None:
    found = parameters(Objective.open)
    assert list(found)[:2] == ["model", "recipe"]
    assert found["recipe"].default == "impasto"
    assert found["device"].default == "auto"
    for name in ("content", "styles"):
        assert found[name].default is inspect.Parameter.empty
        assert found[name].kind is inspect.Parameter.KEYWORD_ONLY
    required = [name for name, p in found.items() if p.default is inspect.Parameter.empty]
    assert required == ["content", "styles"]


def test_stylize_takes_what_the_design_says() -> None:
    found = parameters(stylize)
    assert list(found)[:2] == ["content", "styles"]
    required = [name for name, p in found.items() if p.default is inspect.Parameter.empty]
    assert required == ["content", "styles"]
    defaults = {"recipe": "impasto", "size": None, "evaluations": None, "seed": 0, "device": "auto", "callback": None}
    assert {name: found[name].default for name in defaults} == defaults
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for name, p in found.items() if name in defaults)


def test_help_tells_every_option_with_its_type_and_default() -> None:
    assert list(parameters(stylize)) == list(parameters(prepare))
    for function in (stylize, prepare, Objective.open):
        documentation = function.__doc__
        assert documentation is not None
        for name, parameter in parameters(function).items():
            (line,) = re.findall(rf"^{name} : (.+)\n    \S", documentation, re.MULTILINE)
            assert line.startswith(parameter.annotation)
            if parameter.default is not inspect.Parameter.empty and name != "cuda":
                assert line.endswith(f", default {parameter.default!r}")
    assert inspect.signature(stylize).return_annotation == "Result"
    assert stylize.__doc__ is not None
    assert stylize.__doc__.startswith("Repaint the content picture")
    assert "stylize(content: 'Picture', styles:" in pydoc.plain(pydoc.render_doc(stylize))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda model: stylize(picture(), picture(), model=model, evalutions=5), "stylize: .*did you mean evaluations"),
        (lambda model: prepare(picture(), picture(), model=model, collors="keep"), "prepare: .*did you mean colors"),
        (lambda model: Objective.open(model, content=picture(), style=[picture()]), "Objective.open: .*mean styles"),
        (lambda model: stylize(picture(), model=model), "stylize: missing a required argument: 'styles'"),
    ],
)
def test_an_unknown_option_names_the_function_that_was_called_and_the_nearest_option(
    call: Callable[[str], Any], told: str
) -> None:
    with pytest.raises(OptionError, match=f"^{told}"):
        call("nowhere")
    with pytest.raises(TypeError):
        call("nowhere")


def test_results_and_steps_have_what_the_design_says() -> None:
    assert {"image", "loss", "terms", "evaluations", "reason", "history"} <= set(Result.__dataclass_fields__)
    assert {"evaluation", "evaluations", "loss", "terms", "improved"} <= set(Step.__dataclass_fields__)


HEAVY = ("onnx", "torch", "torchvision", "typer", "impasto.export", "impasto.cli", "h5py", "safetensors", "rich")

LOADED = f"""
import json, sys
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import impasto.runtime\n{LOADED}"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_whole_transfer_loads_nothing_heavy_and_needs_no_package_of_the_command_line(model: Path) -> None:
    code = f"""
import sys, warnings
sys.modules["platformdirs"] = None
warnings.simplefilter("ignore")
import numpy as np
from impasto.runtime import stylize
picture = np.random.default_rng(0).uniform(0, 255, (32, 32, 3))
stylize(picture, [picture], model={str(model)!r}, recipe="gatys", size=32, evaluations=1)
{LOADED}"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# --- the objective --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["gatys", "impasto", "seed", "wasserstein"])
def opened(request: pytest.FixtureRequest, model: Path) -> Iterator[Callable[..., Objective]]:
    """Return `Objective.open` for one recipe, with a content picture, remembering what was opened."""
    cache: dict[tuple[int, ...], Objective] = {}

    def open_with(*seeds: int) -> Objective:
        if seeds not in cache:
            styles = [picture(seed) for seed in seeds]
            cache[seeds] = Objective.open(
                model, request.param, content=picture(0), styles=styles, device="cpu", lowering="direct"
            )
        return cache[seeds]

    yield open_with
    cache.clear()


def test_loss_terms_and_gradient_fit_together(opened: Callable[..., Objective]) -> None:
    objective = opened(1)
    assert objective.terms == {}
    loss, gradient = objective(picture(5))
    assert isinstance(loss, float)
    assert loss > 0
    assert gradient.shape == (HEIGHT, WIDTH, 3)
    assert gradient.dtype == np.float32
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
    names = {f"content/{layer}" for layer in objective.recipe.content.layers}
    names |= {f"style/{layer}" for layer in objective.recipe.style.layers} | {"tv"}
    assert set(objective.terms) == names
    assert sum(objective.terms.values()) == pytest.approx(loss, rel=1e-5)
    assert objective.shape == (HEIGHT, WIDTH)
    assert objective.device == "cpu"


def test_the_gradient_is_the_slope_of_the_loss(opened: Callable[..., Objective]) -> None:
    objective = opened(1)
    image = picture(5)
    _, gradient = objective(image)
    direction = gradient / np.linalg.norm(gradient)
    ahead, behind = (objective(image + np.float32(s) * direction)[0] for s in (2.0, -2.0))
    assert (ahead - behind) / 4 == pytest.approx(np.linalg.norm(gradient), rel=2e-2)


def test_a_picture_costs_nothing_against_itself(opened: Callable[..., Objective]) -> None:
    objective = opened(0)
    objective(picture(0))
    costs = {name: value for name, value in objective.terms.items() if name != "tv"}
    objective(picture(5))
    most = 1e-3 if objective.recipe.style.loss == "wasserstein" else 1e-6  # its root is found to some digits only
    assert all(value <= most * objective.terms[name] for name, value in costs.items())


def test_several_styles_count_as_their_average(opened: Callable[..., Objective]) -> None:
    """|G - (A + B) / 2|^2 = (|G - A|^2 + |G - B|^2) / 2 - |B - A|^2 / 4, for each layer's Gram matrices."""

    def terms(objective: Objective, image: Rgb) -> dict[str, float]:
        objective(image)
        return objective.terms

    image = picture(5)
    if opened(1).recipe.style.loss == "wasserstein":
        pytest.skip("not a square of a difference; averaged all the same")
    both, a, b = terms(opened(1, 2), image), terms(opened(1), image), terms(opened(2), image)
    apart = terms(opened(1), picture(2))
    for name in both:
        expected = (a[name] + b[name]) / 2 - (apart[name] / 4 if name.startswith("style/") else 0)
        assert both[name] == pytest.approx(expected, rel=1e-3)


def test_arrays_and_images_are_the_same(opened: Callable[..., Objective]) -> None:
    objective = opened(1)
    levels = picture(5).round().astype(np.uint8)
    expected, slope = objective(levels)
    for same in (Image.fromarray(levels), levels.astype(np.float64), levels.astype(np.int32)):
        loss, gradient = objective(same)
        assert loss == expected
        np.testing.assert_array_equal(gradient, slope)


def test_pictures_of_another_size_are_refused(opened: Callable[..., Objective]) -> None:
    for height, width in ((HEIGHT + 1, WIDTH), (WIDTH, HEIGHT)):
        with pytest.raises(PictureError, match=f"{width}x{height} pixels; expected {WIDTH}x{HEIGHT}"):
            opened(1)(picture(5, height, width))


def test_styles_may_have_any_size(model: Path) -> None:
    styles = [picture(1, 32, 32), picture(2, 33, 71), picture(3, 64, 35)]
    objective = Objective.open(model, "gatys", content=picture(0, 37, 45), styles=styles, device="cpu")
    loss, gradient = objective(picture(5, 37, 45))
    assert np.isfinite(loss)
    assert gradient.shape == (37, 45, 3)


def test_weights_given_replace_the_recipes(model: Path, opened: Callable[..., Objective]) -> None:
    plain = opened(1)
    recipe = plain.recipe
    plain(picture(5))
    objective = Objective.open(
        model,
        recipe.name,
        content=picture(0),
        styles=[picture(1)],
        device="cpu",
        lowering="direct",
        content_weight=3 * recipe.content.weight,
        style_weight=0,
        tv_weight=2,
    )
    objective(picture(5))
    for name, value in objective.terms.items():
        if name.startswith("content/"):
            assert value == pytest.approx(3 * plain.terms[name], rel=1e-5)
        assert (value == 0) == name.startswith("style/")


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"styles": []}, InputError, "styles: none given"),
        ({"content": np.zeros((31, 40, 3))}, PictureError, "content: 40x31"),
        ({"styles": [np.zeros((40, 40, 3)), np.zeros((40, 31, 3))]}, PictureError, "style 2: 31x40"),
        ({"content": np.full((40, 40, 3), np.nan)}, PictureError, "not finite"),
        ({"recipe": "monet"}, ModelError, "no recipe 'monet'"),
        ({"device": "tpu"}, DeviceError, "device 'tpu'"),
        ({"style_weight": -1.0}, RecipeError, "style_weight is -1"),
        ({"tv_weight": float("nan")}, RecipeError, "tv_weight is nan"),
        ({"model": "/nowhere"}, ModelError, "no such folder"),
    ],
)
def test_bad_arguments_are_refused(
    model: Path, options: dict[str, Any], error: type[ImpastoError], reason: str
) -> None:
    good: dict[str, Any] = {"model": model, "content": picture(0), "styles": [picture(1)], "device": "cpu"}
    good["lowering"] = "direct"
    with pytest.raises(error, match=reason):
        Objective.open(**{**good, **options})
    with pytest.raises(error, match=reason):
        stylize(**{**good, **options}, size=(40, 40), evaluations=1)


def test_random_weights_are_warned_about(model: Path) -> None:
    with pytest.warns(RuntimeWarning, match="has random weights: good for tests, useless for pictures"):
        Objective.open(model, content=picture(0), styles=[picture(1)], device="cpu", lowering="direct")


# --- a transfer -----------------------------------------------------------------------------------------------


def run(model: Path, **options: Any) -> Result:
    good: dict[str, Any] = {"model": model, "recipe": "gatys", "size": 40, "evaluations": 4}
    good |= {"device": "cpu", "lowering": "direct"}  # the quickest to open
    return stylize(picture(0), [picture(1, 64, 40)], **{**good, **options})


def test_a_transfer_says_how_it_came_about(model: Path) -> None:
    seen: list[Step] = []
    result = run(model, callback=seen.append)
    assert result.image.size == (40, 33)
    assert result.image.mode == "RGB"
    assert result.evaluations == 4
    assert result.reason == "all 4 evaluations were made"
    assert result.history == tuple(seen)
    assert [step.evaluation for step in seen] == [1, 2, 3, 4]
    assert {step.evaluations for step in seen} == {4}
    best = min(seen, key=lambda step: step.loss)
    assert (result.loss, result.terms) == (best.loss, best.terms)
    assert result.loss < seen[0].loss
    assert [step.seconds for step in seen] == sorted(step.seconds for step in seen)
    for step in seen:
        assert sum(step.terms.values()) == pytest.approx(step.loss, rel=1e-5)


def test_the_same_seed_gives_the_same_start(model: Path) -> None:
    start = {seed: np.asarray(run(model, init="random", seed=seed, evaluations=1).image) for seed in (0, 1)}
    again = np.asarray(run(model, init="random", seed=1, evaluations=1).image)
    np.testing.assert_array_equal(start[1], again)
    assert not np.array_equal(start[0], start[1])


def test_noise_stays_in_the_recipes_range(model: Path) -> None:
    image = np.asarray(run(model, recipe="seed", evaluations=1, size=(64, 64)).image, int)
    assert image.min(axis=(0, 1)).tolist() == [0, 0, 0]
    assert image.max(axis=(0, 1)) == pytest.approx([250.68, 243.779, 230.939], abs=3)


@pytest.mark.parametrize("init", ["content", "style", "picture"])
def test_the_start_is_the_picture_asked_for(model: Path, init: str) -> None:
    levels = {"content": picture(0, 33, 40), "style": picture(1, 33, 40), "picture": picture(2, 33, 40)}
    levels = {name: array.round().astype(np.uint8) for name, array in levels.items()}
    result = stylize(
        levels["content"],
        [levels["style"]],
        model=model,
        recipe="gatys",
        size=(40, 33),
        evaluations=1,
        device="cpu",
        lowering="direct",
        init=levels["picture"] if init == "picture" else init,
    )
    np.testing.assert_array_equal(result.image, levels[init])


@pytest.mark.parametrize(("size", "expected"), [(64, (64, 53)), ("64", (64, 53)), ("35x50", (35, 50))])
def test_the_result_has_the_size_asked_for(model: Path, size: Any, expected: tuple[int, int]) -> None:
    assert run(model, size=size, evaluations=1).image.size == expected


def test_a_callback_ends_a_transfer_with_the_best_picture_so_far(model: Path) -> None:
    def stop(step: Step) -> None:
        if step.evaluation == 2:
            raise StopOptimization("enough")

    result = run(model, callback=stop, evaluations=50)
    assert (result.evaluations, result.reason) == (2, "enough")
    assert result.loss == min(step.loss for step in result.history)


def test_restarts_count_every_evaluation(model: Path) -> None:
    assert run(model, restart_every=2, evaluations=5).evaluations == 5


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"evaluations": 0}, InputError, "evaluations is 0; expected 1 or more"),
        ({"restart_every": 0}, InputError, "restart_every is 0"),
        ({"threads": 0}, InputError, "threads is 0"),
        ({"seed": -1}, InputError, "seed is -1; expected 0 or more"),
        ({"size": 31}, PictureError, "the result: 31x"),
        ({"size": (40, 20)}, PictureError, "the result: 40x20"),
        ({"size": "wide"}, RecipeError, "size 'wide'"),
        ({"init": "noise"}, InputError, "init 'noise': expected one of random, content, style"),
        ({"init": "a" * 5000}, InputError, "init 'aaa.*': expected one of random, content, style"),
        ({"init": np.zeros((32, 32, 9))}, PictureError, r"init: array float64\[32, 32, 9\]"),
        ({"init": np.zeros((3, 3, 3))}, PictureError, "init: 3x3"),
        ({"evaluations": "5"}, InputError, "evaluations is '5'; expected a whole number"),
        ({"evaluations": 2.5}, InputError, "evaluations is 2.5; expected a whole number"),
        ({"size": 40.5}, InputError, r"size is 40.5; expected the long side in pixels, \(width, height\), or text"),
        ({"size": (40, 40, 40)}, InputError, r"size is \(40, 40, 40\); expected"),
        ({"style_blend": 1.0}, InputError, "style_blend is 1.0; expected a list of weights"),
        ({"callback": 3}, InputError, "callback is 3; expected a function that takes a step"),
        ({"cuda": {"tf32": False}}, InputError, "cuda is .*; expected impasto.runtime.engine.cuda.CudaOptions"),
    ],
)
def test_bad_wishes_are_refused(model: Path, options: dict[str, Any], error: type[ImpastoError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        run(model, **options)


def test_weights_beyond_float32_end_in_an_error_not_a_picture(model: Path) -> None:
    with pytest.raises(ImpastoError, match="weight"):
        run(model, content_weight=1e300)


# --- what pictures are taken for ------------------------------------------------------------------------------


def quick(small_model: Path, content: Any, styles: Any, **options: Any) -> Result:
    placed: dict[str, Any] = {"device": "cpu", "lowering": "direct", "threads": 1, "evaluations": 2, "size": (48, 40)}
    return stylize(content, styles, model=small_model, recipe="small", **{**placed, **options})


def levels(seed: int = 0) -> NDArray[np.uint8]:
    return picture(seed).astype(np.uint8)


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """Return a photograph and a painting as files."""
    for seed, name in enumerate(("photo.png", "painting.png")):
        Image.fromarray(levels(seed)).save(tmp_path / name)
    return tmp_path / "photo.png", tmp_path / "painting.png"


def test_a_path_a_string_an_image_and_an_array_are_the_same_picture(
    small_model: Path, paths: tuple[Path, Path]
) -> None:
    photo, painting = paths
    expected = quick(small_model, levels(0), [levels(1)])
    with Image.open(photo) as opened:
        for content, styles in (
            (photo, painting),
            (str(photo), [str(painting)]),
            (opened, (Image.fromarray(levels(1)),)),
            (levels(0).astype(np.float64), levels(1).astype(np.uint16) * 257),
            (levels(0), levels(1)[None]),
        ):
            found = quick(small_model, content, styles)
            np.testing.assert_array_equal(found.image, expected.image)
            assert found.loss == expected.loss
            objective = Objective.open(small_model, "small", content=content, styles=styles, device="cpu")
            assert objective(content)[0] == objective(levels(0))[0]
    start = quick(small_model, photo, painting, init=painting, evaluations=1)
    np.testing.assert_array_equal(start.image, levels(1))


def test_grey_and_transparent_arrays_are_taken_for_what_they_are(small_model: Path) -> None:
    grey = levels(0)[..., 0]
    expected = quick(small_model, np.stack([grey] * 3, axis=-1), levels(1))
    for content in (grey, grey[..., None], Image.fromarray(grey)):
        np.testing.assert_array_equal(quick(small_model, content, levels(1)).image, expected.image)
    opacity = np.full((HEIGHT, WIDTH), 128, np.uint8)
    clear = quick(small_model, np.dstack([levels(0), opacity]), np.dstack([levels(1), opacity]))
    assert clear.photograph.alpha is not None
    np.testing.assert_array_equal(clear.photograph.alpha, opacity)
    over_white = (levels(1).astype(float) * 128 + 255.0 * 127) / 255
    opaque = quick(small_model, levels(0), over_white)
    assert clear.loss == pytest.approx(opaque.loss, rel=1e-2)


def test_the_objective_is_that_of_the_transfer_where_pictures_are_transparent(small_model: Path) -> None:
    clear = np.dstack([levels(0), np.full((HEIGHT, WIDTH), 128, np.uint8)])
    objective = Objective.open(small_model, "small", content=clear, styles=clear, device="cpu", lowering="direct")
    first = quick(small_model, clear, clear, evaluations=1)
    assert objective(clear)[0] == pytest.approx(first.loss, rel=1e-6)


@pytest.mark.parametrize("role", ["content", "styles", "init", "content_mask"])
def test_levels_of_0_to_1_are_refused_wherever_a_picture_is_given(small_model: Path, role: str) -> None:
    given: dict[str, Any] = {"content": levels(0), "styles": levels(1), role: picture(0) / 255}
    if role == "content_mask":
        given["style_masks"] = levels(1)
    with pytest.raises(PictureError, match=r"are from .* to 1; expected 0..255: multiply it by 255"):
        quick(small_model, given.pop("content"), given.pop("styles"), **given)


def test_the_objective_warns_of_levels_of_0_to_1_and_takes_what_an_optimiser_makes(small_model: Path) -> None:
    objective = Objective.open(small_model, "small", content=levels(0), styles=levels(1), device="cpu")
    with pytest.warns(RuntimeWarning, match="image: its levels are of 0..1, where 255 is white"):
        objective(picture(0) / 255)
    assert objective(2 * picture(0) - 300)[1].shape == (HEIGHT, WIDTH, 3)
    assert objective(0 * picture(0))[1].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(PictureError, match="channels come first"):
        objective(picture(0).transpose(2, 0, 1))


def test_masks_are_paths_colours_labels_or_truth_values(small_model: Path, tmp_path: Path) -> None:
    halves = np.arange(WIDTH) < WIDTH // 2
    truth = np.tile(halves, (HEIGHT, 1))
    Image.fromarray(truth).save(tmp_path / "mask.png")
    masks = (truth, truth.astype(np.uint8) * 255, tmp_path / "mask.png", str(tmp_path / "mask.png"))
    losses = {quick(small_model, levels(0), levels(1), content_mask=mask, style_masks=mask).loss for mask in masks}
    assert len(losses) == 1
    labels = truth.astype(np.int64) + 1
    assert quick(small_model, levels(0), levels(1), content_mask=labels, style_masks=[labels]).loss in losses
    whole = quick(small_model, levels(0), levels(1), content_mask="#000000", style_masks="#000000")
    assert whole.loss not in losses
    with pytest.raises(PictureError, match="picture red: no such file; check the path, or give a colour"):
        quick(small_model, levels(0), levels(1), content_mask="red", style_masks="#000000")


@pytest.mark.parametrize(
    ("content", "styles", "reason"),
    [
        ([levels(0)], levels(1), "content: is of type list; expected a path, .*; give one picture"),
        (b"PNG", levels(1), "content: is of type bytes; .*PIL.Image.open"),
        (io.BytesIO(), levels(1), "content: is of type BytesIO; .*; open a file object with PIL.Image.open"),
        (None, levels(1), "content: is of type NoneType"),
        (levels(0), None, "styles: is of type NoneType; expected a picture, or a list of them"),
        (levels(0), [levels(1), 3], "style 2: is of type int"),
        (levels(0), levels(1).transpose(2, 0, 1), "style 1: .*channels come first"),
        ("nowhere.jpg", levels(1), "picture nowhere.jpg: no such file"),
        (levels(0), "nowhere.jpg", "picture nowhere.jpg: no such file"),
        ("ftp://localhost/photo.jpg", levels(1), "only http: and https: are fetched"),
    ],
)
def test_what_is_no_picture_is_refused(small_model: Path, content: Any, styles: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}|{reason}"):
        quick(small_model, content, styles)


# --- results --------------------------------------------------------------------------------------------------


def test_a_result_is_one_line_and_can_be_pickled(small_model: Path) -> None:
    result = quick(small_model, levels(0), levels(1), callback=lambda step: None)
    expected = (
        f"<Result 48x40, {figures.loss(result.loss, result.share)} after 2 evaluations: all 2 evaluations were made>"
    )
    assert repr(result) == str(result) == expected
    again = pickle.loads(pickle.dumps(result))
    assert (again.loss, again.plan, again.record) == (result.loss, result.plan, result.record)
    np.testing.assert_array_equal(again.image, result.image)


def test_a_result_pickles_at_the_size_of_its_picture_whatever_the_photograph(small_model: Path) -> None:
    """The photograph is twenty times as large, and neither it nor who has watched goes along."""
    large = np.random.default_rng(0).integers(0, 256, (700, 840, 3), np.uint8)
    result = quick(small_model, large, large, size=192, evaluations=6, callback=lambda step: step.picture())
    width, height = result.image.size
    assert len(pickle.dumps(result)) < 2 * 3 * width * height


def test_a_step_is_plain_data_once_its_callback_has_returned(small_model: Path) -> None:
    seen: list[Step] = []
    result = quick(small_model, levels(0), levels(1), callback=seen.append)
    assert tuple(seen) == result.history
    assert len(pickle.dumps(seen)) < 2000
    for step in (seen[0], result.history[-1]):
        with pytest.raises(InputError, match="has no picture; ask for it while its callback runs"):
            step.picture()


def test_a_transfer_that_is_run_again_begins_again(small_model: Path) -> None:
    transfer = prepare(levels(0), levels(1), model=small_model, recipe="small", size=40, device="cpu", evaluations=3)
    first, second = transfer.run(), transfer.run()
    assert [step.loss for step in first.history] == [step.loss for step in second.history]
    assert second.optimizer_seconds < 2 * first.optimizer_seconds + 1
    np.testing.assert_array_equal(first.image, second.image)


def test_a_recipe_that_is_no_name_is_refused(small_model: Path) -> None:
    for recipe in (None, 3):
        with pytest.raises(InputError, match=r"recipe is .*; expected the name of a recipe"):
            prepare(levels(0), levels(1), model=small_model, recipe=recipe)


def test_functions_have_at_most_eight_parameters_of_their_own() -> None:
    for function in (stylize, prepare, Objective.open):
        code = inspect.unwrap(getattr(function, "__func__", function)).__code__
        assert code.co_argcount + code.co_kwonlyargcount <= 8


def test_a_saved_result_replaces_nothing_unasked_and_no_input_ever(small_model: Path, paths: tuple[Path, Path]) -> None:
    photo, painting = paths
    before = photo.read_bytes()
    result = quick(small_model, photo, painting)
    place = photo.with_name("out.png")
    result.save(place)
    with pytest.raises(OutputError, match="exists already"):
        result.save(place)
    result.save(str(place), force=True)
    with pytest.raises(OutputError, match="is one of the pictures to be read"):
        result.save(photo, force=True)
    with pytest.raises(OutputError, match=r"unknown format '.gif'"):
        result.save(photo.with_name("out.gif"))
    assert photo.read_bytes() == before
    assert sorted(path.name for path in photo.parent.iterdir()) == ["out.png", "painting.png", "photo.png"]


def test_a_saved_result_says_how_it_was_made_and_from_which_files(small_model: Path, paths: tuple[Path, Path]) -> None:
    photo, painting = paths
    with Image.open(painting) as opened:
        result = quick(small_model, photo, opened)
    names = [("photo.png", "painting.png"), (str(photo), str(painting))]
    for name, places, expected in (("a.png", False, names[0]), ("b.jpg", True, names[1])):
        result.save(photo.with_name(name), record_places=places)
        record = Record.read(photo.with_name(name))
        assert tuple(given.place for given in record.origin.inputs) == expected
        assert record.outcome == result.record.outcome
        assert record.plan == result.plan
    result.save(photo.with_name("c.png"), record=False)
    assert KEYWORD not in read_text(photo.with_name("c.png"))
    from_memory = quick(small_model, levels(0), levels(1)).record
    assert [given.place for given in from_memory.origin.inputs] == [None, None]
    assert from_memory.outcome.sha256 == result.record.outcome.sha256
