"""Nothing is sent anywhere, and nothing is left in the user's home but what the README names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import command, lay_out

QUICK = ("--size", "44", "--evaluations", "2", "--device", "cpu", "--model", "MODEL")

#: MODEL stands for a model folder.
COMMANDS = {
    "stylize": ("stylize", "photo.png", "painting.jpg", "-o", "out.png", *QUICK),
    "demo": ("demo", "-o", "demo.png", *QUICK),
    "doctor": ("doctor", "MODEL"),
    "export": ("export", "--weights", "random", "--recipe", "own.toml", "-o", "exported"),
}

#: Of the first layer only, so that an export is quick.
OWN = """
name = "own"
evaluations = 2
[content]
weight = 1
convention = "mean"
layers.block1_conv1 = 1
[style]
weight = 1
convention = "mean"
layers.block1_conv1 = 1
"""

#: Of the home folder, below which a system's caches lie.
TIMINGS = {"timings.json"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting, with an empty home and nothing decided by the environment."""
    (lay_out(tmp_path / "desk", monkeypatch) / "own.toml").write_text(OWN)
    for name in ("ORT_DISABLE_TELEMETRY", "IMPASTO_TIMINGS"):
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def filled(name: str, model: Path) -> list[str]:
    return command(*(str(model) if word == "MODEL" else word for word in COMMANDS[name]))


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr  # 1 is the doctor's, of problems
    return done


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_home_holds_nothing_but_the_timings_afterwards(home: Path, model: Path, name: str) -> None:
    done = run(filled(name, model))
    assert "telemetry" not in done.stderr.lower()
    assert {path.name for path in home.rglob("*") if path.is_file()} <= TIMINGS


# --- connections ----------------------------------------------------------------------------------------------


def connections(arguments: list[str], log: Path) -> list[str]:
    """Run a program; return the system calls, its own and of what it starts, that have to do with the internet."""
    strace = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=network"]
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if subprocess.run([*strace, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    run([*strace, *arguments])
    return [line for line in log.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", COMMANDS)
def test_no_connection_is_attempted(model: Path, tmp_path: Path, name: str) -> None:
    assert connections(filled(name, model), tmp_path / "calls") == []


def test_an_attempt_would_be_seen(tmp_path: Path) -> None:
    program = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    assert any("connect(" in line for line in connections([sys.executable, "-c", program], tmp_path / "calls"))
