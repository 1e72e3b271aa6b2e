"""Both ends of the conversation between the orchestrator and a contender: one JSON object a line, by stdin and stdout.

A contender is a process of its own. It prepares one job, evaluates it until it is warm and says so; then every line
it reads asks for one more evaluation, or for a transfer of so many, and the end of its input for the end. The
orchestrator's end imports nothing outside the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.files import ROOT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: One evaluation, from a picture in NumPy to the loss and the gradient in NumPy.
Evaluate = Callable[[], tuple[float, "NDArray[np.float32]"]]

#: A whole optimisation of so many evaluations, from the start picture: the loss it ends with, seconds in evaluations.
Transfer = Callable[[int], tuple[float, float]]

#: Before the first timing: frameworks trace and compile in the first evaluation, and lay out their memory in the next.
WARM_UPS = 2

#: A GPU is timed over so many evaluations in a row: between two turns it lowers its clock.
IN_A_ROW = 10


class Unavailable(Exception):
    """A contender cannot take part; the text says why."""


@dataclass(frozen=True)
class Job:
    """The task that a contender is started for.

    Attributes
    ----------
    data
        The folder that `benchmarks.prepare` wrote.
    size
        Both sides of the picture.
    variant
        One of the ways to compute that the contender's module knows.
    device
        ``cpu`` or ``cuda:N``.
    """

    data: str
    recipe: str
    size: int
    threads: int
    variant: str
    device: str = "cpu"


@dataclass(frozen=True)
class Prepared:
    """The functions of a contender that has prepared its job; not every one can do a transfer."""

    evaluate: Evaluate
    transfer: Transfer | None = None


@dataclass(frozen=True)
class Answer:
    """One evaluation: its time, its results, and the process's peak memory so far.

    On a GPU, the median time of `IN_A_ROW`.

    `device_mib` is the memory that the process has taken on the device; allocators there give nothing back.
    """

    seconds: float
    loss: float
    gradient_norm: float
    peak_mib: float
    device_mib: float | None = None


@dataclass(frozen=True)
class Transferred:
    """One transfer: its time, the part of it in evaluations, and the loss at its end."""

    seconds: float
    evaluating: float
    loss: float
    device_mib: float | None = None


# --- the contender's end ----------------------------------------------------------------------------------


def serve(prepare: Callable[[Job], Prepared]) -> None:
    """Answer as a contender; `prepare` makes its functions from the job, the program's one argument."""
    with os.fdopen(os.dup(1), "w", buffering=1) as channel:
        os.dup2(2, 1)  # the prints of libraries are not part of the conversation

        def say(message: dict[str, Any]) -> None:
            print(json.dumps(message), file=channel)

        job = Job(**json.loads(sys.argv[1]))
        memory = DeviceMemory(job.device)
        try:
            with memory.watched():
                prepared = prepare(job)
                for _ in range(WARM_UPS):
                    prepared.evaluate()
        except Exception as error:
            traceback.print_exc()
            first = next(iter(str(error).strip().splitlines()), "")
            say({"unavailable": first if isinstance(error, Unavailable) else f"{type(error).__name__}: {first}"})
            return
        say({"ready": True})
        for line in sys.stdin:
            task, _, count = line.strip().partition(" ")
            with memory.watched():
                if task == "transfer":
                    answer: Answer | Transferred = _transfer(prepared, int(count))
                else:
                    answer = _answer(prepared.evaluate, 1 if job.device == "cpu" else IN_A_ROW)
            say(asdict(replace(answer, device_mib=memory.mib)))


def _transfer(prepared: Prepared, evaluations: int) -> Transferred:
    assert prepared.transfer is not None
    began = time.perf_counter()
    loss, evaluating = prepared.transfer(evaluations)
    return Transferred(time.perf_counter() - began, evaluating, loss)


def _answer(evaluate: Evaluate, times: int) -> Answer:
    import numpy as np  # here, because the orchestrator does without

    seconds: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        loss, gradient = evaluate()
        seconds.append(time.perf_counter() - began)
    peak = peak_mib()
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    return Answer(statistics.median(seconds), loss, norm, peak)


class DeviceMemory:
    """The memory that this process has taken on a CUDA device, in MiB; None for the CPU, or without nvidia-smi.

    The driver tells of all processes together; but while one contender works, the others wait.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.mib: float | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Count the change of the device's memory."""
        before = device_mib(self._device)
        yield
        now = device_mib(self._device)
        if before is not None and now is not None:
            self.mib = (self.mib or 0.0) + now - before


def peak_mib() -> float:
    """Return the largest resident size this process has had; Linux only."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


def answer_alone(module: str, *arguments: str) -> Any:
    """Run a module of the benchmarks in a process of its own; return what it prints, which is JSON.

    Raises
    ------
    CalledProcessError
        When it fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def device_mib(device: str) -> float | None:
    """Return how much of a CUDA device's memory all processes have taken; None for the CPU, or without nvidia-smi."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return None
    command = ["nvidia-smi", f"--id={number or 0}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


# --- the orchestrator's end -------------------------------------------------------------------------------


class Contender:
    """A contender's process, warm and waiting."""

    def __init__(self, command: Sequence[str], job: Job, log: Path) -> None:
        """Start the process and wait until it is warm.

        Parameters
        ----------
        command
            The program; the job becomes its last argument.
        log
            The file for its standard error.

        Raises
        ------
        Unavailable
            When it cannot take part.
        """
        try:
            with log.open("w", encoding="utf-8") as errors:
                self._process = subprocess.Popen(
                    [*command, json.dumps(asdict(job))],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        except OSError as error:
            raise Unavailable(f"{command[0]}: {error.strerror}") from None
        self._log = log
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def evaluate(self) -> Answer:
        """Have it evaluate once.

        Raises
        ------
        Unavailable
            When it has ended: killed for want of memory, for instance.
        """
        return Answer(**self._ask("evaluate"))

    def transfer(self, evaluations: int) -> Transferred:
        """Have it run a whole optimisation.

        Raises
        ------
        Unavailable
            When it has ended.
        """
        return Transferred(**self._ask(f"transfer {evaluations}"))

    def _ask(self, task: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{task}\n")
            self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(f"ended with status {self._process.wait()}; see {self._log}")
        message: dict[str, Any] = json.loads(line)
        if "unavailable" in message:
            raise Unavailable(message["unavailable"])
        return message
