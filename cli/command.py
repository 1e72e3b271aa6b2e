"""A command whose help shows its options in groups, as plain text: typer's own panels take rich twice as long."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

#: The groups, in the order of the help.
PICTURE = "The picture"
STYLE = "The style"
REGIONS = "Regions"
OPTIMISATION = "The optimisation"
MEANWHILE = "While it runs, and after"
MACHINE = "The machine"


class GroupedCommand(TyperCommand):
    """Groups options by their `rich_help_panel`, in the order in which the groups first appear."""

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
