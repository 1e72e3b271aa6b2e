"""Runs one can trust: interrupted, killed, out of space or made again, nothing is lost, and no file is broken."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image
from processes import Running, assert_refused, command, contents, environment, impasto_, lay_out, limited, link

from impasto import figures
from impasto.runtime.model.metadata import METADATA_KEY
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import read_text
from impasto.runtime.run.record import KEYWORD, MIXED, Record
from impasto.runtime.run.watch import PREVIEW, SAVED

#: The quickest of transfers; one thread, for the same bits everywhere.
PLACED = ("--recipe", "small", "--device", "cpu", "--lowering", "direct", "--threads", "1")
QUICK = ("--size", "40", "--evaluations", "6", *PLACED)


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path) -> Path:
    """Work in a folder with a photograph and a painting, where the quickest of models is the default one."""
    folder = lay_out(tmp_path / "desk", monkeypatch)
    (folder / "models").mkdir()
    link(folder / "models" / "vgg19", small_model)
    return folder


def stylize(*options: object) -> subprocess.CompletedProcess[str]:
    return impasto_("stylize", "photo.png", "painting.jpg", *options)


def start(*options: object) -> Running:
    return Running.start("stylize", "photo.png", "painting.jpg", *options)


def pixels(path: str | Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def change_metadata(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the metadata of each graph in a model folder."""
    for path in folder.glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False)
        for entry in graph.metadata_props:
            if entry.key == METADATA_KEY:
                data = json.loads(entry.value)
                change(data)
                entry.value = json.dumps(data)
        path.write_bytes(graph.SerializeToString())


def log(path: str | Path = "run.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# --- what is written while it runs ----------------------------------------------------------------------------

ALL = ("--log", "run.jsonl", "--preview", "preview.png", "--save-every", "2", "--checkpoint", "run.impasto")


def test_a_program_is_told_every_evaluation(desk: Path) -> None:
    done = stylize("-o", "out.png", "--log", "run.jsonl", "--json-progress", *QUICK)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line)["step"] for line in done.stderr.splitlines() if line.startswith('{"step": ')]
    more = ("evaluations", "stages", "share", "left")
    assert [{name: step[name] for name in step if name not in more} for step in told] == log()
    assert all((step["evaluations"], step["stages"]) == (6, 1) for step in told)
    assert told[0]["share"] == 1 and told[-1]["share"] < 1 and told[-1]["left"] == 0
    assert not any("evaluation 1/6" in line for line in done.stderr.splitlines())


def test_a_preview_is_written_as_often_as_it_is_asked_for(desk: Path) -> None:
    evaluations = []
    for seconds in ("0", "1000"):
        done = stylize("-o", "out.png", "--force", "--preview", "now.png", "--preview-every", seconds, *QUICK)
        assert done.returncode == 0, done.stderr
        evaluations.append(int(read_text("now.png")[PREVIEW].split()[1]))
    assert evaluations[0] > evaluations[1] == 1
    done = stylize("-o", "out.png", "--force", "--preview-every", "3", *QUICK)
    assert "warning: --preview-every does nothing without --preview" in done.stderr
    assert_refused(stylize("-o", "x.png", "--preview-every", "-1", *QUICK), "--preview-every '-1': expected ")


