"""Make the pictures of README.md, docs/recipes.md and docs/masks.md, from drawings of this program's own.

Run it from the repository's root: ``python -m docs.pictures`` (or ``make pictures``). The transfers are kept below
``build/pictures``, and not made again: they take about a minute each on two cores, half an hour in all.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from docs.paintings import draw_mosaic, draw_woodcut
from docs.samples import draw_content, draw_style
from impasto.cli.commands.sheet import sheet
from impasto.cli.drawing.contact import Label, contact_sheet
from impasto.defaults import COLORS
from impasto.runtime import stylize
from impasto.runtime.model.default import find_model
from impasto.runtime.pictures import encoding, photographs, planes
from impasto.runtime.storage.replacing import replacing

HERE = Path(__file__).parent
WORK = HERE.parent / "build" / "pictures"

SIZE, EVALUATIONS = 480, 120

#: The same for the picture of recipes: smaller and fewer than most of them ask for.
RECIPE_SIZE, RECIPE_EVALUATIONS = 384, 80
_QUALITY = 85

#: What is shown of the picture of colours a second time, in pixels: left, upper, right, lower.
_COLORS_PART = (200, 150, 320, 240)
#: The same for the picture of protection.
PROTECT_SIZE, PROTECT_EVALUATIONS = 256, 50

#: The sizes of the picture of large pictures, what is shown of it (left, upper, right, lower, from 0 to 1), and its
#: width in each cell.
SIDES = (512, 1024, 2048, 4096)
_WHOLE, _PART = (0.0, 0.0, 1.0, 1.0), (0.3, 0.45, 0.5, 0.65)
_SHOWN = 320

#: The columns of the picture of boldness.
_BOLDNESS = (-1, -0.5, 0, 0.5, 1)

#: The weights in the picture of protection.
_WEIGHTS = (1, 3, 20)

_SAMPLES: dict[str, Callable[[int, int], Image.Image]] = {
    "town": draw_content,
    "sunset": draw_style,
    "mosaic": draw_mosaic,
    "woodcut": draw_woodcut,
}

#: The columns of the picture of controls: the options of ``impasto stylize``, and their arguments in Python.
_CONTROLS: dict[str, dict[str, Any]] = {
    "the default": {},
    "--colors keep": {"colors": "keep"},
    "--strength 0.6": {"strength": 0.6},
    "--style-scale 2": {"style_scale": 2.0},
    "two styles": {"blend": True},
}


def demo(model: Path) -> None:
    """Make the picture of ``make demo``."""
    content, style = draw_content(), draw_style()
    result = _kept(
        "demo", lambda: stylize(content, [style], model=model, recipe="impasto", size=SIZE, evaluations=EVALUATIONS)
    )
    _write(planes.triptych(content, [style], result), "demo.jpg")


def gallery(model: Path) -> None:
    """Make the town as two paintings; the woodcut's lines leave no town to be seen."""
    _sheet("gallery", model, ["sunset", "mosaic"], ["impasto"], 360)


def recipes(model: Path) -> None:
    """Make the town with every recipe."""
    _sheet("recipes", model, ["sunset", "mosaic"], ["all"], 240, RECIPE_SIZE, RECIPE_EVALUATIONS)


def controls(model: Path) -> None:
    """Make the town with one option after the other."""
    content, style, other = draw_content(), draw_style(), draw_mosaic()

    def make(blend: bool = False, **wishes: Any) -> Any:
        styles = [style, other] if blend else [style]
        return stylize(content, styles, model=model, recipe="impasto", size=SIZE, evaluations=EVALUATIONS, **wishes)

    row = [_kept(f"controls-{k}", lambda w=w: make(**w)) for k, w in enumerate(_CONTROLS.values())]
    columns = [Label((name,)) for name in _CONTROLS]
    _write(contact_sheet([Label(())], columns, [row], 240), "controls.jpg")


def boldness(model: Path) -> None:
    """Make the town from a hint of the sunset to abandon."""
    columns = [Label((f"--boldness {value:g}",)) for value in _BOLDNESS]
    _write(contact_sheet([Label(())], columns, [_varied(model, "boldness", _BOLDNESS)], 240), "boldness.jpg")


def colors(model: Path) -> None:
    """Make the town with every choice of `--colors`; below, a part of it, twice as large."""
    pictures = _varied(model, "colors", COLORS)
    parts = [picture.crop(_COLORS_PART).resize((240, 180), Image.Resampling.NEAREST) for picture in pictures]
    columns = [Label((f"--colors {choice}",)) for choice in COLORS]
    _write(contact_sheet([Label(("the whole",)), Label(("a part",))], columns, [pictures, parts], 240), "colors.jpg")


def _varied(model: Path, option: str, values: Sequence[str | float]) -> list[Image.Image]:
    """Make the town as the sunset, once with each value of an option."""
    content, style = draw_content(), draw_style()

    def make(value: str | float) -> Any:
        wishes: dict[str, Any] = {option: value}
        return stylize(content, [style], model=model, size=RECIPE_SIZE, evaluations=RECIPE_EVALUATIONS, **wishes)

    return [_kept(f"{option}-{value}", lambda value=value: make(value)) for value in values]


