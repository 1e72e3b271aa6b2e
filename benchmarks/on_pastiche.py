"""pastiche 1.6.0: its program with its evaluations counted, and its loss of any picture.

Runs in PyTorch's environment, as ``python -m benchmarks.on_pastiche run ARGUMENT...`` (the program's own arguments) or
``python -m benchmarks.on_pastiche score CONTENT STYLE PICTURE...``. Prints one JSON object on its last line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import torch
from pastiche.pastiche import PasticheArtist, load_image, main


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the program as it is; return how often it computed its loss, and how often the loss's gradient."""
    losses = gradients = 0
    calc_loss: Callable[..., Any] = PasticheArtist._calc_loss
    backward: Callable[..., Any] = torch.Tensor.backward

    def counted_loss(artist: Any) -> Any:
        nonlocal losses
        losses += 1
        return calc_loss(artist)

    def counted_backward(*arguments: Any, **options: Any) -> Any:
        nonlocal gradients
        gradients += 1
        return backward(*arguments, **options)

    with (
        mock.patch.object(PasticheArtist, "_calc_loss", counted_loss),
        mock.patch.object(torch.Tensor, "backward", counted_backward),
    ):
        status = main(["pastiche", *arguments])
    return {"status": status, "losses": losses, "gradients": gradients}


def score(content: str, style: str, pictures: Sequence[str]) -> dict[str, Any]:
    """Return the program's own loss of each picture; nothing is resized if all are squares of one size."""
    artist = PasticheArtist(content, [style], device="cpu")
    losses: list[float] = []
    for picture in pictures:
        artist.pastiche = load_image(picture, size=artist.content_size)
        with torch.no_grad():
            losses.append(artist._calc_loss().item())
    return {"size": artist.content_size, "style_sizes": artist.style_sizes, "losses": losses}


if __name__ == "__main__":
    _, task, *rest = sys.argv
    print(json.dumps(run(rest) if task == "run" else score(rest[0], rest[1], rest[2:])))
