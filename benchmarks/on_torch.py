"""PyTorch as a contender: `eager` in its own layout, eager `channels-last`, or `compile`.

`bf16` and `bf16-compile` keep kernels and activations in bfloat16, with the channels last, which is the faster layout
there. The losses are sums in float32.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch.nn import functional

from benchmarks.problem import MEAN, PROBLEMS, Rgb, load_pictures, load_weights
from benchmarks.protocol import Job, Prepared, serve


class Loss:
    """The loss of a job's problem, as PyTorch computes it."""

    def __init__(self, job: Job) -> None:
        self.problem = PROBLEMS[job.recipe]
        self.device = torch.device(job.device)
        self.dtype = torch.bfloat16 if job.variant.startswith("bf16") else torch.float32
        channels_last = job.variant == "channels-last" or self.dtype == torch.bfloat16
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {
            name: (
                torch.from_numpy(kernel).to(self.device, self.dtype, memory_format=self.format),
                torch.from_numpy(bias).to(self.device, self.dtype),
            )
            for name, (kernel, bias) in load_weights(job).items()
        }
        self.mean = torch.from_numpy(MEAN).to(self.device).view(1, 3, 1, 1)
        pictures = load_pictures(job)
        with torch.no_grad():
            self.content = self.activations(self.tensor(pictures.content))[self.problem.content_layer].float()
            painted = self.activations(self.tensor(pictures.style))
            self.grams = {name: gram(painted[name]) for name in self.problem.style_layers}

    def tensor(self, picture: Rgb) -> torch.Tensor:
        """Return a picture, (H, W, 3), on the device, in the layout in force."""
        return self.planes(picture).to(self.device)

    def planes(self, picture: Rgb) -> torch.Tensor:
        """Return a picture, (H, W, 3), on the host, in the layout in force."""
        return torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous(memory_format=self.format)

    def activations(self, x: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the activations that the loss names."""
        activations: dict[str, torch.Tensor] = {}
        x = (x - self.mean).to(self.dtype)
        for number, block in enumerate(self.problem.blocks()):
            x = functional.max_pool2d(x, 2) if number else x
            for name in block:
                kernel, bias = self.weights[name]
                x = functional.relu(functional.conv2d(x, kernel, bias, padding=1))
                if name in (self.problem.content_layer, *self.problem.style_layers):
                    activations[name] = x
        return activations

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss of a picture."""
        problem, f = self.problem, self.activations(x)
        total = problem.content_weight * ((f[problem.content_layer].float() - self.content) ** 2).sum()
        for name in problem.style_layers:
            factor = problem.style_factor(f[name].shape[1], f[name][0, 0].numel(), x[0, 0].numel())
            total = total + factor * ((gram(f[name]) - self.grams[name]) ** 2).sum()
        if problem.tv_weight:
            a = (x[:, :, :-1, :-1] - x[:, :, 1:, :-1]) ** 2
            b = (x[:, :, :-1, :-1] - x[:, :, :-1, 1:]) ** 2
            total = total + problem.tv_weight * ((a + b) ** 1.25).sum()
        return total


def gram(f: torch.Tensor) -> torch.Tensor:
    """Return the channels' inner products, over all positions; in either layout, reshaping copies nothing.

    From bfloat16 the product comes rounded to bfloat16; the differences that follow are float32.
    """
    if f.is_contiguous():
        rows = f[0].flatten(1)
        return (rows @ rows.t()).float()
    columns = f[0].permute(1, 2, 0).flatten(0, 1)
    return (columns.t() @ columns).float()


def prepare(job: Job) -> Prepared:
    """Return the evaluation of a job, and its transfer; on CUDA with TF32 where PyTorch has it by default."""
    torch.set_num_threads(job.threads)
    plain = Loss(job)
    loss = torch.compile(plain.__call__) if job.variant.endswith("compile") else plain
    start = plain.planes(load_pictures(job).start)

    def evaluate() -> tuple[float, Rgb]:
        x = start.to(plain.device).detach().requires_grad_()
        value = loss(x)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.cpu().numpy()

    def transfer(evaluations: int) -> tuple[float, float]:
        """Optimise as PyTorch's style transfers do: its own L-BFGS as it comes, one evaluation a step."""
        x = start.to(plain.device, copy=True).contiguous().requires_grad_()  # the optimiser knows no other layout
        optimizer = torch.optim.LBFGS(
            [x], max_iter=evaluations, max_eval=evaluations, tolerance_grad=0, tolerance_change=0
        )
        seconds, losses = [0.0], [float("inf")]

        def closure() -> torch.Tensor:
            began = time.perf_counter()
            optimizer.zero_grad()
            value = loss(x.contiguous(memory_format=plain.format))
            value.backward()  # type: ignore[no-untyped-call,unused-ignore]
            losses.append(value.item())
            seconds.append(time.perf_counter() - began)
            return value

        optimizer.step(closure)  # type: ignore[no-untyped-call,unused-ignore]
        return min(losses), sum(seconds)

    return Prepared(evaluate, transfer)


if __name__ == "__main__":
    serve(prepare)
