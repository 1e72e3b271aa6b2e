"""``impasto info``: the contents of a model folder, or the record of a picture."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from impasto import figures
from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.options import argument
from impasto.defaults import MODEL_VARIABLE
from impasto.figures import clock

if TYPE_CHECKING:
    from impasto.runtime.engine.placement import Placement
    from impasto.runtime.model.metadata import Metadata
    from impasto.runtime.run.record import Record


@examples("impasto info", "impasto info result.png")
def info(
    place: Annotated[
        str | None,
        argument(
            "PLACE",
            help="A model folder, or a picture impasto made.",
            default=options.DEFAULT_MODEL,
            envvar=MODEL_VARIABLE,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what a model folder holds, or how a picture was made."""
    from impasto.runtime.model.default import find_model
    from impasto.text import printable

    if place is None:
        place = str(find_model())
    if _names_picture(place):
        from impasto.runtime.run.record import Record

        record = Record.read(place)
        data = json_.loads(record.to_json()) | ({"mixed": _mixed(record.mixed)} if record.mixed else {})
        lines = json_.dumps(data, indent=2).splitlines() if json else _render_record(place, record)
    else:
        path, metadata = _read_model(Path(place))
        lines = json_.dumps(_describe(path, metadata), indent=2).splitlines() if json else _render(path, metadata)
    print("\n".join(map(printable, lines)))  # all of it may come from a stranger


def _names_picture(place: str) -> bool:
    """Whether a place is a picture, or would be one if it existed."""
    from impasto.runtime.pictures import places
    from impasto.runtime.pictures.encoding import FORMATS

    path = Path(place)
    return not places.is_file(place) or path.is_file() or (path.suffix.lower() in FORMATS and not path.exists())


# --- a model folder -------------------------------------------------------------------------------------------


def _mixed(text: str) -> Any:
    """Return the data that `impasto mix` wrote; other text, which another program may have written, as it is."""
    from impasto.runtime.storage import codec

    try:
        return codec.parse_json(text)
    except codec.Misfit:
        return text


def _read_model(path: Path) -> tuple[Path, list[Metadata]]:
    from impasto.runtime.engine.opening import read_metadata
    from impasto.runtime.model.folder import ModelFolder

    folder = ModelFolder.open(path)
    metadata = [read_metadata(folder, name) for name in folder.recipes()]
    folder.check_weights(metadata[0])
    return folder.path, metadata


def _describe(path: Path, metadata: list[Metadata]) -> dict[str, Any]:
    from impasto.runtime.storage import codec

    first = metadata[0]
    return {
        "model": str(path),
        "network": first.network,
        "exporter": first.exporter,
        "weights": dict(first.weights),
        "random_weights": first.random_weights,
        "bytes": _size(path),
        "recipes": {m.recipe.name: codec.to_data(m.recipe) for m in metadata},
    }


def _size(folder: Path) -> int:
    """Return the size of the files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _render(path: Path, metadata: list[Metadata]) -> list[str]:
    """Return a model folder as lines of text."""
    first = metadata[0]
    lines = [f"{path}: {first.network}, {_size(path) / 1e6:.1f} MB, written by {first.exporter}"]
    if first.random_weights:
        lines.append("RANDOM WEIGHTS: good for tests, useless for pictures")
    lines += ["", "weights"]
    lines += [f"  {key:14} {value}" for key, value in first.weights.items()]
    for m in metadata:
        recipe = m.recipe
        lines += ["", f"recipe {recipe.name}: {recipe.description}"]
        size = "the photograph's size" if recipe.size == "content" else f"{recipe.size} px"
        lines.append(f"  {'start':14} {recipe.init}, {size}, {recipe.evaluations} evaluations")
        lines.append(f"  {'pooling':14} {recipe.pooling}")
        lines.append(f"  {'padding':14} {recipe.padding}")
        for kind, term in (("content", recipe.content), ("style", recipe.style)):
            layers = ", ".join(f"{name} x {share:g}" for name, share in term.layers.items())
            loss = f"{recipe.style.loss}, " if term is recipe.style else ""
            lines.append(f"  {kind:14} {term.weight:g} ({loss}{term.convention}): {layers}")
        tv = recipe.tv
        lines.append(f"  {'tv':14} {tv.weight:g} ({tv.convention}), exponent {tv.exponent:g}")
    return lines


# --- a picture ------------------------------------------------------------------------------------------------


def _loss(record: Record) -> str:
    """Return a record's loss, with its precision if the evaluations had less than float32."""
    from impasto.runtime.model.graphs import SINGLE, WORDS

    outcome = record.outcome
    precision = "" if record.origin.placement.precision == SINGLE else WORDS.get(record.loss_precision, "")
    if outcome.share is None:
        return figures.number(outcome.loss) + (f" in {precision}" if precision else "")
    return figures.shared(outcome.loss, outcome.share, precision)


def _render_record(place: str, record: Record) -> list[str]:
    """Return a record as lines of text."""
    from impasto.cli.job.plan_rows import in_lines, rows
    from impasto.runtime.pictures.protection import PROTECT

    plan, origin, outcome = record.plan, record.origin, record.outcome
    versions = ", ".join(f"{name} {version}" for name, version in origin.machine.versions.items())
    sections: dict[str, Mapping[str, str]] = {
        f"{place}: {plan.width}x{plan.height}, made on {outcome.date}": {},
        "inputs": _inputs(record),
        "what was done": rows(plan, protects=bool(record.inputs(PROTECT))),
        "outcome": {
            "loss": f"{_loss(record)} after {figures.evaluations(outcome.evaluations)} in {clock(outcome.seconds)}",
            **{f"  {name}": figures.number(value) for name, value in outcome.terms.items()},
            "ended": outcome.reason,
            "mixed afterwards": record.mixed or "",
            "resumed": ", ".join(f"after evaluation {n}" for n in outcome.resumed),
        },
        "where": {
            "model": f"{origin.model.place} ({origin.model.network}, by {origin.model.exporter})",
            "weights": f"sha256 {origin.model.weights_sha256}" + (" (RANDOM)" if origin.model.random_weights else ""),
            "device": f"{origin.placement.device}, {origin.placement.lowering}, {origin.placement.precision}",
            "tiles": _tiles(origin.placement),
            "threads": f"{origin.placement.threads or 'by default'}",
            "processor": f"{origin.machine.processor}, {origin.machine.cpus} CPUs",
            "versions": versions,
        },
    }
    lines: list[str] = []
    for title, entries in sections.items():
        lines += ["", title] if lines else [title]
        lines += in_lines(entries)
    return lines


def _tiles(placement: Placement) -> str:
    """Return how large pictures were divided, as text; nothing if they were not, or if an older record does not say."""
    if placement.side is not None:
        return f"of {placement.side} pixels"
    return "" if placement.tile == "off" or placement.memory is None else f"for {placement.memory / 1e9:.1f} GB"


def _inputs(record: Record) -> dict[str, str]:
    """Return the inputs by role, with numbers if there are several of one role."""
    rows = {}
    for role in dict.fromkeys(picture.role for picture in record.origin.inputs):
        pictures = record.inputs(role)
        for number, picture in enumerate(pictures, 1):
            place = picture.place or "without a name"
            text = f"{place} ({picture.width}x{picture.height}, sha256 {picture.sha256[:16]})"
            rows[role if len(pictures) == 1 else f"{role} {number}"] = text
    return rows
