"""The layout of the lowering `winograd`, and its index arithmetic, written as ONNX nodes.

An activation is kept as rows of channels, one row a pixel. Pixels are grouped in tiles of m x m, and the rows are
ordered by place in the tile first, and by tile second: pixel (y, x) is row

    ((y mod m) m + (x mod m)) (P + 1)  +  (y div m) T + (x div m)

for T tiles across and P tiles in all. So the rows of one *phase*, the same place in every tile, are contiguous, and an
operation that combines places of a tile (a filter's transform, a pooling) combines whole planes. Tile number P does not
exist: its rows are zero in every activation and gradient, and where a table has to point outside the picture it points
there. Tiles at the lower and right border may hang over the picture: no pixel is computed from the rows that hang over,
and a sum over all rows has to subtract them (see `overhang`).

Two layouts are the same with another m: a picture is rows of pixels with m = 1, and pooling a level with tiles of m
leaves the next level's pixels in tiles of m / 2. Every table is a sum of a part that depends on y and a part that
depends on x, and is computed from the picture's shape when the graph runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from impasto.export.lowering.base import Builder
from impasto.runtime.plan.terms import IMAGE


@dataclass(frozen=True)
class Tiling:
    """How maps are cut, level by level.

    Attributes
    ----------
    sides
        Outputs per tile and axis. Larger tiles need fewer multiplications. But they waste more at the border of a small
        map, and their transformed kernels are larger: a map of few tiles waits for them. Sides are even, for windows of
        2 x 2 must not straddle tiles.
    widths
        A level is worked on in strips of about so many tiles: the values between two gathers, megabytes a strip, then
        stay in the processor's cache. The transformed kernels, large at deep levels, are read for each strip.
    strips
        The most strips of a level: a graph has nodes for all. In a small picture some strips have no tiles, and cost
        microseconds a node; in a large one they are wider.
    """

    sides: tuple[int, ...]
    widths: tuple[int, ...]
    strips: tuple[int, ...]


#: For pictures of up to `impasto.runtime.model.graphs.SMALL_PIXELS` pixels, and for larger ones.
SMALL_TILING = Tiling((6, 6, 6, 4, 2), (150, 150, 112, 256, 256), (16, 4, 1, 1, 1))
LARGE_TILING = Tiling((6, 6, 6, 6, 4), (150, 75, 112, 128, 256), (50, 25, 6, 3, 1))

_FAR = 1 << 29  # a row number beyond every picture's, twice of which still fits 32 bits


@dataclass
class Tiled(Builder):
    """A graph in the making, whose maps are cut by `tiling`."""

    tiling: Tiling = field(kw_only=True)


def side(b: Tiled, level: int) -> int:
    """Return m, the outputs per tile and axis."""
    return b.tiling.sides[level]


@dataclass(frozen=True)
class Extent:
    """The pixels of a level, as names of int64 [1] values."""

    height: str
    width: str


@dataclass(frozen=True)
class Layout:
    """How the pixels of a level are numbered: in tiles of m x m, `down` x `across` of them.

    `stride` is the number of rows of a phase, P + 1. All but m are names of int64 [1] values.
    """

    m: int
    extent: Extent
    down: str
    across: str
    stride: str

    def row(self, b: Tiled, coordinate: str, axis: int) -> str:
        """Return the part of the row numbers that depends on a coordinate (int64, any shape).

        Where the coordinate is outside the picture, this is a number beyond all rows.
        """
        tile, place = b.node("Div", coordinate, b.ints(self.m)), b.node("Mod", coordinate, b.ints(self.m))
        if axis == 0:
            place = b.node("Mul", place, b.ints(self.m))
            tile = b.node("Mul", tile, self.across)
        number = b.node("Add", b.node("Mul", place, self.stride), tile)
        size = (self.extent.height, self.extent.width)[axis]
        inside = b.node("And", b.node("GreaterOrEqual", coordinate, b.ints(0)), b.node("Less", coordinate, size))
        return b.node("Cast", b.node("Where", inside, number, b.ints(_FAR)), to=TensorProto.INT32)

    def padding(self, b: Tiled) -> str:
        """Return the number of the last row, which is always zero (int32 [1])."""
        rows = b.node("Mul", self.stride, b.ints(self.m**2))
        return b.node("Cast", b.node("Sub", rows, b.ints(1)), to=TensorProto.INT32)


def extent(b: Tiled, level: int) -> Extent:
    """Return the extent of a level, half of the one above, rounded down."""

    def make() -> Extent:
        if level == 0:
            return Extent(*(b.node("Shape", IMAGE, start=axis, end=axis + 1) for axis in (2, 3)))
        above = extent(b, level - 1)
        return Extent(*(b.node("Div", side, b.ints(2)) for side in (above.height, above.width)))

    return b.once(("extent", level), make)


def layout_of(b: Tiled, level: int) -> Layout:
    """Return the layout of a level's own activations."""
    return b.once(("tiles", level), lambda: _layout(b, side(b, level), extent(b, level)))


