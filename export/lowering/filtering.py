r"""Minimal filtering (Toom, Cook, Winograd): `m` outputs of an `r`-tap filter by ``m + r - 1`` products.

A filter slides over a signal: ``y[i] = sum_j g[j] x[i + j]``. Computing `m` neighbouring outputs of `r` taps
directly takes ``m * r`` multiplications; ``n = m + r - 1``, as many as there are inputs, are enough. In
matrices::

    y = A^T [ (G g) * (B^T x) ]          G is n x r,   B^T is n x n,   A^T is m x n

where ``*`` multiplies element by element. In two dimensions, with a picture tile `X` and a kernel `K`, the
same three matrices work on rows and columns alike::

    Y = A^T [ (G K G^T) * (B^T X B) ] A

which turns the 36 * 9 multiplications a channel pair needs for a 6 x 6 tile of outputs into 64. Summed over
input channels, each of the n * n products is an entry of one matrix product over channels: that is where the
time goes.

Derivation
----------
**A product of polynomials by evaluation and interpolation.** Read `r` numbers `g` and `m` numbers `d` as
coefficients of polynomials, constant term first. The product has `n` coefficients, so its values at `n`
distinct points determine it, and its value at a point is the product of the two values there. Let row `i` of
the matrix ``V_k`` evaluate a polynomial of `k` coefficients at point `i`. Then the product's coefficients
are::

    V_n^-1 [ (V_r g) * (V_m d) ]

**Transposition turns the product into the filter.** For fixed `g` this is a linear map from `d` to the
product, the matrix ``V_n^-1 diag(V_r g) V_m``. Its entry ``(k, i)`` is ``g[k - i]``, by the rule of multiplying
polynomials. Its transpose therefore has ``g[k - i]`` at ``(i, k)`` and maps `n` inputs `x`
to ``sum_j g[j] x[i + j]``: the filter, with the same number of multiplications. Transposing the three factors
gives::

    A^T = V_m^T          G = V_r          B^T = V_n^-T

**No matrix is inverted.** Row `i` of ``V_n^-T`` holds the coefficients of the Lagrange polynomial that is one
at point `i` and zero at the others, a product of linear factors.

**Infinity is a point like the others** in homogeneous coordinates: the fraction ``p/q`` is the pair ``(p,
q)``, the point at infinity ``(1, 0)``, and a polynomial of `k` coefficients has the value ``sum_j c[j] p^j
q^(k-1-j)`` there (at infinity: its leading coefficient). This also clears all denominators: ``V_k`` is a
matrix of integers.

**The scale of a row is free.** Row `i` of `B^T`, row `i` of `G` and column `i` of `A^T` may be multiplied by
any three numbers whose product is one. `B^T` and `A^T`, which work on pictures, should have entries without
rounding: they keep integers times powers of two, and `G`, applied once to constant weights, takes all the
denominators. A power of two changes no rounding error in binary arithmetic. The powers of two bring the rows
to a length near one, so that transformed values stay in the range of the values themselves, which half
precision would need.

**A reversed kernel needs no transform of its own.** Filtering with `g` reversed is reversing the input,
filtering with `g` and reversing the output. Reversing the columns of `B^T` and the rows of `A^T` therefore
gives the reversed filter *from the same* ``G g``. Back-propagation through a convolution is a convolution
with reversed kernels, and needs exactly this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import frexp, hypot, prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rationals: TypeAlias = tuple[tuple[Fraction, ...], ...]
"""Rows of exact numbers."""

Point: TypeAlias = tuple[int, int]
"""A point of the projective line: ``(p, q)`` is the fraction p/q."""

INFINITY: Point = (1, 0)


@dataclass(frozen=True)
class Filtering:
    """The matrices of ``F(outputs, taps)``, exact; the module's text explains them."""

    input: Rationals
    """B^T: one tile of the signal to its n transformed values."""
    kernel: Rationals
    """G: a kernel to its n transformed values."""
    output: Rationals
    """A^T: n products to one tile of outputs."""

    @property
    def outputs(self) -> int:
        """m, the number of outputs of a tile."""
        return len(self.output)

    @property
    def inputs(self) -> int:
        """n, the number of inputs of a tile, and of multiplications."""
        return len(self.input)

    @property
    def taps(self) -> int:
        """r, the length of the kernel."""
        return len(self.kernel[0])

    def reversed(self) -> Filtering:
        """Filter with the kernel reversed, given the same transformed kernel."""
        return replace(self, input=tuple(row[::-1] for row in self.input), output=self.output[::-1])


