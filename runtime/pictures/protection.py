"""Protection: a mask that says where the content counts more, so that a face, say, stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.runtime.pictures.masks import Regions, check_proportions
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.places import Place
from impasto.runtime.plan.plan import check_times
from impasto.wording import option

#: The role of the mask among the inputs of a transfer.
PROTECT = "protect"

_SUBJECT = "protection mask"


@dataclass(frozen=True, eq=False)
class Protection:
    """A mask of the content picture, and how much more the content counts where it is white.

    Attributes
    ----------
    image
        The mask's grey levels, as 8-bit RGB: white is protected, black is not, grey is in between.
    times
        The factor of the content's weight where the mask is white.
    place
        The origin of the mask.
    """

    image: Image.Image
    times: float
    place: Place | None = None

    @classmethod
    def given(cls, mask: Picture, times: float) -> Protection:
        """Take a mask of any mode and size. Of a colour its luminance counts; transparent parts are black.

        Raises
        ------
        PictureError
            When it is no picture.
        InputError
            When the factor is out of range.
        """
        check_times(option("protect_weight"), times)
        photograph = Photograph.given(mask, _SUBJECT)
        return cls(grey(photograph), times, photograph.place)

    @property
    def share(self) -> float:
        """The mean of the mask, 0..1."""
        counts = np.array(self.image.getchannel(0).histogram())
        return float(counts @ np.arange(256) / (255 * counts.sum()))

    @cached_property
    def is_idle(self) -> bool:
        """Whether it changes nothing: the mask is black everywhere, or the factor is 1."""
        return self.times == 1 or self.image.getchannel(0).getextrema() == (0, 0)

    @property
    def places(self) -> Mapping[str, list[Place | None]]:
        """The place of the mask, by role."""
        return {PROTECT: [self.place]}

    def check_proportions(self, content: tuple[int, int]) -> None:
        """Refuse a mask whose proportions are not those of the content, of this width and height.

        Raises
        ------
        PictureError
            Names the mask.
        """
        check_proportions(_SUBJECT, self.image.size, content)

    def factors(self, width: int, height: int) -> NDArray[np.float32]:
        """Return the factor of the content's weight at each pixel of a width x height picture, float32 [1, 1, H, W].

        It is 1 + (times - 1) s for a share s of white. The mask is reduced by averaging areas, enlarged bilinearly.
        """
        grey_ = self.image.getchannel(0)
        if grey_.size != (width, height):
            shrinks = width <= grey_.width and height <= grey_.height
            resample = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
            grey_ = grey_.convert("F").resize((width, height), resample)
        share = np.asarray(grey_, np.float32) / np.float32(255)
        factors: NDArray[np.float32] = 1 + np.float32(self.times - 1) * share
        return np.maximum(factors, 0, out=factors)[None, None]

    def __str__(self) -> str:
        if self.is_idle:
            return "nothing is protected"
        return f"{self.share:.1%} protected: the content counts {self.times:g} times there"


def grey(photograph: Photograph) -> Image.Image:
    """Return the grey levels of a mask as 8-bit RGB; transparent parts are black."""
    return photograph.over("black").convert("L").convert("RGB")


def guided(regions: Regions | None, protection: Protection | None) -> int | None:
    """Return the number of regions in graphs with guides, 1 without masks of regions; None for the ordinary graphs."""
    if regions:
        return regions.number
    return 1 if protection and not protection.is_idle else None
