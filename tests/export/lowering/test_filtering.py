"""Minimal filtering: exact for any points, accurate enough in float32."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.export.lowering.filtering import INFINITY, TILES, Filtering, Point, Rationals, as_array, filtering

numbers = st.fractions(min_value=-5, max_value=5, max_denominator=6)
points = st.one_of(st.just(INFINITY), numbers.map(Fraction.as_integer_ratio))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Filtering, list[Fraction], list[Fraction]]:
    """Draw a filtering on any distinct points, a kernel and an input for it."""
    chosen: list[Point] = draw(st.lists(points, min_size=1, max_size=9, unique=True))
    taps = draw(st.integers(1, len(chosen)))
    kernel = draw(st.lists(numbers, min_size=taps, max_size=taps))
    signal = draw(st.lists(numbers, min_size=len(chosen), max_size=len(chosen)))
    return filtering(chosen, taps), kernel, signal


def times(matrix: Rationals, vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def filtered(method: Filtering, transformed: list[Fraction], signal: list[Fraction]) -> list[Fraction]:
    products = [u * v for u, v in zip(transformed, times(method.input, signal), strict=True)]
    return times(method.output, products)


def correlation(kernel: list[Fraction], signal: list[Fraction]) -> list[Fraction]:
    outputs = len(signal) - len(kernel) + 1
    return [sum((g * signal[i + j] for j, g in enumerate(kernel)), Fraction(0)) for i in range(outputs)]


@given(problems())
def test_equals_the_direct_filter_exactly(problem: tuple[Filtering, list[Fraction], list[Fraction]]) -> None:
    method, kernel, signal = problem
    assert filtered(method, times(method.kernel, kernel), signal) == correlation(kernel, signal)


@given(problems())
def test_one_transformed_kernel_also_filters_reversed(
    problem: tuple[Filtering, list[Fraction], list[Fraction]],
) -> None:
    method, kernel, signal = problem
    transformed = times(method.kernel, kernel)
    assert filtered(method.reversed(), transformed, signal) == correlation(kernel[::-1], signal)


@pytest.mark.parametrize("outputs", TILES)
def test_dimensions(outputs: int) -> None:
    method = TILES[outputs]
    assert (method.outputs, method.inputs, method.taps) == (outputs, outputs + 2, 3)


@pytest.mark.parametrize("outputs", TILES)
def test_picture_transforms_are_exact_in_float32(outputs: int) -> None:
    for matrix in (TILES[outputs].input, TILES[outputs].output):
        rounded = as_array(matrix).astype(np.float32)
        assert [[Fraction(float(entry)) for entry in row] for row in rounded] == [list(row) for row in matrix]


@pytest.mark.parametrize(("outputs", "bound"), [(2, 4e-7), (4, 3e-6), (6, 6e-6)])
def test_float32_error(outputs: int, bound: float) -> None:
    """Relative error of a two-dimensional convolution of 128 channels, against double precision."""
    tiles, channels, method = 50, 128, TILES[outputs]
    rng = np.random.default_rng(0)
    # After a ReLU, activations are not negative: the mean does not cancel, which is the harder case.
    signal = np.maximum(rng.standard_normal((tiles, channels, method.inputs, method.inputs)), 0)
    kernel = rng.standard_normal((channels, 3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(signal, (3, 3), axis=(2, 3))
    exact = np.einsum("tcyxij,cij->tyx", windows, kernel)
    to_input, to_output = (as_array(matrix).astype(np.float32) for matrix in (method.input, method.output))
    to_kernel = as_array(method.kernel)
    transformed = (to_kernel @ kernel @ to_kernel.T).astype(np.float32)
    products = transformed * (to_input @ signal.astype(np.float32) @ to_input.T)
    result = to_output @ products.sum(axis=1, dtype=np.float32) @ to_output.T
    error = np.linalg.norm(result - exact) / np.linalg.norm(exact)
    assert error < bound, error
    assert error > 1e-8


def test_equal_points_are_refused() -> None:
    with pytest.raises(ValueError, match="not distinct"):
        filtering([(0, 1), (1, 1), (1, 1)])


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        filtering([(0, 1), (1, 1)])
