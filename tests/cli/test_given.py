"""Options that do nothing where they are given say so, all alike; those that nobody has given say nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
import typer
from processes import impasto_, lay_out

from impasto.cli.command import GroupedCommand
from impasto.cli.given import warn_of_idle

QUICK = ("--size", "40", "--evaluations", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_out(tmp_path / "desk", monkeypatch)


def told(*arguments: object) -> set[str]:
    """Run a command, and return what it says does nothing."""
    done = impasto_(*arguments)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^warning: (.* does nothing .*)$", done.stderr, re.M)
    assert done.stderr.count("does nothing") == len(found) == len(set(found))
    return set(found)


def stylize(model: Path, *options: str, output: str = "out.png") -> set[str]:
    placed = ("-o", output, "--model", model, "-r", "small")
    return told("stylize", "photo.png", "painting.jpg", *placed, *QUICK, *options)


def test_nothing_is_said_of_what_nobody_has_given(small_model: Path) -> None:
    assert stylize(small_model) == set()


def test_a_transfer_says_which_options_do_nothing(small_model: Path) -> None:
    cuda = ("--gpu-memory", "1", "--tf32", "--conv-search", "default", "--no-conv-workspace", "--no-cuda-graph")
    others = ("--seed", "3", "--style-blend", "2", "--min-improvement", "0.1", "--stages", "9")
    written = ("--save-every", "50", "--no-record", "--record-places")
    assert stylize(small_model, *cuda, *others, *written) == {
        "--gpu-memory does nothing on a CPU",
        "--tf32 does nothing on a CPU",
        "--conv-search does nothing on a CPU",
        "--no-conv-workspace does nothing on a CPU",
        "--no-cuda-graph does nothing on a CPU",
        "--seed does nothing where nothing is random",
        "--style-blend does nothing with one style",
        "--min-improvement does nothing in stages of 10 evaluations or fewer",
        "--stages does nothing beyond 1, for want of pixels or evaluations",
        "--save-every does nothing in a run of 2 evaluations",
        "--record-places does nothing with --no-record",
    }


def test_options_that_do_something_say_nothing(small_model: Path) -> None:
    assert stylize(small_model, "--noise", "0.5", "--seed", "3", "--save-every", "2", "--record-places") == set()
    assert stylize(small_model, "--init", "random", "--noise", "0.5", "--seed", "3", output="other.png") == {
        "--noise does nothing with --init random, which is noise"
    }


def test_a_rerun_says_which_options_do_nothing(small_model: Path) -> None:
    stylize(small_model)
    named = ("--content", "photo.png", "--style", "painting.jpg", "--inputs", ".", "--trust-record")
    written = ("--no-record", "--record-places", "--force")
    assert told("rerun", "out.png", "-o", "again.png", "--model", small_model, *named, *written) == {
        "--inputs does nothing where every picture is named",
        "--trust-record does nothing where out.png says of nothing where it lies",
        "--record-places does nothing with --no-record",
    }
    assert told("rerun", "out.png", "-o", "again.png", "--model", small_model, "--inputs", ".", "--force") == set()


def test_a_sheet_says_which_options_do_nothing(small_model: Path) -> None:
    inputs = ("photo.png", "--style", "painting.jpg", "-o", "sheet.png", "--model", small_model, "-r", "small", *QUICK)
    assert told("sheet", *inputs, "--seed", "3") == {"--seed does nothing where nothing is random"}
    assert told("sheet", *inputs, "--force") == set()


def test_a_mix_says_which_options_do_nothing(small_model: Path) -> None:
    stylize(small_model)
    mixed = ("mix", "out.png", "photo.png", "--colors", "keep", "-o")
    assert told(*mixed, "mixed.png", "--strength", "0") == {"--colors does nothing with --strength 0"}
    assert told(*mixed, "other.png", "--strength", "0.5") == set()


def test_an_environment_variable_counts_as_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(rich_markup_mode=None)

    @app.command(cls=GroupedCommand)
    def paint(
        gpu_memory: Annotated[float, typer.Option(envvar="MEMORY")] = 1, tf32: Annotated[bool, typer.Option()] = True
    ) -> None:
        warn_of_idle({"cuda.memory": "here", "cuda.tf32": "here"})

    app([], standalone_mode=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MEMORY", "2")
    app([], standalone_mode=False)
    assert capsys.readouterr().err == "warning: --gpu-memory does nothing here\n"
    app(["--no-tf32"], standalone_mode=False)
    assert capsys.readouterr().err.count("does nothing here\n") == 2


def test_an_export_says_which_options_do_nothing(wheel: Path) -> None:
    Path("mine.toml").write_text(
        '[content]\nweight = 1\nconvention = "mean"\nlayers = { block1_conv1 = 1 }\n'
        '[style]\nweight = 1\nconvention = "mean"\nlayers = { block1_conv1 = 1 }\n'
    )
    known = ("export", "-r", "mine.toml", "--preprocessing", "caffe", "--seed", "3", "-o")
    assert told(*known, "drawn", "--weights", "random") == {
        "--preprocessing does nothing with --weights random, which has its own"
    }
    assert told(*known, "read", "--weights", wheel) == {
        f"--preprocessing does nothing with --weights {wheel}, which has its own",
        f"--seed does nothing with --weights {wheel}: only random weights are drawn",
    }
