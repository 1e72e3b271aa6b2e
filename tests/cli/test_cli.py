"""The command line as a user has it: a process with arguments, an exit code, two streams and files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import Running, assert_refused, command, contents, environment, impasto_, lay_out, limited, link

import impasto
from impasto.export.weights.weights import Weights
from impasto.runtime.model.folder import ModelFolder

#: The quickest of transfers.
QUICK = ("--size", "40", "--evaluations", "2", "--device", "cpu", "--lowering", "direct")

RECIPE = """
size = "40"
evaluations = 2
[content]
weight = 1
convention = "mean"
layers.block1_conv1 = 1
[style]
weight = 1
convention = "mean"
layers.block1_conv2 = 1
"""


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    return lay_out(tmp_path / "desk", monkeypatch)


# --- help and usage -------------------------------------------------------------------------------------------

HEAVY = {"numpy", "scipy", "onnxruntime", "onnx", "PIL", "torch", "h5py", "safetensors", "rich", "pydantic"}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("stylize", "--help"), ("export", "--help")])
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "impasto", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & HEAVY


def test_the_version_is_printed() -> None:
    done = impasto_("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"impasto {impasto.__version__}\n", "")


def test_help_is_shown_when_nothing_is_asked_for() -> None:
    nothing, asked = impasto_(), impasto_("--help")
    assert nothing.returncode == asked.returncode == 0
    assert nothing.stdout == asked.stdout
    assert nothing.stderr == ""
    assert all(name in asked.stdout for name in ("export", "stylize", "info", "demo"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("paint",), "No such command"),
        (("--colour",), "No such option"),
        (("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--evaluations", "many"), "--evaluations"),
        (("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--seed", "-1"), "--seed"),
        (("info", "one", "two"), "unexpected extra argument"),
        (("export", "--colour"), "No such option"),
    ],
)
def test_wrong_usage_is_one_line(desk: Path, arguments: tuple[str, ...], reason: str) -> None:
    before = contents(desk)
    assert_refused(impasto_(*arguments), reason)
    assert contents(desk) == before


def test_debug_shows_where_an_error_comes_from() -> None:
    done = impasto_("info", "missing", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: model missing")


# --- bad input ------------------------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    path.write_bytes(Path("photo.png").read_bytes()[:2000])


def small(path: Path) -> None:
    Image.new("RGB", (31, 64)).save(path)


def huge(path: Path) -> None:
    """Write a picture whose header claims 60,000 x 60,000 pixels."""
    data = bytearray(b"BM" + bytes(52))
    data[10:14], data[14:18] = (54).to_bytes(4, "little"), (40).to_bytes(4, "little")
    data[18:22] = data[22:26] = (60_000).to_bytes(4, "little")
    data[26:30] = b"\1\0\x18\0"
    path.write_bytes(data)


def text(path: Path) -> None:
    path.write_text("no picture\n")


PICTURES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (Path.mkdir, "is a folder"),
    "empty": (Path.touch, "not a picture"),
    "text": (text, "not a picture"),
    "truncated": (truncated, "truncated or damaged"),
    "small": (small, "31x64 pixels; expected 32 or more"),
    "huge": (huge, "decompression bomb"),
}


@pytest.mark.parametrize(
    ("role", "kind"),
    [*(("content", kind) for kind in PICTURES), ("style", "missing"), ("style", "truncated"), ("init", "truncated")],
)
def test_bad_pictures_are_refused(desk: Path, model: Path, role: str, kind: str) -> None:
    make, reason = PICTURES[kind]
    make(desk / "bad.png")
    before = contents(desk)
    content = "bad.png" if role == "content" else "photo.png"
    style = "bad.png" if role == "style" else "painting.jpg"
    init = ("--init", "bad.png") if role == "init" else ()
    done = impasto_("stylize", content, "painting.jpg", style, "-o", "out.png", "--model", model, *QUICK, *init)
    assert_refused(done, reason)
    assert "bad.png" in done.stderr
    assert contents(desk) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-o", "out.gif"), "unknown format '.gif'"),
        (("-o", "folder.png"), "is a folder"),
        (("-o", "missing/out.png"), "does not exist"),
        (("-o", "photo.png/out.png"), "does not exist"),
        (("-o", "old.png"), "exists already"),
        (("-o", "photo.png", "--force"), "one of the pictures to be read"),
        (("-o", "link.png", "--force"), "one of the pictures to be read"),
        (("-o", "../desk/painting.jpg", "--force"), "one of the pictures to be read"),
        (("-o", f"{'a' * 300}.png"), "its name is "),
        (("-o", "out.png", "--triptych", "old.png"), "exists already"),
        (("-o", "out.png", "--triptych", "out.bmp"), "unknown format '.bmp'"),
        (("-o", "out.png", "--triptych", "../desk/out.png"), "is also the triptych"),
        (("-o", "out.png", "--size", "31"), "expected 32 or more"),
        (("-o", "out.png", "--size", "large"), "--size 'large'"),
        (("-o", "out.png", "--size", "9" * 5000), "expected the long side"),
        (("-o", "out.png", "--evaluations", "0"), "--evaluations is 0"),
        (("-o", "out.png", "--threads", "0"), "--threads is 0"),
        (("-o", "out.png", "--restart-every", "0"), "--restart-every"),
        (("-o", "out.png", "--device", "tpu"), "--device 'tpu'"),
        (("-o", "out.png", "--recipe", "monet"), "no recipe 'monet'"),
        (("-o", "out.png", "--content-weight", "-1"), "--content-weight is -1"),
        (("-o", "out.png", "--style-weight", "nan"), "--style-weight is nan"),
        (("-o", "out.png", "--tv-weight", "inf"), "--tv-weight is inf"),
        (("-o", "out.png", "--model", "missing"), "no such folder"),
        (("-o", "out.png", "--model", "photo.png"), "expected a folder, not a file"),
        (("-o", "out.png", "--model", "empty"), "holds no exported graphs"),
    ],
)
def test_bad_wishes_are_refused(desk: Path, model: Path, options: tuple[str, ...], reason: str) -> None:
    (desk / "old.png").write_bytes(b"somebody's work")
    (desk / "folder.png").mkdir()
    (desk / "empty").mkdir()
    if "link.png" in options:
        link(desk / "link.png", "photo.png")
    before = contents(desk)
    assert_refused(impasto_("stylize", "photo.png", "painting.jpg", "--model", model, *QUICK, *options), reason)
    assert contents(desk) == before


def damage(path: Path, share: int) -> None:
    """Cut a file short without touching what it is hard-linked to."""
    with path.open("rb") as file:
        kept = file.read(share)
    path.unlink()
    path.write_bytes(kept)


@pytest.mark.parametrize("name", ["weights.data", "impasto.direct.objective.onnx", "impasto.direct.statistics.onnx"])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_damaged_models_are_refused(desk: Path, copy: Path, name: str, how: str) -> None:
    (copy / name).unlink() if how == "missing" else damage(copy / name, 1000)
    before = contents(desk)
    done = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", copy, *QUICK)
    assert (done.returncode, done.stdout) == (2, "")
    *earlier, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert ("impasto export" if name.endswith("objective.onnx") and how == "missing" else "export it again") in error
    assert len(earlier) <= 1  # the estimate; whether a graph can be opened shows when it is
    assert contents(desk) == before


# --- transfers ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("desk")
def test_a_warning_is_said_once_however_often_it_is_true(model: Path) -> None:
    options = ("-o", "out.png", "--size", "80", "--stages", "2", "--evaluations", "4", "--recipe", "gatys")
    done = impasto_("stylize", "photo.png", "painting.jpg", *options, IMPASTO_MODEL=str(model))
    assert done.returncode == 0, done.stderr
    assert "stage 2/2" in done.stderr
    assert done.stderr.count("random weights") == 1


def test_a_transfer_writes_picture_and_triptych(desk: Path, model: Path) -> None:
    options = ("-o", "out.png", "--triptych", "sheet.jpg", *QUICK)
    done = impasto_("stylize", "photo.png", "painting.jpg", "painting.jpg", *options, IMPASTO_MODEL=str(model))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("33x40, 2 evaluations: about ")
    assert lines[1].startswith("warning: ")
    assert "random weights" in lines[1]
    assert lines[2].startswith("evaluation 1/2  loss ")
    assert lines[-2] == "wrote out.png (33x40)"
    assert re.fullmatch(r"wrote sheet\.jpg \(\d+x40\)", lines[-1])
    assert all(line.isprintable() for line in lines)
    with Image.open("out.png") as picture, Image.open("sheet.jpg") as sheet:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (33, 40))
        assert sheet.format == "JPEG"
        assert sheet.width > 3 * 33
    assert sorted(contents(desk)) == ["out.png", "painting.jpg", "photo.png", "sheet.jpg"]


def test_without_paint_a_half_transparent_photograph_comes_back_and_a_triptych_shows_it_once(model: Path) -> None:
    Image.new("RGBA", (40, 36), (200, 0, 0, 128)).save("photo.png")
    options = ("-o", "out.png", "--triptych", "sheet.png", "--strength", 0, "--model", model, *QUICK)
    done = impasto_("stylize", "photo.png", "painting.jpg", *options)
    assert done.returncode == 0, done.stderr
    with Image.open("out.png") as picture, Image.open("sheet.png") as sheet:
        assert np.abs(np.asarray(picture, int) - (200, 0, 0, 128)).max() == 0
        for x in (3, sheet.width - 3):
            assert np.abs(np.array(sheet.getpixel((x, 9))) - (227, 127, 127)).max() <= 1


def test_json_is_one_object_on_standard_output(model: Path) -> None:
    Path("out.JPG").write_bytes(b"somebody's work")
    options = ("-o", "out.JPG", "--force", "--json", "--model", model, *QUICK)
    done = impasto_("stylize", "photo.png", "painting.jpg", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert {"output": "out.JPG", "triptych": None, "recipe": "impasto", "interrupted": False}.items() <= found.items()
    assert {"width": 33, "height": 40, "evaluations": 2, "device": "cpu"}.items() <= found.items()
    assert found["reason"] == "all 2 evaluations were made"
    assert 0 <= found["optimizer_seconds"] < found["seconds"]
    assert sum(found["terms"].values()) == pytest.approx(found["loss"], rel=1e-5)
    assert "evaluation 1/2" in done.stderr
    with Image.open("out.JPG") as picture:
        assert picture.format == "JPEG"


def test_the_same_arguments_give_the_same_picture(model: Path) -> None:
    for name in ("one.png", "two.png"):
        done = impasto_(
            "stylize", "photo.png", "painting.jpg", "-o", name, "--model", model, *QUICK,
            "--init", "random", "--seed", "7", "--threads", "1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    with Image.open("one.png") as one, Image.open("two.png") as two:
        assert one.tobytes() == two.tobytes()


def test_the_demo_writes_a_triptych(desk: Path, model: Path) -> None:
    output = desk / "new" / "demo.png"
    options = ("--model", model, "--size", "44", "--evaluations", "2", "--device", "cpu", "-o", output)
    done = impasto_("demo", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n"
    with Image.open(output) as sheet:
        assert sheet.height == 33
        assert sheet.width > 3 * 44
    assert_refused(impasto_("demo", *options), "exists already")
    assert_refused(impasto_("demo", "--model", model, "-o", "photo.png/new/demo.png"), "does not exist")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--device", "tpu"), "--device 'tpu'"),
        (("--threads", "0"), "--threads is 0"),
        (("--size", "large"), "--size 'large'"),
        (("--size", "31"), "expected 32 or more"),
        (("-o", "new/folder/out.gif"), "unknown format '.gif'"),
        (("-o", f"new/folder/{'a' * 300}.png"), "its name is "),
        (("-o", "photo.png"), "exists already"),
    ],
)
def test_bad_wishes_for_the_demo_are_refused_before_a_model_is_exported(
    desk: Path, options: tuple[str, ...], reason: str
) -> None:
    before = sorted(desk.rglob("*"))
    assert_refused(impasto_("demo", "--model", "new-model", *options), reason)
    assert sorted(desk.rglob("*")) == before


def test_a_result_that_cannot_be_written_is_a_failure_not_a_refusal(desk: Path, model: Path) -> None:
    before = contents(desk)
    done = limited(200, "stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", model, *QUICK)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: output out.png: could not be written (File too large); ")
    assert contents(desk) == before


def test_a_triptych_that_does_not_fit_leaves_the_result(model: Path) -> None:
    options = ("-o", "out.png", "--triptych", "sheet.png", "--model", model, *QUICK)
    done = limited(9000, "stylize", "photo.png", "painting.jpg", *options)  # enough for one, not for three
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: output sheet.png: could not be written (File too large); ")
    with Image.open("out.png") as saved:
        saved.load()
    assert not Path("sheet.png").exists()


# --- Ctrl-C ---------------------------------------------------------------------------------------------------

LONG = ("--evaluations", "100000", "--device", "cpu", "--lowering", "direct")


def test_ctrl_c_keeps_the_best_picture_so_far(model: Path) -> None:
    running = Running.start(
        "stylize", "photo.png", "painting.jpg", "-o", "out.png", "--size", "40", "--model", model, "--json", *LONG
    )
    running.wait_for("evaluation 1/")
    running.interrupt()
    code, out, err = running.finish()
    assert code == 1
    assert "stopping after this evaluation" in err
    assert "; interrupted\n" in err
    assert "wrote out.png" in err
    assert "Traceback" not in err
    assert json.loads(out)["interrupted"] is True
    with Image.open("out.png") as picture:
        assert picture.size == (33, 40)


def test_ctrl_c_during_an_export_leaves_the_old_model(copy: Path) -> None:
    interrupted_export(copy, "SIGINT")
    assert [path.name for path in copy.parent.iterdir() if path.name.startswith(".")] == []


def test_a_killed_export_leaves_the_old_model_and_a_later_one_clears_up(copy: Path, mine: Path) -> None:
    interrupted_export(copy, "SIGKILL")
    (left,) = copy.parent.glob(".copy.*")
    for path in (left, *left.rglob("*")):
        os.utime(path, (time.time() - 4000,) * 2)
    done = export(copy, "--recipe", mine)
    assert done.returncode == 0, done.stderr
    assert not left.exists()


def interrupted_export(folder: Path, name: str) -> None:
    """End an export over an existing folder while it is checked, and see that nothing has changed."""
    before = contents(folder)
    recipes = ("--recipe", "gatys", "--recipe", "impasto")
    running = Running.start("export", "--weights", "random", "--seed", "2", "--force", "-v", "-o", folder, *recipes)
    running.wait_for("slope")
    running.send(name)
    code, out, err = running.finish()
    assert out == ""
    if name == "SIGINT":
        assert code == 1
        assert err.splitlines()[-1] == "error: interrupted; nothing was left half-written"
        assert "Traceback" not in err
    assert contents(folder) == before
    assert impasto_("info", folder).returncode == 0


class Terminal:
    """A process with a terminal for standard error."""

    def __init__(self, *arguments: object) -> None:
        self.screen = b""
        pty = pytest.importorskip("pty")
        self.terminal, theirs = pty.openpty()
        variables = environment() | {"TERM": "xterm-256color", "COLUMNS": "100"}
        self.process = subprocess.Popen(command(*arguments), stderr=theirs, stdout=subprocess.PIPE, env=variables)
        os.close(theirs)

    def read_until(self, text: bytes | None) -> bool:
        """Read until a text, or the end, comes."""
        while text is None or text not in self.screen:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:  # how Linux says that nobody writes any more
                return False
            if not data:
                return False
            self.screen += data
        return True

    def finish(self) -> int:
        self.read_until(None)
        self.process.communicate()
        os.close(self.terminal)
        return self.process.returncode


HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


def test_progress_is_live_on_a_terminal(model: Path) -> None:
    terminal = Terminal("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", model, *QUICK)
    assert terminal.finish() == 0, terminal.screen
    assert b"2/2" in terminal.screen
    assert b"loss " in terminal.screen
    assert b" left" in terminal.screen
    assert b"evaluation 1/2" not in terminal.screen
    assert terminal.screen.rfind(SHOW_CURSOR) > terminal.screen.rfind(HIDE_CURSOR) > -1
    assert Path("out.png").exists()


def test_a_second_ctrl_c_leaves_at_once_and_gives_the_terminal_back(desk: Path, deep_model: Path) -> None:
    before = contents(desk)
    slow = ("--size", "512", "--stages", "1")  # an evaluation must not end between the two signals
    terminal = Terminal("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", deep_model, *slow, *LONG)
    assert terminal.read_until(b"1/100000"), terminal.screen
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.read_until(b"stopping after this evaluation"), terminal.screen
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 1
    assert b"error: left at once; no picture was written" in terminal.screen
    assert terminal.screen.rfind(SHOW_CURSOR) > terminal.screen.rfind(HIDE_CURSOR) > -1
    assert contents(desk) == before


@pytest.mark.slow  # exports over the real weights
def test_leaving_the_demo_keeps_the_model_it_exported_and_does_not_deny_it(real_weights: Weights) -> None:
    running = Running.start("demo", "--model", "new", "--size", "512", "--evaluations", "1000", "--device", "cpu")
    running.wait_for("evaluation 1/")
    running.interrupt()
    running.wait_for("stopping after this evaluation")
    running.interrupt()
    code, out, err = running.finish()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "error: left at once; no picture was written"
    assert impasto_("info", "new").returncode == 0


# --- info -----------------------------------------------------------------------------------------------------


def test_info_shows_what_a_folder_holds(deep_model: Path) -> None:
    done = impasto_("info", deep_model)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for expected in ("vgg19", "RANDOM WEIGHTS", "recipe seed:", "recipe gatys:", "block5_conv3", "sha256", "caffe"):
        assert expected in done.stdout


def test_info_is_json_when_asked(deep_model: Path) -> None:
    done = impasto_("info", "--json", IMPASTO_MODEL=str(deep_model))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["network"] == "vgg19"
    assert found["random_weights"] is True
    assert found["bytes"] == sum(path.stat().st_size for path in deep_model.iterdir())
    assert {"seed", "gatys"} <= set(found["recipes"])
    assert found["recipes"]["seed"]["content"]["layers"] == {"block2_conv2": 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "model missing: no such folder"),
        ("missing.png", "picture missing.png: no such file"),
        ("photo.png", "holds no record of how it was made"),
        (".", "no exported graphs"),
    ],
)
def test_info_refuses_what_is_neither_a_model_nor_a_picture(name: str, reason: str) -> None:
    assert_refused(impasto_("info", name), reason)


# --- export ---------------------------------------------------------------------------------------------------


def export(folder: Path, *options: object, seed: int = 1) -> subprocess.CompletedProcess[str]:
    """Export over random weights; the seed of the `model` fixture is 1."""
    return impasto_("export", "--weights", "random", "--seed", seed, "--output", folder, *options)


@pytest.fixture
def mine(desk: Path) -> Path:
    (desk / "mine.toml").write_text(RECIPE)
    return desk / "mine.toml"


def test_an_export_over_an_existing_folder_needs_force(desk: Path, copy: Path, mine: Path) -> None:
    before = contents(copy.parent)
    assert_refused(export(copy, "--recipe", "gatys"), "has gatys already")
    assert_refused(export(copy, "--recipe", mine, seed=2), "over other weights")
    assert contents(copy.parent) == before


def test_a_new_recipe_joins_those_that_are_there(model: Path, copy: Path, mine: Path) -> None:
    before = contents(copy)
    (copy / "photo.txt").write_text("somebody's notes")
    done = export(copy, "--recipe", mine)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{copy}\n"
    assert "warning: random weights" in done.stderr
    assert "slope" not in done.stderr
    assert re.search(r"^mine: 44 graphs, tried out in [\d.]+ s$", done.stderr, re.M)
    after = contents(copy)
    assert before.items() <= after.items()
    assert (copy / "photo.txt").read_text() == "somebody's notes"
    assert set(json.loads(impasto_("info", "--json", copy).stdout)["recipes"]) == {
        *ModelFolder(model).recipes(),
        "mine",
    }
    out = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", copy, "-r", "mine", *QUICK)
    assert out.returncode == 0, out.stderr


def test_forced_exports_keep_what_is_not_theirs(copy: Path, mine: Path) -> None:
    (copy / "notes").mkdir()
    (copy / "notes" / "photo.txt").write_text("somebody's notes")
    (copy / "list.txt").write_text("somebody's list")
    done = export(copy, "--recipe", mine, "--force", seed=2)
    assert done.returncode == 0, done.stderr
    assert (copy / "notes" / "photo.txt").read_text() == "somebody's notes"
    assert (copy / "list.txt").read_text() == "somebody's list"
    found = json.loads(impasto_("info", "--json", copy).stdout)
    assert set(found["recipes"]) == {"mine"}  # the others were over other weights
    assert found["weights"]["name"] == "seed 2"


def test_a_damaged_model_is_repaired_with_force(copy: Path, mine: Path) -> None:
    damage(copy / "gatys.direct.objective.onnx", 1000)
    (copy / "weights.data").unlink()
    done = export(copy, "--recipe", mine, "--force")
    assert done.returncode == 0, done.stderr
    assert "mine" in json.loads(impasto_("info", "--json", copy).stdout)["recipes"]


def test_a_folder_of_other_things_is_never_replaced(desk: Path, mine: Path) -> None:
    before = contents(desk)
    for folder, reason in ((desk, "holds something else"), (desk / "photo.png", "is a file")):
        assert_refused(export(folder, "--recipe", mine, "--force"), reason)
    assert_refused(export(desk / "photo.png" / "model", "--recipe", mine), "cannot be written")
    assert contents(desk) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--recipe", "bad.toml"), "unknown key colour"),
        (("--recipe", "missing.toml"), "No such file"),
        (("--recipe", "monet"), "recipe 'monet'"),
        (("--recipe", "mine.toml", "--recipe", "mine.toml"), "given twice"),
        (("--recipe", "deep.toml", "--network", "vgg16"), "vgg16 has no layer block3_conv4"),
        (("--network", "vgg11"), "--network 'vgg11'"),
        (("--weights", "missing.npz"), "missing.npz"),
        (("--weights", "photo.png"), "photo.png"),
        (("--preprocessing", "imagenet"), "--preprocessing 'imagenet'"),
    ],
)
def test_bad_exports_write_nothing(desk: Path, mine: Path, options: Sequence[str], reason: str) -> None:
    (desk / "bad.toml").write_text("colour = 3\n" + RECIPE)
    (desk / "deep.toml").write_text(RECIPE.replace("block1_conv1", "block3_conv4"))
    before = contents(desk)
    weights = () if "--weights" in options else ("--weights", "random")
    assert_refused(impasto_("export", "--output", "new", *weights, *options), reason)
    assert contents(desk) == before
    assert not (desk / "new").exists()
