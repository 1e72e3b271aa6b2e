"""The measures of the look on pictures whose measures are known, tests between candidates, and a whole small run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from benchmarks.look import measures
from benchmarks.look.__main__ import parse, run
from benchmarks.look.compare import sign_test, wins_and_losses
from benchmarks.look.measures import (
    Array,
    chroma,
    clipped,
    deep_kept,
    frame_steps,
    gradients_kept,
    grain,
    lab,
    measure,
    sliced_wasserstein,
)
from benchmarks.look.network import RECIPE, Activations, interior
from benchmarks.look.pairs import PAINTINGS, PHOTOGRAPHS, Pair, pairs
from benchmarks.look.sheets import write_sheets
from impasto.export.weights.weights import Weights
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.storage import codec, toml
from tests.conftest import SharedFolder, export_unchecked, of_few_layers

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="benchmarks run on Linux only")


def noise(height: int, width: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def smooth(height: int, width: int) -> Array:
    y, x = np.mgrid[:height, :width]
    return 128 + 60 * np.stack([np.sin(x / 40), np.cos(y / 30), np.sin((x + y) / 50)], axis=-1)


def colours(picture: Array) -> Mapping[str, Array]:
    """Return a picture's own pixels as the activations of each layer."""
    return {layer: picture.reshape(-1, picture.shape[2]).T for layer in (*measures.STYLE_LAYERS, measures.DEEP_LAYER)}


def test_the_distance_of_a_moved_distribution_is_the_move_as_directions_see_it() -> None:
    points = np.random.default_rng(1).standard_normal((3, 5000))
    move = np.array([[3.0], [4.0], [0.0]])
    assert sliced_wasserstein(points, points) == 0
    assert sliced_wasserstein(points + move, points) == pytest.approx(5 / math.sqrt(3), rel=0.2)


def test_the_distance_does_not_depend_on_the_number_of_points() -> None:
    points = np.random.default_rng(1).standard_normal((3, 5000))
    assert sliced_wasserstein(np.repeat(points, 3, axis=1), points) < 1e-2


def test_the_painting_itself_has_nothing_left_and_the_photograph_everything() -> None:
    photograph, painting = smooth(48, 64), noise(48, 64)
    assert measure(painting, photograph, painting, colours)["effect"] == 0
    as_it_was = measure(photograph, photograph, painting, colours)
    assert as_it_was["effect"] == as_it_was["colours"] == as_it_was["forms"] == pytest.approx(100)
    assert as_it_was["gradients"] == as_it_was["deep"] == pytest.approx(100)


def test_coherence_falls_as_another_picture_is_mixed_in() -> None:
    photograph, other = smooth(64, 64), smooth(64, 64)[::-1, ::-1] + noise(64, 64) / 4
    kept = [gradients_kept(photograph + share * (other - photograph), photograph) for share in (0, 0.5, 1)]
    deep = [deep_kept(photograph.reshape(-1, 3).T + share * 50 * noise(64, 64).reshape(-1, 3).T,
                      photograph.reshape(-1, 3).T) for share in (0, 0.1, 1)]  # fmt: skip
    assert kept[0] == pytest.approx(1)
    assert deep[0] == pytest.approx(1)
    assert kept[0] > kept[1] > kept[2]
    assert deep[0] > deep[1] > deep[2]


def test_grain_is_the_checkerboard_and_not_a_stroke() -> None:
    photograph = smooth(96, 96)
    checkerboard = np.indices((96, 96)).sum(axis=0)[..., None] % 2 * 2.0 - 1
    stroke = photograph.copy()
    stroke[40:44] = 0
    assert grain(photograph + 5 * checkerboard, photograph) == pytest.approx(5 * math.sqrt(3), rel=0.1)
    assert grain(stroke, photograph) < 0.2


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_painted_margin_is_a_step_at_its_side_alone(side: str) -> None:
    picture = noise(200, 260)
    framed = {"top": np.s_[:4], "bottom": np.s_[-4:], "left": np.s_[:, :4], "right": np.s_[:, -4:]}
    assert max(frame_steps(picture).values()) < 1.2
    picture[framed[side]] = 20
    steps = frame_steps(picture)
    assert steps.pop(side) > 1.5
    assert max(steps.values()) < 1.3


def test_lab_of_white_red_and_a_grey() -> None:
    levels = np.array([[[255, 255, 255], [255, 0, 0], [119, 119, 119]]], float)
    expected = [[100, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]]
    assert lab(levels)[0] == pytest.approx(np.array(expected), abs=0.02)
    assert chroma(levels[:, 1:2]) == pytest.approx(math.hypot(80.09, 67.20), abs=0.02)


def test_clipped_levels_are_counted_at_both_ends() -> None:
    assert clipped(np.array([[[0, 255, 128], [1, 254, 60]]], float)) == pytest.approx(2 / 6)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (9, 1), (3, 20), (48, 0)])
