"""Decoding of picture files: whole, or refused with a reason. One that is too large for memory is refused before."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import IO

from PIL import Image, ImageFile

from impasto.runtime.errors import MemoryShortage, PictureError
from impasto.runtime.formats import deep, embedded, magic, png, tiff
from impasto.runtime.formats.magic import ADVICE, UnreadError
from impasto.runtime.machine.memory import room_left
from impasto.shortage import advice, is_shortage

#: No picture may have more pixels, however much memory there is.
MOST_PIXELS = 1 << 30

#: Mode -> the bytes of a pixel in Pillow; other modes have four.
_HELD = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}

#: The additional bytes of a pixel while it is converted to 8-bit RGB, without and with transparency.
_WORK, _WORK_WITH_ALPHA = 5, 11
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA", "P")

#: Decoder -> the bytes of a pixel that it takes before that, as measured; only those that take more.
_DECODERS = {"JPEG": 6, "MPO": 6, "JPEG2000": 16, "WEBP": 12, "AVIF": 12, "HEIF": 12}

#: The errors of Pillow's readers for a kind of a format that they do not support.
_NOT_THIS_KIND = re.compile(
    "unknown (pixel|raw) mode|samples per pixel|unsupported|cannot handle|not (supported|available|implemented)",
    re.IGNORECASE,
)

_CLOSED = "was closed before its levels were read; give it while it is open, or call its load() before"

_turn = threading.RLock()

# Without a handler Python prints the log of Pillow; a program that wants to see it has a handler.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(file: IO[bytes], subject: str, name: str = "") -> Image.Image:
    """Return a picture of any mode with its levels; of an animation, the first frame.

    Parameters
    ----------
    file
        The picture's bytes, in a seekable file.
    subject
        The name of the picture in errors and warnings.
    name
        The name of the file, if it has one.

    Returns
    -------
    Image
        Its `info` has the file's data beside the levels, by Pillow's names.

    Raises
    ------
    PictureError
        When the format is not supported, or the file is damaged, cut short, or too large.
    MemoryShortage
        When there is too little memory.
    """
    with refusing(subject), settled():
        file.seek(0)
        reader, kind = magic.reader_of(file.read(magic.HEAD), name)
        file.seek(0)
        return _decode_png(file, subject) if reader == "PNG" else _decode_by(reader, file, kind.name)


def look(file: IO[bytes], name: str = "") -> Image.Image:
    """Return a picture of any mode whose levels are not read yet: of its file, only the head is looked at.

    Parameters are those of `decode`, and so are the errors of what the head tells.
    """
    with settled():
        file.seek(0)
        reader, _ = magic.reader_of(file.read(magic.HEAD), name)
        file.seek(0)
        return _opened(reader, file)


def _opened(reader: str, file: IO[bytes]) -> Image.Image:
    """Return a picture whose levels are not read yet, by one of Pillow's readers, unless there is no room for them."""
    image: Image.Image = Image.OPEN[reader][0](file, "")
    _check_room(image.size, image.mode, reader)
    return image


def _decode_by(reader: str, file: IO[bytes], kind: str) -> Image.Image:
    """Decode a file by one of Pillow's readers, and no other."""
    try:
        return _loaded(_opened(reader, file))
    except (SyntaxError, ValueError, OSError) as error:
        unknown_compression = reader == "TIFF" and isinstance(error.__cause__, KeyError)
        if unknown_compression or _NOT_THIS_KIND.search(str(error)):
            raise UnreadError(f"is {kind} of a kind that is not read ({error}); {ADVICE}") from None
        raise
    except AttributeError:
        if reader != "HEIF":
            raise
        raise UnreadError(
            f"is {kind}, and this pillow-heif does not go with this Pillow; pip install --upgrade pillow pillow-heif, "
            f"or {ADVICE}"
        ) from None


