"""The server's own files, and names that are safe on any system."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from impasto.cli.serve.files import read_json, remove_folder, safe_name, without_folders, write_json

#: Names that Windows keeps for devices, with or without an ending.
DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@given(st.text(max_size=200), st.sampled_from(["", ".png", ".jpg"]))
def test_any_text_becomes_a_name_for_a_file(text: str, ending: str) -> None:
    name = safe_name(text, ending)
    assert name and len(name.encode()) <= 130 and name == safe_name(name, ending)
    assert Path(name).name == name and not DEVICE.fullmatch(name)
    assert name[0] not in " .-" and name[-1] not in " ." and not set(name) & set('<>:"/\\|?*\0\n\r')
    assert name.lower().endswith(ending) or ending == ".jpg"


def test_a_known_ending_of_the_same_meaning_stays() -> None:
    assert [safe_name(name, ".jpg") for name in ("a.jpeg", "a.JPG", "a.png", "a")] == [
        "a.jpeg",
        "a.JPG",
        "a.png.jpg",
        "a.jpg",
    ]


def test_data_come_back_and_what_is_no_data_is_none(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
    (tmp_path / "b.json").write_bytes(b'{"a": [1')
    assert read_json(tmp_path / "b.json") is read_json(tmp_path / "none.json") is None


def test_a_folder_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("x")
    remove_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_messages_name_files_without_the_servers_folders() -> None:
    text = "picture /data/pictures/0af/photo.jpg: is /data/other/x, not /data/runs/2026-1/result.png"
    assert without_folders(text, Path("/data")) == "picture photo.jpg: is /data/other/x, not result.png"
