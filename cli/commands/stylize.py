"""``impasto stylize``: a photograph, repainted in the manner of paintings."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto.cli import completion, options
from impasto.cli.command import MEANWHILE, OPTIMISATION, PICTURE, REGIONS, STYLE, examples
from impasto.cli.completion import names
from impasto.cli.options import FILE, NAME, NAME_OR_FILE, NUMBER, SECONDS, WHOLE_NUMBER, argument, option
from impasto.cli.recipe_defaults import recipe_default
from impasto.cli.terminal.messages import say
from impasto.defaults import (
    COLORS,
    CONV_SEARCHES,
    DEFAULT_RECIPE,
    DEVICES,
    INITS,
    LOWERINGS,
    OPTIMIZERS,
    PRECISIONS,
    TILES,
)

if TYPE_CHECKING:
    from impasto.runtime import Result

#: The optimisers that have one like them on the device.
_LBFGS_ON_HOST = ("lbfgs", "lbfgs-sobolev")

_IN_ITS_CONVENTION = "the recipe's, in its convention"


@examples(
    "impasto stylize photo.jpg painting.jpg --output result.png",
    "impasto stylize photo.jpg painting.jpg --output large.png --size 1024 --colors keep --time-limit 600",
)
def stylize(
    content: Annotated[str, argument("CONTENT", help="The photograph: a file, - or an http(s) URL.")],
    styles: Annotated[list[str], argument("STYLES", help="One painting, or several to blend.")],
    output: Annotated[str, option("--output", "-o", value=FILE, help="The result, .png or .jpg, or - for a PNG.")],
    size: options.Size = None,
    init: Annotated[
        str | None,
        option(
            value=NAME_OR_FILE,
            help="Start from content, random, style, statistics (noise in the style's colours) or a picture.",
            default=recipe_default("init"),
            complete=names(*INITS),
            panel=PICTURE,
        ),
    ] = None,
    noise: Annotated[
        float, option(value=NUMBER, min=0, max=1, help="Share of noise in a start from a picture.", panel=PICTURE)
    ] = 0,
    seed: options.Seed = 0,
    colors: Annotated[
        str,
        option(
            value=NAME,
            help="style; keep: the photograph's, only lightness is painted; match: the style's are matched to them.",
            complete=names(*COLORS),
            panel=PICTURE,
        ),
    ] = COLORS[0],
    strength: Annotated[
        float,
        option(value=NUMBER, min=0, max=1, help="Mix the result with the photograph; 1 is all paint.", panel=PICTURE),
    ] = 1,
    clip: Annotated[
        bool | None,
        option(
            "--clip/--no-clip",
            help="Hold levels in 0..255 throughout, not only at the end.",
            default=recipe_default("clip"),
            panel=PICTURE,
        ),
    ] = None,
    recipe: Annotated[
        str,
        option(
            "--recipe",
            "-r",
            value=NAME,
            help="One of the model's; see impasto recipes.",
            complete=completion.recipes,
            panel=STYLE,
        ),
    ] = DEFAULT_RECIPE,
    style_blend: Annotated[
        str | None,
        option(value="NUMBERS", help="A weight for each style, such as 3,1.", default="equal ones", panel=STYLE),
    ] = None,
    style_scale: Annotated[
        float,
        option(
            value=NUMBER,
            help="Enlarge the styles, and with them their strokes, so many times: 0.05..20.",
            panel=STYLE,
        ),
    ] = 1,
    content_weight: Annotated[
        float | None,
        option(
            value=NUMBER,
            help="How much content counts.",
            default=recipe_default("content", "weight", lead=_IN_ITS_CONVENTION),
            panel=STYLE,
        ),
    ] = None,
    style_weight: Annotated[
        float | None,
        option(
            value=NUMBER,
            help="How much style counts.",
            default=recipe_default("style", "weight", lead=_IN_ITS_CONVENTION),
            panel=STYLE,
        ),
    ] = None,
    tv_weight: Annotated[
        float | None,
        option(
            value=NUMBER,
            help="How much smoothness (total variation) counts.",
            default=recipe_default("tv", "weight", lead=_IN_ITS_CONVENTION),
            panel=STYLE,
        ),
    ] = None,
    content_mask: Annotated[
        str | None,
        option(
            value=FILE,
            help="A label picture of the photograph: areas of one colour are regions with a style of their own.",
            panel=REGIONS,
        ),
    ] = None,
    style_mask: Annotated[
        list[str] | None,
        option(
            value=FILE,
            help="A label picture of a style in the same colours, or '#rrggbb' for all of it; once for each, in order.",
            panel=REGIONS,
        ),
    ] = None,
    evaluations: options.Evaluations = None,
    stages: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=1,
            help="Sizes from coarse to fine, each twice the one before.",
            default="as many as bring the first to 400 pixels; some recipes 1",
            panel=OPTIMISATION,
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        option(
            value=NAME,
            help="lbfgs (SciPy's), lbfgs-sobolev (faster), lbfgs-device (SciPy's on a GPU), or adam (least memory).",
            default=recipe_default("optimizer"),
            complete=names(*OPTIMIZERS),
            panel=OPTIMISATION,
        ),
    ] = None,
    min_improvement: Annotated[
        float | None,
        option(
            value=NUMBER,
            help="End a stage when 10 evaluations lower the loss by less than this fraction, 0..1.",
            default="never",
            panel=OPTIMISATION,
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        option(value=SECONDS, help="End after this time, with what there is.", default="none", panel=OPTIMISATION),
    ] = None,
    restart_every: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=1,
            help="Restart L-BFGS after so many evaluations, as the reference algorithm does with 20; in one stage.",
            default="never",
            panel=OPTIMISATION,
        ),
    ] = None,
    triptych: Annotated[
        Path | None, option(value=FILE, help="Also write content, style and result side by side.", panel=MEANWHILE)
    ] = None,
    preview: Annotated[
        Path | None,
        option(
            value=FILE,
            help="Keep the best picture so far here, .png or .jpg, with 2048 pixels a side at most.",
            panel=MEANWHILE,
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=1,
            help="Keep the best picture after every so many evaluations, too: out.0050.png and so on.",
            default="never",
            panel=MEANWHILE,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        option(value=FILE, help="A line of JSON for every evaluation, for impasto plot: .jsonl.", panel=MEANWHILE),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        option(
            value=FILE,
            help="Keep here, every few seconds, what --resume needs; removed with the result written.",
            panel=MEANWHILE,
        ),
    ] = None,
    resume: Annotated[
        bool, option("--resume", help="Go on from the checkpoint, if there is one.", panel=MEANWHILE)
    ] = False,
    record: Annotated[
        bool,
        option(
            "--record/--no-record",
            help="Write into the result how it was made, with the names of files: for impasto info and rerun.",
            panel=MEANWHILE,
        ),
    ] = True,
    record_places: options.RecordPlaces = False,
    json: options.Json = False,
    force: options.Force = False,
    model: options.Model = None,
    device: options.Device = DEVICES[0],
    lowering: options.Lowering = LOWERINGS[0],
    threads: options.Threads = None,
    low_memory: options.LowMemory = False,
    tile: options.Tile = TILES[0],
    memory: options.Memory = None,
    oversize: options.Oversize = False,
    precision: options.Precision = PRECISIONS[0],
    gpu_memory: options.GpuMemory = None,
    tf32: options.Tf32 = True,
    conv_search: options.ConvSearch = CONV_SEARCHES[0],
    conv_workspace: options.ConvWorkspace = True,
    cuda_graph: options.CudaGraph = None,
) -> None:
    """Repaint the photograph CONTENT in the manner of STYLES."""
    from impasto.cli.job.job import Job
    from impasto.cli.job.outputs import Wishes
    from impasto.export.provision import add_missing
    from impasto.runtime.engine.cuda import CudaOptions
    from impasto.runtime.model.default import find_model
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.run.prepare import draft

    wishes = Wishes(output, triptych, preview, save_every, log, checkpoint, resume, record, record_places, force, json)
    start = None if init in INITS else init
    places = [content, *styles, start, content_mask, *(style_mask or [])]
    earlier = wishes.read_checkpoint()
    if optimizer is None and restart_every is None and earlier is not None:
        optimizer = earlier.plan.recipe.optimizer  # the recipe may have had another one when the run began
    wishes.check([place for place in places if place is not None], earlier)
    photograph, *paintings = (Photograph.given(picture, "picture") for picture in (content, *styles))
    folder = find_model(model)
    transfer = draft(
        photograph,
        paintings,
        model=folder,
        recipe=recipe,
        size=size,
        evaluations=evaluations,
        stages=stages,
        init=init,
        noise=noise,
        seed=seed,
        style_blend=_numbers("--style-blend", style_blend),
        content_mask=content_mask,
        style_masks=style_mask,
        style_scale=style_scale,
        colors=colors,
        strength=strength,
        clip=clip,
        optimizer=optimizer,
        device=device,
        lowering=lowering,
        threads=threads,
        low_memory=low_memory,
        tile=tile,
        memory=memory,
        precision=precision,
        cuda=CudaOptions(gpu_memory, tf32, conv_search, conv_workspace, cuda_graph),
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        restart_every=restart_every,
        min_improvement=min_improvement,
        time_limit=time_limit,
    )
    add_missing(folder, [recipe], say)  # last, when everything else is checked
    if transfer.material.regions:
        say(str(transfer.material.regions))
    job = Job(transfer, wishes, earlier=earlier)
    job.announce(oversize=oversize, stages=stages)
    result = job.carry_out()
    if advice := speed_advice(result):
        say(advice)
    if json:
        print(json_.dumps(job.describe(result)))
    job.end()


def speed_advice(result: Result) -> str | None:
    """Return advice for a faster run, if a GPU waited for L-BFGS more than half of the time."""
    from impasto.runtime.engine.providers import provider_of

    plan, seconds = result.plan, result.optimizer_seconds
    resumed = bool(plan.restarts)  # then some of the seconds are of an earlier run
    does_not_apply = plan.optimizer not in _LBFGS_ON_HOST or plan.restart_every or resumed
    if provider_of(result.device).on_host or does_not_apply or seconds < result.seconds / 2:
        return None
    return (
        f"{100 * seconds / result.seconds:.0f} % of the time was L-BFGS, on the CPU; "
        f"--optimizer lbfgs-device does its work on {result.device}"
    )


def _numbers(name: str, text: str | None) -> list[float] | None:
    """Read numbers that commas separate."""
    from impasto.runtime import InputError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{name} {text!r}: expected numbers with commas between them, such as 3,1") from None
