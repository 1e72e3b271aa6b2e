"""Blind sheets: the candidates' pictures of a pair side by side, in an order of chance, the key in a file apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from benchmarks.look.pairs import Pair
from impasto.cli.drawing.contact import Label, contact_sheet


def write_sheets(
    pairs: Sequence[Pair],
    names: Sequence[str],
    picture: Callable[[str, Pair], Path],
    folder: Path,
    seed: int,
    cell: int = 512,
    rows: int = 2,
) -> list[Path]:
    """Write sheets of some pairs each, ``blind-1.png`` and so on, and ``key.json``.

    Parameters
    ----------
    names
        The candidates.
    picture
        (candidate, pair) -> the file of its picture.
    seed
        Of the order, which is another one in each row.

    Returns
    -------
    list
        The sheets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chance, key, written = random.Random(seed), dict[str, list[str]](), []
    for first in range(0, len(pairs), rows):
        some, cells, heads = pairs[first : first + rows], [], []
        for number, pair in enumerate(some, first + 1):
            order = chance.sample([*names], len(names))
            key[f"{number} {pair.name}"] = order
            cells.append([_open(picture(name, pair)) for name in order])
            heads.append(Label((str(number),), (_open(pair.photograph), _open(pair.painting))))
        columns = [Label((letter,)) for letter in "ABCDEFGH"[: len(names)]]
        sheet = folder / f"blind-{first // rows + 1}.png"
        contact_sheet(heads, columns, cells, cell).save(sheet)
        written.append(sheet)
    (folder / "key.json").write_text(json.dumps(key, indent=1) + "\n", "utf-8")
    return written


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
