"""One picture in tiles over workers of a cluster: the time of an evaluation, and what travels; measured and simulated.

``python -m benchmarks.cluster --model FOLDER`` evaluates a picture on real workers of this machine, each of one thread,
and compares loss and gradient with those of one process. With ``--simulate`` the workers are threads that sleep for the
measured times, and send arrays of the same shapes: the schedule, the messages and the work of the driver are real. They
share this machine's processors with the driver, so that many of them make the driver look slower than it is.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from docs.samples import draw_content, draw_style
from impasto.cli.cluster import tile_worker
from impasto.cli.cluster.connection import Cluster, connected
from impasto.cli.cluster.models import Manifest
from impasto.cli.cluster.tile_worker import Cut, Scene
from impasto.cli.cluster.tiles import SpreadEngine, SpreadEvaluator
from impasto.cli.cluster.wanted import SIDE, Wanted
from impasto.runtime.engine.engine import Engine, TermWeights
from impasto.runtime.engine.references import Targets
from impasto.runtime.engine.tile_graphs import halo_of
from impasto.runtime.engine.tiled import TiledEvaluator
from impasto.runtime.engine.tiles import Tile, tiles_of
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import TILE_GRADIENT, WINOGRAD
from impasto.runtime.plan.recipe import parse_size
from impasto.runtime.plan.terms import GRADIENT
from impasto.runtime.run.prepare import draft

RECIPE = "impasto"

#: The side of the style: its targets are measured by the driver.
_STYLE = 400


#: Draws the content of a size once: a large one takes minutes.
_drawn = functools.cache(draw_content)


@dataclass(frozen=True)
class Problem:
    """The loss of one picture in tiles."""

    model: Path
    width: int
    height: int
    side: int
    threads: int

    def evaluator(self, engine: Engine) -> TiledEvaluator:
        """Return the loss, evaluated as an engine does."""
        transfer = draft(
            _drawn(self.width, self.height),
            [draw_style(_STYLE, _STYLE * 3 // 4)],
            model=self.model,
            recipe=RECIPE,
            size=(self.width, self.height),
            device="cpu",
            tile=self.side,
            lowering=WINOGRAD,
            threads=self.threads,
        )
        stage, folder = transfer.plan.stages[-1], ModelFolder.open(self.model)
        references = transfer.material.references(transfer.plan, stage)
        placement = transfer.need.placed(stage, None)
        weights = TermWeights(*transfer.plan.recipe.weights)
        evaluator = engine.evaluator(folder, RECIPE, references, placement, weights)
        assert isinstance(evaluator, TiledEvaluator)
        return evaluator

    @property
    def manifest(self) -> Manifest:
        """The files of the model."""
        return Manifest.of(ModelFolder.open(self.model), RECIPE)

    def tiles(self) -> tuple[Tile, ...]:
        """Return the tiles of the picture."""
        folder = ModelFolder.open(self.model)
        halo = halo_of(folder, RECIPE, WINOGRAD)
        assert halo is not None
        return tiles_of(self.height, self.width, self.side, halo)

    def picture(self) -> NDArray[np.float32]:
        """Return the picture that is evaluated: another one than the content."""
        rows, columns = np.ogrid[: self.height, : self.width]
        waves = [np.sin(rows / (31 + 7 * k)) * np.cos(columns / (23 + 5 * k)) for k in range(3)]
        return np.asarray(128 + 100 * np.stack(waves), np.float32)[None]


def seconds_of(evaluator: TiledEvaluator, picture: NDArray[np.float32], rounds: int) -> float:
    """Return the median time of an evaluation; its graphs are open already."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        evaluator.evaluate(picture)
        times.append(time.perf_counter() - began)
    return median(times)


def measure(problem: Problem, counts: Sequence[int], rounds: int) -> None:
    """Print the time of one process and of several numbers of workers, and how far their results agree."""
    picture = problem.picture()
    alone = problem.evaluator(Engine(graphs=0))
    expected, single = alone.evaluate(picture), seconds_of(alone, picture, rounds)
    print(f"{len(alone.tiles)} tiles; one process: {single:.1f} s, loss {expected.loss:.6g}", flush=True)
    for count in counts:
        with connected(Wanted(workers=count), problem.manifest) as cluster:
            evaluator = problem.evaluator(SpreadEngine(cluster))
            assert isinstance(evaluator, SpreadEvaluator)
            value, before = evaluator.evaluate(picture), evaluator.travelled
            seconds = seconds_of(evaluator, picture, rounds)
            each = (evaluator.travelled - before) / rounds
            loss = abs(value.loss / expected.loss - 1)
            gradient = np.linalg.norm(value.gradient - expected.gradient) / np.linalg.norm(expected.gradient)
            print(
                f"{count} workers: {seconds:.1f} s, {single / seconds:.2f} times as fast; {each / 1e6:.0f} MB travel; "
                f"loss differs by {loss:.1e}, gradient by {gradient:.1e}",
                flush=True,
            )