def test_the_sign_test_is_the_binomial_one(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_a_win_is_in_the_direction_of_the_measure() -> None:
    ours, theirs = (
        [{"grain": 1.0, "chroma": 1.0}] * 3,
        [{"grain": 2.0, "chroma": 2.0}] * 2 + [{"grain": 1.0, "chroma": 0}],
    )
    assert wins_and_losses(ours, theirs, "grain") == (2, 0)
    assert wins_and_losses(ours, theirs, "chroma") == (1, 2)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("benchmarks.look.pairs.DRAWN_SIZE", (64, 48))
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate((*PHOTOGRAPHS, *PAINTINGS)):
        Image.fromarray(noise(48, 64, number).astype(np.uint8)).save(folder / f"{name}.jpg")
    return folder


FEW = replace(of_few_layers(load_recipe("gatys")), name="few", description="of few layers")


@pytest.fixture(scope="module")
def look_model(shared_folder: SharedFolder, random_weights: Weights) -> Path:
    recipes = [load_recipe(RECIPE), FEW]
    return shared_folder("look", lambda folder: export_unchecked(folder, recipes, random_weights))


def test_each_painting_meets_all_photographs_or_another_one(images: Path, tmp_path: Path) -> None:
    whole, few = pairs(images, tmp_path / "drawn"), pairs(images, tmp_path / "drawn", 1)
    assert len({pair.name for pair in whole}) == len(whole) == 12 * 4
    assert [pair.painting for pair in few] == list(dict.fromkeys(pair.painting for pair in whole))
    assert {pair.photograph.stem for pair in few} == set(PHOTOGRAPHS)


def test_a_folder_that_lacks_a_picture_is_named(images: Path, tmp_path: Path) -> None:
    (images / "lion.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks lion\.jpg; name the folder with --images"):
        pairs(images, tmp_path)


def test_blind_sheets_hide_who_painted_and_the_key_tells(images: Path, tmp_path: Path) -> None:
    compared = [Pair(images / "lion.jpg", images / f"{name}.jpg") for name in PAINTINGS[:3]]
    for name, level in (("dark", 10), ("light", 240)):
        (tmp_path / name).mkdir()
        for pair in compared:
            Image.new("RGB", (64, 48), (level,) * 3).save(tmp_path / name / f"{pair.name}.png")
    picture = lambda name, pair: tmp_path / name / f"{pair.name}.png"  # noqa: E731
    sheets = write_sheets(compared, ["dark", "light"], picture, tmp_path / "sheets", 1, cell=64)
    key = json.loads((tmp_path / "sheets" / "key.json").read_text())
    assert [sheet.name for sheet in sheets] == ["blind-1.png", "blind-2.png"]
    assert [sorted(order) for order in key.values()] == [["dark", "light"]] * 3
    assert len({tuple(order) for order in key.values()}) == 2


def test_a_whole_run_paints_once_measures_and_compares(
    images: Path, look_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "candidates.toml"
    named.write_text(
        '[short]\nrecipe = "few.toml"\noptions = ["-e", 1]\n[long]\nrecipe = "few.toml"\noptions = ["-e", 4]\n'
    )
    (tmp_path / "few.toml").write_text(toml.written(codec.to_data(FEW)))
    given = ["short", "long", "--file", str(named), "--images", str(images), "--model", str(look_model), "--size", "64"]
    given += ["--only", "lion-udnie", "lion-tahiti", "--work", str(tmp_path / "work"), "--processes", "1"]
    options = parse([*given, "--output", str(tmp_path / "look.json")])
    run(options)
    written = json.loads((tmp_path / "look.json").read_text())
    assert sorted(written["pairs"]) == ["lion-tahiti", "lion-udnie"]
    assert {name: len(values) for name, values in written["measured"].items()} == {"short": 2, "long": 2}
    assert all(math.isfinite(value) for rows in written["measured"].values() for row in rows for value in row.values())
    first = capsys.readouterr()
    assert "better : worse than short" in first.out
    assert "4 of 4 painted" in first.err
    run(options)
    again = capsys.readouterr()
    assert again.out == first.out
    assert "painted" not in again.err


def test_activations_are_those_of_the_layers_that_measures_name(look_model: Path) -> None:
    activations = Activations(look_model)(noise(48, 64))
    assert {*measures.STYLE_LAYERS, measures.DEEP_LAYER} == {*activations}
    assert activations["block2_conv2"].shape == (128, (24 - 2 * 6) * (32 - 2 * 8))


def test_activations_near_the_border_are_left_out() -> None:
    picture = np.zeros((3, 64, 48))
    picture[:, 16:-16, 16:-16] = 1
    assert interior(picture, 0).shape == (3, 32 * 24)
    picture[:, 16:-16, 12:-12] = 1  # a quarter of a side, and no more
    assert interior(picture, 0).all()
    assert interior(picture[:, :5, :3], 4).shape == (3, 3 * 3)


def test_a_step_that_the_photograph_has_is_no_frame() -> None:
    photograph = noise(200, 260)
    photograph[:4] = 20
    found = measure(photograph, photograph, noise(200, 260, 3), colours)
    assert found["frame"] > 1.5
    assert found["beyond"] == pytest.approx(1, abs=0.2)
