"""Masks: label pictures that say which region of the content takes its style from which region of a style picture.

Pixels of the same colour are of the same region: in one mask, and across the content's mask and the styles'. A region
is a colour that fills some area. Every other pixel, as on a soft edge or beside one in a JPEG, is shared between the
two regions whose mix is most like it. The inputs of a graph are *guides*: the share of each pixel in each region.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from impasto.runtime.errors import InputError, PictureError
from impasto.runtime.pictures import arrays, places, strips
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.planes import as_list
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.plan import check_times
from impasto.runtime.plan.sizes import MIN_SIDE
from impasto.text import shown
from impasto.wording import option

#: float32 [1, R, H, W], 0..1: the share of each pixel in each of R regions. In a content picture they sum to 1; in a
#: style picture, a pixel that is in none of the content's regions has no shares.
Guides = NDArray[np.float32]

Color = tuple[int, int, int]

#: The number of each pixel's colour, [H, W], in as few bytes as will do.
Codes = NDArray[np.unsignedinteger]

#: The roles of masks among the inputs of a transfer.
CONTENT_MASK, STYLE_MASK = "content-mask", "style-mask"

#: A region is a colour whose flat pixels, those with eight neighbours of the same colour, are this share of its mask.
SMALLEST = 1e-3

#: The colours of a mask are exact, such as 0, 1, 2, ..., if there are no more than so many, and if less than this share
#: of its pixels has colours without an area. Soft edges and JPEG make pixels of such colours.
FEW, EDGES = 64, 0.01

#: A mask has no more regions: each has a target that is measured and kept, and a guide over all pixels.
MOST_REGIONS = 64

#: A mask has no more colours, those of soft edges and of JPEG's noise included: a photograph has more. The mixes of so
#: many colours are computed at a time.
MOST_COLORS, _AT_ONCE = 1 << 18, 1 << 14

#: If colours are not exact, those closer than this (Euclidean, in levels) are one colour, ...
NOISE = 16.0

#: ... or closer than a part of the distance of the mask's colours, if that is less: of the farthest two, in one mask;
#: of the nearest two, for a region's colour in two masks.
_WITHIN, _ACROSS = 1 / 8, 1 / 3

#: A picture is no mask if this share of it is in stray colours, farther than this from all regions and their mixes.
STRAY, MANY = 48.0, 0.02

#: The mix of a colour has one of so many regions that are most like it.
_NEAREST = 4

#: A smaller share of a pixel in a region is taken as 0: resizing leaves such shares.
_LEAST = 1 / 256

#: The proportions of a mask and its picture may differ by this factor.
_STRETCH = 1.03

_COLOR = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True, eq=False)
class Labels:
    """A label picture and its regions.

    Attributes
    ----------
    subject
        Its name in errors.
    image
        The mask itself, 8-bit RGB.
    colors
        The colours of its regions, those with the largest flat areas first.
    shares
        The share of each region in the picture; they sum to 1.
    codes, weights
        The number of each pixel's colour [H, W], and the share of each colour in each region [colours, R].
    place
        The origin of the mask, or its colour, if it is a single one.
    """

    subject: str
    image: Image.Image
    colors: tuple[Color, ...]
    shares: tuple[float, ...]
    codes: Codes
    weights: NDArray[np.float32]
    place: Place | None = None

    @property
    def spacing(self) -> float:
        """The distance of the two colours that are most alike; infinite, if there is only one."""
        pairs = itertools.combinations(np.array(self.colors, np.float64), 2)
        return min((float(np.linalg.norm(one - other)) for one, other in pairs), default=math.inf)

    def guides(self, width: int, height: int, regions: Sequence[int | None]) -> Guides:
        """Return the guides of these regions for a picture of width x height; a region that is None has no pixels."""
        shrinks = width <= self.image.width and height <= self.image.height
        resample = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        guides = np.zeros((1, len(regions), height, width), np.float32)
        for guide, region in zip(guides[0], regions, strict=True):
            if region is not None:
                self._draw_guide(guide, region, resample)
        return guides

    def cropped(self, crop: Crop, width: int, height: int) -> Labels:
        """Return the mask of what a crop leaves of its picture of width x height; its colours stay as they are."""
        if not crop or len(self.colors) == 1:
            return self
        across, down = self.image.width / width, self.image.height / height
        left, top, right, bottom = box = crop.scaled(across, down).box(*self.image.size)
        return replace(self, image=self.image.crop(box), codes=self.codes[top:bottom, left:right])

    def _draw_guide(self, guide: NDArray[np.float32], region: int, resample: Image.Resampling) -> None:
        """Fill an array [H, W] with the share of each pixel in a region."""
        height, width = guide.shape
        weights = self.weights[:, region]
        shares = strips.painted("F", self.image.size, lambda rows: weights[self.codes[rows]])
        if shares.size != (width, height):
            shares = shares.resize((width, height), resample)
        for rows in strips.rows(width, height):
            levels = strips.levels(shares, rows)
            guide[rows] = np.where(levels < _LEAST, 0, levels)


#: A label picture, its place, or a colour such as ``"#ff0000"``: then all of the picture is that region.
Mask = Picture | Labels


def hex_color(color: Color) -> str:
    """Write a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def read_labels(mask: Mask, subject: str) -> Labels:
    """Find the regions of a mask; `subject` names it in errors.

    Raises
    ------
    PictureError
        When it is neither a picture nor a colour, or is not made of at most `MOST_REGIONS` areas of one colour each.
    """
    if isinstance(mask, Labels):
        return mask
    photograph = _photograph(mask, subject)
    image = photograph.over_white()
    values, codes = _coded(image)
    counts, flat = _counted(codes, len(values))
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.float32)
    has_area = flat >= max(1, SMALLEST * codes.size)
    if not has_area.any():
        raise PictureError(f"{subject}: has no area of one colour; expected a label picture, one flat colour a region")
    if len(values) > MOST_COLORS:
        raise PictureError(
            f"{subject}: has {len(values)} colours; expected a label picture, one flat colour a region, and "
            f"{MOST_COLORS} at most: save it as PNG"
        )
    exact = len(values) <= FEW and counts[~has_area].sum() < EDGES * codes.size
    farthest = float(np.linalg.norm(np.ptp(colors[has_area], axis=0)))
    tolerance = 0.0 if exact else min(NOISE, _WITHIN * farthest)
    regions = _distinct(colors[has_area], flat[has_area], tolerance)
    if len(regions) > MOST_REGIONS:
        raise PictureError(
            f"{subject}: has {len(regions)} regions (flat areas of one colour, {SMALLEST:.1%} of it or more); expected "
            f"{MOST_REGIONS} at most: give those that may share a style one colour"
        )
    weights, stray = _mixes(colors, regions, tolerance)
    if (lost := counts[stray > STRAY].sum() / codes.size) > MANY:
        raise PictureError(
            f"{subject}: {lost:.0%} of it is neither in the colour of an area ({_list(regions)}) nor between two of "
            "them; expected a label picture, one flat colour a region"
        )
    shares = counts @ weights / codes.size
    named = tuple(map(_as_color, regions))
    return Labels(subject, image, named, tuple(map(float, shares)), codes, weights, photograph.place)


