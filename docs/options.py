"""Write docs/options.md: every command of the program with all of its arguments and options.

Run it from the repository's root: ``python -m docs.options``. It reads the declarations of the commands, which do not
depend on the version of typer, and imports nothing that commands need only when they run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from impasto.cli import help
from impasto.cli.app import app
from impasto.cli.command import GROUPS

PAGE = Path(__file__).with_name("options.md")

_INTRODUCTION = """\
# The command line, option by option

Written by `python -m docs.options` from the commands themselves: change it there. `impasto COMMAND --help` shows the
same on a terminal.
"""


@dataclass(frozen=True)
class _Parameter:
    """An argument or option, as a command declares it."""

    name: str
    type: Any
    info: ArgumentInfo | OptionInfo
    default: Any

    @classmethod
    def all_of(cls, command: Callable[..., Any]) -> Iterator[_Parameter]:
        """Yield the parameters of a command, in its order."""
        hints = get_type_hints(command, include_extras=True)
        for name, parameter in inspect.signature(command).parameters.items():
            type_, info = get_args(hints[name])
            yield cls(name, type_, info, parameter.default)

    @property
    def group(self) -> str:
        """The heading that it stands under."""
        own = "Arguments" if isinstance(self.info, ArgumentInfo) else "Options"
        return self.info.rich_help_panel or own

    @property
    def kinds(self) -> list[str]:
        """The names of the types in its annotation: ``list[str] | None`` has list, str and NoneType."""

        def names(type_: Any) -> Iterator[str]:
            if get_args(type_):
                yield getattr(get_origin(type_), "__name__", "")
                for inner in get_args(type_):
                    yield from names(inner)
            else:
                yield type_.__name__

        return list(names(self.type))

    @property
    def label(self) -> str:
        """How it is written on a command line."""
        if isinstance(self.info, ArgumentInfo):
            many = "..." if "list" in self.kinds else ""
            required = self.default is inspect.Parameter.empty
            return f"`{self.info.metavar}{many}`" if required else f"`[{self.info.metavar}{many}]`"
        plain = self.name.replace("_", "-")
        given = (self.info.default, *(self.info.param_decls or ()))  # typer takes the first name for a default
        names = [text for text in given if isinstance(text, str) and text.startswith("-")]
        if "bool" in self.kinds:
            return ", ".join(f"`{name}`" for name in names or [f"--{plain}/--no-{plain}"])
        names = sorted(names or [f"--{plain}"], key=len, reverse=True)
        return ", ".join(f"`{name}{'' if len(name) == 2 else f' {self.info.metavar}'}`" for name in names)

    @property
    def text(self) -> str:
        """Its help, and its bounds."""
        text = self.info.help or ""
        if within := help.bounds(self.info.min, self.info.max):
            text += f" {within}."
        if self.info.envvar:
            text += f" Or the environment variable `{self.info.envvar}`."
        return text

    @property
    def usual(self) -> str:
        """Its default, in words."""
        shown: Any = self.info.show_default
        if callable(shown) or isinstance(shown, str):
            return help.default_text(shown, None)
        if self.default is inspect.Parameter.empty:
            return "required"
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return "none" if self.default is None else f"`{self.default}`"


def render() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    assert app.registered_callback is not None
    common = app.registered_callback.callback
    assert common is not None
    parts += ["## impasto\n", f"{app.info.help}\n", *_tables(common)]
    if app.info.epilog:
        parts.append(f"{app.info.epilog}\n")
    for entry in app.registered_commands:
        assert entry.callback is not None
        name = entry.name or entry.callback.__name__.replace("_", "-")
        words = [p.label.strip("`") for p in _Parameter.all_of(entry.callback) if isinstance(p.info, ArgumentInfo)]
        parts += [f"## impasto {name}\n", f"    impasto {' '.join([name, *words])}\n"]
        parts.append(f"{inspect.cleandoc(entry.callback.__doc__ or '')}\n")
        parts.append("For example:\n")
        parts.append("".join(f"    {example}\n" for example in vars(entry.callback).get("examples", ())))
        parts += _tables(entry.callback)
    return "\n".join(parts)


def _tables(command: Callable[..., Any]) -> Iterator[str]:
    """Yield a table for each group of a command's parameters."""
    groups: dict[str, list[_Parameter]] = {name: [] for name in ("Arguments", "Options", *GROUPS)}
    for parameter in _Parameter.all_of(command):
        groups.setdefault(parameter.group, []).append(parameter)
    for heading, parameters in groups.items():
        if parameters:
            rows = [f"| {_cell(p.label)} | {_cell(p.text)} | {_cell(p.usual)} |" for p in parameters]
            yield "\n".join([f"| {heading} | | default |", "|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
