"""Tiles over workers, measured and simulated: what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.cluster import Problem, measure, simulate
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
