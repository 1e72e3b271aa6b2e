"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path, typer.Option("--model", "-m", envvar="IMPASTO_MODEL", help="The model folder that an export wrote.")
]
Device = Annotated[str, typer.Option(help="auto (CUDA where it works, else the CPU), cpu, cuda or cuda:N.")]
Lowering = Annotated[
    str, typer.Option(help="auto (winograd on a CPU, direct on CUDA), winograd: fast on a CPU, or direct.")
]
LowMemory = Annotated[bool, typer.Option("--low-memory", help="Use less memory, and more time.")]
Threads = Annotated[
    int | None, typer.Option(help="Threads of the CPU.  [default: the physical cores]", show_default=False)
]
Evaluations = Annotated[
    int | None,
    typer.Option(
        "--evaluations",
        "-e",
        help="How often the loss is evaluated.  [default: the recipe's]",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        "-s",
        help="Long side in pixels, or WIDTHxHEIGHT.  [default: the recipe's]",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
