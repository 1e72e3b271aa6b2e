"""The picture that is optimised: its start, its growth from stage to stage, and the result made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import InputError
from impasto.runtime.pictures.colors import keep_colors, mix
from impasto.runtime.pictures.planes import Planes, resize, resize_planes, to_image, to_planes
from impasto.runtime.plan.plan import PICTURE, Plan, Stage
from impasto.runtime.run.material import Material

#: The bounds of a picture's levels, when the plan has `clip`.
LEVELS = (0.0, 255.0)


def begin(plan: Plan, material: Material) -> Planes:
    """Return the picture that the first stage starts from, with the plan's share of noise: float32 [1, 3, h, w].

    Raises
    ------
    InputError
        When the plan starts from a picture, and there is none.
    """
    stage = plan.stages[0]
    rng, size, noise = np.random.default_rng(plan.seed), (stage.width, stage.height), plan.recipe.noise
    match plan.init:
        case "random":
            return to_planes(noise.draw(rng, *size), "init")
        case "statistics":
            return to_planes(_like(material.styles[0], stage, rng), "init")
        case "content":
            picture: Image.Image | None = material.content
        case "style":
            picture = material.styles[0]
        case _:
            picture = material.start
    if picture is None:
        raise InputError("init picture: none given; give the picture that the run started from")
    start = to_planes(resize(picture, *size), "init")
    if not plan.noise:
        return start
    drawn = to_planes(noise.draw(rng, *size), "init")
    return (1 - np.float32(plan.noise)) * start + np.float32(plan.noise) * drawn


def enlarge(point: Planes, width: int, height: int, plan: Plan, material: Material) -> Planes:
    """Return the best picture so far in another size, float32 [1, 3, height, width].

    Its difference from the photograph is enlarged, and added to the photograph in the new size. So a finer stage starts
    with every detail of the photograph, rather than with a blurred picture. When the content has no weight, or when the
    transfer started from another picture, the best picture itself is enlarged.
    """
    *_, h, w = point.shape
    from_photograph = plan.init not in ("style", PICTURE) and plan.recipe.content.weight > 0
    if (w, h) == (width, height) or not from_photograph:
        enlarged = resize_planes(point, width, height)
    else:
        sizes = (w, h), (width, height)
        coarse, fine = (to_planes(resize(material.content, *size), "content") for size in sizes)
        enlarged = fine + resize_planes(point - coarse, width, height)
    return enlarged.clip(*LEVELS) if plan.clip else enlarged  # sharp edges overshoot when they are enlarged


def picture_of(point: Planes, plan: Plan, material: Material) -> Image.Image:
    """Return the best picture so far as the user would get it: 8-bit, with the planned colours and strength.

    It has the size of the result: the picture of an earlier stage is enlarged as for the next stage.
    """
    image = to_image(enlarge(point, plan.width, plan.height, plan, material))
    content = resize(material.content, *image.size)
    if plan.colors == "keep":
        image = keep_colors(image, content)
    return mix(image, content, plan.strength)


def _like(style: Image.Image, stage: Stage, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return normal noise with the mean and covariance of a picture's colours, [H, W, 3]."""
    levels = np.asarray(style, np.float64).reshape(-1, 3)
    shape = (stage.height, stage.width)
    drawn: NDArray[np.float64] = rng.multivariate_normal(levels.mean(0), np.cov(levels.T), shape, method="svd")
    return drawn.clip(0, 255)
