"""``impasto demo``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli import options
from impasto.cli.export import run as export
from impasto.cli.stylize import save, transfer_with_progress
from impasto.defaults import DEFAULT_MODEL, DEFAULT_RECIPE

#: Enough for a first impression: a few minutes on a laptop.
_EVALUATIONS = 100


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The triptych to write.")] = Path("impasto-demo.png"),
    model: options.Model = DEFAULT_MODEL,
    size: options.Size = None,
    evaluations: Annotated[
        int, typer.Option("--evaluations", "-e", min=1, help="How often the loss is evaluated.")
    ] = _EVALUATIONS,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
) -> None:
    """Draw a scene and a painting, export a model if there is none, transfer, and write a triptych."""
    from impasto.cli.samples import draw_content, draw_style
    from impasto.runtime import pictures, transfer

    with contextlib.suppress(OSError):  # the check says what is wrong
        output.parent.mkdir(parents=True, exist_ok=True)
    pictures.check_output(output, force=force)
    if not model.exists():
        print(f"exporting a model to {model}", file=sys.stderr)
        export(None, model)
    content, style = draw_content(), draw_style()
    result, interrupted = transfer_with_progress(
        lambda report: transfer.stylize(
            content,
            [style],
            model=model,
            recipe=DEFAULT_RECIPE,
            size=size if size is not None else max(content.size),
            evaluations=evaluations,
            device=device,
            threads=threads,
            callback=report,
        )
    )
    save(result, content, [style], None, output)
    print(output)
    if interrupted:
        raise typer.Exit(1)
