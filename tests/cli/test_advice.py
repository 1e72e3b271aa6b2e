"""What a run advises for the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from processes import lay_out
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.cli.commands.stylize import speed_advice
from impasto.runtime import Result, stylize
from impasto.runtime.run.transfer import Transfer

SAID = "90 % of the time was L-BFGS, on the CPU; --optimizer lbfgs-device does its work on cuda:0"


def waited(result: Result) -> Result:
    """Return a result as of a GPU that waited for L-BFGS."""
    return replace(result, device="cuda:0", seconds=10.0, optimizer_seconds=9.0)


def test_a_gpu_that_waited_for_lbfgs_most_of_the_time_is_told_of_the_optimizer_that_runs_there(
    small_model: Path,
) -> None:
    gray = Image.new("RGB", (64, 64), "gray")
    done = stylize(gray, [gray], model=small_model, recipe="small", size=64, evaluations=2, device="cpu")
    assert speed_advice(done) is None
    on_gpu = waited(done)
    assert speed_advice(on_gpu) == SAID
    assert speed_advice(replace(on_gpu, plan=replace(on_gpu.plan, optimizer="lbfgs-sobolev"))) == SAID
    assert speed_advice(replace(on_gpu, optimizer_seconds=4.0)) is None
    others: list[dict[str, Any]] = [{"optimizer": "lbfgs-device"}, {"optimizer": "adam"}]
    for other in (*others, {"restart_every": 20}, {"restarts": (1,)}):
        assert speed_advice(replace(on_gpu, plan=replace(on_gpu.plan, **other))) is None


def test_the_command_says_it_at_its_end(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / "desk", monkeypatch)
    run = Transfer.run
    monkeypatch.setattr(Transfer, "run", lambda *arguments: waited(run(*arguments)))
    wishes = ["photo.png", "painting.jpg", "-o", "out.png", "--model", str(small_model), "--recipe", "small"]
    done = CliRunner().invoke(app, ["stylize", *wishes, "--size", "40", "--evaluations", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[-1] == SAID
