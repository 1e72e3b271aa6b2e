"""Variables: the inverse inverts the map, and the adjoint is the adjoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from impasto.runtime.optimize.variable import Bounds, Scaled, Variable, Within, clipped, power_of_two

SHAPE = (1, 3, 2, 4)
BOUNDS: tuple[Bounds, ...] = (None, (-3.0, 100.0))

levels = st.integers(-(2**20), 2**20).map(lambda n: n / 1024)  # far from the smallest numbers, which lose digits
pictures = arrays(np.float32, SHAPE, elements=levels)
exponents = st.integers(-20, 20)
variables = st.one_of(
    st.builds(Within, st.sampled_from(BOUNDS)),
    st.builds(lambda k, bounds: Scaled(2.0**k, Within(bounds)), exponents, st.sampled_from(BOUNDS)),
)


def inner(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.vdot(a.astype(np.float64), b.astype(np.float64)))


@given(variables, pictures)
def test_the_inverse_inverts_and_brings_within_the_bounds(
    variable: Variable[Any], picture: NDArray[np.float32]
) -> None:
    x = variable.inverse(picture)
    inside = variable.picture(x)
    assert inside.dtype == np.float32
    unit = variable.unit if isinstance(variable, Scaled) else 1.0
    bounds = variable.bounds and (variable.bounds[0] * unit, variable.bounds[1] * unit)
    np.testing.assert_array_equal(inside, clipped(picture, bounds))
    np.testing.assert_array_equal(variable.inverse(inside), x)
    if variable.bounds:
        assert variable.bounds[0] <= x.min() <= x.max() <= variable.bounds[1]


@given(variables, arrays(np.float32, SHAPE, elements=st.integers(-99, 99)), pictures, exponents)
def test_the_adjoint_is_the_adjoint(
    variable: Variable[Any], x: NDArray[np.float32], gradient: NDArray[np.float32], exponent: int
) -> None:
    """Of a linear map A: <A x, g> = <x, A^T g>; rounding apart, and times the scale of the loss."""
    scale = 2.0**exponent
    there, back = inner(variable.picture(x), gradient) * scale, inner(x, variable.adjoint(gradient, scale))
    size = np.linalg.norm(variable.picture(x)) * np.linalg.norm(gradient) * scale
    assert back == pytest.approx(there, abs=1e-12 * float(size))


@given(pictures)
def test_without_scale_neither_picture_nor_gradient_is_copied(picture: NDArray[np.float32]) -> None:
    variable = Within((0.0, 255.0))
    assert variable.picture(picture) is picture
    assert variable.adjoint(picture) is picture


@given(st.floats(1e-30, 1e30), levels)
def test_a_power_of_two_near_a_number_changes_no_digit(value: float, level: float) -> None:
    power = power_of_two(value)
    assert math.frexp(power)[0] == 0.5
    assert power / value * (1 + 1e-12) >= 2**-0.5 and power / value <= 2**0.5 * (1 + 1e-12)
    assert level * power / power == level
