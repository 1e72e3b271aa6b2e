"""`stylize`: a whole transfer, from two pictures to a third."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from impasto.defaults import REFERENCE_RECIPE
from impasto.runtime.errors import InputError
from impasto.runtime.model import OBJECTIVE, ModelFolder
from impasto.runtime.objective import Objective
from impasto.runtime.optimize import Evaluation, minimize
from impasto.runtime.pictures import (
    Picture,
    Planes,
    as_image,
    fit_style,
    resize,
    result_size,
    to_image,
    to_planes,
)
from impasto.runtime.recipe import INITS, Noise, parse_size
from impasto.runtime.session import read_metadata

#: The first step that the line search tries changes pixels by so many levels (root mean square).
FIRST_STEP = 4.0


@dataclass(frozen=True)
class Step:
    """One evaluation of a transfer.

    Attributes
    ----------
    evaluation, evaluations
        The number of this one, from 1, and how many there will be.
    loss, terms
        The loss and its weighted terms, which sum to it.
    improved
        Whether no earlier loss was as low.
    seconds
        Time since the optimisation began.
    """

    evaluation: int
    evaluations: int
    loss: float
    terms: dict[str, float]
    improved: bool
    seconds: float


@dataclass(frozen=True)
class Result:
    """A finished transfer: the picture with the lowest loss, and how it came about.

    Attributes
    ----------
    image
        8-bit RGB.
    loss, terms
        Of that picture, before rounding to 8 bits.
    evaluations
        How many were made, every one counted.
    reason
        Why the optimisation ended.
    history
        Every evaluation.
    seconds
        Time spent optimising.
    """

    image: Image.Image
    loss: float
    terms: dict[str, float]
    evaluations: int
    reason: str
    history: tuple[Step, ...]
    seconds: float
    device: str


def stylize(
    content: Picture,
    styles: Sequence[Picture],
    *,
    model: str | Path,
    recipe: str = REFERENCE_RECIPE,
    size: int | tuple[int, int] | str | None = None,
    evaluations: int | None = None,
    init: str | Picture | None = None,
    seed: int = 0,
    device: str = "auto",
    lowering: str = "auto",
    threads: int | None = None,
    low_memory: bool = False,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    restart_every: int | None = None,
    callback: Callable[[Step], None] | None = None,
) -> Result:
    """Repaint the content picture in the manner of the styles.

    Parameters
    ----------
    content, styles
        Images, or (H, W, 3) arrays, RGB, 0..255. The targets of several styles are averaged.
    model, recipe
        A model folder, and one of the recipes it holds.
    size
        Long side in pixels, (width, height), or text as ``--size`` takes it; the recipe's by default.
    evaluations
        How often loss and gradient are evaluated; the recipe's number by default.
    init
        ``random``, ``content``, ``style``, or a picture to start from; the recipe's by default.
    seed
        Of the noise that ``random`` starts from.
    device, lowering, threads, low_memory
        Where and how it runs; see `impasto.runtime.session.Placement`.
    content_weight, style_weight, tv_weight
        Instead of the recipe's own, in its convention.
    restart_every
        See `impasto.runtime.optimize.minimize`.
    callback
        Called after every evaluation; may raise `StopOptimization` to end early with the best picture so far.

    Raises
    ------
    InputError
        When an argument will not do; before any work.
    TransferError
        When not even the start has a finite loss.
    """
    plan = read_metadata(ModelFolder.open(model), recipe, OBJECTIVE).recipe
    plan.with_weights(content_weight, style_weight, tv_weight)  # refused here rather than after some work
    count = plan.evaluations if evaluations is None else evaluations
    for name, number in (("evaluations", count), ("restart_every", restart_every)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; expected 1 or more")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    photograph = as_image(content, "content")
    paintings = [as_image(style, f"style {k}") for k, style in enumerate(styles, 1)]
    width, height = result_size(_size(plan.size if size is None else size), photograph)
    photograph = resize(photograph, width, height)
    start = _start(plan.init if init is None else init, plan.noise, photograph, paintings, seed)
    objective = Objective.open(
        model,
        recipe,
        content=photograph,
        styles=[fit_style(painting, plan.style_fit, width, height) for painting in paintings],
        device=device,
        lowering=lowering,
        threads=threads,
        low_memory=low_memory,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
    )
    return _optimize(objective, start, count, restart_every, callback)


def _optimize(
    objective: Objective,
    start: Planes,
    evaluations: int,
    restart_every: int | None,
    callback: Callable[[Step], None] | None,
) -> Result:
    history: list[Step] = []
    began = time.perf_counter()

    def record(e: Evaluation) -> None:
        seconds = time.perf_counter() - began
        history.append(Step(e.number, evaluations, e.loss, objective.terms, e.improved, seconds))
        if callback:
            callback(history[-1])

    parity = restart_every is not None  # then SciPy does all exactly as the reference algorithm has it
    best = minimize(
        objective.evaluate,
        start,
        evaluations=evaluations,
        first_step=1.0 if parity else FIRST_STEP * start.size**0.5,
        restart_every=restart_every,
        callback=record,
    )
    return Result(
        image=to_image(best.point),
        loss=best.loss,
        terms=next(step.terms for step in reversed(history) if step.improved),
        evaluations=best.evaluations,
        reason=best.reason,
        history=tuple(history),
        seconds=time.perf_counter() - began,
        device=objective.device,
    )


def _size(size: int | tuple[int, int] | str) -> int | tuple[int, int]:
    return parse_size(size) if isinstance(size, str) else size


def _start(init: str | Picture, noise: Noise, content: Image.Image, styles: Sequence[Image.Image], seed: int) -> Planes:
    """Return what the optimisation starts from, of the (resized) content's size."""
    if not isinstance(init, str):
        return to_planes(resize(as_image(init, "init"), *content.size), "init")
    match init:
        case "random":
            rng = np.random.default_rng(seed)
            levels = rng.uniform(noise.low, noise.high, (content.height, content.width, 3))
            return to_planes(levels, "init")
        case "content":
            return to_planes(content, "content")
        case "style" if styles:
            return to_planes(resize(styles[0], *content.size), "style")
    raise InputError(f"init {init!r}: expected one of {', '.join(INITS)}, or a picture")
