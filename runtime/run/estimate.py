"""The estimate before a run: its memory and time, and the largest picture that fits.

The memory is computed from figures: see `impasto.runtime.engine.footprints`. The time is measured on this machine: see
`impasto.runtime.run.timings`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from impasto import figures
from impasto.figures import roughly
from impasto.runtime.engine.engine import ENGINE
from impasto.runtime.engine.footprints import TILED_WORK, budget_of
from impasto.runtime.engine.placement import OFF, Placement, check_placement, foreseen
from impasto.runtime.engine.providers import AUTO, PROVIDERS, is_host, provider_of
from impasto.runtime.engine.references import References
from impasto.runtime.errors import DeviceError, InputError
from impasto.runtime.machine import processors
from impasto.runtime.machine.memory import room
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.model.graphs import BFLOAT16, DIRECT, WINOGRAD, WORDS
from impasto.runtime.plan.plan import Plan, Stage, normalized_blend
from impasto.runtime.plan.sizes import MIN_SIDE
from impasto.runtime.run.budget import SETTLED
from impasto.runtime.run.fitting import Need
from impasto.runtime.run.result import Result
from impasto.runtime.run.state import Step
from impasto.runtime.run.timings import Timing, Timings, kind_of
from impasto.runtime.run.transfer import Transfer
from impasto.wording import option

# --- the estimate ---------------------------------------------------------------------------------------------


#: The options that can help a transfer to fit into memory.
CHOICES = ("size", "low_memory", "tile", "memory", "model")


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
    tiles, tile
        The number of tiles of a picture of the last stage, and their side in pixels, as the network's grid rounds it; 1
        and None if it is whole.
    seconds
        The time; None if nothing is known, as on CUDA before a first run.
    measured
        Whether the time is from measurements on this machine, rather than from a figure that may be off severalfold.
    least
        The least `at_most` that there is with any tiles and any optimiser, of a transfer that does not fit.
    sparing
        With what it takes so little, as words.
    largest
        (width, height), in the same proportions, of the largest picture that fits; None if this one or none does.
    ways
        Options, as `CHOICES` has them, and values with which a transfer that does not fit would.
    place
        The device and the precision, unless it is the CPU in float32.
    limit
        The name of the limit on the size, such as ``ulimit -v``; empty if it is the memory that the system has left.
    is_asked
        Whether `available` is the memory that the user allows, and not what the machine leaves.
    lacks_tiles
        Whether the model has no graphs for tiles.
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
    least: int | None = None
    sparing: tuple[str, ...] = ()
    largest: tuple[int, int] | None = None
    tiles: int = 1
    tile: int | None = None
    ways: Mapping[str, object] = field(default_factory=dict)
    limit: str = ""
    is_asked: bool = False
    lacks_tiles: bool = False
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
        ways = [f"{_VERBS[name]} {option(name, value)}" for name, value in self.ways.items() if name in options]
        if self.lacks_tiles and "model" in options:
            ways.append(f"export the model again, for graphs that compute in tiles ({option('force', True)})")
        if self.largest and "size" in options:
            ways.append(f"choose {option('size', '{}x{}'.format(*self.largest))}, the largest that fits")
        if self.is_asked and "memory" in options:
            least = math.ceil((self.least or self.at_most) / 1e8) / 10
            ways.append(f"raise {option('memory')} to {least:g}GB")
        ways += [f"raise the limit of {self.limit}"] if self.limit else []
        ways.append(f"try it all the same with {option('oversize', True)}")
        limit = option("memory") if self.is_asked else self.limit
        within = f" within {limit}" if limit else ""
        takes = f"takes {_gigabytes(self.memory)} to {_gigabytes(self.at_most)} of memory"
        if self.sparing and self.least is not None and self.least < self.at_most:
            takes = f"takes {_gigabytes(self.least)} of memory at least, with {' and '.join(self.sparing)}"
        raise InputError(
            f"size {self.width}x{self.height}: {takes}, and {_gigabytes(self.available)} are available{within}; "
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
        tiles = f" in {self.tiles} tiles of {self.tile} pixels" if self.tiles > 1 else ""
        work = f"{self.width}x{self.height}{tiles}, {figures.evaluations(self.evaluations)}{stages}"
        place = f", on {self.place}" if self.place else ""
        return f"{work}: {', '.join(takes)}{place}" if takes else f"{work}{place}"

    def to_mapping(self) -> dict[str, Any]:
        """Return it as plain data: bytes and seconds."""
        seconds = None if self.seconds is None else round(self.seconds, 1)
        return {
            "memory": self.memory,
            "at_most": self.at_most,
            "available": self.available,
            "tiles": self.tiles,
            "tile": self.tile,
            "seconds": seconds,
            "measured": self.measured,
        }


def estimate(
    transfer: Transfer,
    timings: Path | None = None,
    done: Sequence[int] = (),
    spent: float = 0.0,
    *,
    measure: bool = True,
) -> Estimate:
    """Estimate the memory and the time that a transfer takes, before it runs.

    Parameters
    ----------
    transfer
        See `impasto.runtime.run.prepare.prepare`. It need not run afterwards. It is settled for the memory that there
        is now: see `impasto.runtime.run.transfer.Transfer.settle`.
    timings
        A file with the known timings of this machine, which need not exist: see `learn`. If it has none for such a
        transfer, and the transfer is long, evaluations are measured, which takes some seconds; see `measure`.
    done
        The `State.made` of a transfer that goes on: the time is then that of the rest. The memory is not less.
    spent
        The seconds that the transfer has taken before: they count towards a time limit.
    measure
        Whether evaluations may be measured.

    Raises
    ------
    InputError
        When the model cannot be used.
    """
    transfer.untold += transfer.settle()
    plan, placement = transfer.plan, _foreseen(transfer)
    left = _stages_left(plan, done)
    memory = estimate_memory(transfer.need, transfer.memory)
    forecast = replace(memory, stages=len(left), evaluations=sum(stage.evaluations for stage in left))
    timing = _timing(transfer, left, placement, timings, measure=measure and forecast.fits)
    if timing is None and not is_host(placement.device):
        return forecast
    seconds = _seconds(transfer, left, timing or _rough_timing(placement), Timings(timings))
    return replace(forecast, seconds=_within_limit(plan.time_limit, seconds, spent), measured=timing is not None)


def _within_limit(limit: float | None, seconds: float, spent: float = 0.0) -> float:
    """Return the seconds that a transfer takes under a time limit, of which so many are spent already."""
    return seconds if limit is None else min(seconds, max(0.0, limit - spent))


def most_memory(transfers: Iterable[Transfer]) -> Transfer:
    """Return the transfer that takes the most of the host's memory; on a GPU, any."""

    def peak(transfer: Transfer) -> int:
        on_host = is_host(_foreseen(transfer).device)
        return transfer.need.highest(budget_of(transfer.placement))[1].at_most if on_host else 0

    return max(transfers, key=peak)


