"""A notebook's cell shows a transfer while it runs, and how it ended; elsewhere IPython is not even imported."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto import figures
from impasto.figures import clock
from impasto.runtime import Result, Step, TransferError, stylize
from impasto.runtime.run import notebook

pytest.importorskip("IPython")

HERE: dict[str, Any] = {"recipe": "small", "size": 40, "device": "cpu", "lowering": "direct", "threads": 1}


def picture(seed: int = 0) -> Image.Image:
    """Return soft patches of colour, which JPEG hardly changes."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC)


def painted(model: Path, **options: Any) -> Result:
    return stylize(picture(), picture(1), model=model, **{"evaluations": 4, **HERE, **options})


class Cell:
    """What a cell shows in the end, each thing in its last state, and all that it has shown."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._now: dict[str, dict[str, Any]] = {}

    def publish(self, data: dict[str, Any], transient: dict[str, Any], update: bool) -> None:
        self.seen.append(data)
        assert update == (transient["display_id"] in self._now)
        self._now[transient["display_id"]] = data

    @property
    def bar(self) -> dict[str, Any]:
        (found,) = (data for data in self._now.values() if "text/html" in data)
        return found

    @property
    def picture(self) -> Image.Image | None:
        found = [data["image/jpeg"] for data in self._now.values() if "image/jpeg" in data]
        return Image.open(io.BytesIO(base64.b64decode(found[0]))) if found else None


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    """Return the cell of a notebook's kernel that runs a test: IPython's own shell, with a front end of the test's."""
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell puts its own there
    shown = Cell()

    class FrontEnd(DisplayPublisher):
        def publish(self, data: Any, *_: Any, transient: Any = None, update: bool = False, **__: Any) -> None:
            shown.publish(data, transient, update)

    class ZMQInteractiveShell(InteractiveShell):
        """What Jupyter's kernel derives from it has this name."""

    config = Config({"HistoryManager": {"enabled": False}})
    ZMQInteractiveShell.instance(config=config, display_pub_class=FrontEnd)
    try:
        yield shown
    finally:
        ZMQInteractiveShell.clear_instance()


def test_a_cell_shows_a_bar_and_the_picture_and_in_the_end_what_came_of_it(cell: Cell, small_model: Path) -> None:
    assert notebook.is_running()
    result = painted(small_model)
    texts = [data["text/plain"] for data in cell.seen if "text/html" in data]
    assert texts[0] == "opening the model"
    assert texts[1].startswith("1 of 4 · loss ")
    assert (
        cell.bar["text/plain"]
        == f"done: 4 evaluations in {clock(result.seconds)}, {figures.loss(result.loss, result.share)}"
    )
    assert '<progress value="4" max="4"' in cell.bar["text/html"]
    assert cell.picture is not None
    assert cell.picture.size == result.image.size
    assert np.abs(np.asarray(cell.picture, int) - np.asarray(result.image, int)).mean() < 10


def test_the_picture_grows(small_model: Path, cell: Cell) -> None:
    live = notebook.Live(seconds=0)
    result = painted(small_model, callback=live)
    assert sum("image/jpeg" in data for data in cell.seen) == sum(step.improved for step in result.history) > 1


def test_the_stop_button_returns_the_result_and_the_cell_says_so(cell: Cell, small_model: Path) -> None:
    def stop(step: Step) -> None:
        if step.evaluation == 2:
            raise KeyboardInterrupt

    result = painted(small_model, callback=stop, progress=True, evaluations=50)
    assert (result.finished, result.evaluations, result.reason) == (False, 2, "interrupted")
    assert cell.bar["text/plain"].startswith("interrupted: 2 evaluations in 0:0")
    assert cell.bar["text/plain"].endswith("; this is the best picture so far")


def test_a_stop_in_a_coarse_stage_says_of_which_size_the_picture_is(cell: Cell, small_model: Path) -> None:
    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    painted(small_model, callback=stop, progress=True, size=(96, 80), stages=2)
    assert cell.bar["text/plain"].endswith("; this is the best picture so far, 48x40, enlarged")


def test_a_stop_while_the_result_is_made_loses_nothing(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto.runtime.run.transfer import Transfer

    make, pressed = Transfer.picture, list[str]()

    def press_once(self: Transfer) -> Image.Image:
        if not pressed:
            pressed.append("stop")
            raise KeyboardInterrupt
        return make(self)

    monkeypatch.setattr(Transfer, "picture", press_once)
    assert painted(small_model).finished
    assert pressed


def test_a_stop_before_there_is_a_picture_is_raised_and_told(
    cell: Cell, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.runtime.run.transfer.preload", press)
    with pytest.raises(KeyboardInterrupt):
        painted(small_model)
    assert cell.bar["text/plain"] == "interrupted; there is no picture"
    assert cell.picture is None


def test_a_failure_is_told_and_shown_as_text(cell: Cell, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TransferError("out of <memory>")

    monkeypatch.setattr("impasto.runtime.run.transfer.preload", fail)
    with pytest.raises(TransferError):
        painted(small_model)
    assert "failed: out of &lt;memory&gt;; there is no picture" in cell.bar["text/html"]


@pytest.mark.parametrize("options", [{"progress": False}, {"callback": lambda step: None}])
def test_a_cell_shows_nothing_where_that_is_not_wanted(cell: Cell, small_model: Path, options: dict[str, Any]) -> None:
    painted(small_model, **options)
    assert cell.seen == []


def test_a_front_end_that_has_gone_is_a_warning_and_the_run_goes_on(
    cell: Cell, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("nobody there")

    monkeypatch.setattr(cell, "publish", fail)
    with pytest.warns(RuntimeWarning, match="live display: nobody there; the run goes on"):
        assert painted(small_model).finished


def test_outside_a_notebook_nothing_is_shown_and_ipython_is_not_imported(small_model: Path) -> None:
    code = f"""
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from impasto.runtime import stylize
from impasto.runtime.run import notebook
picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
stylize(picture, picture, model={str(small_model)!r}, evaluations=1, progress=True, **{HERE!r})
print(notebook.is_running(), "IPython" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
    assert done.stderr == ""


def test_a_result_is_shown_as_its_picture_no_larger_than_a_page(small_model: Path) -> None:
    data = painted(small_model)._repr_png_()
    with Image.open(io.BytesIO(data)) as shown:
        assert (shown.format, shown.size) == ("PNG", (40, 33))
    large = notebook.encoded(Image.new("RGB", (3000, 1500)), notebook.RESULT_SIDE, "PNG")
    with Image.open(io.BytesIO(large)) as shown:
        assert shown.size == (1024, 512)
