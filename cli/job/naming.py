"""The names of a batch's results: a template, filled in for each picture, and never one name for two of them.

Commands import it only when they run, because it imports the runtime.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from impasto.runtime.errors import InputError
from impasto.runtime.pictures import places
from impasto.runtime.pictures.places import Place
from impasto.text import shown

#: The fields of a template -> their meaning, for messages and the help.
FIELDS = {
    "content": "the photograph's name",
    "style": "the paintings' names",
    "recipe": "the recipe",
    "folder": "the photograph's folder below the one that was named",
    "number": "the number of the picture, from 1",
}

DEFAULT = "{content}-{style}.png"

#: Characters that some file system has no names with.
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')

#: Between the names of paintings that are blended.
_AND = "+"


@dataclass(frozen=True)
class Named:
    """What the name of a result is made of."""

    content: Place
    styles: tuple[Place, ...]
    recipe: str
    folder: str
    number: int

    @property
    def title(self) -> str:
        """The pictures that it is made from, for messages."""
        return f"{places.name(self.content)} x {_AND.join(map(_stem, self.styles))}"

    @property
    def fields(self) -> dict[str, object]:
        """The values of the `FIELDS`."""
        style = _AND.join(map(_stem, self.styles))
        folder = "/".join(_usable(part) for part in self.folder.split("/") if part)
        return {
            "content": _stem(self.content), "style": style, "recipe": self.recipe, "folder": folder,
            "number": self.number,
        }  # fmt: skip


@dataclass(frozen=True)
class Template:
    """A template for names, such as ``{content}-{style}.png``.

    Attributes
    ----------
    text
        The template.
    option
        The option that has it.
    anywhere
        Whether it may lead out of the folder of the results.

    Raises
    ------
    InputError
        When it is no template, has unknown fields, or leads out of the folder of the results.
    """

    text: str
    option: str
    anywhere: bool = False

    def __post_init__(self) -> None:
        what = f"{self.option} {shown(self.text)}"
        try:
            parts = [part for part in string.Formatter().parse(self.text) if part[1] is not None]
        except ValueError as error:
            raise InputError(f"{what}: is no template ({error}); expected one such as {DEFAULT}") from None
        for _, name, form, conversion in parts:
            if name not in FIELDS:
                raise InputError(f"{what}: has no field {shown(name)}; expected one of {', '.join(FIELDS)}")
            if conversion or (form and not (name == "number" and re.fullmatch(r"0?\d", form))):
                raise InputError(f"{what}: {{{name}}} takes no form; {{number:04}} alone does, for leading zeros")
        if self.anywhere:
            return
        path = self.text.format(**dict.fromkeys(FIELDS, "x") | {"number": 1})
        parts_ = PurePosixPath(path).parts
        if not parts_ or parts_[0] == "/" or ".." in parts_ or re.match(r"[A-Za-z]:|.*\\", path):
            raise InputError(f"{what}: leads elsewhere; expected a name within the folder of the results")

    def path(self, folder: Path, named: Named) -> Path:
        """Return the path of a picture's file, in a folder."""
        text = self.text.format(**named.fields)
        return folder / (text if self.anywhere else text.lstrip("/"))  # of "{folder}/" the slash is left, without one

    def paths(self, folder: Path, wanted: Sequence[Named]) -> list[Path]:
        """Return the paths of all results.

        Raises
        ------
        InputError
            When two would have one name, also where a file system does not tell capitals.
        """
        taken: dict[str, Named] = {}
        paths = [self.path(folder, named) for named in wanted]
        for path, named in zip(paths, wanted, strict=True):
            other = taken.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), named)
            if other is not named:
                both = " and ".join(one.title for one in (other, named))
                raise InputError(
                    f"{self.option} {shown(self.text)}: {both} would both be {path}; add {{folder}} or {{number}}"
                )
        return paths


def _stem(place: Place) -> str:
    """Return the name of a picture without its ending."""
    if places.is_url(place):
        return _usable(PurePosixPath(places.name(place).partition("?")[0]).stem)
    return _usable(Path(place).stem)


def _usable(name: str) -> str:
    """Return a name that every file system has, and shows."""
    return _UNUSABLE.sub("-", name).strip(" .") or "picture"
