"""The pictures of a transfer: as the user gives them, and as the stages use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from impasto.defaults import PROTECT_WEIGHT
from impasto.runtime.engine.references import References
from impasto.runtime.pictures.colors import MATCHES
from impasto.runtime.pictures.masks import Mask, Regions
from impasto.runtime.pictures.photographs import Photograph, Picture
from impasto.runtime.pictures.places import Place
from impasto.runtime.pictures.planes import fit_style, resize, surrounded, to_planes
from impasto.runtime.pictures.protection import PROTECT, Protection, guided
from impasto.runtime.plan.crop import Crop
from impasto.runtime.plan.plan import Plan, Stage


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
    colors
        The plan's `colors`, for the styles' colours may be matched to the content's.
    crops
        What is left out of each style, and of its mask; empty if nothing is.
    """

    photograph: Photograph
    paintings: tuple[Image.Image, ...]
    start: Image.Image | None
    regions: Regions | None
    protection: Protection | None
    places: Mapping[str, Sequence[Place | None]]
    colors: str
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
        colors: str = "style",
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
            colors,
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

    @cached_property
    def styles(self) -> tuple[Image.Image, ...]:
        """The styles, cropped, with colours matched to the content's if the plan says so."""
        if (match := MATCHES.get(self.colors)) is None:
            return self.cropped
        return tuple(match(painting, self.content) for painting in self.cropped)

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
        size = plan.size_of(stage)
        styles = (fit_style(style, plan.recipe, *size, plan.style_scale) for style in self.styles)
        return References(
            surrounded(to_planes(resize(self.content, *size), "content"), plan.bleed),
            tuple(to_planes(style, f"style {number}") for number, style in enumerate(styles, 1)),
            plan.blend,
            self._cropped_regions,
            self.protection,
            plan.bleed,
        )
