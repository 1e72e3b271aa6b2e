"""What ``impasto export`` writes and says, and what other commands export on first use."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from processes import assert_refused, contents, impasto_, lay_out

from impasto.cli.commands.export import _all_recipes
from impasto.defaults import EXPORTED_RECIPES
from impasto.export.weights.weights import Weights
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.plan.recipe import builtin_recipes, load_recipe
from tests.conftest import export_unchecked

QUICK = ("--size", "40", "--evaluations", "2", "--device", "cpu")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photograph and a painting, which is the working folder."""
    return lay_out(tmp_path / "desk", monkeypatch)


@pytest.fixture
def copy(small_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_model, tmp_path / "copy", copy_function=os.link))


@pytest.mark.slow  # half a minute, and `make demo` exports so, too
def test_by_default_two_recipes_are_written_where_a_transfer_finds_them_and_each_has_a_line(desk: Path) -> None:
    (desk / "models").mkdir()
    done = impasto_("export", "--weights", "random")
    assert (done.returncode, done.stdout) == (0, "models/vgg19\n"), done.stderr
    lines = done.stderr.splitlines()
    assert [re.sub(r"[\d.]+ s$", "N s", line) for line in lines[:-2]] == [
        f"{name}: 44 graphs, tried out in N s" for name in EXPORTED_RECIPES
    ]
    assert lines[-2:][0] == "warning: random weights: good for tests, useless for pictures"
    assert lines[-1].startswith("wrote impasto, seed to models/vgg19 (")
    assert ModelFolder.open("models/vgg19").recipes() == EXPORTED_RECIPES
    painted = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", *QUICK)
    assert painted.returncode == 0, painted.stderr
    assert "exporting" not in painted.stderr + impasto_("info").stderr


def test_with_verbose_every_check_is_told(desk: Path) -> None:
    (desk / "mine.toml").write_text(
        '[content]\nweight = 1\nconvention = "mean"\nlayers = { block1_conv1 = 1 }\n'
        '[style]\nweight = 1\nconvention = "mean"\nlayers = { block1_conv1 = 1 }\n'
    )
    done = impasto_("export", "--weights", "random", "-o", "new", "-r", "mine.toml", "--verbose")
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^mine \(([^)]*)\): slope by finite difference", done.stderr, re.M)
    lowerings = ("direct", "winograd", "winograd, small pictures")
    whole = [f"{lowering}{guided}" for lowering in lowerings for guided in ("", ", by region")]
    tiles = [f"{lowering}{guided}, in tiles" for guided in ("", ", by region") for lowering in lowerings[:2]]
    assert told == whole + tiles


def test_all_adds_what_is_missing_and_replaces_what_differs_only_with_force(
    tmp_path: Path, random_weights: Weights
) -> None:
    every = {*builtin_recipes()}
    folder = tmp_path / "model"
    assert {one.name for one in _all_recipes(folder, force=False)} == every
    older = replace(load_recipe("seed"), evaluations=7)
    export_unchecked(folder, [load_recipe("gatys"), older], random_weights)
    assert {one.name for one in _all_recipes(folder, force=False)} == every - {"gatys"}  # seed is to be refused
    assert {one.name for one in _all_recipes(folder, force=True)} == every


def test_all_and_single_recipes_exclude_each_other() -> None:
    assert_refused(impasto_("export", "--all", "--recipe", "seed"), "--all: has every recipe that comes along")


@pytest.mark.slow  # half a minute; tests/export/test_provision.py has the same over few layers
def test_a_recipe_that_comes_along_is_exported_on_first_use_and_never_again(desk: Path, copy: Path) -> None:
    inputs = ("photo.png", "painting.jpg", "--model", copy, "--recipe", "gatys", *QUICK)
    first = impasto_("stylize", *inputs, "-o", "out.png")
    assert first.returncode == 0, first.stderr
    assert f"model {copy} has no gatys yet: adding what is missing, once\n" in first.stderr
    assert re.search(rf"^added gatys to {copy} in [\d.]+ s$", first.stderr, re.M)
    before = contents(copy)
    second = impasto_("rerun", "out.png", "-o", "again.png", "--model", copy)
    assert second.returncode == 0, second.stderr
    assert "adding" not in second.stderr
    assert "bit for bit" in second.stderr
    assert contents(copy) == before


def test_another_recipe_that_is_missing_is_an_error_that_names_the_command(desk: Path, copy: Path) -> None:
    before = contents(copy)
    refused = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", copy, "-r", "monet")
    assert_refused(refused, f"add one of your own with: impasto export --output {copy} --recipe FILE.toml")
    assert contents(copy) == before


def test_bad_pictures_are_refused_before_anything_is_exported(desk: Path, copy: Path) -> None:
    before = contents(copy)
    done = impasto_("stylize", "photo.png", "missing.jpg", "-o", "out.png", "--model", copy, "-r", "gatys")
    assert_refused(done, "missing.jpg")
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--size", "nonsense"), "--size 'nonsense'"),
        (("--style-weight", "-1"), "--style-weight is -1"),
        (("--style-blend", "1,2"), "--style-blend has 2 weights"),
        (("--device", "tpu"), "--device 'tpu'"),
        (("--conv-search", "luck"), "--conv-search 'luck'"),
        (("--content-mask", "#ff0000"), "--style-mask: 0 given"),
    ],
)
def test_bad_options_are_refused_before_anything_is_exported(
    desk: Path, copy: Path, options: tuple[str, str], reason: str
) -> None:
    before = contents(copy)
    inputs = ("photo.png", "painting.jpg", "-o", "out.png", "--model", copy, "-r", "gatys")
    assert_refused(impasto_("stylize", *inputs, *options), reason)
    assert contents(copy) == before


def test_a_bad_size_of_a_sheet_is_refused_before_anything_is_exported(desk: Path, copy: Path) -> None:
    before = contents(copy)
    inputs = ("photo.png", "--style", "painting.jpg", "-o", "sheet.png", "--model", copy, "-r", "gatys")
    assert_refused(impasto_("sheet", *inputs, "--size", "nonsense"), "--size 'nonsense'")
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("gatsy", "did you mean gatys? crowson, galerne, gatys, impasto, "),
        ("zzz", "; crowson, galerne, gatys, impasto, "),
        ("othr", "did you mean other? "),
    ],
)
def test_a_recipe_that_there_is_not_advises_what_works(desk: Path, copy: Path, recipe: str, told: str) -> None:
    done = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", copy, "-r", recipe)
    assert_refused(done, f"model {copy} has no recipe '{recipe}'; it has other, small; ")
    assert told in done.stderr
    assert "titu come along, and impasto recipes tells of them" in done.stderr


@pytest.mark.parametrize("command", [("info",), ("stylize", "photo.png", "painting.jpg", "-o", "out.png")])
def test_without_a_model_the_error_names_the_command(desk: Path, command: tuple[str, ...]) -> None:
    home = {"HOME": str(desk / "home"), "XDG_DATA_HOME": str(desk / "data")}
    assert_refused(impasto_(*command, **home), "make one with: impasto export")
