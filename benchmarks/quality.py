"""``make quality``: how good the results are: beside pastiche's, by stages and in one, and at several sizes.

Three questions about any pictures, by default the demo's:

- ``pastiche``: after as many evaluations, is the loss of our result, by pastiche's own code, as low as its own's?
- ``stages``: how soon does a run from coarse to fine reach the loss that one at full size ends with?
- ``sizes``: is the style of a picture the same when it is painted larger?

Prints tables, writes a file with all numbers, and ends with status 1 where an answer misses its bound.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import machine
from benchmarks.files import ROOT
from benchmarks.report import table
from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime import Objective, Result, Step, StopOptimization
from impasto.runtime.pictures.photographs import read_picture
from impasto.runtime.pictures.planes import fit_style, resize
from impasto.runtime.plan.plan import schedule
from impasto.runtime.plan.recipe import load_recipe
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.state import Callback
from impasto.runtime.run.transfer import Transfer

WORK = ROOT / ".bench"

SECTIONS = ("pastiche", "stages", "sizes")

#: The most that our loss may be of pastiche's.
PASTICHE_BOUND = 1.02

#: The most that the time of a run from coarse to fine may be of one at full size, until it has that one's loss.
STAGES_BOUND = 1 / 3

#: The most that may be left of the photograph's distance from the style, as the style terms measure it, in a result of
#: any size that is made small again.
SIZES_BOUND = 0.1


@dataclass(frozen=True)
class Plan:
    """The measurements to make; the command line's options, checked.

    Attributes
    ----------
    model
        A model folder with the recipes `pastiche` and `recipe`.
    content, style
        The pictures.
    recipe
        Of the sections but the first.
    pastiche_size, pastiche_evaluations, stages_size, stages_evaluations, sizes, sizes_evaluations
        Sides of the pictures in pixels, and evaluations, of each section.
    stages, staged_evaluations
        Of the run from coarse to fine; `impasto.runtime.plan.plan.schedule` divides them, and says how many stages
        there are by default.
    python
        The interpreter with PyTorch and pastiche.
    """

    sections: tuple[str, ...]
    model: Path
    content: Image.Image
    style: Image.Image
    recipe: str
    threads: int
    pastiche_size: int
    pastiche_evaluations: int
    stages_size: int
    stages: int | None
    stages_evaluations: int
    staged_evaluations: int
    sizes: tuple[int, ...]
    sizes_evaluations: int
    python: str
    work: Path
    output: Path


@dataclass(frozen=True)
class Answer:
    """The answer to one question: the number that counts, its bound, a table and all measurements."""

    value: float
    bound: float
    text: str
    data: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the number keeps its bound; one that is not a number does not."""
        return self.value <= self.bound

    def __str__(self) -> str:
        """Return the table and the conclusion."""
        return f"{self.text}\n{self.value:.3f}, at most {self.bound:.3f}: {'ok' if self.ok else 'MISSED'}"


