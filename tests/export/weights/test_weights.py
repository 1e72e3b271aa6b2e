"""The data types of weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impasto.export.networks import CAFFE, TORCHVISION, Preprocessing
from impasto.export.weights.weights import LayerWeights, Palette, fingerprint


@pytest.fixture
def palette() -> Palette:
    generator = np.random.default_rng(3)
    codes = generator.integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    return Palette(codes, generator.standard_normal(256, dtype=np.float32))


@pytest.fixture
def bias() -> np.ndarray:
    return np.arange(4, dtype=np.float32)


def test_a_palette_stands_for_its_values(palette: Palette) -> None:
    dense = palette.dense()
    assert (dense.shape, dense.dtype) == ((4, 3, 3, 3), np.float32)
    assert dense[1, 2, 0, 1] == palette.table[palette.codes[1, 2, 0, 1]]


def test_reversed_inputs_are_the_same_for_palette_and_numbers(palette: Palette, bias: np.ndarray) -> None:
    coded = LayerWeights(palette, bias).inputs_reversed()
    plain = LayerWeights(palette.dense(), bias).inputs_reversed()
    assert isinstance(coded.kernel, Palette)
    np.testing.assert_array_equal(coded.dense(), palette.dense()[:, [2, 1, 0]])
    np.testing.assert_array_equal(plain.dense(), coded.dense())
    assert plain.dense().flags.c_contiguous and coded.kernel.codes.flags.c_contiguous


def test_equal_weights_have_equal_fingerprints_however_stored(palette: Palette, bias: np.ndarray) -> None:
    coded = fingerprint({"block1_conv1": LayerWeights(palette, bias)})
    assert coded == fingerprint({"block1_conv1": LayerWeights(palette.dense(), bias)})


def test_any_change_shows_in_the_fingerprint(palette: Palette, bias: np.ndarray) -> None:
    layer = LayerWeights(palette.dense(), bias)
    changed = palette.dense()
    changed[0, 0, 0, 0] += 1e-3
    variants = [
        {"block1_conv1": layer},
        {"block1_conv2": layer},
        {"block1_conv1": replace(layer, kernel=changed)},
        {"block1_conv1": replace(layer, bias=bias[::-1])},
        {"block1_conv1": layer.inputs_reversed()},
        {"block1_conv1": layer, "block1_conv2": layer},
    ]
    assert len({fingerprint(layers) for layers in variants}) == len(variants)


@pytest.mark.parametrize(
    ("style", "lowest", "highest"),
    [
        (CAFFE, (-123.68, -116.779, -103.939), (131.32, 138.221, 151.061)),
        (TORCHVISION, (-2.1179, -2.0357, -1.8044), (2.2489, 2.4286, 2.64)),
    ],
)
def test_black_and_white_become_what_the_network_was_trained_on(
    style: Preprocessing, lowest: tuple[float, ...], highest: tuple[float, ...]
) -> None:
    for picture, expected in ((0, lowest), (255, highest)):
        found = (picture - np.array(style.mean)) * np.array(style.scale)
        np.testing.assert_allclose(found, expected, atol=1e-4)
