"""``impasto mix``: a result and its photograph, mixed."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated

from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.completion import names
from impasto.cli.given import warn_of_idle
from impasto.cli.job.writing import check_json, write
from impasto.cli.options import FILE, NAME, NUMBER, argument, option
from impasto.cli.terminal.messages import warn
from impasto.text import shown

if TYPE_CHECKING:
    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.pictures.places import Place

_COLORS = ("style", "keep", "keep-pixels")

#: Prefixes of the keys of PNG texts that hold metadata; `write_picture` writes these anew.
_NOT_KEPT = ("Raw profile type", "XML:com.adobe.xmp", "UserComment")


@examples(
    "impasto mix result.png photo.jpg --output softer.png --strength 0.6",
    "impasto mix result.png photo.jpg --output mixed.png --colors keep",
)
def mix(
    result: Annotated[str, argument("RESULT", help="The result of a transfer: a file, - or a URL.")],
    content: Annotated[str, argument("CONTENT", help="The photograph it was made from.")],
    output: Annotated[
        str, option("--output", "-o", value=FILE, help="The picture to write, .png or .jpg, or - for a PNG.")
    ],
    strength: Annotated[float, option(value=NUMBER, min=0, max=1, help="Share of the result; 1 is all paint.")] = 1,
    colors: Annotated[
        str,
        option(
            value=NAME,
            help="style: the result's; keep: the photograph's, with the result's lightness (keep-pixels: each stays in "
            "its place).",
            complete=names(*_COLORS),
        ),
    ] = "style",
    json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Give a result its photograph back in part: mix the two, or keep the photograph's colours."""
    from impasto.runtime import InputError
    from impasto.runtime.pictures import colors as palette
    from impasto.runtime.pictures import encoding, photographs, places
    from impasto.runtime.plan.plan import planned_colors
    from impasto.runtime.run.record import MIXED

    if colors not in _COLORS:
        raise InputError(f"--colors {shown(colors)}: expected {', '.join(_COLORS[:-1])} or {_COLORS[-1]}")
    check_json(output, json)
    encoding.check_output(output, force=force, inputs=[result, content])
    painted, text = _read(result)
    original = photographs.read_photograph(content)
    # A result without transparency was painted from the photograph over white.
    photograph = original.picture if painted.alpha else original.over_white()
    image = painted.picture
    if keep := palette.KEEPS.get(planned_colors(colors)):
        image = keep(image, photograph)
    image = palette.mix(image, photograph, strength)
    if strength == 1 and colors == _COLORS[0]:
        warn("neither --strength nor --colors asks for anything of the photograph; this is the result as it was")
    if strength == 0:
        warn_of_idle({"colors": "with --strength 0"})
    mixed = json_.dumps({"strength": strength, "colors": colors})
    write(image, output, like=painted, text=text | {MIXED: mixed}, replace=force)
    if json:
        print(json_.dumps({"output": places.name(output), "width": image.width, "height": image.height}))


def _read(place: Place) -> tuple[Photograph, dict[str, str]]:
    """Return a picture and the texts that are kept of it. A stream has none, as it can be read only once."""
    from impasto.runtime.pictures import photographs, places

    painted = photographs.read_photograph(place)
    text = photographs.read_text(place) if places.is_file(place) else {}
    dropped = [key for key in text if key.startswith(_NOT_KEPT) or key in painted.metadata.texts]
    return painted, {key: value for key, value in text.items() if key not in dropped}
