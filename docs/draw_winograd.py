"""Draw docs/winograd.svg: a map in tiles, its places as planes, and the chain of a convolution.

Run it from anywhere: ``python docs/draw_winograd.py``. Needs NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

M, HALO = 6, 1  # outputs of a tile and axis; a 3x3 filter reads one pixel more on each side
HEIGHT, WIDTH = 10, 15  # of the map that is drawn: neither side a multiple of M
DOWN, ACROSS = -(-HEIGHT // M), -(-WIDTH // M)
STRIDE = DOWN * ACROSS + 1  # rows of a plane, the padding tile's among them
TILE = (0, 1)  # the tile whose inputs are shown; it touches the upper border
PLACE = (2, 0)  # the place whose plane is shown

SIZE = (1200, 890)
PAPER, INK, MUTED, LINE, ACCENT = "#fcfbf8", "#25272c", "#656a72", "#c9c5bb", "#b3261e"
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

Colour = tuple[int, int, int]
Place = tuple[int, int]
#: Colours of a square's corners, those between being mixed: upper left, upper right, lower left, lower right.
PLACES: tuple[Colour, ...] = ((250, 209, 96), (232, 104, 66), (64, 158, 178), (120, 74, 148))
TRANSFORMED: tuple[Colour, ...] = ((233, 236, 240), (176, 188, 203), (176, 188, 203), (112, 128, 150))
PRODUCTS: tuple[Colour, ...] = ((232, 240, 232), (172, 197, 178), (172, 197, 178), (96, 138, 112))


def mixed(corners: tuple[Colour, ...], place: Place, count: int) -> str:
    """Return the colour of a place in a square of count x count."""
    v, u = (k / (count - 1) for k in place)
    weights = np.array([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])
    return "#" + "".join(f"{round(level):02x}" for level in weights @ np.array(corners, float))


def place_colour(y: int, x: int) -> str:
    """Return the colour of a pixel: that of its place in its tile."""
    return mixed(PLACES, (y % M, x % M), M)


def row(y: int, x: int) -> int:
    """Return the row of a pixel, as `impasto.export.lowering.tiles` numbers them."""
    return ((y % M) * M + x % M) * STRIDE + (y // M) * ACROSS + x // M


def inside(y: int, x: int) -> bool:
    """Tell whether the picture has a pixel (y, x)."""
    return 0 <= y < HEIGHT and 0 <= x < WIDTH


@dataclass
class Drawing:
    """SVG elements in the making."""

    elements: list[str] = field(default_factory=list)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "none",
        stroke: str = "none",
        line: float = 1,
        dash: str = "",
        radius: float = 0,
    ) -> None:
        """Draw a rectangle."""
        extra = (f' stroke-dasharray="{dash}"' if dash else "") + (f' rx="{radius:g}"' if radius else "")
        self.elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="{stroke}" '
            f'stroke-width="{line:g}"{extra}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 14,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Write a line."""
        weight = ' font-weight="600"' if bold else ""
        self.elements.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def path(self, d: str, stroke: str = INK, line: float = 1.5, dash: str = "", arrow: bool = False) -> None:
        """Draw a line."""
        extra = (f' stroke-dasharray="{dash}"' if dash else "") + (' marker-end="url(#head)"' if arrow else "")
        self.elements.append(f'<path d="{d}" fill="none" stroke="{stroke}" stroke-width="{line:g}"{extra}/>')

    def heading(self, x: float, y: float, number: int, words: str) -> None:
        """Write a panel's heading, its number in a disc."""
        self.elements.append(f'<circle cx="{x + 13:g}" cy="{y - 6:g}" r="13" fill="{INK}"/>')
        self.text(x + 13, y - 0.8, str(number), 15, PAPER, "middle", bold=True)
        self.text(x + 36, y, words, 19, bold=True)

    def cells(
        self, x: float, y: float, size: float, count: int, corners: tuple[Colour, ...], chosen: Place | None = None
    ) -> None:
        """Draw a square of count x count cells in mixed colours."""
        for v, u in np.ndindex(count, count):
            self.box(x + u * size, y + v * size, size, size, mixed(corners, (v, u), count), PAPER, 0.8)
        self.box(x, y, count * size, count * size, stroke=INK, line=1.2)
        if chosen:
            self.box(x + chosen[1] * size, y + chosen[0] * size, size, size, stroke=ACCENT, line=2.2)

    def svg(self, title: str, description: str) -> str:
        """Return the finished file."""
        width, height = SIZE
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-labelledby="title description" font-family="{FONT}">\n'
            f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
            '<defs><marker id="head" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="8" markerHeight="8" '
            f'orient="auto"><path d="M0,1 L9,5 L0,9 z" fill="{INK}"/></marker>'
            '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<rect width="6" height="6" fill="#f1efe9"/><path d="M0,6 L6,0" stroke="{LINE}" stroke-width="1"/>'
            "</pattern></defs>\n"
        )
        return head + "\n".join(self.elements) + "\n</svg>\n"


