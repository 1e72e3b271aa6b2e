"""Options that several commands share: each is declared once, as a parameter of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

Command = Callable[..., None]


def takes(**shared: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command options that functions declare; it is called with what these functions return.

    The options of the first function come before the command's own, those of all others after these. A command may
    declare one of these options itself: then its declaration counts, and the option's value goes to both.

    Parameters
    ----------
    shared
        A parameter of the command -> the function whose result it gets. No two functions declare the same option.
    """

    def decorate(command: Command) -> Command:
        own = _parameters(command, without=tuple(shared))
        groups = {name: _parameters(function) for name, function in shared.items()}
        first, *others = groups.values()
        assert sum(map(len, groups.values())) == len(set[str]().union(*groups.values())), "options declared twice"
        parameters = functools.reduce(dict.__or__, [first, own, *others, own])  # own ones count, in their places

        @functools.wraps(command)
        def called(**given: Any) -> None:
            values = {name: shared[name](**{key: given[key] for key in group}) for name, group in groups.items()}
            command(**{key: given[key] for key in own}, **values)

        del called.__dict__["__wrapped__"]  # typer would look at that function's hints
        called.__dict__["__signature__"] = inspect.Signature([*parameters.values()])
        called.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        return called

    return decorate


@functools.cache
def _parameters(function: Callable[..., Any], without: tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function, as keywords, with annotations that are no text.

    Those left out, and what is returned, may have types that only type checkers import.
    """
    texts = {name: text for name, text in function.__annotations__.items() if name not in (*without, "return")}
    hints = get_type_hints(SimpleNamespace(__annotations__=texts), function.__globals__, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in without
    }
