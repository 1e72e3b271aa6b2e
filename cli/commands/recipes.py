"""``impasto recipes``: a table of recipes, and what each term of theirs weighs."""

from __future__ import annotations

import json as json_
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from impasto.cli import completion, options
from impasto.cli.command import examples
from impasto.cli.options import FOLDER, SIZE, argument, option
from impasto.defaults import DEFAULT_NETWORK, DEFAULT_RECIPE

if TYPE_CHECKING:
    from impasto.runtime.plan.recipe import Recipe

_COLUMNS = 100
_UNIT = "the number that multiplies a term's mean, for levels 0..255; see impasto.runtime.plan.terms"


@examples("impasto recipes", "impasto recipes gatys impasto --size 1024x768")
def recipes(
    names: Annotated[
        list[str] | None,
        argument("NAMES", help="Recipes' names, or TOML files.", default="all", complete=completion.recipes),
    ] = None,
    model: Annotated[
        Path | None,
        option(
            "--model",
            "-m",
            value=FOLDER,
            help="Those that a model folder holds.",
            default="those that come with impasto",
        ),
    ] = None,
    size: Annotated[
        str,
        option(
            "--size",
            "-s",
            value=SIZE,
            help="Size of the picture that the weights are for: WIDTHxHEIGHT, or a square's.",
        ),
    ] = "512",
    json: options.Json = False,
) -> None:
    """List recipes with their layers, and what each term really weighs in the loss."""
    from impasto.text import printable

    width, height = _width_and_height(size)
    described = [_describe(recipe, width, height) for recipe in _chosen(names or [], model)]
    if json:
        table = {entry.pop("name"): entry for entry in described}
        text = json_.dumps({"width": width, "height": height, "unit": _UNIT, "recipes": table}, indent=2)
    else:
        text = _render(described, width, height)
    print("\n".join(map(printable, text.split("\n"))))  # descriptions may come from strangers


def _width_and_height(text: str) -> tuple[int, int]:
    from impasto.runtime import InputError
    from impasto.runtime.plan.recipe import parse_size
    from impasto.runtime.plan.sizes import check_sides

    size = parse_size(text)
    if size == "content":
        raise InputError("--size content: there is no picture here; expected WIDTHxHEIGHT, or the side of a square")
    width, height = (size, size) if isinstance(size, int) else size
    check_sides("--size", width, height)
    return width, height


def _chosen(names: list[str], model: Path | None) -> list[Recipe]:
    from impasto.runtime.plan.recipe import builtin_recipes, load_recipe

    if model is None:
        return [load_recipe(name) for name in names or builtin_recipes()]
    from impasto.runtime.engine.opening import read_metadata
    from impasto.runtime.model.folder import ModelFolder

    folder = ModelFolder.open(model)
    return [read_metadata(folder, name).recipe for name in names or folder.recipes()]


def _describe(recipe: Recipe, width: int, height: int) -> dict[str, Any]:
    """Return the entry of a recipe, as plain data."""
    from impasto.export.networks import NETWORKS
    from impasto.runtime.model.metadata import Layer
    from impasto.runtime.plan.terms import effective_weights, style_to_content

    # A layer of both networks has the same width and depth in each, and VGG-19 has all layers of VGG-16.
    known = {x.name: Layer(x.name, x.outputs, x.level) for x in NETWORKS[DEFAULT_NETWORK].layers}
    sizes = {name: known[name].size(height, width) for name in recipe.layers}
    weights = effective_weights(recipe, sizes, height, width)
    return {
        "name": recipe.name,
        "description": recipe.description,
        "default": recipe.name == DEFAULT_RECIPE,
        "init": recipe.init,
        "size": recipe.size,
        "size_of": recipe.size_of,
        "style_fit": recipe.style_fit,
        "style_crop": recipe.style_crop,
        "evaluations": recipe.evaluations,
        "coarse_to_fine": recipe.coarse_to_fine,
        "clip": recipe.clip,
        "bleed": recipe.bleed,
        "optimizer": recipe.optimizer,
        "pooling": recipe.pooling,
        "padding": recipe.padding,
        "style_loss": recipe.style.loss,
        "style_moments": recipe.style.moments if recipe.style.loss == "moments" else None,
        "tv_form": recipe.tv.form,
        "tv_exponent": recipe.tv.exponent if recipe.tv.form == "power" else None,
        "effective_weights": weights,
        "style_to_content": style_to_content(weights),
    }