def draw_map(d: Drawing, left: float, top: float, size: float) -> None:
    """Draw the map in tiles, with the pixels that hang over, one tile's inputs and one place."""
    for y, x in np.ndindex(DOWN * M, ACROSS * M):
        fill = place_colour(y, x) if inside(y, x) else "url(#hatch)"
        d.box(left + x * size, top + y * size, size, size, fill, PAPER, 0.8)
    for number, (v, u) in enumerate(np.ndindex(DOWN, ACROSS)):
        x, y = left + u * M * size, top + v * M * size
        d.box(x, y, M * size, M * size, stroke=INK, line=1.6)
        cx, cy = x + size * PLACE[1], y + size * PLACE[0]
        d.box(cx + 1, cy + 1, size - 2, size - 2, PAPER, ACCENT, 2.4, radius=3)
        d.text(cx + size / 2, cy + size / 2 + 5, str(number), 14, ACCENT, "middle", bold=True)
    n = M + 2 * HALO
    hy, hx = TILE[0] * M - HALO, TILE[1] * M - HALO
    for k in range(n):  # the upper row of the halo is outside the picture
        cell = left + (hx + k) * size
        d.box(cell, top + hy * size, size, size, "#ffffff", LINE)
        d.text(cell + size / 2, top + hy * size + size * 0.68, "0", 12, MUTED, "middle")
    d.box(left + hx * size, top + hy * size, n * size, n * size, stroke=INK, line=3, dash="7 4")
    middle = left + (hx + n / 2) * size
    d.text(middle, top - size - 12, f"the {n} × {n} inputs of tile 1: itself and a border of one", 14, INK, "middle")
    below = top + DOWN * M * size
    d.text(left, below + 24, f"a map of {WIDTH} × {HEIGHT} pixels; a colour is a place in a tile", 14)
    d.text(left, below + 45, "hatched: hangs over the map; computed, but no filter reads it", 14, MUTED)


def draw_planes(d: Drawing, left: float, top: float, cell: float, pitch: tuple[float, float]) -> tuple[float, float]:
    """Draw every plane as a strip of its rows; return where the plane of the chosen place begins."""
    high = 17.0
    for v, u in np.ndindex(M, M):
        x, y = left + u * pitch[0], top + v * pitch[1]
        d.text(x, y - 4, str(row(v, u)), 11, MUTED)
        for k, (i, j) in enumerate(np.ndindex(DOWN, ACROSS)):
            ty, tx = i * M + v, j * M + u
            d.box(x + k * cell, y, cell, high, place_colour(v, u) if inside(ty, tx) else "url(#hatch)", PAPER, 0.8)
        d.box(x + (STRIDE - 1) * cell, y, cell, high, "#ffffff", LINE)
        d.box(x, y, STRIDE * cell, high, stroke=INK, line=0.9)
        if (v, u) == PLACE:
            d.box(x - 2, y - 2, STRIDE * cell + 4, high + 4, stroke=ACCENT, line=2.6, radius=3)
    return left + PLACE[1] * pitch[0], top + PLACE[0] * pitch[1] + high / 2


def draw_inputs(d: Drawing, left: float, top: float, size: float) -> None:
    """Draw the inputs of the chosen tile as they are gathered."""
    n = M + 2 * HALO
    for v, u in np.ndindex(n, n):
        y, x = TILE[0] * M - HALO + v, TILE[1] * M - HALO + u
        fill = place_colour(y, x) if inside(y, x) else "#ffffff"
        d.box(left + u * size, top + v * size, size, size, fill, PAPER if inside(y, x) else LINE, 0.8)
        if not inside(y, x):
            d.text(left + (u + 0.5) * size, top + (v + 0.75) * size, "0", 9, MUTED, "middle")
    d.box(left, top, n * size, n * size, stroke=INK, line=1.2)
    d.box(left + size, top + size, M * size, M * size, stroke=INK, line=1.8)


def draw_products(d: Drawing, left: float, middle: float) -> float:
    """Draw the product over channels at one of the n * n points; return where it ends."""
    rows, inputs, outputs, step = 104.0, 52.0, 66.0, 5

    def matrix(x: float, height: float, width: float, fill: str, name: str, tall: str, wide: str) -> None:
        y = middle - height / 2
        for k in (2, 1, 0):
            d.box(x + k * step, y - k * step, width, height, fill, INK if k else ACCENT, 0.8 if k else 2.2)
        d.text(x + width / 2, middle + 6, name, 17, INK, "middle", bold=True)
        d.text(x - 6, middle + 5, tall, 13, MUTED, "end")
        d.text(x + width / 2, y + height + 17, wide, 13, MUTED, "middle")

    matrix(left + 36, rows, inputs, mixed(TRANSFORMED, (1, 1), 4), "V", "P+1", "C")
    d.text(left + 118, middle + 6, "×", 22, INK, "middle")
    matrix(left + 152, inputs, outputs, "#f6e3b4", "U", "C", "K")
    d.text(left + 248, middle + 6, "=", 22, INK, "middle")
    matrix(left + 304, rows, outputs, mixed(PRODUCTS, (1, 1), 4), "Z", "P+1", "K")
    return left + 304 + outputs + 2 * step


