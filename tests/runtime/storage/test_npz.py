"""Archives of arrays: what is written can be read, by NumPy, too; what is not as declared is refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from impasto.runtime.storage.npz import Archive, write


def to_bytes(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    write(file, arrays)
    return file.getvalue()


@given(arrays.arrays(st.sampled_from([np.float32, np.uint8, np.int64, np.bool_]), arrays.array_shapes(min_side=0)))
def test_what_is_written_is_read_back_here_and_by_numpy(array: Any) -> None:
    data = to_bytes({"a": array, "allow_pickle": array[..., ::2]})
    archive = Archive(io.BytesIO(data))
    assert set(archive.sizes) == {"a", "allow_pickle"}
    found = archive.read("a", array.nbytes)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["a"], array)
        np.testing.assert_array_equal(loaded["allow_pickle"], array[..., ::2])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(save: Any) -> None:
    array = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    file = io.BytesIO()
    save(file, a=array)
    np.testing.assert_array_equal(Archive(file).read("a", array.nbytes), array)
    with pytest.raises(ValueError, match=r"array 'a' takes \d+ bytes; expected -20000 at most"):
        Archive(file).read("a", -20_000)
    with pytest.raises(KeyError):
        Archive(file).read("b", 100)


@pytest.mark.parametrize("data", [b"", b"PK", b"somebody's work" * 99, to_bytes({"a": np.zeros(3)})[:-40]])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an archive of arrays"):
        Archive(io.BytesIO(data))


@given(st.data())
def test_no_flipped_byte_brings_anything_but_an_array_or_a_refusal(data: st.DataObject) -> None:
    whole = bytearray(to_bytes({"a": np.arange(12, dtype=np.float32).reshape(3, 4)}))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        archive = Archive(io.BytesIO(bytes(whole)))
        assert archive.read("a", 48).nbytes <= 48
    except (ValueError, KeyError):
        pass
