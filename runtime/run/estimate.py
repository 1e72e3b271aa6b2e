"""The estimate before a run: its memory and time, and the largest picture that fits.

The memory is computed from figures that `python -m benchmarks.memory` measures; they depend on the graphs and hardly on
the machine. The time is measured on this machine: see `impasto.runtime.run.timings`.
"""

from __future__ import annotations

import contextlib
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
from impasto.runtime.engine.placement import Placement, check_placement, foreseen
from impasto.runtime.engine.providers import AUTO, PROVIDERS, is_host, provider_of
from impasto.runtime.engine.references import References
from impasto.runtime.errors import DeviceError, InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import BFLOAT16, DIRECT, WINOGRAD, WORDS, is_small
from impasto.runtime.plan.plan import Plan, Stage, normalized_blend
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.sizes import MIN_SIDE, fitted_size
from impasto.runtime.run.budget import SETTLED
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

    For a small picture the peak is when a graph is opened. For a large one it is when the graph runs, and grows with
    the pixels.

    Attributes
    ----------
    opening, opening_convolution
        The peak while onnxruntime prepares the weights: for a recipe whose deepest layer is ``block5_conv1``, and the
        addition for each deeper convolution of 512 x 512 channels.
    fixed, convolution
        The same, for the memory that stays in use after that: the program, its libraries and the weights.
    objective
        For each pixel of the picture, while loss and gradient are evaluated.
    statistics
        For each pixel of a picture whose targets are measured.
    kept
        The memory of the graphs that measure targets, when graphs are kept for the next picture.
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
            The pixels of the result, and of the largest picture whose targets are measured.
        held
            The bytes that the optimiser takes for each pixel of the result.
        keeps
            Whether graphs are kept for the next picture.
        """
        deeper = convolutions(recipe)
        fixed = self.fixed + self.convolution * deeper
        # the targets are measured, and their memory is given back, before the objective is opened
        one = max(
            self.opening + self.opening_convolution * deeper,
            fixed + self.statistics * largest,
            fixed + (self.objective + content_bytes(recipe) + held) * pixels,
        )
        # a kept graph of the objective still holds its memory while the next picture's targets are measured
        return one + self.kept + self.statistics * largest if keeps else one


def content_bytes(recipe: Recipe) -> float:
    """Return the bytes for each pixel of a recipe's content targets and their differences from activations."""
    blocks = (int(name[len("block")]) for name in recipe.content.layers)
    return sum(2 * 4 * (64 << min(block - 1, 3)) / 4.0 ** (block - 1) for block in blocks)


#: (layout, or provider and precision; for small pictures; low memory) -> the memory of such graphs. Fitted to peaks
#: (VmHWM) of whole transfers of
#: noise with Adam, at 512 and 768 pixels, on Linux with glibc, onnxruntime 1.32, 2 threads and weights of 8 bits; with
#: other weights opening takes a quarter less. `python -m benchmarks.memory` measures and fits them again.
FOOTPRINTS: Mapping[tuple[str, bool, bool], Footprint] = {
    (WINOGRAD, False, False): Footprint(779e6, 74e6, 451e6, 71e6, 1348, 736, 190e6),
    (WINOGRAD, False, True): Footprint(793e6, 57e6, 456e6, 68e6, 1391, 721),
    (WINOGRAD, True, False): Footprint(633e6, 60e6, 451e6, 71e6, 1348, 736, 190e6),
    (WINOGRAD, True, True): Footprint(664e6, 39e6, 456e6, 68e6, 1391, 721),
    (DIRECT, False, False): Footprint(455e6, 61e6, 80e6, 140e6, 2120, 696, 60e6),
    (DIRECT, False, True): Footprint(458e6, 71e6, 102e6, 135e6, 2046, 637),
    ("openvino fp32", False, False): Footprint(626e6, 74e6, 375e6, 93e6, 3498, 458, 60e6),
    ("openvino bf16", False, False): Footprint(727e6, 45e6, 508e6, 60e6, 1347, 500, 290e6),
}