def tell(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def progress(label: str) -> Callable[[Step], None]:
    """Return a callback that shows the progress of a transfer, every tenth evaluation."""

    def show(step: Step) -> None:
        if step.evaluation % 10 == 0:
            tell(f"{label}: {step.evaluation}/{step.evaluations}, {step.width}x{step.height}, loss {step.loss:.4g}")

    return show


# --- pastiche -------------------------------------------------------------------------------------------------


def beside_pastiche(plan: Plan) -> Answer:
    """Let both programs paint the same, as PNGs; let pastiche's code judge both.

    Both start from the content picture, which has its size already, as has the style: neither program resizes. Each
    step of pastiche's L-BFGS (PyTorch's with `max_iter` 1) is one evaluation of loss and gradient; they are counted
    while the program runs. It writes the picture after its last step, which it has not evaluated; ours is the best one
    that was. Both pictures are rounded to 8 bits before they are judged.
    """
    side, count = plan.pastiche_size, plan.pastiche_evaluations
    names = ("content", "style", "impasto", "pastiche")
    files = {name: str(plan.work / f"quality-{name}.png") for name in names}
    content, style = resize(plan.content, side, side), resize(plan.style, side, side)
    content.save(files["content"])
    style.save(files["style"])
    result = _paint(plan, "pastiche", content, style, (side, side), count, 1, "impasto", init="content")
    result.image.save(files["impasto"])
    tell(f"pastiche: {count} steps")
    arguments = ["--content", files["content"], "--styles", files["style"], "--output", files["pastiche"]]
    arguments += ["--size", str(side), "--num-steps", str(count), "--device", "cpu", "--seed", "0"]
    counted = _ask(plan, "run", *arguments)
    scores = _ask(plan, "score", *(files[name] for name in ("content", "style", "content", "impasto", "pastiche")))
    losses = dict(zip(("content", "impasto", "pastiche"), scores["losses"], strict=True))
    evaluations = {"content": 0, "impasto": result.evaluations, "pastiche": counted["gradients"]}
    rows = [("picture", "evaluations", "pastiche's loss", "ratio")]
    rows += [(k, str(evaluations[k]), f"{losses[k]:.6g}", f"{losses[k] / losses['pastiche']:.4f}") for k in losses]
    title = f"Beside pastiche, recipe pastiche, {side}x{side}, from the content"
    data = {"size": side, "losses": losses, "evaluations": evaluations, "final": result.loss, "counted": counted}
    return Answer(losses["impasto"] / losses["pastiche"], PASTICHE_BOUND, f"{title}\n{table(rows)}", data)


def _ask(plan: Plan, *arguments: str) -> dict[str, Any]:
    """Run `benchmarks.on_pastiche` in its environment."""
    command = [plan.python, "-m", "benchmarks.on_pastiche", *arguments]
    variables = {**os.environ, "OMP_NUM_THREADS": str(plan.threads), "MKL_NUM_THREADS": str(plan.threads)}
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=variables)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# --- coarse to fine -------------------------------------------------------------------------------------------


def by_stages(plan: Plan) -> Answer:
    """Run once at full size, then from coarse to fine until the loss is as low, or the time has been as long.

    Losses of different sizes do not compare: only those at full size count. The time is from the start of the transfer,
    opening the graphs and measuring targets in every stage included. The coarse stages are those of a run of
    `staged_evaluations`; the last one is as long as it takes. Both runs start as the recipe does. A recipe whose own
    runs have a single stage is measured in stages all the same.
    """
    side, count = plan.stages_size, plan.stages_evaluations
    content = _fit(plan.content, side)
    _paint(plan, plan.recipe, content, plan.style, _scaled(content, 64), 2, 1, "warming up")
    single = _paint(plan, plan.recipe, content, plan.style, content.size, count, 1, "one stage")
    reached = time_to(single.loss, single.history)
    planned = plan.staged_evaluations
    stages = plan.stages or len(schedule(*content.size, planned))
    transfer = _prepare(plan, plan.recipe, content, plan.style, content.size, planned, stages, "coarse to fine")
    *coarse, finest = transfer.plan.stages
    as_long = (*coarse, replace(finest, evaluations=count))
    transfer.plan = replace(transfer.plan, stages=as_long, time_limit=single.seconds)
    transfer.callback = until(single.loss, content.size, transfer.callback)
    staged = transfer.run()
    needed = time_to(single.loss, [step for step in staged.history if (step.width, step.height) == content.size])
    rows = [("run", "stages", "final loss", "seconds", f"until {single.loss:.4g}")]
    for name, result, seconds in (("one stage", single, reached), ("coarse to fine", staged, needed)):
        parts = " + ".join(f"{s.evaluations} at {s.width}x{s.height}" for s in result.plan.stages)
        rows.append((name, parts, f"{result.loss:.4g}", f"{result.seconds:.1f}", f"{seconds:.1f}"))
    init = single.plan.init
    title = f"Coarse to fine, recipe {plan.recipe}, from {init}, {content.width}x{content.height}"
    data = {
        "init": init,
        "size": content.size,
        "evaluations": {"single": count, "staged": planned},
        "single": _history(single),
        "staged": _history(staged),
        "seconds": {"single": reached, "staged": None if math.isinf(needed) else needed},
    }
    return Answer(needed / reached, STAGES_BOUND, f"{title}\n{table(rows)}", data)


