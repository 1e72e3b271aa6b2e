"""Before a run: how much memory and time it will take, and the largest picture that fits.

The memory is counted, from figures that `python -m benchmarks.memory` measures; they depend on the graphs and hardly on
the machine. The time is measured on this machine: see `impasto.runtime.run.timings`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from impasto import figures
from impasto.figures import roughly
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.engine.placement import Placement, foreseen
from impasto.runtime.engine.references import References
from impasto.runtime.errors import InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import DIRECT, WINOGRAD, is_small
from impasto.runtime.plan.plan import Plan, Stage, normalized_blend
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.sizes import MIN_SIDE, fitted_size
from impasto.runtime.run.budget import SURE
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Step
from impasto.runtime.run.timings import Timing, Timings, kind_of
from impasto.runtime.run.transfer import Transfer
from impasto.wording import option

Sizes = Sequence[tuple[int, int]]

# --- the model of memory --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """The peak memory of a process that evaluates graphs, in bytes, for one way to run them.

    It comes either when a graph is opened, of a small picture, or when it runs. Then it grows with the pixels.

    Attributes
    ----------
    opening, opening_convolution
        While onnxruntime prepares the weights: of a recipe whose deepest layer is ``block5_conv1``, and of each
        convolution of 512 x 512 channels that another one needs beyond that.
    fixed, convolution
        The same, of what remains after that: the program, its libraries and the weights.
    objective
        For each pixel of the picture, while loss and gradient are evaluated.
    statistics
        For each pixel of a picture whose targets are measured.
    kept
        Where graphs are kept for the next picture: what remains of those that measure targets.
    """

    opening: float
    opening_convolution: float
    fixed: float
    convolution: float
    objective: float
    statistics: float
    kept: float = 0.0

    def peak(self, recipe: Recipe, pixels: int, largest: int, held: float, *, keeps: bool = False) -> float:
        """Return the peak of a transfer.

        Parameters
        ----------
        pixels, largest
            Of the result, and of the largest picture whose targets are measured.
        held
            Bytes for each pixel of the result that the optimiser takes.
        keeps
            Whether graphs are kept for the next picture.
        """
        deeper = convolutions(recipe)
        fixed = self.fixed + self.convolution * deeper
        # the targets are measured, and that memory given back, before the objective is opened
        one = max(
            self.opening + self.opening_convolution * deeper,
            fixed + self.statistics * largest,
            fixed + (self.objective + content_bytes(recipe) + held) * pixels,
        )
        # kept, the objective's graph has its memory still while the next picture's targets are measured
        return one + self.kept + self.statistics * largest if keeps else one


def content_bytes(recipe: Recipe) -> float:
    """Return what a recipe's content targets, and their differences from activations, take for each pixel."""
    blocks = (int(name[len("block")]) for name in recipe.content.layers)
    return sum(2 * 4 * (64 << min(block - 1, 3)) / 4.0 ** (block - 1) for block in blocks)


#: (layout, for small pictures, low memory) -> what such graphs take. From peaks (VmHWM) of whole transfers of noise
#: with Adam, at 512 and 768 pixels, on Linux with glibc, onnxruntime 1.32, 2 threads and weights of 8 bits; opening
#: takes a quarter less with others. `python -m benchmarks.memory` measures and fits anew.
FOOTPRINTS: Mapping[tuple[str, bool, bool], Footprint] = {
    (WINOGRAD, False, False): Footprint(779e6, 74e6, 451e6, 71e6, 1348, 736, 190e6),
    (WINOGRAD, False, True): Footprint(793e6, 57e6, 456e6, 68e6, 1391, 721),
    (WINOGRAD, True, False): Footprint(633e6, 60e6, 451e6, 71e6, 1348, 736, 190e6),
    (WINOGRAD, True, True): Footprint(664e6, 39e6, 456e6, 68e6, 1391, 721),
    (DIRECT, False, False): Footprint(455e6, 61e6, 80e6, 140e6, 2120, 696, 60e6),
    (DIRECT, False, True): Footprint(458e6, 71e6, 102e6, 135e6, 2046, 637),
}

