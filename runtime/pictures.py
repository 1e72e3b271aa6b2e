"""Pictures in and out: reading anything Pillow reads, resizing, and writing without ever leaving half a file."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from impasto.runtime.errors import OutputError, PictureError

#: The least width and height: a VGG network halves a picture four times and still needs something to look at.
MIN_SIDE = 32

Picture = Image.Image | NDArray[Any]
Planes = NDArray[np.float32]

#: What can be written, by extension, with Pillow's options for it.
_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def read_picture(path: str | Path) -> Image.Image:
    """Read a picture of any mode, turn it upright as its EXIF says, and make it 8-bit RGB.

    Raises
    ------
    PictureError
        When it is missing, a folder, no picture, truncated, absurdly large or smaller than 32 x 32 pixels.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice that is refused as a bomb
            with Image.open(path) as image:
                picture = to_rgb(image)
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise PictureError(f"picture {path}: {_why_unreadable(error)}") from None
    check_sides(f"picture {path}", picture.width, picture.height)
    return picture


def _why_unreadable(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "no such file; check the path"
        case IsADirectoryError():
            return "is a folder; expected a file such as photo.jpg"
        case PermissionError():
            return "may not be read; check its permissions"
        case UnidentifiedImageError():
            return "not a picture in a format that Pillow reads; use PNG or JPEG"
        case Image.DecompressionBombError():
            return f"refused as a decompression bomb ({str(error).partition(',')[0]}); make it smaller"
        case OSError(strerror=str(reason)):
            return f"cannot be read ({reason}); check the path"
    return f"truncated or damaged ({error}); get a whole copy"


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode, upright as its EXIF says, as 8-bit RGB; what is transparent becomes white."""
    image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BIT:
        levels = np.array(image, np.float64)
        if "transparency" in image.info:
            levels[levels == image.info["transparency"]] = 65535
        image = Image.fromarray((levels / 257).clip(0, 255).round().astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def check_sides(what: str, width: int, height: int) -> None:
    """Refuse what is too small for the network to look at.

    Raises
    ------
    PictureError
        When either side is below 32 pixels.
    """
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{what}: {width}x{height} pixels; expected {MIN_SIDE} or more on each side")


def as_image(picture: Picture, what: str) -> Image.Image:
    """Return a picture as an 8-bit RGB image; an array (H, W, 3) in 0..255 is rounded and clipped.

    Raises
    ------
    PictureError
        When it is neither an image nor such an array, or too small; `what` names it in the text.
    """
    image = to_rgb(picture) if isinstance(picture, Image.Image) else to_image(to_planes(picture, what))
    check_sides(what, image.width, image.height)
    return image


def to_planes(picture: Picture, what: str) -> Planes:
    """Return a picture as float32 [1, 3, H, W], RGB, 0..255: what a graph takes.

    Raises
    ------
    PictureError
        When it is neither an image nor a finite (H, W, 3) array, or too small; `what` names it in the text.
    """
    array = np.asarray(to_rgb(picture) if isinstance(picture, Image.Image) else picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu":
        raise PictureError(f"{what}: array {array.dtype}{list(array.shape)}; expected numbers [H, W, 3], RGB, 0..255")
    check_sides(what, array.shape[1], array.shape[0])
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None], np.float32)
    if not np.isfinite(planes).all():
        raise PictureError(f"{what}: has values that are not finite; expected levels 0..255")
    return planes


def to_image(planes: Planes) -> Image.Image:
    """Return float32 [1, 3, H, W] as an 8-bit image, rounded and clipped."""
    return Image.fromarray(planes[0].transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to exactly width x height; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def result_size(size: int | tuple[int, int], content: Image.Image) -> tuple[int, int]:
    """Return (width, height) of the result: as given, or with the content's proportions for a long side in pixels.

    Raises
    ------
    PictureError
        When a side comes out below 32 pixels.
    """
    if isinstance(size, tuple):
        width, height = size
    else:
        factor = size / max(content.size)
        width, height = (max(1, round(side * factor)) for side in content.size)
    check_sides("the result", width, height)
    return width, height


def fit_style(style: Image.Image, fit: str, width: int, height: int) -> Image.Image:
    """Resize a style picture as a recipe's `style_fit` says, for a result of width x height."""
    if fit == "stretch":
        return resize(style, width, height)
    factor = (width * height / (style.width * style.height)) ** 0.5
    return resize(style, *(max(MIN_SIDE, round(side * factor)) for side in style.size))


def triptych(content: Image.Image, styles: Sequence[Image.Image], result: Image.Image) -> Image.Image:
    """Set content, styles and result side by side, all as high as the result."""
    height, gap = result.height, max(2, result.height // 60)
    panels = [resize(content, *result.size)]
    panels += [resize(s, max(1, round(s.width * height / s.height)), height) for s in styles]
    panels.append(result)
    sheet = Image.new("RGB", (sum(p.width for p in panels) + gap * (len(panels) - 1), height), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + gap
    return sheet


def check_output(path: str | Path, *, force: bool = False, inputs: Sequence[str | Path] = ()) -> Path:
    """Make sure, before any work, that a picture can be written to `path`.

    Parameters
    ----------
    force
        Whether a file that is there may be replaced.
    inputs
        Pictures that are being read: these are never replaced.

    Raises
    ------
    OutputError
        When the extension is unknown, the folder is missing or not writable, or something would be lost.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(
            f"output {path}: unknown format {path.suffix!r}; expected a name ending in {', '.join(_FORMATS)}"
        )
    try:
        _check_place(path, force, inputs)
    except OSError as error:
        raise OutputError(f"output {path}: cannot be written ({error.strerror}); choose another place") from None
    return path


def _check_place(path: Path, force: bool, inputs: Sequence[str | Path]) -> None:
    if path.is_dir():
        raise OutputError(f"output {path}: is a folder; expected a file name")
    if not path.parent.is_dir():
        raise OutputError(f"output {path}: folder {path.parent} does not exist; make it first")
    for other in inputs:
        if path.exists() and Path(other).exists() and path.samefile(other):
            raise OutputError(f"output {path}: is one of the pictures to be read; choose another name")
    if path.exists() and not force:
        raise OutputError(f"output {path}: exists already; choose another name, or replace it with --force")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
        pass


def write_picture(image: Image.Image, path: str | Path) -> None:
    """Write a picture, PNG or JPEG by extension: beside its place, then renamed into it.

    Raises
    ------
    OutputError
        When it cannot be written, for want of space for instance; whatever was at `path` is still there.
    """
    path = Path(path)
    format_, options = _FORMATS[path.suffix.lower()]
    encoded = io.BytesIO()  # writing to a full disk itself, Pillow's JPEG encoder notices nothing
    image.save(encoded, format_, **options)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(encoded.getbuffer())
        temporary.chmod(0o666 & ~_umask())  # temporary files are private; a result is not
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"output {path}: could not be written ({error.strerror or error})") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
