"""The measurements, and their plain tables, whose ratios compare with impasto in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.contenders import BRAIN, FRAMEWORK, LEADERS, OPENVINO, OURS, alike, leader, precision_of
from benchmarks.protocol import Answer, Transferred

#: Two contenders whose losses, or norms of the gradient, differ by more than this do not compute the same. TF32, with
#: its 11 bits, is rounded otherwise by every library.
TOLERANCE, TF32_TOLERANCE = 1e-3, 1e-2

#: By how much each of them may differ from float32's where activations have the 8 bits of bfloat16. Measured were up to
#: 1.6 % with Keras, 0.9 % with PyTorch, 0.2 % with OpenVINO; the gradients themselves differ by 5 % in all three.
BRAIN_TOLERANCE = 3e-2


class Disagreement(Exception):
    """Contenders did not compute the same; their times mean nothing."""


@dataclass
class Case:
    """The evaluations of one recipe at one size.

    Attributes
    ----------
    answers
        By contender, one for each round.
    unavailable
        By contender, why it did not take part.
    transfers
        By contender, one for each repetition.
    evaluations
        Of a transfer.
    tolerance
        By how much contenders may differ.
    """

    recipe: str
    size: int
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    transfers: dict[str, list[Transferred]] = field(default_factory=dict)
    evaluations: int = 0
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Startup:
    """One start of impasto.

    Attributes
    ----------
    parts
        Seconds from the start of the process to the first result, in order.
    evaluations
        Seconds of each evaluation in the optimisation that follows.
    optimisation
        Seconds of all of it; those beside the evaluations are the optimiser's.
    """

    parts: dict[str, float]
    evaluations: list[float]
    optimisation: float

    @property
    def warm(self) -> float:
        """Seconds of one evaluation."""
        return median(self.evaluations)

    @property
    def optimiser(self) -> float:
        """Seconds that the optimiser adds to one evaluation."""
        return (self.optimisation - sum(self.evaluations)) / len(self.evaluations)


@dataclass(frozen=True)
class Command:
    """One whole command: its time and its peak memory."""

    seconds: float
    peak_mib: float


def check_agreement(answers: Mapping[str, Sequence[Answer]], tolerance: float = TOLERANCE) -> None:
    """Make sure that all contenders computed the same; those in bfloat16 are measured against the others.

    Raises
    ------
    Disagreement
        When they did not, or when something was not finite.
    """
    for name in ("loss", "gradient_norm"):
        values = [(getattr(a, name), contender) for contender, all_ in answers.items() for a in all_]
        full = [value for value, contender in values if precision_of(contender) != BRAIN]
        middle = median(full or [value for value, _ in values])
        for value, contender in values:
            rounded = precision_of(contender) == BRAIN
            allowed = BRAIN_TOLERANCE if rounded else tolerance / 2  # float32's lie on both sides of the middle
            if not abs(value - middle) <= allowed * abs(middle):  # nor is NaN
                listing = ", ".join(f"{contender} {value:.7g}" for value, contender in dict.fromkeys(values))
                most = BRAIN_TOLERANCE if rounded else tolerance
                raise Disagreement(f"{name} differs by more than {most:g}: {listing}")


def evaluation_table(case: Case) -> str:
    """Return the table of a case, and how impasto compares with the fastest of each kind in the same precision."""
    check_agreement(case.answers, case.tolerance)
    medians = {name: median(_seconds(answers)) for name, answers in case.answers.items()}
    on_device = any(answer.device_mib is not None for answers in case.answers.values() for answer in answers)
    rows = [("contender", "median ms", "min ms", "ratio", "peak MiB", *(["device MiB"] if on_device else []))]
    for name, answers in case.answers.items():
        least, peak = min(_seconds(answers)), max(answer.peak_mib for answer in answers)
        ratio = f"{medians[name] / medians[leader(name)]:.2f}" if leader(name) in medians else "-"
        digits = 2 if on_device else 1
        cells = (name, *(f"{1000 * s:.{digits}f}" for s in (medians[name], least)), ratio, f"{peak:.0f}")
        rows.append((*cells, *([_mib(answer.device_mib for answer in answers)] if on_device else [])))
    rounds = max((len(answers) for answers in case.answers.values()), default=0)
    lines = [f"One evaluation, {case.recipe}, {case.size}x{case.size}, {rounds} rounds", table(rows)]
    lines += [f"{name}: left out, {reason}" for name, reason in case.unavailable.items()]
    return "\n".join(lines + _conclusions(case, medians))


def _mib(sizes: Iterable[float | None]) -> str:
    known = [size for size in sizes if size is not None]
    return f"{max(known):.0f}" if known else "-"


def optimisation_table(case: Case) -> str:
    """Return the table of a case's transfers: their times, and the optimiser's share of them."""
    rows = [("contender", "median s", "min s", "ratio", "optimiser %", "loss", "device MiB")]
    medians = {name: median(run.seconds for run in runs) for name, runs in case.transfers.items()}
    for name, runs in case.transfers.items():
        share = median(1 - run.evaluating / run.seconds for run in runs)
        ratio = f"{medians[name] / medians[OURS]:.2f}" if OURS in medians else "-"
        seconds = (f"{medians[name]:.2f}", f"{min(run.seconds for run in runs):.2f}", ratio, f"{100 * share:.1f}")
        rows.append((name, *seconds, f"{runs[-1].loss:.5g}", _mib(run.device_mib for run in runs)))
    title = f"A transfer, {case.recipe}, {case.size}x{case.size}, {case.evaluations} evaluations"
    return "\n".join([title, table(rows)])


def fastest(medians: Mapping[str, float], kind: str, precision: str) -> str | None:
    """Return the contender of a kind and a precision that has the least median, if there is one."""
    return min(alike(medians, kind, precision), key=medians.__getitem__, default=None)


def _conclusions(case: Case, medians: Mapping[str, float]) -> list[str]:
    """Compare like with like: float32 with float32, and bfloat16 with bfloat16."""
    lines: list[str] = []
    for kind, title in ((FRAMEWORK, "fastest framework"), (OPENVINO, "OpenVINO by itself")):
        for precision, ours in LEADERS.items():
            suffix = " in bfloat16" if precision == BRAIN else ""
            peer = fastest(medians, kind, precision)
            if peer is None or ours not in medians:
                continue
            ratio = medians[peer] / medians[ours]
            least = min(_seconds(case.answers[peer])) / min(_seconds(case.answers[ours]))
            lines.append(f"{title}{suffix} / {ours}: {ratio:.2f} by medians ({least:.2f} by minima), {peer}")
    return lines


def _seconds(answers: Sequence[Answer]) -> list[float]:
    return [answer.seconds for answer in answers]


def startup_table(starts: Sequence[Startup], recipe: str, size: int) -> str:
    """Return the table of the starts' medians."""
    firsts = [sum(start.parts.values()) for start in starts]
    warm, optimiser = median(start.warm for start in starts), median(start.optimiser for start in starts)
    rows = [("impasto", "ms")]
    rows += [(name, f"{1000 * median(start.parts[name] for start in starts):.1f}") for name in starts[0].parts]
    rows += [
        ("first result, in all", f"{1000 * median(firsts):.1f}"),
        ("a warm evaluation", f"{1000 * warm:.1f}"),
        ("3 warm evaluations + 1.5 s", f"{1000 * (3 * warm + 1.5):.1f}"),
        ("the optimiser, each evaluation", f"{1000 * optimiser:.1f}"),
    ]
    share = median(1 - sum(start.evaluations) / start.optimisation for start in starts)
    conclusion = f"the optimiser's share of the time: {100 * share:.1f} %"
    return "\n".join([f"Start, {recipe}, {size}x{size}, medians of {len(starts)}", table(rows), conclusion])


def transfer_table(commands: Mapping[str, Sequence[Command]], recipe: str, size: int, evaluations: int) -> str:
    """Return the table of whole commands."""
    rows = [("command", "median s", "min s", "ratio", "peak MiB")]
    medians = {name: median(run.seconds for run in runs) for name, runs in commands.items()}
    for name, runs in commands.items():
        least, peak = min(run.seconds for run in runs), max(run.peak_mib for run in runs)
        ratio = medians[name] / medians[OURS]
        rows.append((name, f"{medians[name]:.2f}", f"{least:.2f}", f"{ratio:.2f}", f"{peak:.0f}"))
    title = f"Whole transfer, {recipe}, {size}x{size}, {evaluations} evaluations"
    times = {name: medians[OURS] / seconds for name, seconds in medians.items() if name != OURS}
    lines = [f"impasto takes {share:.2f} times as long as {name}" for name, share in times.items()]
    return "\n".join([title, table(rows), *lines])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text, the first column to the left and the others to the right, with a rule below the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
