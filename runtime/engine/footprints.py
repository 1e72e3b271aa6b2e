"""The memory of a process that evaluates pictures, whole or in tiles, and the tiles that keep it within a budget.

The figures are measured by `python -m benchmarks.memory`. They depend on the graphs, and hardly on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

from impasto.runtime.engine.placement import OFF, Placement, foreseen
from impasto.runtime.engine.providers import AUTO, is_host, provider_of
from impasto.runtime.engine.tiles import Windows, sides_of, windows_of
from impasto.runtime.machine.memory import room
from impasto.runtime.model.graphs import DIRECT, WINOGRAD, is_small
from impasto.runtime.model.sums import Halo
from impasto.runtime.plan.recipe import Recipe

#: onnxruntime may take more memory than the figures say, by this factor. It takes memory in pieces, each twice the
#: size of the last, so that at some sizes there is one more, half used.
AT_MOST = 4 / 3

#: The least side of the tiles that ``auto`` makes. Half of it would save little memory, because the halo is as wide as
#: before, and would more than double the work.
LEAST_AUTO = 128


#: The work of an evaluation in tiles without halos, as a multiple of a whole picture's: one of three passes is made
#: twice.
TILED_WORK = 1.5


@dataclass(frozen=True)
class Peak:
    """The largest resident size of a process, in bytes.

    Attributes
    ----------
    size
        The expected size.
    at_most
        The size at worst.
    """

    size: int
    at_most: int

    @classmethod
    def of(cls, in_pieces: float, others: float) -> Peak:
        """Return the peak of what onnxruntime takes in pieces, whose size is not certain, and of all other memory."""
        return cls(round(in_pieces + others), round(AT_MOST * in_pieces + others))


#: Layout -> what it asks of tiles; None if the model has no graphs for them.
Halos = Callable[[str], Halo | None]


def without_tiles(layout: str) -> None:
    """Return that a model has no graphs for tiles."""


class Held(NamedTuple):
    """The bytes that an optimiser takes: while the function is evaluated, and between evaluations."""

    evaluating: float
    between: float


#: What no optimiser takes.
NOTHING = Held(0, 0)


# --- the figures ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """The peak memory of a process that evaluates whole pictures, in bytes, for one way to run graphs.

    For a small picture the peak is when a graph is opened. For a large one it is when the graph runs, and grows with
    the pixels.

    Attributes
    ----------
    opening, opening_convolution
        The peak while onnxruntime prepares the weights: for a recipe whose deepest layer is ``block5_conv1``, and the
        addition for each deeper convolution of 512 x 512 channels.
    fixed, convolution
        The same, for the memory that stays in use after that: the program, its libraries and the weights.
    objective
        For each pixel of the picture, while loss and gradient are evaluated, without the optimiser.
    statistics
        For each pixel of a picture whose targets are measured.
    kept
        The memory of the graphs that measure targets, when graphs are kept for the next picture.
    guided_opening, guided_fixed
        With masks, in addition: while onnxruntime prepares the weights, and after that.
    guided, region, further
        With masks, in addition for each pixel, of the picture and of one whose targets are measured: for the first
        region; for each of the second and the third, as the loop over regions has room for the sums of the last two;
        and for each one beyond these, whose guides alone are more.
    """

    opening: float
    opening_convolution: float
    fixed: float
    convolution: float
    objective: float
    statistics: float
    kept: float = 0.0
    guided_opening: float = 0.0
    guided_fixed: float = 0.0
    guided: float = 0.0
    region: float = 0.0
    further: float = 0.0

    def peak(
        self, recipe: Recipe, pixels: int, largest: int, held: Held, *, regions: int = 0, keeps: bool = False
    ) -> Peak:
        """Return the peak of a transfer.

        Parameters
        ----------
        pixels, largest
            The pixels of the result, and of the largest picture whose targets are measured.
        held
            What the optimiser takes.
        regions
            The number of regions; 0 without masks.
        keeps
            Whether graphs are kept for the next picture.
        """
        deeper, masks, masked = convolutions(recipe), regions > 0, self.masked(regions)
        opening = self.opening + self.opening_convolution * deeper + self.guided_opening * masks
        fixed = self.fixed + self.convolution * deeper + self.guided_fixed * masks
        statistics = (self.statistics + masked) * largest
        # a kept graph of the objective still holds its memory while the next picture's targets are measured
        more = self.kept + statistics if keeps else 0.0
        # the targets are measured, and their memory is given back, before the objective is opened
        moments = (
            Peak.of(opening + more, 0),
            Peak.of(fixed + statistics + more, 0),
            # what a graph takes while it runs stays with it
            Peak.of(fixed + (self.objective + masked + 2 * content_bytes(recipe)) * pixels + more, held.between),
        )
        return Peak(max(peak.size for peak in moments), max(peak.at_most for peak in moments))

    def masked(self, regions: int) -> float:
        """Return what masks with so many regions take in addition, in bytes for each pixel."""
        first, next_two, others = shared_out(regions)
        return self.guided * first + self.region * next_two + self.further * others


def shared_out(regions: int) -> tuple[int, int, int]:
    """Return how many of the regions are the first, the second or third, and others: see `Footprint.region`."""
    return min(regions, 1), min(max(regions - 1, 0), 2), max(regions - 3, 0)


@dataclass(frozen=True)
class TileFootprint:
    """The peak memory of a process that evaluates pictures in tiles, in bytes, for one way to run graphs.

    The attributes `fixed` and `convolution` are as in `Footprint`, of the two graphs of tiles; with them, `opening` is
    taken beside one graph while the other is prepared.

    Attributes
    ----------
    window, guided, region
        For each pixel of a window, while its sums or its gradient are evaluated; with masks, in addition; and for each
        region beyond the first.
    statistics
        For each pixel of a window whose targets are measured.
    picture
        For each pixel of the picture, without the optimiser: the pictures that a transfer keeps.
    """

    opening: float
    fixed: float
    convolution: float
    window: float
    guided: float
    region: float
    statistics: float
    picture: float

    def peak(self, load: Load, side: int, halo: Halo) -> Peak:
        """Return the peak of a transfer in tiles of a side, of a layout that asks for a halo."""
        windows = windows_of(load.height, load.width, side, halo)
        styles = [windows_of(height, width, side, halo).largest for width, height in load.styles]
        fixed = self.fixed + self.convolution * convolutions(load.recipe)
        kept = kept_bytes(load, windows)
        measured = _PLANES * (load.pixels + sum(width * height for width, height in load.styles))
        masked = self.guided + self.region * (load.regions - 1) if load.regions else 0.0
        evaluated = (self.window + masked) * windows.largest
        moments = (
            Peak.of(0, fixed + self.opening + self.picture * load.pixels + kept),
            Peak.of(self.statistics * max(windows.largest, *styles), fixed + measured + kept),
            Peak.of(evaluated, fixed + self.picture * load.pixels + kept + load.held.evaluating),
            Peak.of(0, fixed + self.picture * load.pixels + kept + load.held.between),
        )
        return Peak(max(peak.size for peak in moments), max(peak.at_most for peak in moments))


#: The bytes for each pixel of a picture in float32, and of the weight of one region.
_PLANES, _GUIDE = 12, 4


def kept_bytes(load: Load, windows: Windows) -> float:
    """Return the bytes of what is kept for a picture in tiles: the content's targets of every window, and guides.

    The differences from the targets are those of one window; with masks, so are these times what each position counts.
    """
    guides, masks = _GUIDE * (load.regions + 1) * load.pixels, load.regions > 0
    return content_bytes(load.recipe) * (windows.total + (1 + masks) * windows.largest) + masks * guides


def content_bytes(recipe: Recipe) -> float:
    """Return the bytes for each pixel of a recipe's content targets."""
    blocks = (int(name[len("block")]) for name in recipe.content.layers)
    return sum(4 * (64 << min(block - 1, 3)) / 4.0 ** (block - 1) for block in blocks)