def decoded(image: Image.Image, subject: str) -> Image.Image:
    """Return an image from Python with its levels; it may have been opened without being read yet.

    Raises
    ------
    PictureError
        When it has been closed, or its file has moved, or is damaged; `subject` names it.
    """
    with refusing(subject), settled():
        if getattr(image, "tile", None):  # the parts that are still to be read
            _check_room(image.size, image.mode, image.format or "")
            file = getattr(image, "fp", None)
            if image.format == "PNG" and file is not None:  # Pillow overlooks some damage
                file.seek(0)
                png.read(file).check()
        try:
            return _loaded(image)
        except (AttributeError, AssertionError):  # it no longer has a file
            raise UnreadError(_CLOSED) from None


@contextlib.contextmanager
def refusing(subject: str) -> Iterator[None]:
    """Turn every error into a `PictureError` that names the picture: with damaged files, decoders raise any type.

    Raises
    ------
    MemoryShortage
        When there is too little memory.
    PictureError
        For all other errors.
    """
    try:
        yield
    except (PictureError, MemoryShortage):
        raise
    except Exception as error:
        if not isinstance(error, UnreadError) and is_shortage(error):
            raise MemoryShortage(f"{subject}: too little memory to read it; make it smaller, or {advice()}") from None
        raise PictureError(f"{subject}: {_why(error)}") from None


def _why(error: Exception) -> str:
    match error:
        case UnreadError():
            return str(error)
        case FileNotFoundError():
            return "no such file; check the path"
        case IsADirectoryError():
            return "is a folder; expected a file such as photo.jpg"
        case PermissionError():
            return "may not be read; check its permissions"
        case OSError(errno=errno.EINVAL, filename=None):
            pass  # damaged data led to an offset before the start
        case OSError(strerror=str(reason)):
            return f"cannot be read ({reason}); check the path"
        case ValueError() if "closed" in str(error):
            return _CLOSED
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"truncated or damaged ({reason}); get a whole copy"


def _decode_png(file: IO[bytes], subject: str) -> Image.Image:
    header = png.read_header(file)
    _check_room((header.width, header.height), deep.MODES[header.samples], "PNG")
    file.seek(0)
    picture = png.read(file)
    picture.extras.info[embedded.TEXTS] = picture.extras.text
    if picture.extras.dropped:
        left_out = ", ".join(dict.fromkeys(picture.extras.dropped))
        warnings.warn(f"{subject}: damaged or not understood, and left out: {left_out}", RuntimeWarning, stacklevel=2)
    if header.depth == 16:
        return deep.decode(picture)
    picture.check()
    with Image.open(picture.plain(), formats=["PNG"]) as image:
        image.load()
    image.info = picture.extras.info
    if header.color == png.GREY and "transparency" in image.info:  # Pillow scales levels to 8 bits, but not the key
        image.info["transparency"] *= 255 // header.most
    return image


def _loaded(image: Image.Image) -> Image.Image:
    """Read an image's levels, before any other step that might hide damage in them."""
    if image.format != "TIFF":
        embedded.load(image)
        return image
    tiff.prepare(image)
    with _silence():
        embedded.load(image)
    return image


def _check_room(size: tuple[int, int], mode: str, reader: str) -> None:
    """Refuse a picture that is absurdly large, or too large for the free memory, by the size in its header."""
    width, height = size
    pixels = width * height
    if pixels > MOST_PIXELS:
        raise UnreadError(
            f"{width}x{height} pixels: refused as a decompression bomb (over {MOST_PIXELS} pixels); make it smaller"
        )
    work = _WORK_WITH_ALPHA if mode in _WITH_ALPHA else _WORK
    needed = pixels * (_HELD.get(mode, 4) + max(work, _DECODERS.get(reader, 0)))
    left = room_left()
    if left is not None and needed > left.size:
        limit = f" of {left.limit}" if left.limit else ""
        raise UnreadError(
            f"{width}x{height} pixels take {_amount(needed)} of memory to be read, and {_amount(left.size)} are left"
            f"{limit}; make it smaller, or {advice()}"
        )


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


# --- Pillow's settings ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Set Pillow to refuse files that are cut short, to have no limit of its own, and to issue no warnings.

    The settings of other code in this process come back afterwards. Impasto's own warnings are issued.
    """
    with _turn, warnings.catch_warnings():
        for category in (UserWarning, DeprecationWarning, Image.DecompressionBombWarning):
            warnings.simplefilter("ignore", category)
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard the messages that libtiff prints to standard error."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
