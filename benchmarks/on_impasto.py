"""impasto as a contender: `winograd` or `direct` lowering, or `winograd` with low memory."""

from __future__ import annotations

import inspect
from typing import Any

from benchmarks.files import model_folder
from benchmarks.problem import load_pictures
from benchmarks.protocol import Evaluate, Job, Unavailable, serve
from impasto.runtime import Objective
from impasto.runtime.pictures import to_planes


def prepare(job: Job) -> Evaluate:
    """Return the evaluation of a job."""
    options: dict[str, Any] = {"lowering": "winograd"}
    if job.variant == "low-memory":
        if "low_memory" not in inspect.signature(Objective.open).parameters:
            raise Unavailable("this impasto has no low_memory")
        options["low_memory"] = True
    else:
        options["lowering"] = job.variant
    pictures = load_pictures(job)
    objective = Objective.open(
        model_folder(job.data),
        job.recipe,
        content=pictures.content,
        styles=[pictures.style],
        device="cpu",
        threads=job.threads,
        **options,
    )
    planes = to_planes(pictures.start, "start")
    return lambda: objective.evaluate(planes)


if __name__ == "__main__":
    serve(prepare)
