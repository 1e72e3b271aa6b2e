"""A line chart with a logarithmic axis, drawn with Pillow: that much needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

#: Drawn so many times as large, then made smaller: that smoothes the lines.
_FINER = 3

_PAPER, _INK, _FAINT, _GRID = "#ffffff", "#22252a", "#6b7078", "#e6e8eb"

#: In pixels: around the plot area, of a text, and the least distance between the names at the lines' ends.
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 190, 66, 62
_TEXT, _TITLE, _APART = 15, 19, 19


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name
        What stands at its end.
    paths
        Its pieces, one or more, each of (x, y), x rising, y positive; between them is nothing.
    color
        As Pillow takes it.
    width
        In pixels.
    dots
        More points, marked lightly, which the line does not go through.
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
    """A place on the x axis, and what begins there."""

    x: float
    name: str


def draw(
    lines: Sequence[Line],
    *,
    title: str,
    x_name: str,
    marks: Sequence[Mark] = (),
    note: str = "",
    size: tuple[int, int] = (1200, 720),
    decades: float = 7.0,
) -> Image.Image:
    """Draw lines against a logarithmic y axis.

    Parameters
    ----------
    title, x_name
        What stands above the chart, and below its x axis.
    marks
        Vertical lines with names, such as where the stages of a run begin.
    note
        What else is to be said; it stands beside the title.
    size
        Of the picture, in pixels.
    decades
        The y axis reaches no more powers of ten than this below the highest point; what is lower is cut off.
    """
    chart = _Chart(lines, size, decades)
    chart.grid(x_name)
    chart.marks(marks)
    for line in lines:
        chart.line(line)
    image = chart.image.resize(size, Image.Resampling.LANCZOS)
    _Texts(image, chart).write(title, note, x_name, marks, lines)
    return image


class _Chart:
    """The drawing, `_FINER` times as large, and where a value lies in it (in pixels of the result)."""

    def __init__(self, lines: Sequence[Line], size: tuple[int, int], decades: float) -> None:
        points = [point for line in lines for path in line.paths for point in path]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.width, self.height = size
        self.x_range = (min(xs), max(max(xs), min(xs) + 1))
        high = math.log10(max(ys))
        low = max(math.log10(min(ys)), high - decades)
        room = max(0.04 * (high - low), 0.02)
        self.y_range = (low - room, high + room)
        self.image = Image.new("RGB", (self.width * _FINER, self.height * _FINER), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def x(self, value: float) -> float:
        """Return where a value of x is."""
        first, last = self.x_range
        return _LEFT + (value - first) / (last - first) * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return where a value of y is, or the lower end of the axis is."""
        low, high = self.y_range
        share = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
        return self.height - _BOTTOM - max(0.0, share) * (self.height - _TOP - _BOTTOM)

    def x_ticks(self) -> list[float]:
        """Return round numbers along the x axis."""
        first, last = self.x_range
        step = _round_step((last - first) / 8)
        return [k * step for k in range(math.ceil(first / step), math.floor(last / step) + 1)]

    def y_ticks(self) -> list[float]:
        """Return round numbers along the y axis: powers of ten, and 2 and 5 times these, or still more, where few."""
        low, high = (10**end for end in self.y_range)
        powers = range(math.floor(self.y_range[0]), math.ceil(self.y_range[1]) + 1)
        for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
            ticks = [factor * 10.0**power for power in powers for factor in factors]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) >= 4:
                return ticks
        step = _round_step((high - low) / 5)
        return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1) if k * step > 0]

    def grid(self, x_name: str) -> None:
        """Draw the ticks' lines, and the x axis."""
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        for tick in self.y_ticks():
            self._path([(_LEFT, self.y(tick)), (right, self.y(tick))], _GRID, 1)
        for tick in self.x_ticks():
            self._path([(self.x(tick), bottom), (self.x(tick), bottom + 5)], _FAINT, 1)
        self._path([(_LEFT, bottom), (right, bottom)], _FAINT, 1)

    def marks(self, marks: Sequence[Mark]) -> None:
        """Draw dashed lines where something begins."""
        for mark in marks:
            if mark.x <= self.x_range[0]:
                continue  # nothing lies before
            top, bottom, x = _TOP - 18, self.height - _BOTTOM, self.x(mark.x)
            for y in range(top, bottom, 9):
                self._path([(x, y), (x, min(y + 5, bottom))], _FAINT, 1)

    def line(self, line: Line) -> None:
        """Draw a line, those of its dots that lie in the chart, and a pale one from its end to its name."""
        for x, y in line.dots:
            if _TOP <= self.y(y) < self.height - _BOTTOM:
                self._dot(self.x(x), self.y(y), 1.6, _mixed(line.color, 0.45))
        right, end = self.width - _RIGHT, self.y(line.end[1])
        self._path([(self.x(line.end[0]), end), (right, end)], _mixed(line.color, 0.3), 1)
        for points in line.paths:
            path = [(self.x(x), self.y(y)) for x, y in points]
            self._path(path, line.color, line.width)
            for x, y in path[:1] + path[-1:]:  # round ends; and a path of one point is one
                self._dot(x, y, line.width / 2 if len(path) > 1 else line.width, line.color)

    def _path(self, path: Sequence[tuple[float, float]], color: str, width: float) -> None:
        points = [(x * _FINER, y * _FINER) for x, y in path]
        self._draw.line(points, color, round(width * _FINER), joint="curve")

    def _dot(self, x: float, y: float, radius: float, color: str) -> None:
        box = [(v + s * radius) * _FINER for s in (-1, 1) for v in (x, y)]
        self._draw.ellipse(box, color)


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that is at least so much; for counts, 1 or more."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * (1 - 1e-9))