#: Option that can help -> what to do with it.
_VERBS = {"low_memory": "add", "tile": "choose"}


def estimate_memory(need: Need, budget: int | None) -> Estimate:
    """Estimate the memory alone; this needs no model.

    Parameters
    ----------
    need
        What is estimated, its plan as it will be carried out.
    budget
        The size in bytes for which tiles are chosen; None if it is not known.
    """
    plan, placement = need.plan, need.expected
    place = "" if placement.device == "cpu" else f"{placement.device} in {WORDS[placement.precision]}"
    forecast = Estimate(plan.width, plan.height, len(plan.stages), plan.evaluations, place=place)
    if not is_host(placement.device):
        return forecast
    _, peak = need.highest(budget)
    tiles, side = need.tiles(plan.finest, budget), need.side(plan.finest, budget)
    forecast = replace(forecast, memory=peak.size, at_most=peak.at_most, tiles=tiles, tile=side)
    free, asked = room(threads=placement.threads), placement.memory
    if free is None or (asked is not None and asked <= free.size):
        forecast = replace(forecast, available=asked, is_asked=asked is not None)
    else:
        forecast = replace(forecast, available=free.size, limit=free.limit)
    if forecast.fits or forecast.available is None:
        return forecast
    return replace(
        forecast,
        least=need.least(),
        sparing=need.sparing(),
        largest=largest_size(need, forecast.available),
        ways=dict(_ways(need, forecast.available)),
        lacks_tiles=need.halos(placement.layout) is None,
    )


