"""A model folder: what an export leaves behind, and the metadata inside its graphs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from impasto.model_folders import recipes_in
from impasto.runtime.errors import ModelError, RecipeError
from impasto.runtime.model.default import folder_to_write
from impasto.runtime.plan.recipe import Recipe, builtin_recipes, guess_recipe
from impasto.runtime.plan.terms import LayerSize
from impasto.runtime.storage import codec
from impasto.text import shown

#: Raised whenever a reader of older folders would be misled.
FORMAT = 1

#: The key of a graph's `metadata_props` that holds all of its metadata, as JSON.
METADATA_KEY = "impasto"

#: The one file with every convolution's weights, shared by all graphs of a folder.
WEIGHTS_FILE = "weights.data"

#: Who made the weights and under which licence they are: a text for people.
NOTICE_FILE = "NOTICE.txt"

#: The lowerings a folder holds of every graph: `direct` runs everywhere, `winograd` is the fastest on a CPU.
DIRECT, WINOGRAD = "direct", "winograd"
LOWERINGS = (DIRECT, WINOGRAD)
OBJECTIVE, STATISTICS = "objective", "statistics"
#: The same by region: see `impasto.runtime.pictures.masks`.
GUIDED_OBJECTIVE, GUIDED_STATISTICS = "guided-objective", "guided-statistics"
_KINDS = (OBJECTIVE, STATISTICS, GUIDED_OBJECTIVE, GUIDED_STATISTICS)
#: Objectives with maps in half precision, `direct` only; targets are measured in single precision.
HALF_OBJECTIVE, HALF_GUIDED_OBJECTIVE = "half-objective", "half-guided-objective"

#: The precisions of maps -> the kinds of objective, without guides and with them.
PRECISIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"fp32": (OBJECTIVE, GUIDED_OBJECTIVE), "fp16": (HALF_OBJECTIVE, HALF_GUIDED_OBJECTIVE)}
)

#: Pictures of up to so many pixels have graphs of their own in `winograd`: for larger ones these would be slower.
SMALL_PIXELS = 320 * 320


#: How a graph says where a tensor's weights are, in ONNX's own format (protocol buffers): an entry ``external_data``
#: of nothing but the key ``location`` and the file. And whatever could be that key, however it was written.
_LOCATION = b"\x0a\x08location\x12%c%s" % (len(WEIGHTS_FILE), WEIGHTS_FILE.encode())
_IN_WEIGHTS_FILE = b"\x6a%c%s" % (len(_LOCATION), _LOCATION)
_ANY_LOCATION = re.compile(rb"[\x00\x08]location")


def check_location(path: Path) -> None:
    """Refuse a graph that has weights anywhere but in the folder's weights file: it may be a stranger's.

    onnxruntime before 1.24 reads whatever file a graph names.

    Raises
    ------
    ModelError
        When it names another file.
    """
    try:
        graph = path.read_bytes()
    except OSError:
        return  # onnxruntime says why it cannot be read
    if len(_ANY_LOCATION.findall(graph)) != graph.count(_IN_WEIGHTS_FILE):
        raise ModelError(f"{path}: has weights elsewhere than in {WEIGHTS_FILE}; {export_again(path.parent)}")


def export_command(folder: Path, *options: str) -> str:
    """Return the command that exports into a folder."""
    into = [] if folder == folder_to_write() else ["--output", shlex.quote(str(folder))]
    return " ".join(["impasto export", *into, *options])


def export_again(folder: Path) -> str:
    """Return the advice to export a folder again. From what, and with which recipes, only its owner knows."""
    return f"export it again as before, with {export_command(folder, '--force').removeprefix('impasto export ')}"


def graph_file(recipe: str, lowering: str, kind: str) -> str:
    """Name the file of a graph: ``seed.direct.objective.onnx``."""
    return f"{recipe}.{lowering}.{kind}.onnx"


def small_kind(kind: str) -> str:
    """Name the kind of a graph that is for small pictures."""
    return f"small-{kind}"


def kind_for(kind: str, lowering: str, height: int, width: int) -> str:
    """Return the kind of a graph that a picture of height x width pixels wants: the same, or that for small ones."""
    return small_kind(kind) if lowering == WINOGRAD and height * width <= SMALL_PIXELS else kind


#: Every graph of a recipe: (lowering, kind), as its file is named.
RECIPE_GRAPHS: tuple[tuple[str, str], ...] = (
    *((lowering, kind) for lowering in LOWERINGS for kind in _KINDS),
    *((WINOGRAD, small_kind(kind)) for kind in _KINDS),
    *((DIRECT, kind) for kind in (HALF_OBJECTIVE, HALF_GUIDED_OBJECTIVE)),
)

#: The arithmetic of an optimiser whose history stays on the device, a graph for each step: see `impasto.export.lbfgs`.
ALGEBRA = ("step", "slope", "direction", "remember")

_ELSEWHERE = "name a model folder, or make one elsewhere with: impasto export --output FOLDER"

#: No network halves a picture more often, or has more channels.
_LEVELS, _CHANNELS = 5, 4096


def algebra_file(name: str) -> str:
    """Name the file of one of the `ALGEBRA`: ``lbfgs-b.step.onnx``."""
    return f"lbfgs-b.{name}.onnx"


def dimension(side: str, level: int) -> str:
    """Name the height ``H`` or the width ``W`` after so many poolings, as graphs do: ``H``, ``H/2``, ``H/4``."""
    return f"{side}/{2**level}" if level else side


#: The dimension of graphs with guides that counts regions.
REGIONS = "R"


def extents(height: int, width: int, regions: int | None = None) -> dict[str, int]:
    """Return what the dimensions of a graph's inputs are, by name, for a picture of height x width pixels."""
    found = {
        dimension(side, level): pixels >> level
        for side, pixels in (("H", height), ("W", width))
        for level in range(_LEVELS + 1)
    }
    return found if regions is None else {**found, REGIONS: regions}


