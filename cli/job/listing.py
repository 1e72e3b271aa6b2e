"""The photographs of a batch: files, addresses, folders, patterns, and lists of these.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
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
    """

    place: Place
    folder: str = ""


def photographs(given: Sequence[str], *, recursive: bool = False, lines: Sequence[str] | None = None) -> list[Listed]:
    """Return the photographs that words of the user name, each once, in the order of the words.

    Parameters
    ----------
    given
        Files, addresses, folders, patterns such as ``photos/*.jpg``, and `LIST`. A file that is missing is listed, too:
        that is one picture's failure. In a folder, files are taken in the order of their names; hidden ones, and those
        with no ending of `ENDINGS`, are left out.
    recursive
        Whether folders of folders are searched, too.
    lines
        The places that `LIST` stands for; by default the lines of standard input.

    Raises
    ------
    InputError
        When a pattern or a folder has no pictures, a folder cannot be read, or there is no list.
    """
    found: dict[str, Listed] = {}
    for word in _words(given, lines):
        for listed in _named(word, recursive=recursive):
            key = str(listed.place) if places.is_url(listed.place) else os.path.realpath(listed.place)
            found.setdefault(key, listed)
    if not found:
        raise InputError("photographs: none were named; expected files, folders or patterns such as photos/*.jpg")
    return list(found.values())


def folders_of(given: Sequence[str]) -> list[Path]:
    """Return the words of the user that are folders."""
    return [Path(word) for word in given if word != LIST and not places.is_url(word) and Path(word).is_dir()]


def _words(given: Sequence[str], lines: Sequence[str] | None) -> Iterator[str]:
    for word in given:
        if word == LIST:
            yield from (
                line for text in (_standard_input() if lines is None else lines) if (line := text.strip("\r\n"))
            )
        else:
            yield word


def _standard_input() -> list[str]:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("photographs -: standard input is closed; expected names of files, a line each")
    if sys.stdin.isatty():
        raise InputError("photographs -: standard input is a terminal; pipe names of files in, a line each")
    try:
        return os.fsdecode(sys.stdin.buffer.read()).splitlines()
    except OSError as error:
        raise InputError(f"photographs -: standard input cannot be read ({error.strerror})") from None


def _named(word: str, *, recursive: bool) -> Iterator[Listed]:
    """Yield the photographs that one word names."""
    if places.is_url(word):
        yield Listed(word)
    elif Path(word).is_dir():
        yield from _in_folder(Path(word), recursive=recursive)
    elif glob.has_magic(word) and not os.path.lexists(word):
        paths = [Path(name) for name in sorted(_matching(word), key=_natural)]
        files = [Listed(path) for path in paths if path.is_file()]
        if not files:
            raise InputError(f"photographs {word}: no file has such a name; check the pattern")
        yield from files
    else:
        yield Listed(Path(word))


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  # a pattern may be absolute


def _in_folder(folder: Path, *, recursive: bool) -> Iterator[Listed]:
    found = [Listed(path, path.parent.relative_to(folder).as_posix()) for path in _files(folder, recursive=recursive)]
    if not found:
        within = "" if recursive or not any(path.is_dir() for path in folder.iterdir()) else "; add --recursive"
        raise InputError(f"photographs {folder}: has no pictures ({', '.join(ENDINGS)}){within}")
    yield from (listed if listed.folder != "." else Listed(listed.place) for listed in found)


def _files(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Yield the pictures in a folder, then those of its folders; hidden ones are left out, and links to folders."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: _natural(entry.name))
    except OSError as error:
        raise InputError(f"photographs {folder}: cannot be looked into ({error.strerror})") from None
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    yield from (Path(entry.path) for entry in shown if entry.is_file() and entry.name.lower().endswith(ENDINGS))
    for entry in shown if recursive else ():
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), recursive=True)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which photo9 comes before photo10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), part) if part.isdecimal() and part.isascii() else (0, part) for part in parts]