def fractions(text: str) -> list[Point]:
    """Read points such as ``"0 1 -1 1/2 inf"``."""
    return [INFINITY if word == "inf" else Fraction(word).as_integer_ratio() for word in text.split()]


def filtering(points: Sequence[Point], taps: int = 3) -> Filtering:
    """Derive the matrices of minimal filtering from the points of evaluation.

    Parameters
    ----------
    points
        n distinct points. Small numerators and denominators make for small rounding errors.
    taps
        Length r of the kernel, at most n; the tile has ``n - r + 1`` outputs.

    Raises
    ------
    ValueError
        When two points coincide, or there are too few.
    """
    n, m = len(points), len(points) - taps + 1
    if m < 1 or taps < 1:
        raise ValueError(f"{n} points are too few for a kernel of {taps} taps")
    to_input, to_kernel, to_output = [], [], []
    for i, (p, q) in enumerate(points):
        others = [*points[:i], *points[i + 1 :]]
        # Lagrange's polynomial of point i is `lagrange` / `value`: zero at every other point, one at this one.
        lagrange = _product_of_factors(others)
        value = prod(b * p - a * q for a, b in others)
        if value == 0:
            raise ValueError(f"the points are not distinct: {p}/{q} appears twice")
        powers = _evaluation((p, q), m)
        shrink_input, shrink_output = _power_of_two(lagrange), _power_of_two(powers)
        to_input.append(tuple(c / shrink_input for c in lagrange))
        to_output.append(tuple(c / shrink_output for c in powers))
        to_kernel.append(tuple(c * shrink_input * shrink_output / value for c in _evaluation((p, q), taps)))
    return Filtering(input=tuple(to_input), kernel=tuple(to_kernel), output=tuple(zip(*to_output, strict=True)))


def as_array(matrix: Rationals) -> NDArray[np.float64]:
    """Round an exact matrix to double precision (exact itself where all entries are dyadic)."""
    return np.array([[float(entry) for entry in row] for row in matrix])


def _evaluation(point: Point, terms: int) -> tuple[Fraction, ...]:
    """Return the row that evaluates a polynomial of `terms` coefficients at `point`."""
    p, q = point
    return tuple(Fraction(p**k * q ** (terms - 1 - k)) for k in range(terms))


def _product_of_factors(zeros: Sequence[Point]) -> tuple[Fraction, ...]:
    """Return the coefficients, constant term first, of the product of ``b x - a`` over points ``(a, b)``."""
    coefficients = [Fraction(1)]
    for a, b in zeros:
        shifted, scaled = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [b * s - a * c for s, c in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def _power_of_two(row: Sequence[Fraction]) -> Fraction:
    """Return the power of two next to the row's length."""
    mantissa, exponent = frexp(hypot(*map(float, row)))
    return Fraction(2) ** (exponent - (mantissa < 2**-0.5))


TILES: dict[int, Filtering] = {
    2: filtering(fractions("0 1 -1 inf")),
    4: filtering(fractions("0 1 -1 -2 1/2 inf")),
    6: filtering(fractions("0 1 -1 2 -2 1/2 -1/2 inf")),
}
"""Filterings for 3 taps, by the number of outputs of a tile, on the points with the smallest errors of those tried."""
