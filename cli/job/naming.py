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

#: The fields of a template -> their meaning.
FIELDS = {
    "content": "the photograph's name",
    "style": "the paintings' names",
    "recipe": "the recipe",
    "folder": "the photograph's folder below the one that was named",
    "number": "the number of the picture, from 1",
}

#: Characters that some file system has no names with.
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')

#: Between the names of paintings that are blended.
_AND = "+"


@dataclass(frozen=True)
class Named:
    """What the names of a picture's files are made of."""

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
    def raw(self) -> dict[str, object]:
        """The values of the `FIELDS`, as files are called."""
        style = _AND.join(map(_stem, self.styles))
        return {
            "content": _stem(self.content), "style": style, "recipe": self.recipe, "folder": self.folder,
            "number": self.number,
        }  # fmt: skip

    @property
    def usable(self) -> dict[str, object]:
        """The same for new files: in names that every file system has, and shows."""
        folder = "/".join(_usable(part) for part in self.folder.split("/") if part)
        content, style = _usable(_stem(self.content)), _AND.join(_usable(_stem(place)) for place in self.styles)
        return {**self.raw, "content": content, "style": style, "folder": folder}


def check_template(text: str, option: str) -> None:
    """Refuse a text that is no template, or has unknown fields; the `option` has it.

    Raises
    ------
    InputError
        One line that names the option.
    """
    try:
        parts = [part for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise InputError(
            f"{option} {shown(text)}: is no template ({error}); expected one such as {{content}}"
        ) from None
    for _, name, form, conversion in parts:
        if name not in FIELDS:
            raise InputError(f"{option} {shown(text)}: has no field {shown(name)}; expected one of {', '.join(FIELDS)}")
        if conversion or (form and not (name == "number" and re.fullmatch(r"0?\d", form))):
            raise InputError(f"{option} {shown(text)}: {{{name}}} takes no form; only {{number:04}} does")


@dataclass(frozen=True)
class Template:
    """A template for the names of files in the folder of the results, such as ``{content}-{style}.png``.

    Attributes
    ----------
    text
        The template.
    option
        The option that has it.

    Raises
    ------
    InputError
        When it is no template, has unknown fields, or leads out of the folder.
    """

    text: str
    option: str

    def __post_init__(self) -> None:
        check_template(self.text, self.option)
        sample = self.text.format(**dict.fromkeys(FIELDS, "x") | {"number": 1})
        parts = PurePosixPath(sample).parts
        if not parts or parts[0] == "/" or ".." in parts or re.match(r"[A-Za-z]:|.*\\", sample):
            what = f"{self.option} {shown(self.text)}"
            raise InputError(f"{what}: leads elsewhere; expected a name within the folder of the results")

    def path(self, folder: Path, named: Named) -> Path:
        """Return the path of a picture's file."""
        return folder / self.text.format(**named.usable).lstrip("/")  # "{folder}/" is "/" where there is no folder

    def paths(self, folder: Path, wanted: Sequence[Named]) -> list[Path]:
        """Return the paths of all pictures' files.

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
                both = " and ".join(dict.fromkeys((other.title, named.title)))
                raise InputError(
                    f"{self.option} {shown(self.text)}: {both}{'' if ' and ' in both else ', named twice,'} would both "
                    f"be {path}; add {{number}}{'' if '{folder' in self.text else ' or {folder}'}"
                )
        return paths


def _stem(place: Place) -> str:
    """Return the name of a picture without its ending."""
    return PurePosixPath(places.name(place).partition("?")[0]).stem if places.is_url(place) else Path(place).stem


def _usable(name: str) -> str:
    """Return a name that every file system has, and shows."""
    return _UNUSABLE.sub("-", name).strip(" .") or "picture"
