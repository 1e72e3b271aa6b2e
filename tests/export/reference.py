"""The losses once more, written independently with PyTorch: what our graphs are held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.export.weights.weights import Weights
from impasto.runtime.plan.recipe import Recipe

torch = pytest.importorskip("torch")  # and whoever imports this is skipped, too
F = torch.nn.functional

#: What each ReLU took, by layer.
Record = dict[str, torch.Tensor]

#: Activations after each ReLU, by layer, that somebody else computed: they say which ReLUs were open, which element of
#: a window was the largest.
Decisions = Mapping[str, torch.Tensor]

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
        self,
        x: torch.Tensor,
        wanted: Iterable[str],
        record: Record | None = None,
        decisions: Decisions | None = None,
    ) -> dict[str, torch.Tensor]:
        """Walk the network; activations after each ReLU, by layer. What a ReLU takes goes to `record`."""
        wanted = set(wanted)
        mean, scale = (torch.tensor(v, dtype=self.dtype) for v in self._preprocessing())
        parameters = self._parameters
        x = (x - mean.view(1, 3, 1, 1)) * scale.view(1, 3, 1, 1)
        found: dict[str, torch.Tensor] = {}
        for block, count in CONVOLUTIONS.items():
            for number in range(1, count + 1):
                name = f"block{block}_conv{number}"
                z = F.conv2d(x, *parameters[name], padding=1)
                x = z * (decisions[name] > 0) if decisions else F.relu(z)
                if record is not None:
                    record[name] = z
                if name in wanted:
                    found[name] = x
                if wanted == found.keys():
                    return found
            x = self._pool(x, decisions[name] if decisions else x)
        raise AssertionError(f"no such layers: {wanted - found.keys()}")

    @cached_property
    def _parameters(self) -> dict[str, list[torch.Tensor]]:
        """The kernel and the bias of every layer."""
        return {
            name: [torch.tensor(array, dtype=self.dtype) for array in (layer.dense(), layer.bias)]
            for name, layer in self.weights.layers.items()
        }

    def _pool(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        """Pool x, in max pooling to the elements that are the (first) largest of `by`."""
        if self.recipe.pooling == "average":
            return F.avg_pool2d(x, 2)
        return x.flatten(2).gather(2, winners(by).flatten(2)).view(*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2)

    def loss_and_gradient(
        self, picture: NDArray[np.float32], record: Record | None = None, decisions: Decisions | None = None
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and, by autograd, its gradient, (H, W, 3); decided as in `decisions`, where given."""
        x = self.tensor(picture).requires_grad_(True)
        loss = self.loss(x, record, decisions)
        loss.backward()
        assert x.grad is not None
        return loss.item(), x.grad[0].permute(1, 2, 0).double().numpy()

    def loss(self, x: torch.Tensor, record: Record | None = None, decisions: Decisions | None = None) -> torch.Tensor:
        """Return the loss in the words of seed.md and of the paper: sums, and un-normalised Gram matrices."""
        recipe = self.recipe
        layers = (*recipe.content.layers, *recipe.style.layers)
        f = self.activations(x, layers, record, decisions)
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

    def _preprocessing(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.weights.preprocessing.mean, self.weights.preprocessing.scale


def _gram(f: torch.Tensor) -> torch.Tensor:
    rows = f[0].flatten(1)
    return rows @ rows.T


def winners(x: torch.Tensor) -> torch.Tensor:
    """Return where in its plane, flattened, the first maximum of each 2 x 2 window lies."""
    index: torch.Tensor = F.max_pool2d(x, 2, return_indices=True)[1]
    return index


def margin(z: Record, decisions: Decisions) -> float:
    """Return how far from a tie the decisions are that differ from those of `z`, at worst.

    That is, how far from zero what a wrongly opened or shut ReLU took is, and how far below the largest of a window
    what was taken for it; in units of the layer's root mean square.
    """
    worst = 0.0
    for name, taken in z.items():
        ours, size = decisions[name], taken.square().mean().sqrt()
        flipped = taken[(taken > 0) != (ours > 0)].abs()
        y = F.relu(taken)
        short = F.max_pool2d(y, 2).flatten(2) - y.flatten(2).gather(2, winners(ours).flatten(2))
        worst = max(worst, *((t.max() / size).item() for t in (flipped, short) if t.numel()))
    return worst
