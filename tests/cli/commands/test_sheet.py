"""``impasto sheet`` as a process: which cells it makes, keeps and does not make again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from processes import Running, assert_refused, impasto_, lay_out
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.runtime.optimize import footprints
from impasto.runtime.optimize.footprints import OPTIMIZER_FOOTPRINTS, OptimizerFootprint
from impasto.runtime.run.record import Record

QUICK = ("--size", "40", "--evaluations", "2", "--cell", "64", "--device", "cpu", "--lowering", "direct")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two photographs and a painting."""
    folder = lay_out(tmp_path / "desk", monkeypatch)
    (folder / "photo.png").rename("one.png")
    Image.open("one.png").transpose(Image.Transpose.ROTATE_90).save("two.png")
    return folder


def sheet(model: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return impasto_("sheet", *arguments, "--model", model, *QUICK)


def cells(folder: str = "sheet.cells") -> dict[str, int]:
    """Return the single pictures and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}


def test_a_second_run_makes_only_what_is_missing(model: Path) -> None:
    first = sheet(model, "one.png", "--style", "painting.jpg", "-o", "sheet.png")
    assert first.returncode == 0, first.stderr
    before = cells()
    assert len(before) == 1
    arguments = ("one.png", "two.png", "--style", "painting.jpg", "-r", "gatys", "-r", "impasto", "--json")
    second = sheet(model, *arguments, "-o", "more.png", "--cells", "sheet.cells")
    assert second.returncode == 0, second.stderr
    assert "1 of 4 pictures are in sheet.cells already" in second.stderr
    made = json.loads(second.stdout)["cells"]
    assert [(cell["content"], cell["style"], cell["recipe"]) for cell in made] == [
        ("one", "painting", "gatys"), ("one", "painting", "impasto"),
        ("two", "painting", "gatys"), ("two", "painting", "impasto"),
    ]  # fmt: skip
    assert {Path(cell["path"]).name for cell in made} == set(cells())
    assert before.items() <= cells().items()
    record = Record.read(made[1]["path"])
    assert (record.plan.recipe.name, record.outcome.evaluations) == ("impasto", 2)
    assert [Path(picture.place or "").name for picture in record.origin.inputs] == ["one.png", "painting.jpg"]
    with Image.open("sheet.png") as small, Image.open("more.png") as large:
        assert large.width > small.width
    third = sheet(model, *arguments, "-o", "more.png", "--cells", "sheet.cells", "--force")
    assert third.returncode == 0, third.stderr
    assert "4 of 4 pictures" in third.stderr
    assert json.loads(third.stdout)["cells"] == made


def test_other_wishes_and_damaged_cells_are_made_anew(model: Path) -> None:
    wish = ("one.png", "--style", "painting.jpg", "-o", "sheet.png", "--force")
    assert sheet(model, *wish).returncode == 0
    (own,) = cells()
    path = Path("sheet.cells", own)
    with Image.open(path) as image:
        before = image.tobytes()
    path.write_bytes(path.read_bytes()[:500])
    assert sheet(model, *wish).returncode == 0
    with Image.open(path) as image:
        assert image.tobytes() == before
    assert sheet(model, *wish, "--seed", "3").returncode == 0
    assert len(cells()) == 2
    Path("one.png").write_bytes(Path("two.png").read_bytes())
    assert sheet(model, *wish).returncode == 0
    assert len(cells()) == 3


def test_a_cell_with_fewer_pairs_is_made_anew_when_there_is_memory_for_all(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pairs(memory: str) -> int | None:
        wish = ("sheet", "one.png", "--style", "painting.jpg", "-o", "sheet.png", "--force", "--model", str(model))
        done = CliRunner().invoke(app, [*wish, *QUICK, "--memory", memory])
        assert done.exit_code == 0, done.output
        (own,) = cells()
        return Record.read(Path("sheet.cells", own)).plan.stages[-1].pairs

    heavy = {**OPTIMIZER_FOOTPRINTS, "lbfgs-sobolev": OptimizerFootprint(0, 0, 2e8 / (33 * 40), 0, 0)}
    monkeypatch.setattr(footprints, "OPTIMIZER_FOOTPRINTS", heavy)
    assert pairs("1GB") == 5
    few = cells()
    assert pairs("1GB") == 5
    assert cells() == few
    assert pairs("4GB") is None
    all_ = cells()
    assert all_ != few
    assert pairs("1GB") is None
    assert cells() == all_


def test_ctrl_c_keeps_the_pictures_that_are_done(model: Path) -> None:
    wish = ("one.png", "two.png", "--style", "painting.jpg", "-o", "sheet.png", "--model", model)
    running = Running.start("sheet", *wish, *QUICK, "--evaluations", "150")
    running.wait_for("1/2 one x painting")
    running.interrupt()
    code, out, err = running.finish()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: interrupted; 1 of 2 pictures are kept in sheet.cells, and the same command makes the others"
    )
    assert "Traceback" not in err
    (kept,) = cells()
    assert not Path("sheet.png").exists()
    with Image.open(Path("sheet.cells", kept)) as picture:
        picture.load()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("one.png", "--style", "painting.jpg", "-o", "one.png", "--force"), "one of the pictures to be read"),
        (("one.png", "--style", "painting.jpg", "-o", "-"), "expected a file name for the sheet"),
        (("one.png", "--style", "painting.jpg", "-o", "sheet.gif"), "unknown format"),
        (("one.png", "--style", "missing.jpg", "-o", "sheet.png"), "picture missing.jpg: no such file"),
        (("one.png", "--style", "painting.jpg", "-o", "sheet.png", "-r", "monet"), "no recipe 'monet'"),
        (("one.png", "--style", "painting.jpg", "-o", "sheet.png", "--cells", "two.png"), "cells two.png: no folder"),
        (("one.png", "--style", "painting.jpg", "-o", "sheet.png", "--cells", "no/where"), "cells no/where: no folder"),
    ],
)
def test_bad_wishes_are_refused_before_any_work(model: Path, arguments: tuple[str, ...], reason: str) -> None:
    assert_refused(sheet(model, *arguments), reason)
    assert not Path("sheet.png").exists()


@pytest.mark.usefixtures("unprivileged")
def test_a_folder_that_may_not_be_written_is_refused(desk: Path, model: Path) -> None:
    Path("cells").mkdir(mode=0o500)
    done = sheet(model, "one.png", "--style", "painting.jpg", "-o", "sheet.png", "--cells", "cells")
    assert_refused(done, "cells cells: no folder to write to (Permission denied)")
