"""How commands write pictures: with a message about each, and never into the same output as JSON."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.terminal.messages import say

if TYPE_CHECKING:
    from PIL import Image

    from impasto.runtime.pictures.photographs import Photograph
    from impasto.runtime.pictures.places import Place


def check_json(output: Place, json: bool) -> None:
    """Refuse to print a picture and JSON, one after the other.

    Raises
    ------
    InputError
        When both would go to standard output.
    """
    from impasto.runtime import InputError
    from impasto.runtime.pictures import places

    if json and places.is_standard_output(output):
        name = places.name(output)
        raise InputError(f"output {name}: --json prints to standard output, too; name a file for the picture")


@contextlib.contextmanager
def folder_for(path: Path, subject: str, option: str) -> Iterator[None]:
    """Make, before any work, a folder that pictures can be written to. If inputs are refused, remove it again.

    Raises
    ------
    OutputError
        When there is no such folder: the text names it by `subject`, and the `option` that names another.
    """
    from impasto.runtime import InputError, OutputError

    try:
        fresh = not path.exists()
        path.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{subject} {path}: no folder to write to ({error.strerror}); name another with {option}"
        ) from None
    try:
        yield
    except InputError:
        with contextlib.suppress(OSError):  # another run may use it by now
            if fresh:
                path.rmdir()
        raise


def write(
    picture: Image.Image,
    place: Place,
    like: Photograph | None = None,
    text: dict[str, str] | None = None,
    *,
    replace: bool,
    quiet: bool = False,
) -> None:
    """Write a picture and, unless `quiet`, say where; see `impasto.runtime.pictures.encoding.write_picture`."""
    from impasto.runtime.pictures import encoding, places

    encoding.write_picture(picture, place, like=like, text=text, replace=replace)
    if not quiet:
        name = places.name(place) if places.is_file(place) else "standard output"
        say(f"wrote {name} ({picture.width}x{picture.height})")
