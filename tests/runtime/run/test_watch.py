"""What is written while a transfer runs: whole files only, and never at the cost of the run."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.runtime import InputError, OutputError, Result, Step, TransferError, stylize
from impasto.runtime.engine.evaluator import Value
from impasto.runtime.pictures.photographs import Photograph, read_text
from impasto.runtime.run.checkpoint import Checkpoints
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Origin, Record
from impasto.runtime.run.watch import PREVIEW, PREVIEW_SIDE, SAVED, Log, Preview, Saves, line, together

Scarce = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def model(small_model: Path) -> Path:
    """Return the quickest of models, for all tests here."""
    return small_model


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8))


def run(model: Path, callback: Callable[[Step], None], **options: Any) -> Result:
    good: dict[str, Any] = {"model": model, "recipe": "small", "size": 40, "evaluations": 5, "callback": callback}
    return stylize(picture(0), [picture(1)], **{**good, "device": "cpu", "lowering": "direct", "threads": 1, **options})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


# --- preview --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["preview.png", "preview.jpg"])
def test_a_preview_is_a_whole_picture_after_every_improvement(model: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sizes: list[tuple[int, int]] = []

    def look(step: Step) -> None:
        with Image.open(path) as image:
            image.load()
            sizes.append(image.size)
        if path.suffix == ".png" and step.improved:
            np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(step.picture()))

    run(model, together(Preview(path, seconds=0), look))
    assert sizes == [(40, 33)] * 5
    assert PREVIEW in read_text(path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_preview_is_written_at_once_and_then_at_its_pace(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    stamps: list[int] = []
    run(model, together(Preview(path, seconds=1000), lambda step: stamps.append(path.stat().st_mtime_ns)))
    assert len(set(stamps)) == 1
    assert read_text(path)[PREVIEW] == "evaluation 1 of 5"


def test_a_preview_of_a_large_picture_is_smaller_and_has_its_proportions(model: Path, tmp_path: Path) -> None:
    like = Photograph(picture(0), alpha=Image.new("L", (48, 40), 7))
    full: list[Image.Image] = []

    def keep(step: Step) -> None:
        full.append(step.picture())

    options: dict[str, Any] = {"size": (2 * PREVIEW_SIDE, 64), "evaluations": 1, "stages": 1}
    run(model, together(Preview(tmp_path / "preview.png", seconds=0, like=like), keep), **options)
    with Image.open(tmp_path / "preview.png") as image:
        assert image.size == (PREVIEW_SIDE, 32)
        assert image.mode == "RGBA"
        reduced = full[0].resize(image.size, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(image.convert("RGB"), float) - np.asarray(reduced)).mean() < 1


def test_a_preview_has_what_the_photograph_had(model: Path, tmp_path: Path) -> None:
    like = Photograph(picture(0), alpha=Image.new("L", (48, 40), 7))
    run(model, Preview(tmp_path / "preview.png", seconds=0, like=like))
    with Image.open(tmp_path / "preview.png") as image:
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema() == (7, 7)


# --- saves ----------------------------------------------------------------------------------------------------


def test_pictures_in_between_are_named_by_their_evaluations(model: Path, tmp_path: Path) -> None:
    kept: dict[int, Image.Image] = {}
    saves = Saves(tmp_path / "out.png", 2, text=lambda step: {"note": str(step.evaluation)})
    run(model, together(saves, lambda step: kept.update({step.evaluation: step.picture()})))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.0002.png", "out.0004.png"]
    for number in (2, 4):
        path = saves.name(number)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(kept[number]))
        assert read_text(path) == {SAVED: f"evaluation {number} of 5", "note": str(number)}


def test_names_have_room_for_more_digits() -> None:
    assert Saves("a/out.v2.jpg", 1).name(12345) == Path("a/out.v2.12345.jpg")


def test_pictures_that_are_there_are_found_before_the_run(tmp_path: Path) -> None:
    saves = Saves(tmp_path / "out.png", 3)
    saves.check(saves.due(9))
    (tmp_path / "out.0006.png").write_bytes(b"somebody's work")
    with pytest.raises(OutputError, match=r"out\.0006\.png: exists already"):
        saves.check(saves.due(9))
    saves.check(saves.due(5))
    saves.check(saves.due(9, after=6))
    ours = Saves(tmp_path / "out.png", 3, may_replace=lambda path: path.name == "out.0006.png")
    ours.check(ours.due(9))
    with pytest.raises(OutputError, match="does not exist"):
        Saves(tmp_path / "none" / "out.png", 1).check([tmp_path / "none" / "out.0001.png"])
    with pytest.raises(InputError, match="save_every is 0"):
        Saves(tmp_path / "out.png", 0)


# --- log ------------------------------------------------------------------------------------------------------


def test_a_log_has_a_line_for_every_evaluation_as_soon_as_it_is_made(model: Path, tmp_path: Path) -> None:
    counts: list[int] = []
    with Log(tmp_path / "run.jsonl") as log:
        result = run(model, together(log, lambda step: counts.append(len(lines(log.path)))), stages=1)
    assert counts == [1, 2, 3, 4, 5]
    assert log.position == log.path.stat().st_size
    found = lines(log.path)
    assert found == [line(step) for step in result.history]
    for entry, step in zip(found, result.history, strict=True):
        assert (entry["evaluation"], entry["loss"], entry["improved"]) == (step.evaluation, step.loss, step.improved)
        assert sum(entry["terms"].values()) == pytest.approx(entry["loss"], rel=1e-5)
        assert (entry["stage"], entry["width"], entry["height"]) == (1, 40, 33)
        assert entry["change"] == step.change
    assert [entry["seconds"] for entry in found] == sorted(entry["seconds"] for entry in found)


def test_numbers_that_json_does_not_know_are_null(model: Path) -> None:
    (step, *_) = run(model, lambda step: None, evaluations=1).history
    broken = Step(**{**vars(step), "loss": float("nan"), "terms": {"tv": float("inf")}})
    assert json.loads(json.dumps(line(broken), allow_nan=False))["loss"] is None
    assert line(broken)["terms"] == {"tv": None}


def test_a_log_that_is_gone_on_with_loses_what_came_after_its_position(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    marks: list[int] = []
    with Log(path) as log:
        run(model, together(log, lambda step: marks.append(log.position)))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"evaluation": 6, "lo')  # killed while it was written
    with Log(path, marks[2]) as log:
        assert path.read_bytes() == whole[: marks[2]]
        run(model, log, evaluations=1)
    assert [entry["evaluation"] for entry in lines(path)] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"0123456789 no line ends here\n", b"a list of\nthings to do\n", b"{" * 9 + b"\n"]
)
def test_a_log_of_another_run_is_not_cut(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"is not the one of the run to be resumed"):
        Log(path, 10)
    assert path.read_bytes() == content


def test_before_there_is_a_finite_loss_nothing_but_the_log_is_written(model: Path, tmp_path: Path) -> None:
    """The error that is told is that of the loss, not one of what cannot be written of it."""
    transfer = prepare(picture(0), [picture(1)], model=model, recipe="small", size=40, device="cpu", evaluations=3)
    saves = Saves(tmp_path / "out.png", 1, text=lambda step: Record.of(transfer, Origin.of(transfer)).text)
    log = Log(tmp_path / "run.jsonl")
    checkpoints = Checkpoints(tmp_path / "run.impasto", transfer, Origin.of(transfer), seconds=0)
    transfer.callback = together(log, saves, checkpoints, Preview(tmp_path / "preview.png", 0))
    transfer._evaluator = lambda stage, placement: Broken()  # type: ignore[assignment,method-assign,return-value]
    with log, pytest.raises(TransferError, match="the start has no finite loss"):
        transfer.run()
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]
    assert lines(tmp_path / "run.jsonl")[0]["loss"] is None


class Broken:
    """An evaluator whose every loss is infinite."""

    device = "cpu"
    lowering = "direct"
    precision = "fp32"
    warnings = ()

    def evaluate(self, planes: Any) -> Value:
        return Value(math.inf, {"tv": math.inf}, planes)

    def close(self) -> None:
        """Have nothing to give back."""


def test_a_log_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Log(tmp_path / "none" / "run.jsonl")
    with pytest.raises(OutputError, match="cannot be read"):
        Log(tmp_path / "none.jsonl", 10)


# --- trouble --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda folder: Preview(folder / "preview.png", seconds=0), "preview"),
        (lambda folder: Saves(folder / "out.png", 1), "picture in between"),
        (lambda folder: Log(folder / "run.jsonl"), "log"),
    ],
)
def test_a_full_disk_is_one_warning_and_the_run_goes_on(
    model: Path, tmp_path: Path, scarce_space: Scarce, make: Callable[[Path], Callable[[Step], None]], what: str
) -> None:
    watcher = make(tmp_path)
    expected = run(model, lambda step: None)
    with pytest.warns(RuntimeWarning) as told, scarce_space():
        result = run(model, watcher)
    told_of_it = [str(w.message) for w in told if "random weights" not in str(w.message)]
    assert len(told_of_it) == 1
    assert told_of_it[0].startswith(f"{what}: ")
    assert "File too large" in told_of_it[0]
    assert told_of_it[0].endswith("; the run goes on")
    assert result.evaluations == 5
    np.testing.assert_array_equal(np.asarray(result.image), np.asarray(expected.image))
    assert [p for p in tmp_path.iterdir() if p.stat().st_size] == []  # nothing broken, nothing half
    if isinstance(watcher, Log):
        watcher.close()


def test_a_log_on_a_full_disk_holds_whole_lines_and_goes_on_when_there_is_room(
    model: Path, tmp_path: Path, scarce_space: Scarce
) -> None:
    room = contextlib.ExitStack()

    def fill_and_empty(step: Step) -> None:
        if step.evaluation == 1:
            room.enter_context(scarce_space(log.position + 50))  # half a line
        if step.evaluation == 3:
            room.close()

    with room, Log(tmp_path / "run.jsonl") as log, pytest.warns(RuntimeWarning, match=r"log: .*File too large"):
        run(model, together(log, fill_and_empty))
    assert [entry["evaluation"] for entry in lines(log.path)] == [1, 4, 5]
    assert log.position == log.path.stat().st_size


def test_a_preview_whose_folder_vanishes_and_returns_is_there_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    preview = Preview(folder / "preview.png", seconds=0)

    def meddle(step: Step) -> None:
        if step.evaluation == 1:
            (folder / "preview.png").unlink()
            folder.rmdir()
        if step.evaluation == 3:
            folder.mkdir()

    with pytest.warns(RuntimeWarning, match="preview: .*could not be written"):
        run(model, together(preview, meddle), evaluations=8)
    with Image.open(folder / "preview.png") as image:
        image.load()


def test_errors_of_the_program_itself_are_not_hidden(model: Path) -> None:
    saves = Saves("out.png", 1, text=lambda step: {}[0])  # type: ignore[return-value]
    with pytest.raises(KeyError):
        run(model, saves)