# --- text -----------------------------------------------------------------------------------------------------


def _render(described: list[dict[str, Any]], width: int, height: int) -> str:
    parts = [_overview(described, width, height), *map(_block, described)]
    return "\n\n".join(parts)


def _overview(described: list[dict[str, Any]], width: int, height: int) -> str:
    """Return the table that compares recipes."""
    from impasto.runtime.plan.terms import TERMS

    title = (
        f"Effective weights for a picture of {width}x{height} pixels: the numbers that multiply the means of which the "
        "loss is made up, so that they compare across recipes and sizes. A layer's content loss is the mean of "
        "(F - P)^2 over its activations, its style loss on Gram matrices the mean of (G - A)^2; here they are "
        "summed over layers. Style : content is the quotient; it compares recipes of the same style loss and layers."
    )
    rows = [("recipe", "style loss", "pooling", "content", "style", "variation", "style : content")]
    for entry in described:
        weights = entry["effective_weights"]
        totals = (*(term.total(weights) for term in TERMS), entry["style_to_content"])
        rows.append((entry["name"], entry["style_loss"], entry["pooling"], *map(_number, totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if k < 3 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([textwrap.fill(title, _COLUMNS), "", *lines])


def _block(entry: dict[str, Any]) -> str:
    """Return a recipe in a few lines, with its weights layer by layer."""
    finer = ", coarse to fine" if entry["coarse_to_fine"] else ""
    held = ", levels held in 0..255" if entry["clip"] else ""
    held += f", {entry['bleed']} pixels beyond each border cut off" if entry["bleed"] else ""
    variation = f"{entry['tv_form']}, exponent {entry['tv_exponent']:g}" if entry["tv_exponent"] else entry["tv_form"]
    weights, times = entry["effective_weights"], entry["style_moments"]
    beside = "" if times is None else f", means and deviations {times:g} times"
    rows = {
        "picture": _picture(entry),
        "run": f"from {entry['init']}, {entry['evaluations']} evaluations by {entry['optimizer']}{finer}{held}",
        "content": _layers(weights, "content/"),
        "style": f"{entry['style_loss']}{beside}: {_layers(weights, 'style/')}",
        "variation": f"{variation}: {_number(weights['tv'])}" if weights["tv"] else "none",
    }
    lines = [entry["name"] + (" (the default)" if entry["default"] else "")]
    lines += _fill(entry["description"], "  ", "  ")
    for name, text in rows.items():
        lines += _fill(text, f"  {name:11}", " " * 13)
    return "\n".join(lines)


def _picture(entry: Mapping[str, Any]) -> str:
    """Return the sizes of the result and of the style, and what is seen around them, in words."""
    number, of = entry["size"], {"long": "long side", "short": "short side"}.get(entry["size_of"], entry["size_of"])
    border = ", its border repeated" if entry["padding"] == "replicate" else ""
    less = " and without its margins and edges" if entry["style_crop"] == "auto" else ""
    style = {"stretch": "stretched to the same size", "area": "of the same area", "same": "resized likewise"}
    if number == "content":
        style["same"], size = f"of the same {of}", "the photograph's own size"
    else:
        size = number if "x" in number else f"{number}x{number} in area" if of == "area" else f"{of} {number}"
        size += " pixels"
    return f"{size}{border}; the style {style[entry['style_fit']]}{less}"


def _fill(text: str, first: str, rest: str) -> list[str]:
    wrapped = textwrap.wrap(text, _COLUMNS, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in wrapped]


def _layers(weights: Mapping[str, float], kind: str) -> str:
    pairs: Iterable[tuple[str, float]] = ((k.removeprefix(kind), v) for k, v in weights.items() if k.startswith(kind))
    return ", ".join(f"{name}\N{NO-BREAK SPACE}{_number(weight)}" for name, weight in pairs)


def _number(value: float) -> str:
    return f"{value:.3g}"
