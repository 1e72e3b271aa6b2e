"""What `impasto rerun` opens: what the user names, and nothing because a stranger's record names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.cli.job.inputs import Search
from impasto.runtime import InputError, ModelError
from impasto.runtime.pictures import places
from impasto.runtime.pictures.photographs import read_picture
from impasto.runtime.run.prepare import prepare
from impasto.runtime.run.record import Input, Origin, Record

Make = Callable[..., Record]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for seed, name in enumerate(("photo.png", "painting.png")):
        picture(seed).save(name)
    return folder


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8))


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[places.Place]]:
    """Everything whose pixels are read, file or address; no address is fetched."""
    found: list[places.Place] = []
    original = places.opened

    def noted(place: places.Place, *options: Any) -> Any:
        found.append(place)
        if not places.is_file(place):
            pytest.fail(f"{place} would be fetched")
        return original(place, *options)

    monkeypatch.setattr(places, "opened", noted)
    yield found


@pytest.fixture
def record(small_model: Path) -> Make:
    """A maker of records of the two pictures, with places of their own."""
    transfer = prepare(
        picture(0), [picture(1)], model=small_model, recipe="small", size=40, device="cpu", evaluations=1
    )
    origin = Origin.of(transfer)
    transfer.run()

    def make(content: str | None = "photo.png", style: str | None = "painting.png", **changes: Any) -> Record:
        found = Record.of(transfer, origin, recorded_places=True)
        inputs = [replace(i, place=place) for i, place in zip(found.origin.inputs, (content, style), strict=True)]
        return replace(found, origin=replace(found.origin, inputs=tuple(inputs), **changes))

    return make


def where(made: Record, **options: Any) -> list[places.Place]:
    search = Search(**{"picture": "out.png", "named": {}, **options})
    return [found.place for ones in search.inputs(made).values() for found in ones]


# --- what is found --------------------------------------------------------------------------------------------


def test_inputs_are_found_beside_the_picture_by_name_and_pixels(record: Make, desk: Path) -> None:
    assert where(record()) == [desk / "photo.png", desk / "painting.png"]
    assert where(record("/home/stranger/photo.png", "C:\\Users\\stranger\\painting.png")) == where(record())
    assert where(record("https://example.org/a/photo.png", "https://example.org/painting.png?...")) == where(record())
    assert where(record(), picture=str(desk / "out.png")) == where(record())


def test_inputs_are_found_in_folders_that_the_user_names(record: Make, desk: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    Path("photo.png").rename(tmp_path / "two" / "photo.png")
    picture(9).save(tmp_path / "one" / "photo.png")  # of that name, and another picture
    folders = [tmp_path / "one", tmp_path / "two"]
    assert where(record(), folders=folders) == [tmp_path / "two" / "photo.png", desk / "painting.png"]
    assert where(record(), folders=folders, picture="-", named={"style": ["painting.png"]}) == [
        tmp_path / "two" / "photo.png", "painting.png"
    ]  # fmt: skip


def test_what_is_named_is_taken_where_it_is(record: Make) -> None:
    Path("photo.png").rename("moved.png")
    assert where(record(), named={"content": ["moved.png"]})[0] == "moved.png"
    with pytest.raises(InputError, match=r"content painting\.png: is not the picture that out\.png was made from"):
        where(record(), named={"content": ["painting.png"]})
    with pytest.raises(InputError, match=r"--style: given 2 times; out\.png was made with 1"):
        where(record(), named={"style": ["painting.png"] * 2})


# --- what is not opened ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "{elsewhere}/photo.png", "../elsewhere/photo.png", "{elsewhere}/../elsewhere/photo.png", "elsewhere/photo.png",
        "file://{elsewhere}/photo.png", "https://example.org/photo.png", "http://169.254.169.254/photo.png",
        "\\\\server\\share\\photo.png", "C:photo.png", "..", ".", "/", "", "photo.png\x00.jpg", "/dev/stdin",
        "PHOTO.PNG",
    ],
)  # fmt: skip
def test_nothing_is_opened_because_a_record_names_it(
    record: Make, tmp_path: Path, opened: list[places.Place], place: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("photo.png").rename(elsewhere / "photo.png")
    with pytest.raises(InputError, match="say where it is now with --content") as refused:
        where(record(place.format(elsewhere=elsewhere)))
    assert opened == []
    assert str(refused.value).isprintable()
    assert "its content " in str(refused.value)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_in_a_folder_only_files_count(record: Make, tmp_path: Path, opened: list[places.Place], kind: str) -> None:
    Path("photo.png").rename(tmp_path / "photo.png")
    match kind:
        case "link":
            Path("photo.png").symlink_to(tmp_path / "photo.png")
        case "folder":
            Path("photo.png").mkdir()
        case "pipe" if hasattr(os, "mkfifo"):
            os.mkfifo("photo.png")
    with pytest.raises(InputError, match=r"is no file photo\.png in .*desk \(links do not count\)"):
        where(record())
    assert opened == []


def test_another_picture_of_that_name_is_not_taken(record: Make) -> None:
    picture(9).save("photo.png")
    with pytest.raises(InputError, match=r"content .*photo\.png: is not the picture that out\.png was made from"):
        where(record())


@pytest.mark.parametrize(
    ("place", "reason"), [("-", "came from standard input"), (None, "has no name"), ("https://example.org", "no name")]
)
def test_inputs_without_a_name_are_asked_for(record: Make, place: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=f"{reason}.*; say where it is now with --content"):
        where(record(place))


def test_a_folder_that_cannot_be_read_is_named(record: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"folder {tmp_path / 'none'}: cannot be read"):
        where(record(), folders=[tmp_path / "none"])


# --- a record that is trusted ---------------------------------------------------------------------------------


def test_a_record_that_is_trusted_says_where(record: Make, tmp_path: Path) -> None:
    Path("photo.png").rename(tmp_path / "photo.png")
    place = str(tmp_path / "photo.png")
    with pytest.raises(InputError, match=f"or open {place} with --trust-record"):
        where(record(place))
    assert where(record(place), trusting=True)[0] == place
    with pytest.raises(pytest.fail.Exception, match=r"https://example\.org/photo\.png would be fetched"):
        where(record("https://example.org/photo.png"), trusting=True)
    with pytest.raises(InputError, match="an address with a query, which is not kept; say where"):
        where(record("https://example.org/photo.png?..."), trusting=True)
    with pytest.raises(InputError, match=r"is no file gone\.png in"):
        where(record("gone.png"), trusting=True)


def test_a_colour_is_a_mask_and_opens_nothing(record: Make, opened: list[places.Place]) -> None:
    made = record()
    from impasto.runtime.pictures.masks import plain

    colors = [Input.of(role, plain("#ff0000"), "#ff0000") for role in ("content-mask", "style-mask")]
    made = replace(made, origin=replace(made.origin, inputs=(*made.origin.inputs, *colors)))
    assert where(made)[2:] == ["#ff0000", "#ff0000"]
    assert len(opened) == 2
    fake = replace(record("#ff0000"))
    with pytest.raises(InputError, match="is no file #ff0000"):
        where(fake)


# --- the model ------------------------------------------------------------------------------------------------


def test_the_model_is_the_default_one_if_it_has_the_recorded_weights(
    record: Make, small_model: Path, tmp_path: Path
) -> None:
    search, made = Search("out.png", {}), record()
    named = replace(made, origin=made.origin.named())
    assert search.model(named, None, small_model) == small_model
    assert search.model(named, tmp_path, small_model) == tmp_path
    other = replace(made, origin=replace(made.origin, model=replace(made.origin.model, weights_sha256="0" * 64)))
    with pytest.raises(ModelError, match=r"has other weights; out\.png was made with .* weights 0000000000000000; say"):
        search.model(other, None, small_model)
    with pytest.raises(ModelError, match="say where that is now with --model"):
        search.model(made, None, tmp_path / "none")
    assert Search("out.png", {}, trusting=True).model(made, None, tmp_path / "none") == small_model
    assert Search("out.png", {}, trusting=True).model(named, None, small_model) == small_model


def test_what_is_found_is_the_picture(record: Make) -> None:
    found = Search("out.png", {}).inputs(record())
    assert found["content"][0].photograph.picture.tobytes() == read_picture("photo.png").tobytes()
