"""Compare pictures in tiles with the same pictures whole: what loss and gradient differ by, and what tiles cost.

``python -m benchmarks.tiles --model FOLDER --content PHOTOGRAPH --style PAINTING`` prints rows of the table of
docs/tiles.md, a row for each recipe, lowering, size and tiling. With ``--rounds`` it times instead: a round is one
evaluation of the whole picture and one with each tiling, every round begins with another, and medians are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks import machine
from benchmarks.memory import bands
from impasto import __version__
from impasto.runtime.engine.objective import Objective
from impasto.runtime.engine.tile_graphs import halo_of
from impasto.runtime.engine.tiled import TiledEvaluator
from impasto.runtime.engine.tiles import sides_of
from impasto.runtime.errors import RecipeError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import DIRECT, LAYOUTS, WINOGRAD
from impasto.runtime.plan.recipe import parse_size

#: Recipes that are compared, and the numbers of their regions.
RECIPES = (("impasto", 1), ("seed", 1), ("crowson", 1), ("impasto", 2))

#: (width, height) of the pictures that are compared.
SIZES = ((500, 333), (640, 512), (1000, 750), (1023, 767))

#: Sides of cores that are asked for in `direct`. The stride of `winograd` leaves no more than a few: all are taken.
SIDES = (64, 112, 176, 368)


@dataclass(frozen=True)
class Case:
    """A picture to be evaluated.

    Attributes
    ----------
    content, style
        Paths of the photograph and of the painting.
    size
        (width, height) of the picture. The painting is resized to as many pixels.
    regions
        How many; 1 for no masks.
    """

    model: str
    content: Path
    style: Path
    recipe: str
    layout: str
    size: tuple[int, int]
    regions: int = 1
    threads: int = 2

    @property
    def name(self) -> str:
        """The recipe, and the regions."""
        return f"`{self.recipe}`" + (f", {self.regions} regions" if self.regions > 1 else "")

    def picture(self) -> NDArray[np.float32]:
        """Return the picture to be evaluated: the photograph, half noise, so that no term is zero."""
        photograph = np.asarray(_resized(self.content, self.size), np.float32)
        noise = np.random.default_rng(0).uniform(0, 255, photograph.shape)
        return ((photograph + noise) / 2).astype(np.float32)

    def open(self, side: int | None) -> Objective:
        """Open its objective in tiles of a side, or whole."""
        content = _resized(self.content, self.size)
        with Image.open(self.style) as painting:
            factor = (self.size[0] * self.size[1] / (painting.width * painting.height)) ** 0.5
            style = _resized(self.style, (round(painting.width * factor), round(painting.height * factor)))
        masks = [bands((picture.height, picture.width), self.regions) for picture in (content, style)]
        return Objective.open(
            self.model,
            self.recipe,
            content=content,
            styles=style,
            lowering=self.layout,
            threads=self.threads,
            device="cpu",
            tile=side or "off",
            content_mask=masks[0] if self.regions > 1 else None,
            style_masks=masks[1:] if self.regions > 1 else None,
        )

    def sides(self) -> list[int]:
        """Return the sides of cores to compare: those that make different tiles."""
        halo = halo_of(ModelFolder.open(self.model), self.recipe, self.layout)
        if halo is None:
            raise SystemExit(f"error: {self.model}: has no graphs for tiles; run impasto export --force")
        width, height = self.size
        sides = sides_of(height, width, halo)
        return list(sides) if self.layout == WINOGRAD else [side for side in SIDES if side <= max(sides)]


def _resized(path: Path, size: tuple[int, int]) -> Image.Image:
    """Return the middle of a picture, in the proportions of a size, resized to it."""
    with Image.open(path) as image:
        return ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Difference:
    """What an evaluation in tiles differs by from the whole: relative, the gradient's in the Euclidean norm."""

    loss: float
    gradient: float

    @classmethod
    def of(cls, tiled: tuple[float, NDArray[np.float32]], whole: tuple[float, NDArray[np.float32]]) -> Difference:
        """Compare two losses with their gradients."""
        error = np.linalg.norm((tiled[1] - whole[1]).astype(np.float64))
        return cls(abs(tiled[0] / whole[0] - 1), float(error / np.linalg.norm(whole[1].astype(np.float64))))


