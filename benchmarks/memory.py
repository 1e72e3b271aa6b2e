"""Measure the figures that `impasto.runtime.engine.footprints` counts the memory of whole pictures with.

``python -m benchmarks.memory --model FOLDER``. Each measurement is a whole transfer of noise in a process of its own,
whose peak size Linux tells. The figures are fitted to the measurements, and printed as that module has them, with the
largest errors. `benchmarks.tile_memory` measures pictures in tiles, and `benchmarks.optimizer_memory`
optimisers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks import machine
from benchmarks.protocol import answer_alone, peak_mib
from impasto.runtime.engine.footprints import (
    FOOTPRINTS,
    Footprint,
    Held,
    content_bytes,
    convolutions,
    shared_out,
)
from impasto.runtime.engine.providers import provider_of
from impasto.runtime.model.graphs import LAYOUTS, SMALL_PIXELS, WINOGRAD, is_small
from impasto.runtime.optimize.footprints import held
from impasto.runtime.plan.recipe import load_recipe

#: One recipe that ends with block5_conv1, and one that ends with block5_conv3.
RECIPES = ("gatys", "seed")

#: Optimiser -> evaluations after which it has touched all of its memory: the history of L-BFGS is full.
EVALUATIONS = {"adam": 2, "lbfgs": 8, "lbfgs, restarted": 14, "bounds": 8, "lbfgs-sobolev": 14}

#: The numbers of regions that are measured at one size; two are measured at each.
REGIONS = (1, 3, 12)

#: Sides of pictures that take nothing beside the opening of a graph: of any, and of one for larger pictures.
_TINY, _LARGER = 64, math.isqrt(SMALL_PIXELS) + 4

#: The side of a style so large that measuring it takes the most.
_LARGE_STYLE = 768

#: The colours of regions in masks.
_COLORS = tuple(itertools.product((0, 128, 255), repeat=3))

#: A key of `impasto.runtime.engine.footprints.FOOTPRINTS`.
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
        ``adam``, ``lbfgs``, ``lbfgs, restarted`` or ``bounds``, which is L-BFGS-B with bounds.
    regions
        The number of regions of the masks; 0 for no masks.
    """

    recipe: str
    form: str
    low_memory: bool
    size: int
    style: int
    optimizer: str
    regions: int = 0

    @property
    def group(self) -> Group:
        """Which graphs run, and how."""
        return self.form, is_small(self.form, self.size, self.size), self.low_memory

    @property
    def choices(self) -> tuple[str, bool, bool]:
        """The optimiser by its own name, whether it has bounds, and whether it is restarted."""
        name = "adam" if self.optimizer == "adam" else "lbfgs"
        return name, self.optimizer == "bounds", self.optimizer == "lbfgs, restarted"


@dataclass(frozen=True)
class Measurement:
    """A setting and the peak size of its process in bytes."""

    setting: Setting
    peak: float


def settings(sizes: Sequence[int], ways: Iterable[tuple[str, bool]]) -> list[Setting]:
    """Return the transfers to measure: each recipe at each size, one with a large style, and one recipe with masks."""
    transfers: list[Setting] = []
    for form, low_memory in ways:
        openings = (_TINY, _LARGER) if form == WINOGRAD else (_TINY,)
        transfers += [
            Setting(recipe, form, low_memory, n, n, "adam") for recipe in RECIPES for n in (*openings, *sizes)
        ]
        transfers.append(Setting("gatys", form, low_memory, openings[-1], _LARGE_STYLE, "adam"))
        if _runs_masks(form):
            transfers += [Setting("gatys", form, low_memory, n, n, "adam", 2) for n in (*openings, *sizes)]
            transfers += [Setting("gatys", form, low_memory, sizes[0], sizes[0], "adam", n) for n in REGIONS]
    return transfers


# --- one measurement ------------------------------------------------------------------------------------------


def transfer(setting: Setting, model: str) -> None:
    """Carry a transfer out, in this process."""
    from impasto.runtime.engine.engine import Engine
    from impasto.runtime.run.prepare import prepare

    rng, (device, lowering, precision) = np.random.default_rng(0), placed(setting.form)
    optimizer, bounded, restarted = setting.choices
    content, style = (rng.uniform(0, 255, (n, n, 3)).astype(np.float32) for n in (setting.size, setting.style))
    masks = [bands(picture.shape, setting.regions) for picture in (content, style)] if setting.regions else None
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
        optimizer=optimizer,
        restart_every=EVALUATIONS[setting.optimizer] if restarted else None,
        clip=bounded,
        tile="off",
        content_mask=masks[0] if masks else None,
        style_masks=masks[1:] if masks else None,
    )
    wanted.engine = Engine(graphs=0)  # as the command line's, which paints one picture
    wanted.run()


