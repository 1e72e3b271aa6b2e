"""The peers' objectives, transcribed with PyTorch from their own formulas: sums, un-normalised Gram matrices and all.

Nothing of ours decides a weight here. In each, `f`, `p` and `s` are the activations of the picture, of the content and
of the style by layer, [C, H W], and `x` is the picture, [3, H, W], in the levels 0..255 that our graphs take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from impasto.export.weights.weights import Weights

torch = pytest.importorskip("torch")  # and whoever imports this is skipped, too
F = torch.nn.functional

Layers = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, Layers, Layers, Layers], torch.Tensor]

FIRST = [f"block{k}_conv1" for k in range(1, 6)]

#: What the first convolution sees around the picture, where it is not zeros, as PyTorch names it.
PADDING_MODES = {"crowson": "replicate", "impasto": "replicate"}

#: The poolings of those that do not take the maximum.
POOLINGS = {"impasto": "average"}


def activations(
    weights: Weights, x: torch.Tensor, wanted: Iterable[str], pooling: str = "max", padding_mode: str = "constant"
) -> Layers:
    """Walk a network whose layers are named, in order, by block; return activations [C, H W] after the ReLU."""
    wanted, found, block = set(wanted), {}, 1
    mean, scale = (
        torch.tensor(v, dtype=x.dtype)[:, None, None] for v in (weights.preprocessing.mean, weights.preprocessing.scale)
    )
    x = F.pad(((x - mean) * scale)[None], (1, 1, 1, 1), padding_mode)
    for name, layer in weights.layers.items():
        if int(name[5]) > block:
            x, block = {"max": F.max_pool2d, "average": F.avg_pool2d}[pooling](x, 2), block + 1
        parameters = (torch.tensor(a, dtype=x.dtype) for a in (layer.dense(), layer.bias))
        x = F.relu(F.conv2d(x, *parameters, padding=0 if name == "block1_conv1" else 1))
        if name in wanted:
            found[name] = x[0].flatten(1)
        if found.keys() == wanted:
            break
    return found


def gram(f: torch.Tensor) -> torch.Tensor:
    return f @ f.T


def squares(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the squared differences to the neighbours below and to the right, where there are both."""
    return (x[:, :-1, :-1] - x[:, 1:, :-1]) ** 2, (x[:, :-1, :-1] - x[:, :-1, 1:]) ** 2


