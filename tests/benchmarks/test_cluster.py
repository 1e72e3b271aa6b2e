"""Tiles over workers, measured and simulated: what is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.cluster import Problem, measure, simulate
from benchmarks.files import ROOT
from impasto.cli.cluster import tile_worker


@pytest.fixture
def problem(model: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.setattr(cluster, "RECIPE", "gatys")
    return Problem(model, 420, 300, 192, 1)


def test_two_workers_give_what_one_process_gives(problem: Problem, capsys: pytest.CaptureFixture[str]) -> None:
    measure(problem, [2], rounds=1)
    printed = capsys.readouterr().out
    assert "loss differs by 0.0e+00, gradient by 0.0e+00" in printed
    assert "2 workers: " in printed


def test_pretended_workers_only_sleep(problem: Problem, capsys: pytest.CaptureFixture[str]) -> None:
    real = tile_worker.evaluate
    simulate(problem, [2], rounds=1)
    assert tile_worker.evaluate is real
    assert "2 workers: " in capsys.readouterr().out


def test_the_command_simulates(model: Path) -> None:
    options = ["--size", "420x300", "--tile", "192", "--workers", "2", "--rounds", "1", "--simulate"]
    command = [sys.executable, "-m", "benchmarks.cluster", "--model", str(model), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 workers: " in done.stdout
