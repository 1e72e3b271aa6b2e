"""TIFF files that Pillow would misread come out as they are, or are refused as what they are."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import PictureError
from impasto.runtime.pictures.photographs import read_picture
from tests.runtime.files import as_image

WIDTH, HEIGHT = 48, 40
RAMP = np.linspace(0, 1, WIDTH)[None] * np.ones((HEIGHT, 1))
KINDS = {"u": 1, "i": 2, "f": 3}


def tiff(planes: list[NDArray[np.generic]], *, deflate: bool = False, kind: int | None = 0, extra: int = 0) -> bytes:
    """Return a TIFF of separate planes, each one strip; `kind` is what SampleFormat says, None where it is missing."""
    first = planes[0]
    order = ">" if first.dtype.byteorder == ">" else "<"
    strips = [zlib.compress(plane.tobytes()) if deflate else plane.tobytes() for plane in planes]
    data = bytearray((b"MM" if order == ">" else b"II") + struct.pack(order + "HL", 42, 0))
    starts = [len(data) + sum(map(len, strips[:k])) for k in range(len(strips))]
    data += b"".join(strips)
    count = len(planes)
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("H", [WIDTH]), 257: ("H", [HEIGHT]), 258: ("H", [first.itemsize * 8] * count),
        259: ("H", [8 if deflate else 1]), 262: ("H", [2 if count >= 3 else 1]), 273: ("L", starts),
        277: ("H", [count]), 278: ("H", [HEIGHT]), 279: ("L", [len(strip) for strip in strips]), 284: ("H", [2]),
    }  # fmt: skip
    if kind is not None:
        tags[339] = ("H", [kind or KINDS[first.dtype.kind]] * count)
    if extra:
        tags[338] = ("H", [extra])
    entries = b""
    for tag, (layout, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{layout}", *values)
        if len(packed) > 4:
            data += packed
            packed = struct.pack(order + "L", len(data) - len(packed))
        entries += struct.pack(order + "HHL", tag, {"H": 3, "L": 4}[layout], len(values)) + packed.ljust(4, b"\0")
    struct.pack_into(order + "L", data, 4, len(data))
    return bytes(data) + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def read(folder: Path, data: bytes) -> NDArray[np.int64]:
    (folder / "photo.tif").write_bytes(data)
    return np.asarray(read_picture(folder / "photo.tif"), np.int64)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f4", "i4", "i2", "u2"])
def test_compressed_levels_have_the_bytes_of_the_file_in_order(tmp_path: Path, order: str, kind: str) -> None:
    white = 1.0 if kind == "f4" else 2.0 ** (8 * int(kind[1]) - (kind[0] == "i")) - 1
    found = read(tmp_path, tiff([(RAMP * white).astype(order + kind)], deflate=True))
    assert np.abs(found - (RAMP * 255)[..., None]).max() <= 1


def test_levels_of_32_bits_have_no_sign_where_nothing_is_said_of_it(tmp_path: Path) -> None:
    found = read(tmp_path, tiff([(RAMP * (2**32 - 1)).astype("<u4")], kind=None))
    assert np.abs(found - (RAMP * 255)[..., None]).max() <= 1


def test_levels_of_8_bits_with_a_sign_are_scaled_or_refused(tmp_path: Path) -> None:
    found = read(tmp_path, tiff([(RAMP * 127).astype("i1")]))
    assert np.abs(found - (RAMP * 255)[..., None]).max() <= 3  # of seven bits
    with pytest.raises(PictureError, match="its levels are integers from -60 to 60, and what is black and white"):
        read(tmp_path, tiff([(RAMP * 120 - 60).astype("i1")]))


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2"])
def test_separate_planes_come_out_as_they_are_or_are_refused(tmp_path: Path, kind: str, deflate: bool) -> None:
    white = 2 ** (8 * int(kind[-1])) - 1
    colors = [RAMP, RAMP[:, ::-1], RAMP**2]
    data = tiff([(color * white).astype(kind) for color in colors], deflate=deflate)
    if kind == "u1" or deflate:
        assert np.abs(read(tmp_path, data) - np.stack(colors, -1) * 255).max() <= 1
        return
    with pytest.raises(PictureError, match=r"is a TIFF file of a kind that is not read \(3 separate planes\); save"):
        read(tmp_path, data)
    with pytest.raises(PictureError, match=r"^content: is a TIFF file of a kind"):
        as_image(Image.open(io.BytesIO(data)), "content")


@pytest.mark.parametrize("extra", [1, 2])
def test_grey_and_opacity_in_separate_planes_are_not_taken_for_nothing(tmp_path: Path, extra: int) -> None:
    planes: list[NDArray[np.generic]] = [(RAMP * 255).astype("u1"), np.full(RAMP.shape, 255, "u1")]
    with pytest.raises(PictureError, match="is a TIFF file of a kind that is not read"):
        read(tmp_path, tiff(planes, deflate=True, extra=extra))


def test_a_plane_that_is_missing_is_not_made_black(tmp_path: Path) -> None:
    whole = tiff([(RAMP * 255).astype("u1")] * 3)
    table = whole.index(struct.pack("<HHL", 273, 4, 3))
    with pytest.raises(PictureError, match="some of its lines are missing"):
        read(tmp_path, whole[: table + 4] + struct.pack("<L", 2) + whole[table + 8 :])


def test_a_directory_further_than_any_file_is_damage(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"truncated or damaged \(.*\); get a whole copy"):
        read(tmp_path, b"II+\0" + struct.pack("<HHQ", 8, 0, 0x7FFFFFFFFFFF0000) + bytes(100))
