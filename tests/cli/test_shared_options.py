"""Options that several commands share: a command gets them as if it declared them, and what is made of them."""

from __future__ import annotations

import inspect
from typing import Annotated

from impasto.cli.options import option
from impasto.cli.shared_options import takes


def picture(size: Annotated[str, option(help="Of the picture.")] = "512", seed: int = 0) -> tuple[str, int]:
    return size, seed


def machine(threads: int = 2) -> list[int]:
    return [threads]


@takes(drawn=picture, on=machine)
def draw(
    name: str, size: Annotated[str, option(help="Another help.")] = "64", *, drawn: tuple[str, int], on: list[int]
) -> None:
    seen.append((name, size, drawn, on))


seen: list[object] = []


def test_a_command_has_its_own_options_between_those_of_the_first_function_and_of_others() -> None:
    signature = inspect.signature(draw)
    assert [*signature.parameters] == ["size", "seed", "name", "threads"]
    assert draw.__annotations__.keys() == signature.parameters.keys()


def test_what_the_functions_return_reaches_the_command_beside_its_own_options() -> None:
    seen.clear()
    draw(name="town", size="96", seed=3, threads=4)
    assert seen == [("town", "96", ("96", 3), [4])]


def test_an_option_that_the_command_declares_too_is_as_it_says() -> None:
    parameter = inspect.signature(draw).parameters["size"]
    assert parameter.default == "64"
    assert parameter.annotation.__metadata__[0].help.startswith("Another help.")
