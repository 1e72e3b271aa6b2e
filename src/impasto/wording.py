"""The names of options in messages: as the reader has typed them.

In Python an option is a parameter, ``style_blend``; on the command line it is ``--style-blend``. Code that raises an
error knows the option by its name in Python, and `option` spells it. A program that spells options otherwise says so
once, by `speak`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

#: (name of an option in Python, with dots before a part of another; its value, or None) -> its spelling.
Spelling = Callable[[str, object], str]


def in_python(name: str, value: object = None) -> str:
    """Spell an option as a parameter of Python: ``style_blend``, ``low_memory=True``."""
    return name if value is None else f"{name}={value!r}"


_surface: Spelling = in_python  # one for all threads of a process: any of them may raise an error for its user

_of_data: ContextVar[bool] = ContextVar("of_data", default=False)


def option(name: str, value: object = None) -> str:
    """Return the spelling of an option, by its name in Python; with a value, that of both."""
    return in_python(name, value) if _of_data.get() else _surface(name, value)


def use_cpu() -> str:
    """Return the advice to use the CPU, which messages about other devices end with."""
    return f"use {option('device', 'cpu')}"


@contextlib.contextmanager
def speak(spelling: Spelling) -> Iterator[None]:
    """Spell options in another way within a `with` block."""
    global _surface
    before, _surface = _surface, spelling
    try:
        yield
    finally:
        _surface = before


@contextlib.contextmanager
def of_data() -> Iterator[None]:
    """Leave names as they are within a `with` block: they are keys of a file, and not the user's options."""
    token = _of_data.set(True)
    try:
        yield
    finally:
        _of_data.reset(token)
