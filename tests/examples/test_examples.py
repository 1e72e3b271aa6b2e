"""The examples paint, and what Node makes of the graphs is what the runtime makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime import Objective

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"

Levels = NDArray[np.uint8]


def missing() -> str:
    """Say what Node needs before it can run the examples; nothing, where it can."""
    if not shutil.which("node"):
        return "needs Node, 20 or newer"
    if not (EXAMPLES / "node_modules").is_dir():
        return "needs the packages of examples/package.json; run: make examples"
    return ""


in_node = pytest.mark.skipif(bool(missing()), reason=missing())
runtimes = pytest.mark.parametrize("runtime", ["node", "web"])


@pytest.fixture
def drawn(noise: Callable[..., NDArray[np.float32]]) -> dict[str, Levels]:
    """A content picture, and a style picture of another size."""
    return {"content": noise(40, 48, 1).astype(np.uint8), "style": noise(44, 36, 2).astype(np.uint8)}


@pytest.fixture
def paths(drawn: dict[str, Levels], tmp_path: Path) -> list[str]:
    """Both as files, and where the result is to be."""
    for name, picture in drawn.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return [str(tmp_path / f"{name}.png") for name in ("content", "style", "result")]


def run(*command: str | Path, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_painted(model: Path, paths: list[str], printed: str) -> None:
    """Check that the losses begin with the photograph's, and that the result's is less than half of it."""
    content, style, result = (np.asarray(Image.open(path)) for path in paths)
    objective = Objective.open(model, content=content, styles=style, device="cpu")
    start, _ = objective(content)
    assert float(printed.split()[0]) == pytest.approx(start, rel=1e-5)
    assert objective(result)[0] < start / 2


PLAIN = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"impasto", "onnx", "torch"} & {*sys.modules}
"""


def test_plain_python_paints_without_impasto(model: Path, paths: list[str]) -> None:
    printed = run(sys.executable, "-c", PLAIN, EXAMPLES / "paint.py", model, *paths, "20")
    check_painted(model, paths, printed)


@in_node
@runtimes
def test_node_paints(runtime: str, model: Path, paths: list[str]) -> None:
    printed = run("node", EXAMPLES / "paint.mjs", runtime, model, *paths, "20")
    assert len(printed.split()) == 20
    check_painted(model, paths, printed)


@pytest.mark.parametrize("program", [[sys.executable, "paint.py"], pytest.param(["node", "paint.mjs"], marks=in_node)])
def test_a_missing_argument_is_answered_with_the_usage(program: list[str]) -> None:
    done = subprocess.run([program[0], EXAMPLES / program[1], "models/vgg19"], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("usage: ")
    assert len(done.stderr.splitlines()) == 1


def rgba(picture: Levels) -> dict[str, Any]:
    """Return a picture as transfer.mjs has it."""
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    return {"width": picture.shape[1], "height": picture.shape[0], "data": opaque.ravel().tolist()}


@in_node
@runtimes
@pytest.mark.parametrize("lowering", ["direct", "winograd"])
def test_loss_and_gradient_in_node_are_those_of_python(
    runtime: str, lowering: str, model: Path, drawn: dict[str, Levels], noise: Callable[..., NDArray[np.float32]]
) -> None:
    """By onnxruntime 1.30 in Node and 1.32 in Python: `node` has the same bits, `web` rounds otherwise.

    In `winograd`, rounding may then put an activation on the other side of a ReLU's zero, which changes a gradient by
    3e-4; so it is most of five pictures whose gradients have to agree.
    """
    images = [noise(40, 48, seed).astype(np.uint8) for seed in range(3, 8)]
    given = {"runtime": runtime, "model": str(model), "lowering": lowering, "images": [rgba(image) for image in images]}
    given |= {name: rgba(picture) for name, picture in drawn.items()}
    found = json.loads(run("node", HERE / "evaluate.mjs", given=json.dumps(given)))

    python = Objective.open(model, content=drawn["content"], styles=drawn["style"], device="cpu", lowering=lowering)
    differences = []
    for image, node in zip(images, found, strict=True):
        loss, gradient = python(image)
        planes = gradient.transpose(2, 0, 1).ravel()
        assert node["loss"] == pytest.approx(loss, rel=5e-6)
        differences.append(np.linalg.norm(node["gradient"] - planes) / np.linalg.norm(planes))
    assert np.median(differences) < {"direct": 1e-6, "winograd": 3e-5}[lowering]
    assert max(differences) < 5e-3
