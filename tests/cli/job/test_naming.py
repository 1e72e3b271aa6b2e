"""Names of a batch's results."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.cli.job.naming import Named, Template
from impasto.runtime.errors import InputError

FOLDER, DEFAULT = Path("results"), "{content}-{style}.png"


def named(content: str = "photos/town.jpg", *styles: str, folder: str = "", number: int = 1) -> Named:
    return Named(Path(content), tuple(map(Path, styles or ("art/monet.png",))), "impasto", folder, number)


def name(template: str, one: Named) -> str:
    return Template(template, "--name").path(FOLDER, one).as_posix()


def test_fields_are_filled_in() -> None:
    assert name(DEFAULT, named()) == "results/town-monet.png"
    every = named("town.jpg", "monet.png", "hokusai.jpg", folder="trip/day 1", number=7)
    template = "{folder}/{number:03}-{content}-{style}-{recipe}.jpg"
    assert name(template, every) == "results/trip/day 1/007-town-monet+hokusai-impasto.jpg"


def test_addresses_give_the_last_part_of_their_path() -> None:
    address = Named("https://me:secret@example.org/a/town.jpg?key=1", (Path("monet.png"),), "impasto", "", 1)
    assert name(DEFAULT, address) == "results/town-monet.png"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{photo}.png", "has no field 'photo'"),
        ("{content.__class__}.png", "has no field"),
        ("{}.png", "has no field ''"),
        ("{content!r}.png", "takes no form"),
        ("{content:>9999999999}.png", "takes no form"),
        ("{number:99999999}.png", "takes no form"),
        ("{content.png", "is no template"),
        ("/tmp/{content}.png", "leads elsewhere"),
        ("../{content}.png", "leads elsewhere"),
        ("C:{content}.png", "leads elsewhere"),
        ("a\\..\\{content}.png", "leads elsewhere"),
        ("", "leads elsewhere"),
    ],
)
def test_templates_that_are_none_are_refused(template: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Template(template, "--name")


def test_two_pictures_of_one_name_are_refused_even_in_capitals() -> None:
    for other in ("b/town.jpg", "b/TOWN.png"):
        pair = [named("a/town.jpg"), named(other, number=2)]
        with pytest.raises(InputError, match=r"a/town.jpg x monet and b/.* would both be"):
            Template(DEFAULT, "--name").paths(FOLDER, pair)
        assert len(Template("{number}-{content}.png", "--name").paths(FOLDER, pair)) == 2


def test_what_is_named_twice_is_told_so() -> None:
    with pytest.raises(
        InputError, match=r"town.jpg x monet, named twice, would both be .*; add \{number\} or \{folder\}"
    ):
        Template(DEFAULT, "--name").paths(FOLDER, [named(), named(number=2)])


def test_masks_are_looked_for_under_the_names_that_files_have() -> None:
    assert named("what?.jpg").raw["content"] == "what?"
    assert named("what?.jpg").usable["content"] == "what-"


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_no_name_leads_out_of_the_folder(content: str, style: str, folders: list[str]) -> None:
    one = Named(Path(content.replace("\0", "")), (Path(style.replace("\0", "")),), "impasto", "/".join(folders), 1)
    path = PurePosixPath(name("{folder}/{content}-{style}.png", one))
    assert path.parts[0] == "results"
    assert ".." not in path.parts
    assert path.suffix == ".png"