def _photograph(mask: Picture, subject: str) -> Photograph:
    """Return the picture of a mask, or one of its colour."""
    if isinstance(mask, str) and is_color(mask):
        return Photograph(plain(mask), place=mask)
    if isinstance(mask, str) and places.is_missing(mask):
        advice = "check the path, or give a colour such as #ff0000"
        raise PictureError(f"picture {places.name(mask)}: no such file; {advice}")
    if not isinstance(mask, str | os.PathLike | Image.Image) and arrays.is_array(mask):
        mask = arrays.as_numpy(mask, subject)
        if mask.dtype.kind in "iu" and mask.size and mask.min() >= 0 and mask.max() <= 255:
            mask = mask.astype(np.uint8)  # numbers of labels, whatever their type
    return Photograph.given(mask, subject)


def is_color(text: object) -> bool:
    """Whether a text is a mask's colour, such as ``#ff0000``, rather than the place of a mask."""
    return isinstance(text, str) and bool(_COLOR.fullmatch(text))


def plain(color: str) -> Image.Image:
    """Return a mask of a single colour."""
    return Image.new("RGB", (MIN_SIDE, MIN_SIDE), color)


def _as_color(levels: NDArray[np.float32]) -> Color:
    r, g, b = map(int, levels)
    return r, g, b


def _list(regions: NDArray[np.float32]) -> str:
    names = [hex_color(_as_color(region)) for region in regions[:8]]
    return ", ".join(names) + (", ..." if len(regions) > len(names) else "")


