"""The options of a transfer, which `impasto stylize` and `impasto batch` share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from impasto.cli import completion, options
from impasto.cli.command import OPTIMISATION, PICTURE, REGIONS, STYLE
from impasto.cli.completion import names
from impasto.cli.given import is_given
from impasto.cli.options import FILE, NAME, NAME_OR_FILE, NUMBER, PIXELS, SECONDS, WHOLE_NUMBER, option
from impasto.cli.recipe_defaults import recipe_default
from impasto.defaults import (
    COLORS,
    CONV_SEARCHES,
    DEFAULT_RECIPE,
    DEVICES,
    INITS,
    LOWERINGS,
    OPTIMIZERS,
    PRECISIONS,
    PROTECT_WEIGHT,
    STYLE_CROPS,
    TILES,
)

#: The options that have a default of their own, and not the recipe's: a plan may have another value.
_DECIDED = ("noise", "seed", "colors", "strength", "style_scale", "boldness", "protect_weight")

_IN_ITS_CONVENTION = "the recipe's, in its convention"


def transfer_options(
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
            help="style; keep: the photograph's, only lightness is painted (keep-pixels: each stays in its place); "
            "match: the style's are matched to them (match-lab: in CIELAB).",
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
    bleed: Annotated[
        int | None,
        option(
            value=PIXELS,
            min=0,
            help="Paint so many pixels beyond each border, and cut them off: no frame is painted.",
            default=recipe_default("bleed"),
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
    boldness: Annotated[
        float,
        option(
            value=NUMBER,
            min=-1,
            max=1,
            help="From -1, a hint of the style, over 0, as the recipe is, to 1, with abandon: its large forms first.",
            panel=STYLE,
        ),
    ] = 0,
    style_crop: Annotated[
        str | None,
        option(
            value="SIDES|WORD",
            help="Left out of styles: auto (a plain margin, and 3 % of each side: its edges), off, or pixels: 9,0,9,0.",
            default=recipe_default("style_crop"),
            complete=names(*STYLE_CROPS),
            panel=STYLE,
        ),
    ] = None,
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
    region_strength: Annotated[
        list[str] | None,
        option(
            value="STRENGTH",
            help="How much the style of a region counts, such as '#ff0000=0.3'; may be repeated.",
            default="1 for each",
            complete=names(),
            panel=REGIONS,
        ),
    ] = None,
    protect: Annotated[
        str | None,
        option(
            value=FILE,
            help="A mask of the photograph: what is white keeps its content, such as a face; grey is in between.",
            panel=REGIONS,
        ),
    ] = None,
    protect_weight: Annotated[
        float,
        option(value=NUMBER, help="How many times the content counts where the mask is white.", panel=REGIONS),
    ] = PROTECT_WEIGHT,
    plan: Annotated[
        Path | None,
        option(
            value=FILE,
            help="A plan: a .toml file with a list of stages, each with its own size, evaluations, styles, weights or "
            "colours (see docs/plans). An option beside it overrules it in every stage.",
            default="none",
            panel=OPTIMISATION,
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
    model: options.Model = None,
    device: options.Device = DEVICES[0],
    lowering: options.Lowering = LOWERINGS[0],
    threads: options.Threads = None,
    low_memory: options.LowMemory = False,
    tile: options.Tile = TILES[0],
    memory: options.Memory = None,
    precision: options.Precision = PRECISIONS[0],
    gpu_memory: options.GpuMemory = None,
    tf32: options.Tf32 = True,
    conv_search: options.ConvSearch = CONV_SEARCHES[0],
    conv_workspace: options.ConvWorkspace = True,
    cuda_graph: options.CudaGraph = None,
) -> dict[str, Any]:
    """Return the options as `impasto.runtime.run.prepare.draft` takes them.

    Raises
    ------
    InputError
        When the blend is no list of numbers, or a region's strength is none.
    """
    from impasto.runtime.engine.cuda import CudaOptions

    choices = {
        "plan": plan,
        "size": size,
        "init": init,
        "noise": noise,
        "seed": seed,
        "colors": colors,
        "strength": strength,
        "clip": clip,
        "bleed": bleed,
        "recipe": recipe,
        "style_blend": _numbers("--style-blend", style_blend),
        "style_scale": style_scale,
        "boldness": boldness,
        "style_crop": style_crop,
        "content_weight": content_weight,
        "style_weight": style_weight,
        "tv_weight": tv_weight,
        "content_mask": content_mask,
        "style_masks": style_mask,
        "region_strengths": _strengths(region_strength),
        "protect": protect,
        "protect_weight": protect_weight,
        "evaluations": evaluations,
        "stages": stages,
        "optimizer": optimizer,
        "min_improvement": min_improvement,
        "time_limit": time_limit,
        "restart_every": restart_every,
        "model": model,
        "device": device,
        "lowering": lowering,
        "threads": threads,
        "low_memory": low_memory,
        "tile": tile,
        "memory": memory,
        "precision": precision,
        "cuda": CudaOptions(gpu_memory, tf32, conv_search, conv_workspace, cuda_graph),
    }
    return choices if plan is None else _beside_plan(choices)


def _beside_plan(choices: dict[str, Any]) -> dict[str, Any]:
    """Return options with a plan that is read, and None for those that the plan decides: they were not given."""
    from impasto.runtime.plan.plan_file import PlanFile

    plan = PlanFile.given(choices["plan"])
    left_to_it = dict.fromkeys(name for name in _DECIDED if not is_given(name))
    recipe = choices["recipe"] if is_given("recipe") else plan.recipe or choices["recipe"]
    return {**choices, **left_to_it, "plan": plan, "recipe": recipe}


def _numbers(name: str, text: str | None) -> list[float] | None:
    """Read numbers that commas separate."""
    from impasto.runtime import InputError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{name} {text!r}: expected numbers with commas between them, such as 3,1") from None


def _strengths(given: list[str] | None) -> dict[str, float] | None:
    """Read the strengths of regions, each a colour, an equals sign and a number."""
    from impasto.runtime import InputError

    if given is None:
        return None
    strengths: dict[str, float] = {}
    for text in given:
        color, _, number = text.partition("=")
        try:
            strength = float(number)
        except ValueError:
            expected = "expected a region's colour and a number, such as '#ff0000=0.3'"
            raise InputError(f"--region-strength {text!r}: {expected}") from None
        if color in strengths:
            raise InputError(f"--region-strength {text!r}: {color} is given twice; give it once")
        strengths[color] = strength
    return strengths


def further_inputs(choices: Mapping[str, Any]) -> list[str]:
    """Return what a transfer reads beside its photograph and paintings: its start, its masks, and its plan."""
    from impasto.runtime.pictures.masks import is_color

    start = None if choices["init"] in INITS else choices["init"]
    masks = [choices["content_mask"], *(choices["style_masks"] or []), choices["protect"]]
    plan = getattr(choices.get("plan"), "place", None)
    return [str(place) for place in (start, *masks, plan) if place is not None and not is_color(place)]
