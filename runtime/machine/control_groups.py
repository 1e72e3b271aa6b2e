"""Linux's control groups around this process, such as a container's, which limit it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Controller -> the folders of its groups in the older version; some systems mount two controllers together.
_OLDER = {"memory": ("memory",), "cpu": ("cpu", "cpu,cpuacct", "cpuacct,cpu")}


def groups(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Yield the version and the folder of each control group around this process, innermost first.

    Parameters
    ----------
    root
        The root of Linux's files: that of the file system, except in tests.
    controller
        ``memory`` or ``cpu``.
    """
    for line in lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        # In a container the path may be the host's, of which only the mount itself is visible.
        inside = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in _OLDER[controller] if controllers else ("",):
            for depth in range(len(inside), -1, -1):
                yield version, root.joinpath("sys/fs/cgroup", mount, *inside[:depth])


def lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def number(path: Path) -> int | None:
    """Return the number in a file; None if there is another text, such as ``max``."""
    first = (lines(path) or [""])[0].strip()
    return int(first) if first.isdecimal() else None
