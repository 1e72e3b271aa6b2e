"""Every step with a picture is made as it is measured; and what is measured is told in pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("memory is measured on Linux", allow_module_level=True)

from benchmarks.pictures import STEPS, Scene, Taken, Work, measure, table


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Return small pictures."""
    scene = Scene(120, 80, tmp_path_factory.mktemp("scene"), (80, 60))
    scene.draw()
    return scene


@pytest.mark.parametrize("prepare", STEPS.values(), ids=STEPS)
def test_every_step_can_be_made_more_than_once(scene: Scene, prepare: Callable[[Scene], Work]) -> None:
    work = prepare(scene)
    work()
    work()


def test_a_checkpoint_and_a_picture_are_written(scene: Scene) -> None:
    assert STEPS["checkpoint"](scene)() is True
    STEPS["preview"](scene)()
    assert {"run.impasto", "preview.png"} <= {path.name for path in scene.folder.iterdir()}


def test_a_step_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    scene = Scene(1200, 1000, tmp_path, (80, 60))
    scene.draw()
    taken = measure("levels to planes", scene)
    assert scene.planes_bytes == 14_400_000
    assert 0.9 * scene.planes_bytes < taken.resident < 2 * scene.planes_bytes
    assert 0.9 * scene.planes_bytes < taken.traced < 1.5 * scene.planes_bytes


def test_the_table_counts_in_pictures() -> None:
    scene = Scene(100, 100, Path("nowhere"))
    text = table([Taken("read", 240_000, 60_000, 1.25)], scene)
    assert text.splitlines()[-1] == "| read | 2.00 | 0.50 | 1.2 |"
