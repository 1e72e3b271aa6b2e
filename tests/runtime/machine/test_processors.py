"""How many processors may be used: affinity, quotas of control groups, and what onnxruntime is asked for then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from impasto.runtime.machine import processors
from impasto.runtime.machine.processors import default_threads, usable


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 cores, each of which is two processors."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for number in range(16):
        first = number // 2 * 2
        put(tmp_path, f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list", f"{first}-{first + 1}\n")
    put(tmp_path, "proc/self/cgroup", "0::/user.slice/run.scope\n")
    return tmp_path


def test_without_a_limit_all_may_be_used_and_the_number_is_onnxruntimes(root: Path) -> None:
    assert usable(root) == 16
    assert default_threads(root) is None


@pytest.mark.parametrize(
    ("quota", "expected", "threads"),
    [
        ("max 100000", 16, None),
        ("200000 100000", 2, 2),
        ("150000 100000", 2, 2),
        ("50000 100000", 1, 1),
        ("1200000 100000", 12, 8),
        ("9999999 100000", 16, None),
        ("", 16, None),
        ("nonsense", 16, None),
        ("100000 0", 16, None),
        ("100000", 16, None),
    ],
)
def test_a_quota_is_rounded_up_to_whole_processors(root: Path, quota: str, expected: int, threads: int | None) -> None:
    put(root, "sys/fs/cgroup/user.slice/run.scope/cpu.max", f"{quota}\n")
    assert (usable(root), default_threads(root)) == (expected, threads)


def test_the_narrowest_quota_around_counts(root: Path) -> None:
    put(root, "sys/fs/cgroup/user.slice/run.scope/cpu.max", "400000 100000\n")
    put(root, "sys/fs/cgroup/user.slice/cpu.max", "300000 100000\n")
    put(root, "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert usable(root) == 3


def test_in_a_container_the_quota_lies_at_the_mount(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/../../docker/0123\n")
    put(root, "sys/fs/cgroup/cpu.max", "250000 100000\n")
    assert usable(root) == 3


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_the_older_version_of_control_groups(root: Path, mount: str) -> None:
    put(root, "proc/self/cgroup", "5:cpu,cpuacct:/jobs/7\n4:memory:/other\n0::/\n")
    put(root, f"sys/fs/cgroup/{mount}/jobs/7/cpu.cfs_quota_us", "400000\n")
    put(root, f"sys/fs/cgroup/{mount}/jobs/7/cpu.cfs_period_us", "100000\n")
    put(root, f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", "-1\n")
    put(root, f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", "100000\n")
    assert usable(root) == 4


def test_of_the_processors_that_it_may_run_on_cores_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert (usable(root), default_threads(root)) == (4, 2)


def test_where_cores_are_not_told_processors_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert default_threads(tmp_path) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_a_process_that_is_kept_on_one_processor_starts_one_thread() -> None:
    work = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    work += (
        "from impasto.runtime.machine import processors as p; print(p.usable(), p.default_threads() or p.installed())"
    )
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_this_machine_has_a_name_and_some() -> None:
    assert processors.name()
    assert 1 <= usable() <= processors.installed()
