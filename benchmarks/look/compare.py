"""Tables of measures, and paired sign tests between candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.look.measures import MEASURES
from benchmarks.report import table

#: Measures of one candidate: for each pair, each measure by name.
Measured = Sequence[Mapping[str, float]]


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of a sign test: the chance that a fair coin falls so unevenly; ties are left out."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(max(wins, losses), n + 1)) / 2.0**n
    return min(1.0, 2 * tail)


def wins_and_losses(ours: Measured, theirs: Measured, name: str) -> tuple[int, int]:
    """Return for how many pairs the first is better and worse than the second, by a measure."""
    sign = 1 if MEASURES[name].larger_is_better else -1
    differences = [sign * (a[name] - b[name]) for a, b in zip(ours, theirs, strict=True)]
    return sum(d > 0 for d in differences), sum(d < 0 for d in differences)


def medians(measured: Mapping[str, Measured]) -> str:
    """Return a table of the medians over pairs, and the largest step of a frame."""
    names = [*measured]
    rows = [("measure, median of pairs", *names)]
    for name, direction in MEASURES.items():
        values = [np.median([m[name] for m in measured[candidate]]) for candidate in names]
        better = "larger" if direction.larger_is_better else "smaller"
        rows.append((f"{direction.text} ({better} is better)", *(f"{value:.3g}" for value in values)))
    for name in ("frame", "beyond"):
        worst = [max(m[name] for m in measured[candidate]) for candidate in names]
        rows.append((f"{MEASURES[name].text}, the largest of all pairs", *(f"{value:.3g}" for value in worst)))
    seconds = [np.nanmedian([m.get("seconds", math.nan) for m in measured[candidate]]) for candidate in names]
    rows.append(("seconds", *(f"{value:.0f}" for value in seconds)))
    return table(rows)


def tests(measured: Mapping[str, Measured], against: str) -> str:
    """Return a table of sign tests: of each candidate and measure, better : worse than another candidate, and p."""
    others = [name for name in measured if name != against]
    rows = [(f"better : worse than {against}", *others)]
    for name, direction in MEASURES.items():
        cells = []
        for other in others:
            won, lost = wins_and_losses(measured[other], measured[against], name)
            cells.append(f"{won} : {lost}, p {sign_test(won, lost):.2g}")
        rows.append((direction.text, *cells))
    return table(rows)
