"""Files are written whole, through links, under any name that the file system takes, and in place of nobody else's."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.runtime.errors import NameTaken, OutputError
from impasto.runtime.storage.checking import check
from impasto.runtime.storage.names import cut, followed, identity, is_stream, longest_name
from impasto.runtime.storage.own import remove
from impasto.runtime.storage.replacing import clear_up, make_beside, replacing
from tests.runtime.storage.writing import NEW, OLD, names, posix, write

# --- permissions ----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o444, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(OLD)
    path.chmod(mode)
    check(path, True, [])
    write(NEW, path, replace=True)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert names(tmp_path) == ["out.png"]


@posix
@pytest.mark.parametrize("replace", [False, True])
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, replace: bool) -> None:
    before = os.umask(0o027)
    try:
        write(NEW, tmp_path / "out.png", replace=replace)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(OLD)
    os.chown(path, 12345, 54321)
    path.chmod(0o640)
    write(NEW, path, replace=True)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o640)


# --- links ----------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_written_through_and_stays(tmp_path: Path, relative: bool, there: bool) -> None:
    target, link = tmp_path / "elsewhere" / "real.png", tmp_path / "out.png"
    target.parent.mkdir()
    if there:
        target.write_bytes(OLD)
    link.symlink_to("elsewhere/real.png" if relative else target)
    check(link, there, [])
    write(NEW, link, replace=there)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["real.png"]
    assert names(tmp_path) == ["elsewhere", "out.png"]


@posix
def test_links_to_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("c")
    write(NEW, tmp_path / "a", replace=True)
    assert (tmp_path / "c").read_bytes() == NEW
    assert (tmp_path / "a").is_symlink()
    assert followed(tmp_path / "a") == tmp_path / "c"


@posix
def test_links_that_lead_nowhere_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "c.png").symlink_to("folder")
    (tmp_path / "d.png").symlink_to("none/d.png")
    for name, reason in {"a.png": "leads to itself", "c.png": "is a folder", "d.png": "none does not exist"}.items():
        with pytest.raises(OutputError, match=reason) as refused:
            check(tmp_path / name, True, [])
        assert "\n" not in str(refused.value)
        with pytest.raises(OSError, match=r"symbolic links|directory"):
            write(NEW, tmp_path / name, replace=True)
        assert (tmp_path / name).is_symlink()


@posix
@pytest.mark.parametrize("kind", ["symbolic", "dangling", "hard", "same"])
def test_inputs_are_recognised_by_any_link(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "photo.png", tmp_path / "out.png"
    if kind != "dangling":
        path.write_bytes(OLD)
    if kind == "hard":
        os.link(path, other)
    elif kind == "same":
        other = tmp_path / "folder" / ".." / "photo.png"
        (tmp_path / "folder").mkdir()
    else:
        other.symlink_to(path)
    with pytest.raises(OutputError, match="is one of the pictures to be read"):
        check(other, True, [path])


# --- devices, pipes and open files ----------------------------------------------------------------------------


@posix
def test_devices_are_written_into_and_never_replaced_or_removed(tmp_path: Path) -> None:
    link = tmp_path / "null.png"
    link.symlink_to(os.devnull)
    for path in (Path(os.devnull), link):
        check(path, False, [])
        write(NEW, path, replace=False)
        remove(path)
        assert is_stream(path)
        assert stat.S_ISCHR(path.stat().st_mode)
        with pytest.raises(OutputError, match="is a device or a pipe; expected a file"):
            check(path, True, [], again=True)
    assert names(tmp_path) == ["null.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_another_users_file_in_a_folder_like_tmp_is_refused_and_takes_no_result_with_it() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        path = folder / "out.png"
        path.write_bytes(OLD)
        os.seteuid(65534)
        try:
            with pytest.raises(OutputError, match="another user's, in a folder where nobody else replaces it"):
                check(path, True, [])
            with pytest.raises(NameTaken, match=r"what is there may not go; the result is in .*out-2\.png"):
                write(NEW, path, replace=True)
        finally:
            os.seteuid(0)
        assert path.read_bytes() == OLD
        assert (folder / "out-2.png").read_bytes() == NEW
        assert names(folder) == ["out-2.png", "out.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full_fails_and_stays() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(NEW, Path("/dev/full"), replace=True)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@posix
def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    path, found = tmp_path / "pipe.png", list[bytes]()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    check(path, False, [])
    write(NEW, path, replace=False)
    reader.join()
    assert found == [NEW]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are in /proc on Linux")
def test_an_open_file_of_the_process_is_written_on(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("wb", buffering=0) as file:
        file.write(OLD)
        for path in (Path(f"/dev/fd/{file.fileno()}"), Path(f"/proc/self/fd/{file.fileno()}")):
            check(path, False, [])
            write(NEW, path, replace=False)
    assert (tmp_path / "out.txt").read_bytes() == OLD + NEW + NEW
    reading, writing = os.pipe()
    write(OLD, Path(f"/dev/fd/{writing}"), replace=False)
    assert os.read(reading, 100) == OLD
    os.close(reading)
    os.close(writing)


# --- names ----------------------------------------------------------------------------------------------------

#: What file systems take, but for the folders themselves; bytes that are no UTF-8 only where the system keeps bytes.
_LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
_NAMES = st.text(_LETTERS, min_size=1, max_size=255).map(lambda name: cut(name, 255))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.mark.skipif(sys.platform != "linux", reason="takes any bytes for a name on Linux")
@given(_NAMES.filter(lambda name: name not in (".", "..")), st.binary(max_size=3))
def test_whatever_the_file_system_takes_for_a_name_can_be_written_twice(folder: Path, name: str, odd: bytes) -> None:
    odd = bytes(byte | 0x80 for byte in odd)
    path = folder / (cut(name, 255 - len(odd)) + os.fsdecode(odd))
    try:
        check(path, False, [])
        write(OLD, path, replace=False)
        assert path.read_bytes() == OLD
        with pytest.raises(NameTaken) as taken:
            write(NEW, path, replace=False)
        assert (path.read_bytes(), taken.value.place.read_bytes()) == (OLD, NEW)
        str(taken.value).encode()  # no lone surrogates
        write(NEW, path, replace=True)
        assert path.read_bytes() == NEW
        assert len(names(folder)) == 2
    finally:
        for left in folder.iterdir():
            left.unlink()


@pytest.mark.parametrize("letter", ["a", "ä", "画"])
def test_names_up_to_the_limit_work_and_longer_ones_are_refused(tmp_path: Path, letter: str) -> None:
    longest = longest_name(tmp_path)
    name = cut(letter * 300, longest - 4)
    check(tmp_path / f"{name}.png", False, [])
    write(NEW, tmp_path / f"{name}.png", replace=False)
    with pytest.raises(OutputError, match=r"its name is \d+ bytes long, and at most \d+ will do; choose a shorter"):
        check(tmp_path / f"{name}{letter}.png", False, [])
    assert names(tmp_path) == [f"{name}.png"]


@pytest.mark.parametrize("name", ["run.impasto", "a" * 255])
def test_what_killed_processes_left_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    path, others = tmp_path / name, ["run.impasto", ".run.impasto.x", ".run.impasto.12345678.png", "a" * 254 + "b"]
    for other in others:
        (tmp_path / other).write_bytes(OLD)
    descriptor, left = make_beside(path, 0o600)
    os.close(descriptor)
    kept = make_beside(tmp_path / ("a" * 254 + "c"), 0o600)
    os.close(kept[0])
    clear_up(path)
    assert not left.exists()
    assert sorted([*others, kept[1].name]) == names(tmp_path)


# --- somebody else's ------------------------------------------------------------------------------------------


@pytest.fixture(params=["with hard links", "without hard links"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on a file system that has hard links, or on one that says that it has none, as FAT does."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if request.param == "without hard links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("system")
def test_a_name_that_was_taken_meanwhile_is_left_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(OLD)
    (tmp_path / "out-2.png").write_bytes(OLD)
    with pytest.raises(NameTaken, match=r"out\.png: another file .*; the result is in .*out-3\.png$") as taken:
        write(NEW, path, replace=False)
    assert taken.value.place == tmp_path / "out-3.png"
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [OLD, NEW, OLD]


@pytest.mark.usefixtures("system")
def test_of_many_that_want_one_name_each_has_a_file_of_its_own(tmp_path: Path) -> None:
    places, start = list[Path](), threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        try:
            write(bytes([number]), tmp_path / "out.png", replace=False)
            places.append(tmp_path / "out.png")
        except NameTaken as taken:
            places.append(taken.place)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(places)) == 8
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {bytes([number]) for number in range(8)}


# --- what fails or is interrupted -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [False, True])
def test_what_is_broken_off_leaves_what_was_there_and_nothing_beside(
    tmp_path: Path, there: bool, error: type[BaseException]
) -> None:
    path = tmp_path / "out.png"
    if there:
        path.write_bytes(OLD)
    before = identity(path)
    with pytest.raises(error), replacing(path) as file:
        file.write(NEW)
        file.flush()
        assert len(names(tmp_path)) == 1 + there
        raise error
    assert identity(path) == before
    assert names(tmp_path) == (["out.png"] if there else [])


def test_until_all_is_written_what_was_there_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(OLD)
    with replacing(path) as file:
        for start in range(0, len(NEW), 1000):
            file.write(NEW[start : start + 1000])
            assert path.read_bytes() == OLD
    assert path.read_bytes() == NEW


# --- disks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
def test_where_there_is_no_room_what_was_there_stays_and_nothing_is_left_beside(
    tmp_path: Path, scarce_space: Callable[..., AbstractContextManager[None]], replace: bool
) -> None:
    path = tmp_path / "out.png"
    if replace:
        path.write_bytes(OLD)
        path.chmod(0o600)
    before = identity(path)
    with scarce_space(1000), pytest.raises(OSError, match="File too large"):
        write(NEW, path, replace=replace)
    assert identity(path) == before
    assert names(tmp_path) == (["out.png"] if replace else [])


def test_where_the_folder_has_gone_it_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(NEW, tmp_path / "gone" / "out.png", replace=False)
