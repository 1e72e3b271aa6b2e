"""The options that say what a loss is computed of and where: of `Objective.open`, and of a transfer, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypedDict

from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.engine import Weights
from impasto.runtime.engine.placement import Placement
from impasto.runtime.pictures.masks import Mask


class ObjectiveOptions(TypedDict, total=False):
    """Options of `impasto.runtime.Objective.open`.

    Attributes
    ----------
    style_blend
        A weight for each style in the average of their targets; equal ones by default.
    content_mask
        A label picture of the content, with a flat colour for each region, or a colour such as ``"#ff0000"``: regions
        of the same colour take their style from each other. See `impasto.runtime.pictures.masks`.
    style_masks
        A label picture of each style.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    lowering
        The form of the graphs: ``"auto"``, ``"winograd"`` or ``"direct"``.
    threads
        Of the processor; by default one for each core.
    low_memory
        Whether memory is given back after every evaluation, which takes a little more time.
    cuda
        How CUDA is used.
    precision
        ``"fp32"``, or ``"fp16"`` on a GPU.
    content_weight
        Instead of the recipe's own, in its convention.
    style_weight
        Likewise.
    tv_weight
        Likewise, of the total variation.
    """

    style_blend: Sequence[float] | None
    content_mask: Mask | None
    style_masks: Mask | Sequence[Mask] | None
    device: str
    lowering: str
    threads: int | None
    low_memory: bool
    cuda: CudaOptions
    precision: str
    content_weight: float | None
    style_weight: float | None
    tv_weight: float | None


def defaults_of(*kinds: type[Any]) -> dict[str, object]:
    """Return the defaults of dataclasses' fields, by name: those of the options that become these fields."""
    return {f.name: f.default for kind in kinds for f in fields(kind) if f.default is not MISSING}


def chosen(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options that are fields of a dataclass."""
    return {f.name: options[f.name] for f in fields(kind) if f.name in options}


def placement_of(options: ObjectiveOptions) -> Placement:
    """Return where and how to run.

    Raises
    ------
    InputError
        When an option will not do.
    """
    return Placement(**chosen(Placement, options))


def weights_of(options: ObjectiveOptions) -> Weights:
    """Return the weights of the terms that are not the recipe's own."""
    return Weights(options.get("content_weight"), options.get("style_weight"), options.get("tv_weight"))
