"""Telling a shortage of memory or of threads from other failures. It imports next to nothing: there may be no room."""

from __future__ import annotations

import mmap
import re
import sys

#: How Python, the dynamic loader, NumPy, onnxruntime, the C++ library, CUDA and its libraries say that memory is short,
#: or that a thread cannot be started, which is for want of memory, too, or of a number of threads.
_SIGNS = re.compile(
    r"bad_alloc|alloc_failed|failed to allocate|unable to allocate|cannot allocate memory|out of memory"
    r"|available memory|failed to map segment|cannot map zero-fill|cannot create shared object descriptor"
    r"|start new thread|pthread_create|thread constructor failed|resource temporarily unavailable",
    re.IGNORECASE,
)

#: The limits of a process: the shell's name, that of `resource`, and bytes that Python and the libraries of a run take
#: of it before any picture, with BLAS on one thread.
_LIMITS = (("ulimit -v", "RLIMIT_AS", 360_000_000), ("ulimit -d", "RLIMIT_DATA", 150_000_000))


class NoRoomError(MemoryError):
    """There is too little memory to begin with; the text says what to do."""


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory is short, or that no more threads can be had."""
    return isinstance(error, MemoryError) or bool(_SIGNS.search(str(error)))


def tell(error: BaseException) -> str:
    """Return a shortage in one line; libraries say it in many."""
    if isinstance(error, NoRoomError):
        return str(error)
    what = "out of memory"
    if isinstance(error, ImportError):
        what = "out of memory while libraries were loaded"
    elif isinstance(error, RuntimeError):
        what = "no more threads can be started, or there is no memory for them"
    return f"{what}; {advice()}"


def limits() -> dict[str, int]:
    """Return the limits on what this process may take of addresses, in bytes, by the shell's names; mostly none."""
    if sys.platform == "win32":
        return {}
    else:
        import resource

        found = {called: resource.getrlimit(getattr(resource, name))[0] for called, name, _ in _LIMITS}
        return {called: limit for called, limit in found.items() if limit != resource.RLIM_INFINITY}


def check_start() -> None:
    """Refuse to load libraries that there is no room for: some of them would end the process, or try for ever.

    Raises
    ------
    NoRoomError
        When a limit is too low.
    """
    here = limits()
    for called, _, needed in _LIMITS:
        if here.get(called, needed) < needed:
            raise NoRoomError(f"too little memory: starting takes {needed / 1e6:.0f} MB; {advice()}")


def check_room(size: int, what: str) -> None:
    """Refuse to go on where a limit leaves fewer bytes of addresses than `what` takes: some libraries try for ever.

    Raises
    ------
    MemoryError
        When they are too few.
    """
    if sys.platform != "win32" and limits():
        try:
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            raise MemoryError(f"{what} takes {size / 1e6:.0f} MB") from None


def advice() -> str:
    """Return what to do about a shortage."""
    here = limits()
    if not here:
        return "close other programs, or give it more memory"
    return " and ".join(f"raise the limit of {called}, which is {limit / 1e6:.0f} MB" for called, limit in here.items())
