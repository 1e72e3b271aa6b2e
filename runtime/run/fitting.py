"""What a transfer does to fit into memory: the tiles, and the optimiser, of each stage.

Tiles come first: they change nothing but last bits. Only where small tiles do not suffice, L-BFGS remembers fewer
pairs, or another optimiser takes its place: in the stages that are too large, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter

from impasto.runtime.engine.engine import Engine
from impasto.runtime.engine.footprints import Halos, Held, Load, Peak, placed_within, without_tiles
from impasto.runtime.engine.placement import Placement, foreseen
from impasto.runtime.engine.providers import AUTO, is_host
from impasto.runtime.engine.tiles import side_of
from impasto.runtime.optimize.footprints import held, pairs_of
from impasto.runtime.pictures.edges import MOST_BYTES
from impasto.runtime.plan.plan import KEEP_EDGES, Plan, Stage, used_styles
from impasto.runtime.plan.sizes import fitted_size

#: The numbers of pairs that L-BFGS remembers, where it can remember no more. With fewer than three it is hardly better
#: than Adam: see docs/scale.md#the-budget-of-memory.
FEWER_PAIRS = (5, 3)

#: Smaller tiles than these, which take four times the work, are worse than fewer pairs. Adam, which takes several times
#: as many evaluations as L-BFGS, is worse than any tiles.
WORTHWHILE = 256


@dataclass(frozen=True)
class Need:
    """What a plan needs of memory, in one place.

    Attributes
    ----------
    plan
        The plan.
    styles
        (width, height) of each style picture, as it is given.
    placement
        Where it runs; its device may be ``auto``.
    regions
        The number of regions of the masks; 0 without.
    halos
        What the recipe's layers ask of tiles, in each layout.
    engine
        The engine that opens the graphs, if it may keep them.
    kept
        The number of first stages that keep their optimisers: they have begun, or were carried out before.
    """

    plan: Plan
    styles: Sequence[tuple[int, int]]
    placement: Placement
    regions: int = 0
    halos: Halos = without_tiles
    engine: Engine | None = None
    kept: int = 0

    @cached_property
    def expected(self) -> Placement:
        """The placement with the device, the precision and the lowering that are expected."""
        return foreseen(self.placement)

    def load(self, stage: Stage) -> Load:
        """Return what one stage asks of memory."""
        plan, pixels = self.plan.of(stage), self.plan.pixels(stage)
        optimizer, restarted = plan.optimizer_of(stage), plan.restart_every is not None
        styles = [self.styles[k] for k in used_styles(plan.blend, by_region=self.regions > 0)]
        fitted = (fitted_size(style, plan.recipe, stage.width, stage.height, plan.style_scale) for style in styles)
        return Load(
            plan.recipe,
            *plan.canvas(stage),
            tuple(fitted),
            self.regions,
            self.halos if optimizer != "lbfgs-device" else without_tiles,  # its gradients stay on the device
            self._with_picture(held(optimizer, pixels, pairs=stage.pairs, bounded=plan.clip, restarted=restarted)),
            self.engine is not None and self.engine.keeps(self.expected, pixels),
        )

    def _with_picture(self, held: Held) -> Held:
        """Return what an optimiser takes, with what the colours of a result take between evaluations."""
        return held._replace(between=held.between + MOST_BYTES) if self.plan.colors == KEEP_EDGES else held

    def placed(self, stage: Stage, budget: int | None) -> Placement:
        """Return the placement for a stage, with a definite tile."""
        return placed_within(self.placement, self.load(stage), budget, self.expected)

    def peak(self, stage: Stage, budget: int | None) -> Peak:
        """Return the peak of a stage on the machine's processor."""
        return self.load(stage).peak(self._definite(stage, budget))

    def tiles(self, stage: Stage, budget: int | None) -> int:
        """Return the number of tiles of a stage's pictures."""
        return self.load(stage).tiles(self._definite(stage, budget))

    def side(self, stage: Stage, budget: int | None) -> int | None:
        """Return the side of the tiles of a stage as they are made, in pixels; None if its pictures are whole."""
        placed = self._definite(stage, budget)
        halo = self.halos(placed.layout) if placed.side else None
        width, height = self.plan.canvas(stage)
        return side_of(height, width, placed.side, halo) if placed.side and halo else placed.side

    def work(self, stage: Stage, budget: int | None) -> float:
        """Return the work of an evaluation in a stage, as a multiple of that of a whole picture."""
        return self.load(stage).work(self._definite(stage, budget))

    def _definite(self, stage: Stage, budget: int | None) -> Placement:
        """Return the placement for a stage with the device, precision and lowering that are expected."""
        placed = self.placed(stage, budget)
        layout = self.expected.lowering if placed.lowering == AUTO else placed.lowering
        return replace(self.expected, tile=placed.tile, lowering=layout)

    def highest(self, budget: int | None) -> tuple[Stage, Peak]:
        """Return the stage that takes the most memory, and its peak."""
        stages = [stage for stage in self.plan.stages if stage.evaluations]
        return max(((stage, self.peak(stage, budget)) for stage in stages), key=lambda one: one[1].at_most)

    def least(self) -> int:
        """Return the least size in bytes, at worst, that suffices with any tiles and any optimiser."""
        return self._sparest()[0]

    def sparing(self) -> tuple[str, ...]:
        """Return with what the `least` size suffices, as words: tiles, and an optimiser that is not the planned one."""
        _, way = self._sparest()
        tiles = ["the smallest tiles"] if self.placement.tile == AUTO and self.tiles(way, 1) > 1 else []
        adam = ["Adam"] if way.optimizer == "adam" else []
        return (*tiles, *adam)

    def _sparest(self) -> tuple[int, Stage]:
        """Return the least size in bytes that suffices for the largest stage, and that stage, with that optimiser."""
        ways = [self._ways(number) for number, stage in enumerate(self.plan.stages) if stage.evaluations]
        sparest = [min(((self.peak(way, 1).at_most, way) for way in stages), key=itemgetter(0)) for stages in ways]
        return max(sparest, key=itemgetter(0))

    def fitted(self, budget: int | None) -> Plan:
        """Return the plan with optimisers for which there is memory; where there is none for any, as it is."""
        if budget is None or not is_host(self.expected.device):
            return self.plan
        stages = enumerate(self.plan.stages)
        fitted = (self._fitted(number, budget) if stage.evaluations else stage for number, stage in stages)
        return replace(self.plan, stages=tuple(fitted))

    def _ways(self, number: int) -> Iterator[Stage]:
        """Yield a stage with every optimiser that it may have, the best first."""
        stage = self.plan.stages[number]
        return iter([stage]) if number < self.kept else alternatives(self.plan, stage)

    def _fitted(self, number: int, budget: int) -> Stage:
        found, largest = self.plan.stages[number], 0
        for way in self._ways(number):
            if self.peak(way, budget).at_most > budget or (largest and way.optimizer == "adam"):
                continue
            side = self.placed(way, budget).side
            if self.placement.tile != AUTO or side is None or side >= WORTHWHILE:
                return way
            if side > largest:
                found, largest = way, side
        return found


