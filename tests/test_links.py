"""Type checkers find every sub-package of a checkout, whatever its git makes of links."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from links import ROOT, link

NAMES = ("cli", "export", "runtime")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "src" / "impasto").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_links_are_made_once_and_stay(checkout: Path) -> None:
    for _ in range(2):
        link(checkout)
        assert {path.name for path in (checkout / "src" / "impasto").iterdir()} == set(NAMES)
        for name in NAMES:
            assert (checkout / "src" / "impasto" / name / "__init__.py").samefile(checkout / name / "__init__.py")


def test_a_checkout_with_its_links_may_be_moved(checkout: Path) -> None:
    link(checkout)
    moved = checkout.rename(checkout.parent / "moved")
    assert (moved / "src" / "impasto" / "cli" / "__init__.py").is_file()


def test_what_is_in_the_place_of_a_link_is_not_touched(checkout: Path) -> None:
    (checkout / "src" / "impasto" / "export").write_text("../../export")
    with pytest.raises(FileExistsError):
        link(checkout)
    assert (checkout / "src" / "impasto" / "export").read_text() == "../../export"