def time_to(loss: float, steps: Sequence[Step]) -> float:
    """Return the seconds until a loss as low as that was reached; infinity if it was not."""
    return next((step.seconds for step in steps if step.loss <= loss), math.inf)


def until(loss: float, size: tuple[int, int], also: Callback | None) -> Callback:
    """Return a callback that ends a transfer at the first loss as low as that at a size; `also` is called before."""

    def stop(step: Step) -> None:
        if also:
            also(step)
        if (step.width, step.height) == size and step.loss <= loss:
            raise StopOptimization(f"the loss is down to {loss:.4g}")

    return stop


def _history(result: Result) -> list[tuple[int, float, float]]:
    return [(step.width, step.loss, round(step.seconds, 3)) for step in result.history]


# --- the look across sizes ------------------------------------------------------------------------------------


def across_sizes(plan: Plan) -> Answer:
    """Paint at each size; measure the distance of each result from the style, relative to that of the photograph.

    The distance is the sum of the recipe's own style terms, at the first size, to which larger results are reduced. The
    smallest result is optimised for just that; the others are not.
    """
    common = _fit(plan.content, plan.sizes[0])
    recipe = load_recipe(plan.recipe)
    style = fit_style(plan.style, recipe, *common.size)
    objective = Objective.open(plan.model, plan.recipe, content=common, styles=[style], threads=plan.threads)

    def distance(picture: Image.Image) -> float:
        objective(resize(picture, *common.size))
        return sum(value for name, value in objective.terms.items() if name.startswith("style/"))

    bare = distance(common)
    rows, left = [("painted at", "style terms", "of the photograph's", "seconds")], dict[int, float]()
    for side in plan.sizes:
        size = _fit(plan.content, side).size
        result = _paint(plan, plan.recipe, plan.content, plan.style, size, plan.sizes_evaluations, None, f"{side}")
        result.image.save(plan.work / f"quality-{side}.png")
        painted = distance(result.image)
        left[side] = painted / bare
        rows.append((f"{size[0]}x{size[1]}", f"{painted:.4g}", f"{left[side]:.4f}", f"{result.seconds:.0f}"))
    title = f"The same at every size, recipe {plan.recipe}, {plan.sizes_evaluations} evaluations, measured at "
    data = {"photograph": bare, "left": left, "measured_at": common.size}
    text = f"{title}{common.width}x{common.height}\n{table(rows)}"
    return Answer(max(left.values()), SIZES_BOUND, text, data)


# --- the whole ------------------------------------------------------------------------------------------------


def _prepare(
    plan: Plan,
    recipe: str,
    content: Image.Image,
    style: Image.Image,
    size: tuple[int, int],
    evaluations: int,
    stages: int | None,
    label: str,
    *,
    init: str | None = None,
) -> Transfer:
    return prepare(
        content,
        [style],
        model=plan.model,
        recipe=recipe,
        size=size,
        evaluations=evaluations,
        stages=stages,
        init=init,
        style_crop="off",  # the whole painting is measured
        device="cpu",
        threads=plan.threads,
        callback=progress(label),
    )


def _paint(*args: Any, **kwargs: Any) -> Result:
    return _prepare(*args, **kwargs).run()


def _scaled(picture: Image.Image, side: int) -> tuple[int, int]:
    """Return the size of a picture with that long side."""
    long = max(picture.size)
    return max(32, round(picture.width * side / long)), max(32, round(picture.height * side / long))


def _fit(picture: Image.Image, side: int) -> Image.Image:
    return resize(picture, *_scaled(picture, side))


ANSWERS: Mapping[str, Callable[[Plan], Answer]] = {
    "pastiche": beside_pastiche,
    "stages": by_stages,
    "sizes": across_sizes,
}