def _mixed(color: str, share: float) -> str:
    """Return a colour mixed with the paper."""
    levels = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + share * (level - 255)):02x}" for level in levels)


class _Texts:
    """The texts, drawn on the finished lines: letters are smooth as they are."""

    def __init__(self, image: Image.Image, chart: _Chart) -> None:
        self._draw, self._chart = ImageDraw.Draw(image), chart
        self._font, self._large = ImageFont.load_default(_TEXT), ImageFont.load_default(_TITLE)

    def write(self, title: str, note: str, x_name: str, marks: Sequence[Mark], lines: Sequence[Line]) -> None:
        """Write all there is to be read."""
        chart = self._chart
        bottom, middle = chart.height - _BOTTOM, (_LEFT + chart.width - _RIGHT) / 2
        edge = chart.width - 16
        self._draw.text((edge, 34), note, _FAINT, self._font, anchor="rb")
        room = edge - _LEFT - self._draw.textlength(note, self._font) - 24
        self._draw.text((_LEFT, 34), self._fit(title, room, self._large), _INK, self._large, anchor="lb")
        for tick in chart.y_ticks():
            self._draw.text((_LEFT - 10, chart.y(tick)), f"{tick:.4g}", _FAINT, self._font, anchor="rm")
        for tick in chart.x_ticks():
            self._draw.text((chart.x(tick), bottom + 10), f"{tick:g}", _FAINT, self._font, anchor="mt")
        self._draw.text((middle, chart.height - 14), x_name, _FAINT, self._font, anchor="mb")
        for mark in marks:
            self._draw.text((chart.x(mark.x) + 6, _TOP - 20), mark.name, _FAINT, self._font)
        self._names(lines)

    def _names(self, lines: Sequence[Line]) -> None:
        """Write each line's name at its end; where several end close together, one below the other."""
        chart = self._chart
        ends = sorted((chart.y(line.end[1]), k) for k, line in enumerate(lines))
        places = spread([y for y, _ in ends], _APART, _TOP, chart.height - _BOTTOM)
        x = chart.width - _RIGHT + 10
        for (_, k), y in zip(ends, places, strict=True):
            self._draw.text(
                (x, y), self._fit(lines[k].name, _RIGHT - 16, self._font), lines[k].color, self._font, anchor="lm"
            )

    def _fit(self, text: str, width: float, font: Font) -> str:
        """Return as much of a text as there is room for."""
        if self._draw.textlength(text, font) <= width:
            return text
        while text and self._draw.textlength(f"{text}...", font) > width:
            text = text[:-1]
        return f"{text}..."


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return places near the wanted ones, which rise, at least so far apart; between `low` and `high` if they fit."""
    groups: list[tuple[float, int]] = []  # the middle of a group, and how many are in it

    def add(middle: float, count: int) -> None:
        reach = apart * (count - 1) / 2
        groups.append((max(min(middle, high - reach), low + reach), count))

    for place in wanted:
        add(place, 1)
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < apart * (groups[-1][1] + groups[-2][1]) / 2:
            (b, m), (a, n) = groups.pop(), groups.pop()
            add((a * n + b * m) / (n + m), n + m)
    return [middle + apart * (k - (count - 1) / 2) for middle, count in groups for k in range(count)]
