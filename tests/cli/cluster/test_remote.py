"""A transfer on a worker, as its driver sees it: an end that is asked for, failures on either side."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import PATIENCE, Farm

from impasto.cli.cluster import worker
from impasto.cli.cluster.connection import Cluster, WorkerLost, connected
from impasto.cli.cluster.models import Manifest
from impasto.cli.cluster.remote import RemoteRunner
from impasto.cli.cluster.wanted import Wanted
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.run.prepare import draft
from impasto.runtime.run.state import Step
from impasto.runtime.run.transfer import Transfer


@pytest.fixture
def driver(cluster: Farm, small_model: Path) -> Iterator[Cluster]:
    """A driver's connection to the cluster."""
    with connected(Wanted(scheduler=cluster.address), Manifest.of(ModelFolder.open(small_model), "small")) as started:
        yield started


def transfer(model: Path, evaluations: int) -> Transfer:
    choices = {"size": 40, "device": "cpu", "lowering": "direct", "recipe": "small"}
    return draft("photos/a.png", "painting.jpg", model=model, evaluations=evaluations, **choices)


def test_an_end_that_is_asked_for_before_the_worker_begins_is_not_forgotten(driver: Cluster, small_model: Path) -> None:
    result = RemoteRunner(driver, driver.admitted()[0], ending=lambda: True).run(
        transfer(small_model, 100_000), None, None
    )
    assert result.reason == "interrupted"


def test_a_driver_that_fails_lets_the_worker_go(driver: Cluster, small_model: Path) -> None:
    def fail(step: Step) -> None:
        raise RuntimeError("no room on the disk")

    address, failing = driver.admitted()[0], transfer(small_model, 100_000)
    failing.callback = fail
    with pytest.raises(RuntimeError, match="no room on the disk"):
        RemoteRunner(driver, address).run(failing, None, None)
    began = time.monotonic()
    result = RemoteRunner(driver, address).run(transfer(small_model, 2), None, None)
    assert result.evaluations == 2
    assert time.monotonic() - began < worker.ABANDONED / 4


def test_a_worker_that_dies_while_its_result_is_fetched_is_lost(cluster: Farm, driver: Cluster) -> None:
    def explosive() -> object:  # travels as code: the worker has no tests
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                os.kill(os.getpid(), signal.SIGKILL)
                return (object, ())

        return Bomb()

    before = set(driver.admitted())
    added = cluster.add()
    (address,) = set(driver.admitted()) - before
    lost: list[str] = []

    def fetch() -> None:
        try:
            list(driver.call(address, explosive))
        except WorkerLost as error:
            lost.append(str(error))

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    cluster.remove(added)
    assert lost == [address]
    with pytest.raises(WorkerLost):
        driver.ask(address, os.getpid)
