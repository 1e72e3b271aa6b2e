"""The options of a transfer: all but its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime.engine.options import ObjectiveOptions, defaults_of
from impasto.runtime.engine.placement import Placement
from impasto.runtime.pictures.photographs import Picture
from impasto.runtime.plan.plan import Plan
from impasto.runtime.plan.plan_file import PlanFile
from impasto.runtime.run.state import Callback


class TransferOptions(ObjectiveOptions, total=False):
    """Options of `impasto.runtime.stylize`.

    Attributes
    ----------
    model
        A model folder; by default that of `impasto.runtime.model.default`.
    recipe
        The name of one of the recipes that the model folder holds.
    plan
        A plan: the path of a .toml file, or what such a file holds, as a mapping; see docs/plans/README.md. An option
        that is given beside it, and is not None, overrules it in every stage.
    callback
        Called after every evaluation; may raise `StopOptimization` to end early with the best picture so far.
    progress
        Whether a notebook shows a bar and the growing picture; by default if there is no callback. Outside a notebook
        nothing is shown.
    size
        The size of the result: the long side in pixels, (width, height), or text as ``--size`` takes it, such as
        ``"content"``; by default the recipe's.
    evaluations
        The number of evaluations of loss and gradient, in all stages; by default the recipe's.
    stages
        The number of sizes that are painted from coarse to fine. By default, if the recipe is coarse to fine, the first
        has a long side of 400 pixels at most; otherwise there is one. With `restart_every`, one.
    init
        ``"random"``, ``"content"``, ``"style"``, ``"statistics"`` (noise with the colour statistics of the style), or
        a picture to start from; by default the recipe's.
    noise
        The share of the start that is replaced by noise, 0..1.
    seed
        The seed of all noise.
    style_scale
        The size of the styles, and so of the strokes, as a multiple of the recipe's.
    style_crop
        What is left out of each style at its sides: ``"auto"`` (a plain margin or frame, if one is found, and 3 % of
        each side, where canvases end), ``"off"``, or pixels at the left, the top, the right and the bottom:
        ``"12,0,12,40"``. By default as the recipe says.
    colors
        ``"style"``: as the optimisation leaves them. ``"keep"``: the content's colours, moved to the result's edges,
        with the result's lightness. ``"keep-pixels"``: the same pixel by pixel. ``"match"``: the styles' colours are
        matched to the content's before, by a linear map of RGB; ``"match-lab"``: by one of CIELAB.
    strength
        The share of the result when it is mixed with the content afterwards: 1 is the result itself.
    clip
        Whether levels are held within 0..255 throughout; by default as the recipe says.
    bleed
        The pixels that are painted beyond each border and cut off in the end, so that no frame is painted; by default
        as the recipe says.
    boldness
        How boldly it is painted: from -1, a hint of the style, over 0, as the recipe is, to 1, with abandon, where the
        painting's large forms come first, and what is shown second.
    optimizer
        ``"lbfgs"`` (SciPy's L-BFGS-B), ``"lbfgs-sobolev"`` (L-BFGS in a metric that takes fewer evaluations; see
        docs/search.md), ``"lbfgs-device"`` (SciPy's method, on the device) or ``"adam"``, which needs less memory. By
        default as the recipe says; with `restart_every`, ``"lbfgs"``.
    restart_every
        L-BFGS starts again after so many evaluations, as the reference program does; by default never.
    min_improvement
        A stage ends when its last evaluations have lowered its loss by less than this fraction; by default never.
    time_limit
        Seconds after which the transfer ends with the best picture so far; the stages share this time.
    """

    model: str | Path | None
    recipe: str
    plan: str | Path | Mapping[str, Any] | PlanFile | None
    callback: Callback | None
    progress: bool | None
    size: int | tuple[int, int] | str | None
    evaluations: int | None
    stages: int | None
    init: str | Picture | None
    noise: float
    seed: int
    style_scale: float
    style_crop: str | None
    colors: str
    strength: float
    clip: bool | None
    bleed: int | None
    boldness: float
    optimizer: str | None
    restart_every: int | None
    min_improvement: float | None
    time_limit: float | None


#: The defaults of the options, by name; None is the recipe's own.
DEFAULTS = MappingProxyType(
    {
        **defaults_of(Plan, Placement),
        "recipe": DEFAULT_RECIPE,
        "clip": None,
        "bleed": None,
        "style_crop": None,
        "optimizer": None,
    }
)
