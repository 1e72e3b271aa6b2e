"""Measure the figures that `impasto.runtime.engine.footprints` counts the memory of pictures in tiles with.

``python -m benchmarks.tile_memory --model FOLDER``. Each measurement is a whole transfer of noise in a process of its
own, in tiles, whose peak size Linux tells. The figures are fitted to the measurements, and printed as that module has
them, with the largest errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.memory import bands, placed
from benchmarks.protocol import answer_alone, peak_mib
from impasto.runtime.engine.footprints import TILE_FOOTPRINTS, Load, TileFootprint, convolutions, kept_bytes
from impasto.runtime.engine.tiles import windows_of
from impasto.runtime.model.graphs import WINOGRAD
from impasto.runtime.model.sums import Halo
from impasto.runtime.plan.recipe import load_recipe

#: A recipe that is deep, the default one, and one with another style loss.
RECIPES = ("seed", "impasto", "crowson")

#: Recipe -> how far its layers see; and layout -> the stride of tiles.
REACHES, STRIDES = {"seed": 112, "impasto": 80, "crowson": 80}, {WINOGRAD: 192}

#: Sides of cores, and the pictures that are measured with each: they leave a halo on both sides, or nearly.
SIDES: Mapping[int, tuple[int, int]] = {256: (1100, 800), 512: (1500, 1100), 1024: (2200, 1100)}

#: The side of the style, small enough for its targets to take less than the picture's.
STYLE = 256

#: After so many evaluations Adam has touched all of its memory.
EVALUATIONS = 2


@dataclass(frozen=True)
class Setting:
    """One transfer to be measured.

    Attributes
    ----------
    form
        A key of `impasto.runtime.engine.footprints.TILE_FOOTPRINTS`.
    width, height
        The size of the picture, in pixels.
    side
        The side of the tiles' cores.
    regions
        The number of regions of the masks; 0 for no masks.
    """

    recipe: str
    form: str
    width: int
    height: int
    side: int
    regions: int = 0

    @property
    def halo(self) -> Halo:
        """What its tiles are to see."""
        return Halo(REACHES.get(self.recipe, 80), STRIDES.get(self.form, 16))

    @property
    def load(self) -> Load:
        """What it asks of memory."""
        styles = ((STYLE, STYLE),)
        return Load(load_recipe(self.recipe), self.width, self.height, styles, self.regions)


def settings(forms: Sequence[str]) -> list[Setting]:
    """Return the transfers to measure: each recipe at one side, one recipe at each, and one with masks."""
    found = []
    for form in forms:
        found += [Setting("impasto", form, *size, side) for side, size in SIDES.items()]
        found += [Setting(recipe, form, *SIDES[256], 256) for recipe in RECIPES if recipe != "impasto"]
        found += [Setting("impasto", form, 2200, 1600, 256)]
        found += [Setting("impasto", form, *SIDES[512], 512, regions) for regions in (2, 3)]
    return found


def transfer(setting: Setting, model: str) -> None:
    """Carry a transfer out, in this process."""
    from impasto.runtime.engine.engine import Engine
    from impasto.runtime.run.prepare import prepare

    rng, (device, lowering, precision) = np.random.default_rng(0), placed(setting.form)
    content = rng.integers(0, 256, (setting.height, setting.width, 3), np.uint8)
    style = rng.integers(0, 256, (STYLE, STYLE, 3), np.uint8)
    masks = [bands(picture.shape, setting.regions) for picture in (content, style)] if setting.regions else None
    wanted = prepare(
        content,
        [style],
        model=model,
        recipe=setting.recipe,
        size=(setting.width, setting.height),
        style_scale=STYLE / (setting.width * setting.height) ** 0.5,
        evaluations=EVALUATIONS,
        stages=1,
        init="content",
        noise=0.5,
        device=device,
        lowering=lowering,
        precision=precision,
        threads=2,
        optimizer="adam",
        tile=setting.side,
        content_mask=masks[0] if masks else None,
        style_masks=masks[1:] if masks else None,
    )
    wanted.engine, wanted.appraises = Engine(graphs=0), False
    wanted.run()


def measure(setting: Setting, model: str) -> float:
    """Return the peak size, in bytes, of a process of its own that carries a transfer out.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    return float(answer_alone("tile_memory", "--model", model, "--one", json.dumps(asdict(setting))))


def fit(peaks: Mapping[Setting, float]) -> dict[str, TileFootprint]:
    """Return the figures that fit measured peaks best, of each way to run graphs.

    The peaks are those of evaluations. What opening a graph and measuring targets take is not fitted: it stays as it
    is.
    """
    found = {}
    for form in dict.fromkeys(one.form for one in peaks):
        own = {one: peak for one, peak in peaks.items() if one.form == form}
        rows, rest = [], []
        for one, peak in own.items():
            load, windows = one.load, windows_of(one.height, one.width, one.side, one.halo)
            masked, further = (one.regions > 0) * windows.largest, max(one.regions - 1, 0) * windows.largest
            rows.append([1, convolutions(load.recipe), windows.largest, masked, further, load.pixels])
            rest.append(peak - kept_bytes(load, windows))
        weights = 1 / np.array([*own.values()])
        columns, *_ = np.linalg.lstsq(np.array(rows, float) * weights[:, None], np.array(rest) * weights, rcond=None)
        fixed, convolution, window, guided, region, picture = map(float, columns)
        known = TILE_FOOTPRINTS[form]
        found[form] = TileFootprint(
            known.opening, fixed, convolution, window, guided, region, known.statistics, picture
        )
    return found


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    first_line = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tile_memory", description=first_line)
    parser.add_argument("--model", required=True, help=f"a model folder with the recipes {', '.join(RECIPES)}")
    parser.add_argument("--forms", nargs="+", choices=[*TILE_FOOTPRINTS], default=["winograd", "direct"])
    parser.add_argument("--output", type=Path, help="a file for the single measurements, as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        transfer(Setting(**json.loads(options.one)), options.model)
        print(peak_mib() * 2**20)
        return
    peaks: dict[Setting, float] = {}
    for setting in settings(options.forms):
        peaks[setting] = measure(setting, options.model)
        print(f"{peaks[setting] / 1e6:8.1f} MB  {asdict(setting)}", file=sys.stderr, flush=True)
        if options.output:
            measured = [{**asdict(one), "peak": peak} for one, peak in peaks.items()]
            options.output.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    footprints = fit(peaks)
    for form, footprint in footprints.items():
        print(form, {name: round(value) for name, value in asdict(footprint).items()})
    errors = [footprints[one.form].peak(one.load, one.side, one.halo).size / peak - 1 for one, peak in peaks.items()]
    print(f"errors from {100 * min(errors):+.1f} % to {100 * max(errors):+.1f} %")


if __name__ == "__main__":
    main()
