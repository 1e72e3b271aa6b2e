"""Which model folder is used, and which is written, where none is named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from impasto.runtime import ModelError, stylize
from impasto.runtime.model.default import default_model, export_command, find_model, folder_to_write

HERE = Path("models/vgg19")


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder; return where a model lies in the user's data folder, which is empty as well."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("IMPASTO_MODEL", raising=False)
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / "data" / name)
    return tmp_path / "data" / "impasto" / HERE


def model(folder: Path) -> Path:
    """Make what is a model folder by its looks."""
    folder.mkdir(parents=True)
    (folder / "seed.direct.objective.onnx").touch()
    return folder


def test_the_working_folders_model_is_used_before_the_users(users: Path) -> None:
    model(users)
    assert find_model() == users
    model(HERE)
    assert find_model() == HERE


@pytest.mark.usefixtures("users")
def test_the_variable_goes_before_both_and_a_name_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    model(HERE)
    monkeypatch.setenv("IMPASTO_MODEL", "elsewhere")
    assert find_model() == folder_to_write() == Path("elsewhere")
    assert find_model("named") == Path("named")
    assert folder_to_write("vgg16") != Path("elsewhere")  # it names a model of the default network
    monkeypatch.setenv("IMPASTO_MODEL", "")
    assert find_model() == HERE


def test_a_missing_models_error_names_both_places_and_the_command(users: Path) -> None:
    text = re.escape(f"model: there is none yet, in {HERE} or {users}; make one with: impasto export")
    with pytest.raises(ModelError, match=f"^{text}$"):
        find_model()
    with pytest.raises(ModelError, match=f"^{text}$"):
        stylize("photo", ["painting"])  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize("there", [False, True])
def test_an_export_is_found_wherever_it_is_written(users: Path, there: bool) -> None:
    if there:
        HERE.parent.mkdir()
    written = folder_to_write()
    assert written == (HERE if there else users)
    assert export_command(written) == "impasto export"
    assert export_command(Path("other")) == "impasto export --output other"
    model(written)
    assert find_model() == written == folder_to_write()


def test_recipes_are_added_to_the_model_that_is_used(users: Path) -> None:
    model(users)
    HERE.parent.mkdir()
    assert folder_to_write() == users


def test_something_else_of_that_name_is_passed_over(users: Path) -> None:
    HERE.mkdir(parents=True)
    (HERE / "vgg19.onnx").touch()
    assert default_model() is None
    assert folder_to_write() == users
    (HERE / "vgg19.onnx").unlink()
    assert folder_to_write() == HERE


@pytest.mark.usefixtures("users")
def test_without_platformdirs_there_is_only_the_working_folder_to_look_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(
        ModelError, match=re.escape(f"model: there is none yet, in {HERE}; make one with: impasto export")
    ):
        find_model()
    assert folder_to_write() == HERE
    model(HERE)
    assert find_model() == HERE
