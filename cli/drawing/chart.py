"""A line chart with a logarithmic axis, drawn by matplotlib. Only code that draws one imports this module."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

_INK, _FAINT, _GRID = "#22252a", "#6b7078", "#e6e8eb"

#: In pixels: the picture, its margins around the plot area, and the least distance between the names of lines.
_WIDTH, _HEIGHT = 1200, 720
_LEFT, _RIGHT, _TOP, _BOTTOM, _APART = 86, 190, 66, 62, 20

#: The y axis reaches at most so many powers of ten below the highest point; lines that are lower run along its end.
_DECADES = 7

#: The most characters of a line's name, and of a title.
_NAME, _TITLE = 20, 34

#: matplotlib gives sizes of letters and lines in points, 1/72 of an inch: here a point is two pixels.
_DPI = 144

_STYLE = {
    "font.size": 7.5,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _FAINT,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "ytick.major.size": 0,
    "grid.color": _GRID,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,  # names of files are no formulas
}


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name
        The text at its end.
    paths
        Its pieces, at least one. Each has points (x, y), x rising, y positive. Between two pieces there is a gap.
    color
        A colour of matplotlib.
    width
        In pixels.
    dots
        More points, drawn pale, which the line does not go through.
    """

    name: str
    paths: Sequence[Sequence[tuple[float, float]]]
    color: str
    width: float = 2.0
    dots: Sequence[tuple[float, float]] = ()

    @property
    def end(self) -> tuple[float, float]:
        """The last point."""
        return self.paths[-1][-1]


@dataclass(frozen=True)
class Mark:
    """A position on the x axis, and its name."""

    x: float
    name: str


def draw(lines: Sequence[Line], *, title: str, x_name: str, marks: Sequence[Mark] = (), note: str = "") -> Image.Image:
    """Draw lines against a logarithmic y axis.

    Parameters
    ----------
    title, x_name
        The texts above the chart, and below its x axis.
    marks
        Vertical lines with names, such as where the stages of a run begin.
    note
        A text beside the title.
    """
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font lacks the characters of some names
        figure = Figure((_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI)
        x_unit, y_unit = 1 / _WIDTH, 1 / _HEIGHT
        axes = figure.add_axes(
            (_LEFT * x_unit, _BOTTOM * y_unit, 1 - (_LEFT + _RIGHT) * x_unit, 1 - (_TOP + _BOTTOM) * y_unit)
        )
        upper = 1 - 34 * y_unit
        figure.text(_LEFT * x_unit, upper, _shortened(title, _TITLE), color=_INK, size=9.5)
        figure.text(1 - 16 * x_unit, upper, note, color=_FAINT, ha="right")
        _set_axes(axes, lines, x_name)
        _draw_marks(axes, marks)
        for line in lines:
            _draw_line(axes, line)
        _write_names(axes, lines)
        pixels = io.BytesIO()
        figure.savefig(pixels, format="rgba")
    return Image.frombytes("RGBA", (_WIDTH, _HEIGHT), pixels.getvalue()).convert("RGB")


def _set_axes(axes: Axes, lines: Sequence[Line], x_name: str) -> None:
    """Set the ranges of the axes, for all points of the lines but those far below the highest."""
    xs, ys = zip(*(point for line in lines for path in line.paths for point in path), strict=True)
    axes.set_xlim(min(xs), max(max(xs), min(xs) + 1))
    axes.set_xlabel(x_name)
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True))
    high = math.log10(max(ys))
    low = max(math.log10(min(ys)), high - _DECADES)
    room = max(0.04 * (high - low), 0.02)
    axes.set_yscale("log")
    axes.set_ylim(10 ** (low - room), 10 ** (high + room))
    if high - low < 1:
        axes.yaxis.set_major_locator(MaxNLocator(8))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 3 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _draw_marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """Draw a dashed line with a name for each mark; at the left end, the name alone."""
    for mark in marks:
        if mark.x > axes.get_xlim()[0]:
            axes.axvline(mark.x, 0, 1.03, color=_FAINT, linewidth=_points(1), linestyle=(0, (5, 4)), clip_on=False)
        coordinates = axes.get_xaxis_transform()
        axes.annotate(mark.name, (mark.x, 1), (3, 3), coordinates, "offset points", color=_FAINT, annotation_clip=False)


def _draw_line(axes: Axes, line: Line) -> None:
    """Draw the pieces of a line, and its dots. Points below the x axis are drawn on it."""
    lowest = axes.get_ylim()[0]
    if line.dots:
        axes.plot(*zip(*line.dots, strict=True), ".", color=line.color, alpha=0.45, markersize=_points(5))
    for path in line.paths:
        xs, ys = zip(*((x, max(y, lowest)) for x, y in path), strict=True)
        axes.plot(xs, ys, color=line.color, linewidth=_points(line.width), zorder=3, clip_on=False)
        if len(path) == 1:
            axes.plot(xs, ys, "o", color=line.color, markersize=_points(2 * line.width), zorder=3, clip_on=False)


def _write_names(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each line's name beside its end, with a pale line to it. Names that would overlap are moved apart."""
    lowest, right = axes.get_ylim()[0], _WIDTH - _RIGHT + 14
    ends = [(x, max(y, lowest)) for x, y in (line.end for line in lines)]
    heights = axes.transData.transform(ends)[:, 1].tolist()
    order = sorted(range(len(lines)), key=heights.__getitem__)
    for k, y in zip(order, spread([heights[k] for k in order], _APART, _BOTTOM, _HEIGHT - _TOP), strict=True):
        axes.annotate(
            _shortened(lines[k].name, _NAME), ends[k], (right, y), textcoords="figure pixels", color=lines[k].color,
            va="center", annotation_clip=False, arrowprops={
                "arrowstyle": "-", "color": lines[k].color, "alpha": 0.6, "linewidth": _points(1), "shrinkA": 2,
                "shrinkB": 0, "relpos": (0, 0.5),
            },
        )  # fmt: skip


def _points(pixels: float) -> float:
    return pixels * 72 / _DPI


def _shortened(text: str, most: int) -> str:
    """Return a text, cut to so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, which rise: at least so far apart, and in `low`..`high` if they fit."""
    groups: list[tuple[float, int]] = []  # the middle of a group, and its size

    def add(middle: float, count: int) -> None:
        reach = apart * (count - 1) / 2
        groups.append((max(min(middle, high - reach), low + reach), count))

    for position in wanted:
        add(position, 1)
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < apart * (groups[-1][1] + groups[-2][1]) / 2:
            (b, m), (a, n) = groups.pop(), groups.pop()
            add((a * n + b * m) / (n + m), n + m)
    return [middle + apart * (k - (count - 1) / 2) for middle, count in groups for k in range(count)]
