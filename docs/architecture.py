"""Draw docs/architecture.svg, the rooms and who imports whom, and write the table of the rooms in docs/architecture.md.

Run it from the repository's root: ``python -m docs.architecture`` (or ``make pictures``). All is read from the code.

A room is drawn in a layer above all that it imports. Arrows that follow from others are left out: where A imports B,
and B imports C, A may import C, too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum
from pathlib import Path
from xml.sax.saxutils import escape

from docs.rooms import House, Room, read_house

DRAWING = Path(__file__).with_suffix(".svg")
PAGE = Path(__file__).with_suffix(".md")

#: Where the table begins and ends in the page.
BEGIN, END = "<!-- rooms: written by python -m docs.architecture -->\n", "<!-- end of rooms -->\n"

PAPER, INK, MUTED, LINE = "#fcfbf8", "#25272c", "#565b63", "#8a8f98"
FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
FRAMES = {"cli": "#e7eef6", "export": "#f6ece2", "runtime": "#e8f1e8"}

#: Pixels: of text, within boxes, between boxes and between layers.
TITLE, SMALL, PADDING, GAP, BETWEEN, MARGIN = 15, 12, 8, 20, 30, 20
CHARACTERS = 32  # of a line within a box
SWEEPS = 8

LEGEND = (
    "An arrow points from a room to one that it imports.",
    "Arrows that follow from others are left out.",
    "Below a room's name stand its modules.",
)


@dataclass(eq=False)
class Node:
    """A room in its layer; or, without a room, the place where an arrow passes through a layer.

    `x` is its middle, `y` its upper edge, `floor` the lower edge of the layer.
    """

    layer: int
    left: bool
    room: Room | None = None
    x: float = 0.0
    y: float = 0.0
    floor: float = 0.0
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The names of the modules, in lines."""
        names = [name for name in self.room.modules if name != "__init__"] if self.room else []
        return textwrap.wrap("  ".join(names), CHARACTERS, break_long_words=False, break_on_hyphens=False)

    @property
    def width(self) -> float:
        """How wide it is, for letters of ordinary width."""
        if self.room is None:
            return 4.0
        title = len(self.room.name) * TITLE * 0.56
        return round(max(title, *(len(line) * SMALL * 0.52 for line in ("", *self.lines)))) + 2 * PADDING

    @property
    def height(self) -> float:
        """How high it is."""
        return 2 * PADDING + TITLE + 3 + len(self.lines) * (SMALL + 3) if self.room else 0.0


# --- layout ---------------------------------------------------------------------------------------------------


def layers_of(house: House) -> dict[str, int]:
    """Return each room's layer, from the lowest: above all that it imports, and right below who imports it first."""
    layers: dict[str, int] = {}
    for name in house.order:
        layers[name] = 1 + max((layers[used] for used in house.nearest(name)), default=-1)
    for name in reversed(house.order):
        users = [layers[user] for user in house.rooms if name in house.nearest(user)]
        if users and not house.nearest(name):
            layers[name] = min(users) - 1
    return layers


def arranged(house: House) -> list[Node]:
    """Return the rooms, and where arrows pass between them, in their places."""
    layers = layers_of(house)
    nodes = {name: Node(layers[name], room.package == "export", room) for name, room in sorted(house.rooms.items())}
    passages: list[Node] = []
    for name, user in nodes.items():
        for used in house.nearest(name):
            passages += _connected(user, nodes[used])
    all_nodes = [*nodes.values(), *passages]
    rows = [[node for node in all_nodes if node.layer == layer] for layer in range(1 + max(layers.values()))]
    sides = [[[node for node in row if node.left == left] for row in rows] for left in (True, False)]
    start = float(MARGIN)
    for side in sides:
        _place_across(side)
        least = min(node.x - node.width / 2 for row in side for node in row)
        for row in side:
            for node in row:
                node.x += start - least
        start = GAP * 2 + max(node.x + node.width / 2 for row in side for node in row)
    _place_down(rows)
    return all_nodes


def _connected(user: Node, used: Node) -> list[Node]:
    """Connect two nodes through every layer between them; return the passages there."""
    passages = [Node(layer, used.left) for layer in range(user.layer - 1, used.layer, -1)]
    chain = [user, *passages, used]
    for above, below in pairwise(chain):
        above.below.append(below)
        below.above.append(above)
    return passages


def _place_across(rows: list[list[Node]]) -> None:
    """Order every layer so that arrows cross little, and place each node near its neighbours."""
    for row in rows:
        _spread(row)
    for sweep in range(SWEEPS * 2):
        for row in rows if sweep % 2 else reversed(rows):
            for node in row:
                node.x = _wish(node)
            if sweep < SWEEPS:
                row.sort(key=lambda node: node.x)
            _spread(row)


def _wish(node: Node) -> float:
    """Return the mean of where its neighbours on the same side are."""
    beside = [other.x for other in (*node.above, *node.below) if other.left == node.left]
    return _mean(beside) if beside else node.x


def _spread(row: list[Node]) -> None:
    """Move nodes apart that are too close, in their order and as little as can be."""
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + (one.width + other.width) / 2 + GAP)
    blocks: list[list[float]] = []  # wishes, less the offsets, must not fall from left to right
    for node, offset in zip(row, offsets, strict=False):
        blocks.append([node.x - offset])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places = [_mean(block) for block in blocks for _ in block]
    for node, offset, place in zip(row, offsets, places, strict=False):
        node.x = place + offset


