"""A batch over a cluster: the pictures are those of one process, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from clusters import Farm, farm, variables_of_workers, wait_until, workers_of
from PIL import Image
from processes import Running, impasto_

from impasto.cli.cluster import batch as room
from impasto.cli.cluster import lanes, remote
from impasto.cli.terminal.errors import FAILED, explain
from impasto.runtime.run import checkpoint
from impasto.runtime.run.record import Record

from .conftest import QUICK, WISH, Batch, checkpoints, pixels


def lines_of_logs() -> list[list[int]]:
    """Return the numbers of the evaluations in each log."""
    logs = [path.read_text().splitlines() for path in sorted(Path("out").glob("*.jsonl"))]
    return [[json.loads(line)["evaluation"] for line in log] for log in logs]


@contextmanager
def meanwhile(when: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """Do something during a `with` block, as soon as it is time for it."""

    def run() -> None:
        wait_until(when)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


def test_pictures_are_equal_bit_for_bit_to_those_of_one_process(
    small_model: Path, alone: dict[str, bytes], batch: Batch
) -> None:
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = impasto_("batch", *WISH, "--report", "r.jsonl", "--model", small_model, *QUICK, "--workers", 2)
    assert done.returncode == 1
    assert "8 pictures: 6 made, 2 failed" in done.stderr
    assert "photos/broken.jpg x painting: failed: picture photos/broken.jpg: " in done.stderr
    assert "distributed" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("random weights") == 1
    assert pixels() == alone
    assert [*Path("out").iterdir()] == [*Path("out").glob("*.png")]
    told = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert len({one["output"] for one in told}) == len(told) == 8
    Path("photos/broken.jpg").unlink()
    again = batch(*WISH, "--scheduler", "tcp://127.0.0.1:1")  # it would not be reached
    assert again.exit_code == 0, again.output
    assert "6 of 6 pictures are there already" in again.output


def test_outputs_beside_the_pictures_are_those_of_one_process(cluster: Farm, batch: Batch, small_model: Path) -> None:
    more = ("--log", "{content}.jsonl", "--triptych", "{content}-three.png", "--save-every", "2", "--json")
    wish = (*WISH[:3], *WISH[5:], *more)
    done = batch(*wish, "--scheduler", cluster.address)
    assert done.exit_code == 0, done.output
    statuses = [one["status"] for one in json.loads(done.stdout)["pictures"]]
    assert statuses == ["made"] * 3
    Path("out").rename("workers")
    assert batch(*wish).exit_code == 0
    assert pixels("workers") == pixels()
    assert len(pixels()) == 9
    assert lines_of_logs() == [[1, 2, 3]] * 3
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(
        path.name for path in Path("workers").iterdir()
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--preview", "preview.png"), "--preview: shows one picture, and workers make several at a time"),
        (("--workers", "2"), "--workers: starts a cluster of its own; leave it out with --scheduler"),
        (("--tls-ca", "gone.pem"), "--tls-ca gone.pem: no such file"),
        (("--memory", "1MB"), "are available within --memory; raise --memory to 0.4GB, or try it all the same with"),
    ],
)
def test_bad_wishes_are_refused_before_any_work(
    cluster: Farm, batch: Batch, arguments: tuple[str, ...], reason: str
) -> None:
    refused = batch(*WISH, "--scheduler", cluster.address, *arguments)
    assert refused.exception
    text, code = explain(refused.exception)
    assert reason in text
    assert code == 2
    assert not Path("out").exists()


# --- workers that die -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluation", [1, 3])
def test_a_worker_that_dies_costs_a_retry_and_no_bits(
    cluster: Farm, alone: dict[str, bytes], batch: Batch, tmp_path: Path, evaluation: int
) -> None:
    (tmp_path / "once").touch()
    added = cluster.add(TESTS_DEATH=f"{evaluation}:{tmp_path / 'once'}", TESTS_PAUSE="0.1")
    done = batch(*WISH, "--log", "{content}-{style}.jsonl", "--scheduler", cluster.address)
    cluster.remove(added)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "once").exists()
    assert len([line for line in done.output.splitlines() if " is gone; " in line]) == 1
    assert "6 pictures: 6 made" in done.output
    assert done.output.count("out/a-other.png: loss") == 1
    assert pixels() == alone
    assert lines_of_logs() == [[1, 2, 3]] * 6


def test_a_picture_that_has_taken_long_goes_on_from_its_checkpoint_and_loses_one_evaluation(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "AFRESH", 0.0)
    monkeypatch.setattr(remote, "NEWS", 0.0)
    pace = checkpoint.Pace
    monkeypatch.setattr(checkpoint, "Pace", lambda *_: pace(0.0))
    wish = ("photos/a.png", *WISH[1:3], *WISH[5:], "--log", "a.jsonl", "--evaluations", "7", "--optimizer", "adam")
    assert batch(*wish).exit_code == 0
    Path("out").rename("alone")
    (tmp_path / "once").touch()
    variables = {"TESTS_DEATH": f"5:{tmp_path / 'once'}", "TESTS_PAUSE": "0.7", "TESTS_TOLD": "1"}
    with farm(tmp_path / "farm") as started:
        started.add(2, **variables)
        done = batch(*wish, "--scheduler", started.address)
    assert done.exit_code == 0, done.output
    assert Record.read("out/a-painting.png").outcome.resumed == (4,)
    assert lines_of_logs() == [[1, 2, 3, 4, 5, 6, 7]]
    assert pixels() == pixels("alone")


def test_a_picture_that_kills_its_workers_or_breaks_is_one_failure(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MOST_DEATHS", 2)
    with farm(tmp_path / "farm") as started:
        started.add(3, TESTS_DEADLY="40x33", TESTS_BROKEN="33x40")
        done = batch(*WISH[:3], *WISH[5:], "--scheduler", started.address)
    assert done.exit_code == 1
    assert "photos/a.png x painting: failed: 2 workers died while they made it" in done.output
    assert "photos/b.png x painting: failed: unexpected RuntimeError: broken" in done.output
    assert "3 pictures: 1 made, 2 failed" in done.output
    assert [*pixels()] == ["c-painting.png"]
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_a_worker_that_is_stopped_is_noticed(
    small_model: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = variables_of_workers(TESTS_PAUSE="1", DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="8s")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    running = Running.start("batch", *WISH, "--model", small_model, *QUICK, "--workers", 2)
    running.wait_for("1/6")
    workers = workers_of(running.process.pid)
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGSTOP)
    code, _, err = running.finish()
    assert code == 0, err
    assert " is gone; " in err
    assert "6 pictures: 6 made" in err
    assert pixels() == alone
    assert not workers[0].is_running()


@pytest.mark.slow
def test_workers_that_are_killed_anywhere_cost_no_bits(
    small_model: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables_of_workers(TESTS_PAUSE="0.3").items():
        monkeypatch.setenv(name, value)
    chance = random.Random(0)
    for _ in range(20):
        running = Running.start("batch", *WISH, "--report", "r.jsonl", "--model", small_model, *QUICK, "--workers", 2)
        running.wait_for("in all")
        time.sleep(chance.uniform(0, 9))
        if workers := workers_of(running.process.pid):
            with suppress(psutil.NoSuchProcess):
                chance.choice(workers).kill()
        code, _, err = running.finish()
        assert code == 0, err
        assert "distributed" not in err
        assert pixels() == alone
        told = [json.loads(line)["output"] for line in Path("r.jsonl").read_text().splitlines()]
        assert len(told) == len(set(told)) == 6
        shutil.rmtree("out")


# --- clusters that die ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["scheduler", "workers"])
def test_a_cluster_that_dies_is_told_in_a_line_and_the_same_command_goes_on(
    cluster: Farm, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(lanes, "NO_WORKERS", 2.0)
    monkeypatch.setattr(room, "AFRESH", 0.0)
    long = (*WISH, "--evaluations", "30")
    with farm(tmp_path / "farm") as started:
        started.add(TESTS_PAUSE="0.3", TESTS_TOLD="1")
        victims = [started.scheduler] if victim == "scheduler" else list(started.workers)
        with meanwhile(checkpoints, lambda: [one.kill() for one in victims]):
            failed = batch(*long, "--scheduler", started.address)
    assert failed.exception
    text, code = explain(failed.exception)
    reason = "its scheduler is gone (" if victim == "scheduler" else "all workers are gone"
    assert text.startswith(f"cluster {started.address}: {reason}")
    assert text.endswith("; the same command makes the others")
    assert code == FAILED
    assert "Traceback" not in failed.output
    assert checkpoints()
    again = batch(*long, "--scheduler", cluster.address)
    assert again.exit_code == 0, again.output
    assert "resuming out/.unfinished/a-painting." in again.output
    assert [path.suffix for path in Path("out").iterdir()] == [".png"] * 6
    for path in Path("out").iterdir():
        assert Record.read(path).outcome.evaluations == 30
    with Image.open("out/a-painting.png") as image:
        assert image.size == (40, 33)
