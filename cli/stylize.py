"""``impasto stylize``."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import options
from impasto.defaults import DEFAULT_MODEL, DEFAULT_RECIPE

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime import Result, Step

_WEIGHT_HELP = "Instead of the recipe's, in its convention."


def stylize(
    content: Annotated[Path, typer.Argument(help="The photograph.", show_default=False)],
    styles: Annotated[list[Path], typer.Argument(help="One painting, or several to blend.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The result, .png or .jpg.", show_default=False)],
    model: options.Model = DEFAULT_MODEL,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="One of the model's recipes.")] = DEFAULT_RECIPE,
    size: options.Size = None,
    evaluations: options.Evaluations = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from random, content, style or a picture.  [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random start.")] = 0,
    device: options.Device = "auto",
    lowering: options.Lowering = "auto",
    threads: options.Threads = None,
    low_memory: options.LowMemory = False,
    content_weight: Annotated[float | None, typer.Option(help=_WEIGHT_HELP, show_default=False)] = None,
    style_weight: Annotated[float | None, typer.Option(help=_WEIGHT_HELP, show_default=False)] = None,
    tv_weight: Annotated[float | None, typer.Option(help=_WEIGHT_HELP, show_default=False)] = None,
    restart_every: Annotated[
        int | None,
        typer.Option(
            help="Restart L-BFGS after so many evaluations, as the reference algorithm does with 20.",
            show_default=False,
        ),
    ] = None,
    triptych: Annotated[
        Path | None,
        typer.Option(help="Also write content, style and result side by side.", show_default=False),
    ] = None,
    json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Repaint the photograph CONTENT in the manner of STYLES."""
    from impasto.runtime import InputError, pictures, transfer
    from impasto.runtime.recipe import INITS

    init_path = Path(init) if init is not None and init not in INITS else None
    inputs = [content, *styles, *([init_path] if init_path else [])]
    outputs = [output, *([triptych] if triptych else [])]
    for path in outputs:
        pictures.check_output(path, force=force, inputs=inputs)
    if triptych and output.resolve() == triptych.resolve():
        raise InputError(f"output {output}: is also the triptych; choose another name for one of them")
    content_picture, *style_pictures = (pictures.read_picture(path) for path in (content, *styles))

    def work(report: Callable[[Step], None]) -> Result:
        return transfer.stylize(
            content_picture,
            style_pictures,
            model=model,
            recipe=recipe,
            size=size,
            evaluations=evaluations,
            init=pictures.read_picture(init_path) if init_path else init,
            seed=seed,
            device=device,
            lowering=lowering,
            threads=threads,
            low_memory=low_memory,
            content_weight=content_weight,
            style_weight=style_weight,
            tv_weight=tv_weight,
            restart_every=restart_every,
            callback=report,
        )

    result, interrupted = transfer_with_progress(
        work, lambda result: save(result, content_picture, style_pictures, output, triptych)
    )
    if json:
        paths = {"output": str(output), "triptych": str(triptych) if triptych else None}
        print(json_.dumps({**paths, "recipe": recipe, "interrupted": interrupted, **_describe(result)}))
    if interrupted:
        raise typer.Exit(1)


def transfer_with_progress(
    work: Callable[[Callable[[Step], None]], Result], keep: Callable[[Result], None]
) -> tuple[Result, bool]:
    """Run a transfer with progress on standard error, and keep its result, which Ctrl-C does not prevent.

    Returns
    -------
    tuple of Result and bool
        The result, and whether Ctrl-C ended the transfer early.
    """
    from impasto.cli.interrupt import run_interruptibly
    from impasto.cli.progress import Progress

    progress = Progress(sys.stderr)

    def watched(check: Callable[[], None]) -> Result:
        def report(step: Step) -> None:
            check()
            progress.show(step)

        with progress:
            return work(report)

    def finish(result: Result) -> None:
        print(_summary(result), file=sys.stderr)
        keep(result)

    return run_interruptibly(watched, finish, progress.stop)


def _summary(result: Result) -> str:
    minutes, seconds = divmod(round(result.seconds), 60)
    return (
        f"loss {result.loss:.4g} after {result.evaluations} evaluations in {minutes}:{seconds:02d} "
        f"on {result.device}; {result.reason}"
    )


def save(
    result: Result,
    content: Image.Image,
    styles: list[Image.Image],
    output: Path | None,
    triptych: Path | None,
) -> None:
    """Write the result, then the triptych, where wanted, and say where they are."""
    from impasto.runtime import pictures

    if output:
        _write(result.image, output)
    if triptych:
        _write(pictures.triptych(content, styles, result.image), triptych)


def _write(picture: Image.Image, path: Path) -> None:
    from impasto.runtime import pictures

    pictures.write_picture(picture, path)
    print(f"wrote {path} ({picture.width}x{picture.height})", file=sys.stderr)


def _describe(result: Result) -> dict[str, Any]:
    return {
        "width": result.image.width,
        "height": result.image.height,
        "loss": result.loss,
        "terms": result.terms,
        "evaluations": result.evaluations,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "device": result.device,
    }
