"""Measure the figures that `impasto.runtime.run.estimate` counts memory with.

``python -m benchmarks.memory --model FOLDER``. Each measurement is a whole transfer of noise in a process of its own,
whose peak size Linux tells. The figures are fitted to the measurements, and printed as that module has them, with the
largest errors.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.files import ROOT
from benchmarks.protocol import peak_mib
from impasto.defaults import OPTIMIZERS
from impasto.runtime.model.graphs import LAYOUTS, SMALL_PIXELS, WINOGRAD, is_small
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run.estimate import FOOTPRINTS, Footprint, content_bytes, convolutions

#: One recipe that ends with block5_conv1, and one that ends with block5_conv3.
RECIPES = ("gatys", "seed")

#: Optimiser -> evaluations after which it has touched all of its memory: the history of L-BFGS is full.
EVALUATIONS = {"adam": 2, "lbfgs": 8, "lbfgs, restarted": 14, "bounds": 8, "lbfgs-sobolev": 14}

#: Sides of pictures that take nothing beside the opening of a graph: of any, and of one for larger pictures.
_TINY, _LARGER = 64, math.isqrt(SMALL_PIXELS) + 4

#: The side of a style so large that measuring it takes the most.
_LARGE_STYLE = 768

#: A key of `impasto.runtime.run.estimate.FOOTPRINTS`.
Group = tuple[str, bool, bool]


@dataclass(frozen=True)
class Setting:
    """One transfer to be measured.

    Attributes
    ----------
    form
        A lowering on the CPU provider; or a plug-in that computes on the processor, and a precision.
    size, style
        Sides of the square result and of the style, in pixels.
    optimizer
        One of `impasto.runtime.run.estimate.OPTIMIZER_BYTES`; ``bounds`` is L-BFGS-B with bounds. ``lbfgs-sobolev``
        has bounds, too, as in the recipe that names it.
    """

    recipe: str
    form: str
    low_memory: bool
    size: int
    style: int
    optimizer: str

    @property
    def group(self) -> Group:
        """Which graphs run, and how."""
        return self.form, is_small(self.form, self.size, self.size), self.low_memory


@dataclass(frozen=True)
class Measurement:
    """A setting and the peak size of its process in bytes."""

    setting: Setting
    peak: float


def settings(sizes: Sequence[int], ways: Iterable[tuple[str, bool]]) -> list[Setting]:
    """Return the transfers to measure: each recipe at each size; one with a large style, and with each optimiser."""
    transfers: list[Setting] = []
    for form, low_memory in ways:
        openings = (_TINY, _LARGER) if form == WINOGRAD else (_TINY,)
        transfers += [
            Setting(recipe, form, low_memory, n, n, "adam") for recipe in RECIPES for n in (*openings, *sizes)
        ]
        transfers.append(Setting("gatys", form, low_memory, openings[-1], _LARGE_STYLE, "adam"))
        transfers += [
            Setting("gatys", form, low_memory, min(sizes), min(sizes), optimizer)
            for optimizer in EVALUATIONS
            if optimizer != "adam"
        ]
    return transfers


# --- one measurement ------------------------------------------------------------------------------------------


def transfer(setting: Setting, model: str) -> None:
    """Carry a transfer out, in this process."""
    from impasto.runtime.engine.engine import Engine
    from impasto.runtime.run.prepare import prepare

    rng, (device, lowering, precision) = np.random.default_rng(0), _placed(setting.form)
    content, style = (rng.uniform(0, 255, (n, n, 3)).astype(np.float32) for n in (setting.size, setting.style))
    wanted = prepare(
        content,
        [style],
        model=model,
        recipe=setting.recipe,
        size=(setting.size, setting.size),
        style_scale=setting.style / setting.size,
        evaluations=EVALUATIONS[setting.optimizer],
        stages=1,
        init="content",
        noise=0.5,
        device=device,
        lowering=lowering,
        precision=precision,
        low_memory=setting.low_memory,
        threads=2,
        optimizer=setting.optimizer if setting.optimizer in OPTIMIZERS else "lbfgs",
        restart_every=EVALUATIONS[setting.optimizer] if setting.optimizer == "lbfgs, restarted" else None,
        clip=setting.optimizer in ("bounds", "lbfgs-sobolev"),
    )
    wanted.engine = Engine(graphs=0)  # as the command line's, which paints one picture
    wanted.run()


def _placed(form: str) -> tuple[str, str, str]:
    """Return the device, the lowering and the precision of a form."""
    if form in LAYOUTS:
        return "cpu", form, "fp32"
    kind, precision = form.split()
    return f"{kind}:cpu", "auto", precision


def measure(setting: Setting, model: str) -> Measurement:
    """Carry a transfer out in a process of its own.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--model", model, "--one", json.dumps(asdict(setting))]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Measurement(setting, float(done.stdout))


# --- the figures ----------------------------------------------------------------------------------------------


