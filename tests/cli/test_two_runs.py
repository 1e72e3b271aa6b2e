"""Two runs at once that want the same names: neither loses anything, and neither replaces what the other has made."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image
from processes import Running, assert_refused, contents, impasto_, lay_out

from impasto.runtime.run.record import Record

PLACED = ("--recipe", "small", "--device", "cpu", "--lowering", "direct", "--threads", "1")
LONG, QUICK = ("--size", "40", "--evaluations", "200"), ("--size", "40", "--evaluations", "6")

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and bytes in names are POSIX's")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path) -> Path:
    """Work in a folder with a photograph and a painting, and with the quickest of models."""
    folder = lay_out(tmp_path / "desk", monkeypatch)
    monkeypatch.setenv("IMPASTO_MODEL", str(small_model))
    monkeypatch.setattr("processes.environment", lambda: dict(os.environ))
    return folder


def start(*options: object) -> Running:
    return Running.start("stylize", "photo.png", "painting.jpg", *PLACED, *options)


def both(first: tuple[object, ...], second: tuple[object, ...]) -> list[tuple[int, str, str]]:
    """Have both begin before either ends; the second is the shorter, and so the first to end."""
    one = start(*first)
    one.wait_for("evaluation 1/")
    two = start(*second)
    return [two.finish(), one.finish()]


def assert_whole(*names: str) -> None:
    for name in names:
        with Image.open(name) as image:
            image.load()


def test_of_two_runs_with_one_output_the_later_keeps_its_result_under_another_name(desk: Path) -> None:
    options = ("-o", "out.png", "--triptych", "sheet.png", "--json", "--size", "40")
    (code, out, err), (late, said, told) = both((*options, "-e", "300", "--seed", "1"), (*options, "-e", "6"))
    assert (code, late) == (0, 1), err + told
    assert json.loads(out)["output"] == "out.png"
    assert json.loads(said)["output"] == "out-2.png"
    assert json.loads(said)["triptych"] == "sheet-2.png"
    assert told.splitlines()[-1] == (
        "error: output out.png: another file has taken that name meanwhile and stays as it is; "
        "the result is in out-2.png; "
        "output sheet.png: another file has taken that name meanwhile and stays as it is; the result is in sheet-2.png"
    )
    assert (Record.read("out.png").plan.evaluations, Record.read("out-2.png").plan.evaluations) == (6, 300)
    assert_whole("sheet.png", "sheet-2.png")
    expected = ["out-2.png", "out.png", "painting.jpg", "photo.png", "sheet-2.png", "sheet.png"]
    assert sorted(contents(desk)) == expected


def test_with_force_the_later_replaces_the_earlier() -> None:
    options = ("-o", "out.png", "--force", "--size", "40")
    (code, _, err), (late, _, told) = both((*options, "-e", "300"), (*options, "-e", "6"))
    assert (code, late) == (0, 0), err + told
    assert Record.read("out.png").plan.evaluations == 300
    assert not Path("out-2.png").exists()


def test_of_two_runs_with_one_checkpoint_and_log_each_keeps_its_own(desk: Path) -> None:
    shared = ("--checkpoint", "run.impasto", "--log", "run.jsonl", "--preview", "now.png", "--save-every", "2")
    one = start("-o", "one.png", *shared, "--size", "40", "-e", "3000")
    one.wait_for("evaluation 1/")
    psutil.Process(one.process.pid).suspend()  # it would write another one
    Path("run.impasto").rename("kept.impasto")  # as if the other had begun before there was one
    Path("run.jsonl").rename("one.jsonl")
    two = start("-o", "two.png", *shared, *QUICK)
    code, _, err = two.finish()
    assert code == 0, err
    shutil.copy("kept.impasto", "run.impasto")  # another run's, by now
    psutil.Process(one.process.pid).resume()
    one.wait_for("run-2.impasto")
    one.interrupt()
    code, _, told = one.finish()
    assert code == 1
    assert "warning: checkpoint: output run.impasto: another file has taken that name" in told
    assert "go on from run-2.impasto with the same command and --resume" in told
    assert contents(desk)["run.impasto"] == contents(desk)["kept.impasto"]


def test_a_log_that_another_run_is_writing_is_refused() -> None:
    one = start("-o", "one.png", "--log", "run.jsonl", *LONG)
    one.wait_for("evaluation 1/")
    done = impasto_("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK, "-o", "b.png", "--log", "run.jsonl", "-f")
    assert_refused_last(done.returncode, done.stderr, "run.jsonl: another run is writing it; choose another place")
    one.process.kill()
    one.finish()


def assert_refused_last(code: int, err: str, reason: str) -> None:
    assert code == 2, err
    assert reason in err.splitlines()[-1]


@pytest.mark.parametrize("name", ["out.png", "out.0004.png", "sheet.png"])
def test_what_appears_while_a_run_is_under_way_is_not_replaced(desk: Path, name: str) -> None:
    running = start("-o", "out.png", "--save-every", "2", "--triptych", "sheet.png", "--size", "40", "-e", "300")
    running.wait_for("evaluation 1/")
    later = "out.0300.png" if name == "out.0004.png" else name
    shutil.copy("photo.png", later)
    code, _, told = running.finish()
    assert contents(desk)[later] == contents(desk)["photo.png"]
    other = later.replace(".png", "-2.png")
    assert f"output {later}: another file has taken that name" in told
    assert f"the result is in {other}" in told
    assert_whole(other)
    assert code == (0 if later == "out.0300.png" else 1)


@posix
def test_results_go_through_links_and_keep_the_mode(desk: Path) -> None:
    (desk / "far").mkdir()
    for name in ("out.png", "sheet.png", "now.png", "run.jsonl", "run.impasto"):
        Path(name).symlink_to(f"far/{name}")
    Image.new("RGB", (3, 3)).save("far/out.png")
    Path("far/out.png").chmod(0o604)
    options = ("-o", "out.png", "--triptych", "sheet.png", "--preview", "now.png", "--log", "run.jsonl")
    options = (*options, "--checkpoint", "run.impasto", "--force")
    done = impasto_("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert sorted(contents(desk / "far")) == ["now.png", "out.png", "run.jsonl", "sheet.png"]
    assert stat.S_IMODE(Path("far/out.png").stat().st_mode) == 0o604
    assert Record.read("out.png").plan.evaluations == 6
    assert all(Path(name).is_symlink() for name in ("out.png", "sheet.png", "now.png", "run.jsonl", "run.impasto"))


@posix
def test_devices_take_a_log_and_no_checkpoint(desk: Path) -> None:
    quick = ("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK)
    done = impasto_(*quick, "-o", "out.png", "--log", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["evaluation"] for line in done.stdout.splitlines()] == [1, 2, 3, 4, 5, 6]
    Path("null.png").symlink_to(os.devnull)
    done = impasto_(*quick, "-o", "null.png")
    assert done.returncode == 0, done.stderr
    assert_refused(impasto_(*quick, "-o", "b.png", "--checkpoint", os.devnull, "--force"), "is a device or a pipe")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@posix
def test_names_of_the_greatest_length_work_for_all_that_a_run_writes(desk: Path) -> None:
    long = "a" * 246
    options = ("-o", f"{long}.png", "--triptych", f"{'b' * 251}.png", "--preview", f"{'c' * 251}.png")
    options = (*options, "--log", "d" * 255, "--checkpoint", "e" * 255, "--save-every", "2")
    done = impasto_("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert f"{long}.0006.png" in contents(desk)
    assert_whole(f"{long}.png", f"{'b' * 251}.png", f"{'c' * 251}.png")
    before = contents(desk)
    too_long = {"--output": f"{'x' * 252}.png", "--preview": f"{'x' * 252}.png", "--checkpoint": "x" * 256}
    for option, name in too_long.items():
        given = ("--output", "new.png", option, name)  # of two outputs the last counts
        assert_refused(impasto_("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK, *given), "its name is ")
    saves = ("-o", f"{'a' * 247}.png", "--save-every", "2")
    assert_refused(impasto_("stylize", "photo.png", "painting.jpg", *PLACED, *QUICK, *saves), "its name is 256 bytes")
    assert contents(desk) == before


@pytest.mark.skipif(sys.platform != "linux", reason="takes any bytes for a name on Linux")
def test_latin_1_names_print_readably_and_are_rerun(desk: Path) -> None:
    photo, out = (os.fsdecode(name) for name in (b"photo-\xe9.png", b"caf\xe9.png"))
    Path("photo.png").rename(photo)
    done = impasto_("stylize", photo, "painting.jpg", *PLACED, *QUICK, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert "wrote café.png (" in done.stderr
    assert json.loads(done.stdout)["output"] == "café.png"
    done = impasto_("stylize", photo, "painting.jpg", *PLACED, *QUICK, "-o", out)
    assert_refused(done, "output café.png: exists already")
    done = impasto_("rerun", out, "-o", "again.png")
    assert done.returncode == 0, done.stderr
    assert_whole("again.png")


def test_two_sheets_at_once_share_their_cells_and_not_their_sheet(desk: Path) -> None:
    arguments = ("sheet", "photo.png", "--style", "painting.jpg", "-o", "sheet.png", "--recipe", "small")
    arguments = (*arguments, "--size", "40", "--evaluations", "40", "--device", "cpu")
    runs = [Running.start(*arguments) for _ in range(2)]
    codes = sorted(running.finish()[0] for running in runs)
    sheets = sorted(name for name in contents(desk) if name.startswith("sheet") and "/" not in name)
    assert (codes, sheets) in (([0, 1], ["sheet-2.png", "sheet.png"]), ([0, 2], ["sheet.png"]))
    assert len(list(Path("sheet.cells").iterdir())) == 1