def test_everything_asked_for_is_there_and_the_checkpoint_is_gone(desk: Path) -> None:
    done = stylize("-o", "out.png", *ALL, *QUICK)
    assert done.returncode == 0, done.stderr
    expected = ["out.0002.png", "out.0004.png", "out.0006.png", "out.png", "painting.jpg", "photo.png"]
    assert sorted(contents(desk)) == [*expected, "preview.png", "run.jsonl"]
    assert [entry["evaluation"] for entry in log()] == [1, 2, 3, 4, 5, 6]
    assert PREVIEW in read_text("preview.png")
    np.testing.assert_array_equal(pixels("out.0006.png"), pixels("out.png"))
    assert Record.read("out.0004.png").plan.evaluations == 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--log", "old.txt"), "output old.txt: exists already"),
        (("--log", "photo.png", "--force"), "is one of the pictures to be read"),
        (("--log", "none/run.jsonl"), "folder none does not exist"),
        (("--preview", "painting.jpg", "--force"), "is one of the pictures to be read"),
        (("--preview", "old.png"), "output old.png: exists already"),
        (("--preview", "preview.gif"), "unknown format '.gif'"),
        (("--preview", "out.png"), "output out.png: is also the preview"),
        (("--checkpoint", "run.x", "--log", "../desk/run.x"), "is also the checkpoint"),
        (("--checkpoint", "old.txt"), "checkpoint old.txt: exists already; go on from it with --resume"),
        (("--checkpoint", "old.txt", "--resume"), "is damaged, or no checkpoint"),
        (("--checkpoint", "none/run.x"), "folder none does not exist"),
        (("--resume",), "name the checkpoint with --checkpoint"),
        (("--save-every", "0"), "--save-every"),
        (("--save-every", "3"), "out.0003.png: exists already"),
        (("--save-every", "3", "--init", "out.0003.png", "--force"), "is one of the pictures to be read"),
        (("--save-every", "2", "--preview", "out.0004.png"), "--save-every: out.0004.png is also the preview"),
        (("--stages", "2", "--restart-every", "20"), "--stages is 2: with --restart-every there is one"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_before_any_work(
    desk: Path, options: tuple[str, ...], reason: str
) -> None:
    (desk / "old.txt").write_text("somebody's work")
    shutil.copy("photo.png", "old.png")
    shutil.copy("photo.png", "out.0003.png")
    before = contents(desk)
    assert_refused(stylize("-o", "out.png", *QUICK, *options), reason)
    assert contents(desk) == before


def test_previews_of_earlier_runs_are_replaced_unasked() -> None:
    for name in ("one.png", "two.png"):
        done = stylize("-o", name, "--preview", "preview.png", *QUICK)
        assert done.returncode == 0, done.stderr


# --- Ctrl-C and --resume --------------------------------------------------------------------------------------


def test_after_ctrl_c_the_same_command_goes_on_with_resume(desk: Path) -> None:
    options = ("-o", "out.png", "--triptych", "sheet.png", *ALL[:-2], "--size", "40", "--evaluations", "200", *PLACED)
    options = (*options, "--checkpoint", "run.impasto")
    running = start(*options)
    running.wait_for("evaluation 11/200")
    running.interrupt()
    code, _, err = running.finish()
    assert code == 1
    assert "go on from run.impasto with the same command and --resume" in err
    made = Record.read("out.png").plan.evaluations
    assert [entry["evaluation"] for entry in log()] == list(range(1, made + 1))
    assert_refused(stylize(*options), "checkpoint run.impasto: exists already; go on from it with --resume")
    done = stylize(*options, "--resume")
    assert done.returncode == 0, done.stderr
    assert f"resuming run.impasto after evaluation {made} of 200; L-BFGS learns the curvature anew" in done.stderr
    assert [entry["evaluation"] for entry in log()] == list(range(1, 201))
    record = Record.read("out.png")
    assert (record.plan.evaluations, record.outcome.resumed, record.plan.restarts) == (200, (made,), (made,))
    assert not Path("run.impasto").exists()
    assert sorted(p.name for p in desk.iterdir() if p.name.startswith(".")) == []
    done = impasto_("rerun", "out.png", "-o", "again.png")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))


def interrupted(*options: object) -> None:
    """Leave a checkpoint of a run of six evaluations, by its time limit."""
    done = stylize("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--time-limit", "0.000001", *options)
    assert done.returncode == 0, done.stderr
    told = "go on from run.impasto with the same command, --resume and a longer --time-limit, or none"
    assert done.stderr.splitlines()[-1] == told


def test_a_run_that_ends_in_a_coarse_stage_says_from_which_its_picture_is() -> None:
    done = stylize("-o", "out.png", *QUICK, "--size", "72x64", "--stages", "2", "--time-limit", "0.000001")
    assert done.returncode == 0, done.stderr
    assert "seconds was reached; the picture is that of stage 1, 36x32, enlarged\n" in done.stderr
    assert "wrote out.png (72x64)" in done.stderr
    assert pixels("out.png").shape == (64, 72, 3)


