"""What Linux says about memory, read from files like its own."""

from __future__ import annotations

import sys
from mmap import PAGESIZE as PAGE
from pathlib import Path

import pytest

from impasto.runtime.machine.memory import Room, available_memory, room, room_left

UNLIMITED = 9223372036854771712  # how version 1 says that there is no limit


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "proc/meminfo", "MemTotal:  24684096 kB\nMemFree:  100 kB\nMemAvailable:   2000000 kB\n")
    return tmp_path


def group(root: Path, folder: str, limit: int | str, usage: int, inactive: int = 0) -> None:
    put(root, f"sys/fs/cgroup/{folder}/memory.max", f"{limit}\n")
    put(root, f"sys/fs/cgroup/{folder}/memory.current", f"{usage}\n")
    put(root, f"sys/fs/cgroup/{folder}/memory.stat", f"anon 5\nfile 7\ninactive_file {inactive}\n")


def group_v1(root: Path, folder: str, limit: int, usage: int, inactive: int = 0) -> None:
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.limit_in_bytes", f"{limit}\n")
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.usage_in_bytes", f"{usage}\n")
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.stat", f"cache 5\ntotal_inactive_file {inactive}\n")


def test_without_limits_it_is_what_the_system_has_left(root: Path) -> None:
    assert available_memory(root) == 2000000 * 1024


def test_what_this_process_has_already_is_its_own(root: Path) -> None:
    put(root, "proc/self/statm", "90000 1000 300 1 0 80 0\n")
    assert available_memory(root) == 2000000 * 1024 + 1000 * PAGE


def test_beside_what_it_has_a_process_can_take_what_is_left(root: Path) -> None:
    put(root, "proc/self/statm", "90000 1000 300 1 0 80 0\n")
    assert room_left(root) == Room(2000000 * 1024)
    assert room_left(root / "nowhere") is None


def test_a_control_group_leaves_its_limit_less_what_is_used_but_for_files_it_can_drop(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/user.slice/run.scope\n")
    group(root, "user.slice/run.scope", 1_000_000_000, 700_000_000, 200_000_000)
    assert available_memory(root) == 500_000_000


def test_the_narrowest_of_the_groups_around_it_counts(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/a/b\n")
    group(root, "a/b", "max", 10)
    group(root, "a", 300_000_000, 100_000_000)
    assert available_memory(root) == 200_000_000


def test_in_a_container_the_limit_lies_at_the_mount(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/../../docker/0123\n")
    group(root, "", 400_000_000, 100_000_000)
    assert available_memory(root) == 300_000_000


def test_the_older_version_of_control_groups(root: Path) -> None:
    put(root, "proc/self/cgroup", "5:cpu,cpuacct:/c\n4:memory:/jobs/7\n0::/\n")
    group_v1(root, "jobs/7", 500_000_000, 300_000_000, 50_000_000)
    group_v1(root, "", UNLIMITED, 17_000_000_000)
    assert available_memory(root) == 250_000_000


def test_a_group_without_limit_leaves_what_the_system_has(root: Path) -> None:
    put(root, "proc/self/cgroup", "4:memory:/\n")
    group_v1(root, "", UNLIMITED, 1000)
    assert available_memory(root) == 2000000 * 1024


def test_a_group_over_its_limit_leaves_nothing(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/\n")
    group(root, "", 1000, 5000)
    assert available_memory(root) == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/meminfo", "MemAvailable\nMemAvailable: a lot\n"),
        ("proc/self/cgroup", "nonsense\n::\n0::/\n"),
        ("sys/fs/cgroup/memory.max", ""),
        ("sys/fs/cgroup/memory.max", "-3\n"),
    ],
)
def test_what_cannot_be_understood_is_not_known(tmp_path: Path, path: str, text: str) -> None:
    put(tmp_path, path, text)
    assert available_memory(tmp_path) is None


def test_a_group_whose_statistics_are_damaged_still_counts(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/\n")
    group(root, "", 3000, 1000)
    put(root, "sys/fs/cgroup/memory.stat", "inactive_file\n\n")
    assert available_memory(root) == 2000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how much there must be is known of Linux only")
def test_this_machine_has_some() -> None:
    found = available_memory()
    assert found is not None
    assert 50e6 < found < 1e15


# --- limits that slow down, and limits of the process itself --------------------------------------------------


def test_above_memory_high_a_group_is_slowed_down_so_that_counts_too(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/\n")
    group(root, "", 1_000_000_000, 100_000_000)
    put(root, "sys/fs/cgroup/memory.high", "300000000\n")
    assert available_memory(root) == 200_000_000
    found = room(root)
    assert found is not None
    assert found.limit == "the control group's memory.high"


LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max data size             {data:<20} unlimited            bytes
Max address space         {space:<20} unlimited            bytes
"""


def limited(root: Path, space: int | str = "unlimited", data: int | str = "unlimited") -> None:
    put(root, "proc/self/limits", LIMITS.format(space=space, data=data))
    put(root, "proc/self/status", "Name:\tx\nVmSize:\t  200000 kB\nVmRSS:\t 50000 kB\nVmData:\t  100000 kB\n")


def test_without_limits_of_its_own_a_process_has_what_the_system_has(root: Path) -> None:
    limited(root)
    assert room(root) == Room(2000000 * 1024)


def test_a_limit_of_addresses_leaves_less_than_its_number(root: Path) -> None:
    limited(root, space=1_500_000_000)
    found = room(root, threads=2)
    assert found is not None
    assert found.limit == "ulimit -v"
    assert 0.6e9 < found.size < 1_500_000_000 - 200000 * 1024 - 2 * 100e6
    more = room(root, threads=8)
    assert more is not None
    assert more.size < found.size


def test_a_limit_of_data_counts_likewise(root: Path) -> None:
    limited(root, space=1_500_000_000, data=1_000_000_000)
    found = room(root, threads=2)
    assert found is not None
    assert found.limit == "ulimit -d"
    assert 0.3e9 < found.size < 0.9e9


def test_a_limit_that_is_reached_leaves_nothing(root: Path) -> None:
    limited(root, space=1000)
    assert room(root) == Room(0, "ulimit -v")