def johnson(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    loss = 5 * F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k in FIRST:
        loss = loss + 100 * F.mse_loss(gram(f[k]) / f[k].numel(), gram(s[k]) / s[k].numel())
    return loss + 1e-3 * sum(squares(x)).sum() / 2  # type: ignore[union-attr]


def _chollet(x: torch.Tensor, f: Layers, p: Layers, s: Layers, content: float, style: float, tv: float) -> torch.Tensor:
    """Return the loss of Keras's example: every Gram matrix is divided by the picture's size and by 3 channels."""
    loss = content * ((f["block5_conv2"] - p["block5_conv2"]) ** 2).sum()
    size = x.shape[1] * x.shape[2]
    for k in FIRST:
        loss = loss + style / 5 * ((gram(s[k]) - gram(f[k])) ** 2).sum() / (4.0 * 3**2 * size**2)
    a, b = squares(x)
    return loss + tv * ((a + b) ** 1.25).sum()


def keras(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    return _chollet(x, f, p, s, 2.5e-8, 1e-6, 1e-6)


def titu(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    return _chollet(x, f, p, s, 0.025, 1.0, 8.5e-5)


def pastiche(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    loss = 0.01 * F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k in FIRST:
        loss = loss + 10 / len(f[k]) ** 2 * F.mse_loss(gram(f[k]) / f[k].shape[1], gram(s[k]) / s[k].shape[1])
    return loss


def pastiche_smoothed(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    """Add the form of total variation that pastiche has, over all neighbours there are, as a sum of weight 3."""
    return pastiche(x, f, p, s) + 3 * ((x[:, 1:] - x[:, :-1]).abs().sum() + (x[:, :, 1:] - x[:, :, :-1]).abs().sum())


def pystiche(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    loss = F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k in FIRST:
        loss = loss + 1e3 / 5 * F.mse_loss(gram(f[k]) / f[k].shape[1], gram(s[k]) / s[k].shape[1])
    return loss


def galerne(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    """Return the loss of Scaling Painting Style Transfer: three terms for each layer, of weights that it computes."""
    loss = F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k in FIRST:
        n, of_gram = len(f[k]), 1e3 / len(f[k]) ** 2
        loss = loss + of_gram * F.mse_loss(gram(f[k]) / f[k].shape[1], gram(s[k]) / s[k].shape[1])
        for moment in (torch.mean, lambda y, dim: torch.std(y, dim, correction=0)):
            loss = loss + of_gram * n**2 * 1000 / 100 * F.mse_loss(moment(f[k], dim=1), moment(s[k], dim=1))
    return loss


def root(m: torch.Tensor) -> torch.Tensor:
    """Return the square root of a symmetric matrix by its eigenvalues."""
    values, vectors = torch.linalg.eigh((m + m.T) / 2)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def wasserstein(f: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Return the distance of normal distributions as crowsonkb has it: of each part a mean over channels.

    What it adds to the diagonal is 1e-4, for activations with a variance of about 1; ours is relative to that.
    """
    (mean, cov), (style_mean, style_cov) = ((y.mean(1), torch.cov(y, correction=0)) for y in (f, s))
    eps = 1e-4 * style_cov.diagonal().mean() * torch.eye(len(f), dtype=f.dtype)
    a, b = style_cov + eps, cov + eps
    # tr (a^1/2 b a^1/2)^1/2 = sum of the singular values of b^1/2 a^1/2; these have a gradient where roots have none
    trace = torch.linalg.svdvals(torch.linalg.cholesky(b).T @ root(a).detach()).sum()
    return F.mse_loss(mean, style_mean) + (a.trace() + b.trace() - 2 * trace) / len(f)


def nine_point(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of squared differences to all neighbours, the border repeated beyond itself."""
    y = F.pad(x[None], (1, 1, 1, 1), "replicate")[0]
    right, below = y[:, 1:-1, 2:] - y[:, 1:-1, 1:-1], y[:, 2:, 1:-1] - y[:, 1:-1, 1:-1]
    falling, rising = y[:, 1:, 1:] - y[:, :-1, :-1], y[:, 1:, :-1] - y[:, :-1, 1:]
    return 2 * (sum((d**2).mean() / 3 for d in (right, below)) + sum((d**2).mean() / 12 for d in (falling, rising)))


def crowson(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    loss = 0.015 * F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k, weight in zip(FIRST, (256, 64, 16, 4, 1), strict=True):
        loss = loss + weight / 341 * wasserstein(f[k], s[k])
    return loss + 2 * nine_point(x / 255)


def covariance(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    """Return gatys's loss with covariances and products of means in the place of Gram matrices."""
    loss = 0.5 * ((f["block4_conv2"] - p["block4_conv2"]) ** 2).sum()
    for k in FIRST:
        (m, a), (n, b) = ((y.mean(1), torch.cov(y, correction=0)) for y in (f[k], s[k]))
        loss = loss + 2e4 / 5 / 4 * (F.mse_loss(a, b) + F.mse_loss(torch.outer(m, m), torch.outer(n, n)))
    return loss


def impasto(x: torch.Tensor, f: Layers, p: Layers, s: Layers) -> torch.Tensor:
    """Return our own loss, as docs/recipes.md has it."""
    loss = 0.09 * F.mse_loss(f["block4_conv2"], p["block4_conv2"])
    for k in FIRST:
        loss = loss + 8 / len(f[k]) ** 2 * F.mse_loss(gram(f[k]) / f[k].shape[1], gram(s[k]) / s[k].shape[1])
        for moment in (torch.mean, lambda y, dim: torch.std(y, dim, correction=0)):
            loss = loss + 1.6 * F.mse_loss(moment(f[k], dim=1), moment(s[k], dim=1))
    a, b = squares(x)
    return loss + 0.9 * (a + b).mean()
