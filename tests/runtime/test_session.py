"""A session runs where it was asked to, or says why not; and returns what is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from impasto.runtime.errors import DeviceError, InputError, ModelError
from impasto.runtime.model import STATISTICS, ModelFolder
from impasto.runtime.objective import Objective
from impasto.runtime.session import CUDA, Placement, open_session

Noise = Callable[..., Any]

cpu_only = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15"])
def test_devices_are_known_by_name(device: str) -> None:
    assert Placement(device).device == device


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", "cpu:0", "cuda 0"])
def test_other_devices_are_refused(model: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        open_session(ModelFolder.open(model), "seed", STATISTICS, Placement(device=device))


@cpu_only
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(model: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=r"has no CUDA provider .*CPUExecutionProvider.*impasto\[gpu\]") as refused:
        open_session(ModelFolder.open(model), "seed", STATISTICS, Placement(device=device))
    assert f"device {device}" in str(refused.value)
    assert "\n" not in str(refused.value)


@cpu_only
def test_auto_is_the_cpu_where_there_is_no_cuda(model: Path) -> None:
    with warnings.catch_warnings(action="error"):
        session = open_session(ModelFolder.open(model), "gatys", STATISTICS, Placement(lowering="direct"))
    assert session.device == "cpu"


def test_threads_do_not_change_the_result(model: Path, noise: Noise) -> None:
    image = noise().transpose(2, 0, 1)[None]
    name = "style/block2_conv1.target"
    one, two = (
        open_session(
            ModelFolder.open(model), "gatys", STATISTICS, Placement(device="cpu", lowering="direct", threads=threads)
        )
        for threads in (1, 2)
    )
    np.testing.assert_allclose(one.run({"image": image}, [name])[name], two.run({"image": image}, [name])[name], 1e-5)


def test_bad_thread_counts_are_refused(model: Path, noise: Noise) -> None:
    for threads in (0, -1):
        with pytest.raises(InputError, match=f"threads is {threads}; expected 1 or more"):
            Objective.open(model, content=noise(), styles=[noise()], device="cpu", threads=threads)


# --- outputs --------------------------------------------------------------------------------------------------


def test_the_wanted_outputs_are_returned(model: Path, noise: Noise) -> None:
    session = open_session(ModelFolder.open(model), "gatys", STATISTICS, Placement(device="cpu", lowering="direct"))
    image = noise().transpose(2, 0, 1)[None]
    everything = session.run({"image": image})
    assert set(everything) == set(session.outputs)
    wanted = [f"style/block{k}_conv1.target" for k in (3, 1)]
    styles = session.run({"image": image}, wanted)
    assert list(styles) == wanted
    for name in wanted:
        np.testing.assert_array_equal(styles[name], everything[name])
    assert styles[wanted[0]].shape == (256, 256)


@pytest.mark.parametrize("lowering", ["", "Direct", "fft"])
def test_lowerings_that_do_not_exist_are_refused(model: Path, lowering: str) -> None:
    with pytest.raises(ModelError, match=r"lowering .*expected auto, direct or winograd"):
        open_session(ModelFolder.open(model), "gatys", STATISTICS, Placement(device="cpu", lowering=lowering))


# --- installations --------------------------------------------------------------------------------------------

OPEN = """
from impasto.runtime import DeviceError, Objective
import numpy as np
picture = np.zeros((32, 32, 3))
try:
    Objective.open({model!r}, content=picture, styles=[picture])
except DeviceError as error:
    print(error)
"""

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run_python(code: str, path: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_missing_onnxruntime_is_an_error_that_names_both_extras(model: Path) -> None:
    said = run_python(BLOCK.format(blocked={"onnxruntime"}) + OPEN.format(model=str(model)))
    assert said.startswith("onnxruntime is not installed")
    assert "impasto[cpu]" in said
    assert "impasto[gpu]" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "onnxruntime is damaged; pip uninstall onnxruntime onnxruntime-gpu"),
        ("raise ImportError('no libcudart.so.12')", "onnxruntime does not load (no libcudart.so.12)"),
    ],
)
def test_an_onnxruntime_that_does_not_load_is_an_error(model: Path, tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(code)
    said = run_python(OPEN.format(model=str(model)), tmp_path)
    assert said.startswith(reason)
    assert "impasto[cpu]" in said