def _ways(need: Need, available: int) -> Iterator[tuple[str, object]]:
    """Yield the options, with values, of which each lets a plan fit into so many bytes."""
    placement = need.placement
    tried: list[tuple[str, object, Placement]] = [("tile", AUTO, replace(placement, tile=AUTO))]
    if not placement.low_memory and not provider_of(need.expected.device).plugin:
        tried.append(("low_memory", True, replace(placement, low_memory=True)))
    for name, value, placed in tried:
        if placed != placement and _fits(replace(need, placement=placed), available):
            yield name, value


def _fits(need: Need, available: int) -> bool:
    """Whether a plan fits into so many bytes, with an optimiser for which there is memory."""
    budget = min(available, need.placement.memory or available)
    fitted = replace(need, plan=need.fitted(budget))
    return fitted.highest(budget)[1].at_most <= available


def largest_size(need: Need, available: int) -> tuple[int, int] | None:
    """Return the largest size that fits into so many bytes, in the plan's proportions and no larger than the plan's."""
    plan = need.plan
    long, short = max(plan.width, plan.height), min(plan.width, plan.height)

    def scaled(side: int) -> tuple[int, int]:
        return round(plan.width * side / long), round(plan.height * side / long)

    low, high = 0, long + 1  # `low` fits, `high` does not
    while high - low > 1:
        side = (low + high) // 2
        width, height = scaled(side)
        if min(width, height) < MIN_SIDE:
            low = side
            continue
        alone = replace(plan, stages=(Stage(width, height, 1, options=plan.finest.options),), restarts=())
        fits = _fits(replace(need, plan=alone), available)
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
    expected, pixels = _foreseen(transfer).device, transfer.plan.pixels(transfer.plan.finest)
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
        check_placement(placed, by_region=transfer.material.guided is not None)
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
    known = Timings(timings)
    began = 0.0 if result.history[0].evaluation == 1 else None  # of a resumed stage the beginning is unknown
    learnt: dict[str, tuple[Timing, list[_Seen]]] = {}
    for steps in map(list, _steps_by_stage(result.history)):
        first = steps[0]
        stage = replace(transfer.plan.stages[first.stage - 1], width=first.width, height=first.height)
        work = _work(transfer, stage)
        kind = _kind(transfer, _placed(transfer, stage, result.device), tiled=work > 1)
        timing, seen = learnt.setdefault(kind, (known[kind] or Timing(), []))
        if seconds := [later.seconds - earlier.seconds for earlier, later in pairwise(steps)]:
            timing.learn(transfer.plan.pixels(stage), max(median(seconds), 1e-6) / work)
        if began is not None:
            seen.append(_Seen(stage, work, first.seconds - began))
        began = steps[-1].seconds
    for kind, (timing, seen) in learnt.items():
        if timing.points:
            _learn_opening(timing, transfer, seen)
            known.keep(kind, timing)


class _Seen(NamedTuple):
    """A stage, its `_work`, and the seconds until its first evaluation had ended."""

    stage: Stage
    work: float
    seconds: float


