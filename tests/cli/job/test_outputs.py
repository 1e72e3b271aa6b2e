"""What the command line writes is what `Result.save` writes: with the record, and what the photograph had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import impasto_, lay_out

from impasto.runtime import Result, stylize
from impasto.runtime.pictures.photographs import read_photograph
from impasto.runtime.run.record import Record

EXIF_ARTIST = 0x013B


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph that has much to keep, and a painting."""
    folder = lay_out(tmp_path / "desk", monkeypatch)
    levels = np.random.default_rng(7).integers(0, 256, (40, 48, 4), np.uint8)
    exif = Image.Exif()
    exif[EXIF_ARTIST] = "A. Painter"
    Image.fromarray(levels).save("photo.png", exif=exif, dpi=(300, 300))
    return folder


def from_python(model: Path, **options: object) -> Result:
    placed: dict[str, object] = {"device": "cpu", "lowering": "direct", "threads": 1, "size": 40, "evaluations": 3}
    return stylize("photo.png", "painting.jpg", model=model, recipe="small", **placed, **options)  # type: ignore[arg-type]


def record(path: str) -> Record:
    """Return the record in a picture, without when it was made and how long that took."""
    found = Record.read(path)
    return replace(found, outcome=replace(found.outcome, seconds=0.0, date=""))


@pytest.mark.parametrize("extension", ["png", "jpg"])
@pytest.mark.parametrize("places", [False, True])
def test_python_writes_what_the_command_line_writes(small_model: Path, extension: str, places: bool) -> None:
    mine, theirs = f"python.{extension}", f"shell.{extension}"
    from_python(small_model).save(mine, record_places=places)
    placed = ("--device", "cpu", "--lowering", "direct", "--threads", "1", "--size", "40", "--evaluations", "3")
    options = (*placed, "--model", small_model, "--recipe", "small", *(["--record-places"] if places else []))
    done = impasto_("stylize", "photo.png", "painting.jpg", "-o", theirs, *options)
    assert done.returncode == 0, done.stderr
    assert record(mine) == record(theirs)
    found, expected = read_photograph(mine), read_photograph(theirs)
    np.testing.assert_array_equal(found.picture, expected.picture)
    assert (found.alpha is None) == (expected.alpha is None) == (extension == "jpg")
    assert replace(found.metadata, exif=None) == replace(expected.metadata, exif=None)
    for path in (mine, theirs):
        with Image.open(path) as image:
            assert image.getexif()[EXIF_ARTIST] == "A. Painter"
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_what_python_wrote_is_made_again_by_the_command_line(small_model: Path) -> None:
    from_python(small_model, init="painting.jpg", content_mask="#ff0000", style_masks=["#ff0000"]).save("out.png")
    done = impasto_("rerun", "out.png", "-o", "again.png", "--model", small_model)
    assert done.returncode == 0, done.stderr
    assert "the same picture as out.png, bit for bit" in done.stderr
