"""``impasto info``."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import options
from impasto.defaults import DEFAULT_MODEL

if TYPE_CHECKING:
    from impasto.runtime.model import Metadata


def info(
    model: Annotated[Path, typer.Argument(envvar="IMPASTO_MODEL", help="A model folder.")] = DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """Show what a model folder holds."""
    from impasto.runtime.model import OBJECTIVE, ModelFolder
    from impasto.runtime.session import read_metadata

    folder = ModelFolder.open(model)
    metadata = [read_metadata(folder, name, OBJECTIVE) for name in folder.recipes()]
    folder.check_weights(metadata[0])
    print(json_.dumps(_describe(folder.path, metadata), indent=2) if json else _render(folder.path, metadata))


def _describe(path: Path, metadata: list[Metadata]) -> dict[str, Any]:
    first = metadata[0]
    return {
        "model": str(path),
        "network": first.network,
        "exporter": first.exporter,
        "weights": dict(first.weights),
        "random_weights": first.random_weights,
        "bytes": sum(p.stat().st_size for p in path.iterdir()),
        "recipes": {m.recipe.name: m.recipe.to_mapping() for m in metadata},
    }


def _render(path: Path, metadata: list[Metadata]) -> str:
    first = metadata[0]
    size = sum(p.stat().st_size for p in path.iterdir())
    lines = [f"{path}: {first.network}, {size / 1e6:.1f} MB, written by {first.exporter}"]
    if first.random_weights:
        lines.append("RANDOM WEIGHTS: good for tests, useless for pictures")
    lines += ["", "weights"]
    lines += [f"  {key:14} {value}" for key, value in first.weights.items()]
    for m in metadata:
        recipe = m.recipe
        lines += ["", f"recipe {recipe.name}: {recipe.description}"]
        lines.append(f"  {'start':14} {recipe.init}, {recipe.size} px, {recipe.evaluations} evaluations")
        lines.append(f"  {'pooling':14} {recipe.pooling}")
        for kind, term in (("content", recipe.content), ("style", recipe.style)):
            layers = ", ".join(f"{name} x {share:g}" for name, share in term.layers.items())
            lines.append(f"  {kind:14} {term.weight:g} ({term.convention}): {layers}")
        tv = recipe.tv
        lines.append(f"  {'tv':14} {tv.weight:g} ({tv.convention}), exponent {tv.exponent:g}")
    return "\n".join(lines)
