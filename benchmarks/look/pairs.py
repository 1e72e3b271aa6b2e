"""The pairs of a photograph and a painting that candidates are compared on.

Most of the variance between results comes from the painting (Yeh et al. 2019), so there are many paintings and few
photographs. Real ones are read from a folder of the user's. The manners that are missing there are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.look import manners
from docs.paintings import draw_mosaic

#: The photographs and paintings that are looked for in the folder.
PHOTOGRAPHS = ("golden_gate", "lion", "taj_mahal", "tubingen")
PAINTINGS = (
    "composition_vii", "great_wave", "night_cafe", "self_portrait", "starry_night", "tahiti", "the_scream", "udnie",
)  # fmt: skip

#: The paintings that are drawn, by name.
DRAWN: Mapping[str, Callable[[int, int], Image.Image]] = {
    "dots": manners.draw_dots,
    "hatching": manners.draw_hatching,
    "mosaic": draw_mosaic,
    "washes": manners.draw_washes,
}

#: Width and height of drawn paintings.
DRAWN_SIZE = 960, 720


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting: the files, and a name that is good for a file's."""

    photograph: Path
    painting: Path

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.photograph.stem}-{self.painting.stem}"


def pairs(images: Path, work: Path, photographs: int = len(PHOTOGRAPHS)) -> list[Pair]:
    """Return all pairs, painting by painting.

    Parameters
    ----------
    images
        A folder with the real pictures, ``NAME.jpg``.
    work
        Where the drawn ones are written, unless they are there.
    photographs
        How many of the photographs each painting is paired with; the next painting begins with the next of them.

    Raises
    ------
    FileNotFoundError
        When a picture is missing in the folder.
    """
    files = [images / f"{name}.jpg" for name in (*PHOTOGRAPHS, *PAINTINGS)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{images}: lacks {', '.join(missing)}; name the folder with --images")
    shown = files[: len(PHOTOGRAPHS)]
    painted = [*files[len(PHOTOGRAPHS) :], *_drawn(work)]
    return [
        Pair(shown[(number + k) % len(shown)], painting)
        for number, painting in enumerate(painted)
        for k in range(photographs)
    ]


def _drawn(work: Path) -> Iterator[Path]:
    """Draw the paintings that are not there yet, and return their files."""
    work.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        path = work / f"{name}.png"
        if not path.exists():
            draw(*DRAWN_SIZE).save(path)
        yield path