def fit(measurements: Sequence[Measurement]) -> tuple[dict[Group, Footprint], dict[str, float]]:
    """Return the figures that fit the measured peaks best, of each way to run the graphs and of each optimiser.

    Those of an optimiser are the means over the ways to run them. Graphs for small pictures most often take the most
    when they are opened, which hides their other figures: these are taken from the larger ones, a little too high.
    """
    footprints: dict[Group, Footprint] = {}
    extra: dict[str, list[float]] = {"adam": [0.0]}
    for group in dict.fromkeys(m.setting.group for m in measurements):
        own = [m for m in measurements if m.setting.group == group]
        plain = [m for m in own if m.setting.optimizer == "adam"]
        if all(m.setting.size == _TINY for m in plain):
            continue
        footprints[group] = _footprint(plain)
        peaks = {(m.setting.recipe, m.setting.size): m.peak for m in plain}
        for m in own:
            if m.setting.optimizer != "adam":
                rise = m.peak - peaks[m.setting.recipe, m.setting.size]
                extra.setdefault(m.setting.optimizer, []).append(rise / m.setting.size**2)
    for low_memory in (False, True):
        if larger := footprints.get((WINOGRAD, False, low_memory)):
            group = WINOGRAD, True, low_memory
            opening, convolution = _opening([m for m in measurements if m.setting.group == group])
            footprints[group] = replace(larger, opening=opening, opening_convolution=convolution)
    optimizers = {name: float(np.mean(values)) for name, values in extra.items()}
    if "bounds" in optimizers:
        optimizers["bounds"] -= optimizers["lbfgs"]  # it comes on top
    return footprints, optimizers


def _footprint(measurements: Sequence[Measurement]) -> Footprint:
    """Fit lines: to the peaks of opening, and to those of pictures large enough to take more."""
    large = [m for m in measurements if m.setting.size > _LARGER]
    styled = [m for m in measurements if m.setting.style > m.setting.size]
    opening, opening_convolution = _opening([m for m in measurements if m.setting.style <= _LARGER])
    fixed, convolution, objective = _least_squares(
        [[1, _depth(m), m.setting.size**2] for m in large],
        [replace(m, peak=m.peak - content_bytes(load_recipe(m.setting.recipe)) * m.setting.size**2) for m in large],
    )
    statistics = np.mean([(m.peak - fixed) / m.setting.style**2 for m in styled])
    return Footprint(opening, opening_convolution, fixed, convolution, objective, float(statistics))


def _opening(measurements: Sequence[Measurement]) -> list[float]:
    """Fit a line to the peaks of opening."""
    return _least_squares([[1, _depth(m)] for m in measurements], measurements)


def _depth(measurement: Measurement) -> int:
    return convolutions(load_recipe(measurement.setting.recipe))


def _least_squares(rows: Sequence[Sequence[float]], measurements: Sequence[Measurement]) -> list[float]:
    """Return the coefficients with the least squares of relative errors."""
    peaks = np.array([m.peak for m in measurements])
    solution, *_ = np.linalg.lstsq(np.array(rows) / peaks[:, None], np.ones(len(peaks)), rcond=None)
    return [float(value) for value in solution]


def estimated(setting: Setting, footprints: dict[Group, Footprint], optimizers: dict[str, float]) -> float:
    """Return the peak of a setting by the figures."""
    held = optimizers[setting.optimizer] + (optimizers["lbfgs"] if setting.optimizer == "bounds" else 0)
    pixels, largest = setting.size**2, max(setting.size, setting.style) ** 2
    return footprints[setting.group].peak(load_recipe(setting.recipe), pixels, largest, held)


def _ways(forms: Iterable[str]) -> list[tuple[str, bool]]:
    """Return the forms, with low memory and without; a plug-in has no low memory."""
    return [(form, low) for form in forms for low in ((False, True) if form in LAYOUTS else (False,))]


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help=f"a model folder with the recipes {', '.join(RECIPES)}")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 768], help="sides of the pictures [512 768]")
    parser.add_argument(
        "--forms", nargs="+", choices=sorted({form for form, _, _ in FOOTPRINTS}), default=list(LAYOUTS)
    )
    parser.add_argument("--output", type=Path, help="a file for the single measurements, as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.sizes) <= _LARGER:
        parser.error(f"--sizes: expected more than {_LARGER}, where opening a graph takes the most")
    if options.one:
        transfer(Setting(**json.loads(options.one)), options.model)
        print(peak_mib() * 2**20)
        return
    measurements: list[Measurement] = []
    for setting in settings(options.sizes, _ways(options.forms)):
        measurements.append(measure(setting, options.model))
        print(f"{measurements[-1].peak / 1e6:8.1f} MB  {asdict(setting)}", file=sys.stderr, flush=True)
        if options.output:
            options.output.write_text(json.dumps([asdict(m) for m in measurements], indent=1) + "\n", "utf-8")
    footprints, optimizers = fit(measurements)
    for group, footprint in footprints.items():
        print(group, {name: round(value) for name, value in asdict(footprint).items()})
    print({name: round(value) for name, value in optimizers.items()})
    errors = [estimated(m.setting, footprints, optimizers) / m.peak - 1 for m in measurements]
    print(f"errors from {100 * min(errors):+.1f} % to {100 * max(errors):+.1f} %")


if __name__ == "__main__":
    main()