def _learn_opening(timing: Timing, transfer: Transfer, seen: Sequence[_Seen]) -> None:
    """Learn the seconds before the first evaluation of each stage, less those of measuring the targets."""
    for stage, work, seconds in seen:
        evaluating = work * timing.evaluation(transfer.plan.pixels(stage))
        timing.learn_opening(max(0.0, seconds - evaluating - _targets(transfer, stage, timing)))


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
    if timing and timing.serves(plan.pixels(plan.stages[-1])):
        return timing
    rough = _rough_timing(placement)
    expected = _seconds(transfer, left, rough, known)
    if not measure or _within_limit(plan.time_limit, expected) < WORTH_MEASURING:
        return None
    if SETTLED * rough.evaluation(plan.pixels(left[0])) < SOON:
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
    material = transfer.material
    styles = (noise,) * (len(material.paintings) if material.regions else 1)
    references = References(noise, styles, normalized_blend(None, len(styles)), material.regions, material.protection)
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
    timing.learn(1, _rough_seconds(placement) / (placement.threads or processors.usable()))
    return timing


def _rough_seconds(placement: Placement) -> float:
    return ROUGH_SECONDS[BFLOAT16 if placement.precision == BFLOAT16 else placement.layout]


def _stages_left(plan: Plan, done: Sequence[int]) -> Sequence[Stage]:
    """Return the stages that are left, the present one with the evaluations left; `done` is the `State.made`."""
    if not done:
        return [stage for stage in plan.stages if stage.evaluations]
    present, *later = plan.stages[len(done) - 1 :]
    left = present.evaluations - done[-1]
    return [stage for stage in (replace(present, evaluations=left), *later) if stage.evaluations]


def _seconds(transfer: Transfer, stages: Sequence[Stage], timing: Timing, known: Timings) -> float:
    """Return the seconds of stages; `timing` is that of whole pictures, `known` may have those of tiles, too."""
    total = 0.0
    for stage in stages:
        own, factor = _timing_of_stage(transfer, stage, timing, known)
        evaluating = stage.evaluations * _work(transfer, stage) * own.evaluation(transfer.plan.pixels(stage))
        total += own.opening + factor * (evaluating + _targets(transfer, stage, own))
    return total


def _timing_of_stage(transfer: Transfer, stage: Stage, timing: Timing, known: Timings) -> tuple[Timing, float]:
    """Return the timing that serves a stage, and a factor on its seconds.

    A stage whose tiles are of an unknown timing has that of whole pictures. If its lowering is another, the factor is
    from `ROUGH_SECONDS`.
    """
    whole, placed, tiled = _foreseen(transfer), _placed(transfer, stage), _work(transfer, stage) > 1
    if not tiled and placed.layout == whole.layout:
        return timing, 1.0
    own = known[_kind(transfer, placed, tiled=tiled)]
    return (own, 1.0) if own else (timing, _rough_seconds(placed) / _rough_seconds(whole))


def _work(transfer: Transfer, stage: Stage) -> float:
    """Return the work of an evaluation in a stage, as a multiple of that of a whole picture."""
    return transfer.need.work(stage, transfer.memory)


def _targets(transfer: Transfer, stage: Stage, timing: Timing) -> float:
    """Return the seconds of measuring the targets of a stage; those of tiles have halos, too."""
    work, load = _work(transfer, stage), transfer.need.load(stage)
    pixels = [width * height for width, height in (transfer.plan.canvas(stage), *load.styles)]
    return max(1.0, work / TILED_WORK) * timing.targets(pixels)


def _kind(transfer: Transfer, placement: Placement, *, tiled: bool = False) -> str:
    regions = transfer.material.guided
    return kind_of(transfer.plan, transfer.metadata.network, placement, regions, tiled=tiled)


def _foreseen(transfer: Transfer, device: str | None = None) -> Placement:
    """Return the definite placement of a transfer's whole pictures; on the device that it ran on, if it is known."""
    placement = replace(transfer.placement, device=device or transfer.placement.device, tile=OFF)
    return foreseen(placement)


def _placed(transfer: Transfer, stage: Stage, device: str | None = None) -> Placement:
    """Return the definite placement of a stage, on that device: its tiles may have another lowering."""
    placed = transfer.need.placed(stage, transfer.memory)
    return foreseen(replace(placed, device=device or placed.device))


def _gigabytes(size: float) -> str:
    """Return bytes in units of 10^9, with two digits or more."""
    return f"{size / 1e9:.1f} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"