def draw_chain(d: Drawing, left: float, middle: float) -> None:
    """Draw a convolution: gather, transform, product over channels, back-transform."""
    size, n, chosen = 13.0, M + 2 * HALO, (3, 4)
    half = n * size / 2

    def caption(x: float, first: str, second: str) -> None:
        d.text(x, middle + half + 46, first, 14, INK, "middle", bold=True)
        d.text(x, middle + half + 66, second, 13, MUTED, "middle")

    def arrow(start: float, end: float, words: str) -> None:
        d.path(f"M{start:g},{middle:g} L{end:g},{middle:g}", line=2, arrow=True)
        d.text((start + end) / 2 - 3, middle - 12, words, 15, INK, "middle", bold=True)

    x = left
    draw_inputs(d, x, middle - half, size)
    caption(x + half, "gather", f"[{n * n}, P+1, C]")
    arrow(x + 2 * half + 10, x + 2 * half + 92, "Bᵀ X B")
    x += 2 * half + 102
    d.cells(x, middle - half, size, n, TRANSFORMED, chosen)
    caption(x + half, "transform", f"[{n * n}, P+1, C]")
    arrow(x + 2 * half + 10, x + 2 * half + 40, "")
    end = draw_products(d, x + 2 * half + 46, middle)
    caption((x + 2 * half + 82 + end) / 2, "multiply: sum over channels", f"{n * n} matrix products, one a point")
    arrow(end + 10, end + 42, "")
    x = end + 52
    d.cells(x, middle - half, size, n, PRODUCTS, chosen)
    caption(x + half, "products", f"[{n * n}, P+1, K]")
    arrow(x + 2 * half + 10, x + 2 * half + 92, "Aᵀ Z A")
    x += 2 * half + 102
    d.cells(x, middle - M * size / 2, size, M, PLACES)
    caption(x + M * size / 2, "back to a tile", f"[{M * M}, P+1, K]")


def draw() -> str:
    """Return the picture as SVG."""
    d = Drawing()
    d.box(0.5, 0.5, SIZE[0] - 1, SIZE[1] - 1, PAPER, "#e4e0d6", radius=14)
    left, top, size = 60.0, 140.0, 25.0
    d.heading(40, 54, 1, "A map is cut into tiles of 6 × 6")
    draw_map(d, left, top, size)
    d.heading(640, 54, 2, "Each place in the tile becomes a plane")
    d.text(676, 80, "Rows in order of memory; the number is that of a plane's first row.", 14, MUTED)
    cell, pitch = 9.5, (84.0, 46.0)
    end_x, end_y = draw_planes(d, 650, top - 14, cell, pitch)
    sx, sy = left + (2 * M + PLACE[1] + 1) * size, top + (PLACE[0] + 0.5) * size
    d.path(
        f"M{sx + 1:g},{sy:g} C{sx + 110:g},{sy:g} {end_x - 110:g},{end_y:g} {end_x - 5:g},{end_y:g}",
        ACCENT,
        2,
    )
    y = top + 12 * size - 6
    d.text(
        650, y, f"row(y, x) = ((y mod {M}) · {M} + (x mod {M})) · {STRIDE} + (y div {M}) · {ACROSS} + (x div {M})", 15
    )
    v, u = M + PLACE[0], 2 * M + PLACE[1]
    d.text(650, y + 26, f"Pixel ({v}, {u}), in tile 5: {row(*PLACE)} + {ACROSS} + 2 = {row(v, u)}.", 14, MUTED)
    d.text(650, y + 47, f"White: tile {STRIDE - 1} does not exist; its rows are zero, and stand for", 14, MUTED)
    d.text(650, y + 66, "whatever lies outside the map.", 14, MUTED)
    d.path(f"M40,548 L{SIZE[0] - 40},548", LINE, 1)
    d.heading(40, 590, 3, "A convolution: fewer products, each a matrix product over channels")
    draw_chain(d, 52, 690)
    d.text(
        52,
        846,
        "P tiles, C channels in, K out. U = G W Gᵀ comes from the weights W, once, before the first picture.",
        14,
        MUTED,
    )
    d.text(
        52,
        867,
        "Backward: the same chain with the columns of Bᵀ and the rows of Aᵀ reversed, and U transposed.",
        14,
        MUTED,
    )
    return d.svg(
        "The lowering winograd",
        "A map of 15 x 10 pixels is cut into tiles of 6 x 6. Pixels at the same place of their tiles are kept in a "
        "plane of consecutive rows. A convolution gathers 8 x 8 inputs for each tile, transforms them, multiplies at "
        "each of 64 points over the channels, and transforms the products back to 6 x 6 outputs.",
    )


if __name__ == "__main__":
    Path(__file__).with_name("winograd.svg").write_text(draw(), encoding="utf-8")
