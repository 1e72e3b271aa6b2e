"""The rooms of the house and who imports whom, read from the code.

A room is a sub-package, such as `runtime/engine`. The modules that lie beside the rooms of a package are two rooms
more: those that use rooms and that no room uses, such as `cli/app.py`, and all others, such as `runtime/errors.py`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Room:
    """Some modules that belong together.

    Attributes
    ----------
    name
        That of its folder, ``runtime/engine``, or one from `BESIDE`.
    package
        ``runtime``, ``export``, ``cli`` or, of what lies in ``src/impasto``, nothing.
    text
        What is in it.
    modules
        Their names, without the package's.
    """

    name: str
    package: str
    text: str
    modules: tuple[str, ...]


#: Of the modules beside the rooms of a package: the names of both kinds, first those that rooms use, and what they are.
BESIDE: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "": (
        (
            "impasto",
            "What all others use: defaults, words and numbers in messages, the web client, unfinished work.",
        ),
        ("impasto: the program", "Where the process begins and ends."),
    ),
    "runtime": (
        ("runtime: errors", "The errors, and signatures with one list of options."),
        ("runtime: its API", "What programs import from `impasto.runtime`."),
    ),
    "export": (
        ("export: mathematics", "The logical graph: operators, their gradients, the network, the terms of the loss."),
        ("export: building", "A model folder, from weights and recipes: built, checked, put in place."),
    ),
    "cli": (
        ("cli: options", "What a command is: its options, its help, completion."),
        ("cli: the application", "The list of commands, and what is said of an error."),
    ),
}


@dataclass(frozen=True)
class House:
    """All rooms by name, and the pairs of rooms of which the first imports the second."""

    rooms: Mapping[str, Room]
    imports: frozenset[tuple[str, str]]

    def used_by(self, name: str) -> set[str]:
        """Return the rooms that a room imports."""
        return {used for user, used in self.imports if user == name}

    @cached_property
    def order(self) -> list[str]:
        """The rooms, each after all that it imports.

        Raises
        ------
        graphlib.CycleError
            When rooms import each other in a circle; its arguments name them.
        """
        return list(TopologicalSorter({name: sorted(self.used_by(name)) for name in sorted(self.rooms)}).static_order())

    @cached_property
    def reached(self) -> Mapping[str, set[str]]:
        """For each room, all that it imports, itself or through others."""
        reached: dict[str, set[str]] = {}
        for name in self.order:
            reached[name] = set[str]().union(*({used} | reached[used] for used in self.used_by(name)))
        return reached

    def nearest(self, name: str) -> list[str]:
        """Return the rooms that a room imports, without those that one of the others reaches anyway."""
        used = self.used_by(name)
        return sorted(one for one in used if not any(one in self.reached[other] for other in used))


def read_house(root: Path = ROOT) -> House:
    """Read the code of a checkout."""
    files = _files(root)
    imported = {name: {_module(target, files) for target in _imports(files[name])} - {name, ""} for name in files}
    beside = _beside(files, imported)
    of = {name: beside.get(name) or "/".join(_parts(name)[:2]) for name in files}
    rooms = {room: _room(room, sorted(name for name in files if of[name] == room), files) for room in set(of.values())}
    pairs = {(of[user], of[used]) for user, targets in imported.items() for used in targets}
    return House(rooms, frozenset((user, used) for user, used in pairs if user != used))


def packages(root: Path = ROOT) -> set[str]:
    """Return the full names of all packages that a checkout has."""
    return {name.removesuffix(".__init__") for name in _files(root) if name.endswith(".__init__")}


def _files(root: Path) -> dict[str, Path]:
    """Return the modules of a checkout by their full names."""
    folders = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"]
    return {name: path for package, folder in folders.items() for name, path in _modules(package, root / folder)}


def _modules(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules of a package; those of links are another package's."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py":
            yield f"{package}.{path.stem}", path
        elif path.is_dir() and not path.is_symlink() and any(path.glob("*.py")):
            yield from _modules(f"{package}.{path.name}", path)


def _imports(path: Path) -> Iterator[str]:
    """Yield what a module imports, at its head or within functions, for types too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _module(target: str, files: Mapping[str, Path]) -> str:
    """Return the module that an imported name is or belongs to; nothing where it is not ours."""
    candidates = (target, f"{target}.__init__", target.rpartition(".")[0], f"{target.rpartition('.')[0]}.__init__")
    return next((name for name in candidates if name in files), "")


def _parts(module: str) -> list[str]:
    """Return the package, the room if it lies in one, and the module's own name."""
    _, *parts = module.split(".")
    return parts if parts[0] in BESIDE else ["", *parts]


def _beside(files: Mapping[str, Path], imported: Mapping[str, set[str]]) -> dict[str, str]:
    """Return, for the modules that lie beside rooms, which of their package's two they are in."""
    flat = {name: _parts(name)[0] for name in files if len(_parts(name)) == 2}
    known: dict[str, str] = {}
    for package in BESIDE:
        own = {name for name in flat if flat[name] == package}
        rooms = {name for name in files if name not in own and (not package or _parts(name)[0] == package)}
        below = _reachable(rooms, imported, own)
        above = {name for name in own - below if _reachable({name}, imported, own | rooms) & rooms}
        known |= {name: BESIDE[package][name in above][0] for name in own}
    return known


def _reachable(start: set[str], imported: Mapping[str, set[str]], within: set[str]) -> set[str]:
    """Return the modules `within` that are imported from some, through any number of them."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        new = (imported[waiting.pop()] & within) - reached
        reached |= new
        waiting += new
    return reached


def _room(name: str, modules: list[str], files: Mapping[str, Path]) -> Room:
    package = _parts(modules[0])[0]
    texts = {room: text for both in BESIDE.values() for room, text in both}
    if name not in texts:
        init = next(module for module in modules if module.endswith(".__init__"))
        texts[name] = ast.get_docstring(ast.parse(files[init].read_text("utf-8"))) or ""
    names = (module.rpartition(".")[2] for module in modules)
    own = tuple(module for module in names if module != "__init__") or ("__init__",)
    return Room(name, package, texts[name].splitlines()[0], own)