# --- the simulation -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rest:
    """What a pretended worker does in place of evaluating: it sleeps, and sends zeros of these shapes.

    `seconds` is for each number in a window.
    """

    seconds: dict[str, float]
    shapes: dict[str, dict[str, tuple[int, ...]]]

    @classmethod
    def of(cls, problem: Problem) -> Rest:
        """Time both passes over a picture of four tiles, and note what they return."""
        problem = replace(problem, width=2 * problem.side, height=2 * problem.side)
        evaluator, picture = problem.evaluator(Engine(graphs=0)), problem.picture()
        evaluator.evaluate(picture)
        seconds: dict[str, float] = {}
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        whole = evaluator.evaluate_pass

        def timed(role: str, *arguments: Any) -> Iterator[tuple[Any, Targets]]:
            began = time.perf_counter()
            for tile, values in whole(role, *arguments):
                shapes.setdefault(role, {name: value.shape for name, value in values.items()})
                yield tile, values
            numbers = sum(3 * math.prod(tile.shape) for tile in evaluator.tiles)
            seconds[role] = (time.perf_counter() - began) / numbers

        evaluator.evaluate_pass = timed  # type: ignore[method-assign, assignment]
        evaluator.evaluate(picture)
        return cls(seconds, shapes)


_rest: Rest | None = None

#: The shapes of the windows that pretended workers have been sent.
_windows: dict[int, tuple[int, ...]] = {}


def _pretend(scene: Scene, role: str, number: int, window: NDArray[np.float32] | None, more: Targets) -> Targets:
    """Stand in for `impasto.cli.cluster.tile_worker.evaluate`; windows at the border are smaller, and take less."""
    assert _rest is not None
    if window is not None:
        _windows[number] = window.shape
    shapes = {**_rest.shapes[role], **({GRADIENT: _windows[number]} if role == TILE_GRADIENT else {})}
    time.sleep(_rest.seconds[role] * math.prod(_windows[number]))
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _pretend_to_measure(scene: Scene, number: int, cut: Cut) -> None:
    """Stand in for `impasto.cli.cluster.tile_worker.measure`."""


@contextmanager
def pretended(count: int, manifest: Manifest) -> Iterator[Cluster]:
    """Start workers that are threads of this process, and talk over TCP, for a `with` block."""
    import distributed

    with (
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
            dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0", memory_limit=None,
        ) as local,
        distributed.Client(local, direct_to_workers=True, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):  # fmt: skip
        cluster = Cluster(client, manifest, "the simulation")
        cluster.begin()
        yield cluster


def simulate(problem: Problem, counts: Sequence[int], rounds: int) -> None:
    """Print the time of an evaluation on pretended workers."""
    global _rest
    _rest, picture = Rest.of(problem), problem.picture()
    tiles = problem.tiles()
    work = sum(3 * math.prod(tile.shape) for tile in tiles) * sum(_rest.seconds.values())
    passes = ", ".join(f"{role} {1e9 * seconds:.0f} ns" for role, seconds in _rest.seconds.items())
    print(f"{len(tiles)} tiles; a number of a window: {passes}; all, one after the other: {work:.1f} s", flush=True)
    real: tuple[Callable[..., Any], Callable[..., Any]] = tile_worker.evaluate, tile_worker.measure
    tile_worker.evaluate, tile_worker.measure = _pretend, _pretend_to_measure
    try:
        for count in counts:
            with pretended(count, problem.manifest) as cluster:
                evaluator = problem.evaluator(SpreadEngine(cluster))
                assert isinstance(evaluator, SpreadEvaluator)
                before = evaluator.travelled
                seconds = seconds_of(evaluator, picture, rounds)
                each = (evaluator.travelled - before) / rounds
            told = f"{work / seconds:.1f} times as fast as one; {each / 1e6:.0f} MB travel"
            print(f"{count} workers: {seconds:.1f} s, {told}", flush=True)
    finally:
        tile_worker.evaluate, tile_worker.measure = real


def main() -> None:
    """Measure, or simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder with the recipe impasto")
    parser.add_argument("--size", default="3000x2250", help="of the picture [%(default)s]")
    parser.add_argument("--tile", type=int, default=SIDE, help="the side of its tiles [%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many, in turn [1 2]")
    parser.add_argument("--threads", type=int, default=1, help="of each worker [%(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="evaluations of each [%(default)s]")
    parser.add_argument("--simulate", action="store_true", help="pretend to have so many workers")
    options = parser.parse_args()
    size = parse_size(options.size)
    if not isinstance(size, tuple):
        parser.error("--size: expected WIDTHxHEIGHT")
    print(machine.describe())
    problem = Problem(options.model, *size, options.tile, options.threads)
    (simulate if options.simulate else measure)(problem, options.workers, options.rounds)


if __name__ == "__main__":
    # Pretended workers find functions, and what these remember, by the name of their module.
    from benchmarks import cluster

    cluster.main()
