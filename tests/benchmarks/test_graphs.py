"""Two model folders are compared: all that differs is told, but for metadata."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from benchmarks.files import ROOT
from benchmarks.graphs import differences
from impasto.runtime.model.folder import WEIGHTS_FILE
from impasto.runtime.model.graphs import PLAIN

GRAPH = PLAIN.file("small")


@pytest.fixture
def after(small_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the small model folder, whose files may be replaced, not written into."""
    return Path(shutil.copytree(small_model, tmp_path / "after", copy_function=os.link))


def edited(path: Path) -> onnx.ModelProto:
    """Take a graph out of a folder."""
    model = onnx.load(path, load_external_data=False)
    path.unlink()
    return model


def test_metadata_may_differ(small_model: Path, after: Path) -> None:
    model = edited(after / GRAPH)
    onnx.helper.set_model_props(model, {"impasto": "other"})
    onnx.save(model, after / GRAPH)
    assert differences(small_model, after) == []


def test_whatever_else_differs_is_told_of(small_model: Path, after: Path) -> None:
    (after / WEIGHTS_FILE).unlink()
    (after / WEIGHTS_FILE).write_bytes(bytes(9))
    model = edited(after / GRAPH)
    model.graph.node[0].op_type = "Abs"
    model.graph.name = "other"
    onnx.save(model, after / GRAPH)
    model = edited(after / PLAIN.targets.file("small"))
    model.ir_version += 1
    onnx.save(model, after / PLAIN.targets.file("small"))
    (after / "NOTICE.txt").rename(after / "README.txt")
    assert differences(small_model, after) == [
        f"NOTICE.txt: only in {small_model}",
        f"README.txt: only in {after}",
        f"{GRAPH}: differs in node, name",
        f"{PLAIN.targets.file('small')}: differs in what surrounds its graph",
        f"{WEIGHTS_FILE}: has other bytes",
    ]


def test_any_difference_is_a_failure_of_the_command(small_model: Path, after: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.graphs", str(small_model), str(after)]
    same = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (same.returncode, same.stdout) == (0, f"{small_model} and {after} hold the same graphs\n")
    (after / GRAPH).unlink()
    other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (other.returncode, other.stdout) == (1, f"{GRAPH}: only in {small_model}\n")