def compare(case: Case, sides: Sequence[int]) -> Iterator[tuple[int, int, Difference]]:
    """Yield the side of the cores, the number of tiles and the difference, for each of the sides."""
    picture = case.picture()
    whole = case.open(None)(picture)
    for side in sides:
        objective = case.open(side)
        yield side, _tiles(objective), Difference.of(objective(picture), whole)


def _tiles(objective: Objective) -> int:
    return len(objective.evaluator.tiles) if isinstance(objective.evaluator, TiledEvaluator) else 1


@dataclass(frozen=True)
class Times:
    """Seconds of single evaluations with one tiling; `side` is None for the whole picture."""

    side: int | None
    tiles: int
    seconds: list[float]

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.seconds)


def measure(case: Case, sides: Sequence[int], rounds: int) -> list[Times]:
    """Return the times of the whole picture and of tiles of each side, taken in turns; a first round is thrown away."""
    picture = case.picture()
    objectives = {side: case.open(side) for side in (None, *sides)}
    times = [Times(side, _tiles(objective), []) for side, objective in objectives.items()]
    for objective in objectives.values():
        objective(picture)
    for number in range(rounds):
        first = number % len(times)
        for entry in [*times[first:], *times[:first]]:
            began = time.perf_counter()
            objectives[entry.side](picture)
            entry.seconds.append(time.perf_counter() - began)
            print(f"{entry.side or 'whole'}: {entry.seconds[-1]:.2f} s", file=sys.stderr, flush=True)
    return times


def _size(text: str) -> tuple[int, int]:
    """Return width and height; a long side alone, which `parse_size` takes, too, says too little here."""
    with contextlib.suppress(RecipeError):
        if isinstance(size := parse_size(text), tuple):
            return size
    raise argparse.ArgumentTypeError(f"{text}: expected WIDTHxHEIGHT")


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    names = sorted({recipe for recipe, _ in RECIPES})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiles", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help=f"a model folder with the recipes {', '.join(names)}")
    parser.add_argument("--content", required=True, type=Path, help="a photograph")
    parser.add_argument("--style", required=True, type=Path, help="a painting")
    parser.add_argument("--recipes", nargs="+", choices=names, default=names)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=[DIRECT, WINOGRAD])
    parser.add_argument("--sizes", nargs="+", type=_size, default=SIZES, help="such as 640x512")
    parser.add_argument("--sides", nargs="+", type=int, help="of the tiles' cores; by default some that differ")
    parser.add_argument("--rounds", type=int, help="time as many rounds, without masks, in place of comparing values")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    cases = [
        Case(options.model, options.content, options.style, recipe, layout, size, regions, options.threads)
        for recipe, regions in RECIPES
        if recipe in options.recipes and (regions == 1 or not options.rounds)
        for layout in options.layouts
        for size in options.sizes
    ]
    print(
        f"impasto {__version__}, onnxruntime {version('onnxruntime')}, {options.threads} threads, {machine.describe()}",
        flush=True,
    )
    if options.rounds:
        print("| recipe | lowering | picture | side | tiles | seconds | tiled / whole |\n|---|---|---|--:|--:|--:|--:|")
    else:
        print("| recipe | lowering | picture | side | tiles | loss | gradient |\n|---|---|---|--:|--:|--:|--:|")
    for case in cases:
        place = f"| {case.name} | `{case.layout}` | {case.size[0]}x{case.size[1]} "
        sides = options.sides or case.sides()
        if options.rounds:
            times = measure(case, sides, options.rounds)
            for one in times:
                ratio = one.median / times[0].median
                print(f"{place}| {one.side or ''} | {one.tiles} | {one.median:.2f} | {ratio:.2f} |", flush=True)
        else:
            for side, tiles, difference in compare(case, sides):
                print(f"{place}| {side} | {tiles} | {difference.loss:.1e} | {difference.gradient:.1e} |", flush=True)


if __name__ == "__main__":
    main()
