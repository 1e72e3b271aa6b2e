"""The lowest versions are read out of pyproject.toml, every one."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from lowest import PYPROJECT, pins

PROJECT = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]


def test_every_lower_bound_becomes_a_pin() -> None:
    found = pins(PROJECT)
    assert len(found) == PYPROJECT.read_text("utf-8").count(">=") - 2  # that of Python, and setuptools'
    assert {pin.partition("==")[0] for pin in found} > {"numpy", "scipy", "pillow", "onnxruntime", "onnx", "pytest"}


@pytest.mark.parametrize("requirement", ["numpy>1", "numpy~=1.26", "numpy>=1.26,<3", "numpy==1.26", "numpy>=1; x"])
def test_a_requirement_whose_lowest_version_is_not_plain_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="expected name, name>=version"):
        pins({"dependencies": [requirement], "optional-dependencies": {}})


def test_extras_and_what_has_no_bound_are_told_apart() -> None:
    extras = {"gpu": ["onnxruntime-gpu[cuda,cudnn]>=1.21"], "torch": ["torch"], "dev": ["impasto[cpu,export]"]}
    assert pins({"dependencies": ["numpy>=1.26"], "optional-dependencies": extras}) == [
        "numpy==1.26",
        "onnxruntime-gpu==1.21",
    ]


def test_under_another_python_nothing_is_printed() -> None:
    done = subprocess.run([sys.executable, PYPROJECT.parent / "tests/lowest.py"], capture_output=True, text=True)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == PROJECT["requires-python"].removeprefix(">="):
        assert (done.returncode, done.stdout.splitlines()) == (0, pins(PROJECT))
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert "set PYTHON=" in done.stderr
