"""What the user has, set or kept decides no test, nor what a test starts: `tests/conftest.py` sees to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SharedFolder

ROOT = Path(__file__).parents[1]

#: A test's own folder and home, and what the environment says.
PROBE = """
import os
from pathlib import Path

def test_probe():
    assert list(Path.cwd().iterdir()) == []
    assert not (Path.home() / "mine").exists()
    assert "IMPASTO_MODEL" not in os.environ and "COLUMNS" not in os.environ
    Path("left.txt").touch()

test_again = test_probe
"""


def test_the_folder_is_empty_and_none_of_the_users() -> None:
    assert list(Path.cwd().iterdir()) == []
    assert not Path.cwd().is_relative_to(ROOT)


def test_a_users_folder_home_and_variables_are_out_of_sight(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for place in (home, here):
        (place / "mine").mkdir(parents=True)
    (here / "tests").mkdir()
    (here / "tests" / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (here / "tests" / "test_probe.py").write_text(PROBE)
    variables = {"HOME": str(home), "USERPROFILE": str(home), "IMPASTO_MODEL": "mine", "COLUMNS": "20"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=here, env=os.environ | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert [path.name for path in home.iterdir()] == ["mine"]
    assert {path.name for path in here.iterdir()} == {"mine", "tests"}


def test_a_shared_folder_is_made_once_and_whole(shared_folder: SharedFolder, tmp_path: Path) -> None:
    name = f"{tmp_path.name}-{os.getpid()}"  # processes that share folders have tests of one name

    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("no space")

    def fill(folder: Path) -> None:
        folder.mkdir()
        (folder / "whole").touch()

    with pytest.raises(OSError, match="no space"):
        shared_folder(name, fail)
    for _ in range(2):
        assert [path.name for path in shared_folder(name, fill).iterdir()] == ["whole"]  # `mkdir` would fail again
    assert {path.name for path in shared_folder(name, fill).parent.glob(f"*{name}*")} == {name, f"{name}.lock"}
