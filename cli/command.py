"""A command, and the group of all commands: what help, usage and completion say of them, and how they are begun."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup

from impasto.cli import given, help
from impasto.cli.spelling import on_command_line
from impasto.cli.terminal.width import width
from impasto.shortage import check_start, limits
from impasto.text import shown
from impasto.wording import speak

F = TypeVar("F", bound=Callable[..., None])

#: Where numbers of threads for the BLAS of NumPy and SciPy are read from.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"

#: The groups of options, in the order of the help: what most people need comes first.
PICTURE = "The picture"
STYLE = "The style"
OPTIMISATION = "The optimisation"
MEANWHILE = "While it runs, and after"
REGIONS = "Regions"
MACHINE = "The machine"
GPU = "Only on an NVIDIA GPU"
GROUPS = (PICTURE, STYLE, OPTIMISATION, MEANWHILE, REGIONS, MACHINE, GPU)


def examples(*commands: str) -> Callable[[F], F]:
    """Give a command examples, which its help shows, and whoever leaves out what it needs."""

    def give(function: F) -> F:
        function.__dict__["examples"] = commands
        return function

    return give


class _Helpful:
    """What a command and the group have in common: help as wide as the terminal, and soon there."""

    def get_params(self: Any, ctx: Any) -> list[Any]:
        """Return the parameters; of typer's own flags nothing is to be converted, for which it imports pydantic."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # a command's
        for parameter in found:
            if getattr(parameter, "is_flag", False) and parameter.default is None and not parameter.secondary_opts:
                parameter.default = False
        return found

    def get_help(self: Any, ctx: Any) -> str:
        """Return the help."""
        formatter = ctx.make_formatter()
        formatter.width = width()
        self.format_help(ctx, formatter)
        return help.finished(formatter)

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options, group by group."""
        for name, records in help.in_groups(self.get_params(ctx), GROUPS).items():
            with formatter.section(name):
                help.write_list(formatter, records)

    def get_short_help_str(self: Any, limit: int = 0) -> str:
        """Return the first paragraph, all of it, however long it is."""
        paragraph: str = (self.help or "").partition("\n\n")[0]
        return " ".join(paragraph.split())


class GroupedCommand(_Helpful, TyperCommand):
    """A command that shows its options in groups, and its examples."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, if there is room for what it will import."""
        make_room()
        given.remember(ctx)
        return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a value that is no number, or out of range, is refused in our own words.

        Raises
        ------
        InputError
            When there is such a value.
        """
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            parameter = getattr(error, "param", None)
            if parameter is None or not (expected := help.expected(parameter)):
                raise
            value = self.make_parser(ctx).parse_args(typed)[0].get(parameter.name)
            from impasto.runtime.errors import InputError

            name = max(parameter.opts, key=len)
            raise InputError(f"{name} {shown(value)}: expected {expected}") from None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the command's name in its usage."""
        return help.usage(self.get_params(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, and its examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                self._write_examples(formatter)

    def get_hint(self, ctx: Any) -> str:
        """Return usage and examples, for whoever has left out what the command needs."""
        formatter = ctx.make_formatter()
        formatter.width = width()
        self.format_usage(ctx, formatter)
        formatter.write("Examples:\n")
        formatter.indent()
        self._write_examples(formatter)
        return help.finished(formatter)

    @property
    def examples(self) -> tuple[str, ...]:
        """Commands that show what it is for."""
        found: tuple[str, ...] = getattr(self.callback, "examples", ())
        return found

    def _write_examples(self, formatter: Any) -> None:
        indent = formatter.current_indent
        for example in self.examples:
            for line in help.example_lines(example, formatter.width - indent):
                formatter.write(f"{'':{indent}}{line}\n")


class Commands(_Helpful, TyperGroup):
    """The group of all commands; while one runs, messages call options what is typed for them."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with speak(on_command_line):
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every command and what it does."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            help.write_list(formatter, [(name, found.get_short_help_str()) for name, found in commands if found])


def make_room() -> None:
    """Prepare for libraries to be loaded under a limit of addresses, or refuse to.

    Each thread of BLAS takes 40 MB of them; where there are none left it tries for ever, or ends the process.

    Raises
    ------
    NoRoomError
        When there are too few.
    """
    if limits():
        check_start()
        os.environ.setdefault(_BLAS_THREADS, "1")
        with contextlib.suppress(OSError):  # a thread that ends when it is no longer to be had ends the process
            ctypes.CDLL("libgcc_s.so.1")