#: Optimiser -> bytes for each pixel that it takes beyond Adam. SciPy's L-BFGS-B keeps vectors of the picture's 3 values
#: a pixel in float64, two for each step that it remembers; ``lbfgs-sobolev`` keeps them in float32, within bounds here.
#: From the same measurements.
OPTIMIZER_BYTES: Mapping[str, float] = {
    "adam": 0,
    "lbfgs": 937,
    "lbfgs, restarted": 1139,
    "bounds": 20,
    "lbfgs-sobolev": 312,
}


#: A peak may be higher than the figures by this factor. onnxruntime takes memory in pieces, each twice the size of the
#: last, so that at some sizes there is one more, half used.
AT_MOST = 4 / 3


def peak_memory(
    plan: Plan,
    styles: Sizes,
    placement: Placement,
    size: tuple[int, int] | None = None,
    *,
    keeps: bool = False,
) -> int:
    """Return the largest resident size, in bytes, of a process that carries a plan out on the machine's processor.

    Parameters
    ----------
    styles
        Widths and heights of the style pictures.
    placement
        One with a definite device, precision and lowering: see `impasto.runtime.engine.placement.foreseen`.
    size
        The size of the last stage, which takes the most memory, instead of the plan's.
    keeps
        Whether graphs are kept for the next picture.
    """
    width, height = size or (plan.finest.width, plan.finest.height)
    fitted = (fitted_size(style, plan.recipe, width, height, plan.style_scale) for style in styles)
    largest = max(w * h for w, h in [(width, height), *fitted])
    footprint = FOOTPRINTS[footprint_key(placement, small=is_small(placement.layout, height, width))]
    return round(footprint.peak(plan.recipe, width * height, largest, _optimizer_bytes(plan), keeps=keeps))


def footprint_key(placement: Placement, *, small: bool) -> tuple[str, bool, bool]:
    """Return the key of the figures for a definite placement on the machine's processor."""
    if placement.device == "cpu":
        return placement.layout, small, placement.low_memory
    return f"{provider_of(placement.device).kind} {placement.precision}", small, False


def _optimizer_bytes(plan: Plan) -> float:
    """Return the bytes for each pixel of a plan's optimiser; one without figures takes no more than SciPy's."""
    name = "lbfgs, restarted" if plan.restart_every else plan.optimizer
    bounds = OPTIMIZER_BYTES["bounds"] if plan.clip and plan.optimizer == "lbfgs" else 0
    return OPTIMIZER_BYTES.get(name, OPTIMIZER_BYTES["lbfgs"]) + bounds


def convolutions(recipe: Recipe) -> int:
    """Return how many more convolutions of 512 x 512 channels than ``block5_conv1`` a recipe needs; may be negative."""
    block, number = (int(digit) for digit in max(recipe.layers) if digit.isdigit())
    return {5: number - 1, 4: number - 5}.get(block, -4)


# --- the estimate ---------------------------------------------------------------------------------------------


#: The options that can help a transfer to fit into memory.
CHOICES = ("size", "low_memory")


@dataclass(frozen=True)
class Estimate:
    """The memory and the time that a transfer will take.

    Attributes
    ----------
    width, height
        The size of the result, in pixels.
    stages, evaluations
        The numbers of stages and evaluations of the transfer, or of the rest of it.
    memory, at_most
        The peak size of the process, in bytes, and its size at worst; None on CUDA, where other memory counts.
    available
        The size that the process can have, in bytes; None if it is not known.
    seconds
        The time; None if nothing is known, as on CUDA before a first run.
    measured
        Whether the time is from measurements on this machine, rather than from a figure that may be off severalfold.
    largest
        (width, height), in the same proportions, of the largest picture that fits; None if this one or none does.
    low_memory_fits
        Whether a transfer that does not fit would fit with low memory.
    place
        The device and the precision, unless it is the CPU in float32.
    limit
        The name of the limit on the size, such as ``ulimit -v``; empty if it is the memory that the system has left.
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
    place: str = ""

    @property
    def fits(self) -> bool:
        """Whether there is enough memory even at worst, as far as that is known."""
        return self.at_most is None or self.available is None or self.at_most <= self.available

    def check(self, options: Collection[str] = CHOICES) -> None:
        """Refuse a picture that does not fit.

        Parameters
        ----------
        options
            The options that the user can choose, beside ``oversize``: the text names no others.

        Raises
        ------
        InputError
            When it does not fit; the text names the largest size that does.
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
            available = "" if self.available is None else f" of {_gigabytes(self.available)}"
            takes.append(f"about {_gigabytes(self.memory)}{available} of memory")
        if self.seconds is not None:
            takes.append(f"{'about' if self.measured else 'very roughly'} {roughly(self.seconds)}")
        work = f"{self.width}x{self.height}, {figures.evaluations(self.evaluations)}{stages}"
        place = f", on {self.place}" if self.place else ""
        return f"{work}: {', '.join(takes)}{place}" if takes else f"{work}{place}"

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


