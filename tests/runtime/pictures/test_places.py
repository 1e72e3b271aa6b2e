"""Bytes come from files, standard input and the web, never more than allowed, and are written whole or not at all."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.errors import OutputError, PictureError
from impasto.runtime.pictures import places
from impasto.runtime.pictures.places import (
    Limits,
    check_destination,
    is_file,
    is_missing,
    is_url,
    name,
    opened,
    replacing,
)

named_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes among its files")

DATA = bytes(range(256)) * 800
PATIENT = Limits()

# --- what a place is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["http://a.org/b.png", "HTTPS://a.org", "https:/a.org/b.png", "ftp://a.org/b", "file:///b", "data:image/png,x",
     "gopher://a.org"],
)  # fmt: skip
def test_addresses_of_any_scheme_are_no_files(place: str) -> None:
    assert is_url(place)
    assert not is_file(place)


def test_a_file_is_missing_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(DATA)
    assert not is_missing(str(tmp_path / "photo.png"))
    for place in (tmp_path / "none.png", "a" * 5000, "a\0b"):
        assert is_missing(place)
    for place in ("-", "http://a.org/none.png"):
        assert not is_missing(place)


@pytest.mark.parametrize(
    "place", ["photo.png", "a:b.png", "C:\\photo.png", "c://photo.png", "./-", "photo: 2.png", "a/http://b", ""]
)
def test_paths_with_colons_and_dashes_are_files(place: str) -> None:
    assert is_file(place)
    assert not is_url(place)


@pytest.mark.parametrize("place", ["-", "http://a.org/b.png", "data:x"])
def test_a_path_object_is_always_a_file(place: str) -> None:
    assert is_file(Path(place))
    assert not is_url(Path(place))


SAFE = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
SECRET = SAFE.map(lambda text: f"S3CR3T{text}")


@given(user=SECRET, password=SECRET, host=SAFE, path=st.lists(SAFE).map("/".join), query=SECRET, fragment=SECRET)
def test_names_of_addresses_hold_no_secrets(
    user: str, password: str, host: str, path: str, query: str, fragment: str
) -> None:
    shown = name(f"https://{user}:{password}@{host}.org:8080/{path}?token={query}#{fragment}")
    assert shown == f"https://{host}.org:8080/{path}?..."


@pytest.mark.parametrize("url", ["http://user:S3CR3T/x@host/", "http://u:S3CR3T@[::1/", "data:S3CR3T", "xx://S3CR3T"])
def test_names_of_unusable_addresses_are_their_scheme(url: str) -> None:
    assert name(url) == f"{url.partition(':')[0]}:..."


def test_names_of_addresses_cannot_steer_a_terminal() -> None:
    assert name("http://host/\x1b[2Jphoto.png") == r"http://host/\u001b[2Jphoto.png"


# --- files and standard input ---------------------------------------------------------------------------------


def read(place: places.Place, limits: Limits = PATIENT) -> bytes:
    with opened(place, limits) as file:
        assert file.seekable()
        return file.read()


def test_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(DATA)
    assert read(tmp_path / "photo.png") == read(str(tmp_path / "photo.png")) == DATA
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.png")


def test_an_address_that_gives_nothing_is_named_without_its_secrets() -> None:
    with pytest.raises(PictureError, match=r"^picture ftp:\.\.\.: is ftp:, and only http: and https: are fetched"):
        read("ftp://ann:S3CR3T@host/photo.png")


WITHOUT_ADDRESS = """
import sys
from impasto.runtime.pictures import places
with places.opened(sys.argv[1]):
    print(places.name(sys.argv[1]), "impasto.web" in sys.modules, "http.client" in sys.modules)
