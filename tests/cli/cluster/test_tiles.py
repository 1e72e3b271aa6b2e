"""One picture over real workers: loss and gradient are those of one process, and a worker that dies changes none."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cli.cluster import lanes, tile_worker
from impasto.cli.cluster.connection import Cluster, ClusterError, connected
from impasto.cli.cluster.models import Manifest
from impasto.cli.cluster.tiles import SpreadEngine, SpreadEvaluator
from impasto.cli.cluster.wanted import Wanted
from impasto.runtime.engine.engine import Engine, TermWeights
from impasto.runtime.engine.evaluator import TileStep
from impasto.runtime.engine.tiled import TiledEvaluator
from impasto.runtime.errors import InputError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.optimize.ending import StopOptimization
from impasto.runtime.run.prepare import draft

RECIPE, SIDE = "small", 64


def picture(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def masks(width: int, height: int) -> Image.Image:
    """Return a label picture with two colours, side by side."""
    labels = np.zeros((height, width, 3), np.uint8)
    labels[:, width // 3 :] = 255
    return Image.fromarray(labels)


def evaluator(model: Path, engine: Engine, *, masked: bool = False) -> TiledEvaluator:
    """Return the loss of a picture in tiles, as an engine makes it."""
    content, style = picture(200, 140, 0), picture(90, 70, 1)
    regions = {"content_mask": masks(200, 140), "style_masks": [masks(90, 70)]} if masked else {}
    regions |= {"protect": masks(200, 140)} if masked else {}
    transfer = draft(
        content, [style], model=model, recipe=RECIPE, size=(200, 140), device="cpu", lowering="direct", threads=1,
        tile=SIDE, **regions,
    )  # fmt: skip
    stage = transfer.plan.stages[-1]
    made = engine.evaluator(
        ModelFolder.open(model),
        RECIPE,
        transfer.material.references(transfer.plan, stage),
        transfer.need.placed(stage, None),
        TermWeights(*transfer.plan.recipe.weights),
    )
    assert isinstance(made, TiledEvaluator)
    return made


def point() -> np.ndarray:
    return np.random.default_rng(2).uniform(0, 255, (1, 3, 140, 200)).astype(np.float32)


@pytest.fixture(scope="module")
def cluster(small_model: Path) -> Iterator[Cluster]:
    """Two workers of this machine."""
    with connected(Wanted(workers=2), Manifest.of(ModelFolder.open(small_model), RECIPE)) as started:
        yield started


@pytest.mark.parametrize("masked", [False, True])
def test_loss_and_gradient_are_those_of_one_process_bit_for_bit(
    small_model: Path, cluster: Cluster, masked: bool
) -> None:
    expected = evaluator(small_model, Engine(graphs=0), masked=masked).evaluate(point())
    spread = evaluator(small_model, SpreadEngine(cluster), masked=masked)
    for _ in range(2):
        value = spread.evaluate(point())
        assert (value.loss, value.terms) == (expected.loss, expected.terms)
        assert np.array_equal(value.gradient, expected.gradient)


def test_both_workers_have_tiles_and_keep_them(small_model: Path, cluster: Cluster) -> None:
    spread = evaluator(small_model, SpreadEngine(cluster))
    assert isinstance(spread, SpreadEvaluator)
    owners = dict(spread._owners)
    assert set(owners.values()) == set(cluster.addresses())
    assert len(owners) == len(spread.tiles)
    before = spread.travelled
    spread.evaluate(point())
    assert spread._owners == owners
    windows = sum(3 * 4 * tile.shape[0] * tile.shape[1] for tile in spread.tiles)
    assert spread.travelled - before > 2 * windows  # to the workers once, and a gradient of each back


def test_a_worker_that_dies_in_an_evaluation_changes_no_bit(small_model: Path, cluster: Cluster) -> None:
    spread = evaluator(small_model, SpreadEngine(cluster))
    expected = spread.evaluate(point())
    victim = cluster.ask(cluster.addresses()[0], os.getpid)

    def kill(step: TileStep) -> None:
        if step.number == 3:
            os.kill(victim, signal.SIGKILL)

    spread.after_tile = kill
    value = spread.evaluate(point())
    assert value.loss == expected.loss
    assert np.array_equal(value.gradient, expected.gradient)
    spread.after_tile = lambda _: None
    assert np.array_equal(spread.evaluate(point()).gradient, expected.gradient)


def test_an_evaluation_can_be_ended_after_any_tile(small_model: Path, cluster: Cluster) -> None:
    spread = evaluator(small_model, SpreadEngine(cluster))
    expected = spread.evaluate(point())

    def stop(step: TileStep) -> None:
        raise StopOptimization("enough")

    spread.after_tile = stop
    with pytest.raises(StopOptimization, match="enough"):
        spread.evaluate(point())
    spread.after_tile = lambda _: None
    assert np.array_equal(spread.evaluate(point()).gradient, expected.gradient)


def test_without_workers_the_picture_fails_with_one_line(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "NO_WORKERS", 1.0)
    with connected(Wanted(workers=1), Manifest.of(ModelFolder.open(small_model), RECIPE)) as alone:
        spread = evaluator(small_model, SpreadEngine(alone))
        threading.Timer(0.2, alone._client.cluster.scale, [0]).start()
        until = time.monotonic() + 60
        with pytest.raises(ClusterError, match="cluster the local cluster: all workers are gone"):
            while time.monotonic() < until:
                spread.evaluate(point())


def test_tiles_that_a_worker_has_forgotten_are_measured_again(small_model: Path, cluster: Cluster) -> None:
    spread = evaluator(small_model, SpreadEngine(cluster))
    expected = spread.evaluate(point())
    other = evaluator(small_model, SpreadEngine(cluster))  # of another command, on the same workers
    other.evaluate(point())
    assert np.array_equal(spread.evaluate(point()).gradient, expected.gradient)


def test_a_closed_evaluator_leaves_nothing_on_the_workers(small_model: Path, cluster: Cluster) -> None:
    spread = evaluator(small_model, SpreadEngine(cluster))
    spread.evaluate(point())

    def keeps() -> bool:
        return tile_worker._open is not None

    assert all(cluster.ask(address, keeps) for address in cluster.addresses())
    spread.close()
    assert not any(cluster.ask(address, keeps) for address in cluster.addresses())


def test_a_worker_that_takes_nothing_is_left_out(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that Dask has paused, or that this machine has no way to."""
    with connected(Wanted(workers=2), Manifest.of(ModelFolder.open(small_model), RECIPE)) as pair:
        spread, scatter = evaluator(small_model, SpreadEngine(pair)), pair._client.scatter
        expected = spread.evaluate(point())
        deaf = pair.addresses()[0]

        def refuse(values: list[object], workers: list[str], **options: object) -> object:
            if workers == [deaf]:
                raise TimeoutError("no valid workers found")
            return scatter(values, workers=workers, **options)

        monkeypatch.setattr(pair._client, "scatter", refuse)
        assert np.array_equal(spread.evaluate(point()).gradient, expected.gradient)
        assert pair.admitted() == pair.addresses()[1:]


def test_a_worker_that_comes_later_and_is_not_fit_is_left_out(small_model: Path) -> None:
    def trial(address: str) -> None:
        raise InputError(f"worker {address}: has too little memory")

    with connected(Wanted(workers=1), Manifest.of(ModelFolder.open(small_model), RECIPE)) as growing:
        growing.trial = trial
        (first,) = growing.admitted()
        growing._client.cluster.scale(2)
        until = time.monotonic() + 60
        while len(growing.addresses()) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(growing.addresses()) == 2
        assert growing.admitted() == [first]


def test_two_windows_of_one_picture_are_not_mixed_up(small_model: Path, cluster: Cluster) -> None:
    """A worker keeps the window of the first pass for the second; the next picture has another one."""
    alone, spread = evaluator(small_model, Engine(graphs=0)), evaluator(small_model, SpreadEngine(cluster))
    for value in (10.0, 200.0):
        flat = np.full((1, 3, 140, 200), value, np.float32)
        assert np.array_equal(spread.evaluate(flat).gradient, alone.evaluate(flat).gradient)
