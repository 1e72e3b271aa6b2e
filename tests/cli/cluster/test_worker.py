"""What runs on a worker: what it tells of its run, and that it leaves the worker's own threads their turn."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.cli.cluster import worker
from impasto.cli.cluster.models import Manifest
from impasto.cli.cluster.worker import Order, Painted
from impasto.runtime.errors import InputError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.run.prepare import draft
from impasto.runtime.run.state import RunEnding

Rgb = NDArray[np.float32]


def order(model: Path, content: object = "photos/a.png", **options: object) -> Order:
    choices = {"size": 40, "evaluations": 3, "device": "cpu", "lowering": "direct", "recipe": "small"}
    transfer = draft(content, "painting.jpg", model=model, **{**choices, **options})
    return Order("key", transfer, Manifest.of(ModelFolder.open(model), "small"), every=2)


def in_thread(ordered: Order) -> tuple[threading.Thread, list[Painted]]:
    painted: list[Painted] = []
    thread = threading.Thread(target=lambda: painted.append(worker.paint(ordered)))
    thread.start()
    return thread, painted


def test_what_has_happened_is_told_once_with_the_states_that_are_asked_for(small_model: Path) -> None:
    painted = worker.paint(order(small_model))
    steps = painted.news.steps
    assert [step.evaluation for step, _ in steps] == [1, 2, 3]
    assert [state is not None for _, state in steps] == [False, True, True]
    assert steps[1][1].evaluations == 2
    assert painted.result.evaluations == painted.state.evaluations == 3
    assert any("random weights" in text for text in painted.warnings)
    assert worker.news("key") == worker.News()
    assert worker.stop("key") is False


def test_a_transfer_ends_when_its_driver_asks_for_that_and_no_other_one(small_model: Path) -> None:
    thread, painted = in_thread(order(small_model, evaluations=100_000))
    end = time.monotonic() + 60
    assert worker.stop("another") is False
    while not worker.stop("key"):
        assert time.monotonic() < end
        time.sleep(0.01)
    thread.join(60)
    assert painted[0].result.ending is RunEnding.STOPPED
    assert painted[0].result.reason == "interrupted"


def test_a_transfer_that_nobody_asks_about_ends(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ABANDONED", 0.5)
    painted = worker.paint(order(small_model, evaluations=100_000))
    assert painted.result.reason == "nobody waits for it any more"


def test_errors_name_options_as_they_are_typed(small_model: Path) -> None:
    with pytest.raises(InputError, match="within --memory"):
        worker.paint(order(small_model, memory=1_000_000))


def test_a_long_evaluation_leaves_other_threads_their_turn(small_model: Path, noise: Callable[..., Rgb]) -> None:
    late: list[float] = []
    over = threading.Event()

    def tick() -> None:
        before = time.monotonic()
        while not over.wait(0.01):
            now = time.monotonic()
            late.append(now - before - 0.01)
            before = now

    thread, painted = in_thread(order(small_model, noise(500, 500), size=500, evaluations=3, threads=1))
    end = time.monotonic() + 60
    while not worker.news("key").steps:
        assert time.monotonic() < end
        time.sleep(0.05)
    ticking = threading.Thread(target=tick)
    ticking.start()
    thread.join(120)
    over.set()
    ticking.join()
    seconds = [step.seconds for step in painted[0].result.history]
    quickest = min(after - before for before, after in itertools.pairwise(seconds))
    assert max(late) < max(0.25, quickest / 2)  # on a busy machine all is late; a heartbeat is missed after seconds
