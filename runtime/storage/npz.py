"""Arrays in .npz archives, which may be a stranger's: only the wanted arrays are read, within a limit of bytes.

NumPy's own functions are not used. `numpy.load` takes as much memory as a header declares, and `numpy.savez` has stored
keyword arguments as arrays (`allow_pickle`, before NumPy 2).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from impasto.text import shown

#: No archive has more entries, and no array a longer header.
_MOST_ENTRIES, _LONGEST_HEADER = 10_000, 10_000

#: An array is read and written in pieces of so many bytes.
_PIECE = 1 << 20

_SUFFIX = ".npy"


class Archive:
    """An .npz archive, open for reading.

    Raises
    ------
    ValueError
        When it is not an archive, has an array twice, or has too many entries.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except MemoryError:
            raise
        except Exception as error:  # a damaged archive makes zipfile raise almost anything
            raise ValueError(f"not an archive of arrays: {error}") from None
        entries = self._zip.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise ValueError(f"{len(entries)} entries; expected {_MOST_ENTRIES} at most")
        self._entries = {entry.filename.removesuffix(_SUFFIX): entry for entry in entries}
        if len(self._entries) < len(entries):
            raise ValueError("an array is there twice")

    @property
    def sizes(self) -> Mapping[str, int]:
        """The bytes of each array with its header, by name."""
        return {name: entry.file_size for name, entry in self._entries.items()}

    def read(self, name: str, most: int) -> NDArray[Any]:
        """Return an array of numbers that takes `most` bytes at most, read-only.

        Raises
        ------
        ValueError
            When it is damaged, larger, or not of numbers.
        KeyError
            When there is no array of that name.
        """
        entry = self._entries[name]
        if entry.file_size > most + _LONGEST_HEADER:
            raise ValueError(f"array {shown(name)} takes {entry.file_size} bytes; expected {most} at most")
        try:
            with self._zip.open(entry) as member:
                return _array(member, entry.file_size, shown(name))
        except (MemoryError, _Misfit):
            raise
        except Exception as error:  # as above, and its decoders
            raise ValueError(f"array {shown(name)} is damaged ({error})") from None


class _Misfit(ValueError):
    """A .npy file that holds no array as it should be."""


def _array(file: IO[bytes], size: int, subject: str) -> NDArray[Any]:
    """Return the array that a .npy file of so many bytes holds; no memory is taken for more."""
    try:
        version = np.lib.format.read_magic(file)
        readers: Mapping[tuple[int, int], Callable[..., Any]] = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, in_columns, dtype = readers[version](file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # Python's own parser reads the header, and raises several types of errors
        raise _Misfit(f"array {subject} has a damaged header ({type(error).__name__})") from None
    if dtype.kind not in "biuf":
        raise _Misfit(f"array {subject} is of {shown(str(dtype))}; expected numbers")
    left = size - file.tell()
    if math.prod(shape) * dtype.itemsize != left or min(shape, default=0) < 0:
        raise _Misfit(f"array {subject} of shape {shown(shape)} has {left} bytes")
    array: NDArray[Any] = np.empty(math.prod(shape), dtype)
    _fill(array.view(np.uint8), file, subject)
    array.flags.writeable = False
    return array.reshape(shape, order="F" if in_columns else "C")


def _fill(memory: NDArray[np.uint8], file: IO[bytes], subject: str) -> None:
    """Fill memory with the rest of a file, in pieces."""
    filled = 0
    while piece := file.read(_PIECE):  # the end comes with a checksum
        if filled + len(piece) > len(memory):
            raise _Misfit(f"array {subject} has more bytes than it declares")
        memory[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if filled < len(memory):
        raise _Misfit(f"array {subject} breaks off")


def write(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an uncompressed .npz archive of arrays by name into an open file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as member:
                _write_array(member, np.ascontiguousarray(array).reshape(np.shape(array)))


def _write_array(file: IO[bytes], array: NDArray[Any]) -> None:
    """Write an array, row by row, as a .npy file, in pieces."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    data = array.reshape(-1).view(np.uint8)
    for start in range(0, len(data), _PIECE):
        file.write(data[start : start + _PIECE].data)
