"""``impasto batch`` as a process: what it makes, keeps, skips and goes on with; and what it refuses before any work."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image
from processes import Running, assert_refused, command, contents, impasto_, lay_out
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.cli.job.job import Job
from impasto.cli.terminal import interrupt
from impasto.runtime.engine import engine as engine_module
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.errors import InputError
from impasto.runtime.pictures.masks import CONTENT_MASK, STYLE_MASK
from impasto.runtime.pictures.protection import PROTECT
from impasto.runtime.plan.crop import Crop
from impasto.runtime.run.record import Record
from impasto.runtime.run.result import Result

QUICK = ("--size", "40", "--evaluations", "3", "--device", "cpu", "--lowering", "direct")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with photographs in another, and two paintings."""
    folder = lay_out(tmp_path / "desk", monkeypatch)
    Path("photos").mkdir()
    (folder / "photo.png").rename("photos/one.png")
    Image.open("photos/one.png").transpose(Image.Transpose.ROTATE_90).save("photos/two.png")
    Image.open("painting.jpg").transpose(Image.Transpose.ROTATE_90).save("other.png")
    return folder


def batch(model: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return impasto_("batch", *arguments, "--model", model, *QUICK)


def pixels(path: str) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_every_photograph_is_painted_with_every_painting_as_single_commands_do(model: Path) -> None:
    done = batch(model, "photos", "--style", "painting.jpg", "--style", "other.png", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(one["content"], one["styles"], one["status"]) for one in told["pictures"]] == [
        ("photos/one.png", ["painting.jpg"], "made"), ("photos/one.png", ["other.png"], "made"),
        ("photos/two.png", ["painting.jpg"], "made"), ("photos/two.png", ["other.png"], "made"),
    ]  # fmt: skip
    assert sorted(contents(Path("out"))) == [
        "one-other.png", "one-painting.png", "two-other.png", "two-painting.png"
    ]  # fmt: skip
    single = impasto_("stylize", "photos/two.png", "other.png", "-o", "single.png", "--model", model, *QUICK)
    assert single.returncode == 0, single.stderr
    assert pixels("single.png") == pixels("out/two-other.png")


def test_what_is_there_is_not_made_again_and_a_failure_stops_nothing(model: Path) -> None:
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    wish = ("photos", "gone.png", "--style", "painting.jpg", "-o", "out", "--report", "report.jsonl")
    first = batch(model, *wish)
    assert first.returncode == 1
    assert "photos/broken.jpg x painting: failed: picture photos/broken.jpg: " in first.stderr
    assert "gone.png x painting: failed: picture gone.png: no such file" in first.stderr
    assert "4 pictures: 2 made, 2 failed" in first.stderr
    assert "Traceback" not in first.stderr
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    Path("photos/broken.jpg").unlink()
    second = batch(model, *wish[:1], *wish[2:])
    assert second.returncode == 0, second.stderr
    assert "2 of 2 pictures are there already" in second.stderr
    assert before == {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    lines = [json.loads(line) for line in Path("report.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["there already", "there already"]


def test_a_picture_of_stylize_is_known_and_one_that_was_mixed_since_is_not(model: Path) -> None:
    Path("out").mkdir()
    single = impasto_(
        "stylize", "photos/one.png", "painting.jpg", "-o", "out/one-painting.png", "--model", model, *QUICK
    )
    assert single.returncode == 0, single.stderr
    wish = ("photos/one.png", "--style", "painting.jpg", "-o", "out")
    assert "1 of 1 pictures are there already" in batch(model, *wish).stderr
    mixed = impasto_("mix", "out/one-painting.png", "photos/one.png", "-o", "mixed.png", "--strength", "0.5")
    assert mixed.returncode == 0, mixed.stderr
    Path("mixed.png").replace("out/one-painting.png")
    assert_refused(batch(model, *wish), "output out/one-painting.png: exists already")


@pytest.mark.parametrize("change", ["plan", "photograph", "painting", "damage"])
def test_pictures_made_otherwise_are_refused_before_any_work_and_replaced_by_force(model: Path, change: str) -> None:
    wish = ["photos", "--style", "painting.jpg", "-o", "out"]
    assert batch(model, *wish).returncode == 0
    match change:
        case "plan":
            wish += ["--seed", "3", "--noise", "0.5"]
        case "photograph":
            Path("photos/two.png").write_bytes(Path("photos/one.png").read_bytes())
        case "painting":
            Image.open("other.png").save("painting.jpg")
        case "damage":
            whole = Path("out/two-painting.png").read_bytes()
            Path("out/two-painting.png").write_bytes(whole[: len(whole) // 2])
    before = contents(Path("out"))
    refused = batch(model, *wish)
    assert refused.returncode == 2, refused.stderr
    assert "exists already" in refused.stderr
    assert contents(Path("out")) == before
    forced = batch(model, *wish, "--force")
    assert forced.returncode == 0, forced.stderr
    assert contents(Path("out")) != before
    assert "are there already" in batch(model, *wish).stderr


def test_pairs_and_blends(model: Path) -> None:
    styles = ("--style", "painting.jpg", "--style", "other.png", "-o", "out")
    assert batch(model, "photos", *styles, "--pairs", "--sheet", "pairs.png").returncode == 0
    assert sorted(contents(Path("out"))) == ["one-painting.png", "two-other.png"]
    assert batch(model, "photos", *styles, "--style-blend", "3,1", "--sheet", "blends.png").returncode == 0
    assert Record.read("out/one-painting+other.png").plan.blend == (0.75, 0.25)
    for name in ("pairs.png", "blends.png"):
        with Image.open(name) as sheet:
            assert sheet.width > 512
    again = batch(model, "photos", *styles, "--pairs", "--sheet", "pairs.png")
    assert again.returncode == 0, again.stderr  # a batch may replace its own sheet
    Image.open("other.png").save("pairs.png")
    refused = batch(model, "photos", *styles, "--pairs", "--sheet", "pairs.png")
    assert_refused(refused, "output pairs.png: exists already")


def with_masks() -> tuple[str, ...]:
    """Draw a mask of two regions for each photograph, ``masks/{content}.png``; return the options of their styles."""
    Path("masks").mkdir()
    for name in ("one", "two"):
        with Image.open(f"photos/{name}.png") as photograph:
            mask = Image.new("RGB", photograph.size, "#ff0000")
            mask.paste("#0000ff", (0, 0, 20, 20))
        mask.save(f"masks/{name}.png")
    return ("--style", "painting.jpg", "--style", "other.png", "--style-mask", "#ff0000", "--style-mask", "#0000ff")


def test_masks_follow_their_pictures(model: Path) -> None:
    wish = with_masks()
    masks = ("--content-mask", "masks/{content}.png", "--protect", "masks/{content}.png", "--blended", "-o", "out")
    done = batch(model, "photos", *wish, *masks)
    assert done.returncode == 0, done.stderr
    made = Record.read("out/two-painting+other.png")
    assert [one.place for one in made.inputs(STYLE_MASK)] == ["#ff0000", "#0000ff"]
    assert [one.place for one in made.inputs(CONTENT_MASK)] == ["two.png"]
    assert [one.place for one in made.inputs(PROTECT)] == ["two.png"]
    assert_refused(batch(model, "photos", *wish[:-2], *masks), "--style-mask: given 1 times for 2 paintings")


def test_strengths_of_regions_and_crops_hold_for_every_picture(model: Path) -> None:
    wish = with_masks()
    more = ("--content-mask", "masks/{content}.png", "--region-strength", "#0000ff=0.5", "--style-crop", "auto")
    done = batch(model, "photos", *wish, *more, "--bleed", "4", "--blended", "-o", "out")
    assert done.returncode == 0, done.stderr
    made = Record.read("out/two-painting+other.png").plan
    assert (made.region_strengths, made.bleed) == ({"#0000ff": 0.5}, 4)
    assert made.crops == (Crop(2, 1, 2, 1), Crop(1, 2, 1, 2))
    again = batch(model, "photos", *wish, *more, "--bleed", "4", "--blended", "-o", "out")
    assert "2 of 2 pictures are there already" in again.stderr
    without = ("--style", "painting.jpg", "--region-strength", "#0000ff=0.5", "-o", "none")
    assert_refused(batch(model, "photos", *without), "there are no regions without --content-mask")


def test_outputs_of_single_pictures_get_names_of_their_own(model: Path) -> None:
    more = ("--name", "{number:02}/{content}.jpg", "--triptych", "{content}-three.png", "--log", "{content}.jsonl")
    done = batch(model, "photos", "--style", "painting.jpg", "-o", "out", *more, "--save-every", "2")
    assert done.returncode == 0, done.stderr
    assert sorted(contents(Path("out"))) == [
        "01/one.0002.jpg", "01/one.jpg", "02/two.0002.jpg", "02/two.jpg",
        "one-three.png", "one.jsonl", "two-three.png", "two.jsonl",
    ]  # fmt: skip


def test_graphs_are_opened_and_paintings_measured_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, measured = [], []

    def counted_open(*arguments: object) -> object:
        opened.append(arguments[2])
        return open_session(*arguments)

    def counted_measure(session: object, feeds: object, kind: str) -> object:
        measured.append(kind)
        return measure(session, feeds, kind)

    open_session, measure = engine_module.open_session, engine_module.measure
    monkeypatch.setattr(engine_module, "open_session", counted_open)
    monkeypatch.setattr(engine_module, "measure", counted_measure)
    for number in range(6):  # of one size
        Image.open("photos/one.png").rotate(number).save(f"photos/more{number}.png")
    Path("photos/two.png").unlink()
    ENGINE.clear()
    wish = ["batch", "photos", "--style", "painting.jpg", "--style", "other.png", "-o", "out", "--model", str(model)]
    done = CliRunner().invoke(app, [*wish, *QUICK])
    assert done.exit_code == 0, done.output
    assert len(opened) == 2  # one gives the loss, the other measures targets
    assert measured.count("style") == 2
    assert measured.count("content") == 14


def test_ctrl_c_keeps_the_best_of_the_present_picture_and_the_same_command_goes_on(model: Path) -> None:
    wish = ("photos", "--style", "painting.jpg", "-o", "out", "--model", model, *QUICK, "--evaluations", "400")
    running = Running.start("batch", *wish)
    running.wait_for("in all")
    while not any(path.stat().st_size > 5000 for path in Path("out/.unfinished").glob("*")):
        time.sleep(0.05)
    time.sleep(0.3)  # the checkpoint is written first; then the evaluation is told, and a signal keeps the picture
    running.interrupt()
    code, _, err = running.finish()
    assert code == 1, err
    assert "2 pictures: 1 ended early" in err
    assert "the same command makes the others" in err
    assert Record.read("out/one-painting.png").outcome.reason == "interrupted"
    again = impasto_("batch", *wish)
    assert again.returncode == 0, again.stderr
    assert "resuming out/.unfinished/one-painting." in again.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["one-painting.png", "two-painting.png"]
    assert len(Record.read("out/one-painting.png").outcome.resumed) == 1


def test_a_batch_that_is_killed_anywhere_loses_nothing_and_does_nothing_twice(model: Path) -> None:
    wish = ("photos", "--style", "painting.jpg", "--style", "other.png", "-o", "out", "--model", model)
    chance = random.Random(0)
    for _ in range(4):
        finished = contents(Path("out")) if Path("out").exists() else {}
        running = Running.start("batch", *wish, *QUICK, "--evaluations", "60")
        time.sleep(chance.uniform(2, 5))
        running.process.kill()
        running.finish()
        now = contents(Path("out")) if Path("out").exists() else {}
        kept = {name: hash_ for name, hash_ in finished.items() if not name.startswith(".unfinished")}
        assert kept.items() <= now.items()
    last = impasto_("batch", *wish, *QUICK, "--evaluations", "60")
    assert last.returncode == 0, last.stderr
    assert len(contents(Path("out"))) == 4
    for path in Path("out").iterdir():
        assert Record.read(path).outcome.evaluations == 60


def test_a_time_limit_is_of_each_picture_and_its_result_is_done(model: Path) -> None:
    wish = ("photos", "--style", "painting.jpg", "-o", "out", "--evaluations", "100000", "--time-limit", "0.5")
    done = impasto_("batch", *wish, "--model", model, *QUICK[:2], *QUICK[4:])
    assert done.returncode == 0, done.stderr
    assert "2 pictures: 2 made" in done.stderr
    again = impasto_("batch", *wish, "--model", model, *QUICK[:2], *QUICK[4:])
    assert "2 of 2 pictures are there already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("photos", "--style", "gone.jpg", "-o", "out"), "picture gone.jpg: no such file"),
        (("photos/*.gif", "--style", "painting.jpg", "-o", "out"), "no file has such a name"),
        (("photos", "--style", "painting.jpg", "-o", "photos"), "lies among the photographs"),
        (("photos", "--style", "painting.jpg", "-o", "no/where"), "output no/where: no folder to write to"),
        (("photos", "--style", "painting.jpg", "-o", "painting.jpg"), "output painting.jpg: no folder to write to"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--name", "{content}.gif"), "unknown format '.gif'"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--name", "same.png"), "would both be"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--name", "{x}.png"), "has no field 'x'"),
        (("photos", "--style", "painting.jpg", "-o", "out", "-r", "monet"), "no recipe 'monet'"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--noise", "2"), "--noise"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--pairs"), "2 photographs and 1 paintings"),
        (
            ("photos", "--style", "painting.jpg", "-o", "out", "--pairs", "--style-blend", "1"),
            "leave --style-blend out",
        ),
        (("photos", "--style", "painting.jpg", "-o", "out", "--pairs", "--blended"), "leave it out to blend"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--sheet", "painting.jpg"), "one of the pictures"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--report", "painting.jpg"), "one of the pictures"),
        (("photos", "--style", "painting.jpg", "-o", ".", "--name", "photos/{content}.png"), "one of the pictures"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--memory", "1MB"), "are available within --memory"),
        (("photos", "--style", "-", "-o", "out"), "picture -: can be read but once"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--name", "{content}" + 250 * "x" + ".png"), "bytes long"),
        (("photos", "--style", "painting.jpg", "-o", ".", "--name", "photos/{style}-{content}.png"), "lies among"),
        (("photos", "--style", "painting.jpg", "-o", "out", "--sheet", "photos/sheet.png"), "lies among"),
        (
            ("photos", "--style", "painting.jpg", "-o", "out", "--init", "gone.png"),
            "--init 'gone.png': expected one of",
        ),
        (("photos", "--style", "painting.jpg", "-o", "out", "--content-mask", "{x}.png"), "has no field 'x'"),
        (
            ("photos", "--style", "painting.jpg", "-o", "out", "--protect", "{x}.png"),
            "has no field 'x'",
        ),
        (
            ("photos", "--style", "other.png", "-o", ".", "--name", "{content}.png", "--init", "one.png", "--force"),
            "one of the pictures to be read",
        ),
    ],
)
def test_bad_wishes_are_refused_before_any_work(
    desk: Path, model: Path, arguments: tuple[str, ...], reason: str
) -> None:
    Image.open("other.png").save("one.png")
    before = contents(desk)
    done = CliRunner().invoke(app, ["batch", *arguments, "--model", str(model), *QUICK], standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert reason in str(done.exception)
    assert contents(desk) == before
    assert not Path("out").exists()


def test_what_is_missing_of_a_result_is_made(model: Path) -> None:
    wish = ("photos/one.png", "--style", "painting.jpg", "-o", "out")
    assert batch(model, *wish).returncode == 0
    before = pixels("out/one-painting.png")
    done = batch(model, *wish, "--triptych", "{content}-three.png")
    assert done.returncode == 0, done.stderr
    with Image.open("out/one-three.png") as triptych:
        assert triptych.width > 100
    Path("out/one-painting.png").unlink()
    refused = batch(model, *wish, "--triptych", "{content}-three.png")
    assert_refused(refused, "output out/one-three.png: exists already")
    assert pixels("out/one-three.png")
    assert batch(model, *wish).returncode == 0
    assert pixels("out/one-painting.png") == before


def test_a_signal_in_the_last_evaluation_ends_the_batch_too(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def carry_out(job: Job, *arguments: object) -> Result:
        result = real(job, *arguments)
        monkeypatch.setattr(interrupt, "_answered", interrupt._answered + 1)
        return result

    real = Job.carry_out
    monkeypatch.setattr(Job, "carry_out", carry_out)
    wish = ["batch", "photos", "--style", "painting.jpg", "-o", "out", "--model", str(model), *QUICK]
    done = CliRunner().invoke(app, wish)
    assert done.exit_code == 1
    assert "2 pictures: 1 made, in" in done.output
    assert "the same command makes the others" in done.output


def test_a_picture_that_another_run_is_making_is_left_to_it(model: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    wish = ("photos/one.png", "--style", "painting.jpg", "-o", "out", "--model", model, *QUICK)
    slow = Running.start("batch", *wish, "--evaluations", "100000")
    slow.wait_for("random weights")
    while not (locks := list(Path("out/.unfinished").glob("*.lock"))):
        time.sleep(0.05)
    with locks[0].open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second = impasto_("batch", *wish, "--evaluations", "100000")
    assert second.returncode == 1
    assert "1 picture: 1 left to another run" in second.stderr
    slow.process.kill()
    slow.finish()


def test_a_mask_that_does_not_fit_is_one_pictures_failure(model: Path) -> None:
    Path("masks").mkdir()
    for name, color in (("one", "#00ff00"), ("two", "#ff0000")):
        with Image.open(f"photos/{name}.png") as photograph:
            Image.new("RGB", photograph.size, color).save(f"masks/{name}.png")
    wish = ("--style", "painting.jpg", "--style-mask", "#ff0000", "--content-mask", "masks/{content}.png", "-o", "out")
    done = batch(model, "photos", *wish)
    assert done.returncode == 1, done.stderr
    assert "2 pictures: 1 made, 1 failed" in done.stderr


def test_a_picture_too_large_for_the_memory_is_named(model: Path) -> None:
    Image.new("RGB", (4000, 3000)).save("photos/large.png")
    wish = ("batch", "photos", "--style", "painting.jpg", "-o", "out", "--model", model, "--size", "content", "-e", "2")
    refused = impasto_(*wish, "--device", "cpu", "--memory", "500MB", "--tile", "off")
    assert_refused(refused, "photos/large.png: size 4000x3000: takes")


def test_heads_that_claim_any_size_are_failures_and_take_no_memory(model: Path) -> None:
    for k, side in enumerate((6000, 100_000, 2**31 - 1)):
        head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        Path(f"photos/a{k}.png").write_bytes(head + png_chunk(b"IDAT", b""))
    done = batch(model, "photos", "--style", "painting.jpg", "-o", "out")
    assert done.returncode == 1, done.stderr
    assert "5 pictures: 2 made, 3 failed" in done.stderr


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_report_on_standard_output_is_printed_there(model: Path) -> None:
    done = batch(model, "photos", "--style", "painting.jpg", "-o", "out", "--report", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["made", "made"]


def test_an_empty_report_of_a_run_that_was_killed_is_no_obstacle(model: Path) -> None:
    Path("report.jsonl").touch()
    done = batch(model, "photos", "--style", "painting.jpg", "-o", "out", "--report", "report.jsonl")
    assert done.returncode == 0, done.stderr
    Path("report.jsonl").write_text("dear diary\n")
    refused = batch(model, "photos", "--style", "painting.jpg", "-o", "out", "--report", "report.jsonl")
    assert_refused(refused, "output report.jsonl: exists already")


@pytest.mark.slow  # half a minute; tests/export/test_provision.py has the same over few layers
def test_a_recipe_that_the_model_lacks_is_added(small_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_model, tmp_path / "copy")
    done = batch(copy, "photos/one.png", "--style", "painting.jpg", "-o", "out", "-r", "seed", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert Record.read("out/one-painting.png").plan.recipe.name == "seed"


def test_a_list_on_standard_input_names_photographs(model: Path) -> None:
    done = subprocess.run(
        [*command("batch", "-"), "--style", "painting.jpg", "-o", "out", "--model", model, *QUICK],
        input="photos/two.png\n\nphotos/one.png\n", capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(contents(Path("out"))) == ["one-painting.png", "two-painting.png"]


def test_one_folder_serves_two_batches_at_once(model: Path) -> None:
    wish = ("photos", "--style", "painting.jpg", "--style", "other.png", "-o", "out", "--model", model, *QUICK)
    runs = [Running.start("batch", *wish) for _ in range(2)]
    ends = [run.finish() for run in runs]
    whole = {"one-painting.png", "two-painting.png", "one-other.png", "two-other.png"}
    assert whole <= {path.name for path in Path("out").iterdir()}, ends
    assert all("Traceback" not in err for _, _, err in ends)
