"""A command that is a fork ends as one that is started does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from forker import Forker
from PIL import Image
from processes import FORKS, command, contents, environment, lay_out, usual_surroundings

pytestmark = pytest.mark.skipif(not FORKS, reason="commands are forks only where that is safe")

QUICK = ("--size", "40", "--evaluations", "2", "--seed", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.close()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--version",),
        ("stylize",),
        ("--colour",),
        ("stylize", "photo.png", "missing.jpg", "-o", "out.png"),
        ("info", "caf\udce9.png"),
        ("info", "--debug", "missing.png"),
        ("recipes", "gatys", "--json"),
    ],
    ids=" ".join,
)
def test_exit_code_and_streams_are_the_same(
    forker: Forker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    lay_out(tmp_path / "desk", monkeypatch)
    forked = forker.run([*arguments], timeout=300)
    started = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment())
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_files_are_the_same(forker: Forker, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["stylize", "photo.png", "painting.jpg", "-o", "out.png", "--model", str(small_model), *QUICK]
    forked = lay_out(tmp_path / "forked", monkeypatch)
    assert forker.run(arguments, timeout=300).returncode == 0
    started = lay_out(tmp_path / "started", monkeypatch)
    subprocess.run(command(*arguments), check=True, env=environment())
    assert contents(forked).keys() == contents(started).keys()
    pictures = [folder / "out.png" for folder in (forked, started)]
    np.testing.assert_array_equal(*map(np.asarray, map(Image.open, pictures)))
    assert len({picture.stat().st_mode for picture in pictures}) == 1


def test_a_command_that_takes_too_long_is_killed(forker: Forker) -> None:
    assert forker.run(["--version"], timeout=0).returncode == -9
    assert forker.run(["--version"], timeout=300).returncode == 0


def test_what_a_started_process_would_inherit_is_noticed(
    monkeypatch: pytest.MonkeyPatch, scarce_space: Callable[..., AbstractContextManager[None]]
) -> None:
    assert usual_surroundings()
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", "50")
        assert not usual_surroundings()
    with scarce_space():
        limited = usual_surroundings()
    assert not limited
    umask = os.umask(0o027)
    try:
        assert not usual_surroundings()
    finally:
        os.umask(umask)
    assert usual_surroundings()
