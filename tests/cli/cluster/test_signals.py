"""Ctrl-C during a batch over workers of this machine, and who can reach these."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from clusters import Farm, assert_all_end, descendants, variables_of_workers, wait_until
from processes import Running

from impasto.cli.cluster import worker
from impasto.runtime.run.record import Record

from .conftest import QUICK, WISH, Batch, checkpoints

pytestmark = pytest.mark.skipif(os.name != "posix", reason="only POSIX sends signals to a group of processes")

LONG = (*WISH, *QUICK, "--evaluations", "40")


@pytest.fixture
def running(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A batch over two workers of its own, whose evaluations take a while."""
    for name, value in variables_of_workers(TESTS_PAUSE="0.2", TESTS_TOLD="1").items():
        monkeypatch.setenv(name, value)
    started = Running.start("batch", *LONG, "--model", small_model, "--workers", 2, group=True)
    yield started
    with suppress(ProcessLookupError):
        os.killpg(started.process.pid, signal.SIGKILL)
    started.process.communicate()


def interrupt(running: Running) -> None:
    os.killpg(running.process.pid, signal.SIGINT)


def listening(processes: list[psutil.Process]) -> list[tuple[str, int]]:
    """Return the addresses at which processes listen."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            ask = process.net_connections if hasattr(process, "net_connections") else process.connections
            found += [one.laddr for one in ask("inet") if one.status == psutil.CONN_LISTEN]
    return found


def test_ctrl_c_keeps_the_best_pictures_and_leaves_no_process(running: Running, cluster: Farm, batch: Batch) -> None:
    wait_until(lambda: len(checkpoints()) == 2, "two checkpoints")
    processes = [psutil.Process(running.process.pid), *descendants(running.process.pid)]
    addresses = listening(processes)
    assert addresses
    assert {address for address, _ in addresses} == {"127.0.0.1"}
    assert 8787 not in {port for _, port in addresses}  # a dashboard's
    interrupt(running)
    code, _, err = running.finish()
    assert code == 1, err
    assert "stopping after these evaluations, to keep the best pictures; Ctrl-C again leaves at once" in err
    assert "6 pictures: 2 ended early" in err
    assert "the same command makes the others" in err
    assert "Traceback" not in err
    assert "distributed" not in err
    assert_all_end(processes)
    kept = sorted(Path("out").glob("*.png"))
    assert len(kept) == 2
    for path in kept:
        assert Record.read(path).outcome.reason == "interrupted"
    again = batch(*LONG, "--scheduler", cluster.address)
    assert again.exit_code == 0, again.output
    assert again.output.count("resuming out/.unfinished/") == 2
    assert len(Record.read(kept[0]).outcome.resumed) == 1


def test_a_second_ctrl_c_leaves_at_once_and_no_worker_survives(running: Running) -> None:
    wait_until(checkpoints, "a checkpoint")
    processes = descendants(running.process.pid)
    interrupt(running)
    running.wait_for("Ctrl-C again leaves at once")
    began = time.monotonic()
    interrupt(running)
    code, _, err = running.finish()
    assert code == 1, err
    assert time.monotonic() - began < 10
    assert "error: interrupted; 0 of 6 pictures are there; the same command makes the others" in err
    assert "Traceback" not in err
    assert_all_end(processes)


@pytest.mark.parametrize("seconds", [2.0, *(pytest.param(float(more), marks=pytest.mark.slow) for more in range(3, 9))])
def test_ctrl_c_before_the_work_leaves_no_process(running: Running, seconds: float) -> None:
    time.sleep(seconds)
    processes = descendants(running.process.pid)
    interrupt(running)
    interrupt(running)
    code, _, err = running.finish()
    assert code == 1, err
    assert "Traceback" not in err
    assert_all_end(processes)


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_worker(running: Running) -> None:
    wait_until(checkpoints, "a checkpoint")
    processes = descendants(running.process.pid)
    running.process.kill()
    running.finish()
    assert_all_end(processes)


def test_workers_of_a_driver_that_is_killed_are_free_for_the_next(
    cluster: Farm, batch: Batch, small_model: Path
) -> None:
    wish = (*WISH, *QUICK, "--evaluations", "100000", "--model", small_model, "--scheduler", cluster.address)
    killed = Running.start("batch", *wish)
    wait_until(lambda: len(checkpoints()) == 2, "two checkpoints")
    killed.process.kill()
    killed.finish()
    began = time.monotonic()
    next_ = batch(*WISH, "--scheduler", cluster.address)
    assert next_.exit_code == 0, next_.output
    assert time.monotonic() - began < worker.ABANDONED / 4
