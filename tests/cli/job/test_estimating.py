"""The estimate before a run, as the command line shows it, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from processes import assert_refused, contents, impasto_, lay_out
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.runtime import InputError
from impasto.runtime.machine.memory import Room
from impasto.runtime.optimize import footprints as optimizers
from impasto.runtime.optimize.footprints import OPTIMIZER_FOOTPRINTS, OptimizerFootprint
from impasto.runtime.run import estimate

QUICK = ("photo.png", "painting.jpg", "-o", "out.png", "--size", "64", "--evaluations", "4", "--device", "cpu")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    return lay_out(tmp_path / "desk", monkeypatch)


def test_memory_and_time_are_told_before_a_run_and_to_programs(model: Path, desk: Path) -> None:
    done = impasto_("stylize", *QUICK, "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    assert re.fullmatch(r"53x64, 4 evaluations: about 0\.\d GB of \d.* GB of memory, (very roughly|about) \d+ s", first)
    told = json.loads(done.stdout)["estimate"]
    assert set(told) == {"memory", "at_most", "available", "tiles", "tile", "seconds", "measured"}
    assert 100e6 < told["memory"] < told["available"]
    assert 0 < told["seconds"] < 300


def test_a_run_teaches_the_next_one(model: Path, desk: Path) -> None:
    places = {"IMPASTO_TIMINGS": str(desk / "kept" / "timings.json")}
    runs = [impasto_("stylize", *QUICK, "--model", model, "--json", "--force", **places) for _ in range(2)]
    measured = [json.loads(done.stdout)["estimate"]["measured"] for done in runs]
    assert measured == [False, True]


def test_damaged_timings_and_a_place_that_cannot_be_written_do_not_matter(model: Path, desk: Path) -> None:
    (desk / "damaged.json").write_text("{")
    for place in (desk / "damaged.json", desk / "photo.png" / "timings.json"):
        done = impasto_("stylize", *QUICK, "--model", model, "--force", IMPASTO_TIMINGS=str(place))
        assert done.returncode == 0, done.stderr
        assert "wrote out.png" in done.stderr


def test_a_picture_that_does_not_fit_is_refused_before_any_work(model: Path, desk: Path) -> None:
    before = contents(desk)
    done = impasto_("stylize", *QUICK, "--model", model, "--size", "60000")
    assert_refused(done, "GB are available; ")
    found = re.search(r"--size (\d+)x(\d+), the largest that fits", done.stderr)
    assert found
    assert 32 <= int(found[1]) < int(found[2]) < 60000
    assert done.stderr.endswith("try it all the same with --oversize\n")
    assert contents(desk) == before


def test_memory_that_is_allowed_is_not_exceeded(model: Path, desk: Path) -> None:
    done = impasto_("stylize", *QUICK, "--model", model, "--memory", "100MB")
    assert_refused(done, "0.1 GB are available within --memory; raise --memory to ")
    assert re.search(r"--memory to (0\.\d|1)GB, or try it all the same with --oversize\n$", done.stderr)


def test_tiles_are_announced_and_made_again_by_a_rerun(model: Path, desk: Path) -> None:
    tiled = (*QUICK, "--model", model, "--size", "192", "--stages", "1", "--tile", "64", "--json")
    done = impasto_("stylize", *tiled)
    assert done.returncode == 0, done.stderr
    assert re.match(r"160x192 in \d+ tiles of 60 pixels, 4 evaluations: about ", done.stderr.splitlines()[0])
    told = json.loads(done.stdout)
    assert told["tile"] == told["estimate"]["tile"] == 60  # on the grid of the network
    assert told["estimate"]["tiles"] > 1
    again = impasto_("rerun", "out.png", "-o", "again.png", "--model", model, "--json")
    assert json.loads(again.stdout)["identical"]
    whole = impasto_("rerun", "out.png", "-o", "whole.png", "--model", model, "--json", "--tile", "off")
    assert "tile off instead of 64" in whole.stderr
    assert json.loads(whole.stdout)["tile"] is None


def test_fewer_pairs_are_said_in_a_line(model: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {**OPTIMIZER_FOOTPRINTS, "lbfgs-sobolev": OptimizerFootprint(0, 0, 1e8 / (53 * 64), 0, 0)}
    monkeypatch.setattr(optimizers, "OPTIMIZER_FOOTPRINTS", few)
    done = CliRunner().invoke(app, ["stylize", *QUICK, "--model", str(model), "--memory", "1GB"])
    assert done.exit_code == 0
    assert "memory for 5 pairs of L-BFGS, not 10, at 53x64" in done.stderr


def test_oversize_tries_all_the_same(model: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "room", lambda threads: Room(1_000_000))
    arguments = ["stylize", *QUICK, "--model", str(model)]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    assert not (desk / "out.png").exists()
    assert CliRunner().invoke(app, [*arguments, "--oversize"]).exit_code == 0
    assert (desk / "out.png").exists()
