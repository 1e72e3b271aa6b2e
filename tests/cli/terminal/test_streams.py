"""Nobody who does not read what is said can stop a run; a result that is not delivered is told of."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from processes import assert_refused, command, environment, impasto_, lay_out

from impasto.cli.terminal import streams

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="streams are closed as POSIX shells do it")
with_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")

UNDELIVERED = "error: standard output: could not be written (No space left on device); "


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a photograph and a painting."""
    return lay_out(tmp_path / "desk", monkeypatch)


def stylize(model: Path, *options: object, output: object = "out.png") -> list[str]:
    quick = ("--size", "40", "--evaluations", "3", "--device", "cpu", "--lowering", "direct")
    return command(
        "stylize", "photo.png", "painting.jpg", "-o", output, "--model", model, "--recipe", "small", *quick, *options
    )


def redirected(arguments: list[str], redirections: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with streams as a shell opens and closes them; the rest of its output is captured."""
    script = ["sh", "-c", f'exec "$@" {redirections}', "sh", *arguments]
    return subprocess.run(script, capture_output=True, env=environment() | variables, timeout=120)


def assert_whole(picture: Path | io.BytesIO) -> None:
    with Image.open(picture) as found:
        found.load()
        assert found.size == (33, 40)


def closed_after(lines: int, arguments: list[str], folder: Path) -> int:
    """Run a command whose output, all of it, goes to a reader that leaves after so many lines; its exit code."""
    with subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
    ) as process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        return process.wait(timeout=120)


def test_readers_that_leave_at_any_moment_stop_no_run(desk: Path, small_model: Path) -> None:
    jobs = []
    for number in range(10):
        folder = desk / str(number)
        folder.mkdir()
        inputs = [str(desk / name) for name in ("photo.png", "painting.jpg")]
        arguments = [inputs.pop(0) if part in ("photo.png", "painting.jpg") else part for part in stylize(small_model)]
        jobs.append((number, [*arguments, *(["--json"] if number % 2 else [])], folder))
    with ThreadPoolExecutor(2) as executor:
        codes = list(executor.map(lambda job: closed_after(*job), jobs))
    assert codes == [0] * len(jobs)
    for _, _, folder in jobs:
        assert [path.name for path in folder.iterdir()] == ["out.png"]
        assert_whole(folder / "out.png")


def test_ctrl_c_that_ends_the_reader_of_a_pipe_too_keeps_the_picture(small_model: Path) -> None:
    arguments = stylize(small_model, "--evaluations", "100000")
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"evaluation 1/"):
            pass
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 1
    assert_whole(Path("out.png"))


@pytest.mark.parametrize(
    "redirections", ["2>&-", pytest.param("2>/dev/full", marks=with_full_device), ">&- 2>&- <&-", "--json >&-"]
)
def test_streams_that_are_closed_or_full_stop_no_run(small_model: Path, redirections: str) -> None:
    done = redirected(stylize(small_model), redirections)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert_whole(Path("out.png"))


@with_full_device
def test_a_result_on_a_full_device_is_told_of_and_the_picture_is_there(small_model: Path) -> None:
    done = redirected(stylize(small_model), "--json >/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == f"{UNDELIVERED}every file that was to be written is there"
    assert_whole(Path("out.png"))


@with_full_device
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("recipes", "--json")])
def test_help_and_lists_on_a_full_device_are_one_line(arguments: tuple[str, ...]) -> None:
    done = redirected(command(*arguments), ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(UNDELIVERED)
    assert done.stderr.count(b"\n") == 1
    assert redirected(command(*arguments), ">/dev/full 2>&-").returncode == 1


@pytest.mark.parametrize("arguments", [("--help",), ("recipes",), ("recipes", "--json")])
def test_a_reader_of_results_that_leaves_is_no_failure(arguments: tuple[str, ...]) -> None:
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("redirections", ["2>&-", pytest.param("2>/dev/full", marks=with_full_device)])
def test_a_picture_on_standard_output_is_all_there_is_on_it(small_model: Path, redirections: str) -> None:
    done = redirected(stylize(small_model, "--log", "run.jsonl", output="-"), redirections)
    assert done.returncode == 0
    assert_whole(io.BytesIO(done.stdout))
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    assert all(json.loads(line)["evaluation"] for line in Path("run.jsonl").read_text().splitlines())


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs a name for standard output")
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "link.png"])
def test_standard_output_by_another_name_takes_a_picture_and_nothing_else(small_model: Path, place: str) -> None:
    Path("link.png").symlink_to("/dev/stdout")
    done = redirected(stylize(small_model, output=place), "")
    assert done.returncode == 0, done.stderr
    assert_whole(io.BytesIO(done.stdout))
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    refused = impasto_(*stylize(small_model, "--json", output=place)[3:])
    assert_refused(refused, f"output {place}: --json prints to standard output, too")


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs a name for standard output")
def test_standard_output_by_another_name_is_refused_where_it_is_closed(small_model: Path) -> None:
    done = redirected(stylize(small_model, output="/dev/stdout"), ">&-")
    assert done.returncode == 2
    assert done.stderr == b"error: output /dev/stdout: is closed; expected a file or a pipe behind it\n"


@with_full_device
def test_a_picture_that_cannot_be_delivered_is_a_failure(small_model: Path) -> None:
    done = redirected(stylize(small_model, output="-"), ">/dev/full")
    assert done.returncode == 1
    assert b"error: output -: could not be written (No space left on device)" in done.stderr.splitlines()[-1]
    assert redirected(stylize(small_model, output="-"), ">/dev/full 2>&-").returncode == 1


def test_a_picture_for_a_standard_output_that_is_closed_is_refused(small_model: Path) -> None:
    done = redirected(stylize(small_model, output="-"), ">&-")
    assert done.returncode == 2
    assert done.stderr == b"error: output -: standard output is closed; expected a file or a pipe behind it\n"


def test_a_reader_that_stays_and_never_reads_stops_no_run(small_model: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(1 << 12))
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    done = subprocess.run(stylize(small_model), stderr=writing, env=environment(), timeout=120)
    os.close(reading)
    os.close(writing)
    assert done.returncode == 0
    assert_whole(Path("out.png"))


LIBRARY = """
import os, sys
from impasto.cli.terminal import streams
streams.prepare()
os.write(1, b"from a library\\n")
print("a result", flush=True)
print("said", file=sys.stderr)
sys.stdout.buffer.write(b"a picture\\n")
"""


def test_what_libraries_print_is_no_part_of_results() -> None:
    script = [sys.executable, "-c", LIBRARY]
    done = subprocess.run(script, capture_output=True, check=True)
    assert done.stdout == b"a result\na picture\n"
    assert done.stderr == b"from a library\nsaid\n"
    silent = redirected(script, "2>&-")
    assert (silent.returncode, silent.stdout) == (0, done.stdout)


def test_files_get_no_descriptor_of_a_closed_stream() -> None:
    opens = "import sys; from impasto.cli.terminal import streams; streams.prepare(); "
    opens += "print(open(sys.argv[1], 'w').fileno() > 2)"
    done = redirected([sys.executable, "-c", opens, "file"], "<&- 2>&-")
    assert (done.returncode, done.stdout) == (0, b"True\n")


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "cp1252:strict", "utf-8:strict"])
def test_no_encoding_is_too_poor_for_an_error(encoding: str) -> None:
    done = redirected(command("info", b"caf\xe9 \xe2\x80\x93.png".decode(errors="surrogateescape")), "")
    assert done.stderr.startswith("error: picture café –.png: no such file".encode())
    poor = redirected(
        command("info", b"caf\xe9 \xce\xb1.png".decode(errors="surrogateescape")), "", PYTHONIOENCODING=encoding
    )
    alpha = "α" if "utf-8" in encoding else "\\u03b1"
    e = "\\xe9" if "ascii" in encoding else "é"
    assert poor.stderr.startswith(f"error: picture caf{e} {alpha}.png: no such file".encode(encoding.partition(":")[0]))
    assert (poor.returncode, poor.stderr.count(b"\n")) == (2, 1)


@given(st.text(), st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_any_text_can_be_written_in_any_encoding(text: str, encoding: str) -> None:
    streams.register_escapes()
    shown = text.encode(encoding, streams._ESCAPED)
    assert "\\" in text or shown.decode(encoding) == text or b"\\" in shown
    names = os.fsencode(text.encode("utf-8", "ignore").decode())
    assert names.decode("ascii", "surrogateescape").encode(encoding, streams._EXACT) == names


def test_missing_folders_are_refused_as_before_where_names_are_no_text() -> None:
    assert_refused(impasto_("info", b"\xff".decode(errors="surrogateescape")), "model ÿ: no such folder")
