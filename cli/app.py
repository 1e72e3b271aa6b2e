"""The application: commands, exit codes, errors. Commands import what they need only when they run, for a fast help."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import traceback
import warnings
from typing import Annotated, Any

import typer

from impasto import __version__
from impasto.cli import completion
from impasto.cli.command import Commands, GroupedCommand
from impasto.cli.commands.batch import batch
from impasto.cli.commands.demo import demo
from impasto.cli.commands.doctor import doctor
from impasto.cli.commands.export import export
from impasto.cli.commands.info import info
from impasto.cli.commands.mix import mix
from impasto.cli.commands.plot import plot
from impasto.cli.commands.recipes import recipes
from impasto.cli.commands.rerun import rerun
from impasto.cli.commands.serve import serve
from impasto.cli.commands.sheet import sheet
from impasto.cli.commands.stylize import stylize
from impasto.cli.terminal.errors import explain
from impasto.cli.terminal.messages import say, warn

#: The program's name in its help, and in the variable by which shells ask for completions.
PROGRAM = "impasto"

app = typer.Typer(
    cls=Commands,
    help="Repaint a photograph in the manner of a painting.",
    epilog="Exit codes: 0 done, 1 failed or interrupted while running, 2 wrong arguments or input.",
    rich_markup_mode=None,  # plain help appears in half the time
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"impasto {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong; may stand anywhere.")
    ] = False,
) -> None:
    """Declare the options of every command."""


for command in (export, stylize, info, rerun, plot, demo, recipes, sheet, batch, mix, doctor, serve):
    app.command(cls=GroupedCommand)(command)


def run() -> int:
    """Run the command line, and return the exit code.

    An error is one line on standard error. If an argument is missing, usage and examples come before it.
    """
    if completion.VARIABLE in os.environ:
        return _complete()
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(arguments or ["--help"], prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = explain(error)
        for line in _hint(error):
            say(line)
        say(f"error: {' '.join(message.split())}")
    return code if isinstance(code, int) else 0


def _complete() -> int:
    """Answer a shell that asks for completions. Errors are not printed: they would disturb the line being typed."""
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        app([], prog_name=PROGRAM, standalone_mode=False)
    return 0


def _hint(error: Any) -> list[str]:
    """Return usage and examples if the error is a missing argument or option; else nothing."""
    if type(error).__name__ == "MissingParameter" and isinstance(command := error.ctx.command, GroupedCommand):
        return command.get_hint(error.ctx).splitlines()
    return []


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _warn_once(str(message))


@functools.cache
def _warn_once(text: str) -> None:
    """Warn once, even if several stages or pictures cause the warning."""
    warn(text)
