"""Square roots and polar factors of matrices by Newton-Schulz iterations: nothing but products, so they run anywhere.

Both follow from one iteration for numbers, x <- f(x) = r/2 x (3 - r^2 x^2), which takes every x of (0, 1] to 1. With
r = 1 it trebles the correct digits near 1, but a small x grows by 3/2 a step only. Chen and Chow ("A stable scaling of
Newton-Schulz for improving the sign function computation of a Hermitian matrix", 2014) choose r anew in each step: if
all x are in [l, 1], r^2 = 3 / (1 + l + l^2) makes f(l) = f(1), which is the best choice. A small x then grows by 2.6.
An x smaller than l grows as fast, but has not come to 1 when the iteration ends.
"""

from __future__ import annotations

import math

from impasto.export import ops
from impasto.export.graph import Matrix, Var, constant

#: The smallest square root that comes out in full, relative to the largest: rounding to float32 leaves little of
#: smaller ones in a covariance matrix.
SMALLEST_ROOT = 1e-3

#: The same of singular values of a product of two such roots.
SMALLEST_SINGULAR = 1e-5

#: The iteration ends when all x are this close to 1; its last step squares the rest.
_CLOSE = 1e-3

#: Keeps a matrix of zeros from being divided by zero.
_TINY = 1e-20


def scalings(smallest: float) -> tuple[float, ...]:
    """Return r for each step that it takes from [smallest, 1] to 1."""
    steps = []
    while 1 - smallest > _CLOSE:
        r = math.sqrt(3 / (1 + smallest + smallest**2))
        steps.append(r)
        smallest = r / 2 * smallest * (3 - (r * smallest) ** 2)
    return (*steps, 1.0)


def square_root(s: Var) -> tuple[Var, Var]:
    """Return S^1/2 and S^-1/2, for a symmetric S with eigenvalues above zero.

    The coupled iteration Y <- Y T, Z <- T Z with T = r/2 (3 - r^2 Z Y), from Y = S / |S| and Z = 1, goes to their
    square roots; the product Z Y has the eigenvalues x^2 (Higham, "Functions of Matrices", 2008, equation 6.35).
    """
    norm = _norm(s)
    y = norm**-1 * s
    z = ops.Identity(_size(s))()
    one = z
    for r in scalings(SMALLEST_ROOT):
        t = 3 * r / 2 * one - r**3 / 2 * (z @ y)
        y, z = y @ t, t @ z
    root = norm**0.5
    return root * y, root**-1 * z


def polar_factor(p: Var) -> Var:
    """Return the orthogonal Q that is nearest to P = U D V^T: Q = U V^T, by X <- r/2 X (3 - r^2 X^T X)."""
    x = _norm(p) ** -1 * p
    for r in scalings(SMALLEST_SINGULAR):
        x = 3 * r / 2 * x - r**3 / 2 * (x @ (x.T @ x))
    return x


def _norm(a: Var) -> Var:
    """Return the Frobenius norm, an upper bound of every singular value."""
    return ops.inner(a, a) ** 0.5 + constant(_TINY)


def _size(a: Var) -> int:
    assert isinstance(a.type, Matrix)
    return a.type.rows
