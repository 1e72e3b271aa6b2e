"""The picture that is optimised: its start, its growth from stage to stage, and the result made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.errors import InputError
from impasto.runtime.pictures import strips
from impasto.runtime.pictures.colors import KEEPS, mix, mixture, statistics, with_colors
from impasto.runtime.pictures.planes import (
    Planes,
    image_planes,
    resize,
    resize_planes,
    resized_plane,
    surrounded,
    to_image,
    to_planes,
    without_surroundings,
)
from impasto.runtime.plan.plan import PICTURE, Plan, Stage
from impasto.runtime.run.material import Material

#: The bounds of a picture's levels, when the plan has `clip`.
LEVELS = (0.0, 255.0)


def begin(plan: Plan, material: Material) -> Planes:
    """Return the picture that the first stage starts from, with the plan's share of noise: float32 [1, 3, h, w].

    It has the plan's bleed around it.

    Raises
    ------
    InputError
        When the plan starts from a picture, and there is none.
    """
    stage = plan.stages[0]
    rng, size, noise = np.random.default_rng(plan.seed), plan.canvas(stage), plan.recipe.noise
    colors = plan.of(stage).colors
    match plan.init:
        case "random":
            return _noise(size, lambda rows: noise.draw(rng, size[0], rows))
        case "statistics":
            return _noise(size, _like(material.styles(colors)[0], size[0], rng))
        case "content":
            picture: Image.Image | None = material.content
        case "style":
            picture = material.styles(colors)[0]
        case _:
            picture = material.start
    if picture is None:
        raise InputError("init picture: none given; give the picture that the run started from")
    start = surrounded(to_planes(resize(picture, stage.width, stage.height), "init"), plan.bleed)
    if not plan.noise:
        return start
    share = np.float32(plan.noise)
    start *= 1 - share
    for rows, drawn in _drawn(size, lambda rows: noise.draw(rng, size[0], rows)):
        start[0][:, rows] += share * drawn
    return start


def _noise(size: tuple[int, int], draw: Callable[[int], NDArray[np.float64]]) -> Planes:
    """Return noise of width x height, float32 [1, 3, h, w]; `draw` returns so many rows, [rows, w, 3]."""
    width, height = size
    planes = np.empty((1, 3, height, width), np.float32)
    for rows, drawn in _drawn(size, draw):
        planes[0][:, rows] = drawn
    return planes


def _drawn(size: tuple[int, int], draw: Callable[[int], NDArray[np.float64]]) -> Iterator[tuple[slice, Planes]]:
    """Draw a picture in strips; yield the rows of each, and their levels, float32 [3, rows, w].

    The numbers are those that are drawn at once, as a generator draws one after the other.
    """
    for rows in strips.rows(*size):
        yield rows, draw(rows.stop - rows.start).transpose(2, 0, 1).astype(np.float32)


def entered(point: Planes, stage: Stage, plan: Plan, material: Material, *, fresh: bool) -> Planes:
    """Return the picture that a search in a stage starts from, float32 [1, 3, height, width]: see `enlarge`.

    Where the stage says so, and has evaluated no picture yet (`fresh`), it gets the colours of the photograph or of the
    stage's styles.
    """
    own = plan.of(stage)
    start = enlarge(point, stage.width, stage.height, own, material)
    wanted = stage.options.start_colors if stage.options and fresh else None
    if wanted is None:
        return start
    pictures, shares = ([material.content], [1.0]) if wanted == "content" else (material.styles(own.colors), own.blend)
    used = [(statistics(picture), share) for picture, share in zip(pictures, shares, strict=True) if share]
    recolored = with_colors(start, mixture(used), of=without_surroundings(start, plan.bleed))
    return np.clip(recolored, *LEVELS, out=recolored) if plan.clip else recolored


def enlarge(point: Planes, width: int, height: int, plan: Plan, material: Material) -> Planes:
    """Return the best picture so far in another size, width x height; before as after, it has the plan's bleed around.

    Its difference from the photograph is enlarged, and added to the photograph in the new size. So a finer stage starts
    with every detail of the photograph, rather than with a blurred picture. When the content has no weight, or when the
    transfer started from another picture, the best picture itself is enlarged. Beyond its borders the result is
    mirrored.
    """
    enlarged, inner = point, without_surroundings(point, plan.bleed)
    if inner.shape[2:] != (height, width):
        enlarged = surrounded(_enlarged(inner, width, height, plan, material), plan.bleed)
    if not plan.clip:
        return enlarged
    return np.clip(enlarged, *LEVELS, out=None if enlarged is point else enlarged)  # enlarged edges overshoot


def _enlarged(point: Planes, width: int, height: int, plan: Plan, material: Material) -> Planes:
    """Return a picture without bleed in another size, not clipped; made smaller, it needs no photograph."""
    *_, h, w = point.shape
    from_photograph = plan.init not in ("style", PICTURE) and plan.recipe.content.weight > 0
    if max(width, height) <= max(w, h) or not from_photograph:
        return resize_planes(point, width, height)
    coarse = resize(material.content, w, h).split()
    enlarged = image_planes(resize(material.content, width, height))
    for plane, channel, into in zip(point[0], coarse, enlarged[0], strict=True):
        for rows, levels in resized_plane(plane - np.asarray(channel, np.float32), width, height):
            into[rows] += levels
    return enlarged


def picture_of(point: Planes, plan: Plan, material: Material, side: int | None = None) -> Image.Image:
    """Return the best picture so far as the user would get it: 8-bit, with the planned colours and strength.

    It has the size of the result: the picture of an earlier stage is enlarged as for the next stage.

    Parameters
    ----------
    side
        Make it smaller if its long side would have more pixels. That takes less time and memory.
    """
    scale = min(1.0, side / max(plan.width, plan.height)) if side else 1.0
    width, height = max(1, round(scale * plan.width)), max(1, round(scale * plan.height))
    image = to_image(_enlarged(without_surroundings(point, plan.bleed), width, height, plan, material))
    content = resize(material.content, *image.size)
    if plan.colors in KEEPS:
        image = KEEPS[plan.colors](image, content)
    return mix(image, content, plan.strength)


def _like(style: Image.Image, width: int, rng: np.random.Generator) -> Callable[[int], NDArray[np.float64]]:
    """Return a function that draws rows of normal noise with the mean and covariance of a picture's colours."""
    mean, covariance = statistics(style)
    covariance *= style.width * style.height / (style.width * style.height - 1)  # without bias

    def draw(rows: int) -> NDArray[np.float64]:
        return rng.multivariate_normal(mean, covariance, (rows, width), method="svd").clip(0, 255)

    return draw
