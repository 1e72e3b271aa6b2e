"""The text of the help: as wide as the terminal, with nothing cut, and the parameters of a command in groups.

It is plain text: typer's own panels, drawn by rich, take twice as long. The classes of typer's parameters differ
between versions; this module reads only attributes that all versions have.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

#: From so many columns on, texts stand beside the names of options, else below them.
_BESIDE = 60

#: The most columns that a name takes before the text beside it.
_LONGEST_NAME = 30

#: A word of a command, or an option with its value.
_WITH_VALUE = re.compile(r"--[^ ]+ (?!-)[^ ]+|[^ ]+")

#: The word for a value in the help -> the words for it in the message about a wrong one.
EXPECTED = {"NUMBER": "a number", "WHOLE NUMBER": "a whole number", "SECONDS": "a number of seconds", "GIB": "a number"}


def bounds(low: float | None, high: float | None) -> str:
    """Return the bounds of a number as text: ``0..1``, ``1 or more``."""
    if low is None:
        return ""
    return f"{low:g} or more" if high is None else f"{low:g}..{high:g}"


def bounds_of(parameter: Any) -> str:
    """Return the bounds of the number that a parameter takes, as text."""
    kind = getattr(parameter, "type", None)  # which has the bounds in some versions of typer
    low, high = (getattr(parameter, end, getattr(kind, end, None)) for end in ("min", "max"))
    return bounds(low, high)


def default_text(declared: Any, value: object) -> str:
    """Return the text for a default in the help: the declared text, or the value itself.

    Parameters
    ----------
    declared
        typer's `show_default`: a text, or a function that returns one when it is needed, or whether to show the value.
    """
    if callable(declared):
        return str(declared())
    if isinstance(declared, str):
        return declared
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if declared and value is not None and type(value).__name__ != "Sentinel" else ""


def text_of(formatter: Any) -> str:
    """Return a formatter's text. Its no-break spaces have done their work and become spaces."""
    text: str = formatter.getvalue()
    return text.rstrip("\n").replace("\N{NO-BREAK SPACE}", " ")


def label(parameter: Any) -> str:
    """Return a parameter as the help writes it: ``-o, --output FILE``, ``--clip / --no-clip``, ``STYLES...``."""
    if parameter.param_type_name == "argument":
        return argument_label(parameter)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        return f"{names} / {', '.join(parameter.secondary_opts)}"
    return names if parameter.is_flag or not parameter.metavar else f"{names} {parameter.metavar}"


def argument_label(parameter: Any) -> str:
    """Return an argument as the help writes it, whether it is required or not: ``STYLES...``."""
    many = "..." if parameter.nargs != 1 else ""
    return f"{parameter.metavar or parameter.name.upper()}{many}"


def usage(parameters: Iterable[Any]) -> list[str]:
    """Return the words after a command's name in its usage: arguments, required options, and ``[OPTIONS]``."""
    arguments, needed = [], []
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            text = argument_label(parameter)
            arguments.append(text if parameter.required else f"[{text}]")
        elif parameter.required:
            needed.append(f"{max(parameter.opts, key=len)}\N{NO-BREAK SPACE}{parameter.metavar}")
    return [*arguments, *needed, "[OPTIONS]"]


def description(parameter: Any) -> str:
    """Return the description of a parameter: its help, and in brackets its bounds and its default."""
    is_plain_flag = getattr(parameter, "is_flag", False) and not parameter.secondary_opts
    default = default_text(parameter.show_default, None if is_plain_flag else parameter.default)
    variable = f"or the environment variable {parameter.envvar}" if parameter.envvar else ""
    required = "required" if parameter.required else ""
    notes = [bounds_of(parameter), f"default: {default}" if default and not required else "", variable, required]
    in_brackets = "; ".join(filter(None, notes))
    return f"{parameter.help or ''}  [{in_brackets}]" if in_brackets else parameter.help or ""


def expected_value(parameter: Any) -> str:
    """Return the words for a parameter's value in a message: ``a number, 0..1``; empty if there are none."""
    if (words := EXPECTED.get(parameter.metavar)) is None:
        return ""
    return ", ".join(filter(None, (words, bounds_of(parameter))))


def in_groups(parameters: Iterable[Any], order: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the label and description of every parameter, by group: arguments, other options, then as in `order`."""
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", "Options", *order)}
    for parameter in parameters:
        if not getattr(parameter, "hidden", False):
            own = "Arguments" if parameter.param_type_name == "argument" else "Options"
            group = getattr(parameter, "rich_help_panel", None) or own
            groups.setdefault(group, []).append((label(parameter), description(parameter)))
    return {name: records for name, records in groups.items() if records}


def write_list(formatter: Any, records: Sequence[tuple[str, str]]) -> None:
    """Write names, each with its text beside or below it."""
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
    """Return an example, broken into lines that a shell reads as one command."""
    lines, line = [], ""
    for part in _WITH_VALUE.findall(example):
        if line and len(line) + len(part) + len(" \\ ") > columns:
            lines.append(f"{line} \\")
            line = f"    {part}"
        else:
            line = f"{line} {part}" if line else part
    return [*lines, line]
