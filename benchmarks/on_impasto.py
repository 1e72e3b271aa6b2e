"""impasto as a contender.

On the CPU: `winograd` or `direct` lowering, `winograd` with low memory, or onnxruntime's plug-in of OpenVINO in float32
(`openvino-fp32`) or bfloat16 (`openvino-bf16`). On CUDA: as it comes, `no-tf32`,
`fp16`, `no-cuda-graph`, or `lbfgs-device`, whose evaluations are `no-cuda-graph`'s.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from benchmarks.files import model_folder
from benchmarks.problem import load_pictures
from benchmarks.protocol import Job, Prepared, Unavailable, serve
from impasto.runtime import Objective
from impasto.runtime.pictures.planes import to_planes


def options(job: Job) -> dict[str, Any]:
    """Return the options of `Objective.open` that make a variant."""
    plug_in, _, precision = job.variant.partition("-")
    if plug_in == "openvino":
        return {"device": "openvino:cpu", "precision": precision}
    return {"device": job.device, **lowering_options(job)}


def lowering_options(job: Job) -> dict[str, Any]:
    """Return them for a variant on onnxruntime's own providers."""
    if job.device != "cpu":
        from impasto.runtime.engine.cuda import CudaOptions  # not in an older impasto, which is measured on the CPU

        graph = False if job.variant in ("no-cuda-graph", "lbfgs-device") else None
        cuda = CudaOptions(tf32=job.variant != "no-tf32", graph=graph)
        return {"cuda": cuda, "precision": "fp16" if job.variant == "fp16" else "fp32"}
    if job.variant != "low-memory":
        return {"lowering": "auto" if job.variant == "lbfgs-device" else job.variant}
    if "low_memory" not in inspect.signature(Objective.open).parameters:
        raise Unavailable("this impasto has no low_memory")
    return {"lowering": "winograd", "low_memory": True}


def prepare(job: Job) -> Prepared:
    """Return the evaluation of a job, and its transfer."""
    pictures = load_pictures(job)
    objective = Objective.open(
        model_folder(job.data),
        job.recipe,
        content=pictures.content,
        styles=[pictures.style],
        threads=job.threads,
        **options(job),
    )
    planes = to_planes(pictures.start, "start")

    def transfer(evaluations: int) -> tuple[float, float]:
        from impasto.runtime.optimize.minimize import minimize
        from impasto.runtime.run.transfer import FIRST_STEP

        seconds: list[float] = []
        more: dict[str, Any] = {}
        if job.variant == "lbfgs-device":
            resident = objective.evaluator.resident()
            more = {"optimizer": "lbfgs-device", "resident": Timed(resident, seconds, resident.algebra)}
        minimum = minimize(
            Timed(objective.evaluate, seconds),
            planes,
            evaluations=evaluations,
            first_step=FIRST_STEP * planes.size**0.5,
            **more,
        )
        return minimum.loss, sum(seconds)

    return Prepared(lambda: objective.evaluate(planes), transfer)


class Timed:
    """A function that keeps the seconds of every call."""

    def __init__(self, function: Callable[..., Any], seconds: list[float], algebra: Any = None) -> None:
        self.function, self.seconds, self.algebra = function, seconds, algebra

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        began = time.perf_counter()
        result = self.function(*arguments)
        self.seconds.append(time.perf_counter() - began)
        return result


if __name__ == "__main__":
    serve(prepare)
