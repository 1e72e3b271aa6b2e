"""The classes of a command and of the group of all commands: their help, their arguments, and how they start."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup

from impasto.cli import given, help
from impasto.cli.spelling import on_command_line
from impasto.cli.terminal.width import width
from impasto.shortage import check_start, limits
from impasto.text import shown
from impasto.wording import speak

F = TypeVar("F", bound=Callable[..., None])

#: The environment variable that limits the BLAS threads of NumPy and SciPy.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"

#: The groups of options, in the order of the help: those that most people need come first.
PICTURE = "The picture"
STYLE = "The style"
OPTIMISATION = "The optimisation"
MEANWHILE = "While it runs, and after"
REGIONS = "Regions"
MACHINE = "The machine"
GPU = "Only on an NVIDIA GPU"
CLUSTER = "Several workers (Dask)"
GROUPS = (PICTURE, STYLE, OPTIMISATION, MEANWHILE, REGIONS, MACHINE, CLUSTER, GPU)


def examples(*commands: str) -> Callable[[F], F]:
    """Give a command examples. Its help shows them, and so does the error about a missing argument."""

    def give(function: F) -> F:
        function.__dict__["examples"] = commands
        return function

    return give


def needless(**flags: str) -> Callable[[F], F]:
    """Let a command do without options that it requires otherwise: the parameter of each -> the flag that says so."""

    def give(function: F) -> F:
        function.__dict__["needless"] = flags
        return function

    return give


class _Helpful:
    """The help that a command and the group have in common: as wide as the terminal, and quickly made."""

    def get_params(self: Any, ctx: Any) -> list[Any]:
        """Return the parameters. Flags of typer's own get a default: to convert None, it would import pydantic."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # a command's
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.default is None and not parameter.secondary_opts:
                parameter.default = False
        return parameters

    def get_help(self: Any, ctx: Any) -> str:
        """Return the help."""
        formatter = ctx.make_formatter()
        formatter.width = width()
        self.format_help(ctx, formatter)
        return help.text_of(formatter)

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options, group by group."""
        for name, records in help.in_groups(self.get_params(ctx), GROUPS).items():
            with formatter.section(name):
                help.write_list(formatter, records)

    def get_short_help_str(self: Any, limit: int = 0) -> str:
        """Return the whole first paragraph, however long it is."""
        paragraph: str = (self.help or "").partition("\n\n")[0]
        return " ".join(paragraph.split())


class GroupedCommand(_Helpful, TyperCommand):
    """A command that shows its options in groups, and its examples."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, if there is room for the libraries that it imports."""
        prepare_for_limits()
        given.remember(ctx)
        return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments. A value that is no number, or out of range, is refused with a message of our own.

        Raises
        ------
        InputError
            When there is such a value.
        """
        typed = list(args)
        try:
            with self._spared(typed):
                return super().parse_args(ctx, args)
        except Exception as error:
            parameter = getattr(error, "param", None)
            if parameter is None or not (expected := help.expected_value(parameter)):
                raise
            value = self.make_parser(ctx).parse_args(typed)[0].get(parameter.name)
            from impasto.runtime.errors import InputError

            name = max(parameter.opts, key=len)
            raise InputError(f"{name} {shown(value)}: expected {expected}") from None

    @contextlib.contextmanager
    def _spared(self, typed: list[str]) -> Iterator[None]:
        """Do without the options that a flag among those typed makes needless: see `needless`."""
        flags: dict[str, str] = getattr(self.callback, "needless", {})
        spared = [one for one in self.params if one.required and one.name and flags.get(one.name) in typed]
        try:
            for one in spared:
                one.required = False
            yield
        finally:
            for one in spared:
                one.required = True

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name in its usage."""
        return help.usage(self.get_params(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the description of the command, and its examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                self._write_examples(formatter)

    def get_hint(self, ctx: Any) -> str:
        """Return usage and examples, for the error about a missing argument."""
        formatter = ctx.make_formatter()
        formatter.width = width()
        self.format_usage(ctx, formatter)
        formatter.write("Examples:\n")
        formatter.indent()
        self._write_examples(formatter)
        return help.text_of(formatter)

    @property
    def examples(self) -> tuple[str, ...]:
        """Command lines that show typical uses."""
        lines: tuple[str, ...] = getattr(self.callback, "examples", ())
        return lines

    def _write_examples(self, formatter: Any) -> None:
        indent = formatter.current_indent
        for example in self.examples:
            for line in help.example_lines(example, formatter.width - indent):
                formatter.write(f"{'':{indent}}{line}\n")


class Commands(_Helpful, TyperGroup):
    """The group of all commands. While one runs, messages name options as they are typed."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with speak(on_command_line):
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the description of every command."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            help.write_list(formatter, [(name, command.get_short_help_str()) for name, command in commands if command])


def prepare_for_limits() -> None:
    """Where address space is limited, prepare to load libraries, or refuse to.

    Each BLAS thread takes 40 MB of address space. If none is left, BLAS tries for ever, or ends the process.

    Raises
    ------
    NoRoomError
        When too little address space is left.
    """
    if limits():
        check_start()
        os.environ.setdefault(_BLAS_THREADS, "1")
        with contextlib.suppress(OSError):  # loaded now: a thread's end needs it, and else ends the process
            ctypes.CDLL("libgcc_s.so.1")
