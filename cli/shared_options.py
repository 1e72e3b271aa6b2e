"""Options that several commands share: each is declared once, as a parameter of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, get_type_hints

Command = Callable[..., None]


def takes(**shared: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command the options that functions declare; what these return it gets, as the parameters named.

    The options of the first function come before the command's own, those of all others after these. An option that the
    command declares, too, is as it says, and reaches both.
    """

    def decorate(command: Command) -> Command:
        own = _parameters(command, but=shared)
        groups = {name: _parameters(function) for name, function in shared.items()}
        first, *others = groups.values()
        parameters = functools.reduce(dict.__or__, [first, *others, own])
        order = dict.fromkeys(name for group in (first, own, *others) for name in group)

        @functools.wraps(command)
        def called(**given: Any) -> None:
            values = {name: shared[name](**{key: given[key] for key in group}) for name, group in groups.items()}
            command(**{key: given[key] for key in own}, **values)

        del called.__dict__["__wrapped__"]  # typer would look at that function's hints
        called.__dict__["__signature__"] = inspect.Signature([parameters[name] for name in order])
        called.__annotations__ = {name: parameters[name].annotation for name in order}
        return called

    return decorate


def _parameters(function: Callable[..., Any], but: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function, as keywords, with annotations that are no text.

    Those left out, and what is returned, may have types that only type checkers import.
    """
    texts = {name: text for name, text in function.__annotations__.items() if name not in {*but, "return"}}
    hints = get_type_hints(SimpleNamespace(__annotations__=texts), function.__globals__, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
        if name in hints
    }
