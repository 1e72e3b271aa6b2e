"""The options that `Objective.open` and transfers share: masks, weights, and where the loss is computed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypedDict

from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.engine.engine import TermWeights
from impasto.runtime.engine.placement import Placement
from impasto.runtime.errors import InputError
from impasto.runtime.pictures.masks import Mask
from impasto.runtime.pictures.photographs import Picture
from impasto.text import shown
from impasto.wording import option


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
    region_strengths
        A region's colour in the masks, such as ``"#ff0000"`` -> how many times its style counts; 1 for those left out.
    protect
        A mask of the content: where it is white, the content counts `protect_weight` times, so that a face, say, stays;
        where it is black, once; grey is in between. See `impasto.runtime.pictures.protection`.
    protect_weight
        How many times the content counts where it is protected.
    device
        ``"auto"``, ``"cpu"``, ``"cuda:N"``, ``"openvino:cpu"``, ``"openvino:gpu"``, ``"openvino:npu"`` or ``"webgpu"``;
        ``"auto"`` is the fastest that works here.
    lowering
        The form of the graphs: ``"auto"``, ``"winograd"`` or ``"direct"``.
    threads
        The number of threads on the processor; by default one for each core.
    low_memory
        Whether memory is given back after every evaluation, which takes a little more time.
    cuda
        The options of CUDA.
    precision
        ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``, of activations; ``"auto"`` is ``"bf16"`` where the processor
        multiplies it faster and the device has it, else ``"fp32"``.
    tile
        ``"auto"``: a picture that is too large for the memory is evaluated in tiles, the largest that fit. ``"off"``:
        never; or the side of the tiles in pixels, rounded to the network's grid. Tiles change nothing but last
        bits of the result.
    memory
        The most memory that the process may take: bytes, or text such as ``"4GB"`` or ``"512 MiB"``; by default what
        the machine has. On a GPU it does nothing.
    content_weight
        The weight of the content, in the recipe's convention; by default the recipe's own.
    style_weight
        The same for the style.
    tv_weight
        The same for the total variation.
    """

    style_blend: Sequence[float] | None
    content_mask: Mask | None
    style_masks: Mask | Sequence[Mask] | None
    region_strengths: Mapping[str, float] | None
    protect: Picture | None
    protect_weight: float
    device: str
    lowering: str
    threads: int | None
    low_memory: bool
    cuda: CudaOptions
    precision: str
    tile: int | str
    memory: int | str | None
    content_weight: float | None
    style_weight: float | None
    tv_weight: float | None


def defaults_of(*kinds: type[Any]) -> dict[str, object]:
    """Return the defaults of dataclasses' fields, by name. Options become these fields, and have these defaults."""
    return {f.name: f.default for kind in kinds for f in fields(kind) if f.default is not MISSING}


def chosen(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of a dataclass."""
    return {f.name: options[f.name] for f in fields(kind) if f.name in options}


def placement_of(options: ObjectiveOptions) -> Placement:
    """Return the placement that the options ask for.

    Raises
    ------
    InputError
        When an option cannot be used.
    """
    values = chosen(Placement, options)
    if isinstance(tile := values.get("tile"), str):
        values["tile"] = tile_in(tile)
    if isinstance(size := values.get("memory"), str):
        values["memory"] = bytes_in(size)
    return Placement(**values)


def tile_in(text: str) -> int | str:
    """Return the `Placement.tile` that a text such as ``auto`` or ``512`` names; other text as it is."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


#: Unit -> bytes.
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def bytes_in(text: str) -> int:
    """Return the bytes that a text such as ``4GB``, ``3.5 GB`` or ``2GiB`` names.

    Raises
    ------
    InputError
        When it is no number with a unit, or less than a byte.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*", text, re.IGNORECASE | re.ASCII)
    size = float(match[1]) * _UNITS.get(match[2].upper(), math.inf) if match else math.inf
    if not math.isfinite(size):
        raise InputError(f"{option('memory')} {shown(text)}: expected a number with its unit, such as 4GB or 512MiB")
    if size < 1:
        raise InputError(f"{option('memory')} {shown(text)}: expected 1 byte or more")
    return round(size)


def strengths_of(options: ObjectiveOptions) -> dict[str, float]:
    """Return the strengths of regions that the options give, by colour.

    Raises
    ------
    InputError
        When they are no mapping.
    """
    given: object = options.get("region_strengths")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        expected = 'expected numbers by colour, such as {"#ff0000": 0.5}'
        raise InputError(f"{option('region_strengths')} is {shown(given)}; {expected}")
    return dict(given)


def weights_of(options: ObjectiveOptions) -> TermWeights:
    """Return the weights of the terms that the options give."""
    return TermWeights(options.get("content_weight"), options.get("style_weight"), options.get("tv_weight"))