#: Bytes for each pixel that an optimiser takes beside Adam's: SciPy's L-BFGS-B keeps vectors of the picture's 3 values
#: a pixel in float64, two for each step that it remembers. By the same measurements.
OPTIMIZERS: Mapping[str, float] = {"adam": 0, "lbfgs": 937, "lbfgs, restarted": 1139, "bounds": 20}


#: How far above the figures a peak may lie. onnxruntime takes memory in pieces that double, so that at some sizes there
#: is one more, half used.
AT_MOST = 4 / 3


def peak_memory(
    plan: Plan,
    styles: Sizes,
    lowering: str,
    low_memory: bool,
    size: tuple[int, int] | None = None,
    *,
    keeps: bool = False,
) -> int:
    """Return the largest resident size, in bytes, that a process carrying a plan out on a CPU comes to.

    Parameters
    ----------
    styles
        Widths and heights of the style pictures.
    lowering, low_memory
        How the graphs run: ``direct`` or ``winograd``.
    size
        Instead of the plan's, of the last stage: it takes the most.
    keeps
        Whether graphs are kept for the next picture.
    """
    width, height = size or (plan.finest.width, plan.finest.height)
    fitted = (fitted_size(style, plan.recipe, width, height, plan.style_scale) for style in styles)
    largest = max(w * h for w, h in [(width, height), *fitted])
    footprint = FOOTPRINTS[lowering, is_small(lowering, height, width), low_memory]
    return round(footprint.peak(plan.recipe, width * height, largest, _held(plan), keeps=keeps))


def _held(plan: Plan) -> float:
    """Return what a plan's optimiser takes for each pixel; one that has no figures takes no more than SciPy's."""
    held = OPTIMIZERS["lbfgs, restarted"] if plan.restart_every else OPTIMIZERS.get(plan.optimizer, OPTIMIZERS["lbfgs"])
    return held + (OPTIMIZERS["bounds"] if plan.clip and plan.optimizer == "lbfgs" else 0)


def convolutions(recipe: Recipe) -> int:
    """Return how many convolutions of 512 x 512 channels beyond ``block5_conv1`` a recipe needs; below 0, fewer."""
    block, number = (int(digit) for digit in max(recipe.layers) if digit.isdigit())
    return {5: number - 1, 4: number - 5}.get(block, -4)


# --- the estimate ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What a transfer will take.

    Attributes
    ----------
    width, height
        Of the result, in pixels.
    stages, evaluations
        Of the transfer, or of what is left of it.
    memory, at_most
        The peak size of the process, in bytes, and what it comes to at worst; None on CUDA, where other memory counts.
    available
        The size it can have, in bytes; None where that is not known.
    seconds
        The time; None where nothing is known, as on CUDA before a first run.
    measured
        Whether the time is from measurements on this machine, rather than from a figure that may be off severalfold.
    largest
        (width, height), in the same proportions, of the largest picture that fits; None where this one does, or none.
    low_memory_fits
        Whether it would fit with low memory, where it does not.
    limit
        What limits the size it can have, such as ``ulimit -v``; empty for the memory that the system has left.
    """

    width: int
    height: int
    stages: int
    evaluations: int
    memory: int | None = None
    at_most: int | None = None
    available: int | None = None
    seconds: float | None = None
    measured: bool = False
    largest: tuple[int, int] | None = None
    low_memory_fits: bool = False
    limit: str = ""

    @property
    def fits(self) -> bool:
        """Whether the memory will do even at worst, as far as that is known."""
        return self.at_most is None or self.available is None or self.at_most <= self.available

    def check(self, options: Collection[str] = ("size", "low_memory")) -> None:
        """Refuse a picture that does not fit.

        Parameters
        ----------
        options
            What the user can choose, beside ``oversize``: the text names nothing else.

        Raises
        ------
        InputError
            When it does not; the text names the largest size that does.
        """
        if self.fits:
            return
        assert self.memory is not None and self.at_most is not None and self.available is not None
        ways = [f"add {option('low_memory', True)}"] if self.low_memory_fits and "low_memory" in options else []
        if self.largest and "size" in options:
            ways.append(f"choose {option('size', '{}x{}'.format(*self.largest))}, the largest that fits")
        ways += [f"raise the limit of {self.limit}"] if self.limit else []
        ways.append(f"try it all the same with {option('oversize', True)}")
        within = f" within {self.limit}" if self.limit else ""
        raise InputError(
            f"size {self.width}x{self.height}: takes {_gigabytes(self.memory)} to {_gigabytes(self.at_most)} of "
            f"memory, and {_gigabytes(self.available)} are available{within}; "
            f"{', or '.join(ways)}"
        )

    def __str__(self) -> str:
        """Return it in one line for people."""
        stages = f" in {self.stages} stages" if self.stages > 1 else ""
        takes = []
        if self.memory is not None:
            of = "" if self.available is None else f" of {_gigabytes(self.available)}"
            takes.append(f"about {_gigabytes(self.memory)}{of} of memory")
        if self.seconds is not None:
            takes.append(f"{'about' if self.measured else 'very roughly'} {roughly(self.seconds)}")
        what = f"{self.width}x{self.height}, {figures.evaluations(self.evaluations)}{stages}"
        return f"{what}: {', '.join(takes)}" if takes else what

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain data: bytes and seconds."""
        seconds = None if self.seconds is None else round(self.seconds, 1)
        return {
            "memory": self.memory,
            "at_most": self.at_most,
            "available": self.available,
            "seconds": seconds,
            "measured": self.measured,
        }


