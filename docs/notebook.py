"""Write docs/first_hour.ipynb: a notebook from nothing to a picture, and to the next steps.

Run it from the repository's root: ``python -m docs.notebook``. The notebook is written without the output of its cells.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("first_hour.ipynb")


@dataclass(frozen=True)
class Cell:
    """A cell: its name, and its text, Markdown or Python."""

    name: str
    text: str
    is_code: bool = True

    def to_mapping(self) -> dict[str, Any]:
        """Return the cell as notebooks hold it (nbformat 4.5)."""
        kind: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
        kind = kind if self.is_code else {"cell_type": "markdown"}
        return kind | {"id": self.name, "metadata": {}, "source": self.text.splitlines(keepends=True)}


def words(name: str, text: str) -> Cell:
    """Return a cell of Markdown."""
    return Cell(name, text, is_code=False)


CELLS = (
    words(
        "welcome",
        """\
# The first hour with impasto

impasto repaints a photograph in the manner of a painting. This notebook goes from nothing to a picture worth keeping.
It needs a few minutes on two processors, and this in the environment of its kernel, from a clone of the repository:

    pip install '.[cpu,export]'
""",
    ),
    words(
        "model-words",
        "## A model\n\nA network's loss and its gradient are written to files once, in ten seconds or so.",
    ),
    Cell(
        "model",
        """\
from impasto.export import ensure

model = ensure()
model""",
    ),
    words(
        "pictures-words",
        """\
## Two pictures

Two drawings to begin with. For your own, write their paths instead: `photo, painting = "photo.jpg", "painting.jpg"`.
Addresses, PIL images and arrays will do, too.
""",
    ),
    Cell(
        "pictures",
        """\
from impasto.cli.drawing.samples import open_sample

photo, painting = open_sample("town"), open_sample("sunset")
photo""",
    ),
    Cell("painting", "painting"),
    words(
        "paint-words",
        """\
## Painting

The cell shows the progress, and the picture as it grows. The stop button ends it early: the best picture so far is then
the result. `help(stylize)` lists all settings.
""",
    ),
    Cell("settings", "SIZE, EVALUATIONS = 384, 60"),
    Cell(
        "paint",
        """\
from impasto.runtime import stylize

result = stylize(photo, painting, model=model, size=SIZE, evaluations=EVALUATIONS)
print(result)""",
    ),
    Cell("result", "result"),
    words(
        "save-words",
        """\
## Keeping it

The file has the photograph's colour profile, its EXIF and its transparency. It also has a record of how it was made,
for `impasto info` and `impasto rerun`. A file that exists is replaced only with `force=True`.
""",
    ),
    Cell("save", 'result.save("impasto-first.png", force=True)'),
    words("change-words", "## Less of the painting\n\nThe photograph's own colours, and a little of the photograph."),
    Cell(
        "change",
        """\
mild = stylize(
    photo,
    painting,
    model=model,
    size=SIZE,
    evaluations=EVALUATIONS,
    colors="keep",
    strength=0.8,
)""",
    ),
    words(
        "loss-words",
        "## The loss\n\nThe loss falls quickly, then slowly. `step.terms` sum to it, and `step.share` is the share of "
        "the start's that is left.\nLosses of two sizes do not compare: the share of a finer stage begins with that of "
        "the one before.",
    ),
    Cell(
        "loss",
        """\
for step in result.history[:: max(1, EVALUATIONS // 10)]:
    print(f"{step.evaluation:4}  {step.width}x{step.height}  {step.loss:12.4g}  {step.share:7.2%}")""",
    ),
    words(
        "objective-words",
        "## An optimiser of your own\n\nThe loss of a picture and its gradient, for ten steps down.",
    ),
    Cell(
        "objective",
        """\
import numpy as np

from impasto.runtime import Objective

objective = Objective.open(model, content=result.image, styles=painting)
picture = np.asarray(result.image, np.float32)
for _ in range(10):
    loss, gradient = objective(picture)
    picture -= 0.5 * gradient / np.abs(gradient).mean()
    print(f"{loss:.5g}")""",
    ),
)


def render() -> str:
    """Return the notebook as JSON."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    page = {
        "cells": [cell.to_mapping() for cell in CELLS],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(page, indent=1, ensure_ascii=False, sort_keys=True) + "\n"  # the order that formatters keep


def main() -> None:
    """Write the notebook."""
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