def _coded(image: Image.Image) -> tuple[NDArray[np.int32], Codes]:
    """Return the colours of a picture, as numbers 0xRRGGBB that rise, and the number of each pixel's colour [H, W]."""

    def packed(rows: slice) -> NDArray[np.int32]:
        return strips.levels(image, rows).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)

    values = np.empty(0, np.int32)
    for rows in strips.rows(*image.size):
        values = np.union1d(values, packed(rows))
    codes = np.empty((image.height, image.width), np.min_scalar_type(len(values)))
    for rows in strips.rows(*image.size):
        codes[rows] = np.searchsorted(values, packed(rows))
    return values, codes


def _counted(codes: Codes, colors: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each colour the number of its pixels, and of those whose neighbours all have it, too."""
    counts, flat = np.zeros(colors, np.intp), np.zeros(colors, np.intp)
    for rows in strips.rows(codes.shape[1], codes.shape[0]):
        strip = codes[rows]
        counts += np.bincount(strip.ravel(), minlength=colors)
        flat += np.bincount(strip[_is_flat(codes, rows)], minlength=colors)
    return counts, flat


def _is_flat(codes: Codes, rows: slice) -> NDArray[np.bool_]:
    """Return, for each pixel of a strip, whether it has the colour of all its neighbours."""
    above, below = max(rows.start - 1, 0), min(rows.stop + 1, len(codes))
    borders = (above == rows.start, below == rows.stop)
    padded = np.pad(codes[above:below], (borders, (1, 1)), mode="edge")
    strip, (height, width) = codes[rows], codes[rows].shape
    windows = (padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return functools.reduce(np.logical_and, (window == strip for window in windows))


def _distinct(colors: NDArray[np.float32], flat: NDArray[np.intp], tolerance: float) -> NDArray[np.float32]:
    """Return colours by falling area; those within the tolerance of a larger one are left out."""
    chosen = np.empty((0, 3), np.float32)
    for color in colors[np.argsort(-flat, kind="stable")]:
        if (np.linalg.norm(chosen - color, axis=1) > tolerance).all():
            chosen = np.vstack([chosen, color])
    return chosen


def _mixes(
    colors: NDArray[np.float32], regions: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Call `_mixes_of` for some colours at a time, since it takes many times their memory, and join its results."""
    starts = range(0, len(colors), _AT_ONCE)
    weights, errors = zip(*(_mixes_of(colors[k : k + _AT_ONCE], regions, tolerance) for k in starts), strict=True)
    return np.concatenate(weights), np.concatenate(errors)


def _mixes_of(
    colors: NDArray[np.float32], regions: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the share of each colour in each region [colours, R], and its distance from the mix of these regions.

    A colour within the tolerance of a region's colour is all that region's. Any other colour is taken for the nearest
    mix (1 - s) a + s b of the colours a and b of two regions, where a is one of those most like it.
    """
    distances = np.stack([np.linalg.norm(colors - region, axis=1) for region in regions], axis=1)
    nearest = np.argsort(distances, axis=1)[:, :_NEAREST]
    first = nearest[:, 0].copy()
    second, part = first.copy(), np.zeros(len(colors), np.float32)
    error = np.take_along_axis(distances, nearest[:, :1], axis=1)[:, 0]
    settled = error <= tolerance
    for candidate in nearest.T:
        start = regions[candidate]
        for other, end in enumerate(regions):
            along = end - start
            length = np.maximum((along**2).sum(1), 1)
            s = (((colors - start) * along).sum(1) / length).clip(0, 1)
            residual = np.linalg.norm(start + s[:, None] * along - colors, axis=1)
            better = ~settled & (residual < error - 1e-3)
            first[better], second[better], part[better] = candidate[better], other, s[better]
            error[better] = residual[better]
    weights = np.zeros(distances.shape, np.float32)
    rows = np.arange(len(colors))
    weights[rows, first] += 1 - part
    weights[rows, second] += part
    return weights, error


# --- content and styles ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regions:
    """The regions of a content picture, and the same regions in each style picture.

    Attributes
    ----------
    content, styles
        The masks.
    of_styles
        For each style and each of the content's regions, the number of the style's own region; None if it has none.
    strengths
        How many times the style of each of the content's regions counts; nothing if all count once.
    """

    content: Labels
    styles: tuple[Labels, ...]
    of_styles: tuple[tuple[int | None, ...], ...]
    strengths: tuple[float, ...] = ()

    @classmethod
    def match(
        cls,
        content_mask: Mask | None,
        style_masks: Mask | Sequence[Mask] | None,
        styles: int,
        strengths: Mapping[str, float] = MappingProxyType({}),
    ) -> Regions | None:
        """Match the colours of the content's mask and of one mask for each style; None if there are no masks.

        Parameters
        ----------
        strengths
            A region's colour, such as ``"#ff0000"`` -> how many times its style counts; 1 for those left out.

        Raises
        ------
        InputError
            When a mask is missing or is not a mask, a region of the content is in no style mask, or no mask has a
            colour of the strengths.
        """
        masks = _as_masks(style_masks)
        if content_mask is None and not masks:
            if strengths:
                strength, missing = option("region_strengths"), option("content_mask")
                raise InputError(f"{strength}: there are no regions without {missing}; give that, or leave this out")
            return None
        if content_mask is None:
            missing, beside = option("content_mask"), option("style_masks")
            raise InputError(f"{missing}: none given beside {beside}; give both, or neither")
        content = read_labels(content_mask, "content mask")
        if len(masks) != styles:
            given = f"{option('style_masks')}: {len(masks)} given for {styles} styles"
            raise InputError(f"{given}; give one for each, in their order")
        read = tuple(read_labels(mask, f"style mask {k}") for k, mask in enumerate(masks, 1))
        of_styles = tuple(tuple(_counterpart(color, content, style) for color in content.colors) for style in read)
        for number, (color, share) in enumerate(zip(content.colors, content.shares, strict=True)):
            if all(regions[number] is None for regions in of_styles):
                has = "; ".join(f"{style.subject} has {', '.join(map(hex_color, style.colors))}" for style in read)
                raise InputError(
                    f"region {hex_color(color)} of the content mask ({share:.1%} of it) is in no style mask ({has}); "
                    "give it an area in one of them"
                )
        return cls(content, read, of_styles, _strengths(strengths, content, read))

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.content.colors)

    @property
    def places(self) -> dict[str, list[Place | None]]:
        """The places of the masks, by role."""
        return {CONTENT_MASK: [self.content.place], STYLE_MASK: [style.place for style in self.styles]}

    @property
    def inputs(self) -> tuple[tuple[str, Image.Image], ...]:
        """Every mask and its role, as in `impasto.runtime.run.material.Material.inputs`."""
        return (CONTENT_MASK, self.content.image), *((STYLE_MASK, style.image) for style in self.styles)

    def check_proportions(self, content: tuple[int, int], styles: Sequence[tuple[int, int]]) -> None:
        """Refuse masks whose proportions are not those of their pictures: most likely they belong to other pictures.

        Parameters
        ----------
        content, styles
            The width and height of each picture. A mask of a single colour fits all.

        Raises
        ------
        PictureError
            Names the mask.
        """
        for labels, size in zip((self.content, *self.styles), (content, *styles), strict=True):
            if len(labels.colors) > 1:
                check_proportions(labels.subject, labels.image.size, size)

    def cropped(self, crops: Sequence[Crop], sizes: Sequence[tuple[int, int]]) -> Regions:
        """Return the same regions of what crops leave of the styles, whose sizes, (width, height), are given."""
        masks = zip(self.styles, crops, sizes, strict=True)
        return replace(self, styles=tuple(mask.cropped(crop, *size) for mask, crop, size in masks))

    def content_guides(self, width: int, height: int) -> Guides:
        """Return the guides of a content picture of width x height, times the root of each region's strength.

        A region's loss counts as much as the mean of its squared guide, while its statistics do not depend on the
        guide's scale: so it counts `strengths` times as much.
        """
        guides = self.content.guides(width, height, range(self.number))
        for guide, strength in zip(guides[0], self.strengths, strict=False):
            guide *= np.float32(math.sqrt(strength))
        return guides

    def style_guides(self, style: int, width: int, height: int) -> Guides:
        """Return the guides of a style picture, by its number from 0, of width x height."""
        return self.styles[style].guides(width, height, self.of_styles[style])

    def without_style(self, blend: Sequence[float]) -> list[str]:
        """Return the colours of the regions that no style has, of those that have a share in a blend."""
        used = [regions for regions, share in zip(self.of_styles, blend, strict=True) if share]
        colors = enumerate(self.content.colors)
        return [hex_color(color) for k, color in colors if all(regions[k] is None for regions in used)]

    def blend(self, blend: Sequence[float], guides: Sequence[Guides], level: int) -> NDArray[np.float64]:
        """Return the share of each style in the target of each region, [styles, R]; over the styles they sum to 1.

        A style that lacks a region has no share in it.

        Parameters
        ----------
        blend
            The share of each style in a picture without regions.
        guides
            The guides of each style picture, in its size.
        level
            The number of poolings before the deepest layer: pixels that these leave out do not count.

        Raises
        ------
        InputError
            When no pixel is left of a region.
        """
        shares = np.array([share * _visible(guide, level) for share, guide in zip(blend, guides, strict=True)])
        for color, left in zip(self.content.colors, shares.sum(0), strict=True):
            if not left:
                raise InputError(
                    f"region {hex_color(color)}: no style is left for it; give it a larger area in a style mask, "
                    "or more weight to a style that has it"
                )
        blended: NDArray[np.float64] = shares / shares.sum(0)
        return blended

    def __str__(self) -> str:
        each = zip(self.content.colors, self.content.shares, strict=True)
        plural = "s" if self.number > 1 else ""
        described = [f"{hex_color(color)} {share:.1%}" for color, share in each]
        for number, strength in enumerate(self.strengths):
            described[number] += f" (strength {strength:g})" if strength != 1 else ""
        return f"{self.number} region{plural}: {', '.join(described)}"


def _as_masks(masks: Mask | Sequence[Mask] | None) -> list[Mask]:
    if masks is None:
        return []
    return [masks] if isinstance(masks, Labels) else as_list(masks, option("style_masks"))


def _counterpart(color: Color, content: Labels, style: Labels) -> int | None:
    """Return the number of the style's region that has a colour of the content's; None if there is none."""
    return _found(color, style, min(NOISE, _ACROSS * content.spacing, _ACROSS * style.spacing))


def _found(color: Color, labels: Labels, tolerance: float) -> int | None:
    """Return the number of a mask's region whose colour is the nearest, if it is within the tolerance."""
    distances = np.linalg.norm(np.array(labels.colors, np.float64) - color, axis=1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] <= tolerance else None


def _strengths(given: Mapping[str, float], content: Labels, styles: Sequence[Labels]) -> tuple[float, ...]:
    """Return the strength of each of the content's regions; nothing if none is given.

    A region that only a style's mask has is not used, and neither is its strength.

    Raises
    ------
    InputError
        When no mask has the region, it is given twice, or its strength is out of range.
    """
    strengths = dict[int, float]()
    for name, strength in given.items():
        if not is_color(name):
            raise InputError(f"{option('region_strengths')} {shown(name)}: expected a region's colour, such as #ff0000")
        check_times(f"{option('region_strengths')} {name}", strength)
        red, green, blue = ImageColor.getrgb(name)[:3]
        number, *others = (
            _found((red, green, blue), labels, min(NOISE, _ACROSS * labels.spacing)) for labels in (content, *styles)
        )
        if number in strengths:
            raise InputError(f"{option('region_strengths')}: {name} is a region that is given twice; give it once")
        if number is not None:
            strengths[number] = strength
        elif all(other is None for other in others):
            has = ", ".join(map(hex_color, content.colors))
            raise InputError(f"{option('region_strengths')} {name}: no such region in the content mask; it has {has}")
    return tuple(strengths.get(number, 1.0) for number in range(len(content.colors))) if strengths else ()


def check_proportions(subject: str, mask: tuple[int, int], picture: tuple[int, int]) -> None:
    """Refuse a mask whose proportions are not those of its picture; both are given as (width, height).

    Raises
    ------
    PictureError
        Names the mask.
    """
    ratio = mask[0] * picture[1] / (mask[1] * picture[0])
    if not 1 / _STRETCH <= ratio <= _STRETCH:
        sizes = f"{mask[0]}x{mask[1]} pixels for a picture of {picture[0]}x{picture[1]}"
        raise PictureError(f"{subject}: {sizes}; expected the same proportions")


def _visible(guides: Guides, level: int) -> NDArray[np.bool_]:
    """Return which regions have a pixel that no pooling leaves out; each leaves out an odd last row or column."""
    height, width = (side >> level << level for side in guides.shape[2:])
    return np.array([guide[:height, :width].any() for guide in guides[0]])
