"""The model of a driver on its workers: known by the hashes of its files, copied once, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clusters import Farm

from impasto.cli.cluster import models
from impasto.cli.cluster.models import Manifest, find, is_here, keep
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import ModelFolder

from .conftest import WISH, Batch, pixels


@pytest.fixture
def moved(small_model: Path, tmp_path: Path) -> Path:
    """A copy of the model in a place of its own."""
    return Path(shutil.copytree(small_model, tmp_path / "moved", copy_function=os.link))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def manifest_of(folder: Path, recipe: str = "small") -> Manifest:
    return Manifest.of(ModelFolder.open(folder), recipe)


def test_a_manifest_names_what_a_recipe_needs_and_changes_with_it(moved: Path) -> None:
    manifest = manifest_of(moved)
    names = [name for name, _ in manifest.sums]
    assert "weights.data" in names
    assert "small.direct.objective.onnx" in names
    assert not any(name.startswith("other.") for name in names)
    assert manifest_of(moved, "other").key != manifest.key
    graph = moved / "small.direct.objective.onnx"
    data = graph.read_bytes()
    graph.unlink()
    graph.write_bytes(data + b"\0")
    assert manifest_of(moved).key != manifest.key


def test_a_copy_is_whole_or_is_not_there(moved: Path, cache: Path) -> None:
    manifest = manifest_of(moved)
    files = dict(manifest.read())
    moved.rename(moved.with_name("away"))
    assert not is_here(manifest)
    with pytest.raises(ModelError, match="this worker has no copy of it"):
        find(manifest)
    damaged = files | {"small.direct.objective.onnx": b"damaged"}
    with pytest.raises(ModelError, match="was damaged on its way to this worker"):
        keep(manifest, damaged)
    assert [*cache.rglob("*.onnx")] == []
    keep(manifest, files)
    assert find(manifest).is_relative_to(cache)
    keep(manifest, files)  # as when two workers are as quick
    (find(manifest) / "small.direct.objective.onnx").write_bytes(b"damaged")
    assert not is_here(manifest)
    keep(manifest, files)
    assert is_here(manifest)
    assert len([*(cache / "impasto" / "models").iterdir()]) == 1


def test_a_copy_that_cannot_be_written_is_told_in_a_line(moved: Path, cache: Path) -> None:
    manifest = manifest_of(moved)
    files = dict(manifest.read())
    moved.rename(moved.with_name("away"))
    cache.write_bytes(b"a file")
    with pytest.raises(ModelError, match="no copy can be written to"):
        keep(manifest, files)


def test_a_name_from_a_driver_does_not_leave_the_folder(moved: Path, cache: Path) -> None:
    stranger = Manifest("/nowhere", (("../../evil", "0"),))
    with pytest.raises(ModelError):
        keep(stranger, {"../../evil": b"evil"})
    assert [*cache.rglob("evil")] == []


def test_a_folder_of_the_workers_own_is_used_if_its_files_are_the_same(
    small_model: Path, moved: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_of(moved)
    moved.rename(moved.with_name("away"))
    default: Callable[[], Path] = lambda: small_model  # noqa: E731
    monkeypatch.setattr(models, "default_model", default)
    assert find(manifest) == small_model
    (moved.with_name("away") / "weights.data").unlink()
    (moved.with_name("away") / "weights.data").write_bytes(b"others")
    monkeypatch.setattr(models, "default_model", lambda: moved.with_name("away"))
    assert not is_here(manifest)


def test_workers_without_the_model_get_a_copy_once_and_a_damaged_one_is_replaced(
    cluster: Farm, batch: Batch, alone: dict[str, bytes], moved: Path, tmp_path: Path
) -> None:
    caches, own = tmp_path / "far", Path(shutil.copytree(moved, tmp_path / "own", copy_function=os.link))
    (own / "small.direct.objective.onnx").unlink()
    shutil.copy(moved / "other.direct.objective.onnx", own / "small.direct.objective.onnx")
    added = cluster.add(2, XDG_CACHE_HOME=str(caches), TESTS_FAR="1", IMPASTO_MODEL=str(own))
    wish = (*WISH, "--model", moved, "--scheduler", cluster.address)
    done = batch(*wish)
    assert done.exit_code == 0, done.output
    assert done.output.count(": gets a copy of the model") == 1
    assert pixels() == alone
    (copy,) = (caches / "impasto" / "models").iterdir()
    sums = {path.name for path in copy.iterdir()}
    assert "small.direct.objective.onnx" in sums
    assert "other.direct.objective.onnx" not in sums
    (copy / "weights.data").unlink()
    (copy / "weights.data").write_bytes(b"damaged")
    shutil.rmtree("out")
    again = batch(*wish)
    assert again.exit_code == 0, again.output
    assert again.output.count(": gets a copy of the model") == 1
    assert pixels() == alone
    cluster.remove(added)