def estimate(transfer: Transfer, timings: Path | None = None, done: Sequence[int] = (), spent: float = 0.0) -> Estimate:
    """Estimate the memory and the time that a transfer takes, before it runs.

    Parameters
    ----------
    transfer
        See `impasto.runtime.run.prepare.prepare`. It need not run afterwards.
    timings
        A file with the known timings of this machine, which need not exist: see `learn`. If it has none for such a
        transfer, and the transfer is long, evaluations are measured, which takes some seconds.
    done
        The `State.made` of a transfer that goes on: the time is then that of the rest. The memory is not less.
    spent
        The seconds that the transfer has taken before: they count towards a time limit.

    Raises
    ------
    InputError
        When the model cannot be used.
    """
    plan, placement = transfer.plan, _foreseen(transfer)
    left = _stages_left(plan, done)
    memory = estimate_memory(plan, _sizes(transfer), placement, keeps=_keeps(transfer, placement))
    forecast = replace(memory, stages=len(left), evaluations=sum(stage.evaluations for stage in left))
    timing = _timing(transfer, left, placement, timings, measure=forecast.fits)
    if timing is None and not is_host(placement.device):
        return forecast
    seconds = _seconds(plan, left, _sizes(transfer), timing or _rough_timing(placement))
    return replace(forecast, seconds=_within_limit(plan.time_limit, seconds, spent), measured=timing is not None)


def _within_limit(limit: float | None, seconds: float, spent: float = 0.0) -> float:
    """Return the seconds that a transfer takes under a time limit, of which so many are spent already."""
    return seconds if limit is None else min(seconds, max(0.0, limit - spent))


def most_memory(transfers: Iterable[Transfer]) -> Transfer:
    """Return the transfer that takes the most of the host's memory."""

    def peak(transfer: Transfer) -> int:
        placement = _foreseen(transfer)
        return peak_memory(transfer.plan, _sizes(transfer), placement, keeps=_keeps(transfer, placement))

    return max(transfers, key=peak)


def estimate_memory(plan: Plan, styles: Sizes, placement: Placement, *, keeps: bool = False) -> Estimate:
    """Estimate the memory alone; this needs no model.

    Parameters
    ----------
    styles
        Widths and heights of the style pictures.
    placement
        One with a definite device and lowering: see `impasto.runtime.engine.placement.foreseen`.
    keeps
        Whether graphs are kept for the next picture.
    """
    place = "" if placement.device == "cpu" else f"{placement.device} in {WORDS[placement.precision]}"
    forecast = Estimate(plan.width, plan.height, len(plan.stages), plan.evaluations, place=place)
    if not is_host(placement.device):
        return forecast
    memory = peak_memory(plan, styles, placement, keeps=keeps)
    free = room(threads=placement.threads)
    forecast = replace(forecast, memory=memory, at_most=round(AT_MOST * memory))
    if free is None:
        return forecast
    available = free.size
    forecast = replace(forecast, available=available, limit=free.limit)
    if forecast.fits:
        return forecast
    return replace(
        forecast,
        largest=largest_size(plan, styles, placement, available),
        low_memory_fits=not placement.low_memory
        and AT_MOST * peak_memory(plan, styles, replace(placement, low_memory=True)) <= available,
    )


