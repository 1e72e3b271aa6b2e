"""Contact sheets: pictures in rows and columns, with pictures and names at their heads. Drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, EMPTY = "#fbfaf7", "#26282c", "#6b6f76", "#eceae4"

#: Of a cell's width: the size of the letters, and the space between cells.
_LETTERS, _GAP = 0.055, 0.035
_SMALLEST_LETTERS = 9


@dataclass(frozen=True)
class Label:
    """The head of a row or a column: lines of text, and above them pictures, side by side."""

    lines: tuple[str, ...]
    pictures: tuple[Image.Image, ...] = ()


def contact_sheet(
    rows: Sequence[Label], columns: Sequence[Label], cells: Sequence[Sequence[Image.Image | None]], cell: int
) -> Image.Image:
    """Draw a table of pictures.

    Parameters
    ----------
    rows, columns
        The heads, at the left of each row and above each column.
    cells
        Row by row; None is left empty.
    cell
        The width of a column and the most that a row is high, in pixels: pictures are made to fit, none is enlarged.
        Those at the heads are no larger than the smallest in the cells.

    Returns
    -------
    Image
        8-bit RGB.
    """
    sheet = _Sheet(rows, columns, cells, cell)
    sheet.draw()
    return sheet.image


class _Sheet:
    """The table, and the positions of its parts."""

    def __init__(
        self,
        rows: Sequence[Label],
        columns: Sequence[Label],
        cells: Sequence[Sequence[Image.Image | None]],
        cell: int,
    ) -> None:
        self.cell, self.gap = cell, max(4, round(cell * _GAP))
        letters = max(_SMALLEST_LETTERS, round(cell * _LETTERS))
        self.font, self.line = ImageFont.load_default(letters), round(letters * 1.35)
        self.rows, self.columns = rows, columns
        self.cells = [[picture and _fitted(picture, cell, cell) for picture in row] for row in cells]
        self.side = min((max(picture.size) for row in self.cells for picture in row if picture), default=cell)
        self.heads = [self._pictures(label) for label in rows]
        self.tops = [self._pictures(label) for label in columns]
        self.left = self._width_of_heads()
        self.top = max(self._height(label, top) for label, top in zip(columns, self.tops, strict=True))
        self.heights = [self._row_height(k) for k in range(len(rows))]
        width = self.left + len(columns) * (cell + self.gap) + 2 * self.gap
        height = self.top + sum(self.heights) + (len(rows) + 2) * self.gap
        self.image = Image.new("RGB", (width, height), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def draw(self) -> None:
        """Draw the table."""
        xs = [2 * self.gap + self.left + k * (self.cell + self.gap) for k in range(len(self.columns))]
        for x, label, top in zip(xs, self.columns, self.tops, strict=True):
            self._label(label, top, x, self.gap + self.top - self._height(label, top), self.cell)
        y = 2 * self.gap + self.top
        for label, head, row, height in zip(self.rows, self.heads, self.cells, self.heights, strict=True):
            self._label(label, head, self.gap, y + (height - self._height(label, head)) // 2, self.left)
            for x, picture in zip(xs, row, strict=True):
                self._cell(picture, x, y, height)
            y += height + self.gap

    def _pictures(self, label: Label) -> list[Image.Image]:
        """Return a label's pictures, as large as they fit beside each other in a cell, and no larger than a result."""
        count = max(1, len(label.pictures))
        width = min(self.side, (self.cell - (count - 1) * self.gap) // count)
        return [_fitted(p, width, self.side) for p in label.pictures]

    def _width_of_heads(self) -> int:
        """Return the width of the rows' heads: a cell's where they have pictures, else that of their text."""
        if any(self.heads):
            return self.cell
        text = max((self.font.getlength(line) for label in self.rows for line in label.lines), default=0)
        return min(self.cell, round(text) + 1)

    def _height(self, label: Label, pictures: list[Image.Image]) -> int:
        image = max((picture.height for picture in pictures), default=0)
        return image + len(label.lines) * self.line + (self.gap // 2 if image and label.lines else 0)

    def _row_height(self, k: int) -> int:
        pictures = [picture.height for picture in self.cells[k] if picture]
        own = max(pictures) if pictures else round(self.cell * 0.75)
        return max(own, self._height(self.rows[k], self.heads[k]))

    def _label(self, label: Label, pictures: list[Image.Image], x: int, y: int, width: int) -> None:
        """Draw a label in a box of that width, its upper left corner at (x, y), its parts centred."""
        if pictures:
            left = x + (width - sum(p.width for p in pictures) - (len(pictures) - 1) * self.gap) // 2
            tallest = max(picture.height for picture in pictures)
            for picture in pictures:
                self.image.paste(picture, (left, y + (tallest - picture.height) // 2))
                left += picture.width + self.gap
            y += tallest + self.gap // 2
        for number, line in enumerate(label.lines):
            text = self._shortened(line, width)
            middle = x + (width - self.font.getlength(text)) / 2
            self.pen.text((middle, y + number * self.line), text, INK if number == 0 else MUTED, self.font)

    def _cell(self, picture: Image.Image | None, x: int, y: int, height: int) -> None:
        if picture:
            self.image.paste(picture, (x + (self.cell - picture.width) // 2, y + (height - picture.height) // 2))
        else:
            self.pen.rectangle((x, y, x + self.cell - 1, y + height - 1), EMPTY)

    def _shortened(self, text: str, width: int) -> str:
        if self.font.getlength(text) <= width:
            return text
        while text and self.font.getlength(f"{text}...") > width:
            text = text[:-1]
        return f"{text}..."


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture that fits into a box, in its own proportions; a small one as it is."""
    scale = min(width / picture.width, height / picture.height, 1)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
