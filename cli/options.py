"""Options that several commands share, and the words for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli.command import MACHINE, MEANWHILE, OPTIMISATION, PICTURE
from impasto.defaults import DEFAULT_NETWORK, MODEL_VARIABLE, MODELS


def option(*names: str, help: str, panel: str | None = None, default: str | None = None, **more: Any) -> Any:
    """Return an option; `default` is what its help says of it, where it has none that typer could show."""
    if default:
        help, more["show_default"] = f"{help}  [default: {default}]", False
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


#: What is used where no model folder is named: see `impasto.runtime.default_model`.
DEFAULT_MODEL = f"{MODELS / DEFAULT_NETWORK}, or else that in the user's data folder"

Model = Annotated[
    Path | None,
    option(
        "--model",
        "-m",
        envvar=MODEL_VARIABLE,
        help="The model folder that an export wrote.",
        default=DEFAULT_MODEL,
        panel=MACHINE,
    ),
]
Device = Annotated[str, option(help="auto (CUDA where it works, else the CPU), cpu, cuda or cuda:N.", panel=MACHINE)]
Lowering = Annotated[
    str, option(help="auto (winograd on a CPU, direct on CUDA), winograd: fast on a CPU, or direct.", panel=MACHINE)
]
LowMemory = Annotated[
    bool,
    option(
        "--low-memory", help="Give memory back after every evaluation, which takes a little more time.", panel=MACHINE
    ),
]
GpuMemory = Annotated[
    float | None,
    option(
        "--gpu-memory", help="GiB of the GPU's memory that may be used; 0.25 or more.", default="all", panel=MACHINE
    ),
]
Precision = Annotated[str, option(help="Of activations: fp32, or fp16: less memory on a GPU.", panel=MACHINE)]
Tf32 = Annotated[
    bool, option("--tf32/--no-tf32", help="On CUDA, round factors to 11 bits: faster, less exact.", panel=MACHINE)
]
ConvSearch = Annotated[
    str,
    option(help="On CUDA, how convolutions are chosen: heuristic, exhaustive (all are timed), default.", panel=MACHINE),
]
ConvWorkspace = Annotated[
    bool,
    option("--conv-workspace/--no-conv-workspace", help="On CUDA, more than 32 MB for convolutions.", panel=MACHINE),
]
CudaGraph = Annotated[
    bool | None,
    option(
        "--cuda-graph/--no-cuda-graph",
        help="On CUDA, record an evaluation once and replay it.",
        default="on; off with regions, --low-memory and lbfgs-device",
        panel=MACHINE,
    ),
]
Threads = Annotated[
    int | None,
    option(
        help="Threads of the CPU, no more than it has.", default="the physical cores that may be used", panel=MACHINE
    ),
]
Oversize = Annotated[bool, option("--oversize", help="Try it even if the memory will hardly do.", panel=MACHINE)]
Evaluations = Annotated[
    int | None,
    option("--evaluations", "-e", help="How often the loss is evaluated.", default="the recipe's", panel=OPTIMISATION),
]
Size = Annotated[
    str | None,
    option(
        "--size",
        "-s",
        help="Long side in pixels, WIDTHxHEIGHT, or content: the photograph's own.",
        default="the recipe's",
        panel=PICTURE,
    ),
]
RecordPlaces = Annotated[
    bool,
    option(
        "--record-places",
        help="Write into it, too, in which folders and at which addresses pictures and model lay.",
        panel=MEANWHILE,
    ),
]
Force = Annotated[bool, option("--force", "-f", help="Replace what is there.", panel=MEANWHILE)]
Json = Annotated[bool, option("--json", help="Print one JSON object on standard output.", panel=MEANWHILE)]
