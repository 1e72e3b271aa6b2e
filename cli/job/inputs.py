"""The search for the inputs of a record.

A record may come from a stranger, so it alone is no reason to open a file, or to fetch from an address. The user names
inputs, or folders that hold them. A file in such a folder counts if it has the recorded name, is no link, and holds the
same pixels.
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
from impasto.runtime.pictures.protection import PROTECT, grey
from impasto.runtime.run.record import Input, Record


@dataclass(frozen=True)
class FoundInput:
    """An input of a record: its role, its place now, and the photograph read from there."""

    role: str
    place: Place
    photograph: Photograph

    @property
    def image(self) -> Image.Image:
        """The image for the transfer: a content without opacity, which the result gets back; others over white.

        A mask of what is protected is grey, over black.
        """
        if self.role == PROTECT:
            return grey(self.photograph)
        return self.photograph.picture if self.role == "content" else self.photograph.over_white()


@dataclass(frozen=True)
class Search:
    """A search for the inputs of a record.

    Attributes
    ----------
    picture
        The picture with the record, as the user names it. If it is a file, its folder is searched, too.
    named
        The inputs that the user names, by role.
    folders
        More folders to search.
    trusting
        Whether files and addresses that the record names are opened, too.
    """

    picture: str
    named: Mapping[str, Sequence[Place]]
    folders: Sequence[Path] = ()
    trusting: bool = False

    def inputs(self, record: Record) -> dict[str, list[FoundInput]]:
        """Find and read the inputs. Return them by role, in their order.

        Raises
        ------
        InputError
            When one is not found, or has other pixels than the record says; the text says what to do.
        """
        for role, given in self.named.items():
            if given and len(given) != (count := len(record.inputs(role))):
                raise InputError(f"--{role}: given {len(given)} times; {self.picture} was made with {count}")
        return {
            role: [
                self._read(wanted, self.named[role][number]) if self.named.get(role) else self._search(wanted)
                for number, wanted in enumerate(record.inputs(role))
            ]
            for role in dict.fromkeys(picture.role for picture in record.origin.inputs)
        }

    def idle_options(self, record: Record) -> dict[str, str]:
        """Return the options that do nothing, with reasons, as `impasto.runtime.run.idle` does."""
        idle = {}
        if all(self.named.get(picture.role) for picture in record.origin.inputs):
            idle["inputs"] = "where every picture is named"
        if not any(map(_whole_place, record.origin.inputs)) and not Path(record.origin.model.place).is_absolute():
            idle["trust_record"] = f"where {self.picture} says of nothing where it lies"
        return idle

    def model(self, record: Record, named: Path | None, default: Path | None) -> Path:
        """Return the model folder: the named one, or the recorded one if it is trusted, or the default one.

        Raises
        ------
        ModelError
            When there is no default one, or it has other weights than those that the picture was made with.
        """
        model = record.origin.model
        if named is not None:
            return named
        if self.trusting and Path(model.place).is_absolute():
            return Path(model.place)
        expected = f"{self.picture} was made with a model {model.place} with the weights {model.weights_sha256[:16]}"
        if default is None or not default.exists():
            raise ModelError(f"{expected}; say where that is now with --model")
        folder = ModelFolder.open(default)  # all of its recipes are over the same weights
        if read_metadata(folder, folder.recipes()[0]).weights_sha256 != model.weights_sha256:
            raise ModelError(f"model {default}: has other weights; {expected}; say where that is now with --model")
        return default

    def _read(self, wanted: Input, place: Place) -> FoundInput:
        """Read an input from a place, and check its pixels."""
        is_color = wanted.color is not None and masks.is_color(place)
        photograph = Photograph(masks.plain(str(place))) if is_color else read_photograph(place)
        candidate = FoundInput(wanted.role, place, photograph)
        if not wanted.is_same(candidate.image):
            raise InputError(
                f"{wanted.role} {places.name(place)}: is not the picture that {self.picture} was made from (its pixels "
                f"have another SHA-256); say where that is now with --{wanted.role}"
            )
        return candidate

    def _search(self, wanted: Input) -> FoundInput:
        """Find and read an input that the user does not name."""
        if wanted.color:
            return self._read(wanted, wanted.color)
        if self.trusting and (place := _whole_place(wanted)):
            return self._read(wanted, place)
        paths = list(self._files(wanted.name)) if wanted.name else []
        for path in paths[:-1]:
            candidate = FoundInput(wanted.role, path, read_photograph(path))
            if wanted.is_same(candidate.image):
                return candidate
        if paths:
            return self._read(wanted, paths[-1])
        raise InputError(f"{self._reason_missing(wanted)}; say where it is now with --{wanted.role} or --inputs")

    def _files(self, name: str) -> Iterator[Path]:
        """Yield the files of that name. It is compared with the entries of a folder, and never part of a path."""
        for folder in self._all_folders():
            try:
                with os.scandir(folder) as entries:
                    matching = [entry for entry in entries if entry.name == name]
            except OSError as error:
                raise InputError(f"folder {folder}: cannot be read ({error.strerror}); check --inputs") from None
            yield from (folder / entry.name for entry in matching if entry.is_file(follow_symlinks=False))

    def _all_folders(self) -> list[Path]:
        own = [Path(self.picture).absolute().parent] if places.is_file(self.picture) else []
        return [*self.folders, *own]

    def _reason_missing(self, wanted: Input) -> str:
        subject = f"{self.picture}: its {wanted.role}"
        if wanted.place == places.STREAM:
            return f"{subject} came from standard input"
        if wanted.name is None:
            return f"{subject} has no name in the record"
        if self.trusting and wanted.place and places.is_url(wanted.place):
            return f"{subject} came from an address with a query, which is not kept"
        folders = ", ".join(map(str, self._all_folders())) or "any folder that was named"
        more = f", or open {places.name(place)} with --trust-record" if (place := _whole_place(wanted)) else ""
        return f"{subject} is no file {wanted.name} in {folders} (links do not count){more}"


def _whole_place(wanted: Input) -> str | None:
    """Return the recorded place of an input if it is complete: a path or an address, not only a name."""
    place = wanted.place or ""
    is_whole = not place.endswith("?...") if places.is_url(place) else Path(place).is_absolute()
    return place if is_whole else None
