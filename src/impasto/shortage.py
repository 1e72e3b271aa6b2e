"""Shortages of memory and of threads, told from other failures. It imports next to nothing: there may be no room."""

from __future__ import annotations

import mmap
import re
import sys

#: The words of Python, the dynamic loader, NumPy, onnxruntime, the C++ library, OpenVINO, CUDA and its libraries when
#: memory is short, or when a thread cannot be started: that is for want of memory, too, or because threads are
#: limited in number.
_SIGNS = re.compile(
    r"bad_alloc|alloc_failed|failed to allocate|unable to allocate|cannot allocate memory|out of memory"
    r"|can't alloc|available memory|failed to map segment|cannot map zero-fill|cannot create shared object descriptor"
    r"|start new thread|pthread_create|thread constructor failed|resource temporarily unavailable",
    re.IGNORECASE,
)

#: The limits of a process: the name in the shell, the name in `resource`, and the bytes of it that Python and the
#: libraries of a run take before any picture, with BLAS on one thread.
_LIMITS = (("ulimit -v", "RLIMIT_AS", 360_000_000), ("ulimit -d", "RLIMIT_DATA", 150_000_000))


class NoRoomError(MemoryError):
    """There is too little memory to begin with; the text says what to do."""


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error says that memory is short, or that no more threads can be started."""
    return isinstance(error, MemoryError) or bool(_SIGNS.search(str(error)))


def in_one_line(error: BaseException) -> str:
    """Return a shortage in one line; libraries say it in many."""
    if isinstance(error, NoRoomError):
        return str(error)
    message = "out of memory"
    if isinstance(error, ImportError):
        message = "out of memory while libraries were loaded"
    elif isinstance(error, RuntimeError):
        message = "no more threads can be started, or there is no memory for them"
    return f"{message}; {advice()}"


def limits() -> dict[str, int]:
    """Return the limits on addresses that this process has, in bytes, by their names in the shell; mostly none."""
    if sys.platform == "win32":
        return {}
    else:
        import resource

        sizes = {shell_name: resource.getrlimit(getattr(resource, name))[0] for shell_name, name, _ in _LIMITS}
        return {shell_name: size for shell_name, size in sizes.items() if size != resource.RLIM_INFINITY}


def check_start() -> None:
    """Refuse to load libraries for which there is no room: some of them would end the process, or try for ever.

    Raises
    ------
    NoRoomError
        When a limit is too low.
    """
    sizes = limits()
    for shell_name, _, needed in _LIMITS:
        if sizes.get(shell_name, needed) < needed:
            raise NoRoomError(f"too little memory: starting takes {needed / 1e6:.0f} MB; {advice()}")


def check_room(size: int, taker: str) -> None:
    """Refuse to go on where a limit leaves fewer bytes of addresses than `taker` takes: some libraries try for ever.

    Raises
    ------
    MemoryError
        When they are too few.
    """
    if sys.platform != "win32" and limits():
        try:
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            raise MemoryError(f"{taker} takes {size / 1e6:.0f} MB") from None


def advice() -> str:
    """Return the advice on a shortage."""
    sizes = limits()
    if not sizes:
        return "close other programs, or give it more memory"
    return " and ".join(f"raise the limit of {name}, which is {size / 1e6:.0f} MB" for name, size in sizes.items())
