"""How the help is written: as wide as the terminal, nothing cut, the parameters of a command in groups.

It is plain text: typer's own panels take rich twice as long. The parameters are typer's, whose classes differ from
version to version: what is read of them here all versions have.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

#: From so many columns on, texts stand beside the names of options, else below them.
_BESIDE = 60

#: No name takes more columns before the text beside it.
_LONGEST_NAME = 30

#: A word of a command, or an option with its value.
_WITH_VALUE = re.compile(r"--[^ ]+ (?!-)[^ ]+|[^ ]+")

#: What stands for a value -> what a message says was expected.
EXPECTED = {"NUMBER": "a number", "WHOLE NUMBER": "a whole number", "SECONDS": "a number of seconds", "GIB": "a number"}


def bounds(low: float | None, high: float | None) -> str:
    """Return what a number is bounded by: ``0..1``, ``1 or more``."""
    if low is None:
        return ""
    return f"{low:g} or more" if high is None else f"{low:g}..{high:g}"


def bounds_of(parameter: Any) -> str:
    """Return what the number that a parameter takes is bounded by."""
    kind = getattr(parameter, "type", None)  # where bounds are the type's
    low, high = (getattr(parameter, end, getattr(kind, end, None)) for end in ("min", "max"))
    return bounds(low, high)


def default_text(shown: Any, value: object) -> str:
    """Return what help says of a default: what was declared to be shown, or the value itself.

    Parameters
    ----------
    shown
        typer's `show_default`: a text, or a function that returns it when it is wanted, or whether to show the value.
    """
    if callable(shown):
        return str(shown())
    if isinstance(shown, str):
        return shown
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if shown and value is not None and type(value).__name__ != "Sentinel" else ""


def finished(formatter: Any) -> str:
    """Return what was written, without the marks of where no line was to be broken."""
    text: str = formatter.getvalue()
    return text.rstrip("\n").replace("\N{NO-BREAK SPACE}", " ")


def label(parameter: Any) -> str:
    """Return how a parameter is written: ``-o, --output FILE``, ``--clip / --no-clip``, ``STYLES...``."""
    if parameter.param_type_name == "argument":
        return argument(parameter)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        return f"{names} / {', '.join(parameter.secondary_opts)}"
    return names if parameter.is_flag or not parameter.metavar else f"{names} {parameter.metavar}"


def argument(parameter: Any) -> str:
    """Return how an argument is written, whether it is needed or not: ``STYLES...``."""
    many = "..." if parameter.nargs != 1 else ""
    return f"{parameter.metavar or parameter.name.upper()}{many}"


def usage(parameters: Iterable[Any]) -> list[str]:
    """Return what comes behind a command's name: its arguments, the options that it needs, and that there are more."""
    arguments, needed = [], []
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            text = argument(parameter)
            arguments.append(text if parameter.required else f"[{text}]")
        elif parameter.required:
            needed.append(f"{max(parameter.opts, key=len)}\N{NO-BREAK SPACE}{parameter.metavar}")
    return [*arguments, *needed, "[OPTIONS]"]


def described(parameter: Any) -> str:
    """Return what help says of a parameter: its text, and in brackets what holds where it is not given."""
    is_plain_flag = getattr(parameter, "is_flag", False) and not parameter.secondary_opts
    default = default_text(parameter.show_default, None if is_plain_flag else parameter.default)
    variable = f"or the environment variable {parameter.envvar}" if parameter.envvar else ""
    required = "required" if parameter.required else ""
    notes = [bounds_of(parameter), f"default: {default}" if default and not required else "", variable, required]
    told = "; ".join(filter(None, notes))
    return f"{parameter.help or ''}  [{told}]" if told else parameter.help or ""


def expected(parameter: Any) -> str:
    """Return what a message says that a parameter takes: ``a number, 0..1``; empty where that is not known."""
    if (what := EXPECTED.get(parameter.metavar)) is None:
        return ""
    return ", ".join(filter(None, (what, bounds_of(parameter))))


def in_groups(parameters: Iterable[Any], order: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return label and description of every parameter, by group: arguments, options without one, then in that order."""
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", "Options", *order)}
    for parameter in parameters:
        if not getattr(parameter, "hidden", False):
            own = "Arguments" if parameter.param_type_name == "argument" else "Options"
            group = getattr(parameter, "rich_help_panel", None) or own
            groups.setdefault(group, []).append((label(parameter), described(parameter)))
    return {name: records for name, records in groups.items() if records}


def write_list(formatter: Any, records: Sequence[tuple[str, str]]) -> None:
    """Write names, and beside or below each its text."""
    indent = formatter.current_indent
    beside = formatter.width >= _BESIDE
    column = min(max(len(name) for name, _ in records), _LONGEST_NAME) + 2 if beside else 4
    for name, text in records:
        names = textwrap.wrap(name, formatter.width - indent, break_on_hyphens=False, break_long_words=False)
        lines = textwrap.wrap(text, formatter.width - indent - column, break_on_hyphens=False, break_long_words=False)
        if lines and len(names) == 1 and len(name) <= column - 2:
            names = [f"{name:{column}}{lines.pop(0)}"]
        for line in [*names, *(" " * column + line for line in lines)]:
            formatter.write(f"{'':{indent}}{line}\n")


def example_lines(example: str, columns: int) -> list[str]:
    """Return a command of an example on as many lines as it takes; a shell takes them as one."""
    lines, line = [], ""
    for part in _WITH_VALUE.findall(example):
        if line and len(line) + len(part) + len(" \\ ") > columns:
            lines.append(f"{line} \\")
            line = f"    {part}"
        else:
            line = f"{line} {part}" if line else part
    return [*lines, line]