def largest_size(plan: Plan, styles: Sizes, placement: Placement, available: int) -> tuple[int, int] | None:
    """Return the largest size that fits into so many bytes, in the plan's proportions and no larger than the plan's."""
    long, short = max(plan.width, plan.height), min(plan.width, plan.height)

    def scaled(side: int) -> tuple[int, int]:
        return round(plan.width * side / long), round(plan.height * side / long)

    low, high = 0, long + 1  # `low` fits, `high` does not
    while high - low > 1:
        side = (low + high) // 2
        fits = AT_MOST * peak_memory(plan, styles, placement, scaled(side)) <= available
        low, high = (side, high) if fits else (low, side)
    return scaled(low) if round(short * low / long) >= MIN_SIDE else None


def fastest(transfer: Transfer, timings: Path | None) -> Placement:
    """Return the placement of a transfer; on the device that the known times name, if it leaves the choice to us.

    Nothing is tried out. The device that is expected to be the fastest stands unless both its time and the shorter one
    of another device are known, from earlier transfers of the same kind and about the same size on this machine.

    Raises
    ------
    InputError
        When the model cannot be used, or no device has the precision.
    """
    placement, known = transfer.placement, Timings(timings)
    if placement.device != AUTO:
        return placement
    expected, pixels = _foreseen(transfer).device, transfer.plan.finest.width * transfer.plan.finest.height
    seconds = dict[str, float]()
    for device in (name for provider in PROVIDERS.values() for name in provider.definite_devices):
        with contextlib.suppress(InputError):
            timing = known[_kind(transfer, _foreseen(transfer, device))]
            if timing and timing.serves(pixels):
                seconds[device] = timing.evaluation(pixels)
    best = min(seconds, key=lambda device: seconds[device], default=expected)
    if expected not in seconds or seconds[best] > MUCH_FASTER * seconds[expected]:
        return placement
    with contextlib.suppress(DeviceError):
        placed = replace(placement, device=best)
        check_placement(placed, by_region=transfer.material.regions is not None)
        return placed
    return placement


def learn(transfer: Transfer, result: Result, timings: Path) -> None:
    """Remember how long a transfer's evaluations have taken, for the estimates of later transfers.

    Parameters
    ----------
    transfer, result
        A transfer that has ended, for whatever reason.
    timings
        The file; it is made, with its folder, if there is none. If it cannot be written, nothing is remembered.
    """
    if not result.history:
        return
    placement = _foreseen(transfer, result.device)
    known, kind = Timings(timings), _kind(transfer, placement)
    timing = known[kind] or Timing()
    stages = [list(steps) for steps in _steps_by_stage(result.history)]
    for steps in stages:
        if seconds := [later.seconds - earlier.seconds for earlier, later in pairwise(steps)]:
            timing.learn(steps[0].width * steps[0].height, max(median(seconds), 1e-6))
    if timing.points:
        _learn_opening(timing, transfer.plan, _sizes(transfer), stages)
        known.keep(kind, timing)


def _learn_opening(timing: Timing, plan: Plan, styles: Sizes, stages: Sequence[Sequence[Step]]) -> None:
    """Learn the seconds before the first evaluation of each stage, less those of measuring the targets."""
    ends = [0.0, *(steps[-1].seconds for steps in stages)]
    if stages[0][0].evaluation != 1:  # resumed: its beginning is unknown
        stages, ends = stages[1:], ends[1:]
    for began, (first, *_) in zip(ends, stages, strict=False):
        pixels = _pixels_measured(plan, styles, first.width, first.height)
        work = timing.evaluation(first.width * first.height) + timing.targets(pixels)
        timing.learn_opening(max(0.0, first.seconds - began - work))


def _steps_by_stage(history: Sequence[Step]) -> Iterator[Iterator[Step]]:
    for stage in sorted({step.stage for step in history}):
        yield (step for step in history if step.stage == stage)


# --- time -----------------------------------------------------------------------------------------------------

#: Lowering, or bfloat16 -> seconds of an evaluation for each pixel and core, roughly, on any present machine: with 2
#: cores, 1.5 s for `winograd` at 512x512. Good enough to decide whether measuring is worthwhile.
ROUGH_SECONDS: Mapping[str, float] = {WINOGRAD: 12e-6, DIRECT: 25e-6, BFLOAT16: 6e-6}

#: Known times change the choice of a device if they are shorter by this factor: each time they vary a little.
MUCH_FASTER = 0.9

#: If nothing is known yet, a transfer of so many seconds, roughly, is measured first, which takes some 3 seconds.
WORTH_MEASURING = 60.0

