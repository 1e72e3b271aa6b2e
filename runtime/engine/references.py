"""The references, which a picture is compared with, and the targets of the loss, which are measured from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from impasto.runtime.engine.session import Session
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.pictures.masks import Regions
from impasto.runtime.pictures.planes import Planes, surrounded
from impasto.runtime.pictures.protection import Protection, guided
from impasto.runtime.plan.terms import GUIDES, IMAGE, targets_of

#: Names of a graph's inputs -> their values.
Targets = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class References:
    """The pictures that a picture is compared with.

    Attributes
    ----------
    content
        float32 [1, 3, H, W]. It fixes the size of the pictures that are compared with it.
    styles
        float32 [1, 3, h, w], each of any size.
    blend
        The share of each style in the targets; they sum to 1.
    regions
        The regions of the content and of the styles, if there are masks.
    protection
        Where the content counts more, if anywhere.
    bleed
        The pixels that the content has beyond each border of the photograph: there its masks are mirrored, too.
    """

    content: Planes
    styles: tuple[Planes, ...]
    blend: tuple[float, ...]
    regions: Regions | None = None
    protection: Protection | None = None
    bleed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the content."""
        height, width = self.content.shape[2:]
        return height, width

    @property
    def guided(self) -> int | None:
        """See `impasto.runtime.pictures.protection.guided`."""
        return guided(self.regions, self.protection)

    @cached_property
    def style_feeds(self) -> tuple[Targets, ...]:
        """The inputs of a graph of statistics for each style: its picture and, by region, their guides."""
        feeds: list[Targets] = [{IMAGE: style} for style in self.styles]
        if self.guided:
            for number, feed in enumerate(feeds):
                height, width = feed[IMAGE].shape[2:]
                regions = self.regions
                feed[GUIDES] = regions.style_guides(number, width, height) if regions else _ones(height, width)
        return tuple(feeds)

    @property
    def content_guides(self) -> NDArray[np.float32] | None:
        """The guides of the content, float32 [1, R, H, W], for graphs that take them."""
        if self.regions:
            return surrounded(self.regions.content_guides(*self._inner), self.bleed)
        return _ones(*self.shape) if self.guided else None

    @property
    def factors(self) -> NDArray[np.float32] | None:
        """The factor of the content's weight at each pixel, float32 [1, 1, H, W], for graphs that take it."""
        if self.guided is None:
            return None
        return surrounded(self.protection.factors(*self._inner), self.bleed) if self.protection else _ones(*self.shape)

    @property
    def _inner(self) -> tuple[int, int]:
        """(W, H) of the content without its bleed."""
        height, width = (side - 2 * self.bleed for side in self.shape)
        return width, height

    @property
    def content_feeds(self) -> Targets:
        """The inputs of a graph of statistics for the content.

        The graph may measure the content's style, too, which is not used: one region is the least work.
        """
        one_region = {GUIDES: _ones(*self.shape)} if self.guided else {}
        return {IMAGE: self.content, **one_region}

    def key(self, style: int) -> str:
        """Return a hash of all that a style's targets depend on, except the graph."""
        digest = hashlib.sha256()
        for name, array in self.style_feeds[style].items():
            digest.update(f"{name} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _ones(height: int, width: int) -> NDArray[np.float32]:
    return np.ones((1, 1, height, width), np.float32)


def measure(session: Session, feeds: Targets, term: Literal["content", "style"]) -> Targets:
    """Return the targets of a term, ``content`` or ``style``, by a graph of statistics; with regions, of each."""
    names = targets_of(session.metadata.recipe, term)
    measured = session.run(feeds, names, give_back=True)  # the graph may be kept for long without use
    return {name: value.copy() for name, value in measured.items()}  # the memory is the session's


def average(references: References, metadata: Metadata, measured: Sequence[Targets]) -> Targets:
    """Return the average of the styles' targets; with regions, of each region over the styles that have it."""
    shares = np.array(references.blend, np.float64)
    if references.regions:
        styles = metadata.recipe.style.layers
        deepest = max(layer.level for layer in metadata.layers if layer.name in styles)
        guides = [feed[GUIDES] for feed in references.style_feeds]
        shares = references.regions.blend(references.blend, guides, deepest)
    return {name: _average([targets[name] for targets in measured], shares) for name in measured[0]}


def _average(values: Sequence[NDArray[np.float32]], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the sum of values, one for each style, times shares, [styles] or, by region, [styles, R]."""
    stacked = np.stack(values)
    weights = shares.reshape(shares.shape + (1,) * (stacked.ndim - shares.ndim))
    total: NDArray[np.float32] = (weights * stacked).sum(0).astype(np.float32)
    return total
