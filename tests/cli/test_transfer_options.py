"""The options that commands share are declared once, and reach Python as they are typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from impasto.cli.commands.batch import batch
from impasto.cli.commands.stylize import stylize
from impasto.cli.options import option
from impasto.cli.transfer_options import takes_transfer_options, transfer_options
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.run.options import TransferOptions


def parameters(command: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command).parameters)


def test_both_commands_have_every_option_of_a_transfer() -> None:
    shared = parameters(transfer_options)
    for command in (stylize, batch):
        assert shared.keys() <= parameters(command).keys()
        assert "choices" not in parameters(command)
        hints = get_type_hints(command, include_extras=True)
        assert hints.keys() == parameters(command).keys()


def test_every_option_of_python_has_one_on_the_command_line() -> None:
    given = transfer_options(recipe="seed", style_blend="3, 1", tf32=False)
    assert given.keys() == get_type_hints(TransferOptions).keys() - {"callback", "progress"}
    assert (given["recipe"], given["style_blend"], given["cuda"]) == ("seed", [3.0, 1.0], CudaOptions(tf32=False))


def test_a_command_declares_an_option_otherwise_and_still_gets_it() -> None:
    seen: dict[str, Any] = {}

    @takes_transfer_options
    def own(
        size: Annotated[str | None, option(help="Another help.")] = None,
        *,
        choices: dict[str, Any],
    ) -> None:
        seen.update(size=size, choices=choices)

    defaults = {name: parameter.default for name, parameter in parameters(own).items()}
    own(**{**defaults, "size": "64", "seed": 3})
    assert seen["size"] == seen["choices"]["size"] == "64"
    assert seen["choices"]["seed"] == 3