def alternatives(plan: Plan, stage: Stage) -> Iterator[Stage]:
    """Yield a stage with every optimiser that it may have, the best first: as planned, then those that need less."""
    yield stage
    optimizer = plan.optimizer_of(stage)
    if plan.restart_every is not None or stage.optimizer or stage.pairs or optimizer not in ("lbfgs", "lbfgs-sobolev"):
        return
    pixels = plan.pixels(stage)
    for name in dict.fromkeys((optimizer, "lbfgs-sobolev")):
        own = replace(stage, optimizer=None if name == plan.optimizer_planned(stage) else name)
        if name != optimizer:
            yield own
        yield from (replace(own, pairs=pairs) for pairs in FEWER_PAIRS if pairs < pairs_of(name, pixels))
    yield replace(stage, optimizer="adam")


def told(planned: Plan, fitted: Plan) -> list[str]:
    """Return a sentence for each stage whose optimiser was changed for want of memory; equal ones once."""
    sentences = []
    for before, after in zip(planned.stages, fitted.stages, strict=True):
        if (before.optimizer, before.pairs) == (after.optimizer, after.pairs):
            continue
        name, size = fitted.optimizer_of(after), f"at {after.width}x{after.height}"
        usual = pairs_of(name, fitted.pixels(after))
        if name == "adam":
            sentences.append(f"memory for Adam only, not for L-BFGS, {size}")
        elif name == planned.optimizer_of(before):
            sentences.append(f"memory for {after.pairs} pairs of L-BFGS, not {usual}, {size}")
        else:
            pairs = f" with {after.pairs} pairs" if after.pairs else ""
            sentences.append(f"memory for {name}{pairs}, not for {planned.optimizer_of(before)}, {size}")
    return sentences


def told_of_tiles(need: Need, budget: int | None) -> list[str]:
    """Return a sentence if a budget is less than what was asked for, and the tiles of some stage are others for it."""
    asked = need.placement.memory
    if asked is None or budget is None or budget >= asked:
        return []
    if all(need.placed(stage, budget) == need.placed(stage, asked) for stage in need.plan.stages):
        return []
    sizes = (f"{size / 1e9:.1f} GB" for size in (budget, asked))
    return ["memory of {} is free, not {}: the tiles are others, and so may be last bits".format(*sizes)]
