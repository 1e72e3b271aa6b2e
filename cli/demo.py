"""``impasto demo``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto import unfinished
from impasto.cli import options
from impasto.cli.export import run as export
from impasto.cli.messages import say
from impasto.cli.running import transfer_with_progress, write
from impasto.defaults import DEFAULT_MODEL, DEFAULT_RECIPE

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime import Result, Step

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

    content, style = draw_content(), draw_style()
    _check_wishes(device, threads, size, content)
    made = _check_output(output, force)

    def work(report: Callable[[Step], None]) -> Result:
        return transfer.stylize(
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

    def keep(result: Result) -> None:
        write(pictures.triptych(content, [style], result.image), output)

    with unfinished.undone(lambda: _remove(made)):
        if not model.exists():
            say(f"exporting a model to {model}")
            export(None, model)
        _, interrupted = transfer_with_progress(work, keep)
    print(output)
    if interrupted:
        raise typer.Exit(1)


def _check_wishes(device: str, threads: int | None, size: str | None, content: Image.Image) -> None:
    """Refuse what the transfer would refuse, before a model is exported for it."""
    from impasto.runtime import sizes
    from impasto.runtime.recipe import parse_size
    from impasto.runtime.session import Placement, check_device

    check_device(Placement(device, threads=threads).device)
    if size is not None:
        sizes.result_size(parse_size(size), content)


def _check_output(output: Path, force: bool) -> list[Path]:
    """Make the folders of the output that are missing, and return them; leave none for an output that is refused."""
    from impasto.runtime import OutputError, encoding

    missing = [folder for folder in output.parents if not folder.exists()]
    with contextlib.suppress(OSError):  # the check says what is wrong
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        encoding.check_output(output, force=force)
    except OutputError:
        _remove(missing)
        raise
    return missing


def _remove(folders: Sequence[Path]) -> None:
    """Remove those folders that are empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
