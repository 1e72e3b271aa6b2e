"""A signal in every stage: nothing that was done is lost by the first; the second leaves."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from impasto.cli.terminal import interrupt
from impasto.cli.terminal.interrupt import Check, run_answering_signals, run_interruptibly
from impasto.runtime import StopOptimization

pytestmark = pytest.mark.skipif(os.name != "posix", reason="only POSIX sends signals to one process")

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # those that every system has


def attended(work: Callable[[Check], str], keep: Callable[[str], None]) -> tuple[str, bool]:
    """Run work as a process does, and leave this one as it was."""
    outcome: list[tuple[str, bool]] = []

    def run() -> int:
        outcome.append(run_interruptibly(work, keep, leave_nothing))
        return 7

    before = {number: signal.getsignal(number) for number in interrupt._SIGNALS}
    try:
        assert run_answering_signals(run) == 7
        assert all(signal.getsignal(number) is signal.SIG_IGN for number in SIGNALS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupt.enter(interrupt._ordinary)
    return outcome[0]


class Screen(io.StringIO):
    """What is written on standard error, and signals."""

    def send_and_wait_for(self, answer: str, number: int = signal.SIGINT) -> None:
        """Send a signal, from the thread that works, and go on once it has been answered."""
        assert threading.current_thread() is not threading.main_thread()
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 60
        while answer not in self.getvalue():
            assert time.monotonic() < deadline, self.getvalue()
            time.sleep(0.01)


def leave_nothing() -> None:
    raise AssertionError("nobody asked to leave")


def test_ctrl_c_while_the_result_is_saved_does_not_stop_the_saving() -> None:
    screen = Screen()
    saved: list[str] = []

    def keep(result: str) -> None:
        screen.send_and_wait_for("writing what there is; Ctrl-C again leaves at once")
        saved.append(result)

    with contextlib.redirect_stderr(screen):
        outcome = attended(lambda check: "picture", keep)
    assert outcome == ("picture", False)
    assert saved == ["picture"]


@pytest.mark.parametrize(("number", "again"), [(signal.SIGINT, "Ctrl-C again"), (signal.SIGTERM, "another signal")])
def test_a_signal_while_evaluating_and_one_while_saving_still_saves(number: int, again: str) -> None:
    screen = Screen()
    saved: list[str] = []

    def work(check: Check) -> str:
        check()
        screen.send_and_wait_for(f"stopping after this evaluation, to keep the best picture; {again} leaves", number)
        with pytest.raises(StopOptimization, match="interrupted"):
            check()
        return "the best so far"

    def keep(result: str) -> None:
        screen.send_and_wait_for("writing what there is")
        saved.append(result)

    with contextlib.redirect_stderr(screen):
        outcome = attended(work, keep)
    assert outcome == ("the best so far", True)
    assert saved == ["the best so far"]


def test_a_signal_during_the_last_evaluation_breaks_nothing_off() -> None:
    screen = Screen()

    def work(check: Check) -> str:
        check(over=False)
        screen.send_and_wait_for("stopping after this evaluation")
        check(over=True)
        return "all of it"

    with contextlib.redirect_stderr(screen):
        assert attended(work, lambda result: None) == ("all of it", True)


def test_what_goes_wrong_is_handed_on_and_what_comes_after_is_not_the_transfer() -> None:
    def fail(*_: object) -> str:
        raise KeyError("mine")

    def saved(_: str) -> None:
        fail()

    for work, keep in ((fail, saved), (str, saved)):
        with pytest.raises(KeyError, match="mine"):
            attended(work, keep)
        assert interrupt._phase is interrupt._ordinary


LEAVE = """
import os, signal, sys, time
from impasto.cli.terminal.interrupt import run_answering_signals, run_interruptibly

def wait(*_):
    print("ready", flush=True)
    time.sleep(600)

def work(check):
    if sys.argv[1] == "starting":
        wait()
    check()
    if sys.argv[1] == "evaluating":
        wait()

run_answering_signals(lambda: run_interruptibly(work, wait, lambda: print("tidied", flush=True)))
"""


@pytest.mark.parametrize(
    ("stage", "presses", "farewell"),
    [
        ("starting", 1, "interrupted before the first evaluation; no picture was written"),
        ("evaluating", 2, "left at once; no picture was written"),
        ("saving", 2, "left at once, while writing; what was not yet named may be missing"),
    ],
)
def test_a_signal_leaves_when_there_is_nothing_to_keep_or_when_it_is_the_second(
    stage: str, presses: int, farewell: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAVE, stage], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(presses - 1):
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline().endswith("; Ctrl-C again leaves at once\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == "tidied\n"
    assert err.splitlines()[-1] == f"error: {farewell}"


TWICE = """
import io, os, signal, sys, time
from impasto.cli.terminal.interrupt import run_answering_signals, run_interruptibly

class Busy(io.TextIOWrapper):
    writing = False
    def write(self, text):
        assert not self.writing, "written to while it was being written to"
        self.writing = True
        if "stopping" in text:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        self.writing = False
        return super().write(text)

def work(check):
    check()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)

sys.stderr = Busy(sys.stderr.buffer)
run_answering_signals(lambda: run_interruptibly(work, print, lambda: print("tidied", file=sys.stderr)))
"""


def test_a_second_ctrl_c_while_the_first_is_answered_leaves_in_order() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "error: left at once; no picture was written"
    assert "tidied" in done.stderr
