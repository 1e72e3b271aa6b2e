"""``impasto stylize``."""

from __future__ import annotations

import json as json_
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import options
from impasto.cli.command import MEANWHILE, OPTIMISATION, PICTURE, STYLE
from impasto.cli.options import option
from impasto.cli.running import describe, transfer_with_progress, write
from impasto.defaults import DEFAULT_MODEL, DEFAULT_RECIPE

if TYPE_CHECKING:
    from impasto.runtime import Result, Step
    from impasto.runtime.pictures import Photograph
    from impasto.runtime.places import Place

_OWN = "the recipe's, in its convention"


def stylize(
    content: Annotated[str, typer.Argument(help="The photograph: a file, - or an http(s) URL.", show_default=False)],
    styles: Annotated[list[str], typer.Argument(help="One painting, or several to blend.", show_default=False)],
    output: Annotated[
        str, option("--output", "-o", help="The result, .png or .jpg, or - for a PNG.", show_default=False)
    ],
    size: options.Size = None,
    init: Annotated[
        str | None,
        option(
            help="Start from content, random, style, statistics (noise in the style's colours) or a picture.",
            default="the recipe's",
            panel=PICTURE,
        ),
    ] = None,
    noise: Annotated[
        float, option(min=0, max=1, help="Share of noise in a start from a picture, 0..1.", panel=PICTURE)
    ] = 0,
    seed: Annotated[int, option(min=0, help="Of all noise.", panel=PICTURE)] = 0,
    colors: Annotated[
        str,
        option(
            help="style; keep: the photograph's, only lightness is painted; match: the style's are matched to them.",
            panel=PICTURE,
        ),
    ] = "style",
    strength: Annotated[
        float, option(min=0, max=1, help="Mix the result with the photograph: 0..1, 1 is all paint.", panel=PICTURE)
    ] = 1,
    clip: Annotated[
        bool, option("--clip/--no-clip", help="Hold levels in 0..255 throughout, not only at the end.", panel=PICTURE)
    ] = False,
    recipe: Annotated[str, option("--recipe", "-r", help="One of the model's; see impasto recipes.", panel=STYLE)] = (
        DEFAULT_RECIPE
    ),
    style_blend: Annotated[
        str | None, option(help="A weight for each style, such as 3,1.", default="equal ones", panel=STYLE)
    ] = None,
    style_scale: Annotated[
        float, option(help="Enlarge the styles, and with them their strokes, so many times.", panel=STYLE)
    ] = 1,
    content_weight: Annotated[float | None, option(help="How much content counts.", default=_OWN, panel=STYLE)] = None,
    style_weight: Annotated[float | None, option(help="How much style counts.", default=_OWN, panel=STYLE)] = None,
    tv_weight: Annotated[
        float | None, option(help="How much smoothness (total variation) counts.", default=_OWN, panel=STYLE)
    ] = None,
    evaluations: options.Evaluations = None,
    stages: Annotated[
        int | None,
        option(
            min=1,
            help="Sizes from coarse to fine, each twice the one before.",
            default="as many as bring the first to 400 pixels; some recipes 1",
            panel=OPTIMISATION,
        ),
    ] = None,
    optimizer: Annotated[
        str, option(help="lbfgs, or adam: less memory, more evaluations.", panel=OPTIMISATION)
    ] = "lbfgs",
    min_improvement: Annotated[
        float | None,
        option(
            help="End a stage when 10 evaluations lower the loss by less than this fraction.",
            default="never",
            panel=OPTIMISATION,
        ),
    ] = None,
    time_limit: Annotated[
        float | None, option(help="End after so many seconds, with what there is.", default="none", panel=OPTIMISATION)
    ] = None,
    restart_every: Annotated[
        int | None,
        option(
            min=1,
            help="Restart L-BFGS after so many evaluations, as the reference algorithm does with 20.",
            default="never",
            panel=OPTIMISATION,
        ),
    ] = None,
    triptych: Annotated[
        Path | None,
        option(help="Also write content, style and result side by side.", show_default=False, panel=MEANWHILE),
    ] = None,
    json: options.Json = False,
    force: options.Force = False,
    model: options.Model = DEFAULT_MODEL,
    device: options.Device = "auto",
    lowering: options.Lowering = "auto",
    threads: options.Threads = None,
    low_memory: options.LowMemory = False,
) -> None:
    """Repaint the photograph CONTENT in the manner of STYLES."""
    from impasto.runtime import pictures, transfer
    from impasto.runtime.recipe import INITS

    start = None if init is None or init in INITS else init
    _check_outputs(output, triptych, force=force, json=json, inputs=[content, *styles, *([start] if start else [])])
    photograph = pictures.read_photograph(content)
    paintings = [pictures.read_picture(style) for style in styles]

    def work(report: Callable[[Step], None]) -> Result:
        return transfer.stylize(
            photograph.picture,
            paintings,
            model=model,
            recipe=recipe,
            size=size,
            evaluations=evaluations,
            stages=stages,
            init=pictures.read_picture(start) if start else init,
            noise=noise,
            seed=seed,
            style_blend=_numbers("--style-blend", style_blend),
            style_scale=style_scale,
            colors=colors,
            strength=strength,
            clip=clip,
            optimizer=optimizer,
            device=device,
            lowering=lowering,
            threads=threads,
            low_memory=low_memory,
            content_weight=content_weight,
            style_weight=style_weight,
            tv_weight=tv_weight,
            restart_every=restart_every,
            min_improvement=min_improvement,
            time_limit=time_limit,
            callback=report,
        )

    def keep(result: Result) -> None:
        write(result.image, output, like=photograph)
        if triptych:
            write(pictures.triptych(photograph.picture, paintings, result.image), triptych)

    result, interrupted = transfer_with_progress(work, keep)
    if json:
        paths = {"output": output, "triptych": str(triptych) if triptych else None}
        print(json_.dumps({**paths, "interrupted": interrupted, **describe(result)}))
    if interrupted:
        raise typer.Exit(1)


def _check_outputs(output: Place, triptych: Path | None, *, force: bool, json: bool, inputs: list[Place]) -> None:
    """Refuse, before any work, what could not be written, or would be lost."""
    from impasto.runtime import InputError, pictures, places

    if json and not places.is_file(output):
        raise InputError("output -: --json prints to standard output, too; name a file for the picture")
    if triptych and places.is_file(output) and Path(output).resolve() == triptych.resolve():
        raise InputError(f"output {output}: is also the triptych; choose another name for one of them")
    for place in (output, *([triptych] if triptych else [])):
        pictures.check_output(place, force=force, inputs=inputs)


def _numbers(name: str, text: str | None) -> list[float] | None:
    """Read numbers with commas between them."""
    from impasto.runtime import InputError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{name} {text!r}: expected numbers with commas between them, such as 3,1") from None