def _mean(numbers: list[float]) -> float:
    return fsum(numbers) / len(numbers)  # the same in every version of Python


def _place_down(rows: list[list[Node]]) -> None:
    y = float(MARGIN)
    for row in reversed(rows):
        height = max(node.height for node in row)
        for node in row:
            node.y, node.floor = y, y + height
        y += height + BETWEEN


# --- drawing --------------------------------------------------------------------------------------------------


def draw(house: House) -> str:
    """Return the drawing as SVG."""
    nodes = arranged(house)
    width = round(max(node.x + node.width / 2 for node in nodes)) + MARGIN
    height = round(max(node.floor for node in nodes)) + MARGIN
    elements = [
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *(_frame(name, fill, nodes) for name, fill in FRAMES.items()),
        *(_arrow(above, below) for above in nodes for below in above.below),
        *(element for node in nodes if node.room for element in _box(node, node.room)),
        *(_text(MARGIN, MARGIN + (SMALL + 4) * k, line, SMALL, MUTED) for k, line in enumerate(LEGEND, 1)),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    tip = f'<path d="M0 0 L9 3.5 L0 7 Z" fill="{LINE}"/>'
    size = 'markerWidth="9" markerHeight="7" refX="8" refY="3.5" markerUnits="userSpaceOnUse"'
    marker = f'<marker id="tip" {size} orient="auto">{tip}</marker>'
    title = "<title>The rooms of impasto: an arrow points from a room to one that it imports</title>"
    body = "\n".join(elements)
    return f'{head} font-family="{FONT}">\n{title}\n<defs>{marker}</defs>\n{body}\n</svg>\n'


def _frame(package: str, fill: str, nodes: Iterable[Node]) -> str:
    """Draw what lies behind the rooms of a package."""
    own = [node for node in nodes if node.room and node.room.package == package]
    x, y = (min(low) - 12 for low in zip(*((n.x - n.width / 2, n.y) for n in own), strict=True))
    right, bottom = (max(high) + 12 for high in zip(*((n.x + n.width / 2, n.y + n.height) for n in own), strict=True))
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{right - x:.0f}" height="{bottom - y:.0f}" rx="10" fill="{fill}"/>'


def _arrow(above: Node, below: Node) -> str:
    """Draw an arrow, or the part of one between two layers."""
    x, to = _end(above, below, above.below), _end(below, above, below.above)
    middle = (above.floor + below.y) / 2
    path = f"M{x:.1f} {above.y + above.height:.1f} V{above.floor:.1f}"
    path += f" C{x:.1f} {middle:.1f} {to:.1f} {middle:.1f} {to:.1f} {below.y:.1f}"
    tip = ' marker-end="url(#tip)"' if below.room else ""
    return f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.4"{tip}/>'


def _end(node: Node, other: Node, others: list[Node]) -> float:
    """Return where on a node's edge an arrow ends: those of one edge are spread over a part of it."""
    ordered = sorted(others, key=lambda one: one.x)
    step = node.width / (len(ordered) + 1)
    return node.x + (ordered.index(other) - (len(ordered) - 1) / 2) * step * 0.8


def _box(node: Node, room: Room) -> Iterable[str]:
    left, top = node.x - node.width / 2, node.y
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{node.width:.0f}" height="{node.height:.0f}" rx="6" '
        f'fill="#ffffff" stroke="{LINE}"/>'
    )
    baseline = top + PADDING + TITLE - 3
    yield _text(left + PADDING, baseline, room.name, TITLE, INK, ' font-weight="bold"')
    for number, line in enumerate(node.lines, 1):
        yield _text(left + PADDING, baseline + 3 + number * (SMALL + 3), line, SMALL, MUTED)


def _text(x: float, y: float, text: str, size: int, fill: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"'
    return f'<text {place} xml:space="preserve"{more}>{escape(text)}</text>'


# --- the page -------------------------------------------------------------------------------------------------


def table(house: House) -> str:
    """Return the table of the rooms, from the command line down."""
    rows = [
        f"| {_linked(house.rooms[name])} | {_plain(house.rooms[name].text)} | {_names(house, name)} |"
        for name in _down(house)
    ]
    return "\n".join(("| room | what is in it | imports |", "|---|---|---|", *rows)) + "\n"


def _down(house: House) -> list[str]:
    layers = layers_of(house)
    return sorted(house.rooms, key=lambda name: (-layers[name], name))


def _linked(room: Room) -> str:
    return f"[{room.name}](../{room.name})" if "/" in room.name else room.name


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _names(house: House, name: str) -> str:
    return ", ".join(house.nearest(name)) or "none"


def page(house: House, text: str) -> str:
    """Return the page with the table written anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(house)}\n{END}{rest.partition(END)[2]}"


def files(house: House) -> Mapping[Path, str]:
    """Return what is written, by file."""
    return {DRAWING: draw(house), PAGE: page(house, PAGE.read_text("utf-8"))}


def main() -> None:
    """Write both."""
    for path, text in files(read_house()).items():
        path.write_text(text, "utf-8", newline="\n")
        print(path)


if __name__ == "__main__":
    main()
