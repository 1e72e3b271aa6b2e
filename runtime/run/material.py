"""The pictures of a transfer: as the user gives them, and as the stages use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from impasto.defaults import PROTECT_WEIGHT
from impasto.runtime.engine.engine import TermWeights
from impasto.runtime.engine.references import References
from impasto.runtime.errors import InputError
from impasto.runtime.pictures.colors import MATCHES
from impasto.runtime.pictures.masks import Mask, Regions
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.planes import fit_style, resize, surrounded, to_planes
from impasto.runtime.pictures.protection import PROTECT, Protection, guided
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.plan import Plan, Stage, used_styles
from impasto.runtime.plan.recipe import Recipe


@dataclass(frozen=True)
class Material:
    """The pictures of a transfer.

    Attributes
    ----------
    photograph
        The content, with the profile, metadata and transparency that a result gets back. It is taken as opaque; all
        other pictures are put over white.
    paintings
        The styles, as given.
    start
        The picture to start from, where the plan's `init` is ``picture``.
    regions
        The masks of regions, if there are any.
    protection
        The mask of what is protected, if there is one.
    places
        The place of each picture, by role, in order; None for a picture that was made in memory.
    crops
        What is left out of each style, and of its mask; empty if nothing is.
    """

    photograph: Photograph
    paintings: tuple[Image.Image, ...]
    start: Image.Image | None
    regions: Regions | None
    protection: Protection | None
    places: Mapping[str, Sequence[Place | None]]
    crops: tuple[Crop, ...] = ()

    @classmethod
    def given(
        cls,
        content: Image.Image | Photograph,
        styles: Sequence[Image.Image | Photograph],
        *,
        start: Image.Image | Photograph | None = None,
        content_mask: Mask | None = None,
        style_masks: Mask | Sequence[Mask] | None = None,
        region_strengths: Mapping[str, float] | None = None,
        protect: Picture | None = None,
        protect_weight: float = PROTECT_WEIGHT,
        crops: tuple[Crop, ...] = (),
    ) -> Material:
        """Take pictures, images of 8-bit RGB or photographs, and masks as users give them.

        Raises
        ------
        InputError
            When the masks do not fit the pictures, or a crop leaves too little of one.
        """
        photograph, *others = (
            picture if isinstance(picture, Photograph) else Photograph(picture)
            for picture in (content, *styles, *([start] if start else []))
        )
        paintings, starts = others[: len(styles)], others[len(styles) :]
        for number, (crop, painting) in enumerate(zip(crops, paintings, strict=bool(crops)), 1):
            crop.check(f"style {number}", *painting.picture.size)
        regions = Regions.match(content_mask, style_masks, len(styles), region_strengths or {})
        protection = None if protect is None else Protection.given(protect, protect_weight)
        if regions:
            regions.check_proportions(photograph.picture.size, [painting.picture.size for painting in paintings])
        if protection:
            protection.check_proportions(photograph.picture.size)
        return cls(
            photograph,
            tuple(painting.over_white() for painting in paintings),
            starts[0].over_white() if starts else None,
            regions,
            protection,
            {
                "content": [photograph.place],
                "style": [painting.place for painting in paintings],
                "init": [picture.place for picture in starts],
                **(regions.places if regions else {}),
                **(protection.places if protection else {}),
            },
            crops,
        )

    @property
    def content(self) -> Image.Image:
        """The content picture."""
        return self.photograph.picture

    @cached_property
    def cropped(self) -> tuple[Image.Image, ...]:
        """What the crops leave of the styles."""
        if not self.crops:
            return self.paintings
        pairs = zip(self.paintings, self.crops, strict=True)
        return tuple(painting.crop(crop.box(*painting.size)) if crop else painting for painting, crop in pairs)

    def styles(self, colors: str) -> tuple[Image.Image, ...]:
        """Return the styles, cropped, as a plan's `colors` has them: in the content's colours, if it says so."""
        if (match := MATCHES.get(colors)) is None:
            return self.cropped
        if colors not in self._matched:
            self._matched[colors] = tuple(match(painting, self.content) for painting in self.cropped)
        return self._matched[colors]

    @cached_property
    def _matched(self) -> dict[str, tuple[Image.Image, ...]]:
        return {}

    @cached_property
    def _cropped_regions(self) -> Regions | None:
        """The regions of the content and of the styles, cropped."""
        if not (self.regions and self.crops):
            return self.regions
        return self.regions.cropped(self.crops, [painting.size for painting in self.paintings])

    @property
    def inputs(self) -> tuple[tuple[str, Image.Image], ...]:
        """The role and the picture of every input that the result depends on, as given; those of one role in order."""
        pictures = [("content", self.content), *(("style", painting) for painting in self.paintings)]
        masks = self.regions.inputs if self.regions else ()
        protected = [(PROTECT, self.protection.image)] if self.protection else []
        return (*pictures, *([("init", self.start)] if self.start else []), *masks, *protected)

    @property
    def guided(self) -> int | None:
        """See `impasto.runtime.pictures.protection.guided`."""
        return guided(self.regions, self.protection)

    def references(self, plan: Plan, stage: Stage) -> References:
        """Return the pictures that a picture of a stage is compared with."""
        own, size = plan.of(stage), (stage.width, stage.height)
        styles = self.styles(own.colors)
        used = used_styles(own.blend, by_region=self.regions is not None)
        fitted = (fit_style(styles[k], own.recipe, *size, own.style_scale) for k in used)
        return References(
            surrounded(to_planes(resize(self.content, *size), "content"), plan.bleed),
            tuple(to_planes(style, f"style {k + 1}") for k, style in zip(used, fitted, strict=True)),
            tuple(own.blend[k] for k in used),
            self._cropped_regions,
            self.protection,
            plan.bleed,
        )

    def check(self, plan: Plan) -> None:
        """Refuse a plan with a stage in which a region of the masks has no style.

        Raises
        ------
        InputError
            Names the stage and the region.
        """
        for number, stage in enumerate(plan.stages, 1):
            own = plan.of(stage)
            for color in self.regions.without_style(own.blend) if self.regions and own is not plan else ():
                raise InputError(f"stage {number}: region {color} has no style in it; give a share to one that has it")


def weights_in(recipe: Recipe) -> TermWeights:
    """Return the weights of a stage; `recipe` is that of `Plan.of`, which a graph's own recipe need not be."""
    return TermWeights(*recipe.weights, recipe.content.layers, recipe.style.layers)
