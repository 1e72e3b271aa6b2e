"""The time from the start of a process to impasto's first result, and the optimiser's time after that.

Runs in impasto's environment, in a fresh process: ``python -m benchmarks.startup JOB STARTED``, where STARTED is the
monotonic clock when the process was started. Prints one JSON object.
"""

import time

BEGAN = time.monotonic()  # before anything else is imported

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

#: Evaluations that the optimiser makes while its own share is measured.
EVALUATIONS = 20


class Stopwatch:
    """Adds up the seconds of named parts, in the order in which they first occur."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the `with` block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.monotonic() - began

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with every call timed."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return call


def main() -> None:
    """Measure, and print the measurements."""
    watch = Stopwatch()
    watch.parts["interpreter"] = BEGAN - float(sys.argv[2])
    with watch.part("imports"):
        from benchmarks.files import model_folder, picture_file
        from benchmarks.protocol import Job
        from impasto.runtime import Objective
        from impasto.runtime.engine.library import import_onnxruntime
        from impasto.runtime.optimize.minimize import minimize, preload
        from impasto.runtime.pictures.photographs import read_picture
        from impasto.runtime.pictures.planes import to_planes
        from impasto.runtime.run.transfer import FIRST_STEP

        onnxruntime = import_onnxruntime()

    job = Job(**json.loads(sys.argv[1]))
    with watch.part("pictures"):
        content, style = (read_picture(picture_file(job.data, name, job.size)) for name in ("content", "style"))
        planes = to_planes(content, "content")
    preload("lbfgs")  # as a transfer does
    onnxruntime.InferenceSession = watch.timed("sessions", onnxruntime.InferenceSession)
    with watch.part("targets"):
        objective = Objective.open(
            model_folder(job.data), job.recipe, content=content, styles=[style], device="cpu", threads=job.threads
        )
    watch.parts["targets"] -= watch.parts["sessions"]  # both happen in there
    with watch.part("first evaluation"):
        import scipy.optimize  # noqa: F401  # waits until it is there, as a transfer does

        objective.evaluate(planes)
    seconds: list[float] = []

    def evaluate(point: Any) -> Any:
        began = time.monotonic()
        result = objective.evaluate(point)
        seconds.append(time.monotonic() - began)
        return result

    began = time.monotonic()
    minimize(evaluate, planes, evaluations=EVALUATIONS, first_step=FIRST_STEP * planes.size**0.5)
    print(json.dumps({"parts": watch.parts, "evaluations": seconds, "optimisation": time.monotonic() - began}))


if __name__ == "__main__":
    main()
