"""Tiles: cores cover a picture once, windows see far enough, and lie on the grid."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from impasto.runtime.engine.tiles import Tile, sides_of, tiles_of
from impasto.runtime.model.sums import Halo

GRIDS, TIMES = st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 7)
HALOS = st.builds(lambda grid, times, more: Halo(grid * times, grid * more), GRIDS, TIMES, TIMES)
LENGTHS, SIDES = st.integers(1, 700), st.integers(1, 300)


@given(LENGTHS, LENGTHS, SIDES, HALOS)
def test_cores_cover_every_pixel_once(height: int, width: int, side: int, halo: Halo) -> None:
    count = np.zeros((1, 1, height, width))
    for tile in tiles_of(height, width, side, halo):
        tile.of(count)[...] += tile.core()
    assert (count == 1).all()


@given(LENGTHS, LENGTHS, SIDES, HALOS)
def test_a_window_sees_the_halo_or_ends_with_the_picture(height: int, width: int, side: int, halo: Halo) -> None:
    for tile in tiles_of(height, width, side, halo):
        for span, length in ((tile.rows, height), (tile.columns, width)):
            assert span.start == 0 or span.core_start - span.start >= halo.width
            assert span.stop == length or span.stop - span.core_stop >= halo.width
            assert span.start % halo.stride == 0


@given(LENGTHS, LENGTHS, SIDES, HALOS)
def test_windows_are_of_one_size_or_of_four_at_most(height: int, width: int, side: int, halo: Halo) -> None:
    shapes = {tile.shape for tile in tiles_of(height, width, side, halo)}
    assert len(shapes) <= (1 if halo.stride <= 32 else 4)


@given(LENGTHS, LENGTHS, st.sampled_from([Halo(80, 16), Halo(80, 192)]))
@example(700, 700, Halo(80, 192))
def test_the_sides_are_all_that_make_different_tiles_and_no_larger_than_they_need_to_be(
    height: int, width: int, halo: Halo
) -> None:
    least: dict[tuple[Tile, ...], int] = {}
    for side in range(halo.stride, max(height, width) + halo.stride, halo.stride):
        least.setdefault(tiles_of(height, width, side, halo), side)
    several = {side for tiles, side in least.items() if len(tiles) > 1}
    assert sides_of(height, width, halo) == tuple(sorted(several, reverse=True))


def test_without_a_side_there_is_one_tile_of_all() -> None:
    (tile,) = tiles_of(700, 500, None, Halo(80, 16))
    assert tile.shape == (700, 500)
    assert tile.core().all()


def test_outer_cores_are_larger_by_the_halo_that_they_do_not_need() -> None:
    tiles = tiles_of(80 + 3 * 256 + 80, 256, 256, Halo(80, 16))
    assert [(tile.rows.core_start, tile.rows.core_stop) for tile in tiles] == [(0, 336), (336, 592), (592, 928)]
    assert {tile.shape for tile in tiles} == {(416, 256)}