def convolutions(recipe: Recipe) -> int:
    """Return how many more convolutions of 512 x 512 channels than ``block5_conv1`` a recipe needs; may be negative."""
    block, number = (int(digit) for digit in max(recipe.layers) if digit.isdigit())
    return {5: number - 1, 4: number - 5}.get(block, -4)


#: (layout, or provider and precision; for small pictures; low memory) -> the memory of such graphs. Fitted to peaks
#: (VmHWM) of whole transfers of noise with Adam, at 512 and 768 pixels, on Linux with glibc, onnxruntime 1.32, 2
#: threads and weights of 8 bits; with other weights opening takes a quarter less. The figures of masks are from 512 to
#: 1200 pixels, for the CPU provider without low memory, and serve with it, too. OpenVINO was measured once with masks,
#: which it does not run in float32. `python -m benchmarks.memory` measures and fits them again.
FOOTPRINTS: Mapping[tuple[str, bool, bool], Footprint] = {
    (WINOGRAD, False, False): Footprint(779e6, 74e6, 451e6, 71e6, 1252, 736, 190e6, 40e6, 140e6, 310, 130, 24),
    (WINOGRAD, False, True): Footprint(793e6, 57e6, 456e6, 68e6, 1295, 721, 0, 40e6, 140e6, 310, 130, 24),
    (WINOGRAD, True, False): Footprint(633e6, 60e6, 451e6, 71e6, 1252, 736, 190e6, 20e6, 140e6, 310, 130, 24),
    (WINOGRAD, True, True): Footprint(664e6, 39e6, 456e6, 68e6, 1295, 721, 0, 20e6, 140e6, 310, 130, 24),
    (DIRECT, False, False): Footprint(455e6, 61e6, 80e6, 140e6, 2024, 696, 60e6, 30e6, 50e6, 64, 315, 60),
    (DIRECT, False, True): Footprint(458e6, 71e6, 102e6, 135e6, 1950, 637, 0, 30e6, 50e6, 64, 315, 60),
    ("openvino fp32", False, False): Footprint(626e6, 74e6, 375e6, 93e6, 3402, 458, 60e6),
    ("openvino bf16", False, False): Footprint(727e6, 45e6, 508e6, 60e6, 1251, 500, 290e6, 0, 0, 3200, 640, 60),
}

