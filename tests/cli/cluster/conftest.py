"""What the tests of clusters share: pictures, the batch that all compare with, a cluster, a driver in this process."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clusters import Farm, farm
from PIL import Image
from processes import impasto_
from typer.testing import CliRunner, Result

pytest.importorskip("distributed")

import dask

from impasto.cli.app import app

Batch = Callable[..., Result]

SIZES = {"photos/a.png": (48, 40), "photos/b.png": (40, 48), "photos/c.png": (44, 44)}
PAINTINGS = {"painting.jpg": (40, 56), "other.png": (56, 40)}

#: All pictures of three photographs and two paintings.
WISH = ("photos", "--style", "painting.jpg", "--style", "other.png", "-o", "out", "-r", "small")
QUICK = ("--size", "40", "--evaluations", "3", "--device", "cpu", "--lowering", "direct", "--threads", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have Dask leave sockets to be collected, in these tests only."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


def lay_out(folder: Path) -> None:
    """Make the photographs and the paintings in a folder."""
    for seed, (name, (width, height)) in enumerate((SIZES | PAINTINGS).items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(path)


def pixels(folder: str | Path = "out") -> dict[str, bytes]:
    """Return the levels of every picture in a folder."""
    found = {}
    for path in sorted(Path(folder).glob("*.png")):
        with Image.open(path) as image:
            found[path.name] = image.tobytes()
    return found


def checkpoints() -> list[Path]:
    """Return the checkpoints of pictures that are not finished."""
    return [path for path in Path("out/.unfinished").glob("*") if path.suffix != ".lock" and path.stat().st_size]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with photographs in another, and two paintings."""
    folder = tmp_path / "desk"
    lay_out(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    """Take back what a driver changes for its whole process."""
    levels = {name: logging.getLogger(name).level for name in ("asyncio", *logging.root.manager.loggerDict)}
    with dask.config.set({}):
        yield
    gc.collect()  # Dask leaves sockets to be collected
    logging.disable(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def batch(small_model: Path) -> Batch:
    """Return a function that runs the command in this process; its exit code and its lines are returned."""

    def run(*arguments: object) -> Result:
        given = ("batch", *QUICK, *arguments, "--model", small_model)
        return CliRunner().invoke(app, [*map(str, given)])

    return run


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> dict[str, bytes]:
    """The levels of the pictures that a batch makes without workers."""
    folder = tmp_path_factory.mktemp("alone")
    lay_out(folder)
    with contextlib.chdir(folder):
        done = impasto_("batch", *WISH, "--model", small_model, *QUICK)
        assert done.returncode == 0, done.stderr
        return pixels()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A scheduler with two workers, for all tests: what one adds, it takes away."""
    with farm(tmp_path_factory.mktemp("cluster"), workers=2) as started:
        yield started