def estimate(transfer: Transfer, timings: Path | None = None, made: Sequence[int] = (), spent: float = 0.0) -> Estimate:
    """Estimate the memory and the time that a transfer takes, before it runs.

    Parameters
    ----------
    transfer
        See `impasto.runtime.run.prepare.prepare`. It need not run afterwards.
    timings
        A file with what is known of this machine's speed, which need not exist: see `learn`. Where that says nothing
        of a transfer like this, and the transfer is long, evaluations are measured, which takes some seconds.
    made
        Of a transfer that goes on from a `State`, that one's: the time is that of what is left. The memory is not
        less.
    spent
        The seconds that it took before: a time limit counts them.

    Raises
    ------
    InputError
        When the model will not do.
    """
    plan, placement = transfer.plan, foreseen(transfer.placement)
    left = _left(plan, made)
    found = estimate_memory(plan, _sizes(transfer), placement, keeps=_keeps(transfer, placement))
    found = replace(found, stages=len(left), evaluations=sum(stage.evaluations for stage in left))
    timing = _timing(transfer, left, placement, timings, measure=found.fits)
    if timing is None and placement.device != "cpu":
        return found
    seconds = _seconds(plan, left, _sizes(transfer), timing or _rough(placement))
    return replace(found, seconds=_within(plan.time_limit, seconds, spent), measured=timing is not None)


def _within(limit: float | None, seconds: float, spent: float = 0.0) -> float:
    """Return the seconds that a time limit leaves, of which so many are spent already."""
    return seconds if limit is None else min(seconds, max(0.0, limit - spent))


def most_memory(transfers: Iterable[Transfer]) -> Transfer:
    """Return which of several transfers takes the most of the host's memory."""

    def peak(transfer: Transfer) -> int:
        placement = foreseen(transfer.placement)
        lowering, low_memory, keeps = placement.lowering, placement.low_memory, _keeps(transfer, placement)
        return peak_memory(transfer.plan, _sizes(transfer), lowering, low_memory, keeps=keeps)

    return max(transfers, key=peak)


def estimate_memory(plan: Plan, styles: Sizes, placement: Placement, *, keeps: bool = False) -> Estimate:
    """Estimate the memory alone, of a plan that no model need be there for.

    Parameters
    ----------
    styles
        Widths and heights of the style pictures.
    placement
        With a definite device and lowering: see `impasto.runtime.engine.placement.foreseen`.
    keeps
        Whether graphs are kept for the next picture.
    """
    found = Estimate(plan.width, plan.height, len(plan.stages), plan.evaluations)
    if placement.device != "cpu":
        return found
    lowering, low_memory = placement.lowering, placement.low_memory
    memory = peak_memory(plan, styles, lowering, low_memory, keeps=keeps)
    found_room = room(threads=placement.threads)
    found = replace(found, memory=memory, at_most=round(AT_MOST * memory))
    if found_room is None:
        return found
    available = found_room.size
    found = replace(found, available=available, limit=found_room.limit)
    if found.fits:
        return found
    return replace(
        found,
        largest=largest_size(plan, styles, lowering, low_memory, available),
        low_memory_fits=AT_MOST * peak_memory(plan, styles, lowering, True) <= available,
    )


