"""The page's modules by themselves, compared with independent computations; they run in a real browser."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from impasto.runtime import stylize

if TYPE_CHECKING:
    from playwright.sync_api import Page

Cells = NDArray[np.int64]


@pytest.fixture
def edge() -> NDArray[np.uint8]:
    """RGBA pixels: two flat areas, an edge between them, and specks."""
    picture = np.full((30, 40, 4), 255, np.uint8)
    picture[:, :20, :3] = (40, 80, 160)
    picture[:, 20:, :3] = (200, 180, 60)
    picture[5, 5, :3] = 0  # a hole so small that it is filled
    picture[12:24, 6:16, :3] = 90  # one that is not
    return picture


def masked(page: Page, shape: tuple[int, int], work: str, argument: Any = None) -> Cells:
    """Return a mask's cells after some work on it, in JavaScript: `mask` is the mask, and `given` the argument."""
    height, width = shape
    cells: list[int] = page.evaluate(
        f"""async ([width, height, given]) => {{
            const {{ Mask }} = await import("/raster.js");
            const mask = new Mask(width, height);
            {work};
            return [...mask.cells];
        }}""",
        [width, height, argument],
    )
    return np.array(cells).reshape(shape)


@pytest.mark.parametrize(
    ("start", "end", "radius"), [((5, 6), (30, 20), 4), ((10.5, 10.5), (10.5, 10.5), 3), ((-3, 2), (60, 2), 2.5)]
)
def test_a_stroke_covers_the_pixels_that_are_near_its_line(
    page: Page, start: tuple[float, float], end: tuple[float, float], radius: float
) -> None:
    shape = (30, 40)
    points = [dict(zip("xy", point, strict=True)) for point in (start, end)]
    found = masked(page, shape, "mask.stroke(given[0], given[1], given[2], 3)", [*points, radius])

    centres = np.stack(np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5), -1)
    along = np.linspace(0, 1, 20_001)[:, None] * np.subtract(end, start) + start
    line = np.unique(along.round(3), axis=0)
    distance = np.min(
        np.hypot(*(centres[:, :, None] - line[None, None, :: max(1, len(line) // 2000)]).transpose(3, 0, 1, 2)), -1
    )
    sure = abs(distance - radius) > 0.02
    np.testing.assert_array_equal(found[sure], np.where(distance <= radius, 3, 0)[sure])
    assert (found == 3).any()


@pytest.mark.parametrize("at", [(2, 2), (35, 10), (10, 15)])
def test_a_fill_takes_what_is_joined_and_alike_and_small_holes_in_it(
    page: Page, edge: NDArray[np.uint8], at: tuple[int, int]
) -> None:
    x, y = at
    given = [{"x": x + 0.5, "y": y + 0.5}, edge.ravel().tolist()]
    found = masked(page, edge.shape[:2], "mask.fill(given[0], given[1], 20, 5)", given)

    alike = (abs(edge[..., :3].astype(int) - edge[y, x, :3].astype(int)) <= 20).all(-1)
    areas, _ = ndimage.label(alike)
    area = areas == areas[y, x]
    holes, number = ndimage.label(~area)
    for hole in range(1, number + 1):
        if (holes == hole).sum() <= np.ceil(area.size / 1000):
            area |= holes == hole
    np.testing.assert_array_equal(found, np.where(area, 5, 0))


def test_a_fill_stays_within_its_region(page: Page, edge: NDArray[np.uint8]) -> None:
    work = "mask.cells.fill(2, 0, 400); mask.fill(given[0], given[1], 255, 5)"
    found = masked(page, edge.shape[:2], work, [{"x": 20, "y": 20}, edge.ravel().tolist()])
    assert (found[:10] == 2).all() and (found[10:] == 5).all()


def test_losses_are_drawn_as_the_shares_that_the_runtime_reports(page: Page, small_model: Path) -> None:
    rng = np.random.default_rng(1)
    content, style = (rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(2))
    steps: list[dict[str, Any]] = []

    def note(step: Any) -> None:
        steps.append({name: value for name, value in asdict(step).items() if name != "view"})

    stylize(
        content,
        style,
        model=small_model,
        recipe="small",
        stages=2,
        evaluations=20,
        device="cpu",
        callback=note,
        progress=False,
    )
    points = page.evaluate(
        """async (steps) => {
            const { Losses } = await import("/plot.js");
            const losses = new Losses();
            for (const step of steps) losses.add(step);
            return losses.points;
        }""",
        steps,
    )
    shares = {step["evaluation"]: step["share"] for step in steps}
    assert {point["stage"] for point in points} == {1, 2}
    for point in points:
        assert point["all"] == pytest.approx(shares[point["evaluation"]], rel=1e-6)
        assert sum(point["terms"].values()) == pytest.approx(point["all"], rel=1e-4)
