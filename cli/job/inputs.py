"""Where the inputs of a record are now.

A record may be a stranger's: it is no reason to open a file, or to fetch from an address. What is opened is what the
user names: inputs, or folders that hold them. In these, files count that have the very names of the record, are no
links, and hold the same pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from impasto.runtime.engine.opening import read_metadata
from impasto.runtime.errors import InputError, ModelError
from impasto.runtime.model.folder import ModelFolder
from impasto.runtime.pictures import masks, places
from impasto.runtime.pictures.photographs import Photograph, read_photograph
from impasto.runtime.pictures.places import Place
from impasto.runtime.run.record import Input, Record


@dataclass(frozen=True)
class Found:
    """An input, what it was for, and where it was found."""

    role: str
    place: Place
    photograph: Photograph

    @property
    def image(self) -> Image.Image:
        """What a transfer takes of it: of the content the colours alone, as its opacity is put back."""
        return self.photograph.picture if self.role == "content" else self.photograph.over_white()


@dataclass(frozen=True)
class Search:
    """Where to look for the inputs of a record.

    Attributes
    ----------
    picture
        What has the record, as the user names it; the folder of a file is looked in, too.
    named
        The inputs that the user names, by role.
    folders
        More folders to look in.
    trusting
        Whether files and addresses that the record names are opened as well.
    """

    picture: str
    named: Mapping[str, Sequence[Place]]
    folders: Sequence[Path] = ()
    trusting: bool = False

    def inputs(self, made: Record) -> dict[str, list[Found]]:
        """Find and read the inputs, by role, in their order.

        Raises
        ------
        InputError
            When one is not found, or has other pixels than the record says; the text says what to do.
        """
        for role, given in self.named.items():
            if given and len(given) != (count := len(made.inputs(role))):
                raise InputError(f"--{role}: given {len(given)} times; {self.picture} was made with {count}")
        return {
            role: [
                self._named(wanted, self.named[role][number]) if self.named.get(role) else self._recorded(wanted)
                for number, wanted in enumerate(made.inputs(role))
            ]
            for role in dict.fromkeys(picture.role for picture in made.origin.inputs)
        }

    def idle_options(self, made: Record) -> dict[str, str]:
        """Return which options do nothing, as `impasto.runtime.run.idle` does."""
        found = {}
        if all(self.named.get(picture.role) for picture in made.origin.inputs):
            found["inputs"] = "where every picture is named"
        if not any(map(_whole_place, made.origin.inputs)) and not Path(made.origin.model.place).is_absolute():
            found["trust_record"] = f"where {self.picture} says of nothing where it lies"
        return found

    def model(self, made: Record, named: Path | None, default: Path | None) -> Path:
        """Return the model folder: as named, or as recorded if that is trusted, or the default one.

        Raises
        ------
        ModelError
            When it is the default, and has not the weights that the picture was made with.
        """
        model = made.origin.model
        if named is not None:
            return named
        if self.trusting and Path(model.place).is_absolute():
            return Path(model.place)
        wanted = f"{self.picture} was made with a model {model.place} with the weights {model.weights_sha256[:16]}"
        if default is None or not default.exists():
            raise ModelError(f"{wanted}; say where that is now with --model")
        found = ModelFolder.open(default)  # all of its recipes are over the same weights
        if read_metadata(found, found.recipes()[0]).weights_sha256 != model.weights_sha256:
            raise ModelError(f"model {default}: has other weights; {wanted}; say where that is now with --model")
        return default

    def _named(self, wanted: Input, place: Place) -> Found:
        is_color = wanted.color is not None and masks.is_color(place)
        photograph = Photograph(masks.plain(str(place))) if is_color else read_photograph(place)
        found = Found(wanted.role, place, photograph)
        if not wanted.is_same(found.image):
            raise InputError(
                f"{wanted.role} {places.name(place)}: is not the picture that {self.picture} was made from (its pixels "
                f"have another SHA-256); say where that is now with --{wanted.role}"
            )
        return found

    def _recorded(self, wanted: Input) -> Found:
        """Find an input that the user does not name."""
        if wanted.color:
            return self._named(wanted, wanted.color)
        if self.trusting and (place := _whole_place(wanted)):
            return self._named(wanted, place)
        candidates = list(self._candidates(wanted.name)) if wanted.name else []
        for path in candidates[:-1]:
            found = Found(wanted.role, path, read_photograph(path))
            if wanted.is_same(found.image):
                return found
        if candidates:
            return self._named(wanted, candidates[-1])
        raise InputError(f"{self._why_not_found(wanted)}; say where it is now with --{wanted.role} or --inputs")

    def _candidates(self, name: str) -> Iterator[Path]:
        """Yield the files of that name. It is compared with what a folder lists, never made part of a path."""
        for folder in self._all_folders():
            try:
                with os.scandir(folder) as entries:
                    found = [entry for entry in entries if entry.name == name]
            except OSError as error:
                raise InputError(f"folder {folder}: cannot be read ({error.strerror}); check --inputs") from None
            yield from (folder / entry.name for entry in found if entry.is_file(follow_symlinks=False))

    def _all_folders(self) -> list[Path]:
        own = [Path(self.picture).absolute().parent] if places.is_file(self.picture) else []
        return [*self.folders, *own]

    def _why_not_found(self, wanted: Input) -> str:
        what = f"{self.picture}: its {wanted.role}"
        if wanted.place == places.STREAM:
            return f"{what} came from standard input"
        if wanted.name is None:
            return f"{what} has no name in the record"
        if self.trusting and wanted.place and places.is_url(wanted.place):
            return f"{what} came from an address with a query, which is not kept"
        folders = ", ".join(map(str, self._all_folders())) or "any folder that was named"
        more = f", or open {places.name(place)} with --trust-record" if (place := _whole_place(wanted)) else ""
        return f"{what} is no file {wanted.name} in {folders} (links do not count){more}"


def _whole_place(wanted: Input) -> str | None:
    """Return where an input was, if the record says all of it: a path or an address, rather than a name."""
    place = wanted.place or ""
    is_whole = not place.endswith("?...") if places.is_url(place) else Path(place).is_absolute()
    return place if is_whole else None