#: Layout, or provider and precision -> the memory of such graphs for tiles. From peaks of whole transfers in tiles, as
#: above.
TILE_FOOTPRINTS: Mapping[str, TileFootprint] = {
    WINOGRAD: TileFootprint(340e6, 990e6, 140e6, 1350, 890, 290, 740, 44),
    DIRECT: TileFootprint(250e6, 330e6, 140e6, 2000, 260, 300, 700, 44),
    "openvino fp32": TileFootprint(330e6, 700e6, 93e6, 3500, 0, 100, 460, 44),
    "openvino bf16": TileFootprint(420e6, 380e6, 60e6, 1350, 0, 3840, 700, 44),
}


def footprint_key(placement: Placement, *, small: bool) -> tuple[str, bool, bool]:
    """Return the key of the figures for a definite placement on the machine's processor."""
    return _form(placement), small, placement.low_memory and placement.device == "cpu"


def _form(placement: Placement) -> str:
    """Return the layout on the CPU provider, else the provider and the precision."""
    if placement.device == "cpu":
        return placement.layout
    return f"{provider_of(placement.device).kind} {placement.precision}"


# --- a load, and the tiles for it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What the memory is asked for: the evaluation of pictures of one size, in one process.

    Attributes
    ----------
    recipe
        The recipe.
    width, height
        The size of the pictures.
    styles
        (width, height) of each style, as it is measured.
    regions
        The number of regions; 0 without masks.
    halos
        What the recipe's layers ask of tiles, in each layout.
    held
        What the optimiser takes.
    keeps
        Whether graphs for whole pictures are kept for the next picture.
    """

    recipe: Recipe
    width: int
    height: int
    styles: tuple[tuple[int, int], ...]
    regions: int = 0
    halos: Halos = without_tiles
    held: Held = NOTHING
    keeps: bool = False

    @property
    def pixels(self) -> int:
        """The number of a picture's pixels."""
        return self.width * self.height

    def tiles(self, placement: Placement) -> int:
        """Return the number of tiles of a picture, on a definite device: 1 if it is evaluated whole."""
        windows = self._windows(placement)
        return windows.number if windows else 1

    def work(self, placement: Placement) -> float:
        """Return the work of an evaluation, on a definite device, as a multiple of that of a whole picture."""
        windows = self._windows(placement)
        return TILED_WORK * windows.total / self.pixels if windows and windows.number > 1 else 1.0

    def _windows(self, placement: Placement) -> Windows | None:
        """Return the extent of tiles; None where the model has none, or none were asked for."""
        if placement.side is None or (halo := self.halos(placement.layout)) is None:
            return None
        return windows_of(self.height, self.width, placement.side, halo)

    def peak(self, placement: Placement) -> Peak:
        """Return the largest resident size of the process.

        Parameters
        ----------
        placement
            One on the machine's processor, definite: see `impasto.runtime.engine.placement.foreseen`.
        """
        halo = self.halos(placement.layout) if placement.side else None
        if placement.side and halo and windows_of(self.height, self.width, placement.side, halo).number > 1:
            return TILE_FOOTPRINTS[_form(placement)].peak(self, placement.side, halo)
        largest = max(width * height for width, height in [(self.width, self.height), *self.styles])
        small = is_small(placement.layout, self.height, self.width)
        footprint = FOOTPRINTS[footprint_key(placement, small=small)]
        return footprint.peak(self.recipe, self.pixels, largest, self.held, regions=self.regions, keeps=self.keeps)