def pooled(b: Tiled, level: int) -> Layout:
    """Return the layout of a level's activations as pooling the level above leaves them."""
    above = layout_of(b, level - 1)
    return Layout(above.m // 2, extent(b, level), above.down, above.across, above.stride)


def untiled(b: Tiled, level: int, more: int = 0) -> Layout:
    """Return the layout of a level as rows of pixels in reading order, a picture's: tiles of one.

    The picture may have so many rows and columns more than the level.
    """
    return b.once(("untiled", level, more), lambda: _layout(b, 1, _enlarged(b, extent(b, level), more)))


def _enlarged(b: Tiled, size: Extent, more: int) -> Extent:
    if not more:
        return size
    return Extent(*(b.node("Add", side, b.ints(more)) for side in (size.height, size.width)))


def _layout(b: Tiled, m: int, size: Extent) -> Layout:
    down, across = (b.node("Div", b.node("Add", side, b.ints(m - 1)), b.ints(m)) for side in (size.height, size.width))
    return Layout(m, size, down, across, b.node("Add", b.node("Mul", down, across), b.ints(1)))


# --- tables ---------------------------------------------------------------------------------------------------


def windows(b: Tiled, level: int, source: Layout, padding: int = 1) -> str:
    """Return, for each tile of a level, the rows in `source` of its pixels and of those around: [n * n, P + 1].

    n = m + 2: a 3x3 filter reads one pixel beyond each side. With `padding` 0 the source has these pixels itself: its
    first row and column are those before the level's.
    """
    target = layout_of(b, level)
    return b.once(("windows", source, padding), lambda: _table(b, target, source, target.m + 2, target.m, -padding))


def unpooled(b: Tiled, level: int) -> str:
    """Return, for each tile of a level, the rows of its pooled pixels in the next level's own layout.

    The table is [(m / 2)^2, P + 1].
    """
    half = side(b, level) // 2
    return b.once(("unpooled", level), lambda: _table(b, layout_of(b, level), layout_of(b, level + 1), half, half, 0))


def _table(b: Tiled, target: Layout, source: Layout, n: int, step: int, offset: int) -> str:
    """Return for tile t of `target` and place k < n the row in `source` of pixel step t + k + offset, both ways."""

    def coordinates(count: str) -> str:
        starts = b.node("Mul", _range(b, count), b.ints(step))
        return b.node("Add", b.array(np.arange(n, dtype=np.int64)[:, None] + offset), starts)  # [n, tiles]

    y = b.node("Unsqueeze", source.row(b, coordinates(target.down), 0), b.ints(1, 3))  # [n, 1, down, 1]
    x = b.node("Unsqueeze", source.row(b, coordinates(target.across), 1), b.ints(0, 2))  # [1, n, 1, across]
    padding = source.padding(b)
    rows = b.node("Reshape", b.node("Min", b.node("Add", y, x), padding), b.ints(n * n, -1))
    last = b.node("Expand", padding, b.ints(n * n, 1))
    return b.node("Concat", rows, last, axis=1)


def places(b: Tiled, level: int) -> str:
    """Return for each row of a level the number of its pixel in reading order: [m * m, P + 1].

    Rows that are no pixels have the number of the last pixel plus one.
    """
    m = side(b, level)
    return b.once(("places", level), lambda: _table(b, layout_of(b, level), untiled(b, level), m, m, 0))


def taps(b: Tiled, level: int, padding: int = 1) -> str:
    """Return, for each tap of a 3x3 filter and each pixel in reading order, the share that the tap gives to the pixel.

    The table is [3, 3, H, W]. Rows are cut in nine shares, one for each tap: a number is nine times a row plus the tap.
    With `padding` 0 the pixels are those that the filter takes, [3, 3, H + 2, W + 2]: see `windows`.
    """
    layout = layout_of(b, level)
    pixels = _enlarged(b, layout.extent, 2 * (1 - padding))

    def coordinates(count: str) -> str:
        return b.node("Sub", _range(b, count), b.array(np.arange(3, dtype=np.int64)[:, None] - padding))  # [3, count]

    y = b.node("Unsqueeze", layout.row(b, coordinates(pixels.height), 0), b.ints(1, 3))
    x = b.node("Unsqueeze", layout.row(b, coordinates(pixels.width), 1), b.ints(0, 2))
    rows = b.node("Min", b.node("Add", y, x), layout.padding(b))
    tap = np.arange(9, dtype=np.int32).reshape(3, 3, 1, 1)
    return b.node("Add", b.node("Mul", rows, b.array(np.array(9, np.int32))), b.array(tap))


def overhang(b: Tiled, level: int) -> str:
    """Return the rows of a level that belong to tiles but to no pixel; the padding row ends them: [any, 1 or more]."""

    def make() -> str:
        own = layout_of(b, level)
        whole = Extent(*(b.node("Mul", count, b.ints(own.m)) for count in (own.down, own.across)))
        layout = Layout(own.m, whole, own.down, own.across, own.stride)
        height, width = own.extent.height, own.extent.width
        below = _rows(b, layout, _range(b, whole.height, height), _range(b, whole.width))
        right = _rows(b, layout, _range(b, height), _range(b, whole.width, width))
        return b.node("Concat", below, right, layout.padding(b), axis=0)

    return b.once(("overhang", level), make)


def _rows(b: Tiled, layout: Layout, ys: str, xs: str) -> str:
    """Return the rows of all pixels (y, x), y among `ys` and x among `xs`, in reading order."""
    y = b.node("Unsqueeze", layout.row(b, ys, 0), b.ints(1))
    return b.node("Reshape", b.node("Add", y, layout.row(b, xs, 1)), b.ints(-1))


def _range(b: Tiled, end: str, start: str | None = None) -> str:
    """Return start, ..., end - 1 for int64 [1] values; from 0 by default."""
    first = b.node("Squeeze", start) if start else b.array(np.array(0, np.int64))
    return b.node("Range", first, b.node("Squeeze", end), b.array(np.array(1, np.int64)))


def padding_only(b: Tiled, level: int, value: float) -> str:
    """Return [P + 1, 1]: 0 for every tile, and `value` for the one that does not exist."""

    def make() -> str:
        count = b.node("Sub", layout_of(b, level).stride, b.ints(1))
        zeros = b.node("Expand", b.array(np.zeros((1, 1), np.float32)), b.node("Concat", count, b.ints(1), axis=0))
        return b.node("Concat", zeros, b.array(np.full((1, 1), value, np.float32)), axis=0)

    return b.once(("padding", level, value), make)


def positions(b: Tiled, level: int) -> str:
    """Return M, the number of a level's pixels, as a float."""

    def make() -> str:
        size = extent(b, level)
        return b.node("Cast", b.node("Squeeze", b.node("Mul", size.height, size.width)), to=TensorProto.FLOAT)

    return b.once(("positions", level), make)


def strips(b: Tiled, level: int, table: str, axis: int) -> list[str]:
    """Cut a table or a map by tiles, along `axis`, into the level's number of strips; the last ones may be empty."""
    if b.tiling.strips[level] == 1:
        return [table]

    def cut() -> list[str]:
        return [b.node("Slice", table, *pair, b.ints(axis)) for pair in itertools.pairwise(_ends(b, level))]

    return b.once(("strips", table, level, axis), cut)


def strips_of_map(b: Tiled, level: int, x: str) -> list[str]:
    """Cut a map [places, P + 1, C] into the level's strips, as `strips` does along axis 1.

    It gathers tiles: onnxruntime divides a `Gather` among its threads, but not a `Slice`.
    """
    if b.tiling.strips[level] == 1:
        return [x]

    def numbers() -> list[str]:
        return [_range(b, end, start) for start, end in itertools.pairwise(_ends(b, level))]

    def cut() -> list[str]:
        return [b.node("Gather", x, tiles, axis=1) for tiles in b.once(("numbers of tiles", level), numbers)]

    return b.once(("strips of a map", x, level), cut)


def _ends(b: Tiled, level: int) -> list[str]:
    """Return the ends of strips of nearly equal width, after a 0 for the start of the first."""

    def make() -> list[str]:
        stride, width, most = layout_of(b, level).stride, b.tiling.widths[level], b.tiling.strips[level]
        wanted = b.node("Div", b.node("Add", stride, b.ints(width // 2)), b.ints(width))
        used = b.node("Max", b.node("Min", wanted, b.ints(most)), b.ints(1))
        full = (b.node("Min", used, b.ints(k)) for k in range(most + 1))
        return [b.node("Div", b.node("Mul", stride, k), used) for k in full]

    return b.once(("ends", level), make)
