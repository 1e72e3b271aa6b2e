"""Completion in real shells: names of what can be chosen, files left to the shell, in no time and without a word."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import contents

from impasto.cli import completion
from impasto.defaults import COLORS, DEVICES, INITS, NETWORKS, OPTIMIZERS, PREPROCESSINGS, WEIGHTS
from impasto.model_folders import OBJECTIVE_FILE
from impasto.recipe_files import recipe_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the shells are those of other systems")

HEAVY = {"numpy", "scipy", "onnxruntime", "onnx", "PIL", "rich", "impasto.runtime"}

#: How long a shell may take to show what is expected: it waits for two processes at most.
PATIENCE = 60


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with files whose names want quotes, with `impasto` in the path."""
    folder, programs, home = tmp_path / "desk", tmp_path / "bin", tmp_path / "home"
    for made in (folder, programs, home):
        made.mkdir()
    program = programs / "impasto"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m impasto "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ZDOTDIR", str(home))
    monkeypatch.setenv("TERM", "dumb")
    for path in (folder / "my photo.jpg", folder / "own.toml", home / "holiday.jpg"):
        path.touch()
    (folder / "some folder").mkdir()
    monkeypatch.chdir(folder)
    return folder


def ask(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Ask as the script for bash does; the last word of the line is what is to be completed."""
    words = line.split(" ")
    asked = {"_IMPASTO_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return subprocess.run(
        [sys.executable, "-m", "impasto"], capture_output=True, text=True, env={**os.environ, **asked, **variables}
    )


def completed(line: str, **variables: str) -> list[str]:
    done = ask(line, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


# --- what is completed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("impasto sty", ["stylize"]),
        (
            "impasto stylize --style-",
            ["--style-blend", "--style-scale", "--style-crop", "--style-weight", "--style-mask"],
        ),
        ("impasto stylize --device ", DEVICES),
        ("impasto stylize --lowering w", ["winograd"]),
        ("impasto stylize --precision ", ["auto", "fp32", "bf16", "fp16"]),
        ("impasto stylize --optimizer ", OPTIMIZERS),
        ("impasto stylize --init ", INITS),
        ("impasto stylize --colors ", COLORS),
        ("impasto stylize --conv-search ", ["heuristic", "exhaustive", "default"]),
        ("impasto stylize --size c", ["content"]),
        ("impasto mix --colors ", ["style", "keep", "keep-pixels"]),
        ("impasto rerun --device cu", ["cuda", "cuda:0"]),
        ("impasto export --network ", NETWORKS),
        ("impasto export --preprocessing ", PREPROCESSINGS),
        ("impasto export --weights ", WEIGHTS),
        ("impasto sheet --recipe a", ["all"]),
        ("impasto recipes se", ["seed"]),
        ("impasto stylize ", []),  # files
        ("impasto stylize my", []),
        ("impasto stylize --output ", []),
        ("impasto stylize --model ", []),
        ("impasto stylize --noise ", []),
    ],
)
def test_names_are_completed_and_files_are_left_to_the_shell(line: str, expected: list[str]) -> None:
    assert completed(line) == list(expected)


def test_recipes_are_those_that_come_along_those_of_the_model_and_files_here(desk: Path) -> None:
    model = desk / "models" / "vgg19"
    model.mkdir(parents=True)
    (model / f"monet{OBJECTIVE_FILE}").touch()
    other = desk / "other"
    other.mkdir()
    (other / f"degas{OBJECTIVE_FILE}").touch()
    along = [*recipe_files(), "own.toml"]
    assert completed("impasto stylize -r ") == sorted([*along, "monet"])
    assert completed("impasto stylize --model other -r ") == sorted([*along, "degas"])
    assert completed("impasto stylize -r ", IMPASTO_MODEL="other") == sorted([*along, "degas"])
    assert completed("impasto stylize -r ", IMPASTO_MODEL="missing") == sorted(along)


# --- without a word -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("impasto paint --colour ", {}),
        ("impasto stylize --size", {}),
        ("impasto stylize 'half a qu", {}),
        ("impasto stylize --seed many --noise lots -r se", {}),
        ("impasto", {"_IMPASTO_COMPLETE": "nonsense"}),
        ("impasto", {"_IMPASTO_COMPLETE": "complete_tcsh"}),
        ("impasto", {"COMP_CWORD": "many"}),
    ],
)
def test_nothing_is_ever_said_or_touched(desk: Path, line: str, variables: dict[str, str]) -> None:
    before = contents(desk.parent)
    done = ask(line, **variables)
    assert done.stderr == ""
    assert "rror" not in done.stdout
    assert contents(desk.parent) == before


def test_whatever_goes_wrong_nothing_is_completed(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk / "gone").mkdir()
    monkeypatch.chdir(desk / "gone")
    (desk / "gone").rmdir()
    assert completed("impasto stylize -r se") == ["seed"]


@pytest.mark.parametrize("line", ["impasto stylize -r ", "impasto export --weights ", "impasto stylize --"])
def test_completion_imports_nothing_heavy(line: str) -> None:
    words = line.split(" ")
    asked = {"_IMPASTO_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "impasto"],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "impasto.cli.completion" in imported
    assert not imported & HEAVY
    assert done.stdout


# --- real shells ----------------------------------------------------------------------------------------------


def typed(shell: list[str], setup: list[str], keys: str, until: str) -> str:
    """Type keys at the prompt of a shell on a terminal, and return what it shows once that has `until` in it."""
    import pty  # not on Windows

    ours, its = pty.openpty()
    environment = {**os.environ, "PS1": "ready> ", "PROMPT": "ready> "}
    with subprocess.Popen(shell, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True) as running:
        os.close(its)
        try:
            read(ours, lambda text: "ready> " in text)
            for command in setup:
                os.write(ours, f"{command}; echo do''ne\r".encode())
                read(ours, lambda text: "done" in text)
            os.write(ours, keys.encode())
            return read(ours, lambda text: until in text)
        finally:
            running.kill()
            os.close(ours)


def read(terminal: int, enough: Callable[[str], bool]) -> str:
    end, text = time.monotonic() + PATIENCE, ""
    while not enough(text):
        left = end - time.monotonic()
        assert left > 0, f"the shell shows {text!r}"
        if select.select([terminal], [], [], left)[0]:
            text += os.read(terminal, 1 << 16).decode(errors="replace").replace("\a", "")
    return text


SHELLS = {
    "bash": (["bash", "--norc", "-i"], ['eval "$(impasto --show-completion)"']),
    "zsh": (["zsh", "-f", "-i"], ["autoload -Uz compinit; compinit -u", 'eval "$(impasto --show-completion)"']),
}


@pytest.mark.parametrize(
    ("keys", "until"),
    [
        ("impasto sty\t", "impasto stylize "),
        ("impasto stylize -r gat\t", "-r gatys "),
        ("impasto stylize my\t", "my\\ photo.jpg "),
        ("impasto stylize ~/ho\t", "~/holiday.jpg "),
        ("impasto stylize x y -o so\t", "some\\ folder/"),
        ("impasto stylize --device cu\t", "--device cuda"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_names_and_files(shell: str, keys: str, until: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    command, setup = SHELLS[shell]
    typed(command, setup, keys, until)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("impasto sty", "stylize\t"),
        ("impasto stylize -r gat", "gatys"),
        ("impasto stylize my", "my photo.jpg"),
        ("impasto stylize ~/ho", "~/holiday.jpg"),
        ("impasto stylize x y -o so", "some folder/"),
    ],
)
def test_fish_completes_names_and_files(line: str, expected: str) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish here")
    script = f"impasto --show-completion | source; complete -C '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.startswith(expected)
    assert done.stderr == ""


def test_the_variable_is_the_one_that_scripts_set() -> None:
    done = subprocess.run(
        ["bash", "-c", "impasto --show-completion; true"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert f"{completion.VARIABLE}=complete_bash" in done.stdout


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("bash", ".bash_completions/impasto.sh"),
        ("zsh", ".zfunc/_impasto"),
        ("fish", ".config/fish/completions/impasto.fish"),
    ],
)
def test_completion_is_installed_for_the_shell_that_asks(shell: str, script: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    done = subprocess.run([shell, "-c", "impasto --install-completion; true"], capture_output=True, text=True)
    assert f"{shell} completion installed in " in done.stdout
    assert done.stderr == ""
    assert completion.VARIABLE in (Path.home() / script).read_text()
