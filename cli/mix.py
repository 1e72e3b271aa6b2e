"""``impasto mix``."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import options
from impasto.cli.options import option
from impasto.cli.running import check_json, write

if TYPE_CHECKING:
    from impasto.runtime.photographs import Photograph
    from impasto.runtime.places import Place

_COLORS = ("style", "keep")

#: Text of others that a PNG carries, and `write_picture` writes anew.
_NOT_KEPT = ("Raw profile type", "XML:com.adobe.xmp", "UserComment")


def mix(
    result: Annotated[str, typer.Argument(help="The result of a transfer: a file, - or a URL.", show_default=False)],
    content: Annotated[str, typer.Argument(help="The photograph it was made from.", show_default=False)],
    output: Annotated[
        str, option("--output", "-o", help="The picture to write, .png or .jpg, or - for a PNG.", show_default=False)
    ],
    strength: Annotated[float, option(min=0, max=1, help="Share of the result, 0..1; 1 is all paint.")] = 1,
    colors: Annotated[
        str, option(help="style: the result's; keep: the photograph's, with the result's lightness.")
    ] = "style",
    json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Give a result its photograph back in part: mix the two, or keep the photograph's colours."""
    from impasto.runtime import InputError, encoding, photographs, places
    from impasto.runtime import colors as palette
    from impasto.runtime.record import MIXED

    if colors not in _COLORS:
        raise InputError(f"colors {colors!r}: expected {' or '.join(_COLORS)}")
    check_json(output, json)
    encoding.check_output(output, force=force, inputs=[result, content])
    painted, text = _read(result)
    original = photographs.read_photograph(content)
    # In a result without transparency what was transparent has been composed over white.
    photograph = original.picture if painted.alpha else original.over_white()
    image = painted.picture
    if colors == "keep":
        image = palette.keep_colors(image, photograph)
    image = palette.mix(image, photograph, strength)
    done = json_.dumps({"strength": strength, "colors": colors})
    write(image, output, like=painted, text=text | {MIXED: done}, replace=force)
    if json:
        print(json_.dumps({"output": places.name(output), "width": image.width, "height": image.height}))


def _read(place: Place) -> tuple[Photograph, dict[str, str]]:
    """Return a picture with what a new one is given of it: of a file, the text in it, too; a stream is read once."""
    from impasto.runtime import photographs, places

    painted = photographs.read_photograph(place)
    text = photographs.read_text(place) if places.is_file(place) else {}
    others = [key for key in text if key.startswith(_NOT_KEPT) or key in painted.metadata.texts]
    return painted, {key: value for key, value in text.items() if key not in others}
