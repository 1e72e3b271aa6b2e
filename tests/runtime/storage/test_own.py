"""A file that a run writes again and again replaces what the run has written, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.runtime.errors import NameTaken
from impasto.runtime.storage.own import Own
from tests.runtime.storage.writing import NEW, OLD, names, posix, write


def put(path: Path, replace: bool) -> None:
    write(NEW, path, replace=replace)


def test_a_file_that_is_written_again_and_again_is_replaced_while_it_is_ones_own(tmp_path: Path) -> None:
    own = Own(tmp_path / "preview.png", replace=True)
    own.write(put)
    own.write(put)
    (tmp_path / "preview.png").write_bytes(OLD)
    with pytest.raises(NameTaken):
        own.write(put)
    own.write(put)
    assert own.path == tmp_path / "preview-2.png"
    assert names(tmp_path) == ["preview-2.png", "preview.png"]
    own.remove()
    assert names(tmp_path) == ["preview.png"]
    assert (tmp_path / "preview.png").read_bytes() == OLD


def test_what_was_there_at_first_is_replaced_only_where_that_is_allowed(tmp_path: Path) -> None:
    for replace in (True, False):
        path = tmp_path / f"{replace}.png"
        path.write_bytes(OLD)
        own = Own(path, replace=replace)
        if replace:
            own.write(put)
        else:
            with pytest.raises(NameTaken):
                own.write(put)
    assert ((tmp_path / "True.png").read_bytes(), (tmp_path / "False.png").read_bytes()) == (NEW, OLD)


@posix
def test_removing_a_file_of_ones_own_leaves_the_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "run.impasto").symlink_to("real.impasto")
    own = Own(tmp_path / "run.impasto", replace=True)
    own.write(put)
    own.remove()
    assert names(tmp_path) == ["run.impasto"]
    assert (tmp_path / "run.impasto").is_symlink()