def run(plan: Plan) -> bool:
    """Answer each question; print each answer and write the file as soon as it is there. Tell if all are good."""
    plan.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "threads": plan.threads,
        "recipe": plan.recipe,
    }
    good = True
    for section in plan.sections:
        answer = ANSWERS[section](plan)
        good = good and answer.ok
        value = answer.value if math.isfinite(answer.value) else None
        results[section] = {"value": value, "bound": answer.bound, "ok": answer.ok, **answer.data}
        plan.output.parent.mkdir(parents=True, exist_ok=True)
        plan.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(answer, end="\n\n", flush=True)
    tell(f"wrote {plan.output}")
    return good


def _model(given: Path | None, recipe: str, work: Path) -> Path:
    """Return a model folder with the recipes: the one that is given, or one exported anew."""
    if given:
        return given
    from impasto.export.build import export_model
    from impasto.export.weights.sources import load_weights

    folder = work / "data" / "quality-model"
    folder.parent.mkdir(parents=True, exist_ok=True)
    tell("exporting a model")
    recipes = [load_recipe(name) for name in dict.fromkeys(("pastiche", recipe))]
    export_model(folder, recipes, load_weights("pastiche", notify=tell), force=True)
    return folder


def _picture(given: str | None, name: str) -> Image.Image:
    """Return a picture that is given, or the demo's."""
    if given:
        return read_picture(given)
    from impasto.cli.drawing.samples import open_sample

    return open_sample("town" if name == "content" else "sunset")


def parse(arguments: Sequence[str] | None = None) -> Plan:
    """Read the command line, export a model and draw pictures where none are given."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="the sections to run")
    parser.add_argument("--model", type=Path, help="a folder with the recipes pastiche and --recipe [exported anew]")
    parser.add_argument("--content", help="a picture [the demo's]")
    parser.add_argument("--style", help="a picture [the demo's]")
    parser.add_argument("--recipe", default=DEFAULT_RECIPE, help=f"of stages and sizes [{DEFAULT_RECIPE}]")
    parser.add_argument("--threads", type=int, default=2, help="[2]")
    parser.add_argument("--pastiche", nargs=2, type=int, default=(300, 100), metavar=("SIDE", "EVALUATIONS"))
    parser.add_argument("--stages", nargs=3, type=int, default=(1024, 60, 80), metavar=("SIDE", "ONE", "STAGED"))
    parser.add_argument("--stage-count", type=int, help="of the run from coarse to fine [as many as it takes]")
    parser.add_argument("--sizes", nargs="+", type=int, default=(256, 512), metavar="SIDE", help="[256 512]")
    parser.add_argument("--sizes-evaluations", type=int, default=200, help="[200]")
    parser.add_argument("--python", default=str(WORK / "torch/bin/python"), help="the one with PyTorch and pastiche")
    parser.add_argument("--work", type=Path, default=WORK, help="a folder for what is made meanwhile [.bench]")
    parser.add_argument("--output", type=Path, help="the file [benchmarks/results/quality-DATE-CPU.json]")
    options = parser.parse_args(arguments)
    name = f"quality-{datetime.now(UTC):%Y-%m-%d}-{machine.slug(machine.describe())}.json"
    return Plan(
        sections=tuple(options.only),
        model=_model(options.model, options.recipe, options.work),
        content=_picture(options.content, "content"),
        style=_picture(options.style, "style"),
        recipe=options.recipe,
        threads=options.threads,
        pastiche_size=options.pastiche[0],
        pastiche_evaluations=options.pastiche[1],
        stages_size=options.stages[0],
        stages=options.stage_count,
        stages_evaluations=options.stages[1],
        staged_evaluations=options.stages[2],
        sizes=tuple(options.sizes),
        sizes_evaluations=options.sizes_evaluations,
        python=options.python,
        work=options.work,
        output=options.output or ROOT / "benchmarks/results" / name,
    )


def main() -> None:
    """Run from the command line."""
    machine.need_linux()
    try:
        sys.exit(0 if run(parse()) else 1)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))} ended with status {error.returncode}")


if __name__ == "__main__":
    main()
