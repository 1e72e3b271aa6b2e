"""Style losses: the target that is measured on a style picture's activations, and the distance of others from it.

There is the loss of Gatys, Ecker and Bethge, on Gram matrices; one on these and the mean and standard deviation of each
channel; and two on the mean and the covariance of activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from impasto.export import ops
from impasto.export.graph import Matrix, Var, square
from impasto.export.roots import polar_factor, square_root
from impasto.runtime.plan.recipe import MOMENTS, StyleTerm

#: Added to variances before their roots are drawn, so that these have a derivative everywhere. It is far below the
#: variance of a channel, whose activations are of 1 to 1000.
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Moments:
    """The moments of activations over positions: all that a style loss knows of them.

    Attributes
    ----------
    gram
        The mean of f f^T over positions, f the C activations at one of them.
    mean
        The mean of f, a column.
    """

    gram: Var
    mean: Var

    @property
    def channels(self) -> int:
        """C."""
        assert isinstance(self.mean.type, Matrix)
        return self.mean.type.rows

    @property
    def covariance(self) -> Var:
        """The covariance matrix: the Gram matrix without the part of the mean."""
        return self.gram - self.mean @ self.mean.T

    @property
    def deviation(self) -> Var:
        """The standard deviation of each channel, a column: (max(v, 0) + `LEAST_VARIANCE`)^1/2, v its variance.

        A constant channel has a variance of 0 but for rounding. Where that leaves less than 0, the derivative is 0.
        The variance is the diagonal of the whole covariance, which lowerings that round products do not round.
        """
        one = ops.diagonal(ops.Identity(self.channels)())
        return (ops.relu(ops.diagonal(self.covariance)) + LEAST_VARIANCE * one) ** 0.5


@dataclass(frozen=True)
class StyleLoss:
    """A style loss: the target of a style picture's activations, and the distance of others from it.

    Attributes
    ----------
    target
        The style's moments -> the target.
    loss
        The picture's moments, target -> the loss, a mean.
    target_type
        A layer's number of channels -> the type of the target.
    """

    target: Callable[[Moments], Var]
    loss: Callable[[Moments, Var], Var]
    target_type: Callable[[int], Matrix]


def gram_target(f: Moments) -> Var:
    """Return the Gram matrix G."""
    return f.gram


def gram_loss(f: Moments, a: Var) -> Var:
    """Return the mean of (G - A)^2: how far the Gram matrix G is from the style picture's A."""
    return ops.mean_square(f.gram - a)


def moments_target(f: Moments) -> Var:
    """Return [G m s], the Gram matrix, the mean and the standard deviation."""
    return ops.beside(ops.beside(f.gram, f.mean), f.deviation)


def moments_loss(f: Moments, target: Var, times: float = MOMENTS) -> Var:
    """Return the mean of (G - A)^2, over C^2, and so many times the means of (m - n)^2 and of (s - t)^2.

    G, m, s are the Gram matrix, means and standard deviations of the picture's C channels, A, n, t the style picture's.
    With 10 times it is the loss of Galerne, Raad, Lezama and Morel, "Scaling Painting Style Transfer" (Computer
    Graphics Forum 2024), divided by 1000.
    """
    a, n, t = _split(target)
    of_channels = ops.mean_square(f.mean - n) + ops.mean_square(f.deviation - t)
    return 1 / f.channels**2 * ops.mean_square(f.gram - a) + times * of_channels


def covariance_target(f: Moments) -> Var:
    """Return [S m], the covariance and the mean."""
    return ops.beside(f.covariance, f.mean)


def covariance_loss(f: Moments, target: Var) -> Var:
    """Return the mean of (S - T)^2 + (m m^T - n n^T)^2: S and m of the picture, T and n of the style picture.

    A Gram matrix is S + m m^T. Here its two parts are compared each by itself, so one cannot make up for the other.
    """
    t, n = _split(target)
    return ops.mean_square(f.covariance - t) + ops.mean_square(f.mean @ f.mean.T - n @ n.T)


#: Added to the diagonal of covariance matrices before their roots are computed, in units of the mean variance of the
#: style's channels.
EPSILON = 1e-4


def wasserstein_target(f: Moments) -> Var:
    """Return [A n]: the square root A of the covariance, epsilon added to its diagonal, and the mean n."""
    t = f.covariance
    one = ops.Identity(f.channels)()
    variance = ops.inner(t, one)
    a, _ = square_root(t + EPSILON / f.channels * variance * one)
    return ops.beside(a, f.mean)


def wasserstein_loss(f: Moments, target: Var) -> Var:
    """Return the squared Wasserstein-2 distance of two normal distributions, divided by the number of channels C.

    Of the picture's N(m, S) and N(n, T), T = A A, it is |m - n|^2 + tr(S + T - 2 (A S A)^1/2) (Olkin and Pukelsheim
    1982).

    The trace is a small difference of large numbers, and the eigenvalues of A S A are spread twice as far as those of
    S: float32 would lose both. With R = S^1/2 and the polar factor Q of A R, (A S A)^1/2 is A R Q^T. So the trace is
    |R - A Q|^2, and the derivative with respect to S, 1 - A (A S A)^-1/2 A, is 1 - A Q R^-1: nothing cancels.
    """
    channels, m, s = f.channels, f.mean, f.covariance
    a, n = _split(target)
    one = ops.Identity(channels)()
    trace = ops.inner(a, a)  # of T with its epsilon
    epsilon = EPSILON / (1 + EPSILON) / channels * trace
    r, r_inverse = square_root(s + epsilon * one)
    moved = a @ polar_factor(a @ r)
    distance, slope = r - moved, one - moved @ r_inverse
    per_channel = 1 / channels * ops.inner(distance, distance)
    return ops.mean_square(m - n) + ops.with_derivative(per_channel, s, 1 / channels * slope)


def _split(target: Var) -> tuple[Var, ...]:
    """Return the square matrix and the columns that a target holds side by side."""
    assert isinstance(target.type, Matrix)
    size = target.type.rows
    columns = (ops.Columns(k, k + 1)(target) for k in range(size, target.type.columns))
    return ops.Columns(0, size)(target), *columns


def _matrix_and_columns(count: int) -> Callable[[int], Matrix]:
    """Return C -> the type of a square matrix with so many columns beside it."""
    return lambda channels: Matrix(channels, channels + count)


#: The losses by the name that a recipe has as `style.loss`.
STYLE_LOSSES: Mapping[str, StyleLoss] = {
    "gram": StyleLoss(gram_target, gram_loss, square),
    "moments": StyleLoss(moments_target, moments_loss, _matrix_and_columns(2)),
    "covariance": StyleLoss(covariance_target, covariance_loss, _matrix_and_columns(1)),
    "wasserstein": StyleLoss(wasserstein_target, wasserstein_loss, _matrix_and_columns(1)),
}


def style_loss_of(style: StyleTerm) -> StyleLoss:
    """Return the loss that a recipe's table of the style says."""
    loss = STYLE_LOSSES[style.loss]
    return replace(loss, loss=partial(moments_loss, times=style.moments)) if style.loss == "moments" else loss
