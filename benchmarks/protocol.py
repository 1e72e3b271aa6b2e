"""Both ends of the conversation between the orchestrator and a contender: one JSON object a line, by stdin and stdout.

A contender is a process of its own. It prepares one job, evaluates it until it is warm and says so; then every line
it reads asks for one more evaluation, and the end of its input for the end. The orchestrator's end imports nothing
outside the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: One evaluation, from a picture in NumPy to the loss and the gradient in NumPy.
Evaluate = Callable[[], tuple[float, "NDArray[np.float32]"]]

#: Before the first timing: frameworks trace and compile in the first evaluation, and lay out their memory in the next.
WARM_UPS = 2


class Unavailable(Exception):
    """A contender cannot take part; the text says why."""


@dataclass(frozen=True)
class Job:
    """What a contender is started for.

    Attributes
    ----------
    data
        The folder that `benchmarks.prepare` wrote.
    size
        Both sides of the picture.
    variant
        Which of the ways that the contender's module knows.
    """

    data: str
    recipe: str
    size: int
    threads: int
    variant: str


@dataclass(frozen=True)
class Answer:
    """One evaluation: how long it took, what came out, and the process's peak memory so far."""

    seconds: float
    loss: float
    gradient_norm: float
    peak_mib: float


# --- the contender's end ----------------------------------------------------------------------------------


def serve(prepare: Callable[[Job], Evaluate]) -> None:
    """Be the contender that `prepare` makes of a job, the program's one argument."""
    with os.fdopen(os.dup(1), "w", buffering=1) as channel:
        os.dup2(2, 1)  # what libraries print is not part of the conversation

        def say(message: dict[str, Any]) -> None:
            print(json.dumps(message), file=channel)

        try:
            evaluate = prepare(Job(**json.loads(sys.argv[1])))
            for _ in range(WARM_UPS):
                evaluate()
        except Exception as error:
            traceback.print_exc()
            first = next(iter(str(error).strip().splitlines()), "")
            say({"unavailable": first if isinstance(error, Unavailable) else f"{type(error).__name__}: {first}"})
            return
        say({"ready": True})
        for _ in sys.stdin:
            say(asdict(_answer(evaluate)))


def _answer(evaluate: Evaluate) -> Answer:
    import numpy as np  # here, because the orchestrator does without

    began = time.perf_counter()
    loss, gradient = evaluate()
    seconds = time.perf_counter() - began
    peak = peak_mib()
    return Answer(seconds, loss, float(np.linalg.norm(gradient.astype(np.float64))), peak)


def peak_mib() -> float:
    """Return the largest resident size this process has had; Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


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
            Where its standard error goes.

        Raises
        ------
        Unavailable
            When it cannot take part.
        """
        try:
            with log.open("w") as errors:
                self._process = subprocess.Popen(
                    [*command, json.dumps(asdict(job))],
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
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("evaluate\n")
            self._process.stdin.flush()
        return Answer(**self._read())

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
