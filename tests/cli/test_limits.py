"""What limits around a process make of it: memory that is short is called that, and no thread is asked for in vain."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import assert_refused, command, contents, environment, impasto_, lay_out
from typer.testing import CliRunner

from impasto import export
from impasto.cli.app import app
from impasto.runtime import InputError, Objective, stylize
from impasto.runtime.engine import footprints
from impasto.runtime.machine.memory import Room
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import read_text
from impasto.runtime.run import estimate
from impasto.runtime.run.record import KEYWORD
from impasto.shortage import in_one_line, is_shortage

linux = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits of addresses are enforced on Linux")

SMALL = ("--size", "40", "--evaluations", "3", "--recipe", "small", "--device", "cpu")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    return lay_out(tmp_path / "desk", monkeypatch)


def limited(megabytes: int, *arguments: object, option: str = "-v") -> subprocess.CompletedProcess[str]:
    """Run the command line with so many megabytes of addresses."""
    limits = f'ulimit -c 0; ulimit {option} {1000 * megabytes}; exec "$@"'
    shell = ["sh", "-c", limits, "sh", *command(*arguments)]
    return subprocess.run(shell, capture_output=True, text=True, env=environment(), timeout=120)


def assert_shortage(done: subprocess.CompletedProcess[str]) -> None:
    """One line that speaks of memory and what to do, and of nothing else."""
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "memory" in last
    assert "ulimit -" in last
    assert not re.search("export|damaged|install|interrupted|report it", last)


# --- memory ---------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("megabytes", [120, 340, 370, 500, 700])
def test_too_few_addresses_are_a_shortage_of_memory(model: Path, desk: Path, megabytes: int) -> None:
    before = contents(desk)
    sized = ("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--size", "64", "--evaluations", "3")
    assert_shortage(limited(megabytes, *sized, "--device", "cpu", "--model", model))
    assert contents(desk) == before


@linux
@pytest.mark.parametrize("megabytes", [370, 450, 600, 750])
def test_who_tries_all_the_same_is_told_of_memory_or_gets_a_picture(model: Path, megabytes: int) -> None:
    sized = ("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--size", "64", "--evaluations", "3")
    done = limited(megabytes, *sized, "--device", "cpu", "--model", model, "--oversize")
    if done.returncode:
        assert_shortage(done)
    else:
        assert Path("out.png").exists()


@linux
@pytest.mark.parametrize("megabytes", [370, 470, 560])
def test_an_export_without_room_to_try_graphs_out_is_refused_and_leaves_nothing(desk: Path, megabytes: int) -> None:
    before = contents(desk)
    assert_shortage(limited(megabytes, "export", "--recipe", "gatys", "--weights", "random", "--output", "new"))
    assert contents(desk) == before
    assert not [path for path in desk.iterdir() if path.is_dir()]


@linux
def test_what_is_admitted_under_a_limit_works(model: Path) -> None:
    """At the least limit that the estimate is content with."""
    sized = ("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--size", "64", "--evaluations", "3")
    sized = (*sized, "--device", "cpu", "--model", str(model), "--force")
    low, high = 600, 2400
    while high - low > 200:
        middle = (low + high) // 2
        done = limited(middle, *sized)
        assert done.returncode in (0, 2), done.stderr
        low, high = (low, middle) if done.returncode == 0 else (middle, high)
        assert done.returncode == 0 or "within ulimit -v" in done.stderr
    assert high < 2400


@linux
@pytest.mark.parametrize("megabytes", [60, 160])
def test_a_limit_of_data_is_told_likewise(model: Path, megabytes: int) -> None:
    sized = ("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--size", "64", "--evaluations", "3")
    assert_shortage(limited(megabytes, *sized, "--device", "cpu", "--model", model, option="-d"))


@linux
@pytest.mark.parametrize("arguments", [("info",), ("doctor",), ("doctor", "--no-speed")])
@pytest.mark.parametrize("megabytes", [200, 370])
def test_no_model_is_blamed_for_want_of_memory(model: Path, arguments: tuple[str, ...], megabytes: int) -> None:
    done = limited(megabytes, *arguments, model)
    assert "Traceback" not in done.stderr
    said = (done.stdout + done.stderr).replace("not installed; pip", "")  # plug-ins, which nobody needs
    assert not re.search(r"export|damaged|pip|interrupted", said)
    assert done.returncode == 0 or "ulimit -v" in done.stdout + done.stderr


@linux
def test_help_needs_no_room() -> None:
    assert limited(250, "stylize", "--help").returncode == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libscipy_openblas64_.so: failed to map segment from shared object"),
        ImportError("libx.so: cannot allocate memory in static TLS block: Cannot allocate memory"),
        RuntimeError("EPFail : Exception from src/inference/src/dev/plugin.cpp:54: can't alloc"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 1048576"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_shortages_are_known_whoever_meets_them(error: Exception) -> None:
    assert is_shortage(error)
    assert "\n" not in in_one_line(error)


@pytest.mark.parametrize("error", [RuntimeError("invalid graph"), ImportError("No module named 'x'"), OSError(2, "x")])
def test_other_failures_are_no_shortage(error: Exception) -> None:
    assert not is_shortage(error)


# --- the estimate's check -------------------------------------------------------------------------------------


def test_every_command_that_runs_makes_the_check_before_any_work(small_model: Path, desk: Path) -> None:
    made = impasto_("stylize", "photo.png", "painting.jpg", "-o", "made.png", *SMALL, "--model", small_model)
    assert made.returncode == 0, made.stderr
    before = contents(desk)
    huge = 60_000
    for arguments in (
        ("sheet", "photo.png", "--style", "painting.jpg", "-o", "sheet.png", "--size", huge, "--recipe", "small"),
        ("demo", "-o", "demo.png", "--size", huge),
    ):
        done = impasto_(*arguments, "--device", "cpu", "--model", small_model)
        assert_refused(done, "are available; ")
        assert "try it all the same with --oversize" in done.stderr
    assert contents(desk) == before
    assert not Path("sheet.cells").exists()


def test_the_demo_accepts_what_fits_in_tiles(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    for module in (estimate, footprints):
        monkeypatch.setattr(module, "room", lambda threads: Room(3_000_000_000))
    begun: list[str] = []

    def ensure(*_: object, **__: object) -> Path:
        begun.append("export")
        raise InputError("no weights")

    monkeypatch.setattr(export, "ensure", ensure)
    for size, reason in (("3000", "no weights"), ("60000", "are available; ")):
        refused = CliRunner().invoke(app, ["demo", "-o", str(desk / "demo.png"), "--size", size, "--device", "cpu"])
        assert isinstance(refused.exception, InputError)
        assert reason in str(refused.exception)
    assert begun == ["export"]


def test_a_rerun_makes_the_check_too(
    small_model: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = impasto_("stylize", "photo.png", "painting.jpg", "-o", "made.png", *SMALL, "--model", small_model)
    assert made.returncode == 0, made.stderr
    monkeypatch.setattr(estimate, "room", lambda threads: Room(1_000_000))
    refused = CliRunner().invoke(app, ["rerun", "made.png", "-o", "again.png", "--model", str(small_model)])
    assert isinstance(refused.exception, InputError)
    assert "0.0 GB are available; try it all the same with --oversize" in str(refused.exception)
    assert not Path("again.png").exists()
    tried = CliRunner().invoke(app, ["rerun", "made.png", "-o", "again.png", "--model", str(small_model), "--oversize"])
    assert tried.exit_code == 0


def test_a_sheet_is_checked_for_the_picture_that_takes_the_most(small_model: Path, desk: Path) -> None:
    Image.new("RGB", (48, 480)).save("tall.png")
    done = impasto_(
        "sheet", "photo.png", "tall.png", "--style", "painting.jpg", "-o", "sheet.png", "--size", "60000",
        "--recipe", "small", "--device", "cpu", "--model", small_model,
    )  # fmt: skip
    assert_refused(done, "size 50000x60000: takes ")


# --- threads --------------------------------------------------------------------------------------------------

TOO_MANY = (os.cpu_count() or 1) + 1


@pytest.mark.parametrize("threads", [TOO_MANY, 1000, 10**30, 0, -1])
def test_more_threads_than_processors_are_refused_and_so_are_none(small_model: Path, desk: Path, threads: int) -> None:
    before = contents(desk)
    shared = ("--device", "cpu", "--model", small_model, "--threads", threads)
    for arguments in (
        ("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--recipe", "small"),
        ("sheet", "photo.png", "--style", "painting.jpg", "-o", "sheet.png", "--recipe", "small"),
        ("demo", "-o", "demo.png"),
    ):
        assert_refused(impasto_(*arguments, *shared), f"--threads is {threads}; expected 1")
    assert contents(desk) == before


def test_more_threads_than_processors_are_refused_from_python_too(small_model: Path) -> None:
    pictures: dict[str, Any] = {"content": np.zeros((40, 48, 3)), "styles": [np.zeros((40, 48, 3))]}
    for work in (stylize, Objective.open):
        with pytest.raises(InputError, match=f"threads is {TOO_MANY}; expected 1 to {TOO_MANY - 1}, as many as"):
            work(model=small_model, recipe="small", threads=TOO_MANY, **pictures)


def test_a_record_of_a_larger_machine_is_made_again_with_fewer_threads_and_a_warning(small_model: Path) -> None:
    options = (*SMALL, "--model", small_model, "--threads", "1")
    assert impasto_("stylize", "photo.png", "painting.jpg", "-o", "made.png", *options).returncode == 0
    text = read_text("made.png")[KEYWORD]
    write_picture(Image.open("made.png"), "made.png", text={KEYWORD: text.replace('"threads": 1', '"threads": 999')})
    done = impasto_("rerun", "made.png", "-o", "again.png", "--model", small_model)
    assert done.returncode == 0, done.stderr
    assert f"warning: the bits may differ: threads {TOO_MANY - 1} instead of 999" in done.stderr
    assert Path("again.png").exists()
    many = impasto_("rerun", "made.png", "-o", "more.png", "--model", small_model, "--threads", TOO_MANY)
    assert_refused(many, f"--threads is {TOO_MANY}")