def protect(model: Path) -> None:
    """Make the town with its boat protected: the mask, and the picture without it, and with two weights."""
    content, style, mask = draw_content(), draw_style(), _boat(PROTECT_SIZE, PROTECT_SIZE * 3 // 4)

    def make(weight: float) -> Image.Image:
        return _kept(
            f"protect-{weight:g}",
            lambda: stylize(
                content, [style], model=model, recipe="impasto", size=PROTECT_SIZE, evaluations=PROTECT_EVALUATIONS,
                protect=mask, protect_weight=weight,
            ),
        )  # fmt: skip

    columns = [Label(("the mask",)), *(Label((f"--protect-weight {weight:g}",)) for weight in _WEIGHTS)]
    _write(contact_sheet([Label(())], columns, [[mask, *map(make, _WEIGHTS)]], PROTECT_SIZE), "protect.jpg")


def _boat(width: int, height: int) -> Image.Image:
    """Draw a mask of the town's boat, with a soft edge."""
    mask = Image.new("L", (width, height))
    box = [0.49 * width, 0.36 * height, 0.72 * width, 0.82 * height]
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(width / 60)).convert("RGB")


def clip(model: Path) -> None:
    """Make the town as a woodcut with its levels free, and held in 0..255; a part of it, in full size."""
    content, style = draw_content(), draw_woodcut()

    def make(held: bool) -> Image.Image:
        picture = _kept(
            f"clip-{held}",
            lambda: stylize(
                content, [style], model=model, recipe="impasto", size=SIZE, evaluations=EVALUATIONS, clip=held
            ),
        )
        return picture.crop((60, 60, 380, 300))

    columns = [Label(("--no-clip",)), Label(("--clip",))]
    _write(contact_sheet([Label(())], columns, [[make(False), make(True)]], 320), "clip.jpg")


def scale(model: Path) -> None:
    """Make the town in sizes up to 4096 pixels: the whole, and a fifth of it, all shown equally large."""

    def make(side: int) -> Image.Image:
        content, style = draw_content(side, side * 3 // 4), draw_style(side, side * 3 // 4)
        return _kept(f"scale-{side}", lambda: stylize(content, [style], model=model, recipe="impasto", size=side))

    def shown(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
        (width, height), (left, upper, right, lower) = picture.size, box
        pixels = left * width, upper * height, right * width, lower * height
        return picture.resize((_SHOWN, _SHOWN * 3 // 4), Image.Resampling.LANCZOS, box=pixels)

    pictures = [make(side) for side in SIDES]
    columns = [Label((f"--size {side}",)) for side in SIDES]
    rows = [[shown(picture, box) for picture in pictures] for box in (_WHOLE, _PART)]
    _write(contact_sheet([Label(("the whole",)), Label(("a part",))], columns, rows, _SHOWN), "scale.jpg")


def _sheet(
    name: str,
    model: Path,
    styles: list[str],
    recipes: list[str],
    cell: int,
    size: int = SIZE,
    evaluations: int = EVALUATIONS,
) -> None:
    """Make a contact sheet of the town by ``impasto sheet``."""
    path = WORK / f"{name}.png"
    sheet(
        [str(_drawn("town"))],
        output=str(path),
        style=[str(_drawn(style)) for style in styles],
        recipe=recipes,
        size=str(size),
        cell=cell,
        evaluations=evaluations,
        cells=WORK / "cells",
        force=True,
        model=model,
    )
    with Image.open(path) as image:
        _write(image, f"{name}.jpg")


def _drawn(name: str) -> Path:
    """Draw a sample, and return its path."""
    path = WORK / f"{name}.png"
    if not path.exists():
        encoding.write_picture(_SAMPLES[name](SIZE, SIZE * 3 // 4), path)
    return path


def _kept(name: str, make: Callable[[], Any]) -> Image.Image:
    """Return the result of a transfer; it is made once."""
    path = WORK / f"{name}.png"
    if not path.exists():
        print(f"making {path.name}")
        encoding.write_picture(make().image, path)
    return photographs.read_picture(path)


def _write(image: Image.Image, name: str) -> None:
    data = io.BytesIO()
    image.convert("RGB").save(data, "JPEG", quality=_QUALITY, optimize=True)
    with replacing(HERE / name) as file:
        file.write(data.getvalue())
    print(f"wrote {name} ({len(data.getvalue()) / 1e3:.0f} kB)")


ALL = (demo, gallery, controls, boldness, colors, recipes, clip, protect)

#: By name only: it takes more than half an hour.
BY_NAME = (scale,)


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [make.__name__ for make in (*ALL, *BY_NAME)]
    usual = ", ".join(make.__name__ for make in ALL)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(names)}; {usual} by default")
    parser.add_argument("--model", type=Path, help="the model folder [the one that impasto uses]")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no picture {', '.join(sorted(unknown))}; expected some of {', '.join(names)}")
    model = find_model(options.model)
    (WORK / "cells").mkdir(parents=True, exist_ok=True)
    for make in (*ALL, *BY_NAME):
        if make.__name__ in options.names or (not options.names and make in ALL):
            make(model)


if __name__ == "__main__":
    main()
