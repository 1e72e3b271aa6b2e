"""A command whose help shows its options in groups, as plain text: typer's own panels take rich twice as long."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

from typer.core import TyperCommand

from impasto.shortage import check_start, limits

#: Where numbers of threads for the BLAS of NumPy and SciPy are read from.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"

#: The groups, in the order of the help.
PICTURE = "The picture"
STYLE = "The style"
REGIONS = "Regions"
OPTIMISATION = "The optimisation"
MEANWHILE = "While it runs, and after"
MACHINE = "The machine"


class GroupedCommand(TyperCommand):
    """Groups options by their `rich_help_panel`, in the order in which the groups first appear."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, if there is room for what it will import."""
        make_room()
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                own = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or own, []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


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
