"""Help, usage and examples, as they are read on terminals of any width."""

from __future__ import annotations

import os
import re
import shlex
import struct
import subprocess
from typing import Any

import pytest
import typer
from processes import command, impasto_

from impasto.cli import help
from impasto.cli.app import app
from impasto.cli.command import GPU, GROUPS
from impasto.defaults import DEFAULT_RECIPE
from impasto.runtime.plan.recipe import load_recipe

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
NEEDING = ["stylize", "rerun", "plot", "sheet", "batch", "mix"]


def shown(*arguments: str, columns: int = 80) -> str:
    done = impasto_(*arguments, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    return done.stdout


def words(text: str) -> str:
    return " ".join(text.split())


def takes_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not parameter.is_flag


# --- width ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 120, 160])
@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_fits_any_terminal_and_cuts_no_sentence(
    name: str | None, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command = COMMANDS[name] if name else GROUP
    with command.make_context("impasto", [], resilient_parsing=True) as context:
        text = command.get_help(context)
        assert max(map(len, text.splitlines())) <= columns
        told = words(text)
        for parameter in command.get_params(context):
            assert words(help.description(parameter)) in told
    if name is None:
        assert all(words(other.get_short_help_str()) in told for other in COMMANDS.values())
        assert "..." not in told.replace("[ARGS]...", "")


def test_help_is_as_wide_as_the_terminal() -> None:
    narrow, wide = (max(map(len, shown("stylize", "--help", columns=n).splitlines())) for n in (80, 160))
    assert narrow <= 80
    assert 130 < wide <= 160


def test_help_in_a_pager_is_as_wide_as_the_terminal_that_it_is_read_on() -> None:
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    piped = subprocess.run(command("stylize", "--help"), stdout=subprocess.PIPE, stderr=its, text=True, check=True)
    nowhere = impasto_("stylize", "--help")
    os.close(its)
    os.close(ours)
    assert 100 < max(map(len, piped.stdout.splitlines())) <= 120
    assert max(map(len, nowhere.stdout.splitlines())) <= 80


# --- what it says ---------------------------------------------------------------------------------------------


def test_every_value_has_a_readable_word_and_no_bound_is_a_formula() -> None:
    for name, one in COMMANDS.items():
        with one.make_context("impasto", [], resilient_parsing=True) as context:
            parameters = one.get_params(context)
            text = one.get_help(context)
        for parameter in parameters:
            if takes_value(parameter):
                assert re.fullmatch(r"[A-Z]+([ |][A-Z]+)?", parameter.metavar), f"{name}: {parameter.name}"
        assert not re.search(r"<|>|\bRANGE\b|\bTEXT\b|\bINTEGER\b", text)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("size", load_recipe(DEFAULT_RECIPE).size),
        ("init", load_recipe(DEFAULT_RECIPE).init),
        ("clip", "on" if load_recipe(DEFAULT_RECIPE).clip else "off"),
        ("optimizer", load_recipe(DEFAULT_RECIPE).optimizer),
        ("evaluations", load_recipe(DEFAULT_RECIPE).evaluations),
        ("content_weight", load_recipe(DEFAULT_RECIPE).content.weight),
        ("style_weight", load_recipe(DEFAULT_RECIPE).style.weight),
        ("tv_weight", load_recipe(DEFAULT_RECIPE).tv.weight),
    ],
)
def test_help_tells_what_the_recipes_default_is(parameter: str, value: object) -> None:
    (found,) = (p for p in COMMANDS["stylize"].params if p.name == parameter)
    assert help.description(found).endswith(f"; {value} for {DEFAULT_RECIPE}]")


def test_what_only_a_gpu_has_comes_last_and_by_itself() -> None:
    text = shown("stylize", "--help")
    others, gpus = text.split(f"\n{GPU}:\n")
    options = ("--gpu-memory", "--tf32", "--conv-search", "--conv-workspace", "--cuda-graph")
    assert all(re.search(rf"^ +{option}\b", gpus, re.M) for option in options)
    assert not any(re.search(rf"^ +{option}\b", others, re.M) for option in options)
    assert "\n\n" not in gpus.strip()
    headings = re.findall(r"^(\S.*):$", text, re.M)
    assert headings == ["Examples", "Arguments", "Options", *GROUPS]


# --- examples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_that_can_be_given(name: str) -> None:
    assert len(COMMANDS[name].examples) == 2
    for example in COMMANDS[name].examples:
        assert example.startswith(f"impasto {name}")
        COMMANDS[name].make_context(name, shlex.split(example)[2:]).close()
        for columns in (38, 80):
            joined = "\n".join(help.example_lines(example, columns))
            assert words(joined.replace("\\\n", "")) == example


@pytest.mark.parametrize("name", NEEDING)
def test_a_command_alone_shows_its_usage_and_two_examples(name: str) -> None:
    done = impasto_(name, COLUMNS="160")
    assert (done.returncode, done.stdout) == (2, "")
    usage, title, *examples, error = done.stderr.splitlines()
    assert usage.startswith(f"Usage: impasto {name} ")
    assert title == "Examples:"
    assert [line.strip() for line in examples] == list(COMMANDS[name].examples)
    assert error.startswith("error: Missing argument '")
    assert all(example in shown(name, "--help", columns=160) for example in COMMANDS[name].examples)


def test_every_command_that_needs_something_is_among_those() -> None:
    needing = [name for name, command in COMMANDS.items() if any(p.required for p in command.params)]
    assert sorted(needing) == sorted(NEEDING)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["stylize", "photo.png"], "Missing argument 'STYLES"),
        (["stylize", "photo.png", "painting.jpg"], "Missing option '--output'"),
        (["sheet", "photo.png", "-o", "sheet.png"], "Missing option '--style'"),
    ],
)
def test_whatever_is_missing_usage_and_examples_come_before_it(given: list[str], missing: str) -> None:
    done = impasto_(*given, COLUMNS="160")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Usage: impasto {given[0]} ")
    assert all(f"  {example}\n" in done.stderr for example in COMMANDS[given[0]].examples)
    assert done.stderr.splitlines()[-1].startswith(f"error: {missing}")


# --- wrong values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("--noise", "2"), "--noise '2': expected a number, 0..1"),
        (("--noise", "much"), "--noise 'much': expected a number, 0..1"),
        (("--seed", "-1"), "--seed '-1': expected a whole number, 0 or more"),
        (("--stages", "1.5"), "--stages '1.5': expected a whole number, 1 or more"),
        (("--time-limit", "soon"), "--time-limit 'soon': expected a number of seconds"),
        (("--gpu-memory", "all"), "--gpu-memory 'all': expected a number"),
    ],
)
def test_a_value_that_is_no_number_is_told_what_was_expected(typed: tuple[str, str], told: str) -> None:
    done = impasto_("stylize", "photo.png", "painting.jpg", "-o", "out.png", *typed)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {told}\n")
