"""The metadata of a graph, and the JSON text that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto.runtime.errors import ModelError, RecipeError
from impasto.runtime.model.default import export_again
from impasto.runtime.model.graphs import LEVELS, GraphKey
from impasto.runtime.model.sums import Halo, Sum
from impasto.runtime.plan.recipe import Recipe
from impasto.runtime.plan.terms import LayerSize
from impasto.runtime.storage import codec
from impasto.text import shown

#: Raised whenever a reader of older folders would be misled.
FORMAT = 1

#: The key of a graph's `metadata_props` that holds all of its metadata, as JSON.
METADATA_KEY = "impasto"

#: No network has a layer of more channels.
_CHANNELS = 4096


@dataclass(frozen=True)
class Layer:
    """A layer that a recipe names: its channels, and how many poolings lie before it."""

    name: str
    channels: int
    level: int

    def __post_init__(self) -> None:
        for name, low, high in (("channels", 1, _CHANNELS), ("level", 0, LEVELS)):
            if not low <= getattr(self, name) <= high:
                given = shown(getattr(self, name))
                raise codec.Misfit(f"{name} of layer {shown(self.name)} is {given}; expected {low} to {high}")

    def size(self, height: int, width: int) -> LayerSize:
        """Return the extent of the layer's activations for a picture of height x width pixels."""
        return LayerSize(self.channels, (height >> self.level) * (width >> self.level))


@dataclass(frozen=True)
class Metadata:
    """The metadata of a graph.

    Attributes
    ----------
    lowering, kind
        The graph's layout and kind, as in the name of its file; `graph` is its key.
    weights
        The origin of the weights: source, name, sha256, licence, attribution, preprocessing.
    weights_size, weights_sha256
        The length in bytes and the hash of the folder's ``weights.data``.
    sums
        Of a graph for tiles: the sums over positions that it gives.
    halo
        How far the recipe's layers see; None in folders of versions without tiles.
    protects
        Whether it takes the factor of the content's weight at each pixel. Older graphs with guides do not.
    """

    network: str
    lowering: str
    kind: str
    recipe: Recipe
    layers: tuple[Layer, ...]
    weights: Mapping[str, str]
    weights_size: int
    weights_sha256: str
    exporter: str
    sums: tuple[Sum, ...] = ()
    halo: Halo | None = None
    protects: bool = False

    def __post_init__(self) -> None:
        GraphKey.named(self.lowering, self.kind)  # refuses a pair that no graph has
        if missing := set(self.recipe.layers) - {layer.name for layer in self.layers}:
            raise codec.Misfit(f"layers has no {', '.join(sorted(missing))}, which the recipe names")
        if "source" not in self.weights:
            raise codec.Misfit("weights.source is missing")
        if self.weights_size < 0:
            raise codec.Misfit(f"weights_size is {self.weights_size}; expected bytes, 0 or more")
        codec.check_sha256(self.weights_sha256, "weights_sha256")

    @property
    def graph(self) -> GraphKey:
        """The graph's key."""
        return GraphKey.named(self.lowering, self.kind)

    @property
    def random_weights(self) -> bool:
        """Whether the weights are noise: good for tests, useless for pictures."""
        return self.weights["source"] == "random"

    def sizes(self, height: int, width: int) -> dict[str, LayerSize]:
        """Return the extent of each layer for a picture of height x width pixels."""
        return {layer.name: layer.size(height, width) for layer in self.layers}

    def to_json(self) -> str:
        """Return the metadata as the JSON text that is kept in a graph."""
        return codec.to_json(self, FORMAT)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Metadata:
        """Read the JSON text kept in the graph of a file.

        Raises
        ------
        ModelError
            When the text is of another format version, or is not as the exporter writes it.
        """
        again = export_again(path.parent)
        try:
            return codec.from_json(cls, text, FORMAT)
        except codec.OtherFormat as error:
            wanted = f"but this version of impasto reads format {FORMAT}"
            raise ModelError(f"{path}: model format {shown(error.version)}, {wanted}; {again}") from None
        except (codec.Misfit, RecipeError) as error:
            raise ModelError(f"{path}: damaged metadata ({error}); {again}") from None
