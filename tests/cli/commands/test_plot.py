"""Logs become charts: the numbers are where they belong, and what is no log is refused."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor
from processes import assert_refused, contents, impasto_, lay_out

from impasto.cli.commands.plot import Run, chart_of_losses, chart_of_terms, plot
from impasto.cli.drawing.chart import Line, Mark, draw, spread
from impasto.runtime import InputError


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_out(tmp_path / "desk", monkeypatch)


def write_log(path: str, count: int = 40, scale: float = 1.0, **changes: Any) -> Path:
    """Write a log of two stages, whose loss falls, but for what a line search tries now and then."""
    lines = []
    for n in range(1, count + 1):
        fine, tried = n > 24, n % 7 == 5
        loss = scale * (900 if fine else 5000) * math.exp(-n / 15) * (3 if tried else 1)
        terms = {"content/block4_conv2": 0.3 * loss, "style/block1_conv1": 0.5 * loss, "style/block2_conv1": 0.2 * loss}
        entry = {
            "evaluation": n, "stage": 1 + fine, "width": 200 << fine, "height": 150 << fine, "loss": loss,
            "terms": {**terms, "tv": 0.0}, "improved": not tried, "change": 1.0, "seconds": n / 10,
        }  # fmt: skip
        lines.append(json.dumps(entry | changes))
    Path(path).write_text("\n".join(lines) + "\n")
    return Path(path)


def count(image: Image.Image, color: str) -> int:
    """Return how many pixels are near a colour."""
    apart = np.abs(np.asarray(image, int) - ImageColor.getrgb(color)).max(axis=-1)
    return int((apart < 12).sum())


# --- the command ----------------------------------------------------------------------------------------------


def test_a_log_becomes_a_chart() -> None:
    write_log("run.jsonl")
    done = impasto_("plot", "run.jsonl", "-o", "losses.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "wrote losses.png (1200x720)\n"
    with Image.open("losses.png") as image:
        assert image.size == (1200, 720)


def test_several_logs_share_a_chart() -> None:
    write_log("one.jsonl")
    write_log("two.jsonl", count=60, scale=1.5)
    done = impasto_("plot", "one.jsonl", "two.jsonl", "-o", "losses.png")
    assert done.returncode == 0, done.stderr
    with Image.open("losses.png") as image:
        assert count(image, "#0072b2") > 300
        assert count(image, "#d55e00") > 300


def test_charts_replace_nothing_unasked_and_never_the_log(desk: Path) -> None:
    write_log("run.jsonl")
    Path("losses.png").write_bytes(b"somebody's work")
    Path("run.png").write_bytes(Path("run.jsonl").read_bytes())
    before = contents(desk)
    assert_refused(impasto_("plot", "run.jsonl"), "losses.png: exists already")
    assert_refused(impasto_("plot", "run.png", "-o", "run.png", "--force"), "is one of the pictures to be read")
    assert contents(desk) == before


def test_without_matplotlib_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "impasto.cli.drawing.chart", raising=False)
    monkeypatch.delattr("impasto.cli.drawing.chart", raising=False)
    log = write_log("run.jsonl")
    before = contents(desk)
    with pytest.raises(InputError, match=r"^matplotlib is not installed; to plot, pip install matplotlib$"):
        plot([log])
    assert contents(desk) == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("", "holds no evaluation"),
        ("hello\n", "line 1 is none of stylize's"),
        ("[1]\n", "line 1 is none of stylize's"),
        ('{"evaluation": 1}\n', "line 1 is none of stylize's"),
        ('{"evaluation": 1, "stage"', "holds no evaluation"),
        ("[" * 60_000 + "\n", "nested too deep"),
        ("1" * 100_000 + "\n", "it has more than 65536 bytes"),
        ("1" * 5_000 + "\n", "line 1 is none of stylize's"),
        ("\x1b[2J\n", "line 1 is none of stylize's"),
        ("\ufeff{}\n", "line 1 is none of stylize's"),
    ],
)
def test_what_is_no_log_is_refused(text: str | None, reason: str) -> None:
    if text is not None:
        Path("run.jsonl").write_text(text)
    with pytest.raises(InputError, match=reason) as refused:
        Run.read(Path("run.jsonl"))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": "low"}, "line.loss is 'low'; expected a number"),
        ({"loss": math.inf}, "Infinity is no number"),
        ({"loss": 10**400}, "line.loss is 1000"),
        ({"loss": 1.7e308}, r"'loss' is 1\.7e\+308; expected what float32 holds"),
        ({"terms": [1]}, r"line.terms is \[1\]; expected a table"),
        ({"terms": {"\x1b[2J": 1.0}}, r"terms has '\\x1b\[2J'"),
        ({"terms": {"tv": "x"}}, "line.terms.tv is 'x'"),
        ({"evaluation": 10**18}, "evaluation is 1000000000000000000; expected 1 to 1000000"),
        ({"evaluation": 0}, "evaluation is 0"),
        ({"evaluation": 1.5}, "evaluation is 1.5; expected a whole number"),
        ({"width": -1}, "width is -1"),
        ({"improved": 1}, "improved is 1; expected true or false"),
        ({"more": 1}, "unknown key line.more"),
    ],
)
def test_lines_of_strangers_are_refused_by_their_key(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        Run.read(write_log("run.jsonl", count=2, **changes))
    assert str(refused.value).startswith("log run.jsonl: line 1 ")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("loss", [5e-324, 3.4e38])
def test_losses_of_any_size_can_be_drawn(loss: float) -> None:
    assert chart_of_terms(Run.read(write_log("run.jsonl", count=3, loss=loss))).size == (1200, 720)


def test_an_unfinished_last_line_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log("run.jsonl", count=5)
    path.write_text(path.read_text() + '{"evaluation": 6, "st')
    assert len(Run.read(path).steps) == 5
    assert "its last line is unfinished" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_a_device_without_end_is_no_log() -> None:
    with pytest.raises(InputError, match="line 1 is none of stylize's --log"):
        Run.read(Path("/dev/zero"))


def test_losses_that_are_not_numbers_are_left_out() -> None:
    path = write_log("run.jsonl", count=5)
    path.write_text(path.read_text() + write_log("b.jsonl", count=1, evaluation=6, loss=None).read_text())
    assert [step.evaluation for step in Run.read(path).steps] == [1, 2, 3, 4, 5]


def test_a_log_of_one_evaluation_can_be_drawn() -> None:
    image = chart_of_terms(Run.read(write_log("run.jsonl", count=1)))
    assert count(image, "#22252a") > 20


@pytest.mark.parametrize("name", ["costs $1 and $2", "_hidden", "絵", "n" * 200])
def test_names_of_any_kind_are_written_as_they_are(name: str) -> None:
    write_log("run.jsonl").rename(f"{name}.jsonl")
    done = impasto_("plot", f"{name}.jsonl", f"{name}.jsonl", "-o", "losses.png")
    assert (done.returncode, done.stderr) == (0, "wrote losses.png (1200x720)\n")
    with Image.open("losses.png") as image:
        names = np.asarray(image.convert("L").crop((1024, 66, 1200, 658)))
        assert (names < 200).sum() > 20


# --- the chart ------------------------------------------------------------------------------------------------

RED = "#ff0000"


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    image = draw([Line("x", [[(1, 1000), (10, 1)]], RED)], title="", x_name="")
    drawn = (np.abs(np.asarray(image, int) - (255, 0, 0)).max(axis=-1) < 60)[:, :1000]
    rows = np.array([np.flatnonzero(column).mean() for column in drawn.T if column.any()])
    assert len(rows) > 800
    assert (np.diff(rows) >= -0.6).all()
    assert rows[-1] - rows[0] > 450


def test_equal_factors_are_equally_far_apart() -> None:
    levels = [Line(str(k), [[(0, 10.0**k), (9, 10.0**k)]], RED) for k in range(4)]
    column = np.asarray(draw(levels, title="", x_name=""), int)[:, 500]
    reds = np.flatnonzero(np.abs(column - (255, 0, 0)).max(axis=-1) < 60)
    middles = [group.mean() for group in np.split(reds, np.flatnonzero(np.diff(reds) > 5) + 1)]
    gaps = np.diff(middles)
    assert len(gaps) == 3
    assert np.ptp(gaps) < 1.5


def test_what_is_far_below_is_cut_off_at_the_axis() -> None:
    image = draw([Line("a", [[(0, 1e6), (9, 1e5)]], "#000000"), Line("b", [[(0, 1e-30), (9, 1e-30)]], RED)], title="",
                 x_name="")  # fmt: skip
    rows = np.flatnonzero((np.abs(np.asarray(image, int) - (255, 0, 0)).max(axis=-1) < 60)[:, :1000].any(axis=1))
    assert 650 < rows.min() <= rows.max() < 665


def test_a_flat_line_and_a_single_value_can_be_drawn() -> None:
    for points in ([(5, 2.0)], [(1, 3.0), (2, 3.0)], [(1, 100.0), (2, 100.000001)]):
        draw([Line("x", [points], RED)], title="flat", x_name="x", marks=[Mark(points[0][0], "here")])


@given(st.lists(st.floats(0, 600), max_size=20).map(sorted))
def test_names_are_spread_in_order_and_no_farther_than_need_be(wanted: list[float]) -> None:
    places = spread(wanted, 19, 66, 658)
    assert len(places) == len(wanted)
    assert all(b - a >= 19 - 1e-9 for a, b in itertools.pairwise(places))
    assert all(66 - 1e-9 <= place <= 658 + 1e-9 for place in places)
    free = [66 <= w <= 658 for w in wanted]
    gaps = [b - a for a, b in itertools.pairwise(wanted)]
    if all(free) and all(gap >= 19 for gap in gaps):
        assert places == pytest.approx(wanted)


def test_runs_with_the_same_stages_show_them() -> None:
    runs = [Run.read(write_log(name)) for name in ("a.jsonl", "b.jsonl")]
    assert [mark.name for mark in runs[0].marks()] == ["200x150", "400x300"]
    assert chart_of_losses(runs).size == (1200, 720)


def test_the_jump_between_stages_is_explained_and_nothing_where_there_is_none() -> None:
    def note(path: Path) -> int:
        """Return how much ink stands beside the title."""
        upper = chart_of_terms(Run.read(path)).crop((600, 0, 1200, 40))
        return int((np.asarray(upper.convert("L")) < 160).sum())

    assert note(write_log("two.jsonl")) > 1000
    assert note(write_log("one.jsonl", stage=1, width=200, height=150)) == 0
