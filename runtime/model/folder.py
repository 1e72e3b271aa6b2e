"""Model folders: finding the files of an export, and checking them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from impasto.model_folders import recipes_in
from impasto.runtime.errors import ModelError
from impasto.runtime.model.default import export_again, export_command
from impasto.runtime.model.graphs import PLAIN, GraphKey, algebra_file
from impasto.runtime.model.metadata import Metadata
from impasto.runtime.plan.recipe import builtin_recipes, guess_recipe
from impasto.text import shown

#: The one file with every convolution's weights, shared by all graphs of a folder.
WEIGHTS_FILE = "weights.data"

#: The makers and the licence of the weights: a text for people.
NOTICE_FILE = "NOTICE.txt"

_OTHER_FOLDER = "name a model folder, or make one elsewhere with: impasto export --output FOLDER"

#: The place of a tensor's weights, in ONNX's own format (protocol buffers): an entry ``external_data`` with only the
#: key ``location`` and the file. And a pattern for every text that could be that key.
_LOCATION = b"\x0a\x08location\x12%c%s" % (len(WEIGHTS_FILE), WEIGHTS_FILE.encode())
_IN_WEIGHTS_FILE = b"\x6a%c%s" % (len(_LOCATION), _LOCATION)
_ANY_LOCATION = re.compile(rb"[\x00\x08]location")


def check_location(path: Path) -> None:
    """Refuse a graph that has weights in another file than the folder's weights file: it may be a stranger's.

    onnxruntime before 1.24 reads any file that a graph names.

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


@dataclass(frozen=True)
class ModelFolder:
    """A folder of exported graphs."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> ModelFolder:
        """Return the model folder at a path, after a check that it is one.

        Raises
        ------
        ModelError
            When there is no such folder, or it holds no graphs or no weights.
        """
        path = Path(path)
        if not path.exists():
            raise ModelError(f"model {path}: no such folder; make one with: {export_command(path)}")
        if not path.is_dir():
            raise ModelError(f"model {path}: expected a folder, not a file; {_OTHER_FOLDER}")
        folder = cls(path)
        if not folder.recipes():
            raise ModelError(f"model {path}: holds no exported graphs; {_OTHER_FOLDER}")
        if not (path / WEIGHTS_FILE).is_file():
            raise ModelError(f"model {path}: {WEIGHTS_FILE} is missing; copy the whole folder, or {folder._again}")
        return folder

    @property
    def _again(self) -> str:
        return export_again(self.path)

    def recipes(self) -> tuple[str, ...]:
        """Return the names of the recipes that were exported into this folder."""
        return recipes_in(self.path)

    def graph(self, recipe: str, key: GraphKey = PLAIN) -> Path:
        """Return the path of a graph, by default of the objective that runs everywhere.

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
        path = self.path / key.file(recipe)
        if not path.is_file():
            raise ModelError(f"model {self.path}: {path.name} is missing; {self._again}")
        return path

    def _how_to_have(self, recipe: str) -> str:
        """Return advice on a recipe that the folder lacks."""
        if recipe in builtin_recipes() or recipe.endswith(".toml"):
            return f"add it with: {export_command(self.path, '--recipe', shlex.quote(recipe))}"
        own = export_command(self.path, "--recipe", "FILE.toml")
        return f"{guess_recipe(recipe, self.recipes())}; add one of your own with: {own}"

    def algebra(self, name: str) -> Path:
        """Return the path of one of `impasto.runtime.model.graphs.ALGEBRA`.

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
        """Return numbers that change when a graph or the weights are written again."""
        stats = [path.stat() for path in (graph, self.path / WEIGHTS_FILE)]
        return tuple(number for stat in stats for number in (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))

    def check_weights(self, metadata: Metadata) -> None:
        """Refuse a weights file that does not have the length in the graph's metadata.

        onnxruntime has opened the graph by then, and refuses a file that ends within a tensor. It does not notice the
        longer file of another export.

        Raises
        ------
        ModelError
            When the file is shorter or longer than the exported one.
        """
        size = (self.path / WEIGHTS_FILE).stat().st_size
        if size != metadata.weights_size:
            raise ModelError(
                f"model {self.path}: {WEIGHTS_FILE} has {size} bytes, expected {metadata.weights_size}; "
                f"copy the whole folder again, or {self._again}"
            )
