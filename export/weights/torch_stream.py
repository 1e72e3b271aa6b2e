"""Read the tensors of a ``torch.save`` file without torch, and without trusting the file.

Two containers are understood: the legacy stream (five pickles, then the raw storages) and the zip archive
that replaced it in torch 1.6. Their pickles are never given to `pickle`: `pickletools` cuts them into opcodes
and the interpreter below executes the few that a dictionary of tensors needs. Nothing is imported, the only
"callables" are three functions of this module, the state passed to BUILD is dropped, and every key of a
dictionary is a string or a number - so that a hostile file has nothing to call, to overwrite or to hash
without end.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.errors import WeightsError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
PICKLE_LIMIT = 1 << 20  # bytes; the pickle of VGG-19 takes 5 kB
STORAGE_LIMIT = 1 << 31  # bytes; all storages of VGG-19, the layers that nobody needs included, take 1.2 GB in doubles
RANK_LIMIT = 8

_STORAGES = {
    f"torch {name}Storage": np.dtype(code)
    for name, code in {
        "Byte": "<u1",
        "Char": "<i1",
        "Short": "<i2",
        "Int": "<i4",
        "Long": "<i8",
        "Half": "<f2",
        "Float": "<f4",
        "Double": "<f8",
    }.items()
}


def read(source: Path | bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a saved state dictionary by name, read-only, of the shape and type they had.

    `source` is a path or the content of a file. When the saved dictionary has a dictionary ``state_dict``
    inside, that one is returned. Entries other than tensors are left out.

    Raises
    ------
    WeightsError
        When the file cannot be read, was not written by ``torch.save`` on a little-endian machine, is cut
        short or damaged, or holds anything beyond dictionaries, lists, numbers, strings and dense tensors.
    """
    name = "the torch file" if isinstance(source, bytes) else str(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            return _tensors(file)
    except Exception as error:  # a damaged file can make the parsers raise anything, down to MemoryError
        message = f"{name} cannot be read as tensors saved by torch ({reason(error)})"
        raise WeightsError(f"{message}; save a plain state_dict() of float32 anew") from error


def reason(error: Exception) -> str:
    """Return the message of `error` as one line, cut where it is long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


@dataclass
class _Storage:
    """A flat run of `count` numbers, whose `data` is read after the pickle which mentions it."""

    dtype: np.dtype[Any]
    count: int
    data: NDArray[Any] | None = None

    @property
    def size(self) -> int:
        """Bytes the storage takes in the file."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _View:
    """A tensor: a strided view of a storage, known to stay inside it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        assert self.storage.data is not None
        strides = [step * self.storage.dtype.itemsize for step in self.stride]
        start = self.storage.data[self.offset :]
        return np.lib.stride_tricks.as_strided(start, self.shape, strides, writeable=False)


# --- objects that a pickle may build ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Global:
    """A name that a pickle mentioned; one of `_STORAGES` or `_BUILDERS`."""

    name: str


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _view(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _grad: object = None,
    _hooks: object = None,
) -> _View:
    """Return a checked view; the counterpart of ``torch._utils._rebuild_tensor[_v2]``."""
    if not (isinstance(storage, _Storage) and isinstance(offset, int) and _is_count(offset)):
        raise ValueError("a tensor without a storage or an offset")
    if not (isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= RANK_LIMIT):
        raise ValueError("a tensor whose shape and strides do not match")
    if not all(map(_is_count, shape + stride)):
        raise ValueError("a tensor with a negative size or stride")
    elements = math.prod(shape)
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) if elements else -1
    # A view may not repeat elements either: a stride of 0 would let a few bytes ask for any amount of memory.
    if elements > storage.count or offset + last >= storage.count:
        raise ValueError("a tensor that reaches beyond its storage")
    return _View(storage, offset, shape, stride)


def _parameter(view: object, _grad: object, _hooks: object) -> object:
    """Return the tensor inside a parameter; the counterpart of ``torch._utils._rebuild_parameter``."""
    return view


def _ordered_dict(pairs: object = None) -> dict[str | int, object]:
    """Return a dictionary; Python 2 pickled an OrderedDict with its items as the argument."""
    entries: dict[str | int, object] = {}
    if pairs is None:
        return entries
    if not isinstance(pairs, list):
        raise ValueError("an OrderedDict of something else than pairs")
    for key, value in pairs:
        _put(entries, key, value)
    pairs.clear()  # each pair is used once: a long list given to many calls would take for ever
    return entries


_BUILDERS: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _view,
    "torch._utils _rebuild_tensor_v2": _view,
    "torch._utils _rebuild_parameter": _parameter,
}


def _put(target: object, key: object, value: object) -> None:
    # Other keys are never needed, and hashing a deeply nested tuple takes forever or overflows the stack.
    if not isinstance(target, dict) or not isinstance(key, str | int):
        raise ValueError("a dictionary entry that torch.save does not write")
    target[key] = value


# --- the interpreter --------------------------------------------------------------------------------------

_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass
class _Interpreter:
    """A stack machine for the pickles of ``torch.save``; `storages`, of `size` bytes in all, are those met, by key."""

    storages: dict[str, _Storage] = field(default_factory=dict)
    size: int = 0
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def run(self, pickled: BinaryIO) -> object:
        """Return the object of the pickle at the current position, and leave the position behind it."""
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in _NUMBERS | _STRINGS:
                self.stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _EMPTY:
                self.stack.append(_EMPTY[opcode.name]())
            elif opcode.name in _TUPLES:
                self.stack.append(tuple(self.pop(_TUPLES[opcode.name])))
            elif opcode.name != "STOP":
                self.execute(opcode.name, argument)
        return self.stack.pop()

    def execute(self, opcode: str, argument: Any) -> None:
        """Execute an opcode that does more than push a value."""
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "TUPLE":
                self.stack.append(tuple(self.pop_mark()))
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS":
                self.extend(self.pop_mark())
            case "SETITEM":
                self.update(self.pop(2))
            case "SETITEMS":
                self.update(self.pop_mark())
            case "GLOBAL":
                self.stack.append(self.look_up(argument))
            case "STACK_GLOBAL":
                module, name = self.pop(2)
                self.stack.append(self.look_up(f"{module} {name}" if isinstance(module, str) else ""))
            case "REDUCE":
                self.stack.append(self.build(*self.pop(2)))
            case "BUILD":
                self.pop(1)  # attributes of an OrderedDict or a tensor: of no use here
            case "BINPERSID":
                self.stack.append(self.storage(*self.pop(1)))
            case _:
                raise ValueError(f"the pickle opcode {opcode}, which torch.save does not write")

    def pop(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise ValueError("a pickle that takes more than it has put down")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def pop_mark(self) -> list[object]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("a list item outside of a list")
        target.extend(items)

    def update(self, items: list[object]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            _put(self.stack[-1], key, value)

    def look_up(self, name: str) -> _Global:
        if name not in _STORAGES and name not in _BUILDERS:
            raise ValueError(f"it asks for {name[:80]!r}, which a file of weights has no use for")
        return _Global(name)

    def build(self, target: object, arguments: object) -> object:
        if not isinstance(target, _Global) or target.name not in _BUILDERS or not isinstance(arguments, tuple):
            raise ValueError("a call that torch.save does not write")
        return _BUILDERS[target.name](*arguments)

    def storage(self, identity: object) -> _Storage:
        """Return the storage of the persistent id ("storage", type, key, device, count[, view])."""
        match identity:
            case ("storage", _Global(name), str(key), _, int(count), *view) if (
                name in _STORAGES and _is_count(count) and all(part is None for part in view)
            ):
                if key not in self.storages:
                    self.storages[key] = _Storage(_STORAGES[name], count)
                    self.size += self.storages[key].size
                    if self.size > STORAGE_LIMIT:
                        raise ValueError(f"storages of more than {STORAGE_LIMIT} bytes")
                storage = self.storages[key]
                if (storage.dtype, storage.count) != (_STORAGES[name], count):
                    raise ValueError("a storage of two types or sizes")
                return storage
        raise ValueError("a storage described in an unknown way")


# --- the two containers -----------------------------------------------------------------------------------


def _tensors(file: BinaryIO) -> dict[str, NDArray[Any]]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if not start:
        raise ValueError("it is empty")
    if start == b"PK\x03\x04":
        saved = _open_archive(file, size)
    elif start[:1] == b"\x80":
        saved = _open_stream(file, size)
    else:
        raise ValueError("it starts like neither a torch archive nor a torch stream")
    if isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict):
        saved = saved["state_dict"]
    if not isinstance(saved, dict):
        raise ValueError("it holds something else than a dictionary of tensors")
    return {str(name): view.array() for name, view in saved.items() if isinstance(view, _View)}


def _open_stream(file: BinaryIO, size: int) -> object:
    """Return the object in a legacy stream, with its storages filled in; `size` is that of the file in bytes."""
    interpreter = _Interpreter()

    def next_object() -> object:
        position = file.tell()
        pickled = io.BytesIO(file.read(PICKLE_LIMIT))
        value = interpreter.run(pickled)
        file.seek(position + pickled.tell())
        return value

    if next_object() != MAGIC or next_object() != PROTOCOL:
        raise ValueError("it is a pickle, but not one that torch.save wrote")
    machine = next_object()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    saved, keys = next_object(), next_object()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("a broken list of storages")
    if sorted(keys) != sorted(interpreter.storages):
        raise ValueError("the storages listed are not those that the tensors need")
    for key in keys:
        storage = interpreter.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count or storage.size > size - file.tell():
            raise ValueError("it is cut short, or a storage has another size than stated")
        storage.data = np.frombuffer(file.read(storage.size), storage.dtype)
    return saved


def _open_archive(file: BinaryIO, size: int) -> object:
    """Return the object in a zip archive, with its storages filled in; `size` is that of the file in bytes."""
    with zipfile.ZipFile(file) as archive:

        def read_member(name: str, limit: int = size) -> bytes:
            entry = archive.getinfo(name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size > limit:
                raise ValueError(f"the entry {name[:80]!r} is compressed or too large")
            return archive.read(entry)

        roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("it is a zip archive, but not one that torch.save wrote")
        (root,) = roots
        if f"{root}byteorder" in archive.namelist() and read_member(f"{root}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        interpreter = _Interpreter()
        saved = interpreter.run(io.BytesIO(read_member(f"{root}data.pkl", PICKLE_LIMIT)))
        if interpreter.size > size:
            raise ValueError("it is cut short: its storages take more room than it has")
        for key, storage in interpreter.storages.items():
            data = read_member(f"{root}data/{key}")
            if len(data) != storage.size:
                raise ValueError("a storage has another size than stated")
            storage.data = np.frombuffer(data, storage.dtype)
    return saved