"""


def test_the_client_of_the_web_is_loaded_for_addresses_only(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(DATA)
    command = [sys.executable, "-c", WITHOUT_ADDRESS, "photo.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "photo.png False False\n"


@named_pipes
def test_a_named_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for limits in (PATIENT, Limits(size=1000)):
        writer = threading.Thread(target=feed, args=(path,))
        writer.start()
        if limits is PATIENT:
            assert read(path, limits) == DATA
        else:
            with pytest.raises(PictureError, match=r"pipe: more than 0\.001 MB"):
                read(path, limits)
        writer.join()


@named_pipes
def test_a_pipe_that_nobody_writes_into_is_not_waited_for_without_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(PictureError, match="pipe: is a pipe, and nothing comes out of it; give a file"):
        read(path, Limits(silence=0.05))
    silent = os.open(path, os.O_RDWR)  # somebody has it open, and says nothing
    with pytest.raises(PictureError, match="pipe: is a pipe, and nothing comes out of it; give a file"):
        read(path, Limits(silence=0.05, seconds=0.1))
    os.close(silent)


@named_pipes
def test_what_comes_late_out_of_a_pipe_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=feed_in_parts, args=(path,))
    writer.start()
    assert read(path, Limits(silence=5)) == DATA
    writer.join()


def feed_in_parts(path: Path) -> None:
    time.sleep(0.05)
    with path.open("wb", buffering=0) as pipe:
        for first in range(0, len(DATA), max(1, len(DATA) // 3)):
            time.sleep(0.05)
            pipe.write(DATA[first : first + max(1, len(DATA) // 3)])


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_devices_are_no_pictures(path: str) -> None:
    if not Path(path).exists():
        pytest.skip("there is none here")
    with pytest.raises(PictureError, match=f"{path}: is a device or a socket; expected a file such as photo.jpg"):
        read(path)


def test_a_socket_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name may be about a hundred bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(PictureError, match="s: is a device or a socket; expected a file"):
            read("s")


def feed(path: Path) -> None:
    try:
        with path.open("wb") as pipe:
            pipe.write(DATA)
    except BrokenPipeError:
        pass


def standard_input(data: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(DATA))
    assert read("-") == DATA
    with pytest.raises(PictureError, match=r"^picture -: standard input is empty; .* name - only once"):
        read("-")


def test_standard_input_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(DATA))
    with pytest.raises(PictureError, match=r"^picture -: more than 0\.1 MB; make it smaller"):
        read("-", Limits(size=100_000))


@pytest.fixture
def terminal() -> Iterator[int]:
    ends = pytest.importorskip("pty").openpty()
    yield ends[1]
    for end in ends:
        os.close(end)


def test_a_terminal_is_no_picture(monkeypatch: pytest.MonkeyPatch, terminal: int) -> None:
    with open(terminal, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(PictureError, match=r"^picture -: standard input is a terminal"):
            read("-")
    for closed in (stdin, None):
        monkeypatch.setattr(sys, "stdin", closed)
        with pytest.raises(PictureError, match=r"^picture -: standard input is closed"):
            read("-")


# --- going out ------------------------------------------------------------------------------------------------


def test_standard_output_is_refused_where_it_takes_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # as a notebook's
    with pytest.raises(OutputError, match=r"^output -: standard output takes nothing but text; name a file"):
        check_destination("-")


def test_standard_output_is_refused_where_it_is_a_terminal_or_closed(
    monkeypatch: pytest.MonkeyPatch, terminal: int
) -> None:
    with open(terminal, "w", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(OutputError, match=r"^output -: standard output is a terminal"):
            check_destination("-")
    for closed in (stdout, None):
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(OutputError, match=r"^output -: standard output is closed"):
            check_destination("-")


def test_standard_output_is_accepted_where_it_leads_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        check_destination("-")
        with replacing("-") as file:
            file.write(DATA)
    assert (tmp_path / "out").read_bytes() == DATA


def test_addresses_are_no_outputs() -> None:
    with pytest.raises(
        OutputError, match=r"^output https://host/a\.png: is an address; expected a file name"
    ) as refused:
        check_destination("https://ann:S3CR3T@host/a.png")
    assert "S3CR3T" not in str(refused.value)


def test_inputs_that_are_no_files_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "out.png").touch()
    check_destination(tmp_path / "out.png", force=True, inputs=["-", f"https://host/{'a' * 5000}.png", "data:x"])


WRITE = """
import sys
from impasto.runtime.pictures import places
try:
    with places.replacing("-") as file:
        file.write(bytes(10**6))
except places.SaveError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("reason", ["Broken pipe", "No space left on device"])
def test_standard_output_that_takes_nothing_is_one_save_error_and_no_more(reason: str) -> None:
    if reason == "Broken pipe":
        reader, stdout = os.pipe()
        os.close(reader)
    elif Path("/dev/full").exists():
        stdout = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("needs a device that is always full")
    done = subprocess.run([sys.executable, "-c", WRITE], stdout=stdout, stderr=subprocess.PIPE, text=True)
    os.close(stdout)
    assert done.returncode == 1
    assert done.stderr.startswith(f"output -: could not be written ({reason}); make room")
    assert done.stderr.count("\n") == 1
