"""Measure the memory of optimisers, for `impasto.runtime.optimize.footprints`.

``python -m benchmarks.optimizer_memory``. Each measurement is a search, in a process of its own, of a function that
takes hardly any memory itself. Linux tells by how much the process grows. The figures are fitted to that, and printed
as that module has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.protocol import answer_alone, peak_mib
from impasto.runtime.optimize.footprints import OptimizerFootprint

#: So many evaluations fill every history.
EVALUATIONS = 26

#: The rows of a picture that the function looks at together.
_ROWS = 50


@dataclass(frozen=True)
class Setting:
    """A search to be measured, of a square picture.

    Attributes
    ----------
    optimizer
        ``adam``, ``lbfgs`` or ``lbfgs-sobolev``.
    pairs
        The number of pairs that L-BFGS remembers; Adam remembers none, whatever it is.
    side
        The side of the picture, in pixels.
    bounded
        Whether levels are held within bounds.
    """

    optimizer: str
    pairs: int
    side: int
    bounded: bool = False


def settings(sides: Sequence[int]) -> list[Setting]:
    """Return the searches to measure."""
    found = []
    for side in sides:
        found.append(Setting("adam", 0, side))
        for optimizer in ("lbfgs", "lbfgs-sobolev"):
            found += [Setting(optimizer, pairs, side) for pairs in (10, 5, 3)]
        found += [Setting(optimizer, 5, side, bounded=True) for optimizer in ("lbfgs", "lbfgs-sobolev")]
        found.append(Setting("adam", 0, side, bounded=True))
    return found


@dataclass(frozen=True)
class Rise:
    """The bytes that a process has grown by: at most, and at most while the function was evaluated."""

    peak: float
    evaluating: float


def search(setting: Setting) -> Rise:
    """Minimise a quadratic function, and return the bytes that this process has grown by."""
    from impasto.runtime.optimize.minimize import minimize
    from impasto.runtime.optimize.variable import Within

    side = setting.side
    goal = np.random.default_rng(0).uniform(0, 255, (1, 3, side, side)).astype(np.float32)
    start, curvature = np.full_like(goal, 128), np.linspace(1, 30, side).astype(np.float32)

    def function(picture: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        gradient, loss = np.empty_like(picture), 0.0
        for row in range(0, side, _ROWS):
            part = np.s_[:, :, row : row + _ROWS]
            distance = picture[part] - goal[part]
            gradient[part] = curvature * distance
            loss += float(np.sum(gradient[part] * distance, dtype=np.float64)) / 2
        seen.append(process.memory_info().rss)
        return loss, gradient

    process, seen = psutil.Process(), list[int]()
    before = process.memory_info().rss
    minimize(
        function,
        start,
        evaluations=EVALUATIONS,
        optimizer=setting.optimizer,
        pairs=setting.pairs or None,
        first_step=4 * start.size**0.5,
        variable=Within((0.0, 255.0) if setting.bounded else None),
    )
    return Rise(peak_mib() * 2**20 - before, max(seen) - before)


def measure(setting: Setting) -> Rise:
    """Return the bytes by which a process of its own grows.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    return Rise(**answer_alone("optimizer_memory", "--one", json.dumps(asdict(setting))))


def fit(rises: Mapping[Setting, Rise]) -> dict[str, OptimizerFootprint]:
    """Return the figures of each optimiser that fit the measured rises."""
    found = {}
    for optimizer in dict.fromkeys(one.optimizer for one in rises):
        own = {one: rise for one, rise in rises.items() if one.optimizer == optimizer}
        pixels = np.array([one.side**2 for one in own], float)
        pairs, bounded = (np.array(values, float) for values in zip(*((o.pairs, o.bounded) for o in own), strict=True))
        rows = np.stack([np.ones_like(pixels), pixels, pairs * pixels, bounded * pixels], axis=1)
        peaks = np.array([rise.peak for rise in own.values()])
        figures, *_ = np.linalg.lstsq(rows / peaks[:, None], np.ones_like(peaks), rcond=None)
        passing = float(np.mean([rise.peak - rise.evaluating for rise in own.values()] / pixels))
        fixed, pixel, pair, bounds = map(float, figures)
        found[optimizer] = OptimizerFootprint(fixed, pixel, pair, bounds, passing)
    return found


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    first_line = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer_memory", description=first_line)
    parser.add_argument("--sides", nargs="+", type=int, default=[1700, 2400], help="of the pictures [1700 2400]")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(search(Setting(**json.loads(options.one))))))
        return
    rises: dict[Setting, Rise] = {}
    for setting in settings(options.sides):
        rises[setting] = measure(setting)
        size = f"{rises[setting].peak / 1e6:8.1f} MB, {rises[setting].evaluating / 1e6:8.1f} MB while evaluating"
        print(f"{size}  {asdict(setting)}", file=sys.stderr, flush=True)
    for name, footprint in fit(rises).items():
        print(name, {part: round(value) for part, value in asdict(footprint).items()})


if __name__ == "__main__":
    main()
