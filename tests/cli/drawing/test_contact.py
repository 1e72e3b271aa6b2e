from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from impasto.cli.drawing.contact import EMPTY, PAPER, Label, contact_sheet

RED, GREEN, BLUE, BLACK = "#ff0000", "#00ff00", "#0000ff", "#000000"


def plain(colour: str, width: int = 100, height: int = 100) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def area(sheet: Image.Image, colour: str) -> tuple[int, int, int, int] | None:
    """Return the box (left, upper, right, lower) of all pixels of a colour; they must fill it."""
    found = (np.asarray(sheet) == ImageColor.getrgb(colour)).all(axis=-1)
    if not found.any():
        return None
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    assert found[box[1] : box[3], box[0] : box[2]].all()
    return box


def test_pictures_stand_in_their_rows_and_columns_with_heads_beside_and_above() -> None:
    rows = [Label(("photo",), (plain(RED, 50, 50),))]
    columns = [Label(("one",), (plain(GREEN, 60, 30),)), Label(("two",))]
    sheet = contact_sheet(rows, columns, [[plain(BLUE), plain(BLACK)]], 100)
    head, top, one, two = (area(sheet, colour) for colour in (RED, GREEN, BLUE, BLACK))
    assert head and top and one and two
    assert (one[2] - one[0], one[3] - one[1]) == (two[2] - two[0], two[3] - two[1]) == (100, 100)
    assert one[1] == two[1]
    assert one[2] < two[0]
    assert head[2] < one[0]
    assert one[1] <= head[1] < head[3] <= one[3]
    assert top[3] < one[1]
    assert one[0] <= top[0] < top[2] <= one[2]


def test_what_is_not_there_is_left_empty() -> None:
    sheet = contact_sheet([Label(("row",))], [Label(("a",)), Label(("b",))], [[plain(BLUE, 64, 48), None]], 64)
    box = area(sheet, EMPTY)
    assert box
    assert box[2] - box[0] == 64
    assert area(sheet, BLUE)


def test_two_pictures_at_a_head_share_its_width() -> None:
    label = Label(("photo x painting",), (plain(RED, 200, 100), plain(GREEN, 100, 200)))
    sheet = contact_sheet([label], [Label(("recipe",))], [[plain(BLUE)]], 100)
    one, two, cell = area(sheet, RED), area(sheet, GREEN), area(sheet, BLUE)
    assert one and two and cell
    assert one[2] < two[0] < two[2] < cell[0]


def test_letters_are_drawn_and_long_names_cut_short() -> None:
    def ink(name: str) -> int:
        sheet = contact_sheet([Label(())], [Label((name,))], [[plain(BLUE, 80, 80)]], 80)
        box = area(sheet, BLUE)
        assert box
        assert sheet.width < 120
        return int((np.asarray(sheet)[: box[1]] != ImageColor.getrgb(PAPER)).any(axis=-1).sum())

    assert ink("") == 0
    assert 0 < ink("name") < ink("a longer name")
    assert ink("x" * 500) < 80 * 40


@settings(max_examples=25)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=4),
    down=st.integers(1, 3),
    cell=st.integers(64, 200),
)
def test_nothing_is_enlarged_cut_or_out_of_proportion(sizes: list[tuple[int, int]], down: int, cell: int) -> None:
    width, height = sizes[0]
    columns = [Label((f"{k}",)) for k in range(len(sizes))]
    cells = [[plain(RED, width, height), *(plain(BLUE, *size) for size in sizes[1:])] for _ in range(down)]
    sheet = contact_sheet([Label(("x",))] * down, columns, cells, cell)
    red = int((np.asarray(sheet) == (255, 0, 0)).all(axis=-1).sum())
    scale = min(cell / width, cell / height, 1)
    fitted = max(1, round(width * scale)) * max(1, round(height * scale))
    assert red == down * fitted


def test_a_sheet_is_reproducible() -> None:
    arguments = ([Label(("row",))], [Label(("column",))], [[plain(RED)]], 90)
    assert contact_sheet(*arguments).tobytes() == contact_sheet(*arguments).tobytes()


@given(st.integers(20, 400), st.integers(20, 400), st.integers(40, 300))
@settings(max_examples=30, deadline=None)
def test_no_input_is_shown_larger_than_a_result(given_side: int, made_side: int, cell: int) -> None:
    rows = [Label(("photo",), (plain(RED, given_side, given_side // 2),))]
    columns = [Label(("style",), (plain(GREEN, given_side // 2, given_side),))]
    sheet = contact_sheet(rows, columns, [[plain(BLUE, made_side, made_side)]], cell)
    head, top, made = (area(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert head and top and made
    side = made[2] - made[0]
    for box in (head, top):
        assert max(box[2] - box[0], box[3] - box[1]) <= side