def budget_of(placement: Placement) -> int | None:
    """Return the size in bytes that the process may grow to: as asked for, but no more than what the machine has.

    None if it is not known, and on a GPU.
    """
    if not is_host(foreseen(placement).device):
        return None
    free, asked = room(threads=placement.threads), placement.memory
    if free is None or (asked is not None and asked < free.size):
        return asked
    return free.size


def placed_within(placement: Placement, load: Load, budget: int | None, expected: Placement | None = None) -> Placement:
    """Return the placement with a definite tile, a side or ``off``.

    ``auto`` is ``off`` where whole pictures keep the budget, and on a GPU. Else it is the largest side that keeps it;
    if none does, what takes the least. A side so large that there is one tile is ``off``, too. If ``winograd`` keeps
    the budget with tiles of no side, an ``auto`` lowering becomes ``direct``, whose kernels are smaller.

    Parameters
    ----------
    placement
        Its device may be ``auto``.
    budget
        The size in bytes that the process may grow to; None if it is not known.
    expected
        What `impasto.runtime.engine.placement.foreseen` makes of the placement, if that is known already.
    """
    whole = replace(placement, tile=OFF)
    if placement.tile == OFF:
        return whole
    expected = replace(expected or foreseen(whole), tile=OFF)
    if placement.side:  # the engine refuses a model without graphs for tiles
        one = load.halos(expected.lowering) and load.tiles(replace(expected, tile=placement.tile)) == 1
        return whole if one else placement
    if budget is None or not is_host(expected.device):
        return whole
    least, chosen = load.peak(expected).at_most, whole
    if least <= budget:
        return whole
    ways = [(placement.lowering, expected.lowering)]
    if placement.lowering == AUTO and expected.lowering == WINOGRAD:
        ways.append((DIRECT, DIRECT))
    for lowering, layout in ways:
        if (halo := load.halos(layout)) is None:
            continue
        footprint = TILE_FOOTPRINTS[_form(replace(expected, lowering=layout))]
        for side in takewhile(lambda side: side >= LEAST_AUTO, sides_of(load.height, load.width, halo)):
            if least <= budget:
                return chosen
            size = footprint.peak(load, side, halo).at_most
            if size < least:
                least, chosen = size, replace(placement, tile=side, lowering=lowering)
    return chosen
