"""The graphs of an optimiser on the device compute steps, slopes and the history, within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from impasto.runtime.engine.algebra import Algebra
from impasto.runtime.engine.placement import Placement
from impasto.runtime.engine.session import download
from impasto.runtime.model.folder import ModelFolder

SHAPE = (1, 3, 9, 11)

BOX = (-1.0, 1.5)


@pytest.fixture(scope="module")
def algebra(model: Path) -> Algebra:
    return Algebra.open(ModelFolder.open(model), Placement("cpu"))


@pytest.mark.parametrize("unit", [0.5, 4.0])
def test_the_history_has_the_step_that_the_bounds_have_left(algebra: Algebra, unit: float) -> None:
    rng = np.random.default_rng(0)
    point, direction, gradient, previous = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    point = point.clip(*BOX)
    rows, spare = algebra.upload(np.zeros((2, *SHAPE[1:]), np.float32)), algebra.allocate((2, *SHAPE[1:]))
    on, along, moved = algebra.upload(point), algebra.upload(direction), algebra.allocate(SHAPE)
    box = algebra.box(BOX)
    algebra.step(on, along, 0.75 * unit, box, moved)
    gradients = (algebra.upload(gradient), algebra.upload(previous))
    room = algebra.allocate((2, 2))
    products = algebra.remember(rows, (0.75, along), gradients, 1.0, (moved, on), unit, box, spare, room)
    expected = (point + 0.75 * unit * direction).clip(*BOX)
    np.testing.assert_allclose(download(moved), expected, rtol=1e-6, atol=1e-6)
    (s, y), held = download(spare), np.zeros(SHAPE, bool)
    np.testing.assert_allclose(s[None], (expected - point) / unit, rtol=1e-5, atol=1e-6)
    held |= (expected <= BOX[0]) & (gradient > 0)
    held |= (expected >= BOX[1]) & (gradient < 0)
    assert held.any()
    inner = [
        [float(np.vdot(row[None], x)) for x in (np.where(held, 0, gradient), gradient - previous)] for row in (s, y)
    ]
    np.testing.assert_allclose(products, inner, rtol=1e-4, atol=1e-4)


def test_an_operation_keeps_to_its_own_bounds_whatever_those_of_others_are(algebra: Algebra) -> None:
    point, direction = np.zeros(SHAPE, np.float32), np.linspace(-4, 4, 297, dtype=np.float32).reshape(SHAPE)
    bounds = [BOX, None, (0.0, 2.0)]
    moved = [algebra.allocate(SHAPE) for _ in bounds]
    boxes = [algebra.box(pair) for pair in bounds]
    for box, room in zip(boxes, moved, strict=True):
        algebra.step(algebra.upload(point), algebra.upload(direction), 1.0, box, room)
    for pair, room in zip(bounds, moved, strict=True):
        np.testing.assert_array_equal(download(room), direction.clip(*pair) if pair else direction)


@pytest.mark.parametrize("m", [1, 3])
def test_the_oldest_pair_makes_room_for_a_new_one(algebra: Algebra, m: int) -> None:
    rng = np.random.default_rng(m)
    expected = np.zeros((2 * m, *SHAPE[1:]), np.float32)
    box = algebra.box(None)
    rows, spare = algebra.upload(expected), algebra.allocate(expected.shape)
    for _ in range(m + 2):
        direction, gradient, previous = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(3))
        products = algebra.remember(
            rows,
            (0.5, algebra.upload(direction)),
            (algebra.upload(gradient), algebra.upload(previous)),
            0.25,
            (algebra.upload(np.zeros(SHAPE, np.float32)),) * 2,
            1.0,
            box,
            spare,
            algebra.allocate((2 * m, 2)),
        )
        rows, spare = spare, rows
        s, y = 0.5 * direction, 0.25 * (gradient - previous)
        expected = np.concatenate([expected[1:m], s, expected[m + 1 :], y])
        np.testing.assert_allclose(download(rows), expected, rtol=1e-6)
        inner = [[float(np.vdot(row, x)) for x in (0.25 * gradient, y)] for row in expected]
        np.testing.assert_allclose(products, inner, rtol=1e-4, atol=1e-4)
