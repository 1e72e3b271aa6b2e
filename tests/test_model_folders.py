"""Model folders are found, and read, without the runtime as with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from impasto.model_folders import OBJECTIVE_FILE, default_model, recipes_in
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import PLAIN


def test_recipes_are_those_that_the_runtime_finds(model: Path) -> None:
    assert PLAIN.file("") == OBJECTIVE_FILE
    assert recipes_in(model) == ModelFolder.open(model).recipes() != ()
    assert recipes_in(model / "missing") == ()


def test_the_default_is_the_folder_of_the_variable_or_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("IMPASTO_MODEL", raising=False)
    assert default_model() is None
    here = Path("models/vgg19")
    here.mkdir(parents=True)
    assert default_model() is None
    (here / "seed.direct.objective.onnx").touch()
    assert default_model() == here
    monkeypatch.setenv("IMPASTO_MODEL", "elsewhere")
    assert default_model() == Path("elsewhere")


def test_looking_imports_no_runtime() -> None:
    code = "import sys; from impasto.model_folders import default_model; default_model(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "impasto.model_folders" in done.stdout.split()
    assert "impasto.runtime" not in done.stdout.split()
