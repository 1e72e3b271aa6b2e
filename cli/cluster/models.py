"""The model of a driver, on its workers: found there by the hashes of its files, or brought there once."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto import user_folders
from impasto.model_folders import default_model
from impasto.runtime.errors import ModelError
from impasto.runtime.model.folder import NOTICE_FILE, WEIGHTS_FILE, ModelFolder
from impasto.runtime.model.graphs import ALGEBRA, algebra_file


@dataclass(frozen=True)
class Manifest:
    """The files of a model folder that a recipe needs.

    Attributes
    ----------
    place
        The folder on the driver's machine; a worker there uses it as it is.
    sums
        The name of each file, and its SHA-256.
    """

    place: str
    sums: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, folder: ModelFolder, recipe: str) -> Manifest:
        """Read the files that a recipe needs, and those that all have in common.

        Raises
        ------
        ModelError
            When one cannot be read.
        """
        names = sorted(path.name for path in folder.path.iterdir() if path.is_file() and _is_needed(path.name, recipe))
        return cls(str(folder.path.absolute()), tuple((name, _sum(folder.path / name)) for name in names))

    @property
    def key(self) -> str:
        """A hash of all files."""
        return hashlib.sha256(repr(self.sums).encode()).hexdigest()

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name of each file, and what is in it."""
        for name, _ in self.sums:
            yield name, (Path(self.place) / name).read_bytes()

    def describes(self, folder: Path) -> bool:
        """Whether a folder has all of these files, with the same bytes."""
        try:
            return all(_known_sum(folder / name) == sum_ for name, sum_ in self.sums)
        except OSError:
            return False


def _is_needed(name: str, recipe: str) -> bool:
    """Whether a file of a model folder is one of a recipe's, or of all recipes."""
    return name.startswith(f"{recipe}.") or name in (WEIGHTS_FILE, NOTICE_FILE, *map(algebra_file, ALGEBRA))


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"model {path.parent}: {path.name} cannot be read ({error.strerror})") from None


def _known_sum(path: Path) -> str:
    """Return the hash of a file, computed once for each state of it."""
    stat = path.stat()
    return _sum_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.lru_cache(maxsize=256)
def _sum_of(path: Path, *_: int) -> str:
    return _sum(path)


def find(manifest: Manifest) -> Path:
    """Return a folder of this machine with the files of a model: the driver's own, this machine's, or a copy.

    Raises
    ------
    ModelError
        When there is none.
    """
    if folder := _found(manifest):
        return folder
    raise ModelError(f"model {manifest.place}: this worker has no copy of it, {_copy(manifest)} is gone; begin again")


def is_here(manifest: Manifest) -> bool:
    """Whether this machine has the files of a model."""
    return _found(manifest) is not None


def _found(manifest: Manifest) -> Path | None:
    return next(filter(manifest.describes, _candidates(manifest)), None)


def _candidates(manifest: Manifest) -> Iterable[Path]:
    own = default_model()
    return [Path(manifest.place), *([own] if own else []), _copy(manifest)]


def _copy(manifest: Manifest) -> Path:
    """Return the folder in the user's cache for the copy of a model."""
    return user_folders.cache() / "models" / manifest.key[:16]


def keep(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write a copy of a model into the user's cache, whole or not at all.

    Raises
    ------
    ModelError
        When it cannot be written, or is not what the manifest says.
    """
    place = _copy(manifest)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as work:
            fresh = Path(work) / "model"
            fresh.mkdir()
            for name, data in files.items():
                (fresh / Path(name).name).write_bytes(data)
            if not manifest.describes(fresh):
                raise ModelError(f"model {manifest.place}: was damaged on its way to this worker; try again")
            if place.exists():  # damaged: it is not what the manifest says
                shutil.rmtree(place)
            fresh.rename(place)
    except OSError as error:
        if not is_here(manifest):  # another worker may have been faster
            raise ModelError(f"model {manifest.place}: no copy can be written to {place} ({error.strerror})") from None
