"""The options that commands share are declared once, and reach Python as they are typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from impasto.cli.cluster.options import cluster_options
from impasto.cli.commands.batch import batch
from impasto.cli.commands.stylize import stylize
from impasto.cli.transfer_options import transfer_options
from impasto.runtime.engine.cuda import CudaOptions
from impasto.runtime.run.options import TransferOptions


def parameters(command: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(command).parameters)


def test_both_commands_have_every_option_of_a_transfer_and_of_a_cluster() -> None:
    shared = parameters(transfer_options) | parameters(cluster_options)
    for command in (stylize, batch):
        assert shared.keys() <= parameters(command).keys()
        assert not {"choices", "wanted"} & parameters(command).keys()
        hints = get_type_hints(command, include_extras=True)
        assert hints.keys() == parameters(command).keys()


def test_every_option_of_python_has_one_on_the_command_line() -> None:
    given = transfer_options(recipe="seed", style_blend="3, 1", tf32=False)
    assert given.keys() == get_type_hints(TransferOptions).keys() - {"callback", "progress"}
    assert (given["recipe"], given["style_blend"], given["cuda"]) == ("seed", [3.0, 1.0], CudaOptions(tf32=False))