def test_a_run_that_its_time_limit_ended_goes_on_with_another(desk: Path) -> None:
    interrupted()
    done = stylize("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["evaluations"], found["resumed"]) == (6, [1])


def test_a_result_that_was_changed_since_is_not_replaced(desk: Path) -> None:
    interrupted()
    Image.open("photo.png").save("out.png")
    before = contents(desk)
    resume = ("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--resume")
    assert_refused(stylize(*resume), "output out.png: exists already")
    assert contents(desk) == before
    assert stylize(*resume, "--force").returncode == 0


def test_a_resumed_run_that_is_killed_still_knows_the_result_it_may_replace(desk: Path) -> None:
    interrupted("--evaluations", "200")
    options = ("-o", "out.png", *QUICK, "--evaluations", "200", "--checkpoint", "run.impasto", "--resume")
    noted = Path("run.impasto").read_bytes()
    running = start(*options)
    running.wait_for("evaluation 2/200")  # the checkpoint is written before that is shown
    running.process.kill()
    running.finish()
    assert Path("run.impasto").read_bytes() != noted
    done = stylize(*options)
    assert done.returncode == 0, done.stderr


def test_pictures_in_between_are_replaced_after_a_kill_without_records_too(desk: Path) -> None:
    interrupted("--no-record", "--save-every", "2")
    (desk / "out.0002.png").write_bytes((desk / "out.png").read_bytes())
    resume = ("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--resume", "--no-record", "--save-every", "2")
    assert_refused(stylize(*resume), "output out.0002.png: exists already")  # not one of ours
    write_picture(Image.open("photo.png").convert("RGB"), "out.0002.png", text={SAVED: "evaluation 2 of 6"})
    assert stylize(*resume).returncode == 0
    assert SAVED in read_text("out.0004.png")
    assert KEYWORD not in read_text("out.0004.png")


def test_resuming_another_run_is_refused_and_what_differs_is_said(desk: Path) -> None:
    interrupted("--log", "run.jsonl")
    Image.open("photo.png").rotate(180).save("turned.png")
    before = contents(desk)
    resume = ("-o", "new.png", "--checkpoint", "run.impasto", "--resume", "--log", "run.jsonl")
    assert_refused(stylize(*resume, *QUICK, "--noise", "0.5"), "is of another run (noise is 0.5, was 0.0)")
    other = impasto_("stylize", "turned.png", "painting.jpg", *resume, *QUICK)
    assert_refused(other, f"content {desk / 'turned.png'} is another picture")
    Path("run.jsonl").write_text("{}\n")
    assert_refused(stylize(*resume, *QUICK), "is not the one of the run to be resumed")
    assert contents(desk) == {**before, "run.jsonl": contents(desk)["run.jsonl"]}


def test_a_run_goes_on_with_the_optimizer_it_began_with_where_the_recipe_names_another_by_now(
    desk: Path, small_model: Path, tmp_path: Path
) -> None:
    interrupted()
    newer = tmp_path / "newer"
    shutil.copytree(small_model, newer)
    change_metadata(newer, lambda data: data["recipe"].update(optimizer="lbfgs-sobolev"))
    options = ("--model", newer, "--checkpoint", "run.impasto", "--resume")
    assert_refused(stylize("-o", "new.png", *options, *QUICK, "--optimizer", "lbfgs-sobolev"), "optimizer is")
    done = stylize("-o", "new.png", *options, *QUICK)
    assert done.returncode == 0, done.stderr
    assert Record.read("new.png").plan.optimizer == "lbfgs"
    assert stylize("-o", "own.png", "--model", newer, *QUICK).returncode == 0
    assert Record.read("own.png").plan.optimizer == "lbfgs-sobolev"


def test_a_rerun_takes_the_recorded_optimizer_where_the_recipe_names_another_by_now(
    desk: Path, small_model: Path, tmp_path: Path
) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    newer = tmp_path / "newer"
    shutil.copytree(small_model, newer)
    change_metadata(newer, lambda data: data["recipe"].update(optimizer="lbfgs-sobolev"))
    done = impasto_("rerun", "out.png", "-o", "again.png", "--model", newer)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))


