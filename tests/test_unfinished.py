"""What is unbroken ends before the process does, and what is temporary goes with it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from impasto import unfinished

SCRIPT = """
import os, pathlib, sys, tempfile, threading, time
from impasto import unfinished

busy = threading.Event()

def write():
    with unfinished.unbroken():
        busy.set()
        time.sleep(0.5)
        with unfinished.unbroken():  # within another it is a part of that
            pathlib.Path("whole").touch()
    with unfinished.unbroken():
        pathlib.Path("too late").touch()

def build():
    with unfinished.removed(lambda: tempfile.TemporaryDirectory(dir=".")) as folder:
        for number in range(10**9):  # as long as it is let
            try:
                pathlib.Path(folder, str(number)).touch()
            except OSError:
                return
            building.set()

building = threading.Event()
for work in (write, build):
    threading.Thread(target=work, daemon=True).start()
busy.wait()
building.wait()
unfinished.close(float(sys.argv[1]))
os._exit(0)
"""


@pytest.mark.parametrize(("seconds", "left"), [("60", ["whole"]), ("0.01", [])])
def test_leaving_waits_for_what_is_unbroken_but_not_for_ever_and_removes_what_is_temporary(
    tmp_path: Path, seconds: str, left: list[str]
) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, seconds], cwd=tmp_path, check=True, timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == left


def test_what_is_temporary_goes_at_the_end_of_its_block_and_is_not_undone_again(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError, match="mine"),
        unfinished.removed(lambda: tempfile.TemporaryDirectory(dir=tmp_path)) as folder,
    ):
        assert Path(folder).is_dir()
        assert len(unfinished._undoing) == 1
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []
    assert unfinished._undoing == []
