"""The weights that are read back from a model folder, and those that are refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from impasto.export.weights.sources import load_weights
from impasto.export.weights.weights import LayerWeights, Palette, Weights
from impasto.export.weights_file import read_weights, write_weights
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import WEIGHTS_FILE, ModelFolder
from tests.conftest import SMALL, export_unchecked


@pytest.fixture
def copy(small_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the small model folder; its files may be replaced, not written into."""
    return Path(shutil.copytree(small_model, tmp_path / "copy", copy_function=os.link))


def quantised(weights: Weights, layers: int) -> Weights:
    """Return weights whose first layers have 8 bits."""
    rng = np.random.default_rng(0)
    found = dict(weights.layers)
    for name in list(found)[:layers]:
        kernel = found[name].dense()
        codes = rng.integers(0, 256, kernel.shape, np.uint8)
        table = rng.normal(0, kernel.std(), 256).astype(np.float32)
        found[name] = LayerWeights(Palette(codes, table), found[name].bias)
    return replace(weights, layers=found)


def forms(weights: Weights) -> list[bool]:
    return [isinstance(layer.kernel, Palette) for layer in weights.layers.values()]


@pytest.mark.parametrize(("network", "layers"), [("vgg19", 0), ("vgg19", 16), ("vgg16", 3), ("vgg16", 13)])
def test_weights_come_back_as_they_were_written_even_those_that_no_graph_reads(
    network: str, layers: int, tmp_path: Path
) -> None:
    weights = quantised(load_weights("random", network), layers)
    export_unchecked(tmp_path / "model", SMALL[:1], weights)
    found = read_weights(ModelFolder(tmp_path / "model"))
    assert (found.network, found.provenance, found.preprocessing) == (
        network,
        weights.provenance,
        weights.preprocessing,
    )
    assert found.fingerprint == weights.fingerprint
    assert forms(found) == forms(weights)
    assert write_weights(found, tmp_path / "again").sha256 == write_weights(weights, tmp_path / "first").sha256


def shorten(data: bytearray) -> bytearray:
    return data[:-4096]


def change(data: bytearray) -> bytearray:
    data[10] ^= 1
    return data


@pytest.mark.parametrize(("how", "reason"), [(shorten, "bytes, expected"), (change, "its sha256 is another one")])
def test_damaged_weights_are_refused(copy: Path, how: Callable[[bytearray], bytearray], reason: str) -> None:
    data = how(bytearray((copy / WEIGHTS_FILE).read_bytes()))
    (copy / WEIGHTS_FILE).unlink()
    (copy / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=f"{WEIGHTS_FILE}.*{reason}.*export it again as before"):
        read_weights(ModelFolder(copy))


def test_weights_laid_out_in_another_way_are_refused(tmp_path: Path) -> None:
    weights = quantised(load_weights("random", "vgg19"), 8)  # and graphs read the first three
    export_unchecked(tmp_path / "model", SMALL[:1], weights)
    with pytest.raises(ModelError, match="is not laid out as this version"):
        read_weights(ModelFolder(tmp_path / "model"))
