"""What the system and Linux's limits leave of memory; the limits are read from files like Linux's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from impasto.runtime.machine.memory import Room, limits_left, room

UNLIMITED = 9223372036854771712  # how version 1 says that there is no limit


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def left(root: Path, threads: int = 1) -> Room:
    """Return what the narrowest limit leaves."""
    return min(limits_left(root, threads), key=lambda one: one.size)


def group(root: Path, folder: str, limit: int | str, usage: int, inactive: int = 0) -> None:
    put(root, f"sys/fs/cgroup/{folder}/memory.max", f"{limit}\n")
    put(root, f"sys/fs/cgroup/{folder}/memory.current", f"{usage}\n")
    put(root, f"sys/fs/cgroup/{folder}/memory.stat", f"anon 5\nfile 7\ninactive_file {inactive}\n")


def group_v1(root: Path, folder: str, limit: int, usage: int, inactive: int = 0) -> None:
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.limit_in_bytes", f"{limit}\n")
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.usage_in_bytes", f"{usage}\n")
    put(root, f"sys/fs/cgroup/memory/{folder}/memory.stat", f"cache 5\ntotal_inactive_file {inactive}\n")


# --- the system -----------------------------------------------------------------------------------------------

MB = 1_000_000

LIMITED = """
import resource, psutil
from impasto.runtime.machine.memory import room, room_left
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)
print(room(threads=1).size, room_left().size, psutil.Process().memory_info().rss, room().limit)
"""


def test_a_process_could_grow_to_more_than_it_has_and_less_than_the_machine_has() -> None:
    total = room()
    assert total is not None
    assert psutil.Process().memory_info().rss < total.size < psutil.virtual_memory().total


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not keep to such limits")
def test_where_a_limit_is_narrower_than_the_system_it_counts_and_what_the_process_has_is_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    total, more, own, limit = done.stdout.strip().split(" ", 3)
    assert 100 * MB < int(more) < 1200 * MB
    assert int(total) == pytest.approx(int(more) + int(own), abs=5 * MB)
    assert limit == "ulimit -v"


# --- control groups -------------------------------------------------------------------------------------------


def test_a_control_group_leaves_its_limit_less_what_is_used_but_for_files_it_can_drop(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/user.slice/run.scope\n")
    group(tmp_path, "user.slice/run.scope", 1_000_000_000, 700_000_000, 200_000_000)
    assert left(tmp_path).size == 500_000_000


def test_the_narrowest_of_the_groups_around_it_counts(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    group(tmp_path, "a/b", "max", 10)
    group(tmp_path, "a", 300_000_000, 100_000_000)
    assert left(tmp_path).size == 200_000_000


def test_in_a_container_the_limit_lies_at_the_mount(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/../../docker/0123\n")
    group(tmp_path, "", 400_000_000, 100_000_000)
    assert left(tmp_path).size == 300_000_000


def test_the_older_version_of_control_groups(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/c\n4:memory:/jobs/7\n0::/\n")
    group_v1(tmp_path, "jobs/7", 500_000_000, 300_000_000, 50_000_000)
    group_v1(tmp_path, "", UNLIMITED, 17_000_000_000)
    assert left(tmp_path).size == 250_000_000


def test_a_group_without_limit_leaves_more_than_any_system_has(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "4:memory:/\n")
    group_v1(tmp_path, "", UNLIMITED, 1000)
    assert left(tmp_path).size > 1e18


def test_a_group_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    group(tmp_path, "", 1000, 5000)
    assert left(tmp_path).size == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/self/cgroup", "nonsense\n::\n0::/\n"),
        ("proc/self/limits", "Max address space\nMax data size   a lot  bytes\n"),
        ("sys/fs/cgroup/memory.max", ""),
        ("sys/fs/cgroup/memory.max", "-3\n"),
    ],
)
def test_what_cannot_be_understood_is_no_limit(tmp_path: Path, path: str, text: str) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    group(tmp_path, "", "max", 1000)
    put(tmp_path, path, text)
    assert not list(limits_left(tmp_path, 1))


def test_a_group_whose_statistics_are_damaged_still_counts(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    group(tmp_path, "", 3000, 1000)
    put(tmp_path, "sys/fs/cgroup/memory.stat", "inactive_file\n\n")
    assert left(tmp_path).size == 2000


# --- limits that slow down, and limits of the process itself --------------------------------------------------


def test_above_memory_high_a_group_is_slowed_down_so_that_counts_too(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    group(tmp_path, "", 1_000_000_000, 100_000_000)
    put(tmp_path, "sys/fs/cgroup/memory.high", "300000000\n")
    assert left(tmp_path) == Room(200_000_000, "the control group's memory.high")


LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max data size             {data:<20} unlimited            bytes
Max address space         {space:<20} unlimited            bytes
"""


def limited(root: Path, space: int | str = "unlimited", data: int | str = "unlimited") -> None:
    put(root, "proc/self/limits", LIMITS.format(space=space, data=data))
    put(root, "proc/self/status", "Name:\tx\nVmSize:\t  200000 kB\nVmRSS:\t 50000 kB\nVmData:\t  100000 kB\n")


def test_a_process_without_limits_of_its_own_has_none(tmp_path: Path) -> None:
    limited(tmp_path)
    assert not list(limits_left(tmp_path, 1))


def test_a_limit_of_addresses_leaves_less_than_its_number(tmp_path: Path) -> None:
    limited(tmp_path, space=1_500_000_000)
    two = left(tmp_path, threads=2)
    assert two.limit == "ulimit -v"
    assert 0.6e9 < two.size < 1_500_000_000 - 200000 * 1024 - 2 * 100e6
    assert left(tmp_path, threads=8).size < two.size


def test_a_limit_of_data_counts_likewise(tmp_path: Path) -> None:
    limited(tmp_path, space=1_500_000_000, data=1_000_000_000)
    narrowest = left(tmp_path, threads=2)
    assert narrowest.limit == "ulimit -d"
    assert 0.3e9 < narrowest.size < 0.9e9


def test_a_limit_that_is_reached_leaves_nothing(tmp_path: Path) -> None:
    limited(tmp_path, space=1000)
    assert left(tmp_path) == Room(0, "ulimit -v")
