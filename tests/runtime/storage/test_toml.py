"""TOML that is written is read back as it was; what is no TOML is refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.storage import toml
from impasto.runtime.storage.codec import Misfit

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
scalars = text | numbers | st.booleans()
values = scalars | st.lists(scalars, max_size=4) | st.dictionaries(text, numbers, max_size=4)
tables = st.dictionaries(text, values, max_size=6)


@given(tables, st.lists(tables, min_size=1, max_size=3))
def test_what_is_written_is_read_back_as_it_was(table: dict[str, Any], list_of_tables: list[dict[str, Any]]) -> None:
    data = {**table, "stages": list_of_tables}
    found = toml.parsed(toml.written(data))
    assert found == data
    assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in data.items()}


def test_what_is_none_is_not_written() -> None:
    assert toml.written({"size": None, "seed": 3}) == "seed = 3\n"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    place = tmp_path / "mine.toml"
    place.write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert toml.parsed(toml.text_in(place)) == {"seed": 3}


def test_what_is_no_text_or_no_page_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "mine.toml"
    with pytest.raises(Misfit, match=r"No such file or directory; give a path to a readable .toml file"):
        toml.text_in(place)
    place.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misfit, match="not a text file"):
        toml.text_in(place)
    place.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(Misfit, match="has more than 1048576 bytes; expected a page of TOML"):
        toml.text_in(place)


@pytest.mark.parametrize("damaged", ["seed =", "a = 1\na = 2", "a = " + "[" * 5000, f"a = {'9' * 5000}"])
def test_what_is_no_toml_is_refused(damaged: str) -> None:
    with pytest.raises(Misfit, match=r"^not valid TOML: "):
        toml.parsed(damaged)
