"""The process beside the server: it answers questions about pictures and requests. See `impasto.cli.serve.helper`.

Each public function below is a chore: it takes plain data, and returns plain data.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from impasto.cli.job.estimating import foresee
from impasto.cli.serve import limits
from impasto.cli.serve.declared import offered, transfer_command
from impasto.cli.serve.errors import TooLarge
from impasto.cli.serve.files import safe_name
from impasto.cli.serve.made import describe
from impasto.cli.spelling import on_command_line
from impasto.cli.terminal.errors import explain
from impasto.runtime.errors import ImpastoError, InputError, PictureError
from impasto.runtime.formats import magic
from impasto.runtime.model.default import find_model
from impasto.runtime.pictures import photographs
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import Photograph, read_photograph
from impasto.runtime.pictures.protection import grey
from impasto.runtime.plan.plan import Plan, schedule
from impasto.runtime.run.record import KEYWORD, Record, digest
from impasto.wording import speak

#: Pillow's name of a format -> the ending of its files, and their type.
_ENDINGS = {
    "PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WEBP": (".webp", "image/webp"),
    "GIF": (".gif", "image/gif"), "BMP": (".bmp", "image/bmp"), "PPM": (".ppm", "image/x-portable-anymap"),
    "TIFF": (".tif", "image/tiff"), "JPEG2000": (".jp2", "image/jp2"), "AVIF": (".avif", "image/avif"),
    "HEIF": (".heic", "image/heic"), "TGA": (".tga", "image/x-tga"),
}  # fmt: skip


def choices(model: str) -> dict[str, Any]:
    """Return what a request can choose among."""
    return {
        **offered(Path(model)),
        "formats": [name.strip() for name in magic.READ.replace(" or ", ", ").split(",")],
        "accept": ",".join(part for pair in _ENDINGS.values() for part in pair),
    }


def look(path: str, name: str) -> dict[str, Any]:
    """Look at a picture whose file has just been taken, and return its size, its type, and a name for it.

    Raises
    ------
    InputError
        When it cannot be read, or has too many pixels.
    """
    shown = safe_name(name)
    with _called(path, shown):
        ending, kind = _format(Path(path), shown)
        picture = _bounded(Path(path), shown)
        described = {
            "name": safe_name(name, ending),
            "type": kind,
            "width": picture.picture.width,
            "height": picture.picture.height,
            "digests": sorted({digest(one) for one in (picture.picture, picture.over_white(), grey(picture))}),
            "record": _record(Path(path)),
        }
    return described


def thumbnail(path: str, to: str, side: int) -> None:
    """Write a picture as a PNG whose long side has at most so many pixels."""
    picture = read_photograph(Path(path)).over_white()
    picture.thumbnail((side, side))
    write_picture(picture, Path(to), replace=True)


def convert(path: str, to: str) -> None:
    """Write a result in another format, with its record, and all that the photograph's file had beside its pixels."""
    photograph = read_photograph(Path(path))
    text = photographs.read_text(Path(path))
    kept = {KEYWORD: text[KEYWORD]} if KEYWORD in text else {}
    write_picture(photograph.picture, Path(to), like=photograph, text=kept, replace=True)


def record(path: str) -> Any:
    """Return the record in a result."""
    return json.loads(Record.read(Path(path)).to_json())


def estimate(
    content: str, styles: Sequence[str], arguments: Sequence[str], model: str, oversize: bool = False
) -> dict[str, Any]:
    """Check a request as the command line does, and say what it would take.

    Parameters
    ----------
    arguments
        The options, as they are typed.
    oversize
        Whether one that does not fit into the memory is accepted.

    Raises
    ------
    InputError
        When it cannot be run.
    """
    from impasto.cli.job.drafting import drafted

    said: list[str] = []
    with speak(on_command_line), warnings.catch_warnings(record=True) as warned, _heard(said):
        warnings.simplefilter("always", RuntimeWarning)
        given = transfer_command(arguments)
        chosen = {**given["choices"], "model": find_model(model)}
        transfer = drafted(Path(content), [Path(style) for style in styles], chosen)
        lines, estimated = foresee(transfer, oversize=oversize or given["oversize"], measure=False)
    masks = [str(one) for one in (transfer.material.regions, transfer.material.protection) if one]
    caught = [f"warning: {warning.message}" for warning in warned]
    work = {"width": estimated.width, "height": estimated.height, "fits": estimated.fits}
    work |= {"stages": estimated.stages, "evaluations": estimated.evaluations}
    return {"estimate": {**work, **estimated.to_mapping()}, "messages": [*said, *caught, *masks, *lines]}


# --- what they share ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _heard(lines: list[str]) -> Any:
    """Take what is said on standard error in a `with` block."""
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        yield
    lines += stream.getvalue().splitlines()


@contextlib.contextmanager
def _called(path: str, name: str) -> Any:
    """Let errors name a picture as its owner does, instead of by the server's own path."""
    try:
        yield
    except TooLarge:
        raise
    except ImpastoError as error:
        raise PictureError(str(error).replace(path, name)) from None


def _format(path: Path, name: str) -> tuple[str, str]:
    """Return the ending and the type of a picture's file."""
    with path.open("rb") as file:
        head = file.read(magic.HEAD)
    try:
        reader, _ = magic.reader_of(head, name)
    except magic.UnreadError as error:
        raise PictureError(f"picture {name}: {error}") from None
    return _ENDINGS[reader]


def _bounded(path: Path, name: str) -> Photograph:
    """Read a picture, unless its head says that it has too many pixels."""
    width, height = photographs.read_size(path)
    if width * height > limits.PIXELS:
        raise TooLarge(
            f"picture {name}: {width}x{height} pixels; at most {limits.PIXELS // 1_000_000} megapixels are taken here"
        )
    return read_photograph(path)


def _record(path: Path) -> dict[str, Any] | None:
    """Return how a picture was made, if it has a record that can be read, and a request can ask for the same."""
    try:
        read = Record.read(path)
    except InputError:
        return None
    return describe(read) if _is_scheduled(read.plan) else None  # else it is of a plan file: no request has one


def _is_scheduled(plan: Plan) -> bool:
    """Whether a request without a plan file leads to a plan's stages, as far as they were made."""
    if any(stage.options for stage in plan.stages):
        return False
    was_cut = any(stage.planned or not stage.evaluations for stage in plan.stages)
    usual = schedule(plan.width, plan.height, plan.evaluations, len(plan.stages))
    return was_cut or [(s.width, s.height, s.evaluations) for s in plan.stages] == [
        (s.width, s.height, s.evaluations) for s in usual
    ]


def _kind(error: Exception) -> str:
    """Return the name of an error's kind: what is wrong with a request, or with this process."""
    kind = next((kind for kind in (TooLarge, PictureError, InputError) if isinstance(error, kind)), None)
    is_usage = kind is None and hasattr(error, "format_message")  # typer's own errors
    return kind.__name__ if kind else InputError.__name__ if is_usage else ""


def main() -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's affair, and its end is this one's
    chores: dict[str, Callable[..., Any]] = {
        function.__name__: function for function in (choices, look, thumbnail, convert, record, estimate)
    }
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    for line in sys.stdin:
        question: Mapping[str, Any] = json.loads(line)
        arguments = {name: value for name, value in question.items() if name != "chore"}
        try:
            answer = {"answer": chores[question["chore"]](**arguments)}
        except Exception as error:
            text, _ = explain(error)
            answer = {"error": " ".join(text.split()), "kind": _kind(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