def largest_size(plan: Plan, styles: Sizes, lowering: str, low_memory: bool, available: int) -> tuple[int, int] | None:
    """Return the largest size, in the plan's proportions and no larger than it, that fits into so many bytes."""
    long, short = max(plan.width, plan.height), min(plan.width, plan.height)

    def of(side: int) -> tuple[int, int]:
        return round(plan.width * side / long), round(plan.height * side / long)

    low, high = 0, long + 1  # `low` fits, `high` does not
    while high - low > 1:
        side = (low + high) // 2
        fits = AT_MOST * peak_memory(plan, styles, lowering, low_memory, of(side)) <= available
        low, high = (side, high) if fits else (low, side)
    return of(low) if round(short * low / long) >= MIN_SIDE else None


def learn(transfer: Transfer, result: Result, timings: Path) -> None:
    """Remember how long a transfer's evaluations have taken, for the estimates of later ones.

    Parameters
    ----------
    transfer, result
        One that has ended, for whatever reason.
    timings
        The file; it is made, with its folder, where there is none. What cannot be written is not remembered.
    """
    if not result.history:
        return
    placement = foreseen(replace(transfer.placement, device=result.device))
    known, kind = Timings(timings), _kind(transfer, placement)
    timing = known[kind] or Timing()
    stages = [list(steps) for steps in _by_stage(result.history)]
    for steps in stages:
        if seconds := [later.seconds - earlier.seconds for earlier, later in pairwise(steps)]:
            timing.learn(steps[0].width * steps[0].height, max(median(seconds), 1e-6))
    if timing.points:
        _learn_opening(timing, transfer.plan, _sizes(transfer), stages)
        known.keep(kind, timing)


def _learn_opening(timing: Timing, plan: Plan, styles: Sizes, stages: Sequence[Sequence[Step]]) -> None:
    """Take in what the first evaluation of each stage took beyond itself and the targets."""
    ends = [0.0, *(steps[-1].seconds for steps in stages)]
    if stages[0][0].evaluation != 1:  # resumed: nobody knows when that began
        stages, ends = stages[1:], ends[1:]
    for began, (first, *_) in zip(ends, stages, strict=False):
        pixels = _pictures(plan, styles, first.width, first.height)
        work = timing.evaluation(first.width * first.height) + timing.targets(pixels)
        timing.learn_opening(max(0.0, first.seconds - began - work))


def _by_stage(history: Sequence[Step]) -> Iterator[Iterator[Step]]:
    for stage in sorted({step.stage for step in history}):
        yield (step for step in history if step.stage == stage)


# --- time -----------------------------------------------------------------------------------------------------

#: Seconds of an evaluation for each pixel and core, roughly, of any machine of these years, by lowering: with 2
#: cores, 1.5 s for `winograd` at 512x512. Good enough to tell whether measuring is worth its while.
ROUGHLY: Mapping[str, float] = {WINOGRAD: 12e-6, DIRECT: 25e-6}

#: Seconds that a transfer takes, roughly, from which on evaluations are measured first, for some 3 seconds, where
#: nothing is known yet.
WORTH_MEASURING = 60.0

#: Seconds, roughly, that the first evaluations of a transfer take at most to tell its speed as soon as a trial would.
SOON = 5.0
_TRIAL_SIDE, _TRIALS, _TRIAL_SECONDS = 256, 3, 2.0


