"""How options and arguments are declared, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli import completion
from impasto.cli.command import CLUSTER, GPU, MACHINE, MEANWHILE, OPTIMISATION, PICTURE
from impasto.cli.completion import Completer, names
from impasto.cli.recipe_defaults import recipe_default
from impasto.defaults import (
    CONV_SEARCHES,
    DEFAULT_NETWORK,
    DEVICES,
    LOWERINGS,
    MODEL_VARIABLE,
    MODELS,
    PRECISIONS,
    TILES,
)

#: The words for values in the help.
NUMBER, WHOLE_NUMBER, SECONDS, GIB = "NUMBER", "WHOLE NUMBER", "SECONDS", "GIB"
NAME, SIZE, FILE, FOLDER, NAME_OR_FILE = "NAME", "SIZE", "FILE", "FOLDER", "NAME|FILE"
PIXELS, TILE, MEMORY = "PIXELS", "PIXELS|WORD", "MEMORY"


def option(
    *names: str,
    help: str,
    value: str | None = None,
    panel: str | None = None,
    default: str | Callable[[], str] | bool = True,
    complete: Completer = completion.files,
    **more: Any,
) -> Any:
    """Return an option.

    Parameters
    ----------
    value
        The word for its value in the help, if it takes one.
    default
        The text for its default in the help, or a function that returns it, or whether to show the value.
    complete
        Completes its value in a shell; files, by default.
    """
    return typer.Option(
        *names,
        help=help,
        metavar=value,
        rich_help_panel=panel,
        show_default=default,  # type: ignore[arg-type]  # a function: see `impasto.cli.help.default_text`
        autocompletion=complete,
        **more,
    )


def argument(
    name: str, *, help: str, default: str | bool = False, complete: Completer = completion.files, **more: Any
) -> Any:
    """Return an argument. `name` is the word for it in the help; the rest is as for `option`."""
    return typer.Argument(metavar=name, help=help, show_default=default, autocompletion=complete, **more)


#: The text for the default model folder in the help: see `impasto.runtime.model.default`.
DEFAULT_MODEL = f"{MODELS / DEFAULT_NETWORK}, or else that in the user's data folder"

Model = Annotated[
    Path | None,
    option(
        "--model",
        "-m",
        value=FOLDER,
        envvar=MODEL_VARIABLE,
        help="The model folder that an export wrote.",
        default=DEFAULT_MODEL,
        panel=MACHINE,
    ),
]
DEVICE_HELP = "auto (the fastest that works here), cpu, cuda[:N], openvino[:cpu|gpu|npu] or webgpu."
Device = Annotated[
    str,
    option(
        value=NAME,
        help=DEVICE_HELP,
        complete=names(*DEVICES),
        panel=MACHINE,
    ),
]
Lowering = Annotated[
    str,
    option(
        value=NAME,
        help="auto (winograd on a CPU, else direct), winograd: fast on a CPU, or direct.",
        complete=names(*LOWERINGS),
        panel=MACHINE,
    ),
]
LowMemory = Annotated[
    bool,
    option(
        "--low-memory", help="Give memory back after every evaluation, which takes a little more time.", panel=MACHINE
    ),
]
TILE_HELP = (
    "Compute a large picture in tiles: auto (where it would not fit into memory), off, or a side in pixels, rounded "
    "to the network's grid."
)
MEMORY_HELP = "How much memory to take at most, such as 4GB or 512MiB."
Tile = Annotated[
    str,
    option(
        value=TILE,
        help=TILE_HELP,
        complete=names(*TILES),
        panel=MACHINE,
    ),
]
Memory = Annotated[
    str | None,
    option(
        value=MEMORY,
        help=MEMORY_HELP,
        default="what the machine has",
        panel=MACHINE,
    ),
]
GpuMemory = Annotated[
    float | None,
    option(
        "--gpu-memory",
        value=GIB,
        help="How much of the GPU's memory may be used; 0.25 or more.",
        default="all",
        panel=GPU,
    ),
]
Precision = Annotated[
    str,
    option(
        value=NAME,
        help="Of activations: auto (bf16 where the device is faster in it, else fp32), fp32, bf16 or fp16.",
        complete=names(*PRECISIONS),
        panel=MACHINE,
    ),
]
Tf32 = Annotated[bool, option("--tf32/--no-tf32", help="Round factors to 11 bits: faster, less exact.", panel=GPU)]
ConvSearch = Annotated[
    str,
    option(
        value=NAME,
        help="How convolutions are chosen: heuristic, exhaustive (all are timed) or default.",
        complete=names(*CONV_SEARCHES),
        panel=GPU,
    ),
]
ConvWorkspace = Annotated[
    bool,
    option("--conv-workspace/--no-conv-workspace", help="Give convolutions more than 32 MB.", panel=GPU),
]
CudaGraph = Annotated[
    bool | None,
    option(
        "--cuda-graph/--no-cuda-graph",
        help="Record an evaluation once and replay it.",
        default="on; off with regions, --low-memory and lbfgs-device",
        panel=GPU,
    ),
]
Threads = Annotated[
    int | None,
    option(
        value=WHOLE_NUMBER,
        help="Threads of the CPU, no more than it has.",
        default="the physical cores that may be used",
        panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    option(
        value=WHOLE_NUMBER,
        min=1,
        help="Start so many workers of Dask on this machine; they share its memory and its cores.",
        default="none",
        panel=CLUSTER,
    ),
]
Scheduler = Annotated[
    str | None,
    option(
        value="ADDRESS|FILE",
        help="Use the workers of this scheduler of Dask: tcp://HOST:8786, tls://HOST:8786, or the file that it wrote.",
        default="none",
        panel=CLUSTER,
    ),
]
TlsCa = Annotated[
    Path | None,
    option(
        "--tls-ca",
        value=FILE,
        help="For tls://: the certificate that signed all others, in PEM format.",
        default="none",
        panel=CLUSTER,
    ),
]
TlsCert = Annotated[
    Path | None,
    option("--tls-cert", value=FILE, help="For tls://: this machine's certificate.", default="none", panel=CLUSTER),
]
TlsKey = Annotated[
    Path | None,
    option("--tls-key", value=FILE, help="For tls://: the key of this certificate.", default="none", panel=CLUSTER),
]
Oversize = Annotated[bool, option("--oversize", help="Try it even if the memory will hardly do.", panel=MACHINE)]
Evaluations = Annotated[
    int | None,
    option(
        "--evaluations",
        "-e",
        value=WHOLE_NUMBER,
        help="How often the loss is evaluated.",
        default=recipe_default("evaluations"),
        panel=OPTIMISATION,
    ),
]
Size = Annotated[
    str | None,
    option(
        "--size",
        "-s",
        value=SIZE,
        help="Long side in pixels, WIDTHxHEIGHT, or content: the photograph's own.",
        default=recipe_default("size"),
        complete=names("content"),
        panel=PICTURE,
    ),
]
Seed = Annotated[int, option(value=WHOLE_NUMBER, min=0, help="Of all noise.", panel=PICTURE)]
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
