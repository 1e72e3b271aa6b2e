"""What a server makes of the runs that the last one has left: read from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from impasto.cli.serve import runs
from impasto.cli.serve.errors import StateError
from impasto.cli.serve.events import Hub
from impasto.cli.serve.helper import Helper
from impasto.cli.serve.pictures import Shelf
from impasto.cli.serve.queue import Queue
from impasto.cli.serve.requests import Request
from impasto.cli.serve.runs import Phase, Run
from impasto.cli.serve.settings import Settings

OUTCOME = {
    "width": 64, "height": 48, "loss": 1.0, "terms": {}, "share": 0.5, "evaluations": 4, "seconds": 1.0,
    "reason": "all 4 evaluations were made", "device": "cpu", "interrupted": False,
}  # fmt: skip

STEP = json.dumps({"step": {"evaluation": 3}})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def queue_of(data: Path) -> Queue:
    return Queue(Settings(data, data / "model", "token"), Hub(), Shelf(data / "pictures", Helper()))


def left(data: Path, phase: Phase, *, files: dict[str, str] | None = None, **more: Any) -> Run:
    """Make a run as a server has left it."""
    run = runs.new_run(data / "runs", Request("a", ("b",)), "impasto stylize", "a x b", {"at_most": None})
    run.phase = phase
    for name, value in more.items():
        setattr(run, name, value)
    for name, text in (files or {}).items():
        run.file(name).write_text(text)
    run.save()
    return run


def found(data: Path, phase: Phase, **more: Any) -> Run:
    """Return what another server makes of a run that one has left."""
    run = left(data, phase, **more)
    return queue_of(data)[run.id]


def test_a_run_whose_process_has_gone_is_the_next(data: Path) -> None:
    waiting = left(data, Phase.WAITING)
    run = left(data, Phase.RUNNING, pid=2**22 + 1, born=1.0, files={runs.MESSAGES: f"{STEP}\nhello\n"})
    queue = queue_of(data)
    assert [(one.id, one.phase) for one in queue] == [(run.id, Phase.WAITING), (waiting.id, Phase.WAITING)]
    assert queue[run.id].step == {"evaluation": 3} and queue[run.id].messages == ["hello"]
    assert queue.describe(queue[run.id])["position"] == 1
    assert [one.id for one in queue_of(data)] == [run.id, waiting.id]


def test_a_process_of_the_same_number_is_not_taken_for_the_runs_own(data: Path) -> None:
    run = left(data, Phase.RUNNING, pid=1, born=1.0)
    assert queue_of(data)[run.id].phase is Phase.WAITING


def test_a_run_that_has_ended_meanwhile_is_done(data: Path) -> None:
    files = {runs.OUTCOME: json.dumps(OUTCOME), runs.RESULT: "picture"}
    run = found(data, Phase.RUNNING, files=files)
    assert run.phase is Phase.DONE and run.result is not None
    assert run.result["bytes"] == len("picture") and "interrupted" not in run.result


@pytest.mark.parametrize(("phase", "expected"), [(Phase.RUNNING, Phase.WAITING), (Phase.STOPPING, Phase.STOPPED)])
def test_a_run_that_was_interrupted_goes_on_unless_it_was_to_stop(data: Path, phase: Phase, expected: Phase) -> None:
    files = {runs.OUTCOME: json.dumps({**OUTCOME, "interrupted": True}), runs.RESULT: "x", runs.CHECKPOINT: "x"}
    run = found(data, phase, files=files)
    assert run.phase is expected and run.can_resume == (expected is Phase.STOPPED)


def test_a_run_that_never_gets_anywhere_is_not_started_for_ever(data: Path) -> None:
    files = {runs.MESSAGES: "error: of an earlier start\nerror: too little memory; choose another --size\n"}
    run = found(data, Phase.RUNNING, starts=3, files=files)
    assert (run.phase, run.error) == (Phase.FAILED, "too little memory; choose another --size")
    made = left(data, Phase.RUNNING, starts=3, files={runs.MESSAGES: f"{STEP}\n"})
    assert queue_of(data)[made.id].phase is Phase.WAITING


def test_half_of_an_outcome_is_none(data: Path) -> None:
    files = {runs.OUTCOME: json.dumps(OUTCOME)[:20], runs.RESULT: "x"}
    assert found(data, Phase.RUNNING, files=files).phase is Phase.WAITING


def test_what_is_no_run_is_left_alone_and_rests_are_removed(data: Path) -> None:
    run = left(data, Phase.DONE, ended="2026-01-01T00:00:00+00:00")
    for name, text in {"other": "{}", "older": '{"phase": "dreaming"}', ".x.removed": "", "damaged": "{"}.items():
        (data / "runs" / name).mkdir()
        (data / "runs" / name / "run.json").write_text(text)
    (data / "queue.json").write_text('["gone", 3]')
    assert [one.id for one in queue_of(data)] == [run.id]
    assert not (data / "runs" / ".x.removed").exists() and (data / "runs" / "older").exists()


def test_the_order_of_the_queue_is_kept(data: Path) -> None:
    first, second, third = (left(data, Phase.WAITING) for _ in range(3))
    queue = queue_of(data)
    queue.move(queue[third.id], 1)
    queue.move(queue[first.id], 99)
    assert [one.id for one in queue_of(data)] == [third.id, second.id, first.id]


def test_a_full_queue_takes_no_more(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.cli.serve.limits.WAITING", 2)
    queue = queue_of(data)
    for _ in range(2):
        queue.add(Request("a", ("b",)), "", "", {})
    with pytest.raises(StateError, match="queue: 2 runs wait already"):
        queue.add(Request("a", ("b",)), "", "", {})


def test_a_run_waits_until_it_fits_into_memory_beside_the_one_that_goes_on(data: Path) -> None:
    own = psutil.Process()
    left(data, Phase.RUNNING, pid=own.pid, born=own.create_time(), estimate={"at_most": 0})
    sizes = {"huge": 2**60, "small": 1}
    waiting = {name: left(data, Phase.WAITING, estimate={"at_most": size}) for name, size in sizes.items()}
    queue = Queue(Settings(data, data / "model", "token", jobs=2), Hub(), Shelf(data / "pictures", Helper()))
    queue._start_next()
    assert [run.phase for run in queue] == [Phase.RUNNING, Phase.WAITING, Phase.WAITING]
    queue.move(queue[waiting["small"].id], 1)
    queue._looked = 0.0
    queue._start_next()
    assert queue[waiting["small"].id].phase is Phase.FAILED  # it was tried: its pictures are not there
    assert "is not there" in (queue[waiting["small"].id].error or "")
    assert queue[waiting["huge"].id].phase is Phase.WAITING
