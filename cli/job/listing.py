"""The photographs of a batch: files, addresses, folders, patterns, and lists of these.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.runtime.errors import InputError
from impasto.runtime.pictures import places
from impasto.runtime.pictures.places import Place

#: The names of files in a folder that are taken as photographs.
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".tga", ".jp2", ".avif", ".heic"
)  # fmt: skip

#: A word that stands for a list of places on standard input.
LIST = "-"


@dataclass(frozen=True)
class Listed:
    """A photograph of a batch.

    Attributes
    ----------
    place
        Its file or address.
    folder
        The folder of its file below the one that the user names, with ``/`` between parts; empty otherwise.
    root
        The folder that the user names; None if it was named otherwise.
    """

    place: Place
    folder: str = ""
    root: Path | None = None


def photographs(
    given: Sequence[str], *, recursive: bool = False, repeated: bool = False, lines: Sequence[str] | None = None
) -> list[Listed]:
    """Return the photographs that words of the user name, in the order of the words.

    Parameters
    ----------
    given
        Files, addresses, folders, patterns such as ``photos/*.jpg``, and `LIST`. A file that is missing is listed, too:
        that is one picture's failure. In a folder, files are taken in the order of their names; hidden ones, and those
        with no ending of `ENDINGS`, are left out.
    recursive
        Whether folders of folders are searched, too.
    repeated
        Whether a photograph that is named twice is listed twice.
    lines
        The places that `LIST` stands for; by default the lines of standard input.

    Raises
    ------
    InputError
        When a pattern or a folder has no pictures, a folder cannot be read, a word is empty, or there is no list.
    """
    named = [listed for word in _words(given, lines) for listed in _named(word, recursive=recursive)]
    if not named:
        raise InputError("photographs: none were named; expected files, folders or patterns such as photos/*.jpg")
    if repeated:
        return named
    found: dict[str, Listed] = {}
    for listed in named:
        found.setdefault(_identity(listed.place), listed)
    return list(found.values())


def _identity(place: Place) -> str:
    """Return what is the same for every name of a photograph."""
    if places.is_url(place):
        return str(place)
    try:
        return os.path.realpath(place)
    except (OSError, ValueError):  # it is no name of a file
        return str(place)


def _words(given: Sequence[str], lines: Sequence[str] | None) -> Iterator[str]:
    for word in given:
        if word == LIST:
            yield from (line for line in (_standard_input() if lines is None else lines) if line)
        elif not word:
            raise InputError("photographs '': an empty word; expected a file, a folder or a pattern")
        else:
            yield word


def _standard_input() -> list[str]:
    """Return the places on standard input: a line each, or with a NUL behind each, as ``find -print0`` writes them."""
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("photographs -: standard input is closed; expected names of files, a line each")
    if sys.stdin.isatty():
        raise InputError("photographs -: standard input is a terminal; pipe names of files in, a line each")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"photographs -: standard input cannot be read ({error.strerror})") from None
    parts = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(part) for part in parts]


def _named(word: str, *, recursive: bool) -> Iterator[Listed]:
    """Yield the photographs that one word names."""
    if places.is_url(word):
        yield Listed(word)
    elif _is(Path.is_dir, word):
        yield from _in_folder(Path(word), recursive=recursive)
    elif glob.has_magic(word) and not os.path.lexists(word):
        paths = [Path(name) for name in sorted(_matching(word), key=_natural)]
        files = [Listed(path) for path in paths if _is(Path.is_file, path)]
        if not files:
            raise InputError(f"photographs {word}: no file has such a name; check the pattern")
        yield from files
    else:
        yield Listed(Path(word))


def _is(kind: Callable[[Path], bool], path: str | Path) -> bool:
    """Whether a path is of a kind; False if the system does not tell, or it is no name of a file."""
    try:
        return kind(Path(path))
    except (OSError, ValueError):
        return False


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  # a pattern may be absolute


def _in_folder(folder: Path, *, recursive: bool) -> Iterator[Listed]:
    paths = list(_files(folder, recursive=recursive))
    if not paths:
        within = "" if recursive else "; add --recursive if they lie in folders of it"
        raise InputError(f"photographs {folder}: has no pictures ({', '.join(ENDINGS)}){within}")
    for path in paths:
        below = path.parent.relative_to(folder).as_posix()
        yield Listed(path, "" if below == "." else below, folder)


def _files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Yield the pictures in a folder, then those of its folders; hidden ones are left out, and links to folders."""
    try:
        paths = sorted(folder.iterdir(), key=lambda path: _natural(path.name))
    except OSError as error:
        raise InputError(f"photographs {folder}: cannot be looked into ({error.strerror})") from None
    shown = [path for path in paths if not path.name.startswith(".")]
    yield from (path for path in shown if path.name.lower().endswith(ENDINGS) and _is(Path.is_file, path))
    for path in shown if recursive else ():
        if _is(Path.is_dir, path) and not path.is_symlink():
            yield from _files(path, recursive=True)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which photo9 comes before photo10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), part) if part.isdecimal() and part.isascii() else (0, part) for part in parts]