#: If a transfer's first evaluations take fewer seconds, roughly, they show its speed as soon as a trial would.
SOON = 5.0
_TRIAL_SIDE, _TRIALS, _TRIAL_SECONDS = 256, 3, 2.0


def _timing(
    transfer: Transfer, left: Sequence[Stage], placement: Placement, path: Path | None, *, measure: bool
) -> Timing | None:
    """Return the known timing of a transfer's evaluations; measure it if that is worthwhile and allowed."""
    known, kind = Timings(path), _kind(transfer, placement)
    timing, plan = known[kind], transfer.plan
    if not is_host(placement.device):  # a GPU's is learnt from its first run: opening its graphs takes as long
        return timing
    if timing and timing.serves(plan.width * plan.height):
        return timing
    rough = _rough_timing(placement)
    expected = _seconds(plan, left, _sizes(transfer), rough)
    if not measure or _within_limit(plan.time_limit, expected) < WORTH_MEASURING:
        return None
    if SETTLED * rough.evaluation(left[0].width * left[0].height) < SOON:
        return None
    timing = timing or Timing()
    try:
        _measure(timing, transfer, placement)
    except InputError:
        if transfer.material.regions:  # in a small picture, a small region may have no pixel
            return None
        raise
    known.keep(kind, timing)
    return timing


def _measure(timing: Timing, transfer: Transfer, placement: Placement) -> None:
    """Learn from a few evaluations of the transfer's recipe on small pictures of noise, with its masks."""
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
    timing.learn(pixels, min(trials))  # the first one allocates memory, and other programs may disturb others
    timing.learn_opening(max(0.0, opening - timing.targets([pixels] * (1 + len(styles)))))


def _rough_timing(placement: Placement) -> Timing:
    """Return a rough timing of any machine."""
    timing = Timing(opening=1.0)
    form = BFLOAT16 if placement.precision == BFLOAT16 else placement.lowering
    timing.learn(1, ROUGH_SECONDS[form] / (placement.threads or processors.usable()))
    return timing


def _stages_left(plan: Plan, done: Sequence[int]) -> Sequence[Stage]:
    """Return the stages that are left, the present one with the evaluations left; `done` is the `State.made`."""
    if not done:
        return [stage for stage in plan.stages if stage.evaluations]
    present, *later = plan.stages[len(done) - 1 :]
    left = present.evaluations - done[-1]
    return [stage for stage in (replace(present, evaluations=left), *later) if stage.evaluations]


def _seconds(plan: Plan, stages: Sequence[Stage], styles: Sizes, timing: Timing) -> float:
    total = 0.0
    for stage in stages:
        pixels = _pixels_measured(plan, styles, stage.width, stage.height)
        total += timing.opening + timing.targets(pixels)
        total += stage.evaluations * timing.evaluation(stage.width * stage.height)
    return total


def _pixels_measured(plan: Plan, styles: Sizes, width: int, height: int) -> list[int]:
    """Return the pixels of every picture whose targets are measured for a stage."""
    fitted = (fitted_size(style, plan.recipe, width, height, plan.style_scale) for style in styles)
    return [w * h for w, h in ((width, height), *fitted)]


def _kind(transfer: Transfer, placement: Placement) -> str:
    regions = len(transfer.material.regions.content.colors) if transfer.material.regions else None
    return kind_of(transfer.plan, transfer.metadata.network, placement, regions)


def _foreseen(transfer: Transfer, device: str | None = None) -> Placement:
    """Return the definite placement of a transfer; on the device that it ran on, if that is known."""
    placement = replace(transfer.placement, device=device or transfer.placement.device)
    return foreseen(placement)


def _keeps(transfer: Transfer, placement: Placement) -> bool:
    """Whether the transfer's graphs are kept for the next picture."""
    finest = transfer.plan.finest
    return (transfer.engine or ENGINE).keeps(placement, finest.width * finest.height)


def _sizes(transfer: Transfer) -> Sizes:
    return [style.size for style in transfer.material.styles]


def _gigabytes(size: float) -> str:
    """Return bytes in units of 10^9, with two digits or more."""
    return f"{size / 1e9:.1f} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"