def _timing(
    transfer: Transfer, left: Sequence[Stage], placement: Placement, path: Path | None, *, measure: bool
) -> Timing | None:
    """Return what is known of a transfer's evaluations; measure them if that is worth its while, and allowed."""
    known, kind = Timings(path), _kind(transfer, placement)
    timing, plan = known[kind], transfer.plan
    if placement.device != "cpu":  # a GPU's are learnt from its first run: opening its graphs takes as long
        return timing
    if timing and timing.serves(plan.width * plan.height):
        return timing
    rough = _rough(placement)
    expected = _seconds(plan, left, _sizes(transfer), rough)
    if not measure or _within(plan.time_limit, expected) < WORTH_MEASURING:
        return None
    if SURE * rough.evaluation(left[0].width * left[0].height) < SOON:
        return None
    timing = timing or Timing()
    try:
        _measure(timing, transfer, placement)
    except InputError:
        if transfer.material.regions:  # in a small picture a small one may have nowhere to be
            return None
        raise
    known.keep(kind, timing)
    return timing


def _measure(timing: Timing, transfer: Transfer, placement: Placement) -> None:
    """Learn from a few evaluations of the transfer's recipe, of small pictures of noise, under its masks."""
    noise = np.random.default_rng(0).uniform(0, 255, (1, 3, _TRIAL_SIDE, _TRIAL_SIDE)).astype(np.float32)
    regions = transfer.material.regions
    styles = (noise,) * (len(transfer.material.paintings) if regions else 1)
    references = References(noise, styles, normalized_blend(None, len(styles)), regions)
    folder, engine = ModelFolder.open(transfer.model), transfer.engine or ENGINE
    began = time.perf_counter()
    evaluator = engine.evaluator(folder, transfer.plan.recipe.name, references, placement)
    opening, trials = time.perf_counter() - began, list[float]()
    while len(trials) < _TRIALS and sum(trials) < _TRIAL_SECONDS:
        began = time.perf_counter()
        evaluator.evaluate(noise)
        trials.append(time.perf_counter() - began)
    pixels = _TRIAL_SIDE**2
    timing.learn(pixels, min(trials))  # the first one lays out its memory, and another program may be in the way
    timing.learn_opening(max(0.0, opening - timing.targets([pixels] * (1 + len(styles)))))


def _rough(placement: Placement) -> Timing:
    """Return what any machine's timing may be."""
    timing = Timing(opening=1.0)
    timing.learn(1, ROUGHLY[placement.lowering] / (placement.threads or processors.usable()))
    return timing


def _left(plan: Plan, made: Sequence[int]) -> Sequence[Stage]:
    """Return the stages that are left, the present one with what is left of it; `made` in each that has begun."""
    if not made:
        return [stage for stage in plan.stages if stage.evaluations]
    present, *later = plan.stages[len(made) - 1 :]
    left = present.evaluations - made[-1]
    return [stage for stage in (replace(present, evaluations=left), *later) if stage.evaluations]


def _seconds(plan: Plan, stages: Sequence[Stage], styles: Sizes, timing: Timing) -> float:
    total = 0.0
    for stage in stages:
        pixels = _pictures(plan, styles, stage.width, stage.height)
        total += timing.opening + timing.targets(pixels)
        total += stage.evaluations * timing.evaluation(stage.width * stage.height)
    return total


def _pictures(plan: Plan, styles: Sizes, width: int, height: int) -> list[int]:
    """Return the pixels of every picture whose targets are measured for a stage."""
    fitted = (fitted_size(style, plan.recipe, width, height, plan.style_scale) for style in styles)
    return [w * h for w, h in ((width, height), *fitted)]


def _kind(transfer: Transfer, placement: Placement) -> str:
    regions = len(transfer.material.regions.content.colors) if transfer.material.regions else None
    return kind_of(transfer.plan, transfer.metadata.network, placement, regions)


def _keeps(transfer: Transfer, placement: Placement) -> bool:
    """Whether the transfer's graphs are kept for the next picture."""
    finest = transfer.plan.finest
    return (transfer.engine or ENGINE).keeps(placement, finest.width * finest.height)


def _sizes(transfer: Transfer) -> Sizes:
    return [style.size for style in transfer.material.styles]


# --- words ----------------------------------------------------------------------------------------------------


def _gigabytes(size: float) -> str:
    """Return bytes in units of 10^9, with two digits or more."""
    return f"{size / 1e9:.1f} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"
