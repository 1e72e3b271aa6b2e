"""Arrays are taken for the pictures that they are; what cannot be told is refused, and never painted black."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from impasto.runtime import PictureError
from impasto.runtime.pictures.arrays import levels, to_image

HEIGHT, WIDTH = 33, 40
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


class Tensor:
    """What another library has for an array."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._array


class OnGpu(Tensor):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise TypeError("it is on the GPU;\ncall .cpu() first")


@pytest.mark.parametrize(("channels", "mode"), [(None, "L"), (1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_the_last_axis_says_what_the_levels_are(channels: int | None, mode: str) -> None:
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    array = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    image = to_image(array, "content")
    assert (image.mode, image.size) == (mode, (WIDTH, HEIGHT))
    np.testing.assert_array_equal(np.asarray(image).reshape(shape), array)


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.uint16) * 257,
        RGB.astype(">u2") * 257,
        RGB.astype(np.int64),
        RGB.astype(np.float16),
        RGB.astype(">f8"),
        RGB + 0.3,
        np.asfortranarray(RGB),
        RGB.repeat(2, axis=1)[:, ::2],
        Tensor(RGB),
        Tensor(RGB.astype(np.float32)),
    ],
)
def test_the_same_picture_in_other_types_is_the_same(array: Any) -> None:
    np.testing.assert_array_equal(np.asarray(to_image(array, "content")), RGB)


def test_truth_values_are_black_and_white() -> None:
    truth = RGB[..., 0] > 100
    np.testing.assert_array_equal(np.asarray(to_image(truth, "mask")), truth * np.uint8(255))


@given(st.integers(256, 65535), st.integers(0, 65535))
def test_sixteen_bits_are_scaled_to_eight(high: int, other: int) -> None:
    array = np.full((HEIGHT, WIDTH), other, np.uint16)
    array[0, 0] = high
    found = np.asarray(to_image(array, "content"))
    assert abs(int(found[0, 0]) - high / 257) <= 0.5 + 1e-3
    assert abs(int(found[1, 1]) - other / 257) <= 0.5 + 1e-3


def test_floats_keep_their_fractions_and_what_an_optimiser_made_of_them() -> None:
    array = np.linspace(-20, 300, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(levels(array, "content")[..., 0], array)
    assert to_image(array, "content").getextrema() == (0, 255)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.uint16, np.int32, np.float32])
def test_a_black_picture_is_black(dtype: Any) -> None:
    assert to_image(np.zeros((HEIGHT, WIDTH, 3), dtype), "content").getextrema() == ((0, 0),) * 3


SCALED = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (SCALED, "are from 0 to 1; expected 0..255: multiply it by 255"),
        (SCALED.astype(np.float16), "multiply it by 255"),
        (np.ones((HEIGHT, WIDTH, 4)), "multiply it by 255"),
        (1.04 * SCALED - 0.02, "expected 0..255: scale it"),
        (2 * SCALED - 1, "expected 0..255: scale it"),
        (4.8 * SCALED - 2.1, "expected 0..255|from -2.1 to 2.7"),
        ((SCALED > 0.5).astype(int), "int64, are from 0 to 1"),
        (SCALED * 65535, "expected 0..255: scale it, or give levels of 16 bits as uint16"),
        ((SCALED * 65535).astype(np.int32), "as uint16"),
        ((SCALED * 255).astype(np.uint16), "expected 0..65535: give levels of 0..255 as uint8"),
        (np.where(SCALED < 0.5, np.nan, 9), "not finite"),
        (np.where(SCALED < 0.5, -np.inf, 9), "not finite"),
    ],
)
def test_levels_of_another_range_are_refused(array: NDArray[Any], reason: str) -> None:
    for given_ in (array, Tensor(array)):
        with pytest.raises(PictureError, match=f"^content: .*({reason})"):
            to_image(given_, "content")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (RGB.transpose(2, 0, 1), r"uint8\[3, 33, 40\]; .* its channels come first; give array.transpose\(1, 2, 0\)"),
        (RGB[None], r"it is a batch of 1; give one picture of it, array\[0\]"),
        (np.stack([RGB, RGB]).transpose(0, 3, 1, 2), "it is a batch of 2"),
        (np.zeros((HEIGHT, WIDTH, 7)), r"array float64\[33, 40, 7\]; expected levels 0..255, RGB, shaped \[H, W, 3\]"),
        (np.zeros(9), r"array float64\[9\]; expected"),
        (np.zeros(()), r"array float64\[\]; expected"),
        (RGB.astype(complex), "array complex128"),
        (RGB.astype(object), "array object"),
        (RGB.astype(str), "array <U"),
    ],
)
def test_arrays_that_are_no_picture_are_refused_with_what_was_expected(array: NDArray[Any], reason: str) -> None:
    with pytest.raises(PictureError, match=f"^content: .*{reason}"):
        to_image(array, "content")


def test_what_numpy_cannot_read_is_refused_with_its_librarys_words() -> None:
    with pytest.raises(PictureError, match=r"OnGpu cannot be read as an array \(it is on the GPU; call .cpu\(\) first"):
        to_image(OnGpu(RGB), "content")


def test_tensors_of_torch_are_taken_or_told_what_was_expected() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(np.asarray(to_image(torch.tensor(RGB), "content")), RGB)
    with pytest.raises(PictureError, match="channels come first"):
        to_image(torch.tensor(RGB).permute(2, 0, 1), "content")
    with pytest.raises(PictureError, match=r"Tensor cannot be read as an array .*detach"):
        to_image(torch.tensor(RGB + 0.5, requires_grad=True), "content")
