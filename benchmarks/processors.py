"""Write docs/speed.md: one table of all processors, from the results that are kept.

Run it after a measurement: ``python -m benchmarks.processors``. It needs no environment of a contender.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import BRAIN, FRAMEWORK, LEADERS, OPENVINO, OURS, SINGLE, precision_of
from benchmarks.files import ROOT
from benchmarks.report import fastest

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "speed.md"

_INTRODUCTION = """\
# Speed, processor by processor

Written by `python -m benchmarks.processors` from [benchmarks/results](../benchmarks/results): change it there.
[benchmarks/README.md](../benchmarks/README.md) says how it is measured.

One evaluation of loss and gradient, in milliseconds; each is the median of a run's rounds. Within a row all contenders
took turns in one run, so its ratios mean something; times of different runs do not compare. A ratio is another's time
divided by impasto's in the same precision: 2.00 says that impasto takes half the time.

A *framework* is PyTorch or Keras; the fastest of their variants is named. OpenVINO by itself evaluates impasto's
`direct` graph. It is no framework that style transfers are written in, but it shows how fast such a graph can be.
"""

#: Precision -> the title of its table, and what is to be known.
_TEXTS = {
    SINGLE: ("Float32", "impasto as it comes."),
    BRAIN: (
        "Bfloat16",
        "impasto with the extra `openvino`, on processors that have instructions for products of bfloat16. A dash\n"
        "says that it was not measured: the plug-in takes Intel's processors only. Others have impasto in float32.",
    ),
}

#: What an instruction is called, by the flag that Linux has for it; the first of a line that a processor has counts.
_INSTRUCTIONS = (
    {"avx512f": "AVX-512", "avx2": "AVX2"},
    {"avx512_bf16": "AVX512-BF16"},
    {"amx_bf16": "AMX"},
)

#: Packages whose versions decide, by the environment that has them.
_PACKAGES = {
    "impasto": ("onnxruntime",),
    "impasto-openvino": ("onnxruntime-ep-openvino",),
    "torch": ("torch",),
    "keras": ("keras", "tensorflow_cpu"),
    "openvino": ("openvino",),
}

_NONE = "–"


@dataclass(frozen=True)
class Measurement:
    """One case of a kept run on a CPU.

    Attributes
    ----------
    processor
        Its name, with the instructions that matter and the number of threads.
    medians
        Contender -> seconds of an evaluation.
    run
        The whole file that it is from.
    """

    processor: str
    recipe: str
    size: int
    medians: Mapping[str, float]
    run: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, bool, str, int]:
        """Its place in the tables: by processor, the reference recipe before others, by size."""
        return self.processor, self.recipe != "seed", self.recipe, self.size


def processor(run: Mapping[str, Any]) -> str:
    """Name a run's processor: ``AMD EPYC, AVX-512, 2 threads``."""
    machine = run["machine"]
    name = re.sub(r"\(R\)|\(TM\)|\bCPU\b|\bProcessor\b|@.*", " ", machine["cpu"])
    flags = [next((word for flag, word in row.items() if flag in machine["simd"]), "") for row in _INSTRUCTIONS]
    return ", ".join([" ".join(name.split()), *filter(None, flags), f"{run['threads']} threads"])


def load(files: Iterable[Path]) -> list[Measurement]:
    """Return the newest measurement of every place in the tables, in their order; runs on GPUs are left out."""
    runs = [json.loads(file.read_text("utf-8")) for file in files]
    newest: dict[tuple[str, bool, str, int], Measurement] = {}
    for run in sorted((run for run in runs if run["gpu"] is None), key=lambda run: run["started"]):
        for case in run.get("evaluation", []):
            medians = {name: median(a["seconds"] for a in answers) for name, answers in case["answers"].items()}
            one = Measurement(processor(run), case["recipe"], case["size"], medians, run)
            newest[one.place] = one
    return [newest[place] for place in sorted(newest)]


def kept() -> list[Measurement]:
    """Return the measurements of the repository's own results."""
    return load(RESULTS.glob("20*.json"))


def render(measurements: Sequence[Measurement]) -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for precision, (title, text) in _TEXTS.items():
        rows = [
            [one.processor, f"{one.recipe}, {one.size}", *_cells(one.medians, precision)]
            for one in measurements
            if any(precision_of(name) == precision for name in one.medians)
        ]
        heads = ["processor", "recipe, size", "impasto", "fastest framework", "ratio", "OpenVINO", "ratio"]
        if precision == BRAIN:
            heads.append("impasto in float32")
        if rows:
            parts.append(f"## {title}\n\n{text}\n\n{_markdown(heads, rows, left=2)}")
    runs = {one.run["started"]: one for one in measurements}
    heads = ["processor", "day", "commit", "cores", "second-level cache", "versions"]
    rows = [_run_cells(one) for one in runs.values()]
    parts.append(f"## The runs\n\n{_markdown(heads, rows, left=len(heads))}")
    return "\n".join(parts)


def _cells(medians: Mapping[str, float], precision: str) -> list[str]:
    """Return the times of impasto and of the fastest others in one precision, and their ratios."""
    ours = LEADERS[precision]
    cells = [_milliseconds(medians, ours)]
    for kind in (FRAMEWORK, OPENVINO):
        name = fastest(medians, kind, precision)
        label = f" ({name})" if name and kind == FRAMEWORK else ""
        ratio = f"{medians[name] / medians[ours]:.2f}" if name and ours in medians else _NONE
        cells += [_milliseconds(medians, name) + label, ratio]
    return [*cells, _milliseconds(medians, OURS)] if precision == BRAIN else cells


def _milliseconds(medians: Mapping[str, float], name: str | None) -> str:
    return _NONE if name is None or name not in medians else f"{1000 * medians[name]:.0f}"


def _run_cells(one: Measurement) -> list[str]:
    """Return what the table of runs says of one; older files do not tell of caches."""
    run = one.run
    kib = run["machine"].get("cache_kib", {}).get("L2")
    versions = [
        f"{package} {installed[package]}"
        for environment, packages in _PACKAGES.items()
        if (installed := run["versions"].get(environment))
        for package in packages
        if package in installed
    ]
    cache = f"{kib} KiB" if kib else _NONE
    cells = [one.processor, run["started"][:10], run["commit"] or _NONE, str(run["machine"]["cores"])]
    return [*cells, cache, ", ".join(versions)]


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """Return a table in Markdown; all but the first columns are numbers."""
    rule = ["---" if column < left else "--:" for column in range(len(heads))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, rule, *rows))


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(kept()), encoding="utf-8")


if __name__ == "__main__":
    main()
