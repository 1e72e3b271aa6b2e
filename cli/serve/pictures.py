"""The pictures that were given to the server: each in a folder of its own, under the hash of its bytes and its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from impasto.cli.serve import limits
from impasto.cli.serve.errors import TooLarge
from impasto.cli.serve.files import make_folder, read_json, remove_folder, write_json
from impasto.cli.serve.helper import Helper
from impasto.cli.serve.requests import unknown_picture
from impasto.figures import megabytes
from impasto.runtime.errors import PictureError

#: The file in a picture's folder that describes it. It is written last, so a folder without it is a rest.
_ABOUT = "about.json"

#: The seconds that a picture stays that no run has.
_KEPT = 7 * 86400.0


@dataclass(frozen=True)
class Picture:
    """A picture that was given to the server.

    Attributes
    ----------
    id
        Its id.
    name, type
        The name of its file, and the type of that: ``image/png``.
    width, height, bytes
        Its size in pixels, upright, and that of its file.
    digests
        The hashes of its pixels, by which records know it: see `impasto.runtime.run.record.digest`.
    record
        How it was made, if it is a result: see `impasto.cli.serve.made.describe`.
    sample
        ``content`` or ``style`` for one that comes along.
    """

    id: str
    name: str
    type: str
    width: int
    height: int
    bytes: int
    digests: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None
    sample: str | None = None


class Shelf:
    """All pictures, in a folder."""

    def __init__(self, folder: Path, helper: Helper) -> None:
        self._folder, self._helper = make_folder(folder), helper
        self._pictures: dict[str, Picture] = {}
        for path in folder.iterdir():
            about = read_json(path / _ABOUT)
            with contextlib.suppress(TypeError):  # another version's
                if about and about["id"] == path.name and (path / about["name"]).is_file():
                    self._pictures[path.name] = Picture(**{**about, "digests": tuple(about["digests"])})

    def __getitem__(self, picture: str) -> Picture:
        """Return a picture by its id.

        Raises
        ------
        InputError
            When there is none.
        """
        if picture not in self._pictures:
            raise unknown_picture(picture)
        return self._pictures[picture]

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._pictures.values())

    def path(self, picture: str) -> Path:
        """Return the file of a picture."""
        return self._folder / self[picture].id / self[picture].name

    async def add(self, name: str, blocks: AsyncIterator[bytes]) -> Picture:
        """Take a picture's file as it comes.

        Raises
        ------
        TooLarge
            When it has too many bytes.
        PictureError
            When it cannot be read, or has too many pixels.
        """
        temporary = self._folder / f".{os.urandom(8).hex()}.part"
        try:
            with temporary.open("xb") as file:
                hashed = await _received(file, blocks)
            return await self._taken(temporary, name, hashed)
        finally:
            temporary.unlink(missing_ok=True)

    async def add_sample(self, path: Path, role: str) -> Picture:
        """Take a picture that comes along."""

        async def blocks() -> AsyncIterator[bytes]:
            yield path.read_bytes()

        picture = replace(await self.add(path.name, blocks()), sample=role)
        self._pictures[picture.id] = picture
        return picture

    async def _taken(self, temporary: Path, name: str, hashed: str) -> Picture:
        looked = await self._helper.ask("look", path=str(temporary), name=name)
        key = hashlib.sha256(f"{looked['name']}\0{hashed}".encode()).hexdigest()[:32]
        if key in self._pictures:
            return self._pictures[key]
        size = temporary.stat().st_size
        picture = Picture(id=key, bytes=size, **{**looked, "digests": tuple(looked["digests"])})
        folder = make_folder(self._folder / key)
        temporary.replace(folder / picture.name)
        write_json(folder / _ABOUT, asdict(picture))
        self._pictures[key] = picture
        return picture

    async def rendered(self, picture: str, side: int) -> Path:
        """Return the file of a PNG of a picture whose long side has at most so many pixels."""
        path = self.path(picture).with_name(f".{side}.png")
        if not path.exists():
            await self._helper.ask("thumbnail", path=str(self.path(picture)), to=str(path), side=side)
        return path

    def of_digest(self, digest: str, name: str | None) -> Picture | None:
        """Return a picture with these pixels, if there is one: of several, that of this name."""
        found = [picture for picture in self if digest in picture.digests]
        return min(found, key=lambda picture: picture.name != name, default=None)

    def clear(self, used: Collection[str]) -> None:
        """Remove old pictures that no run has, and the rests of uploads."""
        for path in [*self._folder.iterdir()]:
            if path.name in used:
                continue
            with contextlib.suppress(OSError):
                if path.is_dir() and (path.name not in self._pictures or time.time() - path.stat().st_mtime > _KEPT):
                    self._pictures.pop(path.name, None)
                    remove_folder(path)
                elif path.is_file():
                    path.unlink()


async def _received(file: BinaryIO, blocks: AsyncIterator[bytes]) -> str:
    """Write what comes into a file, as long as it is not too much; return its hash."""
    hashed, size = hashlib.sha256(), 0
    async for block in blocks:
        size += len(block)
        check_bytes(size)
        hashed.update(block)
        file.write(block)
    if not size:
        raise PictureError("picture: the file is empty; expected the bytes of a picture")
    return hashed.hexdigest()


def check_bytes(size: int) -> None:
    """Refuse a file of too many bytes.

    Raises
    ------
    TooLarge
        When it has too many.
    """
    if size > limits.UPLOAD.size:
        raise TooLarge(f"picture: more than {megabytes(limits.UPLOAD.size)}; make it smaller")