def test_no_checkpoint_yet_begins_at_the_start_and_says_so() -> None:
    done = stylize("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--resume")
    assert done.returncode == 0, done.stderr
    assert "no checkpoint run.impasto yet: the run begins at its start" in done.stderr


@pytest.mark.parametrize("lines", [0, 1])
def test_a_run_killed_between_log_and_checkpoint_begins_again_with_resume(lines: int) -> None:
    options = ("-o", "out.png", *QUICK, "--log", "run.jsonl", "--checkpoint", "run.impasto")
    assert stylize(*options).returncode == 0
    whole = Path("run.jsonl").read_bytes()
    Path("run.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    Path("out.png").unlink()
    done = stylize(*options, "--resume")
    assert done.returncode == 0, done.stderr
    assert [entry["evaluation"] for entry in log()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("content", ['{"evaluation": 1}\n{"evaluation": 2}\n', "some notes\n", "[1]", "{}"])
def test_resume_without_a_checkpoint_replaces_no_log_that_holds_more(desk: Path, content: str) -> None:
    Path("run.jsonl").write_text(content)
    before = contents(desk)
    done = stylize("-o", "out.png", *QUICK, "--log", "run.jsonl", "--checkpoint", "run.impasto", "--resume")
    assert done.returncode == 2
    assert "run.jsonl: exists already" in done.stderr.splitlines()[-1]
    assert contents(desk) == before


def test_force_begins_anew() -> None:
    interrupted()
    done = stylize("-o", "out.png", *QUICK, "--checkpoint", "run.impasto", "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] == []


# --- SIGKILL --------------------------------------------------------------------------------------------------


def wait_for_lines(count: int) -> None:
    """Wait until a log has so many lines; for none, until the process may have read its inputs."""
    path, deadline = Path("run.jsonl"), time.monotonic() + 120
    while count and (path.read_bytes().count(b"\n") if path.exists() else 0) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05 if count else 1.0)


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(desk: Path) -> None:
    options = ("-o", "out.png", *ALL, "--size", "64x64", "--stages", "2", "--evaluations", "200", *PLACED)
    for logged in (0, 1, 40, 130):
        running = start(*options, "--resume")
        wait_for_lines(logged)
        running.process.kill()
        assert running.finish()[0] == -9
        assert not Path("out.png").exists()
        for path in desk.glob("*.png"):
            pixels(path)  # nothing is broken
        if logged:
            lines = Path("run.jsonl").read_text().splitlines()
            assert [json.loads(line)["evaluation"] for line in lines[:logged]] == list(range(1, logged + 1))
    done = stylize(*options, "--resume")
    assert done.returncode == 0, done.stderr
    assert [entry["evaluation"] for entry in log()] == list(range(1, 201))
    record = Record.read("out.png")
    assert record.plan.evaluations == record.outcome.evaluations == 200
    assert 1 <= len(record.outcome.resumed) <= 3
    assert not Path("run.impasto").exists()
    done = impasto_("rerun", "out.png", "-o", "again.png")
    assert "the same picture as out.png, bit for bit" in done.stderr


# --- disks ----------------------------------------------------------------------------------------------------


def test_on_a_full_disk_the_run_is_warned_of_and_fails_at_its_end_only(desk: Path) -> None:
    before = contents(desk)
    done = limited(200, "stylize", "photo.png", "painting.jpg", "-o", "out.png", *ALL, *QUICK)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    for what in ("log", "checkpoint", "preview", "picture in between"):
        assert sum(line.startswith(f"warning: {what}: ") for line in lines) == 1, what
    assert sum(line.startswith("evaluation ") for line in lines) >= 3
    assert lines[-1].startswith("error: output out.png: could not be written (File too large); make room")
    assert {name: digest for name, digest in contents(desk).items() if name != "run.jsonl"} == before
    assert Path("run.jsonl").read_bytes() == b""


def test_what_there_is_no_room_for_is_in_the_checkpoint(desk: Path) -> None:
    """The limit is enough for the checkpoint and the result, and not for six pictures side by side."""
    noisy = [f"noise{k}.png" for k in range(4)]
    for k, name in enumerate(noisy):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (40, 56, 3), np.uint8)).save(name)
    arguments = ("stylize", "photo.png", *noisy, "-o", "out.png", "--triptych", "sheet.png", *QUICK)
    arguments = (*arguments, "--checkpoint", "run.impasto")
    done = limited(27_000, *arguments)
    assert done.returncode == 1, done.stderr
    assert "nothing is lost: run.impasto has it all for --resume" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: output sheet.png: could not be written")
    made = pixels("out.png")
    again = impasto_(*arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert "evaluation 6/6" not in again.stderr  # none was left to make
    np.testing.assert_array_equal(pixels("out.png"), made)
    assert Path("sheet.png").exists()
    assert not Path("run.impasto").exists()


def on_small_disk(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a folder that is a file system of 200 kB, in a name space of its own."""
    text = f'mount -t tmpfs -o size=200k none "{folder}" && cd "{folder}" && {script}'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", text],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )


def can_mount(folder: Path) -> bool:
    try:
        return on_small_disk(folder, "true").returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("ballast", [196, 160])
def test_on_a_small_file_system_that_fills_up_nothing_is_broken(desk: Path, tmp_path: Path, ballast: int) -> None:
    folder, after = tmp_path / "disk", tmp_path / "after"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("needs to mount a file system of its own (user name spaces)")
    inputs = (desk / "photo.png", desk / "painting.jpg")
    program = shlex.join(command("stylize", *inputs, "-o", "out.png", "--model", desk / "models/vgg19", *ALL, *QUICK))
    script = f"""
        head -c {ballast}k /dev/zero > ballast; {program}; echo code $? >&2; cp -r . {after}-full
        rm ballast; {program} --resume --force; echo code $? >&2; cp -r . {after}"""
    done = on_small_disk(folder, script)
    first, second, rest = done.stderr.split("code ")
    assert "No space left on device" in first
    assert second.startswith("1" if ballast == 196 else ("0", "1"))
    assert rest == "0\n"
    for copy in (Path(f"{after}-full"), after):
        assert not any(path.name.startswith(".") for path in copy.iterdir())
        for path in copy.glob("*.png"):
            pixels(path)
        log(copy / "run.jsonl")
    assert Record.read(after / "out.png").plan.evaluations == 6
    assert not (after / "run.impasto").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(desk: Path) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a folder where not even root can write")
    before = contents(desk)
    for options in (
        ("-o", "/proc/self/out.png"),
        ("-o", "out.png", "--log", "/proc/self/run.jsonl"),
        ("-o", "out.png", "--preview", "/proc/self/preview.png"),
        ("-o", "out.png", "--checkpoint", "/proc/self/run.impasto"),
    ):
        assert_refused(stylize(*options, *QUICK), "cannot be written")
    assert contents(desk) == before


# --- rerun ----------------------------------------------------------------------------------------------------

PLANS: dict[str, tuple[str, ...]] = {
    "coarse to fine, noise, colours": (
        "--size", "72x64", "--stages", "2", "--evaluations", "8", "--noise", "0.4", "--seed", "9",
        "--colors", "match", "--strength", "0.7", "--clip",
    ),
    "kept colours, restarts": ("--size", "40", "--evaluations", "9", "--restart-every", "4", "--colors", "keep"),
    "colours of pixels": ("--size", "40", "--evaluations", "3", "--colors", "keep-pixels"),
    "adam, statistics": ("--size", "72x64", "--stages", "2", "--evaluations", "7", "--optimizer", "adam",
                         "--init", "statistics", "--style-scale", "1.5", "--colors", "match-lab"),
    "lbfgs-sobolev, coarse to fine": ("--size", "72x64", "--stages", "2", "--evaluations", "9", "--clip",
                                      "--optimizer", "lbfgs-sobolev"),
    "style crop": ("--size", "40", "--evaluations", "3", "--style-crop", "2,1,0,3"),
    "bleed, coarse to fine": ("--size", "72x64", "--stages", "2", "--evaluations", "6", "--bleed", "6"),
    "boldness": ("--size", "72x64", "--stages", "2", "--evaluations", "6", "--boldness", "-0.5"),
    "a picture to start from": ("--size", "40", "--evaluations", "4", "--init", "start.png", "--tv-weight", "3"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_rerun_gives_the_same_bits(desk: Path, name: str) -> None:
    Image.open("photo.png").rotate(180).save("start.png")
    made = stylize("-o", "out.png", *PLANS[name], "--device", "cpu", "--recipe", "small")
    assert made.returncode == 0, made.stderr
    done = impasto_("rerun", "out.png", "-o", "again.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["identical"] is True
    assert "the bits may differ" not in done.stderr
    assert "the same picture as out.png, bit for bit" in done.stderr
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))
    first, second = Record.read("out.png"), Record.read("again.png")
    assert (first.plan, first.origin) == (second.plan, second.origin)
    assert first.outcome.loss == second.outcome.loss


def test_a_rerun_of_a_jpeg_with_profile_and_alpha_is_the_same_file_content(desk: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.open("photo.png").convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save("photo.png", icc_profile=profile)
    for name in ("out.jpg", "out.png"):
        assert stylize("-o", name, *QUICK).returncode == 0
        again = f"again{Path(name).suffix}"
        done = impasto_("rerun", name, "-o", again)
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(pixels(again), pixels(name))
        with Image.open(again) as one, Image.open(name) as other:
            assert one.info["icc_profile"] == other.info["icc_profile"]


def test_a_rerun_refuses_other_pictures_and_takes_moved_ones(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    Path("photo.png").rename("moved.png")
    refused = impasto_("rerun", "out.png", "-o", "again.png")
    assert_refused(refused, f"out.png: its content is no file photo.png in {desk}")
    assert "say where it is now with --content" in refused.stderr
    done = impasto_("rerun", "out.png", "-o", "again.png", "--content", "moved.png")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))


def test_a_rerun_of_a_strangers_picture_opens_nothing_that_only_its_record_names(desk: Path, tmp_path: Path) -> None:
    """The record has absolute places, as those of older versions have; the picture has been moved away from them."""
    assert stylize("-o", "out.png", "--record-places", *QUICK).returncode == 0
    assert str(desk) in read_text("out.png")[KEYWORD]
    away = tmp_path / "away"
    away.mkdir()
    Path("out.png").rename(away / "out.png")
    options = (away / "out.png", "-o", away / "again.png")
    assert_refused(impasto_("rerun", *options), f"or open {desk / 'photo.png'} with --trust-record")
    assert sorted(contents(away)) == ["out.png"]
    for trusted in (("--trust-record",), ("--inputs", desk)):
        done = impasto_("rerun", *options, *trusted, "--force")
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(pixels(away / "again.png"), pixels(away / "out.png"))


def test_results_name_no_folder_unless_it_is_wished_for(desk: Path) -> None:
    assert stylize("-o", "out.png", "--save-every", "6", *QUICK).returncode == 0
    for name in ("out.png", "out.0006.png"):
        assert "photo.png" in read_text(name)[KEYWORD]
        assert str(desk) not in read_text(name)[KEYWORD]


def test_a_rerun_with_other_threads_warns_and_compares(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    done = impasto_("rerun", "out.png", "-o", "again.png", "--threads", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: the bits may differ: threads 2 instead of 1" in done.stderr
    found = json.loads(done.stdout)
    assert found["identical"] == np.array_equal(pixels("again.png"), pixels("out.png"))
    assert Record.read("again.png").origin.placement.threads == 2


def test_every_loss_of_less_precise_evaluations_says_its_precision(desk: Path) -> None:
    made = stylize("-o", "out.png", *QUICK, "--precision", "fp16", "--log", "run.jsonl", "--json")
    assert made.returncode == 0, made.stderr
    told, best = json.loads(made.stdout), min(entry["loss"] for entry in log())
    assert (told["precision"], told["loss_precision"]) == ("fp16", "fp32")
    assert told["loss"] != best and told["loss"] == pytest.approx(best, rel=1e-2)
    assert {entry["precision"] for entry in log()} == {"fp16"}
    last = f"loss {figures.shared(told['loss'], told['share'], 'float32')} after 6 evaluations"
    assert last in made.stderr and f"loss {figures.number(best)} in float16 (" in made.stderr
    assert f"{figures.number(told['loss'])} in float32 (" in impasto_("info", "out.png").stdout
    again = impasto_("rerun", "out.png", "-o", "again.png", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["loss"] == told["loss"]


def test_losses_of_float32_are_told_without_a_precision(desk: Path) -> None:
    made = stylize("-o", "out.png", *QUICK)
    assert "loss" in made.stderr and "float" not in made.stderr + impasto_("info", "out.png").stdout


def test_a_rerun_to_another_picture_tells_both_losses_if_they_compare(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    outcome = Record.read("out.png").outcome
    rewritten(outcome.sha256, "0" * 64)
    done = impasto_("rerun", "out.png", "-o", "again.png")
    loss = figures.number(outcome.loss)
    assert f"some bits differ; loss {loss} instead of {loss}, both in float32" in done.stderr
    rewritten('"loss_precision": "fp32"', '"loss_precision": "fp16"')
    done = impasto_("rerun", "out.png", "-o", "again.png", "--force")
    assert "some bits differ\n" in done.stderr


def rewritten(old: str, new: str) -> None:
    """Change the record in out.png."""
    text = read_text("out.png")[KEYWORD]
    assert old in text
    write_picture(Image.open("out.png"), "out.png", text={KEYWORD: text.replace(old, new)})


def test_a_rerun_says_what_is_not_as_it_was(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    record = Record.read("out.png")
    weights, version = record.origin.model.weights_sha256, record.origin.machine.versions["scipy"]
    rewritten(weights, "0" * 64)
    rewritten(f'"scipy": "{version}"', '"scipy": "0.1\\u001b[2J"')
    assert_refused(impasto_("rerun", "out.png", "-o", "again.png"), "model models/vgg19: has other weights")
    done = impasto_("rerun", "out.png", "-o", "again.png", "--model", "models/vgg19")
    assert done.returncode == 0, done.stderr
    (warning,) = (line for line in done.stderr.splitlines() if "the bits may differ" in line)
    assert f"scipy {version} instead of 0.1\\u001b[2J" in warning
    assert "other weights in " in warning


def test_inputs_that_were_no_files_are_asked_for(desk: Path) -> None:
    photo = Path("photo.png").read_bytes()
    done = subprocess.run(
        command("stylize", "-", "painting.jpg", "-o", "out.png", *QUICK),
        input=photo,
        capture_output=True,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    refused = impasto_("rerun", "out.png", "-o", "again.png")
    assert_refused(refused, "out.png: its content came from standard input; say where it is now with --content")
    done = impasto_("rerun", "out.png", "-o", "again.png", "--content", "photo.png")
    assert "bit for bit" in done.stderr


def test_a_rerun_replaces_nothing(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    before = contents(desk)
    assert_refused(impasto_("rerun", "out.png", "-o", "photo.png", "--force"), "one of the pictures to be read")
    assert_refused(impasto_("rerun", "out.png", "-o", "out.png", "--force"), "one of the pictures to be read")
    assert_refused(impasto_("rerun", "painting.jpg", "-o", "again.png"), "holds no record of how it was made")
    assert_refused(impasto_("rerun", "missing.png", "-o", "again.png"), "no such file")
    assert contents(desk) == before


def test_of_a_mixed_picture_rerun_and_info_say_that_it_was_mixed(desk: Path) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    assert impasto_("mix", "out.png", "photo.png", "-o", "mixed.png", "--strength", "0.5").returncode == 0
    done = impasto_("rerun", "mixed.png", "-o", "again.png")
    assert done.returncode == 0, done.stderr
    assert "the same picture as mixed.png before impasto mix, bit for bit" in done.stderr
    np.testing.assert_array_equal(pixels("again.png"), pixels("out.png"))
    assert 'mixed afterwards       {"strength": 0.5, "colors": "style"}' in impasto_("info", "mixed.png").stdout
    assert "mixed afterwards" not in impasto_("info", "out.png").stdout
    found = json.loads(impasto_("info", "--json", "mixed.png").stdout)
    assert found["mixed"] == {"strength": 0.5, "colors": "style"}


def test_no_record_is_written_where_none_is_wished_for(desk: Path) -> None:
    assert stylize("-o", "out.png", "--no-record", *QUICK).returncode == 0
    assert read_text("out.png") == {}
    assert str(desk).encode() not in Path("out.png").read_bytes()


# --- info -----------------------------------------------------------------------------------------------------


def test_info_shows_how_a_picture_was_made(desk: Path) -> None:
    options = ("--seed", "4", "--noise", "0.25", "--colors", "keep", "--strength", "0.5")
    assert stylize("-o", "out.jpg", *options, *QUICK).returncode == 0
    done = impasto_("info", "out.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    record = Record.read("out.jpg")
    for expected in (
        "out.jpg: 33x40, made on 20", "photo.png (40x48", record.inputs("style")[0].sha256[:16], "small",
        "6 at 33x40", "content, 0.25 of it noise, seed 4", "keep", "0.5",
        f" {figures.shared(record.outcome.loss, record.outcome.share or 0)} after 6 evaluations in ",
        "all 6 evaluations were made", "style/block1_conv1", "RANDOM", "cpu, direct", "onnxruntime ",
    ):  # fmt: skip
        assert expected in done.stdout, done.stdout
    found = json.loads(impasto_("info", "--json", "out.jpg").stdout)
    assert found == json.loads(record.to_json())


#: What a terminal obeys, or what makes a line look like another one: C0, DEL, C1, directions, no width, line ends.
WILD = "\x1b[2J\x07\x7f\x9b\u200b\u200f\u2028\u2029\u202e\u2066\ufeff\n"


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_info_prints_no_control_characters_of_strangers(json_: tuple[str, ...]) -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    for old in ("all 6 evaluations were made", "photo.png", '"numpy": "'):
        rewritten(old, old + json.dumps(WILD)[1:-1])
    text = read_text("out.png")
    write_picture(Image.open("out.png"), "out.png", text={**text, MIXED: WILD})
    done = impasto_("info", *json_, "out.png")
    assert done.returncode == 0, done.stderr
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert done.stdout.count("\\u001b[2J") >= 4
    if json_:
        assert json.loads(done.stdout)["outcome"]["reason"].endswith(WILD)
        assert json.loads(done.stdout)["mixed"] == WILD


def test_errors_show_no_control_characters_of_strangers() -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    rewritten('"init": "content", "noise": 0.0', f'"init": {json.dumps(WILD)}, "noise": 0.0')
    for command_ in (("info", "out.png"), ("rerun", "out.png", "-o", "again.png")):
        done = impasto_(*command_)
        assert_refused(done, "expected random, content")
        assert done.stderr.rstrip("\n").isprintable()
    done = impasto_("info", f"{WILD.replace('/', '')}.png")
    assert done.returncode == 2
    assert done.stderr.rstrip("\n").isprintable()


def test_info_and_recipes_show_no_control_characters_of_a_models_metadata(small_model: Path, tmp_path: Path) -> None:
    def corrupt(data: dict[str, Any]) -> None:
        data["network"] = data["exporter"] = data["recipe"]["description"] = f"x{WILD}x"
        data["weights"][f"odd{WILD}"] = WILD

    copy = tmp_path / "model"
    shutil.copytree(small_model, copy)
    change_metadata(copy, corrupt)
    for command_ in (
        ("info", copy),
        ("info", "--json", copy),
        ("recipes", "-m", copy),
        ("recipes", "--json", "-m", copy),
    ):
        done = impasto_(*command_)
        assert done.returncode == 0, done.stderr
        assert all(line.isprintable() for line in done.stdout.split("\n")), command_
    assert "\\u001b[2J" in done.stdout


def test_mixed_text_without_end_is_shown_as_it_is() -> None:
    assert stylize("-o", "out.png", *QUICK).returncode == 0
    write_picture(Image.open("out.png"), "out.png", text={**read_text("out.png"), MIXED: "[" * 50_000})
    done = impasto_("info", "--json", "out.png")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mixed"] == "[" * 50_000
