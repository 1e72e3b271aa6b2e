"""The options that the user has given, also by environment variables, and warnings of those that do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from impasto.cli.spelling import on_command_line, parameter_name
from impasto.cli.terminal.messages import warn

#: typer's names for the sources of a value that is no default.
_SOURCES = ("COMMANDLINE", "ENVIRONMENT")

_given: ContextVar[Mapping[str, Any]] = ContextVar("given", default={})  # noqa: B039, nobody changes it


def remember(context: Any) -> None:
    """Note the options that the user has given to the command of a typer context."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    _given.set({name: context.params[name] for name, source in sources if source and source.name in _SOURCES})


def is_given(parameter: str) -> bool:
    """Whether the user has given an option, by the name of its parameter."""
    return parameter in _given.get()


def warn_of_idle(idle: Mapping[str, str]) -> None:
    """Warn of options that do nothing, but only of those that the user has given.

    Parameters
    ----------
    idle
        The name of each such option in Python -> where, or why, it does nothing.
    """
    given = _given.get()
    for name, reason in idle.items():
        if (own := parameter_name(name)) in given:
            flag = given[own] if isinstance(given[own], bool) else None
            warn(f"{on_command_line(name, flag)} does nothing {reason}")
