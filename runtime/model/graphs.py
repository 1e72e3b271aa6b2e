"""The graphs of a model folder: their keys, the names of their files, and their dimensions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from impasto.runtime.storage import codec
from impasto.text import shown

#: The layouts of activations in memory: `direct` runs everywhere, `winograd` is the fastest on a CPU.
DIRECT, WINOGRAD = "direct", "winograd"
LAYOUTS = (DIRECT, WINOGRAD)

#: The purpose of a graph: it gives loss and gradient, or measures the targets of a picture.
OBJECTIVE, STATISTICS = "objective", "statistics"
ROLES = (OBJECTIVE, STATISTICS)

#: The purposes of graphs for pictures in tiles, see `impasto.export.tiled`: those of each tile, and of all together.
TILE_SUMS, TILE_GRADIENT, TILE_STATISTICS = "tile-sums", "tile-gradient", "tile-statistics"
LOSS_OF_SUMS, TARGETS_OF_SUMS = "loss-of-sums", "targets-of-sums"
TILE_ROLES = (TILE_SUMS, TILE_GRADIENT, TILE_STATISTICS)

#: The precision of activations: float32, float16 or bfloat16.
SINGLE, HALF, BFLOAT16 = "fp32", "fp16", "bf16"
PRECISIONS = (SINGLE, HALF, BFLOAT16)

#: The names of the precisions, in words.
WORDS = {SINGLE: "float32", HALF: "float16", BFLOAT16: "bfloat16"}

#: The first part of the name of a graph, by its precision.
_PREFIXES = {SINGLE: "", HALF: "half-", BFLOAT16: "bfloat-"}

#: Pictures of up to so many pixels have graphs of their own in `winograd`, which would be slower for larger ones.
SMALL_PIXELS = 320 * 320


def is_small(layout: str, height: int, width: int) -> bool:
    """Whether a picture of height x width pixels uses the graphs for small pictures."""
    return layout == WINOGRAD and height * width <= SMALL_PIXELS


@dataclass(frozen=True)
class GraphKey:
    """The key of one of a recipe's graphs; by default of the objective that runs everywhere.

    Attributes
    ----------
    role
        ``objective`` or ``statistics``, or one for tiles.
    layout
        ``direct`` or ``winograd``.
    by_region
        Whether it takes guides: see `impasto.runtime.pictures.masks`.
    small
        Whether it is for small pictures: see `is_small`.
    precision
        ``fp32``, ``fp16`` or ``bf16``.
    """

    role: str = OBJECTIVE
    layout: str = DIRECT
    by_region: bool = False
    small: bool = False
    precision: str = SINGLE

    @classmethod
    def named(cls, layout: str, kind: str) -> GraphKey:
        """Return the key that has this layout and this `kind`.

        Raises
        ------
        Misfit
            When no graph has them.
        """
        for key in GRAPHS:
            if (key.layout, key.kind) == (layout, kind):
                return key
        raise codec.Misfit(f"lowering and kind are {shown(layout)} and {shown(kind)}; expected those of a graph")

    @property
    def kind(self) -> str:
        """The key without its layout, in one word: ``objective``, ``half-guided-objective``."""
        prefixes = {"small-": self.small, "guided-": self.by_region}
        return _PREFIXES[self.precision] + "".join(key for key, given in prefixes.items() if given) + self.role

    @property
    def targets(self) -> GraphKey:
        """The graph that measures the targets of an objective: in single precision, or in bfloat16 for one in that.

        Kernels that are rounded to bfloat16 are those of another network, which needs targets of its own.
        """
        return replace(self, role=STATISTICS, precision=SINGLE if self.precision == HALF else self.precision)

    def file(self, recipe: str) -> str:
        """Name the file of a recipe's graph: ``seed.direct.objective.onnx``."""
        return f"{recipe}.{self.layout}.{self.kind}.onnx"


#: The objective that runs everywhere: a folder has a recipe if it has this graph. See `impasto.model_folders`.
PLAIN = GraphKey()

#: Every graph of a recipe. Only `direct` has other precisions than single; half precision has objectives only.
GRAPHS: tuple[GraphKey, ...] = (
    *(
        GraphKey(role, layout, by_region, small)
        for layout, small in ((DIRECT, False), (WINOGRAD, False), (WINOGRAD, True))
        for by_region in (False, True)
        for role in ROLES
    ),
    *(GraphKey(by_region=by_region, precision=HALF) for by_region in (False, True)),
    *(GraphKey(role, by_region=by_region, precision=BFLOAT16) for by_region in (False, True) for role in ROLES),
    *(
        key
        for by_region in (False, True)
        for key in (
            *(GraphKey(role, layout, by_region) for layout in (DIRECT, WINOGRAD) for role in TILE_ROLES),
            *(GraphKey(role, by_region=by_region, precision=HALF) for role in (TILE_SUMS, TILE_GRADIENT)),
            *(GraphKey(role, by_region=by_region, precision=BFLOAT16) for role in TILE_ROLES),
            *(GraphKey(role, by_region=by_region) for role in (LOSS_OF_SUMS, TARGETS_OF_SUMS)),
        )
    ),
)

#: The arithmetic of an optimiser whose history stays on the device, a graph for each step: see `impasto.export.lbfgs`.
ALGEBRA = ("step", "slope", "direction", "remember")


def algebra_file(name: str) -> str:
    """Name the file of one of the `ALGEBRA`: ``lbfgs-b.step.onnx``."""
    return f"lbfgs-b.{name}.onnx"


#: No network halves a picture more often.
LEVELS = 5

#: The dimension of graphs with guides that counts regions.
REGIONS = "R"


def dimension(side: str, level: int) -> str:
    """Name the height ``H`` or the width ``W`` after so many poolings, as graphs do: ``H``, ``H/2``, ``H/4``."""
    return f"{side}/{2**level}" if level else side


def extents(height: int, width: int, regions: int | None = None) -> dict[str, int]:
    """Return the dimensions of a graph's inputs, by name, for a picture of height x width pixels."""
    sides = {
        dimension(side, level): pixels >> level
        for side, pixels in (("H", height), ("W", width))
        for level in range(LEVELS + 1)
    }
    return sides if regions is None else {**sides, REGIONS: regions}
