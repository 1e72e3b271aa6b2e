"""``impasto mix``: a result that is made already, with its photograph mixed in."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from processes import assert_refused, command, contents, environment, impasto_

from impasto.runtime.formats.embedded import Metadata
from impasto.runtime.formats.exif import parse
from impasto.runtime.pictures.colors import keep_colors, keep_pixels
from impasto.runtime.pictures.colors import mix as mixed
from impasto.runtime.pictures.encoding import write_picture
from impasto.runtime.pictures.photographs import Photograph, read_photograph, read_text

SIZE = (48, 36)


def random(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8))


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a photograph and a result that has a record."""
    monkeypatch.chdir(tmp_path)
    random(0).save("photo.png")
    write_picture(random(1), "result.png", text={"impasto": "a record"})
    write_picture(random(1), "result.jpg", text={"impasto": "a record"})


def pixels(path: str) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("strength", [0, 0.3, 1])
@pytest.mark.parametrize("colors", ["style", "keep", "keep-pixels"])
def test_a_result_is_mixed_as_a_transfer_would_have(strength: float, colors: str) -> None:
    done = impasto_(
        "mix", "result.png", "photo.png", "-o", "out.png", "--strength", strength, "--colors", colors, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"output": "out.png", "width": 48, "height": 36}
    keep = {"keep": keep_colors, "keep-pixels": keep_pixels}.get(colors)
    painted = keep(random(1), random(0)) if keep else random(1)
    assert pixels("out.png").tobytes() == mixed(painted, random(0), strength).tobytes()


def test_a_mix_of_which_nothing_is_asked_says_that_nothing_changes() -> None:
    done = impasto_("mix", "result.png", "photo.png", "-o", "out.png")
    assert done.returncode == 0
    assert "warning: neither --strength nor --colors asks for anything of the photograph" in done.stderr
    assert pixels("out.png").tobytes() == random(1).tobytes()


@pytest.mark.parametrize("name", ["result.png", "result.jpg"])
@pytest.mark.parametrize("output", ["out.png", "out.jpg"])
def test_the_record_stays_and_tells_of_the_mixing(name: str, output: str) -> None:
    assert impasto_("mix", name, "photo.png", "-o", output, "--strength", 0.5).returncode == 0
    text = read_text(output)
    assert text.keys() == {"impasto", "impasto mix"}
    assert text["impasto"] == "a record"
    assert json.loads(text["impasto mix"]) == {"strength": 0.5, "colors": "style"}


def test_transparency_profile_and_exif_stay() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "somebody's description"
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, SIZE[0]).astype(np.uint8), (SIZE[1], 1)))
    metadata = Metadata(parse(exif.tobytes()))
    write_picture(random(1), "result.png", like=Photograph(random(1), alpha, profile, metadata))
    assert impasto_("mix", "result.png", "photo.png", "-o", "out.png", "--force").returncode == 0
    found = read_photograph("out.png")
    assert found.alpha is not None
    assert found.alpha.tobytes() == alpha.tobytes()
    assert found.profile == profile
    assert found.metadata == metadata


@pytest.mark.parametrize("result", ["result.png", "result.jpg"])
@pytest.mark.parametrize("output", ["out.png", "out.jpg"])
def test_a_half_transparent_photograph_comes_back_as_it_was_or_once_over_white(result: str, output: str) -> None:
    Image.new("RGBA", SIZE, (200, 0, 0, 128)).save("photo.png")
    photograph = read_photograph("photo.png")
    write_picture(photograph.picture, result, like=photograph)
    assert impasto_("mix", result, "photo.png", "-o", output, "--strength", 0).returncode == 0
    see_through = result.endswith("png") and output.endswith("png")
    expected = (200, 0, 0, 128) if see_through else (227, 127, 127)
    found = np.asarray(pixels(output), int)
    assert np.abs(found - expected).max() <= (3 if output.endswith("jpg") else 0)


def test_pictures_of_other_sizes_are_brought_to_the_results() -> None:
    random(0, (96, 72)).save("photo.png")
    assert impasto_("mix", "result.png", "photo.png", "-o", "out.png", "--strength", 0).returncode == 0
    assert pixels("out.png").size == SIZE


def test_a_pipe_leads_through() -> None:
    arguments = command("mix", "-", "photo.png", "-o", "-", "--strength", 0)
    data = Path("result.png").read_bytes()
    done = subprocess.run(arguments, input=data, capture_output=True, env=environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as found:
        assert found.tobytes() == random(0).tobytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-o", "result.png", "--force"), "one of the pictures to be read"),
        (("-o", "photo.png", "--force"), "one of the pictures to be read"),
        (("-o", "result.jpg"), "exists already"),
        (("-o", "out.png", "--colors", "match"), "--colors 'match': expected style, keep or keep-pixels"),
        (("-o", "out.png", "--strength", "1.5"), "--strength"),
        (("-o", "-", "--json"), "name a file"),
    ],
)
def test_bad_wishes_are_refused(options: tuple[str, ...], reason: str) -> None:
    before = contents(Path())
    assert_refused(impasto_("mix", "result.png", "photo.png", *options), reason)
    assert contents(Path()) == before
