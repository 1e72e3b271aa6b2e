"""Which photographs the words of a batch name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from impasto.cli.job import listing
from impasto.cli.job.listing import Listed, photographs
from impasto.runtime.errors import InputError


@pytest.fixture(autouse=True)
def desk() -> Path:
    """Lay files out in the present folder; nothing is read from them."""
    for name in (
        "one.png", "photos/photo10.jpg", "photos/photo9.JPG", "photos/notes.txt", "photos/.hidden.png",
        "photos/trip/far.png", "photos/.private/own.png", "empty/readme.md",
    ):  # fmt: skip
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path.cwd()


def names(*given: str, recursive: bool = False) -> list[str]:
    return [Path(one.place).as_posix() for one in photographs(given, recursive=recursive)]


def test_a_folder_gives_its_pictures_by_name_with_numbers_in_order() -> None:
    assert names("photos") == ["photos/photo9.JPG", "photos/photo10.jpg"]


def test_folders_of_folders_are_searched_on_request_and_remembered() -> None:
    listed = photographs(["photos"], recursive=True)
    assert listed[-1] == Listed(Path("photos/trip/far.png"), "trip", Path("photos"))
    assert [one.folder for one in listed] == ["", "", "trip"]


def test_a_pattern_gives_the_files_that_it_matches() -> None:
    assert names("photos/*.jpg") == ["photos/photo10.jpg"]
    assert names("photos/**/*.png") == ["photos/trip/far.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    Path("a[1].png").touch()
    assert names("a[1].png") == ["a[1].png"]


def test_what_is_named_twice_is_listed_once_in_the_order_of_the_words() -> None:
    assert names("photos/photo10.jpg", "photos", "./photos/photo9.JPG") == ["photos/photo10.jpg", "photos/photo9.JPG"]


def test_a_missing_file_and_an_address_are_listed() -> None:
    assert photographs(["gone.png", "https://example.org/a.png"]) == [
        Listed(Path("gone.png")), Listed("https://example.org/a.png")
    ]  # fmt: skip


def test_a_list_stands_where_its_word_does() -> None:
    given = photographs(["one.png", "-"], lines=["photos/photo9.JPG", "", " odd name.png"])
    assert [one.place for one in given] == [Path("one.png"), Path("photos/photo9.JPG"), Path(" odd name.png")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["photos/*.gif"], r"photographs photos/\*.gif: no file has such a name"),
        (["empty"], "photographs empty: has no pictures"),
        ([], "photographs: none were named"),
        (["one.png", ""], "photographs '': an empty word"),
    ],
)
def test_words_that_name_nothing_are_refused(given: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        photographs(given, lines=[])


def test_a_folder_that_only_has_folders_points_to_the_option() -> None:
    Path("outer/inner").mkdir(parents=True)
    with pytest.raises(InputError, match="add --recursive"):
        photographs(["outer"])


def test_links_that_lead_in_a_circle_are_not_followed() -> None:
    try:
        Path("photos/trip/back").symlink_to(Path.cwd() / "photos", target_is_directory=True)
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")
    assert len(names("photos", recursive=True)) == 3


def test_what_is_named_twice_is_listed_twice_where_it_has_two_partners() -> None:
    assert len(photographs(["one.png", "one.png"], repeated=True)) == 2


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "gone/" * 2000])
def test_what_is_no_name_of_a_file_is_listed_and_fails_at_its_turn(name: str) -> None:
    assert photographs(["-"], lines=[name]) == [Listed(Path(name))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a.png\r\n\nb c.png\n", ["a.png", "", "b c.png", ""]),
        (b"new\nline.png\0b.png\0", ["new\nline.png", "b.png", ""]),
        ("one\u2028line.png".encode(), ["one\u2028line.png"]),
    ],
)
def test_standard_input_has_a_line_for_each_or_a_nul_behind_each(
    data: bytes, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert listing._standard_input() == expected


def test_a_link_that_leads_to_itself_is_no_photograph() -> None:
    try:
        Path("photos/loop.png").symlink_to("loop.png")
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")
    assert names("photos") == ["photos/photo9.JPG", "photos/photo10.jpg"]
