"""What messages call an option: as whoever reads them has typed it.

In Python an option is a parameter, ``style_blend``; on the command line it is ``--style-blend``. What raises an error
knows the option by its name in Python, and has `option` spell it. A program that is no Python says so once, by `speak`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

#: Takes the name of an option in Python, with dots for what is part of another; and its value, if that is told, too.
Spelling = Callable[[str, object], str]


def in_python(name: str, value: object = None) -> str:
    """Spell an option as a parameter of Python: ``style_blend``, ``low_memory=True``."""
    return name if value is None else f"{name}={value!r}"


_surface: Spelling = in_python  # one for all threads of a process: any of them may raise what its user reads

_of_data: ContextVar[bool] = ContextVar("of_data", default=False)


def option(name: str, value: object = None) -> str:
    """Return what a message calls an option, by its name in Python; with a value, how that is given."""
    return in_python(name, value) if _of_data.get() else _surface(name, value)


@contextlib.contextmanager
def speak(spelling: Spelling) -> Iterator[None]:
    """Have options spelled in another way for the time of a `with` block."""
    global _surface
    before, _surface = _surface, spelling
    try:
        yield
    finally:
        _surface = before


@contextlib.contextmanager
def of_data() -> Iterator[None]:
    """Leave names as they are for the time of a `with` block: they are keys of a file, and no options of the user's."""
    token = _of_data.set(True)
    try:
        yield
    finally:
        _of_data.reset(token)
