"""What is exported on first use, and what is left as it is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from impasto.defaults import EXPORTED_RECIPES
from impasto.export import build, ensure
from impasto.export.build import export_model
from impasto.export.provision import add_missing
from impasto.export.weights.weights import Weights
from impasto.runtime.errors import InputError, ModelError, OptionError, RecipeError
from impasto.runtime.model.folder import WEIGHTS_FILE, ModelFolder
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run import notebook
from tests.conftest import SMALL, export_unchecked


@pytest.fixture
def copy(small_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the small model folder; its files may be replaced, not written into."""
    return Path(shutil.copytree(small_model, tmp_path / "copy", copy_function=os.link))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the trial of gradients, nine tenths of the time."""
    monkeypatch.setattr(build, "_check_all", lambda *_: [])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("unchecked")
def test_a_missing_recipe_is_added_over_the_folders_own_weights_and_said(
    copy: Path, random_weights: Weights, tmp_path: Path
) -> None:
    before, said = contents(copy), list[str]()
    assert ensure(copy, "gatys", notify=said.append) == copy
    after = contents(copy)
    assert before.items() <= after.items()
    export_unchecked(tmp_path / "new", [load_recipe("gatys")], random_weights)
    assert {name: after[name] for name in after.keys() - before.keys()} | before == before | contents(tmp_path / "new")
    assert said[0] == f"model {copy} has no gatys yet: adding what is missing, once"
    assert said[-1].startswith(f"added gatys to {copy} in ")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("unchecked")
def test_what_is_there_is_left_alone_and_not_a_word_said(copy: Path) -> None:
    before, said = contents(copy), list[str]()
    assert ensure(copy, "small", notify=said.append) == copy
    assert (contents(copy), said) == (before, [])


@pytest.mark.usefixtures("unchecked")
def test_a_notebook_is_told_what_takes_time_and_nobody_else(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure(copy, "gatys")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(notebook, "is_running", lambda: True)
    ensure(copy, "seed")
    assert capsys.readouterr().out.startswith(f"model {copy} has no seed yet: adding what is missing, once\n")


def test_an_argument_that_there_is_not_is_answered_with_the_nearest(copy: Path) -> None:
    with pytest.raises(OptionError, match=r"^ensure: has no option 'recipes'; did you mean recipe\?$"):
        ensure(copy, recipes=["seed"])  # type: ignore[call-arg]


@pytest.mark.usefixtures("unchecked")
def test_from_nothing_a_folder_is_made_where_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMPASTO_MODEL", raising=False)
    assert ensure(weights="random") == Path("models/vgg19")
    assert ModelFolder.open("models/vgg19").recipes() == EXPORTED_RECIPES[:1]
    assert ensure(weights="random", recipe="seed") == Path("models/vgg19")
    assert ModelFolder.open("models/vgg19").recipes() == EXPORTED_RECIPES


@pytest.mark.usefixtures("unchecked")
def test_a_recipe_of_somebodys_own_is_not_made_up(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"has no recipe 'monet'.*impasto recipes tells .*own with: impasto export .*--recipe FILE.toml",
    ):
        ensure(copy, "monet")
    with pytest.raises(RecipeError, match="'monet'"):
        ensure(tmp_path / "new", "monet")
    assert not (tmp_path / "new").exists()


def test_without_onnx_the_error_names_the_command(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    before = contents(copy)
    add_missing(copy, ["gatys"], lambda line: pytest.fail(line))
    with pytest.raises(ModelError, match=r"has no recipe 'gatys'.*impasto export --output .* --recipe gatys"):
        ensure(copy, "gatys")
    for module in ("build", "weights_file"):
        monkeypatch.delitem(sys.modules, f"impasto.export.{module}", raising=False)
    monkeypatch.delattr("impasto.export.build", raising=False)
    with pytest.raises(InputError, match="onnx is not installed; to export, pip install onnx h5py safetensors"):
        ensure(tmp_path / "new")
    assert contents(copy) == before


@pytest.mark.usefixtures("unchecked")
def test_a_folder_that_cannot_be_added_to_says_so_and_names_another_way(copy: Path) -> None:
    (copy / "other.winograd.statistics.onnx").unlink()
    before = contents(copy)
    with pytest.raises(ModelError, match=r"has no gatys, and nothing can be added there \(.*holds other .*\); make"):
        ensure(copy, "gatys")
    assert contents(copy) == before


@pytest.mark.usefixtures("unchecked")
def test_a_recipe_of_which_something_is_left_is_not_exported_over_it(copy: Path) -> None:
    (copy / "gatys.direct.statistics.onnx").write_text("somebody's")
    before = contents(copy)
    with pytest.raises(ModelError, match="has no recipe 'gatys'"):
        ensure(copy, "gatys")
    assert contents(copy) == before


@pytest.mark.usefixtures("unchecked")
def test_over_damaged_weights_nothing_is_exported(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS_FILE).read_bytes())
    data[0] ^= 1
    (copy / WEIGHTS_FILE).unlink()
    (copy / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="another one"):
        ensure(copy, "gatys")
    assert ModelFolder(copy).recipes() == tuple(sorted(recipe.name for recipe in SMALL))


@pytest.mark.usefixtures("unchecked")
def test_of_two_programs_that_add_the_same_none_fails_and_one_copy_stays(
    copy: Path, random_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quicker(*arguments: object) -> list[object]:
        monkeypatch.setattr(build, "_check_all", lambda *_: [])
        export_model(copy, [load_recipe("gatys")], random_weights)
        return []

    monkeypatch.setattr(build, "_check_all", quicker)
    beside = {*copy.parent.iterdir()}
    ensure(copy, "gatys")
    assert "gatys" in ModelFolder(copy).recipes()
    assert {*copy.parent.iterdir()} == beside


@pytest.mark.usefixtures("unchecked")
def test_of_two_that_make_the_same_folder_the_slower_has_its_model_beside(
    random_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quicker(*arguments: object) -> list[object]:
        monkeypatch.setattr(build, "_check_all", lambda *_: [])
        export_model(tmp_path / "new", [load_recipe("impasto")], random_weights)
        return []

    monkeypatch.setattr(build, "_check_all", quicker)
    said: list[str] = []
    found = ensure(tmp_path / "new", weights="random", notify=said.append)
    assert found != tmp_path / "new"
    assert ModelFolder.open(found).recipes() == ("impasto",)
    assert any("another export meanwhile" in line for line in said)
