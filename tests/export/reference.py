"""The losses once more, written independently with PyTorch: what our graphs are held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from impasto.export.weights import Weights
from impasto.runtime.recipe import Recipe

#: What each ReLU took, and what it gave.
Record = list[tuple[torch.Tensor, torch.Tensor]]

#: The convolutions of VGG-19, block by block; written out here so that the network is not its own reference.
CONVOLUTIONS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}


@dataclass(frozen=True)
class Reference:
    """The objective of a recipe for one content and one style picture, in a precision of PyTorch's."""

    weights: Weights
    recipe: Recipe
    content: NDArray[np.float32]
    style: NDArray[np.float32]
    dtype: torch.dtype = torch.float64

    def tensor(self, picture: NDArray[np.float32]) -> torch.Tensor:
        return torch.tensor(picture, dtype=self.dtype).permute(2, 0, 1)[None]

    def activations(
        self, x: torch.Tensor, wanted: Iterable[str], record: Record | None = None
    ) -> dict[str, torch.Tensor]:
        """Walk the network; activations after each ReLU, by layer. All before and after a ReLU go to `record`."""
        wanted = set(wanted)
        pool = {"max": F.max_pool2d, "average": F.avg_pool2d}[self.recipe.pooling]
        mean, scale = (torch.tensor(v, dtype=self.dtype) for v in self._preprocessing())
        x = (x - mean.view(1, 3, 1, 1)) * scale.view(1, 3, 1, 1)
        found: dict[str, torch.Tensor] = {}
        for block, count in CONVOLUTIONS.items():
            for number in range(1, count + 1):
                name = f"block{block}_conv{number}"
                layer = self.weights.layers[name]
                kernel, bias = (torch.tensor(a, dtype=self.dtype) for a in (layer.dense(), layer.bias))
                z = F.conv2d(x, kernel, bias, padding=1)
                x = F.relu(z)
                if record is not None:
                    record.append((z, x))
                if name in wanted:
                    found[name] = x
                if wanted == found.keys():
                    return found
            x = pool(x, 2)
        raise AssertionError(f"no such layers: {wanted - found.keys()}")

    def loss_and_gradient(self, picture: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and, by autograd, its gradient, (H, W, 3)."""
        x = self.tensor(picture).requires_grad_(True)
        loss = self.loss(x)
        loss.backward()
        assert x.grad is not None
        return loss.item(), x.grad[0].permute(1, 2, 0).double().numpy()

    def loss(self, x: torch.Tensor, record: Record | None = None) -> torch.Tensor:
        """Return the loss in the words of seed.md and of the paper: sums, and un-normalised Gram matrices."""
        recipe = self.recipe
        layers = (*recipe.content.layers, *recipe.style.layers)
        f = self.activations(x, layers, record)
        with torch.no_grad():
            p = self.activations(self.tensor(self.content), layers)
            s = self.activations(self.tensor(self.style), layers)
        total = torch.zeros((), dtype=self.dtype)
        for name, share in recipe.content.layers.items():
            half = {"sum": 1.0, "half-sum": 0.5}[recipe.content.convention]
            total = total + recipe.content.weight * share * half * ((f[name] - p[name]) ** 2).sum()
        for name, share in recipe.style.layers.items():
            n, m = f[name].shape[1], f[name][0, 0].numel()
            norm = {"gatys": 4 * n**2 * m**2, "keras": 4 * 3**2 * (x.shape[2] * x.shape[3]) ** 2}
            square = ((_gram(f[name]) - _gram(s[name])) ** 2).sum()
            total = total + recipe.style.weight * share * square / norm[recipe.style.convention]
        a = (x[:, :, :-1, :-1] - x[:, :, 1:, :-1]) ** 2
        b = (x[:, :, :-1, :-1] - x[:, :, :-1, 1:]) ** 2
        return total + recipe.tv.weight * ((a + b) ** recipe.tv.exponent).sum()

    def undecided(self, picture: NDArray[np.float32], within: float) -> NDArray[np.float64]:
        """Return what each ReLU adds to the gradient if it is open, for those that could as well be shut.

        These have an input of less than `within` times their layer's root mean square. One row each, [rows, H W 3].
        """
        x = self.tensor(picture).requires_grad_(True)
        pairs: Record = []
        loss = self.loss(x, pairs)
        upstream = torch.autograd.grad(loss, [y for _, y in pairs], retain_graph=True)
        rows = []
        for (z, _), g in zip(pairs, upstream, strict=True):
            near = (z.abs() < within * z.square().mean().sqrt()) & (g != 0)
            for index in near.nonzero():
                place = tuple(index.tolist())
                (row,) = torch.autograd.grad(z[place] * g[place].detach(), x, retain_graph=True)
                rows.append(row[0].permute(1, 2, 0).numpy().ravel())
        return np.array(rows)

    def _preprocessing(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.weights.preprocessing.mean, self.weights.preprocessing.scale


def _gram(f: torch.Tensor) -> torch.Tensor:
    rows = f[0].flatten(1)
    return rows @ rows.T