def bands(shape: tuple[int, ...], regions: int) -> NDArray[np.uint8]:
    """Return a label picture of a shape (height, width, ...) that has as many bands, one below the other."""
    height, width = shape[:2]
    colors = np.array(_COLORS, np.uint8)[np.arange(height) * regions // height]
    return np.repeat(colors[:, None], width, axis=1)


def placed(form: str) -> tuple[str, str, str]:
    """Return the device, the lowering and the precision of a form."""
    if form in LAYOUTS:
        return "cpu", form, "fp32"
    kind, precision = form.split()
    return f"{kind}:cpu", "auto", precision


def _runs_masks(form: str) -> bool:
    """Whether graphs with masks run in a form: plug-ins run them in some precisions only."""
    device, _, precision = placed(form)
    return precision in provider_of(device).masks


def measure(setting: Setting, model: str) -> Measurement:
    """Carry a transfer out in a process of its own.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    return Measurement(setting, answer_alone("memory", "--model", model, "--one", json.dumps(asdict(setting))))


# --- the figures ----------------------------------------------------------------------------------------------


def fit(measurements: Sequence[Measurement]) -> dict[Group, Footprint]:
    """Return the figures that fit the measured peaks best, of each way to run the graphs.

    Graphs for small pictures most often take the most when they are opened, which hides their other figures: these are
    taken from the larger ones, a little too high.
    """
    footprints: dict[Group, Footprint] = {}
    for group in dict.fromkeys(m.setting.group for m in measurements):
        own = [m for m in measurements if m.setting.group == group]
        if any(m.setting.size != _TINY for m in own):
            footprints[group] = _footprint(own)
    for low_memory in (False, True):
        if larger := footprints.get((WINOGRAD, False, low_memory)):
            group = WINOGRAD, True, low_memory
            own = [m for m in measurements if m.setting.group == group]
            opening, convolution = _opening([m for m in own if not m.setting.regions])
            small = replace(larger, opening=opening, opening_convolution=convolution)
            guided = _guided_opening(small, [m for m in own if m.setting.regions])
            footprints[group] = replace(small, guided_opening=guided)
    return footprints


def _footprint(measurements: Sequence[Measurement]) -> Footprint:
    """Fit lines: to the peaks of opening, and to those of pictures large enough to take more; then those with masks."""
    plain, masked = ([m for m in measurements if bool(m.setting.regions) == masks] for masks in (False, True))
    large = [m for m in plain if m.setting.size > _LARGER]
    styled = [m for m in plain if m.setting.style > m.setting.size]
    opening, opening_convolution = _opening([m for m in plain if m.setting.style <= _LARGER])
    fixed, convolution, objective = _least_squares(
        [[1, _depth(m), m.setting.size**2] for m in large],
        [replace(m, peak=m.peak - _beside_graphs(m.setting)) for m in large],
    )
    statistics = np.mean([(m.peak - fixed) / m.setting.style**2 for m in styled])
    found = Footprint(opening, opening_convolution, fixed, convolution, objective, float(statistics))
    return _with_masks(found, masked) if masked else found


def _with_masks(plain: Footprint, measurements: Sequence[Measurement]) -> Footprint:
    """Add the figures of masks, none less than 0: they fit what evaluations take beyond the figures without.

    What the measuring of targets takes is not fitted: it is counted as what an evaluation does.
    """
    large = [m for m in measurements if m.setting.size > _LARGER]
    rows, rest = [], []
    for m in large:
        pixels = m.setting.size**2
        without = plain.fixed + plain.convolution * _depth(m) + plain.objective * pixels + _beside_graphs(m.setting)
        rows.append([1, *(count * pixels for count in shared_out(m.setting.regions))])
        rest.append(m.peak - without)
    peaks = np.array([m.peak for m in large])
    solution, _ = nnls(np.array(rows) / peaks[:, None], np.array(rest) / peaks)
    fixed, guided, region, further = map(float, solution)
    opening = _guided_opening(plain, [m for m in measurements if m.setting.size <= _LARGER])
    return replace(plain, guided_opening=opening, guided_fixed=fixed, guided=guided, region=region, further=further)


def _guided_opening(plain: Footprint, measurements: Sequence[Measurement]) -> float:
    """Return what opening graphs takes more with masks than without."""
    more = [m.peak - plain.opening - plain.opening_convolution * _depth(m) for m in measurements]
    return max(float(np.mean(more)), 0.0)


def _beside_graphs(setting: Setting) -> float:
    """Return what content targets and the optimiser take."""
    return 2 * content_bytes(load_recipe(setting.recipe)) * setting.size**2 + _optimizer(setting).between


def _optimizer(setting: Setting) -> Held:
    optimizer, bounded, restarted = setting.choices
    return held(optimizer, setting.size**2, pairs=None, bounded=bounded, restarted=restarted)


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


def estimated(setting: Setting, footprints: dict[Group, Footprint]) -> float:
    """Return the peak of a setting by the figures."""
    pixels, largest = setting.size**2, max(setting.size, setting.style) ** 2
    recipe, footprint = load_recipe(setting.recipe), footprints[setting.group]
    return footprint.peak(recipe, pixels, largest, _optimizer(setting), regions=setting.regions).size


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
    footprints = fit(measurements)
    for group, footprint in footprints.items():
        print(group, {name: round(value) for name, value in asdict(footprint).items()})
    errors = [estimated(m.setting, footprints) / m.peak - 1 for m in measurements]
    print(f"errors from {100 * min(errors):+.1f} % to {100 * max(errors):+.1f} %")


if __name__ == "__main__":
    main()