@dataclass(frozen=True)
class Layer:
    """A layer that a recipe names: its channels, and how many poolings lie before it."""

    name: str
    channels: int
    level: int

    def __post_init__(self) -> None:
        for name, low, high in (("channels", 1, _CHANNELS), ("level", 0, _LEVELS)):
            if not low <= getattr(self, name) <= high:
                given = shown(getattr(self, name))
                raise codec.Misfit(f"{name} of layer {shown(self.name)} is {given}; expected {low} to {high}")

    def size(self, height: int, width: int) -> LayerSize:
        """Return the extent of the layer's activations for a picture of height x width pixels."""
        return LayerSize(self.channels, (height >> self.level) * (width >> self.level))


@dataclass(frozen=True)
class Metadata:
    """What every graph says of itself.

    Attributes
    ----------
    weights
        Where the weights came from: source, name, sha256, licence, attribution, preprocessing.
    weights_size, weights_sha256
        The length in bytes and the hash of the folder's ``weights.data``.
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

    def __post_init__(self) -> None:
        if missing := set(self.recipe.layers) - {layer.name for layer in self.layers}:
            raise codec.Misfit(f"layers has no {', '.join(sorted(missing))}, which the recipe names")
        if "source" not in self.weights:
            raise codec.Misfit("weights.source is missing")
        if self.weights_size < 0:
            raise codec.Misfit(f"weights_size is {self.weights_size}; expected bytes, 0 or more")
        codec.check_sha256(self.weights_sha256, "weights_sha256")

    @property
    def random_weights(self) -> bool:
        """Whether the weights are noise: good for tests, useless for pictures."""
        return self.weights["source"] == "random"

    def sizes(self, height: int, width: int) -> dict[str, LayerSize]:
        """Return the extent of each layer for a picture of height x width pixels."""
        return {layer.name: layer.size(height, width) for layer in self.layers}

    def to_json(self) -> str:
        """Return the metadata as the JSON text that is kept in a graph."""
        data = {"format": FORMAT, **vars(self)}
        data |= {"recipe": self.recipe.to_mapping(), "layers": [asdict(layer) for layer in self.layers]}
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str, where: str) -> Metadata:
        """Read the JSON text kept in a graph.

        Raises
        ------
        ModelError
            When the text is of another format version, or is not what an exporter writes.
        """
        again = export_again(Path(where).parent)
        try:
            data: Any = codec.parse_json(text)
            if not isinstance(data, dict) or "format" not in data:
                raise codec.Misfit("it is not of impasto")
            if (version := data.pop("format")) != FORMAT:
                wanted = f"but this version of impasto reads format {FORMAT}"
                raise ModelError(f"{where}: model format {shown(version)}, {wanted}; {again}")
            return codec.build(cls, data)
        except (codec.Misfit, RecipeError) as error:
            raise ModelError(f"{where}: damaged metadata ({error}); {again}") from None


@dataclass(frozen=True)
class ModelFolder:
    """A folder of exported graphs."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> ModelFolder:
        """Find a model folder.

        Raises
        ------
        ModelError
            When there is no such folder, or it holds no graphs or no weights.
        """
        path = Path(path)
        if not path.exists():
            raise ModelError(f"model {path}: no such folder; make one with: {export_command(path)}")
        if not path.is_dir():
            raise ModelError(f"model {path}: expected a folder, not a file; {_ELSEWHERE}")
        folder = cls(path)
        if not folder.recipes():
            raise ModelError(f"model {path}: holds no exported graphs; {_ELSEWHERE}")
        if not (path / WEIGHTS_FILE).is_file():
            raise ModelError(f"model {path}: {WEIGHTS_FILE} is missing; copy the whole folder, or {folder._again}")
        return folder

    @property
    def _again(self) -> str:
        return export_again(self.path)

    def recipes(self) -> tuple[str, ...]:
        """Return the names of the recipes that were exported into this folder."""
        return recipes_in(self.path)

    def graph(self, recipe: str, kind: str, lowering: str = DIRECT) -> Path:
        """Return the path of a graph.

        Raises
        ------
        ModelError
            When the folder has no such recipe, or the file is missing.
        """
        if recipe not in self.recipes():
            raise ModelError(
                f"model {self.path} has no recipe {shown(recipe)}; it has {', '.join(self.recipes())}; "
                f"{self._how_to_have(recipe)}"
            )
        path = self.path / graph_file(recipe, lowering, kind)
        if not path.is_file():
            raise ModelError(f"model {self.path}: {path.name} is missing; {self._again}")
        return path

    def _how_to_have(self, recipe: str) -> str:
        """Return what to do for a recipe that the folder lacks."""
        if recipe in builtin_recipes() or recipe.endswith(".toml"):
            return f"add it with: {export_command(self.path, '--recipe', shlex.quote(recipe))}"
        own = export_command(self.path, "--recipe", "FILE.toml")
        return f"{guess_recipe(recipe, self.recipes())}; add one of your own with: {own}"

    def algebra(self, name: str) -> Path:
        """Return the path of one of the `ALGEBRA`.

        Raises
        ------
        ModelError
            When it is missing.
        """
        path = self.path / algebra_file(name)
        if not path.is_file():
            raise ModelError(
                f"model {self.path}: {path.name}, which optimizer lbfgs-device needs, is missing; {self._again}"
            )
        return path

    def identity(self, graph: Path) -> tuple[int, ...]:
        """Return what changes when a graph or the weights are written anew."""
        stats = [path.stat() for path in (graph, self.path / WEIGHTS_FILE)]
        return tuple(number for stat in stats for number in (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))

    def check_weights(self, metadata: Metadata) -> None:
        """Refuse a weights file of another length than the graph was exported over.

        onnxruntime has opened the graph by then, and has itself refused a file that ends within a tensor; what it
        does not notice is the longer file of another export.

        Raises
        ------
        ModelError
            When the file is shorter or longer than what was exported.
        """
        found = (self.path / WEIGHTS_FILE).stat().st_size
        if found != metadata.weights_size:
            raise ModelError(
                f"model {self.path}: {WEIGHTS_FILE} has {found} bytes, expected {metadata.weights_size}; "
                f"copy the whole folder again, or {self._again}"
            )
